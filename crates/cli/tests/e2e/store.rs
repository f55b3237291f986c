//! `noctule store` as a user runs it, on what a broker has left behind.

use serde_json::{Value, json};

use crate::broker::{Broker, noctule};
use crate::login::guarded;
use crate::mosquitto::{Subscriber, publish};
use crate::program::{Finished, Program};
use crate::room::Room;

fn store(room: &Room, arguments: &[&str]) -> Finished {
    let mut command = noctule();
    command.arg("store").args(arguments).current_dir(room.path());
    Program::start(&mut command).finish()
}

/// What is said to a well-behaved question, as one text.
fn answer(room: &Room, arguments: &[&str]) -> String {
    store(room, arguments).well().lines.join("\n")
}

/// A room in which a broker was killed that owed a client two messages and kept one.
fn room() -> Room {
    let broker = Broker::ours(&[]);
    let flags = ["-c", "-i", "away", "-q", "2", "-t", "a/#"];
    Subscriber::start(&broker, "mqttv311", &flags).leave();
    publish(&broker, "mqttv311", &["-q", "1", "-t", "a/b", "-m", "first"]);
    publish(&broker, "mqttv311", &["-q", "2", "-t", "a/c", "-m", "second\u{1b}]"]);
    publish(&broker, "mqttv311", &["-q", "1", "-r", "-t", "kept", "-m", "last"]);
    broker.kill()
}

#[test]
fn what_a_broker_has_left_can_be_read_and_shows_no_control_characters() {
    let room = room();
    let info = answer(&room, &["info"]);
    assert!(info.contains("sessions   1\n") && info.contains("queued     2 messages"), "{info}");
    assert!(info.contains("retained   1 messages") && info.contains("segment-00000001"), "{info}");
    let whole = answer(&room, &["verify", "noctule-data/store"]);
    assert_eq!(whole, "whole: 1 sessions, 2 queued messages, 1 retained messages");
    let sessions = answer(&room, &["sessions"]);
    assert!(sessions.starts_with("away  away since 20"), "{sessions}");
    assert!(sessions.contains("never expires, 1 subscriptions, 2 queued"), "{sessions}");
    let queue = answer(&room, &["queue", "away"]);
    let lines: Vec<_> = queue.lines().collect();
    assert_eq!(lines.len(), 2, "{queue}");
    assert!(lines[0].ends_with("QoS 1  a/b  \"first\""), "{queue}");
    assert!(lines[1].ends_with("QoS 2  a/c  \"second\\u{1b}]\""), "{queue}");
    assert_eq!(answer(&room, &["retained"]), "kept  \"last\"");
    let dump = answer(&room, &["dump", "--json"]);
    let of = |kind: &str| dump.matches(&format!("\"kind\":\"{kind}\"")).count();
    let kinds = ["session", "subscription", "owed", "retained"].map(of);
    assert_eq!(kinds, [1, 1, 2, 1], "{dump}");
    assert!(dump.contains("\"payload_text\":\"second\\u001b]\""), "{dump}");
}

#[test]
fn a_dump_says_whose_a_session_is_and_who_published_what_when() {
    let broker = guarded(&[]);
    let anna = ["-u", "anna", "-P", "secret"];
    let flags = ["-c", "-i", "away", "-q", "1", "-t", "$share/group/a/#", "-t", "b"];
    Subscriber::start(&broker, "mqttv5", &[&flags[..], &["-x", "3600"], &anna].concat()).leave();
    for topic in ["a/b", "b"] {
        let flags = ["-i", "sensor-1", "-q", "1", "-r", "-t", topic, "-m", "x"];
        publish(&broker, "mqttv5", &[&flags[..], &anna].concat());
    }
    let room = broker.kill();
    let dump = answer(&room, &["dump", "--json"]);
    let things: Vec<Value> =
        dump.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |kind: &str| things.iter().filter(|thing| thing["kind"] == kind).collect::<Vec<_>>();
    assert_eq!(of("session")[0]["user_name"], "anna");
    assert_eq!(of("session")[0]["belongs_to"], "anna");
    let shared: Vec<_> = of("owed").iter().map(|owed| &owed["shared_filter"]).collect();
    assert_eq!(shared, [&json!("$share/group/a/#"), &Value::Null], "{dump}");
    let messages = [of("owed"), of("retained")].concat();
    assert_eq!(messages.len(), 4, "{dump}");
    for thing in messages {
        let message = &thing["message"];
        let publisher = json!({ "client_id": "sensor-1", "user_name": "anna" });
        assert_eq!(message["published_by"], publisher, "{dump}");
        // Some time between the day this was written and a far future.
        let received_ms = message["received_ms"].as_u64().expect("a time");
        assert!((1_764_000_000_000..1_000_000_000_000_000).contains(&received_ms), "{dump}");
    }
}

#[test]
fn compacting_keeps_everything_and_a_broker_goes_on_with_it() {
    let room = room();
    let sizes = answer(&room, &["compact"]);
    assert!(sizes.contains(" before, ") && sizes.ends_with(" now"), "{sizes}");
    let whole = answer(&room, &["verify"]);
    assert_eq!(whole, "whole: 1 sessions, 2 queued messages, 1 retained messages");
    let broker = Broker::in_room(room, &[]);
    let late = Subscriber::begin(&broker, "mqttv311", &["-q", "1", "-t", "kept"]);
    assert_eq!(late.next(), crate::mosquitto::message("kept", 1, true, "last"));
}

#[test]
fn what_cannot_be_answered_is_one_line() {
    let room = room();
    let refused = |arguments: &[&str], words: &str| {
        let finished = store(&room, arguments);
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        assert_eq!(finished.complaints.lines().count(), 1, "{finished:?}");
        assert!(finished.complaints.contains(words), "{finished:?}");
    };
    refused(&["queue", "nobody"], "no session has the client identifier 'nobody'");
    refused(&["info", "nowhere"], "cannot open 'nowhere'");
    refused(&["compact", "nowhere"], "cannot open 'nowhere'");
    let broker = Broker::in_room(room, &[]);
    let finished = store(broker.room(), &["info"]);
    assert!(finished.complaints.contains("another process is using the store"), "{finished:?}");
}

#[test]
fn a_directory_without_a_store_is_not_an_empty_store() {
    let room = room();
    for command in ["info", "verify", "sessions", "compact"] {
        let finished = store(&room, &[command, "noctule-data"]);
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        assert!(finished.complaints.contains("noctule-data/store?"), "{finished:?}");
        let finished = store(&room, &[command, "."]);
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        assert!(finished.complaints.contains("there is no store here"), "{finished:?}");
    }
}
