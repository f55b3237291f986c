//! `noctule mosquitto` in the place of mosquitto: the same files, the same command lines, the same
//! clients.

use std::fs;
use std::process::Command;

use rustix::process::Signal;

use crate::broker::noctule;
use crate::foreign;
use crate::mosquitto_broker::free_port;
use crate::program::{Finished, Program};
use crate::room::Room;
use crate::ws_client::{WsClient, request};

/// `noctule mosquitto` with these arguments, once it serves.
fn start(room: &Room, arguments: &[&str]) -> Program {
    let program =
        Program::start(noctule().arg("mosquitto").args(arguments).current_dir(room.path()));
    program.expect("line that says ready", |line| line.contains("ready").then_some(()));
    program
}

/// One of mosquitto's clients at this port.
fn client(program: &str, port: u16, arguments: &[&str]) -> Finished {
    let mut command: Command = foreign::mosquitto(program);
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]).args(arguments);
    Program::start(&mut command).finish()
}

fn end(program: Program, signal: Signal) -> Finished {
    program.signal(signal);
    program.finish().well()
}

#[test]
fn without_a_file_it_serves_this_machine_as_mosquitto_does_and_leaves_nothing_behind() {
    let room = Room::new();
    let port = free_port();
    let broker = start(&room, &["-p", &port.to_string(), "-v"]);
    client("mosquitto_pub", port, &["-t", "a", "-m", "kept", "-r", "-q", "1"]).well();
    let heard = client("mosquitto_sub", port, &["-t", "a", "-C", "1", "-W", "30"]).well();
    assert_eq!(heard.lines, ["kept"], "and no greeting");
    let finished = end(broker, Signal::TERM);
    assert!(!finished.complaints.contains("kept"), "messages are not logged");
    let left: Vec<_> = fs::read_dir(room.path()).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_configuration_with_passwords_and_persistence_runs_unchanged() {
    let room = Room::new();
    let passwords = room.file("users", b"");
    let add = ["-b", &passwords.to_string_lossy(), "anna", "secret"];
    Program::start(foreign::mosquitto("mosquitto_passwd").args(add)).finish().well();
    let port = free_port();
    let config = format!(
        "# as it was\nlistener {port} 127.0.0.1\n\nallow_anonymous false\npassword_file users\n\
         persistence true\npersistence_location data/\nautosave_interval 1800\npid_file pid\n\
         log_dest stderr\nlog_type all\nuser root\n"
    );
    room.file("mosquitto.conf", config.as_bytes());
    fs::create_dir(room.path().join("data")).unwrap();
    let broker = start(&room, &["-c", "mosquitto.conf"]);
    let pid = fs::read_to_string(room.path().join("pid")).unwrap();
    assert_eq!(pid.trim(), broker.pid().to_string());
    let said = ["-t", "a", "-m", "stored", "-r", "-q", "1"];
    let refused = client("mosquitto_pub", port, &said);
    assert!(!refused.status.success(), "nobody without a password: {refused:?}");
    let wrong = ["-u", "anna", "-P", "wrong"];
    assert!(!client("mosquitto_pub", port, &[&said[..], &wrong].concat()).status.success());
    let right = ["-u", "anna", "-P", "secret"];
    client("mosquitto_pub", port, &[&said[..], &right].concat()).well();

    broker.signal(Signal::KILL);
    broker.finish();
    let broker = start(&room, &["-c", "mosquitto.conf"]);
    let asked = [&["-t", "a", "-C", "1", "-W", "30"][..], &right].concat();
    assert_eq!(client("mosquitto_sub", port, &asked).well().lines, ["stored"]);

    let told = broker.complaints().matches("autosave_interval has no effect").count();
    assert_eq!(told, 1, "once at the start");
    // SIGHUP reads the file of users again, and says again what is different.
    let add = ["-b", &passwords.to_string_lossy(), "otto", "other"];
    Program::start(foreign::mosquitto("mosquitto_passwd").args(add)).finish().well();
    broker.signal(Signal::HUP);
    let otto = [&["-t", "a", "-C", "1", "-W", "30"][..], &["-u", "otto", "-P", "other"]].concat();
    broker.expect_complaint(&["password file read again", "users=2"]);
    broker.expect_complaint(&["INFO", "mosquitto.conf:8: autosave_interval has no effect"]);
    assert_eq!(client("mosquitto_sub", port, &otto).well().lines, ["stored"]);
    end(broker, Signal::TERM);
    assert!(!room.path().join("pid").exists());
}

#[test]
fn what_cannot_be_done_without_is_named_with_its_line_and_nothing_starts() {
    let room = Room::new();
    room.file("m.conf", b"listener 1884\nallow_anonymous true\npsk_file psk\nprotocol http_api\n");
    let mut command = noctule();
    let finished =
        Program::start(command.args(["mosquitto", "-c", "m.conf"]).current_dir(room.path()))
            .finish();
    assert_eq!(finished.status.code(), Some(1));
    let said = finished.complaints;
    for line in ["m.conf:3: psk_file is not there", "m.conf:4: protocol: 'http_api'"] {
        assert!(said.contains(line), "{said}");
    }
}

#[test]
fn a_listener_of_websocket_is_one_here_and_takes_pages_as_it_did() {
    let room = Room::new();
    let (port, web) = (free_port(), free_port());
    let config = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nlistener {web} 127.0.0.1\n\
         protocol websockets\nwebsockets_origin https://a.example\n"
    );
    room.file("mosquitto.conf", config.as_bytes());
    let broker = start(&room, &["-c", "mosquitto.conf"]);
    let web = web.to_string();
    let status = |origin: &str| {
        let mut page = WsClient::silent(&web);
        page.send_raw(request(&format!("Origin: {origin}\r\n")).as_bytes());
        page.answer().0
    };
    assert_eq!((status("https://a.example"), status("https://b.example")), (101, 403));
    let mut writer = WsClient::new(&web);
    // CONNECT, and a retained message at QoS 1.
    writer.send(b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01w\x33\x08\0\x01a\0\x01web");
    assert_eq!(writer.receive(8), b"\x20\x02\0\0\x40\x02\0\x01");
    let heard = client("mosquitto_sub", port, &["-t", "a", "-C", "1", "-W", "30"]).well();
    assert_eq!(heard.lines, ["web"]);
    end(broker, Signal::TERM);
}

#[test]
fn what_convert_prints_is_a_configuration_that_the_broker_takes() {
    let room = Room::new();
    room.file(
        "m.conf",
        b"listener 1884 127.0.0.1\nallow_anonymous true\nmax_queued_messages 500\nlog_timestamp true\n\
          max_keepalive 60\n",
    );
    let mut command = noctule();
    let printed = Program::start(command.args(["convert", "m.conf"]).current_dir(room.path()))
        .finish()
        .well();
    let text = printed.lines.join("\n");
    assert!(text.contains("\n# m.conf:4: log_timestamp has no effect"), "{text}");
    let kept = "keep_alive_max = \"60s\"\n# m.conf:5: max_keepalive: clients of version 3 with a longer one, \
                or none, are refused, as by mosquitto 2.0.12 and later\nkeep_alive_strict = true\n";
    assert!(text.contains(kept), "{text}");
    assert!(text.contains("queue_messages_max = 500"), "{text}");
    room.file("noctule.toml", text.as_bytes());
    let mut check = noctule();
    check.args(["broker", "--config", "noctule.toml", "--check-config"]).current_dir(room.path());
    Program::start(&mut check).finish().well();
}
