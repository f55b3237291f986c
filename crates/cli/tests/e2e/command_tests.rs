//! `noctule pub`, `sub` and `request` as a user types them, against our broker and mosquitto.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use rustix::process::Signal;

use crate::broker::{Broker, noctule};
use crate::mosquitto::{self, Subscriber, message};
use crate::mosquitto_broker::Mosquitto;
use crate::program::{Finished, Program};
use crate::room::Room;

/// A client command for the broker at this port of the loopback.
fn command(name: &str, port: &str, flags: &[&str]) -> Command {
    let mut command = noctule();
    command.arg(name).args(["-h", "127.0.0.1", "-p", port]).args(flags);
    command
}

fn run(name: &str, port: &str, flags: &[&str]) -> Finished {
    Program::start(&mut command(name, port, flags)).finish()
}

fn run_with_input(name: &str, port: &str, flags: &[&str], input: &str) -> Finished {
    Program::start_with(&mut command(name, port, flags), input.into()).finish()
}

fn code(finished: &Finished) -> i32 {
    finished.status.code().expect("an exit code")
}

#[test]
fn pub_sends_what_each_source_gives_at_every_qos() {
    let broker = Broker::ours(&[]);
    let port = broker.port();
    let subscriber = Subscriber::start(&broker, "mqttv5", &["-t", "t/#", "-q", "2"]);
    let room = Room::new();
    let file = room.file("payload", b"from a file");
    let file = file.to_str().expect("a path of ours");
    for qos in ["0", "1", "2"] {
        let flags = |more: &[&'static str]| [&["-t", "t/a", "-q", qos][..], more].concat();
        let number: u8 = qos.parse().expect("a digit");
        run("pub", &port, &flags(&["-m", "text"])).well();
        assert_eq!(subscriber.next(), message("t/a", number, false, "text"));
        run("pub", &port, &flags(&["-n"])).well();
        assert_eq!(subscriber.next(), message("t/a", number, false, ""));
        run_with_input("pub", &port, &flags(&["-s"]), "all of it").well();
        assert_eq!(subscriber.next(), message("t/a", number, false, "all of it"));
        run_with_input("pub", &port, &flags(&["-l"]), "one\ntwo\nthree").well();
        for line in ["one", "two", "three"] {
            assert_eq!(subscriber.next(), message("t/a", number, false, line));
        }
        run("pub", &port, &flags(&["-m", "again", "--repeat", "3"])).well();
        for _ in 0..3 {
            assert_eq!(subscriber.next(), message("t/a", number, false, "again"));
        }
        run("pub", &port, &["-t", "t/b", "-q", qos, "-f", file]).well();
        assert_eq!(subscriber.next(), message("t/b", number, false, "from a file"));
    }
}

#[test]
fn a_thousand_lines_arrive_in_order_at_every_qos_and_version() {
    let broker = Broker::ours(&[]);
    let lines: Vec<_> = (0..1_000).map(|number| number.to_string()).collect();
    for version in mosquitto::VERSIONS {
        for qos in ["0", "1", "2"] {
            let flags = ["-t", "t", "-q", qos, "-V", version];
            let subscriber = Subscriber::start(&broker, version, &["-t", "t", "-q", qos]);
            let flags = [&flags[..], &["-l"]].concat();
            run_with_input("pub", &broker.port(), &flags, &(lines.join("\n") + "\nend\n")).well();
            let got: Vec<_> = subscriber.until("end").into_iter().map(|m| m.payload).collect();
            assert!(got == lines, "{version} QoS {qos}: {} lines", got.len());
        }
    }
}

#[test]
fn sub_receives_from_mosquitto_what_mosquitto_pub_sends() {
    let broker = Mosquitto::start("");
    let port = broker.port().to_string();
    for version in mosquitto::VERSIONS {
        for qos in ["0", "1", "2"] {
            let topic = format!("{version}/{qos}");
            let flags = ["-t", &topic, "-m", "x", "-q", qos, "-r", "-V", version];
            let mut theirs = crate::foreign::mosquitto("mosquitto_pub");
            Program::start(theirs.args(["-p", &port]).args(flags)).finish().well();
            let format = ["-C", "1", "-W", "20", "-F", "%t %p %q %r"];
            let flags = [&["-t", &topic, "-q", "2", "-V", version][..], &format].concat();
            let finished = run("sub", &port, &flags).well();
            assert_eq!(finished.lines, [format!("{topic} x {qos} 1")]);
        }
    }
}

#[test]
fn selections_of_sub_keep_their_word() {
    let broker = Broker::ours(&[]);
    let port = broker.port();
    for (topic, text) in [("r/a", "1"), ("r/b", "2"), ("r/c", "3")] {
        run("pub", &port, &["-t", topic, "-m", text, "-r", "-q", "1"]).well();
    }
    let lines = |flags: &[&str]| {
        let mut lines = run("sub", &port, &[&["-v"], flags].concat()).lines;
        lines.sort();
        lines
    };
    assert_eq!(lines(&["-t", "r/+", "-C", "3"]), ["r/a 1", "r/b 2", "r/c 3"]);
    let out = ["-t", "r/+", "-T", "r/a", "-T", "+/c", "-C", "1"];
    assert_eq!(lines(&out), ["r/b 2"]);
    let none = run("sub", &port, &["-t", "r/+", "-R", "-W", "300ms"]);
    assert_eq!((code(&none), none.lines.len()), (27, 0));
    assert_eq!(none.complaints, "noctule: timed out\n");
    run("sub", &port, &["-t", "r/+", "--remove-retained", "-T", "r/c", "-C", "2"]).well();
    assert_eq!(lines(&["-t", "r/+", "-W", "300ms"]), ["r/c 3"]);
    run("sub", &port, &["-t", "r/+", "-E"]).well();
    let never = ["-t", "r/+", "-V", "5", "--retain-handling", "never", "-W", "300ms"];
    assert!(lines(&never).is_empty());
}

#[test]
fn a_session_that_is_kept_brings_what_came_meanwhile() {
    let broker = Broker::ours(&[]);
    let port = broker.port();
    for version in ["mqttv311", "mqttv5"] {
        let session = ["-i", version, "-c", "-V", version, "-q", "1", "-t", "jobs"];
        run("sub", &port, &[&session[..], &["-E"]].concat()).well();
        for text in ["one", "two"] {
            run("pub", &port, &["-t", "jobs", "-m", text, "-q", "1"]).well();
        }
        let all = run("sub", &port, &[&session[..], &["-C", "2", "-W", "20"]].concat()).well();
        assert_eq!(all.lines, ["one", "two"], "{version}");
        let end = ["-i", version, "-c", "-V", version, "-U", "jobs", "-x", "0"];
        run("sub", &port, &end).well();
    }
}

#[test]
fn request_prints_the_answer() {
    let broker = Broker::ours(&[]);
    let responder = Subscriber::start(&broker, "mqttv5", &["-t", "ask", "-q", "1"]);
    let flags = ["-t", "ask", "-e", "answer", "-m", "question", "-q", "1", "-W", "20", "-v"];
    let asking = Program::start(&mut command("request", &broker.port(), &flags));
    assert_eq!(responder.next().payload, "question");
    let stranger = ["-t", "answer", "-m", "not yours", "-D", "publish", "correlation-data", "x"];
    run("pub", &broker.port(), &stranger).well();
    mosquitto::publish(&broker, "mqttv311", &["-t", "answer", "-m", "yes"]);
    assert_eq!(asking.finish().well().lines, ["answer yes"]);

    mosquitto::publish(&broker, "mqttv311", &["-t", "answer", "-m", "of yesterday", "-r"]);
    let asking =
        Program::start(&mut command("request", &broker.port(), &[&flags[..], &["-R"]].concat()));
    assert_eq!(responder.next().payload, "question");
    mosquitto::publish(&broker, "mqttv311", &["-t", "answer", "-m", "yes"]);
    assert_eq!(asking.finish().well().lines, ["answer yes"], "with -R nothing retained counts");
    let late = run("request", &broker.port(), &["-t", "a", "-e", "b", "-n", "-W", "50ms"]);
    assert_eq!(code(&late), 27);
}

/// Every flag that a help of mosquitto's names.
fn flags_in(help: &str) -> BTreeSet<String> {
    let words = help.split(|letter: char| letter.is_whitespace() || "[]{}|,'\"()".contains(letter));
    let is_flag = |word: &&str| {
        let short =
            word.len() == 2 && word.starts_with('-') && word.as_bytes()[1].is_ascii_alphabetic();
        let long = word.starts_with("--") && word.len() > 3;
        short || (long && word[2..].bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
    };
    words.filter(is_flag).map(str::to_owned).collect()
}

#[test]
fn every_flag_of_mosquittos_commands_is_known_or_refused_with_a_reason() {
    for (theirs, ours) in
        [("mosquitto_pub", "pub"), ("mosquitto_sub", "sub"), ("mosquitto_rr", "request")]
    {
        let help = Program::start(crate::foreign::mosquitto(theirs).arg("--help")).finish();
        let flags = flags_in(&help.lines.join("\n"));
        assert!(flags.len() > 40, "{theirs}: {flags:?}");
        for flag in flags {
            let finished =
                Program::start(noctule().args([ours, "-t", "a", "-p", "1", &flag])).finish();
            let said = finished.complaints;
            assert!(!said.contains("unexpected argument"), "{ours} does not know {flag}: {said}");
        }
    }
    for (flag, why) in [
        ("--ciphers", "safe"),
        ("--psk", "certificates"),
        ("--proxy", "not supported"),
        ("--unix", "--host"),
        ("-S", "--host"),
        ("--ws", "TCP"),
    ] {
        let finished = Program::start(noctule().args(["sub", "-t", "a", flag, "x"])).finish();
        let said = &finished.complaints;
        assert_eq!((code(&finished), said.lines().count()), (2, 1), "{said}");
        assert!(said.contains(&format!("{flag} is not offered: ")) && said.contains(why), "{said}");
    }
}

#[test]
fn exit_codes_say_what_happened() {
    let free = crate::mosquitto_broker::free_port().to_string();
    let nobody = run("pub", &free, &["-t", "a", "-m", "x"]);
    assert_eq!(code(&nobody), 1);
    assert!(nobody.complaints.contains("cannot connect to 127.0.0.1:"), "{}", nobody.complaints);
    for wrong in [
        &["pub", "-t", "a"][..],
        &["pub", "-m", "x"],
        &["sub"],
        &["sub", "-t", "a#"],
        &["sub", "-t", "a", "-F", "%z"],
        &["request", "-t", "a", "-m", "x"],
        &["pub", "-t", "a", "-m", "x", "-n"],
        &["pub", "-t", "a", "-m", "x", "-D", "publish", "colour", "red"],
    ] {
        let finished = Program::start(noctule().args(wrong)).finish();
        assert_eq!(code(&finished), 2, "{wrong:?}: {}", finished.complaints);
    }
    let room = Room::new();
    let users = room.file("users", b"");
    let config = format!("allow_anonymous false\npassword_file {}", users.display());
    let broker = Mosquitto::start(&config);
    let port = broker.port().to_string();
    for (version, expected) in [("mqttv31", 5), ("mqttv311", 5), ("mqttv5", 0x87)] {
        for line in [&["pub", "-t", "a", "-m", "x"][..], &["sub", "-t", "a"]] {
            let flags = [&line[1..], &["-V", version]].concat();
            let refused = run(line[0], &port, &flags);
            assert_eq!(code(&refused), expected, "{version}");
            assert!(refused.complaints.contains("not allowed to connect"));
            let quiet = run(line[0], &port, &[&flags[..], &["--quiet"]].concat());
            assert_eq!((code(&quiet), quiet.complaints.as_str()), (expected, ""));
        }
    }
}

#[test]
fn a_peer_that_is_no_broker_is_named_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port().to_string();
    let answering = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().expect("somebody connects");
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("it reads");
            // What it says is read to its end, so that the answer is not lost in a reset.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    for line in [&["pub", "-t", "a", "-m", "x"][..], &["sub", "-t", "a"]] {
        let finished = run(line[0], &port, &line[1..]);
        assert_eq!(code(&finished), 1);
        assert_eq!(finished.complaints.lines().count(), 1, "{}", finished.complaints);
        assert!(finished.complaints.contains("web server"), "{}", finished.complaints);
    }
    answering.join().expect("both came");
}

#[test]
fn with_wait_a_broker_that_is_not_there_yet_is_said_once_and_waited_for() {
    let port = crate::mosquitto_broker::free_port();
    let flags = ["-t", "a", "-m", "x", "-q", "1", "-r", "--wait"];
    let waiting = Program::start(&mut command("pub", &port.to_string(), &flags));
    waiting.expect_complaint(&["will keep trying to connect"]);
    let broker = Broker::on_port(port, &[]);
    let said = waiting.finish().well().complaints;
    assert_eq!(said.lines().count(), 1, "{said}");
    let late = run("sub", &broker.port(), &["-t", "a", "-C", "1", "-W", "20"]).well();
    assert_eq!(late.lines, ["x"]);
}

#[test]
fn a_url_and_saved_options_say_where() {
    let broker = Broker::ours(&[]);
    let url = format!("mqtt://127.0.0.1:{}/u/rl", broker.port());
    let mut publish = noctule();
    Program::start(publish.args(["pub", &url, "-m", "by url", "-r", "-q", "1"])).finish().well();
    let room = Room::new();
    let options = format!("# saved\n-h 127.0.0.1\n-p {}\n-t u/#\n-v\n", broker.port());
    std::fs::create_dir_all(room.path().join("noctule")).expect("the room is writable");
    room.file("noctule/sub", options.as_bytes());
    let mut subscribe = noctule();
    subscribe.env("XDG_CONFIG_HOME", room.path()).args(["sub", "-C", "1"]);
    assert_eq!(Program::start(&mut subscribe).finish().well().lines, ["u/rl by url"]);
}

#[test]
fn an_interrupt_ends_a_command_in_good_order() {
    let broker = Broker::ours(&[]);
    for signal in [Signal::INT, Signal::TERM] {
        let will = ["-t", "a", "-v", "--will-topic", "w", "--will-payload", "lost"];
        let program = Program::start(&mut command("sub", &broker.port(), &will));
        run("pub", &broker.port(), &["-t", "a", "-m", "x", "-r", "-q", "1"]).well();
        program.expect("a message", |line| (line == "a x").then_some(()));
        program.signal(signal);
        let finished = program.finish().well();
        assert_eq!(finished.complaints, GOODBYE);
    }
    let will = run("sub", &broker.port(), &["-t", "w", "-W", "300ms"]);
    assert!(will.lines.is_empty(), "DISCONNECT was said, so no will was sent");
}

#[test]
fn whatever_a_command_waits_for_an_interrupt_ends_it_with_one_friendly_line() {
    let broker = Broker::ours(&[]);
    // Connections are taken by the system, and nobody ever reads from them.
    let mute = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mute_port = mute.local_addr().expect("bound").port().to_string();
    let port = broker.port();
    let flags: [(&str, &[&str], &str); 5] = [
        ("pub", &["-t", "a", "-m", "x"], &mute_port),
        ("sub", &["-t", "a"], &mute_port),
        ("check", &["--no-tls"], &mute_port),
        ("dashboard", &[], &mute_port),
        ("request", &["-t", "ask", "-e", "answer", "-n"], &mute_port),
    ];
    for (name, flags, port) in flags {
        let program = Program::start(&mut command(name, port, flags));
        // It waits for CONNACK now.
        let _connection = mute.accept().expect("it connects");
        program.signal(Signal::INT);
        let finished = program.finish().well();
        assert_eq!(finished.complaints, GOODBYE, "{name}");
    }
    let asked = Subscriber::start(&broker, "mqttv311", &["-t", "ask"]);
    let request = ["-t", "ask", "-e", "answer", "-m", "?"];
    let waiting = Program::start(&mut command("request", &port, &request));
    asked.next();
    waiting.signal(Signal::INT);
    assert_eq!(waiting.finish().well().complaints, GOODBYE);
    let (reading, mut lines) =
        Program::start_open(&mut command("pub", &port, &["-t", "ask", "-l"]));
    lines.write_all(b"first\n").expect("it reads");
    assert_eq!(asked.next().payload, "first");
    reading.signal(Signal::INT);
    assert_eq!(reading.finish().well().complaints, GOODBYE);
}

/// What a client command says when it was interrupted.
const GOODBYE: &str = "noctule: disconnected cleanly. Goodbye!\n";

#[test]
fn a_loss_is_told_once_and_the_return_once() {
    let broker = Broker::ours(&[]);
    let port: u16 = broker.port().parse().expect("a port");
    let program = Program::start(&mut command("sub", &port.to_string(), &["-t", "a", "-v"]));
    run("pub", &port.to_string(), &["-t", "a", "-m", "before", "-r", "-q", "1"]).well();
    program.expect("a message", |line| (line == "a before").then_some(()));
    drop(broker);
    let broker = Broker::on_port(port, &[]);
    run("pub", &broker.port(), &["-t", "a", "-m", "after", "-r", "-q", "1"]).well();
    program.expect("a message", |line| (line == "a after").then_some(()));
    program.signal(Signal::INT);
    let complaints = program.finish().well().complaints;
    let lines: Vec<_> = complaints.lines().collect();
    assert!(
        matches!(lines[..], [lost, back, _] if lost.starts_with("noctule: connection lost: ")
            && back == "noctule: connected again"),
        "{complaints}"
    );
    assert!(complaints.ends_with(GOODBYE), "{complaints}");
}
