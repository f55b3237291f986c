//! Waiting for the broker's greeting: who does so unasked, who when asked, and what is said.

use std::process::Command;

use rustix::process::Signal;

use crate::broker::{Broker, noctule};
use crate::mosquitto::{self, VERSIONS};
use crate::mosquitto_broker::Mosquitto;
use crate::program::{Finished, Program};
use crate::pty::Pty;
use crate::room::Room;

const GREETED: &str = "noctule: the broker has greeted: authenticated";
const NOT_GREETED: &str = "noctule: warning: no greeting within 100ms; going on";

/// A client command for the broker at this port, without saved options and with a history of its
/// own.
fn command(room: &Room, port: &str, line: &[&str]) -> Command {
    let mut command = noctule();
    command.env("XDG_STATE_HOME", room.path()).env("XDG_CONFIG_HOME", room.path());
    command.args(line).args(["-h", "127.0.0.1", "-p", port]);
    command
}

fn run(port: &str, line: &[&str]) -> Finished {
    Program::start(&mut command(&Room::new(), port, line)).finish()
}

const PUB: &[&str] = &["pub", "-t", "a", "-m", "x", "-r", "-q", "1"];
const SUB: &[&str] = &["sub", "-t", "a", "-C", "1", "-W", "20"];

#[test]
fn pub_sub_and_request_wait_when_asked_in_every_version() {
    let broker = Broker::ours(&[]);
    let port = broker.port();
    for version in VERSIONS {
        for line in [PUB, SUB] {
            let flags = [line, &["-V", version, "-d"]].concat();
            let asked = run(&port, &[&flags[..], &["--hello"]].concat()).well();
            assert!(asked.complaints.contains(GREETED), "{version} {line:?}: {asked:?}");
            let not_asked = run(&port, &flags).well();
            assert!(!not_asked.complaints.contains("greet"), "{version} {line:?}: {not_asked:?}");
        }
        let responder = mosquitto::Subscriber::start(&broker, version, &["-t", "ask", "-q", "1"]);
        let request = ["request", "-t", "ask", "-e", "answer", "-m", "?", "--hello", "-d"];
        let request = [&request[..], &["-W", "20", "-V", version]].concat();
        let asking = Program::start(&mut command(&Room::new(), &port, &request));
        assert_eq!(responder.next().payload, "?");
        mosquitto::publish(&broker, version, &["-t", "answer", "-m", "!"]);
        let asked = asking.finish().well();
        assert!(asked.complaints.contains(GREETED) && asked.lines == ["!"], "{version} {asked:?}");
    }
}

#[test]
fn who_is_not_greeted_is_warned_and_goes_on() {
    let silent = Broker::ours(&["--hello", "never"]);
    let theirs = Mosquitto::start("");
    for port in [silent.port(), theirs.port().to_string()] {
        for line in [PUB, SUB] {
            let asked = run(&port, &[line, &["--hello=100ms"]].concat()).well();
            assert!(asked.complaints.contains(NOT_GREETED), "{line:?}: {asked:?}");
            let quiet = run(&port, &[line, &["--hello=100ms", "--quiet"]].concat()).well();
            assert_eq!(quiet.complaints, "", "{line:?}");
        }
    }
}

#[test]
fn sensor_waits_unasked_for_a_broker_that_says_that_it_is_noctule() {
    let greeting = Broker::ours(&[]);
    let silent = Broker::ours(&["--hello", "never"]);
    let theirs = Mosquitto::start("");
    let theirs_port = theirs.port().to_string();
    let line = |more: &[&'static str]| [&["sensor", "--rounds", "1"][..], more].concat();
    for (port, flags, wanted) in [
        (greeting.port(), &[][..], "Connected to broker; authenticated"),
        // Before MQTT 5 no broker says what it is.
        (greeting.port(), &["-V", "311"], "Connected to broker"),
        (greeting.port(), &["-V", "311", "--hello"], "Connected to broker; authenticated"),
        (silent.port(), &["--hello=100ms"], "Connected to broker; it does not greet, going on"),
        (theirs_port.clone(), &[], "Connected to broker"),
        (theirs_port, &["--hello=100ms"], "Connected to broker; it does not greet, going on"),
    ] {
        let said = run(&port, &line(flags)).well();
        assert_eq!(said.lines[1], wanted, "{flags:?}: {said:?}");
    }
}

#[test]
fn shell_and_dashboard_say_whether_they_were_greeted() {
    let greeting = Broker::ours(&[]);
    let theirs = Mosquitto::start("");
    let theirs_port = theirs.port().to_string();
    let room = Room::new();
    let shell = |port: &str, flags: &[&str]| {
        let mut command = command(&room, port, &["shell"]);
        Program::start(command.args(flags)).finish().well().lines
    };
    let said = |lines: &[String], words: &str| lines.iter().any(|line| line == words);
    assert!(said(&shell(&greeting.port(), &[]), "authenticated"));
    assert!(said(&shell(&greeting.port(), &["-V", "31", "--hello"]), "authenticated"));
    let not_asked = shell(&theirs_port, &[]);
    assert!(!not_asked.iter().any(|line| line.contains("greet")), "{not_asked:?}");
    let missing = "the broker does not greet; going on";
    assert!(said(&shell(&theirs_port, &["--hello=100ms"]), missing));

    let board = Pty::start(&command(&room, &greeting.port(), &["dashboard"]), 12, 100);
    board.see("(MQTT 5.0), authenticated");
    let asked = command(&room, &theirs_port, &["dashboard", "--hello=100ms"]);
    Pty::start(&asked, 12, 100).see("(MQTT 5.0); the broker does not greet");
    let lines = Program::start(&mut command(&room, &theirs_port, &["dashboard", "--hello=100ms"]));
    lines.expect_complaint(&["warning: the broker does not greet; going on"]);
    lines.signal(Signal::INT);
    lines.finish().well();
}

#[test]
fn check_expects_the_greeting_of_noctule_alone() {
    let row = |finished: &Finished| {
        let row = finished.lines.iter().find(|line| line.contains("HELLO")).expect("a row");
        row.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let greeting = Broker::ours(&[]);
    let found = run(&greeting.port(), &["check", "--no-tls"]).well();
    assert_eq!(row(&found), "pass HELLO came");
    // Before MQTT 5 it does not say that it is Noctule; the greeting comes all the same.
    let found = run(&greeting.port(), &["check", "--no-tls", "-V", "311"]).well();
    assert_eq!(row(&found), "pass HELLO came");
    // A broker that does not greet does not say who it is, so nobody waits in vain.
    let silent = Broker::ours(&["--hello", "never"]);
    let theirs = Mosquitto::start("");
    for port in [silent.port(), theirs.port().to_string()] {
        let found = run(&port, &["check", "--no-tls", "--hello=100ms"]).well();
        assert_eq!(row(&found), "skip HELLO no greeting, which only Noctule sends");
    }
}

#[test]
fn check_opens_the_shell_over_tls_afterwards() {
    let broker = Broker::ours(&[]);
    let room = Room::new();
    let ca = broker.path("noctule-data/tls/ca.pem");
    let mut command = command(&room, &broker.port(), &["check", "--interactive"]);
    command.arg("--cafile").arg(ca).args(["--tls-port", &broker.tls_port()]);
    let terminal = Pty::start(&command, 40, 100);
    terminal.see("12 passed, 0 failed, 0 skipped");
    terminal.see("authenticated");
    terminal.see_line("noctule> ");
    terminal.keys("status\r");
    terminal.see("MQTT 5.0, TLS; session new");
    terminal.keys("sub over/tls\r");
    terminal.see("sub over/tls: granted QoS 0");
    mosquitto::publish(&broker, "mqttv311", &["-t", "over/tls", "-m", "arrived"]);
    terminal.see("over/tls arrived");
    terminal.see_line("noctule> ");
    terminal.keys("\u{4}");
    assert!(terminal.finish().0.success());

    // Without a certificate to trust the verification fails; the shell comes all the same.
    let mut failing = self::command(&room, &broker.port(), &["check", "--interactive"]);
    failing.args(["--tls-port", &broker.tls_port(), "--hello=100ms"]);
    let terminal = Pty::start(&failing, 40, 100);
    terminal.see("not all tests passed");
    terminal.see_line("noctule> ");
    terminal.keys("\u{4}");
    assert_eq!(terminal.finish().0.code(), Some(1));
}
