//! The commands of the README, run from its top to its end, and what it says that they print.
//!
//! A block of the kind `text` has commands behind `$ `, each with what it prints below; a block without
//! a command is what the last client that is still running has printed. A block of the kind `json` is
//! what the broker has logged. `…` stands for anything. The README speaks of the usual ports, on which
//! something else may be listening; so the clients are called by scripts that know the ports of this
//! broker, and what the broker says is read with the usual ones.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::broker::noctule;
use crate::program::Program;
use crate::room::Room;

#[test]
fn what_the_readme_says_is_what_happens() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(readme).expect("the README");
    let mut terminal = Terminal::new();
    for (kind, text) in blocks(&readme) {
        match kind {
            "text" => terminal.follow(text),
            "json" => terminal.expect_records(text),
            // Building, and the tests of which this is one.
            "sh" => assert!(text.lines().all(|line| line.starts_with("cargo ")), "{text}"),
            other => panic!("a block of the kind {other:?}, which nobody checks"),
        }
    }
    assert!(terminal.commands >= 15, "only {} commands were found", terminal.commands);
}

/// Blocks with their kinds, in order.
fn blocks(page: &str) -> impl Iterator<Item = (&str, &str)> {
    let inside = page.split("```").skip(1).step_by(2);
    inside.filter_map(|block| block.split_once('\n'))
}

/// Where the commands are typed.
struct Terminal {
    broker: Option<Program>,
    client: Option<Program>,
    /// Clients that go on running, unheard.
    others: Vec<Program>,
    commands: usize,
    ports: Option<(String, String)>,
    // In this order, so that the processes are gone before their directory.
    room: Room,
}

impl Terminal {
    fn new() -> Self {
        let (broker, client, others, ports) = (None, None, Vec::new(), None);
        Self { broker, client, others, commands: 0, ports, room: Room::new() }
    }

    /// Types what stands in a block.
    fn follow(&mut self, text: &str) {
        let mut lines = text.trim_end_matches('\n').lines().peekable();
        if !text.starts_with("$ ") {
            let client = self.client.as_ref().expect("a client that is running");
            for expected in lines {
                let line = client.expect("message", |line| message(line).map(str::to_owned));
                assert_like(&[line], &[expected]);
            }
            return;
        }
        while let Some(command) = lines.next().and_then(|line| line.strip_prefix("$ ")) {
            let mut expected = Vec::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
                expected.push(line);
            }
            self.commands += 1;
            self.type_in(command, &expected);
        }
    }

    fn type_in(&mut self, command: &str, expected: &[&str]) {
        if command.ends_with(" broker") {
            return self.start_broker(expected);
        }
        let goes_on = command.starts_with("mosquitto_sub")
            && ![" -E", " -C ", " -W "].iter().any(|flag| command.contains(flag));
        if goes_on {
            // By what it says of its own doing it is known when it is subscribed. It takes the shell's
            // place, so that it is what is ended.
            let client = self.start(&format!("exec {command} -d"));
            client.expect("SUBACK", |line| line.starts_with("Subscribed (mid").then_some(()));
            self.others.extend(self.client.replace(client));
            return;
        }
        let finished = self.start(command).finish();
        assert!(finished.status.success(), "{command}: {finished:?}");
        assert_like(&finished.lines, expected);
    }

    fn start(&self, command: &str) -> Program {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(self.room.path());
        shell.env("PATH", format!("{}:{path}", self.room.path().join("bin").display()));
        Program::start(&mut shell)
    }

    fn start_broker(&mut self, expected: &[&str]) {
        let mut command = noctule();
        command.args(["broker", "--port", "0", "--tls-port", "0"]);
        command.args(["--store-segment-bytes", "1MiB"]).current_dir(self.room.path());
        let broker = Program::start(&mut command);
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.starts_with("  ready in ")) {
            lines.push(broker.expect("line that says ready", |line| Some(line.to_owned())));
        }
        let port = |transport: &str| {
            let line = lines.iter().find(|line| line.ends_with(transport)).expect("a listener");
            let address = line.trim_end_matches(transport).trim_end();
            address.rsplit(':').next().expect("a port").to_owned()
        };
        let (plain, tls) = (port("(MQTT)"), port("(MQTT over TLS)"));
        let usual = |line: &String| line.replace(&plain, "1883").replace(&tls, "8883");
        assert_like(&lines.iter().map(usual).collect::<Vec<_>>(), expected);
        self.install(&plain, &tls);
        self.ports = Some((plain, tls));
        self.broker = Some(broker);
    }

    /// Puts the programs of the README where its commands find them.
    fn install(&self, plain: &str, tls: &str) {
        std::fs::create_dir(self.room.path().join("bin")).expect("a room");
        let binary = noctule().get_program().to_string_lossy().into_owned();
        self.script("noctule", &format!("exec '{binary}' \"$@\""));
        for program in ["mosquitto_pub", "mosquitto_sub"] {
            let real = which(program);
            let script = format!(
                "for word do\n  shift\n  if [ \"$before\" = -p ]; then\n    given=yes\n    \
                 if [ \"$word\" = 8883 ]; then word={tls}; else word={plain}; fi\n  fi\n  \
                 before=$word\n  set -- \"$@\" \"$word\"\ndone\n\
                 [ \"$given\" ] || set -- -p {plain} \"$@\"\n\
                 exec stdbuf -oL '{real}' \"$@\""
            );
            self.script(program, &script);
        }
    }

    fn script(&self, name: &str, text: &str) {
        let path =
            self.room.file(&format!("bin/{name}"), format!("#!/bin/sh\n{text}\n").as_bytes());
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("our own file");
    }

    /// The broker has logged these records, but for their times.
    fn expect_records(&self, text: &str) {
        let broker = self.broker.as_ref().expect("a broker that is running");
        for record in text.split_inclusive("\n}\n") {
            let compact = compact(record);
            let (_, rest) = compact.split_once(",\"publisher_id\"").expect("a record");
            broker.expect_complaint(&["{\"timestamp\":\"", &format!(",\"publisher_id\"{rest}")]);
        }
    }
}

/// What mosquitto_sub prints for a message; what it says of its own doing with `-d` is left out.
fn message(line: &str) -> Option<&str> {
    (!line.starts_with("Client ") && !line.starts_with("Subscribed ")).then_some(line)
}

/// JSON without what stands between its words.
fn compact(json: &str) -> String {
    let mut is_string = false;
    let keeps = |c: &char| {
        is_string ^= *c == '"';
        is_string || !c.is_whitespace()
    };
    json.chars().filter(keeps).collect()
}

/// Whether lines are as expected, where `…` stands for anything, and alone in a line for any lines.
fn assert_like(lines: &[String], expected: &[&str]) {
    assert!(are_like(lines, expected), "expected\n{expected:#?}\nfound\n{lines:#?}");
}

fn are_like(lines: &[String], expected: &[&str]) -> bool {
    match (lines, expected) {
        ([], []) => true,
        (_, [any, rest @ ..]) if any.trim() == "…" => {
            (0..=lines.len()).any(|skipped| are_like(&lines[skipped..], rest))
        }
        ([line, lines @ ..], [pattern, rest @ ..]) => {
            is_like(line, pattern) && are_like(lines, rest)
        }
        _ => false,
    }
}

fn is_like(line: &str, pattern: &str) -> bool {
    // How long something took, and with how many loops, is no promise.
    if pattern.starts_with("  ready in ") {
        return line.starts_with("  ready in ");
    }
    match pattern.split_once('…') {
        None => line == pattern,
        Some((front, back)) => line.strip_prefix(front).is_some_and(|rest| {
            (0..=rest.len()).filter_map(|at| rest.get(at..)).any(|rest| is_like(rest, back))
        }),
    }
}

fn which(program: &str) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).map(|place| place.join(program));
    let found = places.into_iter().find(|place| place.is_file());
    found.unwrap_or_else(|| panic!("no {program}: run `cargo xtask prepare`")).display().to_string()
}

#[test]
fn the_comparison_knows_what_is_not_alike() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(are_like(&lines("a\nb\nc"), &["a", "…", "c"]));
    assert!(are_like(&lines("a\nc"), &["a", "…", "c"]));
    assert!(!are_like(&lines("a\nb"), &["a"]));
    assert!(!are_like(&lines("a"), &["a", "b"]));
    assert!(is_like("until  2029 (824 days)", "until  … (824 days)"));
    assert!(!is_like("until  2029 (823 days)", "until  … (824 days)"));
    assert_eq!(compact("{\n  \"a b\": 1\n}"), "{\"a b\":1}");
}
