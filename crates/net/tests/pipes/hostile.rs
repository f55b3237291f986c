//! What is no TLS, or none that anybody should accept.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use noctule_net::TlsFailure;
use rustls::crypto::ring;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::peers::{House, Served, client_over};

fn after(bytes: &[u8]) -> (TcpStream, Served, TlsFailure) {
    let house = House::new();
    let (mut client, mut served) = house.raw();
    client.write_all(bytes).expect("an open connection");
    let failure = served.failure();
    (client, served, failure)
}

#[test]
fn a_plain_client_is_recognised_by_its_first_bytes() {
    // CONNECT of MQTT 3.1.1, and what a browser sends.
    let connect = b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03abc";
    for plain in [&connect[..], b"GET / HTTP/1.1\r\n\r\n", b"\x16\x02", b"\x00"] {
        let (_client, mut served, failure) = after(plain);
        let TlsFailure::NotTls(first) = &failure else { panic!("{failure:?}") };
        assert_eq!(first.as_slice(), &plain[..plain.len().min(8)]);
        assert!(failure.to_string().contains("not TLS: "), "{failure}");
        assert_eq!(served.pipe.read(&mut [0; 10]).unwrap(), 0, "the failure is told once");
    }
}

#[test]
fn versions_that_are_not_safe_any_more_are_refused_with_an_alert() {
    // A ClientHello for TLS 1.1: version, random, no session, one suite, no compression.
    let mut hello = vec![0x01, 0, 0, 41, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    let mut record = vec![0x16, 3, 1, 0, hello.len() as u8];
    record.extend(hello);
    let (mut client, _served, failure) = after(&record);
    assert!(matches!(failure, TlsFailure::Handshake(_)), "{failure:?}");
    assert!(failure.to_string().contains("neither TLS 1.2 nor 1.3"), "{failure}");
    let mut alert = Vec::new();
    client.read_to_end(&mut alert).unwrap();
    assert_eq!(alert[0], 0x15, "{alert:?}");
    // protocol_version, or what rustls says instead of it: handshake_failure.
    assert!(matches!(alert[6], 70 | 40), "{alert:?}");
}

#[test]
fn a_handshake_that_fails_leaves_nothing_behind_for_another_one() {
    let house = House::new();
    let (tell, told) = channel();
    let (mut client, mut served) = house.connect(&house.config());
    let talking = thread::spawn(move || {
        // The ClientHello, and nothing more for now.
        client.conn.write_tls(&mut client.sock).unwrap();
        told.recv().unwrap();
        client.write_all(b"x").unwrap();
        client
    });
    served.look();
    // Another one asks for another name, and for a certificate that this server has not got.
    let mut provider = ring::default_provider();
    provider.cipher_suites = vec![ring::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256];
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = "other.example".try_into().unwrap();
    let mut other = ClientConnection::new(Arc::new(config), name).unwrap();
    let (mut socket, mut refused) = house.raw();
    other.write_tls(&mut socket).unwrap();
    assert!(matches!(refused.failure(), TlsFailure::Handshake(_)));
    tell.send(()).unwrap();
    assert_eq!(served.read_exactly(1, 10), b"x");
    let facts = served.pipe.tls_facts().unwrap();
    assert_eq!(facts.server_name.as_deref(), Some("localhost"));
    drop(talking.join().unwrap());
}

#[test]
fn records_that_lie_about_themselves_end_the_connection() {
    for bytes in [
        // Longer than any record may be.
        &[0x16, 3, 1, 0xff, 0xff, 1, 0, 0][..],
        // Application data before any handshake, and a message of an unknown type.
        &[0x16, 3, 1, 0, 4, 99, 0, 0, 0],
        // A handshake message of 16 MB.
        &[0x16, 3, 1, 0, 5, 1, 0xff, 0xff, 0xff, 0],
    ] {
        let house = House::new();
        let (mut client, mut served) = house.raw();
        client.write_all(bytes).unwrap();
        let _ = client.write_all(&[0; 70_000]);
        drop(client);
        // Whatever it is called, it ends without a byte.
        if let Ok(end) = served.read(100) {
            assert!(end.is_empty(), "bytes came of it: {end:?}");
        }
        assert!(served.pipe.is_handshaking());
        assert!(!served.pipe.holds_input());
    }
}

#[test]
fn a_changed_byte_after_the_handshake_ends_the_connection() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let house = House::new();
        let (socket, mut served) = house.raw();
        let mut client = client_over(socket, &house.config_of(&[version], None));
        let talking = thread::spawn(move || {
            client.write_all(b"x").unwrap();
            // Encrypted, then changed on its way.
            client.conn.writer().write_all(b"the second record").unwrap();
            let mut record = Vec::new();
            client.conn.write_tls(&mut record).unwrap();
            *record.last_mut().unwrap() ^= 1;
            client.sock.write_all(&record).unwrap();
            client
        });
        assert_eq!(served.read_exactly(1, 1), b"x");
        let failure = served.failure();
        assert!(matches!(failure, TlsFailure::Session(_)), "{failure:?}");
        assert_eq!(served.pipe.read(&mut [0; 10]).unwrap(), 0);
        drop(talking.join().unwrap());
    }
}

#[test]
fn any_bytes_in_any_pieces_end_in_an_error_or_an_end_and_never_in_a_panic() {
    let house = House::new();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..200 {
        let mut bytes: Vec<u8> = (0..random() % 300).map(|_| random() as u8).collect();
        // Mostly something that begins well.
        let beginning: [u8; 6] = [0x16, 3, (random() % 5) as u8, 0, (random() % 200) as u8, 1];
        if round % 4 != 0 && bytes.len() > 6 {
            bytes[..6].copy_from_slice(&beginning);
        }
        let (mut client, mut served) = house.raw();
        for piece in bytes.chunks(1 + (random() % 50) as usize) {
            // It may have been closed already.
            if client.write_all(piece).is_err() {
                break;
            }
        }
        drop(client);
        if let Ok(end) = served.read(50) {
            assert!(end.is_empty(), "bytes came of nonsense: {end:?}");
        }
    }
}
