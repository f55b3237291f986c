//! `noctule store` as a user runs it, on what a broker has left behind.

use crate::broker::{Broker, noctule};
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
