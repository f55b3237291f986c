//! What is there after the broker was killed: sessions with their subscriptions and queues, retained
//! messages, whatever was acknowledged. And what a user reads when the store cannot be used.

use crate::broker::{Broker, noctule};
use crate::foreign;
use crate::mosquitto::{Subscriber, VERSIONS, message, publish, publish_lines};
use crate::program::Program;
use crate::room::Room;
use noctule_client::{Client, ClientOptions, Publish, QoS};
use rustix::process::Signal;

/// A flag that makes a session persistent in this version.
fn persistent(version: &str) -> &'static [&'static str] {
    if version == "mqttv5" { &["-c", "-x", "3600"] } else { &["-c"] }
}

#[test]
fn what_was_acknowledged_is_there_after_the_broker_was_killed() {
    for version in VERSIONS {
        for qos in ["1", "2"] {
            let broker = Broker::ours(&[]);
            let flags = [&["-i", "away", "-q", qos, "-t", "a/#"], persistent(version)].concat();
            Subscriber::start(&broker, version, &flags).leave();
            let lines: Vec<_> = (0..100).map(|number| format!("m{number}")).collect();
            publish_lines(&broker, version, &["-q", qos, "-t", "a/b"], &lines);
            publish(&broker, version, &["-q", qos, "-r", "-t", "kept", "-m", "last"]);
            let room = broker.kill();
            let broker = Broker::in_room(room, &[]);
            let back = Subscriber::begin(&broker, version, &flags);
            for line in &lines {
                assert_eq!(back.next(), message("a/b", qos.parse().unwrap(), false, line));
            }
            // It is subscribed without having been asked again.
            publish(&broker, version, &["-q", qos, "-t", "a/c", "-m", "new"]);
            assert_eq!(back.next(), message("a/c", qos.parse().unwrap(), false, "new"));
            let late = Subscriber::begin(&broker, version, &["-q", qos, "-t", "kept"]);
            assert_eq!(late.next(), message("kept", qos.parse().unwrap(), true, "last"));
        }
    }
}

#[test]
fn sessions_are_found_again_with_another_number_of_loops() {
    let mut broker = Broker::ours(&["--shards", "1"]);
    let ids = ["a", "b", "c", "d", "e"];
    for id in ids {
        let flags = ["-c", "-i", id, "-q", "1", "-t", "x"];
        Subscriber::start(&broker, "mqttv311", &flags).leave();
    }
    for (number, shards) in ["3", "8", "2"].iter().enumerate() {
        let payload = number.to_string();
        publish(&broker, "mqttv311", &["-q", "1", "-r", "-t", "x", "-m", &payload]);
        broker = Broker::in_room(broker.kill(), &["--shards", shards]);
    }
    for id in ids {
        let flags = ["-c", "-i", id, "-q", "1", "-t", "x"];
        let back = Subscriber::begin(&broker, "mqttv311", &flags);
        for payload in ["0", "1", "2"] {
            assert_eq!(back.next(), message("x", 1, false, payload), "{id}");
        }
    }
}

/// So many retained messages are handed out.
const RETAINED: usize = 400;

#[tokio::test]
async fn retained_messages_come_to_paho_once_though_the_broker_is_killed_while_it_hands_them_out() {
    // Few are on their way at a time, so that most are not handed out when it is killed.
    let window = ["--inflight-out-max", "10", "--shards"];
    let mut broker = Broker::ours(&[&window[..], &["2"]].concat());
    let port: u16 = broker.port().parse().expect("it can be");
    let options = ClientOptions::new("127.0.0.1", port);
    let publisher = Client::connect(options).expect("it can be");
    let mut under_way = Vec::new();
    for number in 0..RETAINED {
        let (topic, payload) = (format!("kept/{number}"), number.to_string());
        let message = Publish::new(topic, payload).qos(QoS::ExactlyOnce).retain(true);
        under_way.push(publisher.publish_later(message).await.expect("it can be"));
    }
    for publishing in under_way {
        publishing.await.expect("it can be");
    }
    publisher.disconnect().await.expect("it can be");

    let mut paho = foreign::python();
    paho.arg(foreign::script("paho_retained.py"));
    let paho = Program::start(paho.args([&broker.host(), &broker.port(), "kept/#", "newcomer"]));
    let next = || paho.expect("message", |line| Some(line.to_owned()));
    let mut heard: Vec<_> = (0..50).map(|_| next()).collect();
    for shards in ["3", "1", "2"] {
        broker = Broker::again_with(broker.kill(), port, &[&window[..], &[shards]].concat());
        heard.extend((0..50).map(|_| next()));
    }
    while heard.len() < RETAINED {
        heard.push(next());
    }
    // Nothing is behind them.
    publish(&broker, "mqttv311", &["-q", "2", "-t", "kept/end", "-m", "end"]);
    assert_eq!(next(), "end");
    let mut numbers: Vec<usize> =
        heard.iter().map(|line| line.parse().expect("a number")).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..RETAINED), "{numbers:?}");
    paho.signal(Signal::TERM);
    drop(paho.finish());
}

#[test]
fn what_was_delivered_does_not_come_again_after_an_orderly_end() {
    let broker = Broker::ours(&[]);
    let flags = ["-c", "-i", "r", "-q", "1", "-t", "x", "-t", "end"];
    let there = Subscriber::start(&broker, "mqttv311", &flags);
    publish(&broker, "mqttv311", &["-q", "1", "-t", "x", "-m", "one"]);
    assert_eq!(there.next(), message("x", 1, false, "one"));
    there.leave();
    publish(&broker, "mqttv311", &["-q", "1", "-t", "x", "-m", "two"]);
    let (finished, room) = broker.end_in_its_room(Signal::INT);
    finished.well();
    let broker = Broker::in_room(room, &[]);
    let back = Subscriber::begin(&broker, "mqttv311", &flags);
    assert_eq!(back.next(), message("x", 1, false, "two"));
    publish(&broker, "mqttv311", &["-q", "1", "-t", "end", "-m", "end"]);
    assert_eq!(back.until("end"), []);
}

#[test]
fn in_memory_nothing_is_written() {
    let broker = Broker::ours(&["--in-memory", "--no-tls"]);
    publish(&broker, "mqttv311", &["-q", "1", "-r", "-t", "x", "-m", "y"]);
    let written = std::fs::read_dir(broker.room().path()).unwrap().count();
    assert_eq!(written, 0);
}

/// Starts a broker that cannot start, and returns its one line.
fn complaint_of(room: &Room, flags: &[&str]) -> String {
    let mut command = noctule();
    command.args(["broker", "--port", "0"]).args(flags).current_dir(room.path());
    let finished = Program::start(&mut command).finish();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    let lines: Vec<_> = finished.complaints.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 1, "{finished:?}");
    lines[0].to_owned()
}

#[test]
fn a_second_broker_in_the_same_directory_is_told_so() {
    let broker = Broker::ours(&[]);
    let line = complaint_of(broker.room(), &[]);
    assert!(line.contains("noctule-data/store") && line.contains("another"), "{line}");
    publish(&broker, "mqttv311", &["-q", "1", "-t", "x", "-m", "the first goes on"]);
}

#[test]
fn a_data_directory_that_cannot_be_is_one_clear_line() {
    let room = Room::new();
    room.file("taken", b"");
    let line = complaint_of(&room, &["--data-dir", "taken", "--no-tls"]);
    assert!(line.contains("taken") && line.contains("data directory"), "{line}");
}

#[test]
fn damage_in_the_store_is_said_with_file_and_place_and_nothing_is_changed() {
    let broker = Broker::ours(&[]);
    let flags = ["-c", "-i", "away", "-q", "1", "-t", "x"];
    Subscriber::start(&broker, "mqttv311", &flags).leave();
    for number in 0..20 {
        publish(&broker, "mqttv311", &["-q", "1", "-t", "x", "-m", &number.to_string()]);
    }
    let room = broker.kill();
    let segment = room.path().join("noctule-data/store/segment-00000001");
    let mut bytes = std::fs::read(&segment).unwrap();
    // In the middle of what is written; zeros follow it, and fill gaps that nobody reads.
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let middle = bytes[..end / 2].iter().rposition(|byte| *byte != 0).unwrap();
    bytes[middle] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let line = complaint_of(&room, &[]);
    assert!(line.contains("segment-00000001"), "{line}");
    assert_eq!(std::fs::read(&segment).unwrap(), bytes, "it is as it was");
}

#[test]
fn publishers_on_all_loops_go_on_when_a_store_that_was_behind_has_caught_up() {
    // One message is as much as may be under way to the disk, so every publisher waits again and again.
    let broker = Broker::ours(&["--shards", "4", "--store-bytes-max", "1KiB"]);
    let flags = ["-c", "-i", "away", "-q", "1", "-t", "busy/#"];
    Subscriber::start(&broker, "mqttv311", &flags).leave();
    let lines: Vec<_> = (0..300).map(|number| format!("{number:0500}")).collect();
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let publishers: Vec<_> = (0..8)
        .map(|publisher| {
            let mut command = foreign::mosquitto("mosquitto_pub");
            command.args(["-h", &broker.host(), "-p", &broker.port(), "-q", "1", "-l"]);
            command.args(["-t", &format!("busy/{publisher}")]);
            Program::start_with(&mut command, input.clone().into())
        })
        .collect();
    publishers.into_iter().for_each(|publisher| drop(publisher.finish().well()));
    let back = Subscriber::begin(&broker, "mqttv311", &flags);
    let mut seen = [0; 8];
    for _ in 0..8 * lines.len() {
        let heard = back.next();
        let publisher: usize = heard.topic["busy/".len()..].parse().unwrap();
        assert_eq!(heard.payload, lines[seen[publisher]]);
        seen[publisher] += 1;
    }
}
