//! Unix sockets: who gets in by them, and what becomes of their files.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::Signal;

use crate::broker::{Broker, noctule};
use crate::foreign;
use crate::login::{connect, passwd};
use crate::program::{DEADLINE, Finished, Program};
use crate::room::Room;

/// One of mosquitto's clients at the socket `mqtt.sock` in the broker's directory.
fn client(broker: &Broker, program: &str, arguments: &[&str]) -> Finished {
    let mut command = foreign::mosquitto(program);
    command.args(["--unix", "mqtt.sock"]).args(arguments).current_dir(broker.room().path());
    Program::start(&mut command).finish()
}

/// A socket below the room. Its path may be longer than a socket's may be, so it is reached by the
/// directory's number.
fn open(room: &Room, name: &str) -> std::io::Result<UnixStream> {
    let directory = fs::File::open(room.path())?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&directory);
    UnixStream::connect(Path::new("/proc/self/fd").join(number.to_string()).join(name))
}

/// The code in the answer to a CONNECT.
fn code(room: &Room, name: &str, packet: &[u8]) -> u8 {
    let mut stream = open(room, name).expect("the broker accepts");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    stream.write_all(packet).expect("an open connection");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("CONNACK");
    assert_eq!(answer[..3], [0x20, 2, 0]);
    answer[3]
}

#[test]
fn clients_of_mosquitto_talk_through_a_unix_socket() {
    let broker = Broker::ours(&["--unix", "mqtt.sock", "--verbose", "--in-memory"]);
    client(&broker, "mosquitto_pub", &["-t", "a/b", "-m", "kept", "-r", "-q", "2"]).well();
    let heard = client(&broker, "mosquitto_sub", &["-t", "a/#", "-C", "1", "-W", "30"]).well();
    assert_eq!(heard.lines, ["kept"]);
    let user = format!("peer=\"unix:user={},process=", rustix::process::getuid().as_raw());
    broker.program().expect_complaint(&["connected", &user]);
}

#[test]
fn the_file_has_its_permissions_and_goes_with_the_broker() {
    let flags = ["--unix", "mqtt.sock", "--unix-mode", "622", "--in-memory"];
    let broker = Broker::ours(&flags);
    let mode = fs::metadata(broker.path("mqtt.sock")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o622);
    let (finished, room) = broker.end_in_its_room(Signal::TERM);
    finished.well();
    assert!(!room.path().join("mqtt.sock").exists());
    // One that is killed leaves its file behind, which the next one replaces.
    let room = Broker::in_room(room, &flags).kill();
    assert!(room.path().join("mqtt.sock").exists());
    let broker = Broker::in_room(room, &flags);
    assert_eq!(code(broker.room(), "mqtt.sock", &connect(4, "a", None, None)), 0);
}

#[test]
fn what_is_in_the_way_is_named_and_left_alone() {
    let broker = Broker::ours(&["--unix", "mqtt.sock", "--in-memory"]);
    let refused = |path: &str| {
        let mut command = noctule();
        command.args(["broker", "--port", "0", "--no-tls", "--in-memory", "--unix", path]);
        let finished = Program::start(command.current_dir(broker.room().path())).finish();
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        finished.complaints
    };
    let in_use = refused("mqtt.sock");
    assert!(in_use.contains("mqtt.sock: another program listens on it"), "{in_use}");
    assert_eq!(code(broker.room(), "mqtt.sock", &connect(4, "a", None, None)), 0, "still there");
    broker.room().file("precious", b"data");
    let other = refused("precious");
    assert!(other.contains("something else at that path"), "{other}");
    assert_eq!(fs::read(broker.path("precious")).expect("still there"), b"data");
    let nowhere = refused("no/such/mqtt.sock");
    assert!(nowhere.contains("cannot listen on the Unix socket no/such/mqtt.sock"), "{nowhere}");
}

#[test]
fn a_listener_of_the_file_is_a_unix_socket_with_rules_of_its_own() {
    let room = Room::new();
    passwd(&room, &["create", "users"], "");
    passwd(&room, &["add", "users", "anna", "--password-stdin"], "secret");
    let text = "\
        in_memory = true\n[limits]\nlogin_failures_max = 2\n\
        [[listener]]\nport = 0\nbind = \"127.0.0.1\"\n\
        [[listener]]\nname = \"local\"\nunix = \"users.sock\"\npassword_file = \"users\"\n\
        [[listener]]\nunix = \"all.sock\"\nprotocol_versions = \"3.1.1\"\n";
    room.file("n.toml", text.as_bytes());
    let broker = Broker::in_room(room, &["--config", "n.toml", "--verbose"]);
    let room = broker.room();
    let login = |password| code(room, "users.sock", &connect(4, "a", Some("anna"), Some(password)));
    assert_eq!(code(room, "users.sock", &connect(4, "a", None, None)), 5);
    assert_eq!(code(room, "all.sock", &connect(4, "a", None, None)), 0);
    assert_eq!(login("secret"), 0);
    broker.program().expect_complaint(&["connected", "listener=\"local\""]);
    // Users of this machine count apart, by their number.
    assert_eq!([login("wrong"), login("wrong"), login("again")], [4, 4, 3]);
    let user = format!("address=unix:user={}", rustix::process::getuid().as_raw());
    broker.program().expect_complaint(&["too many wrong logins", &user]);
    assert_eq!(login("secret"), 0, "it was right before");
}
