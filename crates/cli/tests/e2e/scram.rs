//! SCRAM-SHA-256: the broker offers it, other people's arithmetic agrees with ours, and the client
//! commands speak it.

use std::process::Command;

use crate::broker::{Broker, noctule};
use crate::foreign::{python, script};
use crate::program::{Finished, Program};
use crate::room::Room;

/// A broker with two users who can prove their passwords, `anna` (`pencil`) and `bert` (`pencil`, too),
/// and one who has to say it, `carl` (`secret`).
fn guarded() -> Broker {
    let room = Room::new();
    passwd(&room, &["create", "p"], "");
    passwd(&room, &["add", "p", "anna", "--scram", "--password-stdin"], "pencil");
    let iterations = ["--scram", "--iterations", "15000"];
    passwd(&room, &[&["add", "p", "bert", "--password-stdin"], &iterations[..]].concat(), "pencil");
    passwd(&room, &["add", "p", "carl", "--password-stdin"], "secret");
    Broker::in_room(room, &["--password-file", "p"])
}

fn passwd(room: &Room, arguments: &[&str], input: &str) -> Finished {
    let mut command = noctule();
    command.arg("passwd").args(arguments).current_dir(room.path());
    Program::start_with(&mut command, input.as_bytes().to_vec()).finish().well()
}

fn login(broker: &Broker, arguments: &[&str]) -> Vec<String> {
    let mut command = python();
    command.arg(script("scram_login.py")).args([&broker.host(), &broker.port()]);
    Program::start(command.arg(broker.id("x")).args(arguments)).finish().well().lines
}

#[test] // [MQTT5-4.12.0-2] [MQTT5-4.12.0-3] [MQTT5-4.12.1-1]
fn a_client_with_arithmetic_of_its_own_logs_in_and_proves_itself_again() {
    let broker = guarded();
    let challenge = "challenge 15000 16";
    assert_eq!(
        login(&broker, &["anna", "pencil"]),
        [challenge, "connack 0x0", "proved", challenge, "auth 0x0", "proved", "pingresp"]
    );
}

#[test] // [MQTT5-4.12.0-4] [MQTT5-4.12.1-2]
fn who_does_not_know_the_password_learns_nothing_of_who_exists() {
    let broker = guarded();
    let refused = ["challenge 15000 16", "connack 0x87"];
    assert_eq!(login(&broker, &["anna", "pencils"]), refused);
    assert_eq!(login(&broker, &["nobody", "pencil"]), refused);
    assert_eq!(login(&broker, &["carl", "secret"]), refused, "his password is kept otherwise");
    let other = login(&broker, &["anna", "pencil", "bert"]);
    assert_eq!(other.last().map(String::as_str), Some("disconnect 0x87"), "somebody else's proof");
}

#[test]
fn a_password_that_can_be_proved_can_be_said_as_well() {
    let broker = guarded();
    let publish = |flags: &[&str]| {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", &broker.host(), "-p", &broker.port(), "-t", &broker.topic("t")]);
        Program::start(command.args(["-m", "x"]).args(flags)).finish().status.code()
    };
    assert_eq!(publish(&["-u", "anna", "-P", "pencil"]), Some(0));
    assert_eq!(publish(&["-u", "anna", "-P", "pencils"]), Some(4));
}

#[test]
fn our_commands_prove_their_password_and_never_say_it() {
    let broker = guarded();
    let topic = broker.topic("t");
    let publish = |user: &str, password: &str| {
        let mut command = noctule();
        command.args(["pub", "-h", &broker.host(), "-p", &broker.port(), "-t", &topic]);
        command.args(["-m", "x", "-q", "1", "-r", "--auth-method", "SCRAM-SHA-256"]);
        Program::start(command.args(["-u", user, "-P", password])).finish()
    };
    publish("anna", "pencil").well();
    for (user, password) in [("anna", "pencils"), ("nobody", "pencil"), ("carl", "secret")] {
        let refused = publish(user, password);
        assert!(!refused.status.success(), "{refused:?}");
        assert!(refused.complaints.contains("not allowed to connect"), "{refused:?}");
    }
    let mut command = noctule();
    command.args(["sub", "-h", &broker.host(), "-p", &broker.port(), "-t", &topic, "-C", "1"]);
    command.args(["--auth-method", "SCRAM-SHA-256", "-u", "bert", "-P", "pencil"]);
    assert_eq!(Program::start(&mut command).finish().well().lines, ["x"]);
    let open = Broker::ours(&[]);
    let mut command = noctule();
    command.args(["pub", "-h", &open.host(), "-p", &open.port(), "-t", "t", "-m", "x"]);
    command.args(["--auth-method", "SCRAM-SHA-256", "-u", "anna", "-P", "pencil"]);
    let refused = Program::start(&mut command).finish();
    assert!(refused.complaints.contains("method is not accepted"), "{refused:?}");
}

#[test]
fn a_password_is_kept_as_it_was_unless_told_otherwise() {
    let room = Room::new();
    let kind = || {
        let text = std::fs::read_to_string(room.path().join("p")).expect("a file");
        let (_, hash) = text.split_once(':').expect("a line");
        hash.split([':', '=']).next().unwrap_or_default().to_owned()
    };
    let add = |flags: &[&str]| {
        passwd(&room, &[&["add", "p", "anna", "--password-stdin"], flags].concat(), "x");
        kind()
    };
    passwd(&room, &["create", "p"], "");
    assert_eq!(add(&[]), "$argon2id$v");
    assert_eq!(add(&["--scram", "--iterations", "4096"]), "SCRAM-SHA-256$4096");
    assert_eq!(add(&[]), "SCRAM-SHA-256$4096");
    assert_eq!(add(&["--argon2id"]), "$argon2id$v");
    let mut command = noctule();
    command.args(["passwd", "add", "p", "anna", "--scram", "--iterations", "1000"]);
    let usage = Program::start(command.current_dir(room.path())).finish();
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
}
