//! The client commands over TLS, against mosquitto with certificates that `noctule cert` made.

use std::path::Path;

use crate::broker::{Broker, noctule};
use crate::mosquitto_broker::{Mosquitto, free_port};
use crate::program::{Finished, Program};
use crate::room::Room;

/// mosquitto with a plain port and one with TLS.
struct Secured {
    broker: Mosquitto,
    tls_port: u16,
    room: Room,
}

impl Secured {
    fn start() -> Self {
        let room = Room::new();
        let mut cert = noctule();
        cert.args(["cert", "--hostname", "localhost"]).current_dir(room.path());
        Program::start(&mut cert).finish().well();
        let tls_port = free_port();
        let file = |name: &str| room.path().join("noctule-data/tls").join(name);
        let config = format!(
            "listener {tls_port} 127.0.0.1\ncertfile {}\nkeyfile {}\nuser root",
            file("server.pem").display(),
            file("server.key").display()
        );
        Self { broker: Mosquitto::start(&config), tls_port, room }
    }

    fn file(&self, name: &str) -> String {
        text(&self.room.path().join("noctule-data/tls").join(name))
    }

    /// Publishes over TLS, retained, so that it can be looked for.
    fn publish(&self, host: &str, flags: &[&str]) -> Finished {
        let mut command = noctule();
        command.args(["pub", "-h", host, "-p", &self.tls_port.to_string()]);
        command.args(["-t", "secret", "-m", "x", "-q", "1", "-r"]).args(flags);
        Program::start(&mut command).finish()
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of ours").to_owned()
}

#[test]
fn what_is_trusted_is_accepted_and_nothing_else() {
    let secured = Secured::start();
    let (ca, own) = (secured.file("ca.pem"), secured.file("server.pem"));
    secured.publish("localhost", &["--cafile", &ca]).well();
    secured.publish("localhost", &["--ssl", "--cert", &own]).well();
    let insecure = secured.publish("localhost", &["--insecure"]).well();
    assert!(insecure.complaints.contains("--insecure accepts any certificate"));

    let other = Room::new();
    let mut cert = noctule();
    cert.args(["cert", "--hostname", "localhost"]).current_dir(other.path());
    Program::start(&mut cert).finish().well();
    let stranger = text(&other.path().join("noctule-data/tls/ca.pem"));
    for flags in [&["--cafile", &stranger][..], &["--tls"]] {
        let refused = secured.publish("localhost", flags);
        assert_eq!(refused.status.code(), Some(1), "{flags:?}");
        let said = refused.complaints;
        assert!(said.contains("is not accepted") || said.contains("root certificates"), "{said}");
    }
    let missing = secured.publish("localhost", &["--cafile", "no-such-file"]);
    assert!(missing.complaints.contains("no-such-file"), "{}", missing.complaints);
    let plain = Program::start(noctule().args([
        "pub",
        "-p",
        &secured.broker.port().to_string(),
        "-t",
        "a",
        "-m",
        "x",
        "--insecure",
    ]))
    .finish();
    assert_eq!(plain.status.code(), Some(1), "TLS to a plain port");
}

#[test]
fn messages_cross_between_plain_and_tls() {
    let secured = Secured::start();
    let url = format!("mqtts://localhost:{}/secret", secured.tls_port);
    let plain_port = secured.broker.port().to_string();
    secured.publish("localhost", &["--cafile", &secured.file("ca.pem")]).well();
    let mut plain = noctule();
    plain.args(["sub", "-p", &plain_port, "-t", "secret", "-C", "1", "-W", "20"]);
    assert_eq!(Program::start(&mut plain).finish().well().lines, ["x"]);
    let mut encrypted = noctule();
    encrypted.args(["sub", &url, "--cafile", &secured.file("ca.pem"), "-C", "1", "-W", "20"]);
    assert_eq!(Program::start(&mut encrypted).finish().well().lines, ["x"]);
    let mut theirs = crate::foreign::mosquitto("mosquitto_sub");
    theirs.args(["-h", "localhost", "-p", &secured.tls_port.to_string(), "-t", "secret"]);
    theirs.args(["--cafile", &secured.file("ca.pem"), "-C", "1", "-W", "20"]);
    assert_eq!(Program::start(&mut theirs).finish().well().lines, ["x"]);
}

/// Runs `noctule check` on it.
fn check(secured: &Secured, flags: &[&str]) -> Finished {
    let mut command = noctule();
    command.args(["check", "localhost", "-p", &secured.broker.port().to_string()]);
    command.args(["--tls-port", &secured.tls_port.to_string(), "--hello=200ms"]).args(flags);
    Program::start(&mut command).finish()
}

#[test]
fn check_finds_a_good_broker_good() {
    let secured = Secured::start();
    let lines = check(&secured, &["--cafile", &secured.file("ca.pem")]).well().lines;
    for name in [
        "plain connection",
        "TLS, verified",
        "TLS, not verified",
        "wrong CA is refused",
        "plain to TLS",
        "TLS to plain",
        "QoS 0",
        "QoS 1",
        "QoS 2",
        "retained message",
        "will",
    ] {
        let begins = format!("pass  {name} ");
        assert!(lines.iter().any(|line| line.starts_with(&begins)), "{name}: {lines:#?}");
    }
    assert!(lines.iter().any(|line| line.starts_with("skip  HELLO")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("DNS localhost")), "{lines:#?}");
    assert_eq!(lines.last().expect("a verdict"), "11 passed, 0 failed, 1 skipped");
}

#[test]
fn check_finds_our_broker_good() {
    let broker = Broker::ours(&[]);
    let ca = text(&broker.path("noctule-data/tls/ca.pem"));
    let mut command = noctule();
    command.args(["check", "127.0.0.1", "-p", &broker.port(), "--tls-port", &broker.tls_port()]);
    let lines = Program::start(command.args(["--cafile", &ca])).finish().well().lines;
    let verdict = lines.last().expect("a verdict");
    assert!(verdict.contains(" passed, 0 failed, "), "{lines:#?}");
}

#[test]
fn check_says_what_is_wrong_and_ends_with_1() {
    let secured = Secured::start();
    let other = Room::new();
    let mut cert = noctule();
    cert.args(["cert", "--hostname", "localhost"]).current_dir(other.path());
    Program::start(&mut cert).finish().well();
    let stranger = text(&other.path().join("noctule-data/tls/ca.pem"));
    let finished = check(&secured, &["--cafile", &stranger, "--json"]);
    assert_eq!(finished.status.code(), Some(1));
    let json = finished.lines.join("\n");
    for part in [
        "\"passed\": false",
        "\"name\": \"TLS, verified\",\n      \"outcome\": \"fail\"",
        "\"name\": \"TLS, not verified\",\n      \"outcome\": \"pass\"",
        "is not accepted",
        "\"DNS localhost\"",
    ] {
        assert!(json.contains(part), "{part} is not in {json}");
    }

    let port = free_port().to_string();
    let nobody = ["check", "127.0.0.1", "-p", &port, "--no-tls"];
    let nobody = Program::start(noctule().args(nobody)).finish();
    assert_eq!(nobody.status.code(), Some(1));
    assert!(nobody.lines[0].starts_with("FAIL  plain connection"), "{nobody:?}");
}
