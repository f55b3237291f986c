//! A disk that fails under a running broker: what is not stored is not acknowledged, the broker says
//! why and ends, and what was there before is there afterwards.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::broker::Broker;
use crate::mosquitto::{Subscriber, message, publish};

const AWAY: &[&str] = &["-c", "-i", "away", "-q", "1", "-t", "x"];

/// CONNECT of a clean session, and PUBLISH "lost" on "x" at QoS 1.
const CONNECT: &[u8] = b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x00\x00\x01p";
const PUBLISH: &[u8] = b"\x32\x09\x00\x01x\x00\x01lost";
const CONNACK: [u8; 4] = *b"\x20\x02\x00\x00";

/// One message is stored for a client that is away.
fn one_stored(broker: &Broker) {
    Subscriber::start(broker, "mqttv311", AWAY).leave();
    publish(broker, "mqttv311", &["-q", "1", "-t", "x", "-m", "stored"]);
}

/// A client that is connected while all is well.
fn publisher(broker: &Broker) -> TcpStream {
    let mut stream = broker.connect();
    stream.write_all(CONNECT).expect("it takes that");
    let mut answer = [0; CONNACK.len()];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer, CONNACK);
    stream
}

/// Publishes what cannot be stored, and returns everything that the broker says until it hangs up.
/// It may have noticed and ended by itself, as it prepares its files ahead.
fn answers_to_what_cannot_be_stored(mut publisher: TcpStream) -> Vec<u8> {
    let mut answers = Vec::new();
    let _ = publisher.write_all(PUBLISH);
    // A process that ends may reset the connection.
    let _ = publisher.read_to_end(&mut answers);
    answers
}

#[test]
fn what_cannot_be_written_is_not_acknowledged_and_what_was_stored_is_there_later() {
    // The limit below is also a signal, by which a program that does not ignore it dies.
    let broker = Broker::through("trap '' XFSZ; exec \"$0\" \"$@\"", &["--no-tls"]);
    one_stored(&broker);
    let publisher = publisher(&broker);
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let pid = i32::try_from(broker.program().pid()).ok().and_then(Pid::from_raw);
    prlimit(pid, Resource::Fsize, none).expect("it is our own process");
    assert_eq!(answers_to_what_cannot_be_stored(publisher), b"");
    let (finished, room) = broker.ended();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    let said = &finished.complaints;
    assert!(said.contains("cannot write to 'segment-") && said.contains("too large"), "{said}");
    let broker = Broker::in_room(room, &["--no-tls"]);
    let back = Subscriber::begin(&broker, "mqttv311", AWAY);
    assert_eq!(back.next(), message("x", 1, false, "stored"));
    publish(&broker, "mqttv311", &["-q", "1", "-t", "x", "-m", "new"]);
    assert_eq!(back.next(), message("x", 1, false, "new"), "and nothing in between");
}

#[test]
fn nothing_is_acknowledged_any_more_when_the_data_directory_is_gone() {
    let broker = Broker::ours(&["--no-tls"]);
    one_stored(&broker);
    let publisher = publisher(&broker);
    std::fs::remove_dir_all(broker.path("noctule-data")).expect("it is there");
    assert_eq!(answers_to_what_cannot_be_stored(publisher), b"");
    let (finished, _room) = broker.ended();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    let said = &finished.complaints;
    assert!(
        said.contains("'segment-") && said.contains("was removed while it was in use"),
        "{said}"
    );
}
