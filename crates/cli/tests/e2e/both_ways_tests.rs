//! Our clients with Debian's mosquitto, its clients with our broker, and each with its own: the same
//! things happen.

use std::io::Write;
use std::process::Command;

use rustix::process::Signal;

use crate::broker::{Broker, noctule};
use crate::foreign::mosquitto;
use crate::lamp::Lamp;
use crate::mosquitto::VERSIONS;
use crate::mosquitto_broker::Mosquitto;
use crate::program::Program;
use crate::room::Room;

/// A client command of ours, or theirs of the same kind.
fn client(name: &str, port: u16) -> Command {
    let mut command = if name.starts_with("mosquitto") {
        mosquitto(name)
    } else {
        let mut command = noctule();
        command.arg(name);
        command
    };
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    command
}

fn run(command: &mut Command) -> Vec<String> {
    Program::start(command).finish().well().lines
}

/// Does `test` with a broker of each kind.
fn with_both(test: impl Fn(u16)) {
    let ours = Broker::ours(&[]);
    test(ours.port().parse().expect("a port"));
    let theirs = Mosquitto::start("");
    test(theirs.port());
}

#[test]
fn every_publisher_reaches_every_subscriber_through_every_broker() {
    with_both(|port| {
        for (number, publisher) in ["pub", "mosquitto_pub"].iter().enumerate() {
            for version in VERSIONS {
                for qos in ["0", "1", "2"] {
                    let topic = format!("{number}/{version}/{qos}");
                    let flags = ["-V", version, "-q", qos, "-t", &topic, "-m", "x", "-r"];
                    // At QoS 0 nobody tells the publisher when its message is retained.
                    let watch = ["-V", version, "-t", &topic, "-C", "1", "-d"];
                    let watcher = Program::start(client("mosquitto_sub", port).args(watch));
                    watcher.expect("SUBACK", |line| line.starts_with("Subscribed").then_some(()));
                    run(client(publisher, port).args(flags));
                    watcher.finish().well();
                    for subscriber in ["sub", "mosquitto_sub"] {
                        let flags = ["-V", version, "-q", "2", "-t", &topic, "-C", "1"];
                        let format = ["-W", "20", "-F", "%t %p %q %r"];
                        let lines = run(client(subscriber, port).args(flags).args(format));
                        assert_eq!(lines, [format!("{topic} x {qos} 1")], "{subscriber}");
                    }
                }
            }
        }
    });
}

#[test]
fn every_requester_is_answered_through_every_broker() {
    with_both(|port| {
        let _lamp = Lamp::hang(port);
        for requester in ["request", "mosquitto_rr"] {
            let flags = ["-V", "5", "-q", "1", "-t", "lamp/ask", "-e", "lamp/answer", "-m", "?"];
            let lines = run(client(requester, port).args(flags).args(["-W", "20", "-v"]));
            assert_eq!(lines, ["lamp/answer on"], "{requester}");
        }
    });
}

#[test]
fn the_sensor_is_heard_by_every_subscriber_through_every_broker() {
    with_both(|port| {
        for version in VERSIONS {
            let flags = ["--rounds", "1", "--seed", "7", "-q", "1", "-V", version];
            let said = run(client("sensor", port).args(flags));
            assert!(said.iter().any(|line| line.starts_with("T:24.4°C ")), "{said:?}");
            for subscriber in ["sub", "mosquitto_sub"] {
                let flags = ["-t", "sensors/status", "-C", "1", "-W", "20", "-F", "%r %p"];
                let lines = run(client(subscriber, port).args(flags));
                assert!(lines[0].starts_with("1 {\"timestamp\": "), "{subscriber}: {lines:?}");
            }
        }
    });
}

#[test]
fn the_shell_and_the_dashboard_show_what_every_publisher_sends_through_every_broker() {
    with_both(|port| {
        for (number, publisher) in ["pub", "mosquitto_pub"].iter().enumerate() {
            let topic = format!("sensors/{number}");
            run(client(publisher, port).args(["-t", &topic, "-m", "23.5", "-r", "-q", "1"]));
            let wanted = format!("{topic} 23.5");
            let room = Room::new();
            let mut shell = client("shell", port);
            shell.env("XDG_STATE_HOME", room.path());
            let (shell, mut orders) = Program::start_open(&mut shell);
            writeln!(orders, "sub {topic}").expect("it reads");
            shell.expect("the message", |line| (line == wanted).then_some(()));
            writeln!(orders, "pub -q 2 from/shell typed").expect("it reads");
            drop(orders);
            shell.finish().well();
            let board = Program::start(&mut client("dashboard", port));
            board.expect("the message", |line| (line == wanted).then_some(()));
            board.signal(Signal::INT);
            board.finish().well();
        }
    });
}

#[test]
fn check_passes_every_broker() {
    with_both(|port| {
        for version in VERSIONS {
            let flags = ["--no-tls", "--hello=100ms", "-V", version];
            let lines = run(client("check", port).args(flags));
            let verdict = lines.last().expect("a verdict");
            assert!(verdict.contains(" 0 failed"), "{version}: {lines:#?}");
        }
    });
}
