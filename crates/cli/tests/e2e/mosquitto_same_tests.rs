//! Files that people have, unchanged under both brokers: Debian's mosquitto and `noctule mosquitto` are
//! started with the same file, and the same clients are told the same by both.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::broker::noctule;
use crate::foreign;
use crate::mosquitto_broker::free_port;
use crate::program::Program;
use crate::room::Room;

/// A file of ours as it stands in `tests/mosquitto`, with its ports.
fn fixture(name: &str, ports: &[u16]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mosquitto").join(name);
    let mut text = fs::read_to_string(&path).expect("a file");
    for (number, port) in ports.iter().enumerate() {
        text = text.replace(&format!("PORT_{number}"), &port.to_string());
    }
    text
}

/// What clients are told by a broker: a line each, with their exit code and what they have heard.
struct Story<'a> {
    room: &'a Room,
    text: String,
}

impl Story<'_> {
    /// Runs a client of mosquitto's to its end.
    fn client(&mut self, program: &str, arguments: &[&str]) {
        let mut command: Command = foreign::mosquitto(program);
        let finished =
            Program::start(command.args(arguments).current_dir(self.room.path())).finish();
        let code = finished.status.code();
        let _ = writeln!(self.text, "{program} {arguments:?}: {code:?} {:?}", finished.lines);
    }

    /// Whether a program that talks to the broker fails.
    fn refuses(&self, program: &str, arguments: &[&str]) -> bool {
        let mut command = Command::new(program);
        let finished =
            Program::start(command.args(arguments).current_dir(self.room.path())).finish();
        !finished.status.success()
    }

    /// As [`heard`](Self::heard), and takes down what was.
    fn hears(&mut self, subscribe: &[&str], count: &str, publish: &[&[&str]]) {
        let lines = self.heard(subscribe, count, publish);
        let _ = writeln!(self.text, "{subscribe:?}: {lines:?}");
    }

    /// Publishes while somebody listens, who hears so many messages.
    fn heard(&mut self, subscribe: &[&str], count: &str, publish: &[&[&str]]) -> Vec<String> {
        let mut command: Command = foreign::mosquitto("mosquitto_sub");
        command.args(subscribe).args(["-v", "-C", count, "-W", "30", "-d"]);
        let listening = Program::start(command.current_dir(self.room.path()));
        listening.expect("SUBACK", |line| line.contains("received SUBACK").then_some(()));
        for arguments in publish {
            self.client("mosquitto_pub", arguments);
        }
        let finished = listening.finish();
        let said = |line: &&String| !line.starts_with("Client ") && !line.starts_with("Subscribed");
        assert_eq!(finished.status.code(), Some(0), "{finished:?}");
        finished.lines.iter().filter(said).cloned().collect()
    }
}

/// The same file and the same clients at both brokers; what the clients were told by ours, which is
/// what they were told by mosquitto.
fn same(text: &str, prepare: impl Fn(&Room), play: impl Fn(&mut Story<'_>)) -> String {
    let told = |start: fn(&Room) -> Program| {
        let room = Room::new();
        prepare(&room);
        room.file("mosquitto.conf", text.as_bytes());
        let broker = start(&room);
        let mut story = Story { room: &room, text: String::new() };
        play(&mut story);
        broker.signal(Signal::TERM);
        broker.finish();
        story.text
    };
    let theirs = told(|room| {
        let mut command = foreign::mosquitto_broker();
        let broker =
            Program::start(command.args(["-c", "mosquitto.conf"]).current_dir(room.path()));
        broker.expect_complaint(&[" running"]);
        broker
    });
    let ours = told(|room| {
        let mut command = noctule();
        command.args(["mosquitto", "-c", "mosquitto.conf"]).current_dir(room.path());
        let broker = Program::start(&mut command);
        broker.expect("line that says ready", |line| line.contains("ready").then_some(()));
        broker
    });
    assert_eq!(theirs, ours);
    ours
}

fn add_user(room: &Room, name: &str) {
    let file = room.path().join("users");
    if !file.exists() {
        room.file("users", b"");
    }
    let arguments = ["-b", "users", name, "secret"];
    let mut command = foreign::mosquitto("mosquitto_passwd");
    Program::start(command.args(arguments).current_dir(room.path())).finish().well();
}

fn certificates(room: &Room) {
    for flags in [&["--hostname", "localhost"][..], &["--client", "sensor-1"]] {
        let mut command = noctule();
        command.arg("cert").args(flags).current_dir(room.path());
        Program::start(&mut command).finish().well();
    }
}

#[test]
fn passwords_and_rights_and_a_local_listener() {
    let ports = [free_port(), free_port()];
    let [inside, outside] = ports.map(|port| port.to_string());
    let prepare = |room: &Room| {
        ["anna", "berta"].iter().for_each(|name| add_user(room, name));
        room.file(
            "rights",
            b"user anna\ntopic readwrite home/#\n\nuser berta\ntopic read home/#\n",
        );
    };
    let told = same(&fixture("home.conf", &ports), prepare, |story| {
        let anna = ["-h", "localhost", "-p", &outside, "-u", "anna", "-P", "secret"];
        let berta = ["-h", "localhost", "-p", &outside, "-u", "berta", "-P", "secret"];
        let wrong = ["-h", "localhost", "-p", &outside, "-u", "berta", "-P", "wrong"];
        let nobody = ["-h", "localhost", "-p", &outside];
        let near = ["-h", "localhost", "-p", &inside];
        let message = ["-t", "home/lamp", "-m", "on", "-q", "1"];
        // With return code 5 by mosquitto, and 4 by us where the password is wrong.
        for who in [&wrong[..], &nobody] {
            assert!(story.refuses("mosquitto_pub", &[who, &message].concat()));
        }
        let kept = ["-t", "home/kept", "-m", "warm", "-q", "1", "-r"];
        story.client("mosquitto_pub", &[&anna[..], &kept].concat());
        let by_anna = [&anna[..], &message].concat();
        let by_berta = [&berta[..], &["-t", "home/lamp", "-m", "off", "-q", "1"]].concat();
        let again = [&anna[..], &["-t", "home/lamp", "-m", "dim"]].concat();
        let all = [&berta[..], &["-t", "home/#", "-q", "1"]].concat();
        story.hears(&all, "3", &[&by_anna, &by_berta, &again]);
        let local = [&near[..], &["-t", "work/x", "-m", "y", "-q", "2"]].concat();
        story.hears(&[&near[..], &["-t", "work/+", "-q", "2"]].concat(), "1", &[&local]);
    });
    assert!(told.contains("home/kept warm") && !told.contains("\"home/lamp off\""), "{told}");
}

#[test]
fn tls_with_certificates_of_clients() {
    let ports = [free_port(), free_port()];
    let [tls, old] = ports.map(|port| port.to_string());
    let text = fixture("tls.conf", &ports);
    let prepare = |room: &Room| {
        certificates(room);
        add_user(room, "anna");
    };
    let told = same(&text, prepare, |story| {
        let ca = ["--cafile", "noctule-data/tls/ca.pem", "-h", "localhost"];
        let certificate = [
            "--cert",
            "noctule-data/tls/client-sensor-1.pem",
            "--key",
            "noctule-data/tls/client-sensor-1.key",
        ];
        let message = ["-t", "a/b", "-m", "x", "-q", "1"];
        let shown = [&ca[..], &["-p", &tls], &certificate].concat();
        let publish = [&shown[..], &message].concat();
        story.hears(&[&shown[..], &["-t", "a/#"]].concat(), "1", &[&publish]);
        let address = format!("localhost:{tls}");
        let by_openssl = [
            "s_client",
            "-connect",
            &address,
            "-CAfile",
            "noctule-data/tls/ca.pem",
            "-cert",
            "noctule-data/tls/client-sensor-1.pem",
            "-key",
            "noctule-data/tls/client-sensor-1.key",
        ];
        let other = [&ca[..], &["-p", &old, "-u", "anna", "-P", "secret"]].concat();
        story.client("mosquitto_pub", &[&other[..], &message].concat());
        story.client("mosquitto_pub", &[&ca[..], &["-p", &old], &message].concat());
        // In which words depends on the moment in which the connection ends.
        assert!(story.refuses("mosquitto_pub", &[&ca[..], &["-p", &tls], &message].concat()));
        assert!(story.refuses("openssl", &[&by_openssl[..], &["-tls1_2"]].concat()));
        assert!(!story.refuses("openssl", &[&by_openssl[..], &["-tls1_3"]].concat()));
    });
    assert!(told.contains("a/b x"), "{told}");
}

#[test]
fn mounts_and_names_and_what_is_kept_for_those_who_are_away() {
    let ports = [free_port(), free_port()];
    let [outside, site] = ports.map(|port| port.to_string());
    let told = same(
        &fixture("sites.conf", &ports),
        |_| {},
        |story| {
            let (out, inn) =
                (["-h", "localhost", "-p", &outside], ["-h", "localhost", "-p", &site]);
            let message = |who: &[&str; 4], id: &str, topic: &str, payload: &str| -> Vec<String> {
                let words = ["-i", id, "-t", topic, "-m", payload];
                who.iter().chain(&words).map(|word| (*word).to_owned()).collect()
            };
            let inside = message(&inn, "dev-1", "a", "from the site");
            let direct = message(&out, "dev-2", "site-1/b", "to the site");
            let elsewhere = message(&out, "dev-2", "b", "elsewhere");
            let sent = [plain(&inside), plain(&direct), plain(&elsewhere)];
            let sent: Vec<&[&str]> = sent.iter().map(Vec::as_slice).collect();
            let inside = story.heard(&[&inn[..], &["-i", "dev-3", "-t", "#"]].concat(), "2", &sent);
            // Mosquitto 2.0.11 leaves on what its manual says is removed.
            let inside: Vec<_> =
                inside.iter().map(|line| line.strip_prefix("site-1/").unwrap_or(line)).collect();
            assert_eq!(inside, ["a from the site", "b to the site"]);
            story.hears(&[&out[..], &["-i", "dev-3", "-t", "#"]].concat(), "3", &sent);
            // At QoS 1, for whom the message was published at QoS 0.
            let format = ["-F", "%t %q %p"];
            let raised = [&out[..], &["-i", "dev-4", "-t", "b", "-q", "1"], &format].concat();
            story.hears(&raised, "1", &[&plain(&elsewhere)]);
            let stranger = message(&out, "x-1", "a", "refused");
            story.client("mosquitto_pub", &plain(&stranger));
            // Who is away gets at QoS 0 what came meanwhile.
            let session = [&out[..], &["-i", "dev-5", "-c", "-t", "c", "-q", "1"]].concat();
            story.client("mosquitto_sub", &[&session[..], &["-E"]].concat());
            story.client("mosquitto_pub", &plain(&message(&out, "dev-2", "c", "kept")));
            story.client("mosquitto_sub", &[&session[..], &["-C", "1", "-W", "30"]].concat());
        },
    );
    assert!(told.contains("site-1/a from the site") && told.contains("b 1 elsewhere"), "{told}");
    assert!(told.contains("[\"kept\"]"), "{told}");
}

fn plain(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}
