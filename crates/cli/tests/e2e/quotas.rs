//! Quotas as clients of other people meet them: how many may come from one address and how fast, how
//! fast a client may send, what may be retained, and for whom memory is taken.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::broker::Broker;
use crate::login::{answer, connect};
use crate::mosquitto::{Subscriber, publish};
use crate::program::{DEADLINE, Finished, Program};
use crate::room::Room;

const QUOTA_EXCEEDED: u8 = 0x97;
const RATE_EXCEEDED: u8 = 0x9f;

/// A connection with the answer to its CONNECT.
fn come(broker: &Broker, level: u8) -> (TcpStream, u8) {
    let mut stream = broker.connect();
    stream.write_all(&connect(level, "", None, None)).expect("an open connection");
    let code = answer(&mut stream);
    (stream, code)
}

#[test]
fn an_address_has_so_many_connections_and_the_next_one_hears_why_not() {
    let broker = Broker::ours(&["--connections-per-address-max", "2", "--no-tls"]);
    let (first, code) = come(&broker, 5);
    assert_eq!(code, 0);
    let (_second, code) = come(&broker, 5);
    assert_eq!(code, 0);
    assert_eq!(come(&broker, 5).1, QUOTA_EXCEEDED);
    assert_eq!(come(&broker, 4).1, 3);
    broker.program().expect_complaint(&["turned away", "as many connections", "127.0.0.1"]);
    drop(first);
    let end = Instant::now() + DEADLINE;
    while come(&broker, 5).1 != 0 {
        assert!(Instant::now() < end, "its place is not free");
    }
}

#[test]
fn over_tls_who_is_turned_away_costs_no_handshake() {
    let broker = Broker::ours(&["--connections-per-address-max", "1"]);
    let _first = come(&broker, 5);
    let address = format!("{}:{}", broker.host(), broker.tls_port());
    let mut stranger = TcpStream::connect(address).expect("a listener");
    stranger.set_read_timeout(Some(DEADLINE)).expect("a socket");
    // Closed before it has said a word.
    let came = stranger.read(&mut [0; 16]);
    assert!(matches!(came, Ok(0)) || came.is_err_and(|error| is_reset(&error)));
}

fn is_reset(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::ConnectionReset
}

#[test]
fn who_comes_too_often_is_told_and_may_come_again_later() {
    let broker = Broker::ours(&["--connect-rate-per-address-max", "1"]);
    let end = Instant::now() + DEADLINE;
    while come(&broker, 5).1 != RATE_EXCEEDED {
        assert!(Instant::now() < end, "nobody is turned away");
    }
    broker.program().expect_complaint(&["turned away", "connects too often", "127.0.0.1"]);
    while come(&broker, 5).1 != 0 {
        assert!(Instant::now() < end, "it may not come again");
    }
}

#[test]
fn when_too_many_come_altogether_they_wait_and_all_are_let_in() {
    let broker = Broker::ours(&["--connect-rate-max", "10"]);
    let begin = Instant::now();
    let mut clients: Vec<_> = (0..25).map(|_| broker.connect()).collect();
    for client in &mut clients {
        client.write_all(&connect(5, "", None, None)).expect("an open connection");
    }
    for client in &mut clients {
        assert_eq!(answer(client), 0);
    }
    // Ten at once, and fifteen at ten a second.
    assert!(begin.elapsed() > Duration::from_millis(1_300), "{:?}", begin.elapsed());
    broker.program().expect_complaint(&["connections come faster than limits.connect_rate_max"]);
}

#[test]
fn limits_of_arrivals_are_taken_up_while_the_broker_runs() {
    let room = Room::new();
    room.file("n.toml", b"");
    let broker = Broker::in_room(room, &["--config", "n.toml", "--in-memory", "--no-tls"]);
    let _there: Vec<_> = (0..3).map(|_| come(&broker, 5)).collect();
    broker.room().file("n.toml", b"[limits]\nconnections_per_address_max = 3\n");
    broker.program().signal(Signal::HUP);
    broker.program().expect_complaint(&["`limits.connections_per_address_max` is 3 now"]);
    assert_eq!(come(&broker, 5).1, QUOTA_EXCEEDED);
}

/// A publisher of Mosquitto's that sends these lines, and how long that took.
fn publish_lines(broker: &Broker, lines: usize) -> Duration {
    let begin = Instant::now();
    let text: Vec<_> = (0..lines).map(|line| line.to_string()).collect();
    let flags = ["-t", "t", "-q", "1", "-i", "fast"];
    crate::mosquitto::publish_lines(broker, "mqttv5", &flags, &text);
    begin.elapsed()
}

#[test]
fn a_client_that_sends_too_fast_takes_its_time_and_loses_nothing() {
    let broker = Broker::ours(&["--message-rate-max", "20"]);
    let reader = Subscriber::start(&broker, "mqttv5", &["-t", "t", "-q", "1"]);
    let took = publish_lines(&broker, 60);
    // A second's worth at once, and forty at twenty a second.
    assert!(took > Duration::from_millis(1_800), "{took:?}");
    for line in 0..60 {
        assert_eq!(reader.next().payload, line.to_string());
    }
    broker.program().expect_complaint(&["sends faster than message_rate_max", "\"fast\""]);
}

#[test]
fn one_listener_may_be_slower_than_another() {
    let room = Room::new();
    let listeners = "[[listener]]\nport = 0\nmessage_rate_max = 5\n[[listener]]\nport = 0\n";
    room.file("n.toml", format!("bind = \"127.0.0.1\"\n{listeners}").as_bytes());
    let broker = Broker::in_room(room, &["--config", "n.toml"]);
    let send = |listener: usize| {
        let mut stream = TcpStream::connect(broker.listeners()[listener]).expect("a listener");
        stream.write_all(&connect(4, "", None, None)).expect("an open connection");
        assert_eq!(answer(&mut stream), 0);
        let begin = Instant::now();
        for id in 1..=10 {
            let message = [0x32, 6, 0, 1, b't', 0, id, b'x'];
            stream.write_all(&message).expect("an open connection");
        }
        let mut acknowledgements = [0; 40];
        stream.read_exact(&mut acknowledgements).expect("ten of them");
        (begin.elapsed(), format!("peer=\"{}\"", stream.local_addr().expect("an address")))
    };
    let (took, slow) = send(0);
    assert!(took > Duration::from_millis(900), "{took:?}");
    let (_, other) = send(1);
    broker.program().expect_complaint(&["sends faster than", &slow]);
    let said = broker.program().complaints();
    let warned = said.lines().filter(|line| line.contains("sends faster than"));
    assert!(warned.into_iter().all(|line| !line.contains(&other)), "{said}");
}

#[test]
fn a_listener_may_have_an_end_of_its_own() {
    let room = Room::new();
    let listeners = "[[listener]]\nport = 0\nconnections_max = 1\n[[listener]]\nport = 0\n";
    room.file("n.toml", format!("bind = \"127.0.0.1\"\n{listeners}").as_bytes());
    let broker = Broker::in_room(room, &["--config", "n.toml"]);
    let come = |listener: usize| {
        let mut stream = TcpStream::connect(broker.listeners()[listener]).expect("a listener");
        stream.write_all(&connect(5, "", None, None)).expect("an open connection");
        let code = answer(&mut stream);
        (stream, code)
    };
    let (_first, code) = come(0);
    assert_eq!((code, come(0).1, come(1).1), (0, QUOTA_EXCEEDED, 0));
    broker.program().expect_complaint(&["turned away", "the listener has as many connections"]);
}

fn retain(broker: &Broker, topic: &str) -> Finished {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", &broker.host(), "-p", &broker.port(), "-V", "mqttv5"]);
    command.args(["-q", "1", "-r", "-t", topic, "-m", "x", "-i", "keeper"]);
    Program::start(&mut command).finish()
}

#[test]
fn one_retained_message_too_many_is_refused() {
    let broker = Broker::ours(&["--retained-messages-max", "2"]);
    for topic in ["a", "b", "a"] {
        let done = retain(&broker, topic);
        assert!(!done.complaints.contains("Quota"), "{topic}: {done:?}");
    }
    let done = retain(&broker, "c");
    assert!(done.complaints.contains("Quota exceeded"), "{done:?}");
    broker.program().expect_complaint(&["was not retained", "retained_messages_max", "\"keeper\""]);
    publish(&broker, "mqttv5", &["-r", "-n", "-t", "a"]);
    let done = retain(&broker, "c");
    assert!(!done.complaints.contains("Quota"), "{done:?}");
}

#[test]
fn when_memory_is_short_it_is_said_for_whom_it_is_taken() {
    let flags = ["--in-memory", "--memory-max", "4MiB", "--sys-interval", "1s"];
    let broker = Broker::ours(&flags);
    // When it is short, nobody new comes in.
    let told = Subscriber::start(&broker, "mqttv5", &["-t", "$SYS/broker/memory/most_for/1"]);
    let away = ["-c", "-i", "hoarder", "-q", "1", "-t", "h", "-x", "3600"];
    Subscriber::start(&broker, "mqttv5", &away).leave();
    let lines: Vec<_> = (0..1_000).map(|_| "x".repeat(4_000)).collect();
    let publish =
        |lines| crate::mosquitto::publish_lines(&broker, "mqttv5", &["-t", "h", "-q", "1"], lines);
    // All at once: for whom is counted when it is said, and not before.
    publish(&lines);
    let line = broker.program().expect_complaint(&["memory is short", "most_for=\"hoarder "]);
    assert!(line.contains("owed="), "{line}");
    let end = Instant::now() + DEADLINE;
    while !told.next().payload.starts_with(r#"{"client_id":"hoarder","bytes":"#) {
        assert!(Instant::now() < end, "it is not told");
    }
}
