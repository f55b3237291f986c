//! Headers as they are sent, as they must not be, and in pieces.

use super::tlv::crc32c_without;
use super::*;
use crate::{Peer, Pipe, bind_all};
use proptest::prelude::*;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};

const LINE: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 1883\r\n";

/// A header of version 2.
fn binary_header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = binary::SIGNATURE.to_vec();
    bytes.extend([command, family]);
    bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    bytes.extend(rest);
    bytes
}

/// `192.0.2.1:56324` to `198.51.100.2:1883`, and fields.
fn over_ipv4(fields: &[u8]) -> Vec<u8> {
    let addresses = [192, 0, 2, 1, 198, 51, 100, 2, 0xDC, 0x04, 0x07, 0x5B];
    binary_header(0x21, 0x11, &[&addresses[..], fields].concat())
}

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind][..], &length, value].concat()
}

fn address(text: &str) -> Client {
    Client::Address(text.parse().unwrap())
}

/// What the whole of `bytes` announces.
fn announced(bytes: &[u8]) -> Announcement {
    let (announcement, length) = parse_announcement(bytes).unwrap().unwrap();
    assert_eq!(length, bytes.len());
    announcement
}

fn failure(bytes: &[u8]) -> ProxyFailure {
    parse_announcement(bytes).unwrap_err()
}

#[test]
fn clients_are_named_by_either_version() {
    let long = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    let ipv6 = [&[0x20, 1, 0x0D, 0xB8][..], &[0; 11], &[1], &[0; 16], &[0, 9, 7, 0x5B]].concat();
    let all_ones = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
    for (bytes, client) in [
        (LINE.to_vec(), address("192.0.2.1:56324")),
        (b"PROXY TCP6 2001:db8::1 ::1 0 1883\r\n".to_vec(), address("[2001:db8::1]:0")),
        (long.into(), address(all_ones)),
        (b"PROXY UNKNOWN\r\n".to_vec(), Client::Unknown),
        (b"PROXY UNKNOWN ffff::1 ? 9 9\r\n".to_vec(), Client::Unknown),
        (over_ipv4(&[]), address("192.0.2.1:56324")),
        (binary_header(0x21, 0x21, &ipv6), address("[2001:db8::1]:9")),
        (binary_header(0x20, 0x00, &[]), Client::Proxy),
        (binary_header(0x20, 0x11, b"whatever"), Client::Proxy),
        (binary_header(0x21, 0x00, b"whatever"), Client::Unknown),
        (binary_header(0x21, 0x31, &[b'/'; 216]), Client::Unknown),
    ] {
        assert_eq!(announced(&bytes), Announcement { client, tls: None });
    }
}

#[test]
fn lines_that_are_not_as_they_have_to_be_are_refused() {
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 1883 1\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 1883 \r\n",
        "PROXY  TCP4 192.0.2.1 198.51.100.2 56324 1883\r\n",
        "PROXY TCP4 192.0.2.1  198.51.100.2 56324 1883\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.2 56324 1883\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.2 56324 1883\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.2 56324 1883\r\n",
        "PROXY TCP4 ::1 ::2 56324 1883\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.2 56324 1883\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 56324 1883\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 65536 1883\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 +1 1883\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 01 1883\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 \r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.2 56324 1883\r\n",
        "PROXY UNKNOWNS\r\n",
    ] {
        assert_eq!(failure(line.as_bytes()), ProxyFailure::BadLine, "{line}");
    }
    let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
    assert_eq!(parse_announcement(&endless[..106]), Ok(None));
    assert_eq!(failure(&endless[..107]), ProxyFailure::BadLine);
    let just = [&endless[..105], b"\r\n"].concat();
    assert_eq!(announced(&just).client, Client::Unknown);
}

#[test]
fn other_beginnings_are_told_from_the_first_wrong_byte() {
    let connect = [0x10, 0x0C, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 10, 0, 0];
    for bytes in [&connect[..1], &connect, &[0x16, 3, 1], b"PROXy", b"GET / ", b"\r\n\r\nX"] {
        assert_eq!(failure(bytes), ProxyFailure::NotAHeader);
    }
}

#[test]
fn binary_headers_that_are_not_as_they_have_to_be_are_refused() {
    let without_length = |command: u8| [&binary::SIGNATURE[..], &[command]].concat();
    let tls = |value: &[u8]| over_ipv4(&field(0x20, value));
    let cn = field(0x22, b"a");
    for (bytes, expected) in [
        (without_length(0x11), ProxyFailure::UnknownCommand(0x11)),
        (without_length(0x22), ProxyFailure::UnknownCommand(0x22)),
        (binary_header(0x21, 0x12, &[0; 12]), ProxyFailure::UnknownFamily(0x12)),
        (binary_header(0x21, 0x41, &[0; 12]), ProxyFailure::UnknownFamily(0x41)),
        (binary_header(0x21, 0x11, &[0; 11]), ProxyFailure::Truncated),
        (binary_header(0x21, 0x21, &[0; 35]), ProxyFailure::Truncated),
        (binary_header(0x21, 0x31, &[0; 215]), ProxyFailure::Truncated),
        (over_ipv4(&[4]), ProxyFailure::Truncated),
        (over_ipv4(&[4, 0]), ProxyFailure::Truncated),
        (over_ipv4(&[4, 0, 1]), ProxyFailure::Truncated),
        (over_ipv4(&[4, 0xFF, 0xFF, 0]), ProxyFailure::Truncated),
        (tls(&[1, 0, 0, 0]), ProxyFailure::Truncated),
        (tls(&[1, 0, 0, 0, 0, 0x22]), ProxyFailure::Truncated),
        (tls(&[1, 0, 0, 0, 0, 0x22, 0, 9, b'a']), ProxyFailure::Truncated),
        (tls(&[1, 0, 0, 0, 0, 0x22, 0, 1, 0xFF]), ProxyFailure::NotText),
        (tls(&[&[1, 0, 0, 0, 0][..], &cn, &cn].concat()), ProxyFailure::Twice(0x22)),
        (over_ipv4(&field(0x03, &[0; 3])), ProxyFailure::Truncated),
        (over_ipv4(&field(0x03, &[0; 4])), ProxyFailure::BadChecksum),
        (over_ipv4(&field(0x03, &[0; 4]).repeat(2)), ProxyFailure::Twice(0x03)),
        (over_ipv4(&field(0x20, &[1, 0, 0, 0, 0]).repeat(2)), ProxyFailure::Twice(0x20)),
    ] {
        assert_eq!(failure(&bytes), expected, "{bytes:?}");
    }
}

#[test]
fn a_header_may_be_so_long_and_no_longer() {
    let longest = binary_header(0x20, 0, &[0; HEADER_BYTES_MAX - 16]);
    assert_eq!(announced(&longest).client, Client::Proxy);
    let longer = binary_header(0x20, 0, &[0; HEADER_BYTES_MAX - 15]);
    assert_eq!(failure(&longer[..16]), ProxyFailure::TooLong, "told by its length alone");
}

#[test]
fn a_certificate_counts_if_it_was_shown_by_tls_and_found_valid() {
    let fields = [field(0x21, b"TLSv1.3"), field(0x22, "Anna Ä".as_bytes()), field(0x23, b"X")];
    let fields = fields.concat();
    let tls = |client: u8, verify: u32| {
        let value = [&[client][..], &verify.to_be_bytes(), &fields].concat();
        announced(&over_ipv4(&field(0x20, &value))).tls
    };
    let name = |client, verify| {
        let certificate = tls(client, verify)?.certificate?;
        certificate.common_name
    };
    for shown in [3, 5, 7] {
        assert_eq!(name(shown, 0).as_deref(), Some("Anna Ä"));
        assert_eq!(name(shown, 1), None, "not found valid");
        assert_eq!(name(shown, 0x0100_0000), None, "not found valid");
    }
    assert_eq!(name(1, 0), None, "none was shown");
    assert_eq!(tls(6, 0), None, "not by TLS");
    let said = tls(1, 0).unwrap();
    assert_eq!((said.version.as_deref(), said.cipher.as_deref()), (Some("TLSv1.3"), Some("X")));
    let nameless = announced(&over_ipv4(&field(0x20, &[7, 0, 0, 0, 0]))).tls.unwrap();
    assert_eq!(nameless.certificate, Some(AnnouncedCertificate::default()));
}

#[test]
fn a_checksum_is_over_all_but_itself() {
    // The value that the definition of CRC-32C gives for these digits.
    assert_eq!(crc32c_without(b"123456789", 100), 0xE306_9283);
    let mut bytes =
        over_ipv4(&[field(0x04, b"pad"), field(0x03, &[0; 4]), field(1, b"x")].concat());
    let at = bytes.len() - 4 - 4;
    let checksum = crc32c_without(&bytes, at);
    bytes[at..at + 4].copy_from_slice(&checksum.to_be_bytes());
    assert_eq!(announced(&bytes).client, address("192.0.2.1:56324"));
    bytes[16] ^= 1;
    assert_eq!(failure(&bytes), ProxyFailure::BadChecksum);
}

/// Any header, or nearly one.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let fields = proptest::collection::vec(
        (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..20)),
        0..5,
    );
    let fields = fields.prop_map(|fields| {
        fields.iter().flat_map(|(kind, value)| field(0x1E + kind % 8, value)).collect::<Vec<u8>>()
    });
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "PROXY (TCP4|TCP6|UNKNOWN|X)( [0-9a-f:.]{0,12}){0,5}(\r\n)?".prop_map(String::into_bytes),
        (fields, 0x1F_u8..0x23, 0_usize..6, any::<u8>()).prop_map(|(fields, command, at, byte)| {
            let mut bytes = over_ipv4(&fields);
            bytes[12] = command;
            if at < 4 {
                bytes[12 + at] = byte;
            }
            bytes
        }),
    ]
}

proptest! {
    #[test]
    fn more_bytes_never_change_what_was_found(bytes in nearly(), more in nearly()) {
        let whole = [&bytes[..], &more].concat();
        let found = parse_announcement(&whole);
        for end in 0..=whole.len() {
            match parse_announcement(&whole[..end]) {
                Ok(None) => {}
                decided => {
                    if let Ok(Some((_, length))) = &decided {
                        prop_assert_eq!(*length, end, "it is found with its last byte");
                    }
                    prop_assert_eq!(decided, found);
                    return Ok(());
                }
            }
        }
        prop_assert_eq!(found, Ok(None));
    }
}

#[test]
fn a_header_is_taken_off_the_socket_and_nothing_else() {
    let listener = bind_all(&[Ipv4Addr::LOCALHOST.into()], 0).unwrap().pop().unwrap();
    let mut proxy = TcpStream::connect(listener.address().unwrap()).unwrap();
    let mut pipe: Pipe = loop {
        match listener.accept() {
            Ok((pipe, Peer::Address(_))) => break pipe,
            Ok((_, peer)) => panic!("not an address: {peer}"),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    };
    let mut buffer = [0; HEADER_BYTES_MAX];
    let mut read = |pipe: &mut Pipe| pipe.read_announcement(&mut buffer);
    let (first, rest) = LINE.split_at(9);
    proxy.write_all(first).unwrap();
    for _ in 0..1_000 {
        let error = read(&mut pipe).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "a part is not enough");
    }
    proxy.write_all(&[rest, b"and the rest"].concat()).unwrap();
    let announcement = loop {
        match read(&mut pipe) {
            Ok(announcement) => break announcement,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    };
    assert_eq!(announcement.client, address("192.0.2.1:56324"));
    let mut rest = [0; 100];
    assert_eq!(pipe.read(&mut rest).unwrap(), 12);
    assert_eq!(&rest[..12], b"and the rest");
    drop(proxy);
    let end = loop {
        match read(&mut pipe).unwrap_err().kind() {
            io::ErrorKind::WouldBlock => {}
            end => break end,
        }
    };
    assert_eq!(end, io::ErrorKind::UnexpectedEof);
}
