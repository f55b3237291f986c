//! How a connection ends, and what a later one remembers.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::channel;
use std::thread;

use noctule_net::ClientCertificates;
use rustls::HandshakeKind;

use crate::certificates::settings;
use crate::peers::House;

#[test]
fn a_goodbye_in_the_same_bytes_as_the_last_words_is_heard() {
    let house = House::new();
    let (mut client, mut served) = house.connect(&house.config());
    let (go, gone) = channel::<()>();
    let talking = thread::spawn(move || {
        client.write_all(b"last words").unwrap();
        client.conn.send_close_notify();
        client.flush().unwrap();
        // TCP stays open, so no event will tell of the end.
        let _ = gone.recv();
        drop(client);
    });
    assert_eq!(served.read_exactly(10, 100), b"last words");
    assert_eq!(served.read(100).unwrap(), b"");
    assert_eq!(served.pipe.read(&mut [0; 100]).unwrap(), 0, "the end stays the end");
    assert!(!served.pipe.holds_input(), "a loop would spin");
    go.send(()).unwrap();
    talking.join().unwrap();
}

#[test]
fn closing_without_a_goodbye_is_an_end_like_any_other() {
    let house = House::new();
    let (mut client, mut served) = house.connect(&house.config());
    client.conn.complete_io(&mut Pumped(&mut client.sock, &mut served)).unwrap();
    client.write_all(b"x").unwrap();
    client.sock.shutdown(Shutdown::Write).unwrap();
    assert_eq!(served.read_exactly(1, 100), b"x");
    assert_eq!(served.read(100).unwrap(), b"");
}

#[test]
fn our_goodbye_is_one_that_the_client_understands() {
    let house = House::new();
    let (mut client, mut served) = house.connect(&house.config());
    let talking = thread::spawn(move || {
        client.write_all(b"x").unwrap();
        let mut all = Vec::new();
        // Without close_notify this would be an unexpected end.
        client.read_to_end(&mut all).map(|_| all)
    });
    served.read_exactly(1, 100);
    served.write_all(b"goodbye");
    served.pipe.finish_writing();
    assert_eq!(talking.join().unwrap().unwrap(), b"goodbye");
}

#[test]
fn a_client_that_leaves_in_the_handshake_has_finished() {
    let house = House::new();
    let (client, mut served) = house.raw();
    drop(client);
    assert_eq!(served.read(100).unwrap(), b"");
    let (mut client, mut served) = house.raw();
    client.write_all(&[0x16, 3, 1]).unwrap();
    drop(client);
    assert_eq!(served.read(100).unwrap(), b"");
}

#[test]
fn a_session_is_resumed_by_its_ticket_until_the_settings_are_replaced() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let house = House::new();
        let config = house.config_of(&[version], None);
        let talk = || {
            let (mut client, mut served) = house.connect(&config);
            let talking = thread::spawn(move || {
                client.write_all(b"x").unwrap();
                let mut answer = [0; 1];
                client.read_exact(&mut answer).unwrap();
                client
            });
            served.read_exactly(1, 1);
            served.write_all(b"y");
            let client = talking.join().unwrap();
            assert_eq!(
                client.conn.handshake_kind() == Some(HandshakeKind::Resumed),
                served.pipe.tls_facts().unwrap().is_resumed
            );
            (client, served)
        };
        let (mut old_client, mut old) = talk();
        assert!(!old.pipe.tls_facts().unwrap().is_resumed);
        assert!(talk().1.pipe.tls_facts().unwrap().is_resumed);

        let renewed = settings(&house.authority.server(), ClientCertificates::NotAsked);
        house.acceptor.replace(renewed).unwrap();
        assert!(!talk().1.pipe.tls_facts().unwrap().is_resumed);
        // The connection from before goes on.
        old_client.write_all(b"still here").unwrap();
        assert_eq!(old.read_exactly(10, 100), b"still here");
    }
}

#[test]
fn settings_that_cannot_be_used_leave_the_former_ones_in_use() {
    let house = House::new();
    let mut wrong = settings(&house.authority.server(), ClientCertificates::NotAsked);
    wrong.key = house.authority.server().key;
    let error = house.acceptor.replace(wrong).unwrap_err().to_string();
    assert!(error.contains("certificate and key"), "{error}");
    let (mut client, mut served) = house.connect(&house.config());
    let talking = thread::spawn(move || client.write_all(b"x").map(|()| client));
    assert_eq!(served.read_exactly(1, 1), b"x");
    drop(talking.join().unwrap());
}

/// A socket whose other end is served whenever there is something to wait for.
struct Pumped<'a>(&'a mut std::net::TcpStream, &'a mut crate::peers::Served);

impl Read for Pumped<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1.pump();
        self.0.read(buffer)
    }
}

impl Write for Pumped<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}
