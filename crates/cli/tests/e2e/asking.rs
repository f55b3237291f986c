//! Who may come in is asked over HTTP, of a server in Python.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ChildStdin;
use std::time::Instant;

use rustix::process::Signal;

use crate::broker::{Broker, noctule};
use crate::foreign::{python, script};
use crate::login::{answer, connect, passwd};
use crate::program::{DEADLINE, Program};
use crate::room::Room;

const DENIED: u8 = 0x86;
const UNAVAILABLE: u8 = 0x88;

/// Whoever is asked.
struct Backend {
    program: Program,
    /// How it is told how to answer. It ends with this.
    manner: ChildStdin,
    port: u16,
}

impl Backend {
    fn start(port: u16, tls: &[&str]) -> Self {
        let mut command = python();
        command.arg(script("auth_server.py")).arg(port.to_string()).args(tls);
        let (program, manner) = Program::start_open(&mut command);
        let port = program.expect("a port", |line| line.strip_prefix("listening ")?.parse().ok());
        Self { program, manner, port }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/login", self.port)
    }

    /// From now on it answers like this.
    fn answers(&mut self, manner: &str) {
        writeln!(self.manner, "{manner}").expect("it listens");
        let said = format!("manner {manner}");
        self.program.expect(&said, |line| (line == said).then_some(()));
    }

    /// The next question that it was asked.
    fn asked(&self) -> serde_json::Value {
        self.program.expect("a question", |line| {
            line.starts_with('{').then(|| serde_json::from_str(line).expect("JSON"))
        })
    }

    fn kill(self) {
        self.program.signal(Signal::KILL);
        self.program.finish();
    }
}

fn at(broker: &Broker, id: &str, user: Option<&str>, password: Option<&str>) -> (TcpStream, u8) {
    let mut stream = broker.connect();
    stream.write_all(&connect(5, id, user, password)).expect("an open connection");
    let code = answer(&mut stream);
    (stream, code)
}

fn login(broker: &Broker, user: &str, password: &str) -> u8 {
    at(broker, "x", Some(user), Some(password)).1
}

#[test]
fn who_is_asked_about_is_let_in_or_refused_and_told_of_truly() {
    let backend = Backend::start(0, &[]);
    let room = Room::new();
    passwd(&room, &["create", "p"], "");
    passwd(&room, &["add", "p", "anna", "--password-stdin"], "secret");
    let flags = ["--password-file", "p", "--http-auth-url", &backend.url(), "--verbose"];
    let broker = Broker::in_room(room, &flags);
    let publish = |user: &str, password: &str| {
        let mut command = std::process::Command::new("mosquitto_pub");
        command.args(["-h", &broker.host(), "-p", &broker.port(), "-t", &broker.topic("t")]);
        command.args(["-m", "x", "-i", "pub", "-u", user, "-P", password]);
        Program::start(&mut command).finish().status.code()
    };
    assert_eq!(publish("bert", "right"), Some(0));
    let said = serde_json::json!({
        "clientid": "pub", "username": "bert", "password": "right", "peerhost": "127.0.0.1"
    });
    assert_eq!(backend.asked(), said);
    assert_eq!(publish("bert", "a-wrong-word"), Some(4));
    assert_eq!(login(&broker, "bert", "stranger"), DENIED, "nobody knows it");
    // The password file comes first: its users are not asked about.
    assert_eq!(login(&broker, "anna", "secret"), 0);
    assert_eq!(login(&broker, "anna", "right"), DENIED);
    // No name and no password are told as such.
    assert_eq!(at(&broker, "nobody", None, None).1, 0x87);
    for _ in 0..2 {
        backend.asked();
    }
    let nobody = serde_json::json!({"clientid": "nobody", "peerhost": "127.0.0.1"});
    assert_eq!(backend.asked(), nobody);
    let (ended, _) = broker.end_in_its_room(Signal::TERM);
    let log = ended.well().complaints;
    for secret in ["a-wrong-word", "stranger", "secret"] {
        assert!(!log.contains(secret), "a password is in the log:\n{log}");
    }
}

#[test]
fn who_does_not_answer_lets_nobody_in_is_left_alone_and_asked_again() {
    let mut backend = Backend::start(0, &[]);
    let (url, port) = (backend.url(), backend.port);
    let flags = ["--http-auth-url", &url, "--http-auth-format", "form"];
    let broker = Broker::ours(&[&flags[..], &["--http-auth-timeout", "300ms"]].concat());
    let (mut known, code) = at(&broker, "known", Some("bert"), Some("right"));
    assert_eq!(code, 0);
    backend.answers("broken");
    for _ in 0..6 {
        assert_eq!(login(&broker, "bert", "right"), UNAVAILABLE);
    }
    broker.program().expect_complaint(&["WARN", "neither allow nor deny", &url]);
    backend.answers("well");
    assert_eq!(login(&broker, "bert", "right"), 0, "no circuit was opened by that");
    backend.answers("slow");
    // Many who have to wait, and one who does not.
    let waiting: Vec<TcpStream> = (0..20)
        .map(|number| {
            let mut stream = broker.connect();
            let packet = connect(5, &format!("w{number}"), Some("carl"), Some("right"));
            stream.write_all(&packet).expect("an open connection");
            stream
        })
        .collect();
    known.write_all(&[0xc0, 0]).expect("an open connection");
    let mut pong = [0; 2];
    known.read_exact(&mut pong).expect("PINGRESP");
    assert_eq!(pong, [0xd0, 0]);
    for mut stream in waiting {
        assert_eq!(answer(&mut stream), UNAVAILABLE);
    }
    broker.program().expect_complaint(&["WARN", "no answer in time: it is not asked for 2 s"]);
    backend.kill();
    assert_eq!(at(&broker, "known", Some("bert"), Some("right")).1, 0, "it was allowed before");
    let _again = Backend::start(port, &[]);
    let end = Instant::now() + DEADLINE;
    while login(&broker, "dora", "right") != 0 {
        assert!(Instant::now() < end, "it is never asked again");
    }
    broker.program().expect_complaint(&["INFO", "it answers again", &url]);
}

#[test]
fn over_https_he_is_asked_whom_a_ca_of_ours_has_signed() {
    let room = Room::new();
    let make = |flags: &[&str]| {
        let mut command = noctule();
        Program::start(command.arg("cert").args(flags).current_dir(room.path())).finish().well();
    };
    make(&[]);
    let file = |name: &str| room.path().join("noctule-data/tls").join(name).display().to_string();
    let backend = Backend::start(0, &[&file("server.pem"), &file("server.key")]);
    let url = format!("https://localhost:{}/login", backend.port);
    let ca = file("ca.pem");
    let broker = Broker::in_room(room, &["--http-auth-url", &url, "--http-auth-ca", &ca]);
    assert_eq!(login(&broker, "bert", "right"), 0);
    assert_eq!(login(&broker, "bert", "wrong"), DENIED);
    drop(broker);
    // The machine does not trust it.
    let broker = Broker::ours(&["--http-auth-url", &url]);
    assert_eq!(login(&broker, "bert", "right"), UNAVAILABLE);
    broker.program().expect_complaint(&["WARN", "not trusted"]);
}

#[test]
fn each_listener_has_its_chain_which_can_be_changed_while_the_broker_runs() {
    let backend = Backend::start(0, &[]);
    let text = |second: &str| {
        format!(
            "bind = \"127.0.0.1\"\nhttp_auth_url = \"{}\"\n\
             [[listener]]\nname = \"a\"\nport = 0\nauth_methods = [\"http\"]\n\
             [[listener]]\nname = \"b\"\nport = 0\nauth_methods = [{second}]\n",
            backend.url()
        )
    };
    let room = Room::new();
    room.file("n.toml", text("\"anonymous\"").as_bytes());
    let broker = Broker::in_room(room, &["--config", "n.toml", "--in-memory"]);
    let code = |listener: usize, user: Option<&str>, password: Option<&str>| {
        let mut stream = TcpStream::connect(broker.listeners()[listener]).expect("a listener");
        // Everybody has a session of his own: the broker may not have noticed yet that one is gone.
        let id = user.unwrap_or("nobody");
        stream.write_all(&connect(5, id, user, password)).expect("an open connection");
        answer(&mut stream)
    };
    assert_eq!(code(0, None, None), 0x87);
    assert_eq!(code(0, Some("bert"), Some("right")), 0);
    assert_eq!(code(1, None, None), 0);
    let change = |second: &str| {
        broker.room().file("n.toml", text(second).as_bytes());
        broker.program().signal(Signal::HUP);
    };
    change("\"jwt\"");
    broker.program().expect_complaint(&["stays as it was", "listener \"b\"", "no `jwt_keys`"]);
    assert_eq!(code(1, None, None), 0, "as before");
    change("\"http\", \"anonymous\"");
    broker.program().expect_complaint(&["INFO", "listener \"b\": `auth_methods` is"]);
    assert_eq!(code(1, Some("bert"), Some("wrong")), DENIED);
}
