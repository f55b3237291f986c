//! `noctule shell` with orders from a pipe.

use std::io::Write;

use rustix::process::Signal;

use crate::broker::{Broker, noctule};
use crate::mosquitto::{Subscriber, message};
use crate::mosquitto_broker::free_port;
use crate::program::Program;
use crate::room::Room;

/// What a client command says when it was interrupted.
const GOODBYE: &str = "noctule: disconnected cleanly. Goodbye!\n";

#[test]
fn orders_from_a_pipe_can_be_interrupted() {
    let broker = Broker::ours(&[]);
    let room = Room::new();
    for signal in [Signal::INT, Signal::TERM] {
        let mut command = noctule();
        command.env("XDG_STATE_HOME", room.path()).env("XDG_CONFIG_HOME", room.path());
        command.args(["shell", "-h", "127.0.0.1", "-p", &broker.port()]);
        command.args(["--will-topic", "w", "--will-payload", "lost", "--will-retain"]);
        // The pipe stays open: more orders could come.
        let (program, mut orders) = Program::start_open(&mut command);
        orders.write_all(b"status\n").expect("it reads");
        program.expect("the status", |line| line.contains("keep-alive").then_some(()));
        program.signal(signal);
        assert_eq!(program.finish().well().complaints, GOODBYE);
    }
    let late = Subscriber::start(&broker, "mqttv311", &["-t", "w", "-t", "end"]);
    crate::mosquitto::publish(&broker, "mqttv311", &["-t", "end", "-m", "end"]);
    assert!(late.until("end").is_empty(), "DISCONNECT was said, so no will was sent");
}

/// What the shell says to these orders.
fn shell(port: &str, orders: &str) -> Vec<String> {
    let room = Room::new();
    let mut command = noctule();
    command.env("XDG_STATE_HOME", room.path()).env("XDG_CONFIG_HOME", room.path());
    command.args(["shell", "-h", "127.0.0.1", "-p", port]);
    let finished = Program::start_with(&mut command, orders.into()).finish().well();
    assert_eq!(finished.complaints, "");
    finished.lines
}

fn has(lines: &[String], wanted: &str) {
    assert!(lines.iter().any(|line| line.contains(wanted)), "{wanted:?} is not in {lines:#?}");
}

#[test]
fn orders_are_carried_out_and_messages_shown() {
    let broker = Broker::ours(&[]);
    let port = broker.port();
    let other = Subscriber::start(&broker, "mqttv311", &["-t", "out/#", "-q", "2"]);
    let orders = "status\nsub -q 1 in/+ more\npub -q 1 in/a 'two words'\n\
                  pub -q 2 -r out/b {\"x\":1}\nunsub more\nhelp pub\npub a/+ x\nnonsense\n\
                  sub 'open\ndisconnect\npub in/a x\nstatus\nquit\npub out/never x\n";
    let lines = shell(&port, orders);
    assert_eq!(other.next(), message("out/b", 2, false, "{x:1}"));
    has(&lines, &format!("connected to 127.0.0.1:{port} (MQTT 5.0)"));
    has(&lines, "session new; keep-alive 60 s");
    has(&lines, "sub in/+: granted QoS 1");
    has(&lines, "in/a two words");
    has(&lines, "unsub more: success");
    has(&lines, "--retain");
    has(&lines, "\"a/+\" cannot be published to");
    has(&lines, "unrecognized subcommand 'nonsense'");
    has(&lines, "the quote ' has no end");
    has(&lines, &format!("disconnected from 127.0.0.1:{port}"));
    has(&lines, "not connected; `connect` does that");
}

#[test]
fn a_broker_that_is_not_there_is_said_once() {
    let port = free_port().to_string();
    let lines = shell(&port, "status\npub a x\n");
    let said = lines.iter().filter(|line| line.contains("will keep trying to connect")).count();
    assert_eq!(said, 1, "{lines:?}");
    has(&lines, "there is no connection; the message waits for one");
    has(&lines, &format!("connecting to 127.0.0.1:{port}"));
    has(&lines, "pub a: the client has ended: disconnected as asked");
}
