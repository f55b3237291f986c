//! `noctule pub`, `sub` and `request` as a user types them, against our broker and mosquitto.

use std::process::Command;

use crate::broker::{Broker, noctule};
use crate::mosquitto::{self, Subscriber, message};
use crate::mosquitto_broker::Mosquitto;
use crate::program::{Finished, Program};
use crate::room::Room;

/// A client command for the broker at this port of the loopback.
pub(crate) fn command(name: &str, port: &str, flags: &[&str]) -> Command {
    let mut command = noctule();
    command.arg(name).args(["-h", "127.0.0.1", "-p", port]).args(flags);
    command
}

/// The end of such a command.
pub(crate) fn run(name: &str, port: &str, flags: &[&str]) -> Finished {
    Program::start(&mut command(name, port, flags)).finish()
}

fn run_with_input(name: &str, port: &str, flags: &[&str], input: &str) -> Finished {
    Program::start_with(&mut command(name, port, flags), input.into()).finish()
}

/// Its exit code.
pub(crate) fn code(finished: &Finished) -> i32 {
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
