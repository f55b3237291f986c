//! The process: how it starts, what it says, how it ends.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::broker::{Broker, noctule};
use crate::program::Program;
use crate::room::Room;

#[test]
fn it_listens_on_both_loopbacks_with_one_port() {
    let broker = Broker::ours(&[]);
    let mut hosts: Vec<_> = broker.listeners().iter().map(SocketAddr::ip).collect();
    hosts.sort();
    let mut wanted = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    // A machine without IPv6 is no reason not to start.
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        wanted.push(IpAddr::V6(Ipv6Addr::LOCALHOST));
    }
    assert_eq!(hosts, wanted);
    let port = broker.listeners()[0].port();
    assert_ne!(port, 0);
    for listener in broker.listeners() {
        assert_eq!(listener.port(), port);
        let mut stream = TcpStream::connect(listener).expect("it listens where it says");
        stream.set_read_timeout(Some(crate::program::DEADLINE)).unwrap();
        assert_eq!(connack(&mut stream, &connect(4)), ACCEPTED);
    }
}

#[test]
fn it_listens_only_where_it_is_told() {
    let broker = Broker::ours(&["--bind", "127.0.0.1"]);
    let hosts: Vec<_> = broker.listeners().iter().map(SocketAddr::ip).collect();
    assert_eq!(hosts, [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
}

#[test]
fn a_port_in_use_is_one_clear_line_and_exit_code_1() {
    let room = Room::new();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut command = noctule();
    command.args(["broker", "--port", &port, "--tls-port", "0"]).current_dir(room.path());
    let finished = Program::start(&mut command).finish();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    let lines: Vec<_> = finished.complaints.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 1, "{finished:?}");
    assert!(lines[0].starts_with("noctule: ") && lines[0].contains(&port), "{finished:?}");
    assert!(!finished.lines.iter().any(|line| line.starts_with("  ready in ")), "{finished:?}");
}

#[test]
fn sigterm_and_sigint_end_it_with_exit_code_0_while_clients_are_connected() {
    for signal in [Signal::TERM, Signal::INT] {
        let broker = Broker::ours(QUIET);
        let [mut old, mut new] = [connect(4), connect(5)].map(|packet| {
            let mut stream = broker.connect();
            assert_eq!(connack(&mut stream, &packet)[0], 0x20);
            stream
        });
        // A connection that never says anything must not hold it up either.
        let _silent = broker.connect();
        let begin = Instant::now();
        let finished = broker.end_by(signal);
        let took = begin.elapsed();
        assert_eq!(finished.status.code(), Some(0), "{signal:?}: {finished:?}");
        assert!(took < Duration::from_secs(5), "{signal:?}: {took:?}");
        assert!(!finished.complaints.contains("panicked"), "{finished:?}");
        assert_eq!(rest(&mut old), [0; 0], "3.1.1 knows no DISCONNECT from the server");
        let goodbye = rest(&mut new);
        assert!(goodbye.starts_with(&[0xe0]), "{signal:?}: {goodbye:?}");
        assert_eq!(goodbye.get(2), Some(&0x8b), "{signal:?}: Server shutting down: {goodbye:?}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once_whoever_still_has_to_hear_of_it() {
    for (first, second, code) in [(Signal::INT, Signal::INT, 130), (Signal::INT, Signal::TERM, 143)]
    {
        let broker = Broker::ours(QUIET);
        // Somebody who does not read what is for him, so that the first one takes its two seconds.
        let mut stuck = broker.connect();
        assert_eq!(connack(&mut stuck, &connect(4))[0], 0x20);
        stuck.write_all(b"\x82\x06\x00\x01\x00\x01x\x00").unwrap();
        let mut suback = [0; 5];
        stuck.read_exact(&mut suback).unwrap();
        let mut publisher = broker.connect();
        assert_eq!(connack(&mut publisher, &connect(5))[0], 0x20);
        let body = [&b"\x00\x01x\x00"[..], &[0; 16_380]].concat();
        let message = [&[0x30, 0x80, 0x80, 0x01][..], &body].concat();
        for _ in 0..1_000 {
            publisher.write_all(&message).unwrap();
        }
        publisher.write_all(b"\xC0\x00").unwrap();
        publisher.read_exact(&mut [0; 2]).unwrap();
        broker.program().signal(first);
        broker.program().expect("its answer to the first signal", |line| {
            line.starts_with("stopping: clients are told").then_some(())
        });
        let begin = Instant::now();
        let finished = broker.end_by(second);
        assert_eq!(finished.status.code(), Some(code), "{finished:?}");
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        assert_eq!(finished.lines.last().map(String::as_str), Some("stopped at once"));
    }
}

#[test]
fn its_port_is_free_again_after_the_end() {
    let broker = Broker::ours(&[]);
    let address = broker.listeners()[0];
    let mut client = broker.connect();
    assert_eq!(connack(&mut client, &connect(4)), ACCEPTED);
    broker.end_by(Signal::TERM).well();
    assert!(TcpStream::connect(address).is_err());
    // The old connections are in TIME_WAIT now, which is no reason for a broker not to start.
    let again = Broker::on_port(address.port(), &[]);
    assert_eq!(again.listeners()[0].port(), address.port());
}

#[test]
fn a_broken_packet_costs_its_sender_the_connection_and_nobody_else_anything() {
    let broker = Broker::ours(QUIET);
    let mut good = broker.connect();
    assert_eq!(connack(&mut good, &connect(4)), ACCEPTED);
    // Not a CONNECT; reserved type 0; a remaining length of five bytes; an ill-formed client id.
    let broken: [&[u8]; 4] = [
        b"\xc0\x00",
        b"\x00\x00",
        b"\x10\xff\xff\xff\xff\x7f",
        b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02\xc3\x28",
    ];
    for packet in broken {
        let mut bad = broker.connect();
        bad.write_all(packet).unwrap();
        // What it answers is the subject of other tests; that it closes is the subject here.
        let _ = rest(&mut bad);
    }
    good.write_all(b"\xc0\x00").unwrap();
    let mut pong = [0; 2];
    good.read_exact(&mut pong).unwrap();
    assert_eq!(pong, [0xd0, 0x00]);
}

#[test]
fn the_connect_that_once_broke_its_ancestor_is_accepted() {
    let broker = Broker::ours(&[]);
    let packet = b"\x10\x1f\x00\x04MQTT\x04\x02\x00\x3c\x00\x13nineteen_characters";
    assert_eq!(connack(&mut broker.connect(), packet), ACCEPTED);
    // And byte by byte.
    let mut slow = broker.connect();
    slow.set_nodelay(true).unwrap();
    let (last, others) = packet.split_last().unwrap();
    for byte in others {
        slow.write_all(&[*byte]).unwrap();
    }
    assert_eq!(connack(&mut slow, &[*last]), ACCEPTED);
}

/// CONNECT of protocol level 4 or 5, clean, keep-alive of a minute, a client id per level.
fn connect(level: u8) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT".to_vec();
    body.extend([level, 0x02, 0x00, 0x3c]);
    if level == 5 {
        body.push(0);
    }
    body.extend([0x00, 0x02, b'c', b'0' + level]);
    let mut packet = vec![0x10, u8::try_from(body.len()).expect("a short packet")];
    packet.append(&mut body);
    packet
}

/// Sends `packet` and reads the CONNACK that answers it.
fn connack(stream: &mut TcpStream, packet: &[u8]) -> Vec<u8> {
    stream.write_all(packet).expect("an open connection");
    let mut answer = vec![0; 2];
    stream.read_exact(&mut answer).expect("a CONNACK");
    let header = answer.len();
    answer.resize(header + usize::from(answer[1]), 0);
    stream.read_exact(&mut answer[header..]).expect("a CONNACK");
    answer
}

/// Everything that comes until the connection is closed.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => bytes,
        // Closed with something of ours unread; what came before is in `bytes` all the same.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => bytes,
        Err(error) => panic!("not closed: {error}"),
    }
}

/// CONNACK of 3.1.1: no session, accepted.
const ACCEPTED: [u8; 4] = [0x20, 0x02, 0x00, 0x00];

/// On a slow machine the greeting of silent clients would come between what is compared here.
const QUIET: &[&str] = &["--hello", "never"];
