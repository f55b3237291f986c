//! The configuration file changes while the broker runs.

use rustix::process::Signal;

use crate::broker::{Broker, noctule};
use crate::mosquitto::Subscriber;
use crate::program::Program;
use crate::room::Room;

/// A broker whose configuration file says this; more is written into it later.
fn broker(text: &str, flags: &[&str]) -> Broker {
    let room = Room::new();
    room.file("n.toml", text.as_bytes());
    Broker::in_room(room, &[&["--config", "n.toml", "--in-memory"], flags].concat())
}

fn change(broker: &Broker, text: &str) {
    broker.room().file("n.toml", text.as_bytes());
}

fn change_at_once(broker: &Broker, text: &str) {
    change(broker, text);
    broker.program().signal(Signal::HUP);
}

#[test]
fn what_can_be_taken_up_is_and_the_rest_is_said_to_need_a_restart() {
    let broker = broker("hello = \"never\"\n", &[]);
    let client = Subscriber::start(&broker, "mqttv311", &["-t", "x"]);
    change_at_once(&broker, "hello = \"always\"\nverbose = true\ndata_dir = \"elsewhere\"\n");
    let said = |words: &[&str]| broker.program().expect_complaint(words);
    said(&["INFO", "configuration: `hello` is \"always\" now, it was \"never\""]);
    said(&["INFO", "configuration: `verbose` is true now, it was false"]);
    said(&["WARN", "configuration: `data_dir` stays \"./noctule-data\" until a restart makes it"]);
    // It is in use: whoever connects now is greeted, and what is said of it is said.
    let greeted = Subscriber::begin(&broker, "mqttv5", &["-t", "y", "-i", "new"]);
    assert_eq!(greeted.next().topic, "$SYS/broker/connection/new");
    said(&["DEBUG", "connected", "client_id=\"new\""]);
    // Nobody has lost a connection over it.
    crate::mosquitto::publish(&broker, "mqttv5", &["-t", "x", "-m", "still"]);
    assert_eq!(client.next().payload, "still");
}

#[test]
fn a_changed_file_is_noticed_without_a_signal() {
    let broker = broker("hello = \"never\"\n", &[]);
    change(&broker, "hello = \"always\"\n");
    broker.program().expect_complaint(&["configuration: `hello` is \"always\" now"]);
}

#[test]
fn a_broken_file_keeps_what_was_in_use_and_says_why() {
    let broker = broker("hello = \"always\"\n", &[]);
    change_at_once(&broker, "hello = \"sometimes\"\nprot = 1\n");
    let said = |words: &[&str]| broker.program().expect_complaint(words);
    said(&["WARN", "the configuration stays as it was: n.toml:1:9: `hello`: expected"]);
    said(&["the configuration stays as it was: n.toml:2:1: unknown key \"prot\""]);
    let greeted = Subscriber::begin(&broker, "mqttv5", &["-t", "y", "-i", "new"]);
    assert_eq!(greeted.next().topic, "$SYS/broker/connection/new");
    change_at_once(&broker, "password_file = \"nowhere\"\n");
    said(&["the configuration stays as it was: nowhere"]);
    change_at_once(&broker, "hello = \"never\"\n");
    said(&["`hello` is \"never\" now, it was \"always\""]);
}

#[test]
fn flags_stay_stronger_than_the_file() {
    let broker = broker("", &["--hello", "always"]);
    change_at_once(&broker, "hello = \"never\"\nstats_interval = 0\n");
    broker.program().expect_complaint(&["`stats_interval` is \"0ms\" now"]);
    let said = broker.program().complaints();
    assert!(!said.contains("`hello`"), "{said}");
    change_at_once(&broker, "hello = \"never\"\nstats_interval = 0\n");
    broker.program().expect_complaint(&["configuration read again; nothing has changed"]);
}

#[test]
fn a_password_file_may_come_later_and_the_network_stays_guarded() {
    let text = "[[listener]]\nname = \"field\"\nbind = \"127.0.0.1\"\nport = 0\n";
    let broker = broker(text, &[]);
    let mut command = noctule();
    command.args(["passwd", "create", "users"]).current_dir(broker.room().path());
    Program::start(&mut command).finish().well();
    change_at_once(&broker, &format!("{text}password_file = \"users\"\n"));
    broker.program().expect_complaint(&["listener \"field\": `password_file` is \"users\" now"]);
    let refused = Subscriber::begin(&broker, "mqttv311", &["-t", "x"]).finish();
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
}

#[test]
fn limits_apply_to_those_who_are_connected() {
    let broker = broker("", &[]);
    let client = Subscriber::start(&broker, "mqttv5", &["-t", "x"]);
    change_at_once(&broker, "[limits]\nsubscriptions_max = 1\nconnections_max = 1\n");
    broker.program().expect_complaint(&["`limits.subscriptions_max` is 1 now, it was 10_000"]);
    broker.program().expect_complaint(&["`limits.connections_max` is 1 now, it was \"auto\""]);
    let refused = Subscriber::begin(&broker, "mqttv311", &["-t", "y"]).finish();
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    client.leave();
}
