//! `noctule shell` at a terminal: what a person types and sees.

use std::process::Command;

use crate::broker::{Broker, noctule};
use crate::mosquitto;
use crate::pty::{CTRL_C, CTRL_D, ENTER, Pty, TAB, UP};
use crate::room::Room;

const PROMPT: &str = "noctule> ";

/// The shell for this broker, its history in `room`.
fn shell(broker: &Broker, room: &Room) -> Command {
    let mut command = noctule();
    command.env("XDG_STATE_HOME", room.path()).env("XDG_CONFIG_HOME", room.path());
    command.args(["shell", "-h", "127.0.0.1", "-p", &broker.port()]);
    command
}

fn open(broker: &Broker, room: &Room) -> Pty {
    let shell = Pty::start(&shell(broker, room), 24, 90);
    shell.see("authenticated");
    shell.see_line(PROMPT);
    shell
}

#[test]
fn tab_completes_orders_and_topics_that_were_seen() {
    let (broker, room) = (Broker::ours(&[]), Room::new());
    let shell = open(&broker, &room);
    shell.keys(&format!("stat{TAB}"));
    shell.see_line("noctule> status");
    shell.keys(ENTER);
    shell.see("keep-alive 60 s");
    shell.keys(&format!("sub site/#{ENTER}"));
    shell.see("sub site/#: granted QoS 0");
    mosquitto::publish(&broker, "mqttv311", &["-t", "site/hall/lamp", "-m", "on"]);
    shell.see("site/hall/lamp on");
    shell.keys(&format!("pub site/h{TAB}"));
    shell.see_line("noctule> pub site/hall/lamp");
    shell.keys(&format!(" off{ENTER}"));
    shell.see("site/hall/lamp off");
}

#[test]
fn a_message_does_not_break_the_line_that_is_being_typed() {
    let (broker, room) = (Broker::ours(&[]), Room::new());
    let shell = open(&broker, &room);
    shell.keys(&format!("sub in/+{ENTER}"));
    shell.see("sub in/+: granted QoS 0");
    shell.see_line(PROMPT);
    shell.keys("pub out/x half a li");
    shell.see_line("noctule> pub out/x half a li");
    let other = mosquitto::Subscriber::start(&broker, "mqttv311", &["-t", "out/+"]);
    for number in 1..=3 {
        let text = format!("message {number} \u{1b}[2J of a stranger");
        mosquitto::publish(&broker, "mqttv311", &["-t", "in/a", "-m", &text]);
        // Above the line, which is where it was, and what it holds cannot clear the screen.
        let wanted = format!("in/a message {number} \\x1b[2J of a stranger");
        let screen = shell.see(&wanted);
        assert!(screen.contains("authenticated"), "{screen}");
        shell.see_line("noctule> pub out/x half a li");
    }
    shell.keys(&format!("ne{ENTER}"));
    assert_eq!(other.next().payload, "half a line");
}

#[test]
fn ctrl_c_gives_a_line_up_and_ctrl_d_leaves() {
    let (broker, room) = (Broker::ours(&[]), Room::new());
    let shell = open(&broker, &room);
    shell.keys("pub never sent");
    shell.see_line("noctule> pub never sent");
    shell.keys(CTRL_C);
    shell.see_line(PROMPT);
    shell.keys(&format!("status{ENTER}"));
    shell.see("keep-alive 60 s");
    shell.see_line(PROMPT);
    shell.keys(CTRL_D);
    let (status, screen) = shell.finish();
    assert!(status.success(), "{status}\n{screen}");
    assert!(screen.contains("disconnected from 127.0.0.1:"), "{screen}");
}

#[test]
fn ctrl_c_ends_the_waiting_for_a_broker_that_does_not_answer() {
    // Connections are taken by the system, and nobody ever reads from them.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let room = Room::new();
    let mut command = noctule();
    command.env("XDG_STATE_HOME", room.path()).env("XDG_CONFIG_HOME", room.path());
    let port = mute.local_addr().expect("bound").port().to_string();
    command.args(["shell", "-h", "127.0.0.1", "-p", &port, "--hello=600"]);
    let shell = Pty::start(&command, 24, 90);
    let _connection = mute.accept().expect("it connects");
    shell.keys(CTRL_C);
    shell.see(PROMPT.trim_end());
    shell.keys(&format!("status{ENTER}"));
    shell.see(&format!("connecting to 127.0.0.1:{port}"));
    shell.see_line(PROMPT);
    shell.keys(CTRL_D);
    assert!(shell.finish().0.success());
}

#[test]
fn the_history_outlives_the_shell() {
    let (broker, room) = (Broker::ours(&[]), Room::new());
    let shell = open(&broker, &room);
    for line in ["pub a/first 1", "pub a/second 2"] {
        shell.keys(&format!("{line}{ENTER}"));
        shell.see(&format!("noctule> {line}"));
        shell.see_line(PROMPT);
    }
    shell.keys(UP);
    shell.see_line("noctule> pub a/second 2");
    shell.keys(UP);
    shell.see_line("noctule> pub a/first 1");
    shell.keys(CTRL_C);
    shell.see_line(PROMPT);
    shell.keys(CTRL_D);
    shell.finish();
    let shell = open(&broker, &room);
    shell.keys(UP);
    shell.see_line("noctule> pub a/second 2");
}

#[test]
fn a_broker_that_goes_and_comes_back_is_said_beside_the_line() {
    let (broker, room) = (Broker::ours(&[]), Room::new());
    let port: u16 = broker.port().parse().expect("a port");
    let shell = open(&broker, &room);
    shell.keys("pub a wai");
    shell.see_line("noctule> pub a wai");
    let left = broker.kill();
    shell.see("connection lost: ");
    shell.see_line("noctule> pub a wai");
    shell.keys(&format!("ting{ENTER}"));
    shell.see("there is no connection; the message waits for one");
    let _broker = Broker::again(left, port);
    let connected = format!("connected to 127.0.0.1:{port}");
    shell.wait("a second connection", |screen| screen.matches(&connected).count() == 2);
    shell.see_line(PROMPT);
}
