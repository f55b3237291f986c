//! Records cut wherever they can be cut, in both directions: what is kept of them between two reads.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use noctule_net::{ClientCertificates, ClientTrust, Pipe, TlsFailure};
use proptest::prelude::*;
use rustls::crypto::cipher::{AeadKey, Iv, MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, ContentType, ProtocolVersion,
    SupportedCipherSuite, SupportedProtocolVersion,
};

use crate::certificates::Authority;
use crate::peers::{House, Served};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// A client whose records leave when and in what pieces a test wants.
struct Cutter {
    conn: ClientConnection,
    socket: TcpStream,
    served: Served,
    /// What the server's end has read.
    heard: Vec<u8>,
}

impl Cutter {
    fn new(house: &House, config: &Arc<ClientConfig>) -> Self {
        let (socket, served) = house.raw();
        let name = "localhost".try_into().expect("a name");
        let conn = ClientConnection::new(Arc::clone(config), name).expect("a client");
        Self { conn, socket, served, heard: Vec::new() }
    }

    /// Encrypted bytes that are to leave.
    fn records(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.conn.wants_write() {
            self.conn.write_tls(&mut bytes).expect("memory");
        }
        bytes
    }

    /// Sends bytes in these pieces, each of which the server's end takes in before the next one leaves.
    fn send<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>, most: usize) {
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            self.socket.write_all(piece).expect("an open connection");
            self.heard.extend(self.served.read_all_there_is(most).expect("no failure"));
        }
    }

    /// Takes in what the server's end has sent, at least a byte.
    fn receive(&mut self) {
        assert!(self.conn.read_tls(&mut self.socket).expect("bytes") > 0, "the server has closed");
        self.conn.process_new_packets().expect("TLS");
    }

    /// Goes through the handshake, with the client's flights in pieces that `cut` makes of them.
    fn shake_hands(&mut self, cut: impl Fn(&[u8]) -> Vec<&[u8]>) {
        loop {
            let flight = self.records();
            self.send(cut(&flight), 100);
            if !self.conn.is_handshaking() {
                return;
            }
            if !self.conn.wants_write() {
                self.receive();
            }
        }
    }

    fn say(&mut self, plaintext: &[u8]) -> Vec<u8> {
        self.conn.writer().write_all(plaintext).expect("room");
        self.records()
    }

    /// What the server's end says next, of so many bytes.
    fn hear(&mut self, count: usize) -> Vec<u8> {
        let mut all = vec![0; count];
        let mut filled = 0;
        while filled < count {
            match self.conn.reader().read(&mut all[filled..]) {
                Ok(read) => filled += read,
                Err(_) => self.receive(),
            }
        }
        all
    }
}

/// How many decrypted bytes wait in a pipe, as it describes itself.
fn unread(pipe: &Pipe) -> usize {
    let described = format!("{pipe:?}");
    let (_, behind) = described.split_once("unread: ").expect("a description");
    let digits = behind.split(|byte: char| !byte.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).expect("a number")
}

fn whole(bytes: &[u8]) -> Vec<&[u8]> {
    vec![bytes]
}

/// Bytes whose order can be seen.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

#[test]
fn a_session_that_comes_byte_by_byte_is_one_like_any_other() {
    for version in VERSIONS {
        let house = House::new();
        let mut client = Cutter::new(&house, &house.config_of(&[version], None));
        client.shake_hands(|flight| flight.chunks(1).collect());
        assert!(!client.served.pipe.is_handshaking());
        let records = client.say(b"byte by byte");
        client.send(records.chunks(1), 100);
        assert_eq!(client.heard, b"byte by byte");
        assert!(!client.served.pipe.holds_input());
        client.served.write_all(b"understood");
        assert_eq!(client.hear(10), b"understood");
        let facts = client.served.pipe.tls_facts().expect("a session");
        assert_eq!(facts.server_name.as_deref(), Some("localhost"));
    }
}

#[test]
fn two_records_may_be_cut_anywhere_and_answered_in_between() {
    for version in VERSIONS {
        let house = House::new();
        let mut client = Cutter::new(&house, &house.config_of(&[version], None));
        client.shake_hands(whole);
        let length = [client.say(b"first"), client.say(b"second")].concat().len();
        // Those were never sent: another session, whose records are as long.
        for cut in 0..=length {
            let mut client = Cutter::new(&house, &house.config_of(&[version], None));
            client.shake_hands(whole);
            let records = [client.say(b"first"), client.say(b"second")].concat();
            let (one, other) = records.split_at(cut);
            client.send([one], 3);
            client.served.write_all(b"meanwhile");
            assert_eq!(client.hear(9), b"meanwhile");
            client.send([other], 3);
            assert_eq!(client.heard, b"firstsecond", "cut behind {cut} bytes");
        }
    }
}

#[test]
fn handshake_messages_in_many_records_in_many_pieces_are_put_together() {
    let clients = Authority::new("Clients");
    let trust = ClientTrust {
        authorities: vec![clients.certificate()],
        revocation_lists: Vec::new(),
        ignores_dates: false,
    };
    let identity = clients.client(7);
    let house = House::asking(|_| ClientCertificates::Required(trust));
    for version in VERSIONS {
        let mut config = (*house.config_of(&[version], Some(&identity))).clone();
        // Certificates and signatures go over a dozen records.
        config.max_fragment_size = Some(64);
        for piece in [1, 7, 69, 100, 1_000] {
            let mut client = Cutter::new(&house, &Arc::new(config.clone()));
            client.shake_hands(|flight| flight.chunks(piece).collect());
            let records = client.say(b"it is me");
            client.send(records.chunks(piece), 100);
            assert_eq!(client.heard, b"it is me");
            let facts = client.served.pipe.tls_facts().expect("a session");
            assert_eq!(facts.client_certificate.as_ref(), identity.chain.first());
        }
    }
}

#[test]
fn many_records_in_one_read_come_in_order_whatever_room_there_is() {
    for version in VERSIONS {
        for most in [1, 7, 1_000, 4_096, 64 * 1024] {
            let house = House::new();
            let mut client = Cutter::new(&house, &house.config_of(&[version], None));
            client.shake_hands(whole);
            let sent = pattern(6_000);
            // Each in a record of its own: 600 of them are more than one read of the socket.
            let records: Vec<u8> = sent.chunks(10).flat_map(|chunk| client.say(chunk)).collect();
            client.send([&records[..]], most);
            assert!(client.heard == sent, "in reads of {most}");
            assert!(!client.served.pipe.holds_input());
        }
    }
}

#[test]
fn records_as_large_as_they_may_be_pass_through_any_room() {
    for version in VERSIONS {
        for (most, piece) in [(1_000, 16_000), (4_096, 5_000), (16_384, 70_000), (64 * 1024, 999)] {
            let house = House::new();
            let mut client = Cutter::new(&house, &house.config_of(&[version], None));
            client.shake_hands(whole);
            let sent = pattern(3 * 16_384 + 1);
            let records = client.say(&sent);
            client.send(records.chunks(piece), most);
            assert!(client.heard == sent, "reads of {most}, pieces of {piece}");
        }
    }
}

#[test]
fn what_waits_here_is_bounded_however_little_is_read() {
    let house = House::new();
    let mut client = Cutter::new(&house, &house.config());
    client.shake_hands(whole);
    let sent = pattern(64_000);
    let records: Vec<u8> = sent.chunks(8_000).flat_map(|chunk| client.say(chunk)).collect();
    client.socket.write_all(&records).expect("room in the socket");
    let mut heard = Vec::new();
    while heard.len() < sent.len() {
        heard.extend(client.served.read(10).expect("bytes"));
        let held = unread(&client.served.pipe);
        assert!(held <= 16_384 + 4_096, "{held} bytes wait to be read");
    }
    assert!(heard == sent);
}

#[test]
fn what_came_and_is_not_whole_or_not_read_is_counted() {
    let house = House::new();
    let (mut socket, mut served) = house.raw();
    // A ClientHello of which the most never comes.
    let mut hello = vec![0x16, 3, 1, 0, 100, 1, 0, 0xff, 0xf0];
    hello.resize(105, 7);
    socket.write_all(&hello).expect("an open connection");
    served.look();
    assert_eq!(served.pipe.held(), hello.len());
    served.pipe.write(b"early").expect("room");
    assert_eq!(served.pipe.held(), hello.len() + 5);
    for version in VERSIONS {
        let mut client = Cutter::new(&house, &house.config_of(&[version], None));
        client.shake_hands(whole);
        assert_eq!(client.served.pipe.held(), 0);
        let record = client.say(&pattern(1_000));
        let (one, other) = record.split_at(600);
        client.send([one], 100);
        assert_eq!(client.served.pipe.held(), 600);
        client.socket.write_all(other).expect("an open connection");
        client.served.read_exactly(300, 300);
        assert_eq!(client.served.pipe.held(), 700);
        client.served.read_exactly(700, 700);
        assert_eq!(client.served.pipe.held(), 0);
    }
}

#[test]
fn an_end_in_the_middle_of_a_record_is_an_end_and_what_came_whole_is_read() {
    for version in VERSIONS {
        let house = House::new();
        let length = {
            let mut client = Cutter::new(&house, &house.config_of(&[version], None));
            client.shake_hands(whole);
            [client.say(b"whole"), client.say(b"torn")].map(|record| record.len())
        };
        for cut in 0..=length[1] {
            let mut client = Cutter::new(&house, &house.config_of(&[version], None));
            client.shake_hands(whole);
            let records = [client.say(b"whole"), client.say(b"torn")].concat();
            client.socket.write_all(&records[..length[0] + cut]).expect("an open connection");
            client.socket.shutdown(Shutdown::Write).expect("an open connection");
            let expected: &[u8] = if cut == length[1] { b"wholetorn" } else { b"whole" };
            assert_eq!(client.served.read_exactly(expected.len(), 100), expected);
            assert_eq!(client.served.read(100).expect("an end"), b"");
            assert!(!client.served.pipe.holds_input());
            // The other direction is still open.
            client.served.write_all(b"bye");
            assert_eq!(client.hear(3), b"bye");
        }
    }
}

#[test]
fn new_keys_are_taken_up_while_records_are_in_pieces_and_in_both_directions() {
    let house = House::new();
    let mut client = Cutter::new(&house, &house.config_of(&[&rustls::version::TLS13], None));
    client.shake_hands(whole);
    for round in 0..40_u8 {
        client.conn.refresh_traffic_keys().expect("TLS 1.3");
        let update = client.records();
        let record = client.say(&[round]);
        let all = [update, record].concat();
        for piece in all.chunks(7) {
            client.send([piece], 100);
            client.served.write_all(&[round]);
            assert_eq!(client.hear(1), [round]);
        }
        assert_eq!(client.heard.last(), Some(&round));
    }
    assert_eq!(client.heard.len(), 40);
}

#[test]
fn a_handshake_message_in_pieces_stands_in_nobodys_way() {
    let house = House::new();
    let mut config = (*house.config_of(&[&rustls::version::TLS13], None)).clone();
    config.enable_secret_extraction = true;
    // KeyUpdate, update_not_requested: type, length, and the one byte of it.
    let update = [24, 0, 0, 1, 0];
    for cut in 1..update.len() {
        let mut client = Cutter::new(&house, &Arc::new(config.clone()));
        client.shake_hands(whole);
        let mut forge = Forge::new(client.conn);
        client.conn = forge.stand_in(&house);
        let first = forge.record(ContentType::Handshake, &update[..cut]);
        client.send(first.chunks(3), 100);
        // While the rest has not come, the server's end writes, and says goodbye.
        client.served.write_all(b"meanwhile");
        let rest = forge.record(ContentType::Handshake, &update[cut..]);
        if cut % 2 == 0 {
            client.send(rest.chunks(3), 100);
            client.served.write_all(b"afterwards");
        } else {
            // Nothing may stand between the pieces.
            let strange = forge.record(ContentType::ApplicationData, b"in between");
            client.socket.write_all(&strange).expect("an open connection");
            let failure = client.served.failure();
            assert!(matches!(failure, TlsFailure::Session(_)), "{failure:?}");
            assert!(client.served.pipe.write(b"too late").is_err());
        }
        client.served.pipe.finish_writing();
    }
}

/// A client's keys, taken out of its session: what no client of rustls' would say can be said with them.
struct Forge {
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
}

impl Forge {
    fn new(conn: ClientConnection) -> Self {
        let suite = conn.negotiated_cipher_suite().expect("a session");
        let SupportedCipherSuite::Tls13(suite) = suite else { panic!("{suite:?}") };
        let secrets = conn.dangerous_extract_secrets().expect("keys");
        let (sequence, secrets) = secrets.tx;
        let (key, iv): (AeadKey, Iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv }
            | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
            | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
            _ => panic!("an unknown cipher"),
        };
        Self { encrypter: suite.aead_alg.encrypter(key, iv), sequence }
    }

    fn record(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ,
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(payload),
        };
        let record = self.encrypter.encrypt(message, self.sequence).expect("a record");
        self.sequence += 1;
        record.encode()
    }

    /// Some client, as the one whose keys were taken is no more.
    fn stand_in(&self, house: &House) -> ClientConnection {
        let name = "localhost".try_into().expect("a name");
        ClientConnection::new(house.config(), name).expect("a client")
    }
}

#[test]
fn a_goodbye_before_the_handshake_is_an_alert_that_can_be_read() {
    let house = House::new();
    let (mut socket, mut served) = house.raw();
    served.pipe.finish_writing();
    let mut said = Vec::new();
    socket.read_to_end(&mut said).expect("an end");
    assert_eq!(said, [0x15, 3, 3, 0, 2, 1, 0]);
}

#[test]
fn what_is_written_early_leaves_when_the_handshake_is_through() {
    for version in VERSIONS {
        let house = House::new();
        let mut client = Cutter::new(&house, &house.config_of(&[version], None));
        assert_eq!(client.served.pipe.write(b"wel").expect("room"), 3);
        let large = pattern(70_000);
        let taken = client.served.pipe.write(&large).expect("room");
        assert_eq!(taken, 64 * 1024 - 3, "what waits is bounded");
        assert!(client.served.pipe.write(b"more").is_err());
        client.shake_hands(whole);
        assert_eq!(client.hear(3), b"wel");
        assert!(client.hear(taken) == large[..taken]);
    }
}

#[test]
fn any_byte_of_a_handshake_may_be_wrong_and_nothing_panics() {
    for version in VERSIONS {
        let house = House::new();
        let config = house.config_of(&[version], None);
        let length = Cutter::new(&house, &config).records().len();
        for (place, piece) in (0..length).zip([1_000, 5, 64].into_iter().cycle()) {
            let mut client = Cutter::new(&house, &config);
            let mut hello = client.records();
            hello[place] ^= 1 << (place % 8);
            // It may be closed before all of it has left.
            let _ = hello.chunks(piece).try_for_each(|piece| client.socket.write_all(piece));
            let _ = client.socket.shutdown(Shutdown::Write);
            if let Ok(end) = client.served.read(100) {
                assert!(end.is_empty(), "bytes came of it: {end:?}");
            }
            client.served.pipe.finish_writing();
        }
    }
}

#[test]
fn what_leaves_through_a_narrow_socket_arrives_as_it_was() {
    for version in VERSIONS {
        let house = House::new();
        // Unix sockets have no timers that would make stalls last.
        let (mut socket, server) = UnixStream::pair().expect("sockets");
        server.set_nonblocking(true).expect("a socket");
        socket2::SockRef::from(&server).set_send_buffer_size(1).expect("a socket");
        let pipe = Pipe::Plain(mio::net::UnixStream::from_std(server).into());
        let mut served = Served::new(house.acceptor.accept(pipe).expect("a TLS pipe"));
        let sent = pattern(300_000);
        let (config, expected) = (house.config_of(&[version], None), sent.clone());
        let reading = thread::spawn(move || {
            let name = "localhost".try_into().expect("a name");
            let mut conn = ClientConnection::new(config, name).expect("a client");
            conn.writer().write_all(b"x").expect("room");
            let mut all = Vec::new();
            let mut state = 7_u64;
            while all.len() < expected.len() {
                while conn.wants_write() {
                    conn.write_tls(&mut socket).expect("an open connection");
                }
                // Little by little, so that the server's end finds room for pieces of all sizes.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let most = 1 + (state >> 52);
                let read = conn.read_tls(&mut (&socket).take(most)).expect("bytes");
                assert!(read > 0, "the server has closed");
                conn.process_new_packets().expect("TLS");
                let mut chunk = [0; 20_000];
                if let Ok(read) = conn.reader().read(&mut chunk) {
                    all.extend_from_slice(&chunk[..read]);
                }
            }
            all == expected
        });
        served.read_exactly(1, 1);
        for chunk in sent.chunks(50_001) {
            served.write_all(chunk);
        }
        assert!(reading.join().expect("a client"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn whatever_the_records_and_the_pieces_the_same_bytes_come(
        is_new in any::<bool>(),
        lengths in prop::collection::vec(prop_oneof![1_usize..40, 1_usize..20_000], 1..12),
        pieces in prop::collection::vec(prop_oneof![1_usize..60, 1_usize..40_000], 1..12),
        most in prop_oneof![1_usize..100, 100_usize..70_000],
        answer in 0_usize..100,
    ) {
        let house = House::new();
        let version = VERSIONS[usize::from(is_new)];
        let mut client = Cutter::new(&house, &house.config_of(&[version], None));
        client.shake_hands(whole);
        let mut expected = Vec::new();
        let mut records = Vec::new();
        for length in lengths {
            let plaintext = pattern(length);
            for chunk in plaintext.chunks(16_000) {
                records.extend(client.say(chunk));
            }
            expected.extend(plaintext);
        }
        let mut rest = &records[..];
        for piece in pieces.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, behind) = rest.split_at(piece.min(rest.len()));
            client.send([piece], most);
            client.served.write_all(&pattern(answer));
            prop_assert_eq!(client.hear(answer), pattern(answer));
            rest = behind;
        }
        prop_assert!(client.heard == expected);
        prop_assert!(!client.served.pipe.holds_input());
    }
}
