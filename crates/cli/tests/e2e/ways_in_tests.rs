//! The client commands over WebSocket, with TLS and without, and over Unix sockets.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::broker::{Broker, noctule};
use crate::lamp::Lamp;
use crate::mosquitto::VERSIONS;
use crate::mosquitto_broker::{Mosquitto, free_port};
use crate::program::Program;
use crate::room::Room;

/// A broker with all ways in.
struct House {
    port: u16,
    ws_port: u16,
    wss_port: u16,
    socket: String,
    ca: String,
    /// What the greeting is found to be by `noctule check`.
    hello: &'static str,
    _kept: Kept,
}

/// What runs and lies there as long as the house stands.
enum Kept {
    Ours { _broker: Broker },
    Theirs { _broker: Mosquitto, _room: Room },
}

impl House {
    /// Does `test` with a broker of each kind.
    fn with_both(test: impl Fn(&Self)) {
        test(&Self::of_ours());
        test(&Self::of_mosquitto());
    }

    fn of_ours() -> Self {
        let flags = ["--ws-port", "0", "--wss-port", "0", "--unix", "door.sock"];
        let broker = Broker::ours(&flags);
        let number = |port: String| port.parse().expect("a port");
        let (ws_port, wss_port) = (number(broker.ws_port()), number(broker.wss_port()));
        let port = broker.port().parse().expect("a port");
        let socket = text(&broker.path("door.sock"));
        let ca = text(&broker.path("noctule-data/tls/ca.pem"));
        let kept = Kept::Ours { _broker: broker };
        Self { port, ws_port, wss_port, socket, ca, hello: "pass  HELLO", _kept: kept }
    }

    fn of_mosquitto() -> Self {
        let room = Room::new();
        let mut cert = noctule();
        cert.args(["cert", "--hostname", "localhost"]).current_dir(room.path());
        Program::start(&mut cert).finish().well();
        let file = |name: &str| text(&room.path().join("noctule-data/tls").join(name));
        let (ws_port, wss_port) = (free_port(), free_port());
        let socket = text(&room.path().join("door.sock"));
        let broker = Mosquitto::start(&format!(
            "listener {ws_port} 127.0.0.1\nprotocol websockets\n\
             listener {wss_port} 127.0.0.1\nprotocol websockets\ncertfile {}\nkeyfile {}\n\
             listener 0 {socket}\nuser root",
            file("server.pem"),
            file("server.key"),
        ));
        let (port, ca) = (broker.port(), file("ca.pem"));
        let kept = Kept::Theirs { _broker: broker, _room: room };
        Self { port, ws_port, wss_port, socket, ca, hello: "skip  HELLO", _kept: kept }
    }

    /// What is typed behind a command to come in by each of the ways, which has a name.
    fn ways(&self) -> Vec<(&'static str, Vec<String>)> {
        let Self { ws_port, wss_port, socket, ca, .. } = self;
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        vec![
            ("ws", words(&format!("ws://127.0.0.1:{ws_port}"))),
            ("ws-flag", words(&format!("--ws -h 127.0.0.1 -p {ws_port}"))),
            ("wss", words(&format!("-L wss://localhost:{wss_port}/mqtt --cafile {ca}"))),
            ("unix", vec![format!("unix:{socket}")]),
            ("unix-flag", vec!["--unix".to_owned(), socket.clone()]),
        ]
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of ours").to_owned()
}

fn client(name: &str, way: &[String]) -> Command {
    let mut command = noctule();
    command.arg(name).args(way);
    command
}

fn run(command: &mut Command) -> Vec<String> {
    Program::start(command).finish().well().lines
}

#[test]
fn what_is_published_by_one_way_comes_by_every_other() {
    House::with_both(every_way_to_every_way);
}

fn every_way_to_every_way(house: &House) {
    let plain = ("tcp", vec!["-p".to_owned(), house.port.to_string()]);
    let mut ways = house.ways();
    ways.push(plain);
    for (from, way) in &ways {
        for version in VERSIONS {
            let topic = format!("{from}/{version}");
            let flags = ["-V", version, "-q", "2", "-t", &topic, "-m", from, "-r"];
            run(client("pub", way).args(flags));
        }
    }
    for (to, way) in &ways {
        let mut sub = client("sub", way);
        let count = (ways.len() * VERSIONS.len()).to_string();
        sub.args(["-q", "2", "-t", "+/+", "-W", "20", "-F", "%t %p", "-C", &count]);
        let lines = run(&mut sub);
        for (from, _) in &ways {
            for version in VERSIONS {
                let line = format!("{from}/{version} {from}");
                assert!(lines.contains(&line), "{to}: {line} is missing in {lines:?}");
            }
        }
    }
}

#[test]
fn every_command_takes_every_way() {
    House::with_both(every_command);
}

fn every_command(house: &House) {
    let _lamp = Lamp::hang(house.port);
    for (name, way) in house.ways() {
        let mut request = client("request", &way);
        request.args(["-t", "lamp/ask", "-e", "lamp/answer", "-m", "?", "-W", "20"]);
        assert_eq!(run(&mut request), ["on"], "{name}");

        let prefix = format!("sensors-{name}");
        let mut sensor = client("sensor", &way);
        sensor.args(["--rounds", "1", "--seed", "7", "-q", "1", "--prefix", &prefix]);
        let said = run(&mut sensor);
        assert!(said.iter().any(|line| line.starts_with("T:24.4°C ")), "{name}: {said:?}");

        let room = Room::new();
        let mut shell = client("shell", &way);
        shell.env("XDG_STATE_HOME", room.path());
        let (shell, mut orders) = Program::start_open(&mut shell);
        writeln!(orders, "sub {prefix}/status").expect("it reads");
        shell.expect("the message", |line| line.starts_with(&prefix).then_some(()));
        drop(orders);
        shell.finish().well();

        let filter = format!("{prefix}/+");
        let board = Program::start(client("dashboard", &way).args(["-t", &filter]));
        board.expect("the message", |line| line.starts_with(&prefix).then_some(()));
        board.signal(Signal::INT);
        board.finish().well();
    }
}

#[test]
fn check_tests_every_way() {
    House::with_both(check);
}

fn check(house: &House) {
    let House { ws_port, wss_port, socket, ca, .. } = house;
    let run = |line: &str| {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let lines = run(client("check", &words).arg("--hello=2s"));
        assert!(lines.iter().any(|line| line.starts_with(house.hello)), "{lines:#?}");
        lines
    };
    let has = |lines: &[String], begins: &str| lines.iter().any(|line| line.starts_with(begins));
    let lines = run(&format!(
        "localhost -p {} --no-tls --cafile {ca} --ws-port={ws_port} --wss-port={wss_port}",
        house.port
    ));
    for begins in ["pass  WebSocket  ", "pass  WebSocket over TLS", "pass  there and back"] {
        assert!(has(&lines, begins), "{begins}: {lines:#?}");
    }
    assert!(lines.last().is_some_and(|last| last.contains(" 0 failed")), "{lines:#?}");

    let lines = run(&format!("ws://localhost:{ws_port} --tls-port {wss_port} --cafile {ca}"));
    for begins in ["pass  plain connection", "pass  TLS, verified", "pass  TLS to plain"] {
        assert!(has(&lines, begins), "{begins}: {lines:#?}");
    }
    let lines = run(&format!("unix:{socket}"));
    assert!(has(&lines, "skip  TLS                  a Unix socket is not encrypted"), "{lines:#?}");
    assert!(has(&lines, "pass  QoS 2"), "{lines:#?}");

    let mut hostless = client("check", &[format!("unix:{socket}")]);
    let refused = Program::start(hostless.args(["--ws-port", "1"])).finish();
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.complaints.contains("need a host"), "{}", refused.complaints);

    let closed = free_port();
    let mut failing = client("check", &["--no-tls".to_owned()]);
    failing.args(["-p", &house.port.to_string(), &format!("--ws-port={closed}"), "--hello=100ms"]);
    let found = Program::start(&mut failing).finish();
    assert_eq!(found.status.code(), Some(1));
    assert!(found.lines.iter().any(|line| line.starts_with("FAIL  WebSocket ")), "{found:?}");
}

#[test]
fn what_is_wrong_with_a_way_is_said_in_a_line() {
    House::with_both(wrong_ways);
}

fn wrong_ways(house: &House) {
    let (port, ws_port, wss_port) = (house.port, house.ws_port, house.wss_port);
    for (line, code, words) in [
        (format!("ws://127.0.0.1:{port}"), 1, "when WebSocket was asked for"),
        (format!("mqtt://127.0.0.1:{ws_port}"), 1, ""),
        (format!("wss://127.0.0.1:{ws_port}"), 1, "TLS"),
        (format!("wss://localhost:{wss_port}"), 1, "not accepted"),
        ("unix:/there/is/no/such.sock".to_owned(), 1, "cannot connect to unix:/there/is"),
        (format!("unix:{} --tls", house.socket), 2, "a Unix socket is not encrypted"),
        (format!("unix:{} -p 1", house.socket), 2, "no host, no port"),
        ("ws://".to_owned(), 2, "names no host"),
        ("http://localhost".to_owned(), 2, "expected mqtt://"),
        (format!("unix:{}", "x".repeat(200)), 1, "unix:xxx"),
    ] {
        let words_of_line: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let mut sub = client("sub", &words_of_line);
        let finished = Program::start(sub.args(["-t", "a", "-W", "20"])).finish();
        let said = &finished.complaints;
        assert_eq!(finished.status.code(), Some(code), "{line}: {said}");
        assert!(said.contains(words), "{line}: {said}");
        assert_eq!(said.lines().count(), 1, "{line}: {said}");
    }
}

#[test]
fn bench_drives_a_broker_by_every_way() {
    House::with_both(|house| {
        for (name, way) in house.ways() {
            for scenario in [&["pair"][..], &["connect"], &["latency", "--rate", "400"]] {
                let mut bench = client("bench", &[]);
                bench.args(scenario).args(&way).args(["--duration", "250ms", "-n", "4"]);
                bench.args(["--quiet", "--json"]);
                let lines = run(&mut bench).join("\n");
                let report: serde_json::Value = serde_json::from_str(&lines).expect("JSON");
                let place = report["place"].as_str().expect("a place");
                let scheme = name.trim_end_matches("-flag");
                assert!(place.starts_with(&format!("{scheme}:")), "{name}: {place}");
            }
        }
    });
}
