//! What people see of a running broker: the greeting, messages and packets in the log, statistics,
//! `$SYS`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::broker::{Broker, noctule};
use crate::mosquitto::{Subscriber, VERSIONS, message, publish, publish_lines};
use crate::room::Room;

fn byte(number: usize) -> u8 {
    u8::try_from(number).expect("a short packet")
}

/// CONNECT of 3.1.1 with a keep-alive of a minute.
fn connect(client_id: &str, clean: bool) -> Vec<u8> {
    let mut packet = vec![0x10, byte(12 + client_id.len())];
    packet.extend(b"\x00\x04MQTT\x04");
    packet.extend([u8::from(clean) * 2, 0, 60, 0, byte(client_id.len())]);
    packet.extend(client_id.as_bytes());
    packet
}

/// A PUBLISH at QoS 0, or at QoS 1 with packet identifier 1.
fn publish_packet(qos: u8, topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = vec![0, byte(topic.len())];
    body.extend(topic.as_bytes());
    if qos > 0 {
        body.extend([0, 1]);
    }
    body.extend(payload);
    let mut packet = vec![0x30 | qos << 1];
    let mut left = body.len();
    while left >= 0x80 {
        packet.push(byte(left % 0x80) | 0x80);
        left /= 0x80;
    }
    packet.push(byte(left));
    packet.extend(body);
    packet
}

fn read(stream: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut buffer = vec![0; bytes];
    stream.read_exact(&mut buffer).expect("bytes in time");
    buffer
}

fn connected(broker: &Broker, client_id: &str, clean: bool) -> TcpStream {
    let mut stream = broker.connect();
    stream.write_all(&connect(client_id, clean)).expect("an open connection");
    assert_eq!(read(&mut stream, 4)[..2], [0x20, 2]);
    stream
}

fn hello(client_id: &str) -> Vec<u8> {
    publish_packet(0, &format!("$SYS/broker/connection/{client_id}"), b"HELLO")
}

/// Returns more than a second after everybody who is connected now was.
fn a_second_passes(broker: &Broker) {
    let id = broker.id("witness");
    let mut witness = connected(broker, &id, true);
    let expected = hello(&id);
    assert_eq!(read(&mut witness, expected.len()), expected);
}

#[test]
fn a_client_that_waits_is_greeted_and_those_that_subscribe_hear_nothing_else() {
    let broker = Broker::ours(&[]);
    let (topic, end) = (broker.topic("t"), "the end");
    let subscribers = VERSIONS.map(|version| {
        let id = broker.id(version);
        Subscriber::start(&broker, version, &["-i", &id, "-t", &topic, "-v"])
    });
    // One that resumes a session and does not subscribe again.
    let id = broker.id("resumed");
    let mut first = connected(&broker, &id, false);
    first.write_all(b"\x82\x06\x00\x01\x00\x01x\x01").unwrap();
    assert_eq!(read(&mut first, 5), b"\x90\x03\x00\x01\x01");
    drop(first);
    let mut resumed = connected(&broker, &id, false);
    a_second_passes(&broker);
    resumed.write_all(b"\xc0\x00").unwrap();
    assert_eq!(read(&mut resumed, 2), b"\xd0\x00");
    publish(&broker, "mqttv311", &["-t", &topic, "-m", end]);
    for subscriber in &subscribers {
        assert_eq!(subscriber.until(end), []);
    }
}

#[test]
fn who_subscribes_to_its_greeting_gets_it_in_every_version() {
    let broker = Broker::ours(&[]);
    for version in VERSIONS {
        let id = broker.id(version);
        let topic = format!("$SYS/broker/connection/{id}");
        let subscriber = Subscriber::start(&broker, version, &["-i", &id, "-t", &topic]);
        assert_eq!(subscriber.next(), message(&topic, 0, false, "HELLO"));
    }
}

#[test]
fn always_and_never_are_that() {
    let broker = Broker::ours(&["--hello", "always"]);
    let id = broker.id("a");
    let mut stream = connected(&broker, &id, true);
    assert_eq!(read(&mut stream, hello(&id).len()), hello(&id));
    let broker = Broker::ours(&["--hello", "never"]);
    let topic = format!("$SYS/broker/connection/{id}");
    let mut stream = connected(&broker, &id, true);
    let mut subscribe = vec![0x82, byte(5 + topic.len()), 0, 1, 0];
    subscribe.push(byte(topic.len()));
    subscribe.extend(topic.as_bytes());
    subscribe.push(0);
    stream.write_all(&subscribe).unwrap();
    assert_eq!(read(&mut stream, 5), b"\x90\x03\x00\x01\x00");
    stream.write_all(b"\xc0\x00").unwrap();
    assert_eq!(read(&mut stream, 2), b"\xd0\x00");
}

/// The records of messages in a log.
fn records(log: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

#[test]
fn each_kind_of_payload_has_its_record() {
    let broker = Broker::ours(&["--log-messages", "all"]);
    let room = Room::new();
    let binary = room.file("binary", b"\xff\x00\x01");
    let id = broker.id("sensor");
    let status = r#"{"temp": 23.50, "humidity": 65.2}"#;
    let say = |flags: &[&str]| publish(&broker, "mqttv311", &[&["-i", &id], flags].concat());
    say(&["-t", "sensors/status", "-m", status, "-q", "1", "-r"]);
    // Acknowledged each, so that they are in order whichever loop they came to.
    say(&["-t", "sensors/temperature", "-m", "23.5", "-q", "1"]);
    say(&["-t", "b", "-f", &binary.to_string_lossy(), "-q", "2"]);
    say(&["-t", "e", "-n", "-q", "1"]);
    say(&["-t", "n", "-m", "{broken", "-q", "1"]);
    let log = broker.end_by(Signal::TERM).well().complaints;
    let records = records(&log);
    assert_eq!(records.len(), 5, "{log}");
    let line = log.lines().find(|line| line.contains("sensors/status")).unwrap();
    let rest = line.split_once(",\"publisher_id\"").unwrap().1;
    let expected = format!(
        ":\"{id}\",\"topic\":\"sensors/status\",\"qos\":1,\"retain\":true,\"payload_size\":{},\
         \"payload_type\":\"json\",\"payload_json\":{{\"temp\":23.50,\"humidity\":65.2}}}}",
        status.len()
    );
    assert_eq!(rest, expected);
    let types: Vec<_> = records.iter().map(|record| &record["payload_type"]).collect();
    assert_eq!(types, ["json", "text", "binary", "empty", "text"]);
    assert_eq!(records[1]["payload_text"], "23.5");
    assert_eq!(
        (&records[2]["payload_hex"], &records[2]["payload_size"]),
        (&"ff0001".into(), &3.into())
    );
    let timestamp = records[0]["timestamp"].as_str().unwrap();
    assert_eq!((timestamp.len(), &timestamp[19..20]), ("2025-07-30T12:01:44.662+00:00".len(), "."));
}

#[test]
fn of_many_messages_some_are_shown_and_the_others_counted() {
    let broker = Broker::ours(&[]);
    let lines: Vec<_> = (0..2_000).map(|number| number.to_string()).collect();
    publish_lines(&broker, "mqttv311", &["-t", "t", "-q", "1"], &lines);
    let records = records(&broker.end_by(Signal::TERM).well().complaints);
    let shown = records.iter().filter(|record| record["topic"] == "t").count();
    let not_shown: u64 =
        records.iter().filter_map(|record| record["messages_not_shown"].as_u64()).sum();
    assert_eq!(shown as u64 + not_shown, 2_000, "{records:?}");
    assert!(shown >= 20, "{shown}");
}

#[test]
fn nothing_is_shown_if_nothing_is_wanted() {
    let broker = Broker::ours(&["--no-log-messages"]);
    publish(&broker, "mqttv5", &["-t", "t", "-m", "x", "-q", "1"]);
    let log = broker.end_by(Signal::TERM).well().complaints;
    assert_eq!(records(&log), [] as [Value; 0], "{log}");
}

#[test]
fn packets_are_shown_in_hex_and_secrets_are_not() {
    let broker = Broker::ours(&["--log-raw-data", "--no-log-messages"]);
    let id = broker.id("c");
    let flags = ["-i", &id, "-u", "user", "-P", "secret", "-t", "t", "-m", "x", "-q", "1"];
    publish(&broker, "mqttv311", &flags);
    let log = broker.end_by(Signal::TERM).well().complaints;
    let line = |what: &str| {
        let found = log.lines().find(|line| line.contains(what));
        found.unwrap_or_else(|| panic!("no {what} in\n{log}"))
    };
    assert!(line(" CONNECT, ").contains("received <- "), "{log}");
    assert!(line(" CONNECT, ").ends_with("75 73 65 72 00 06 ** ** ** ** ** **"), "{log}");
    assert!(line(" CONNACK, ").contains("sent -> "), "{log}");
    let publish = line(" PUBLISH, ");
    assert!(
        publish.contains(&format!("\"{id}\"")) && publish.contains("30 74")
            || publish.contains("00 01 74"),
        "{log}"
    );
    assert!(line(" PUBACK, ").ends_with("4 bytes: 40 02 00 01"), "{log}");
    assert!(line(" DISCONNECT, ").ends_with("2 bytes: e0 00"), "{log}");
}

#[test]
fn a_log_of_objects_has_nothing_else() {
    let flags = ["--log-format", "json", "--verbose", "--log-raw-data", "--stats-interval", "1s"];
    let broker = Broker::ours(&flags);
    let id = broker.id("c");
    publish(&broker, "mqttv5", &["-i", &id, "-t", "t", "-m", "x", "-q", "1"]);
    // Not a CONNECT.
    let mut stranger = broker.connect();
    stranger.write_all(b"\xc0\x00").unwrap();
    assert_eq!(stranger.read(&mut [0]).unwrap(), 0);
    let log = broker.end_by(Signal::TERM).well().complaints;
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    let said = |what: &str| {
        let found = lines
            .iter()
            .find(|line| line["message"].as_str().is_some_and(|text| text.starts_with(what)));
        found.unwrap_or_else(|| panic!("no {what} in\n{log}"))
    };
    assert_eq!(
        (&said("connected")["client_id"], &said("connected")["version"]),
        (&(*id).into(), &"5.0".into())
    );
    assert_eq!(said("connected")["transport"], "plain");
    let ends: Vec<_> = lines.iter().filter(|line| line["message"] == "disconnected").collect();
    assert!(ends.iter().any(|end| end["cause"] == "the client disconnected"), "{log}");
    let offence = said("closed: this client breaks the rules");
    assert!(offence["reason"].as_str().unwrap().contains("PINGREQ"), "{log}");
    let dump = &said("the packet that breaks the rules")["bytes"];
    assert!(dump.as_str().unwrap().starts_with("c0"), "{log}");
    assert_eq!(said("statistics at the end")["messages_received"], 1);
}

#[test]
fn sys_has_mosquittos_names_and_a_wildcard_does_not_match_them() {
    let broker = Broker::ours(&["--sys-interval", "1s"]);
    let everything = Subscriber::start(&broker, "mqttv311", &["-t", "#", "-t", "+/broker/uptime"]);
    let version = Subscriber::start(&broker, "mqttv311", &["-t", "$SYS/broker/version"]);
    let first = version.next();
    assert!(first.retain && first.payload.starts_with("noctule version "), "{first:?}");
    let connected = Subscriber::start(&broker, "mqttv5", &["-t", "$SYS/broker/clients/connected"]);
    while connected.next().payload != "3" {}
    publish(&broker, "mqttv311", &["-t", "x", "-m", "12345", "-q", "1"]);
    let all = Subscriber::start(&broker, "mqttv31", &["-q", "2", "-t", "$SYS/broker/#"]);
    let mut names = std::collections::BTreeSet::new();
    // Until it has been brought up to date twice, which the uptime tells.
    let mut uptimes = 0;
    while uptimes < 3 {
        let message = all.next();
        assert_eq!(message.qos, 0, "nobody is owed it");
        uptimes += u32::from(message.topic == "$SYS/broker/uptime");
        names.insert(message.topic);
    }
    for name in [
        "bytes/received",
        "clients/total",
        "durability",
        "heap/current",
        "load/messages/received/15min",
        "messages/stored",
        "mqtt/puback/sent",
        "publish/bytes/received",
        "retained messages/count",
        "subscriptions/count",
        "dropped/queue_full",
        "transport/plain/connections/now",
    ] {
        assert!(names.contains(&format!("$SYS/broker/{name}")), "{name}");
    }
    let bytes =
        Subscriber::start(&broker, "mqttv311", &["-t", "$SYS/broker/publish/bytes/received"]);
    while bytes.next().payload != "5" {}
    publish(&broker, "mqttv311", &["-t", "y", "-m", "the end"]);
    let heard = everything.until("the end");
    assert_eq!(heard, [message("x", 0, false, "12345")], "and nothing below $SYS");
}

#[test]
fn without_an_interval_there_is_no_sys() {
    let broker = Broker::ours(&["--sys-interval", "0", "--stats-interval", "0"]);
    let sys = Subscriber::start(&broker, "mqttv311", &["-t", "$SYS/#", "-t", "end"]);
    a_second_passes(&broker);
    publish(&broker, "mqttv311", &["-t", "end", "-m", "the end"]);
    assert_eq!(sys.until("the end"), []);
}

/// A broker whose log nobody reads; killed on drop.
struct Unread(Child, std::net::SocketAddr);

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Unread {
    fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut text = String::new();
        let mut stdout = child.stdout.take().expect("a pipe");
        while !text.contains("  ready in ") {
            let mut buffer = [0; 512];
            let read = stdout.read(&mut buffer).expect("a pipe");
            assert!(read > 0, "ended early: {text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        let listening = text.lines().find_map(|line| {
            line.strip_prefix("  listening on ")?.strip_suffix(" (MQTT)")?.parse().ok()
        });
        // Its end would be an error for the broker's last line.
        std::mem::forget(stdout);
        Self(child, listening.expect("an address"))
    }
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let room = Room::new();
    let mut command = noctule();
    let flags = ["broker", "--port", "0", "--bind", "127.0.0.1", "--hello", "never"];
    let noisy = ["--log-messages", "all", "--log-raw-data", "--verbose"];
    command.args(flags).args(noisy).current_dir(room.path());
    let mut broker = Unread::start(&mut command);
    let mut stream = TcpStream::connect(broker.1).expect("the broker accepts");
    stream.set_read_timeout(Some(crate::program::DEADLINE)).unwrap();
    stream.write_all(&connect("loud", true)).unwrap();
    read(&mut stream, 4);
    // Far more than pipe and queue hold.
    let packet = publish_packet(1, "t", &[b'x'; 4_096]);
    for _ in 0..10_000 {
        stream.write_all(&packet).unwrap();
        assert_eq!(read(&mut stream, 4), b"\x40\x02\x00\x01");
    }
    let pid = i32::try_from(broker.0.id()).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert!(broker.0.wait().unwrap().success());
}
