//! Listeners with settings of their own: what each of them is asked, and what the broker says when one of
//! them cannot be.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::broker::{Broker, noctule};
use crate::program::{DEADLINE, Finished, Program};
use crate::room::Room;
use crate::tls_client::TlsClient;

/// CONNECT of a client without a name, of a version that is announced like this.
fn connect(name: &[u8], level: u8) -> Vec<u8> {
    let mut body = vec![0, u8::try_from(name.len()).expect("a short name")];
    body.extend_from_slice(name);
    body.extend_from_slice(&[level, 2, 0, 60]);
    if level == 5 {
        body.push(0);
    }
    body.extend_from_slice(&[0, 1, b'a']);
    [&[0x10, u8::try_from(body.len()).expect("a short packet")], &body[..]].concat()
}

fn v31() -> Vec<u8> {
    connect(b"MQIsdp", 3)
}

fn v311() -> Vec<u8> {
    connect(b"MQTT", 4)
}

fn v5() -> Vec<u8> {
    connect(b"MQTT", 5)
}

/// The first `count` bytes of the answer to `bytes`.
fn answer(address: SocketAddr, bytes: &[u8], count: usize) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("the broker accepts");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    stream.write_all(bytes).expect("an open connection");
    let mut answer = vec![0; count];
    stream.read_exact(&mut answer).expect("an answer");
    answer
}

/// A broker with this configuration file, and its plain addresses.
fn broker(text: &str) -> Broker {
    let room = Room::new();
    room.file("n.toml", text.as_bytes());
    Broker::in_room(room, &["--config", "n.toml"])
}

fn failing(text: &str) -> Finished {
    let room = Room::new();
    room.file("n.toml", text.as_bytes());
    let mut command = noctule();
    command.args(["broker", "--config", "n.toml"]).current_dir(room.path());
    let finished = Program::start(&mut command).finish();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert_eq!(finished.complaints.lines().count(), 1, "{finished:?}");
    finished
}

const OLD_AND_NEW: &str = "\
in_memory = true

[[listener]]
name = \"old\"
bind = \"127.0.0.1\"
port = 0
protocol_versions = [\"3.1\", \"3.1.1\"]
hello = \"always\"

[[listener]]
name = \"new\"
bind = \"127.0.0.1\"
port = 0
protocol_versions = \"5\"
";

#[test] // [MQTT3-3.1.2-2] [MQTT5-3.1.2-2]
fn each_listener_accepts_its_versions_and_refuses_others_in_their_words() {
    let broker = broker(OLD_AND_NEW);
    let [old, new] = broker.listeners() else { panic!("{:?}", broker.listeners()) };
    for connect in [v31(), v311()] {
        assert_eq!(answer(*old, &connect, 4), [0x20, 2, 0, 0]);
        assert_eq!(answer(*new, &connect, 4), [0x20, 2, 0, 1]);
    }
    let refused = answer(*old, &v5(), 4);
    assert_eq!((refused[0], refused[3]), (0x20, 0x84));
    assert_eq!(answer(*new, &v5(), 4)[3], 0);
}

#[test]
fn each_listener_greets_as_it_was_told() {
    let broker = broker(OLD_AND_NEW);
    let [old, new] = broker.listeners() else { panic!("{:?}", broker.listeners()) };
    let greeted = answer(*old, &v311(), 4 + 2 + 2 + 24 + 5);
    assert!(greeted.ends_with(b"$SYS/broker/connection/aHELLO"), "{greeted:?}");
    // Behind CONNACK comes the answer to PINGREQ, and nothing before it.
    let ping = [&v5()[..], &[0xc0, 0]].concat();
    let answers = answer(*new, &ping, 2);
    let connack = usize::from(answers[1]) + 2;
    assert_eq!(answer(*new, &ping, connack + 2)[connack..], [0xd0, 0]);
}

#[test]
fn each_listener_has_its_own_door() {
    let room = Room::new();
    let passwd = |words: &[&str]| {
        let mut command = noctule();
        command.args(["passwd"]).args(words).current_dir(room.path());
        Program::start_with(&mut command, b"secret\n".to_vec()).finish().well();
    };
    passwd(&["create", "users"]);
    let text = "\
        in_memory = true\n\
        [[listener]]\nname = \"open\"\nbind = \"127.0.0.1\"\nport = 0\n\
        [[listener]]\nname = \"shut\"\nbind = \"127.0.0.1\"\nport = 0\npassword_file = \"users\"\n\
        [[listener]]\nname = \"sealed\"\nbind = \"127.0.0.1\"\nport = 0\ntransport = \"tls\"\n";
    room.file("n.toml", text.as_bytes());
    let broker = Broker::in_room(room, &["--config", "n.toml", "--verbose"]);
    let [open, shut] = broker.listeners() else { panic!("{:?}", broker.listeners()) };
    assert_eq!(answer(*open, &v311(), 4), [0x20, 2, 0, 0]);
    broker.program().expect_complaint(&["connected", "listener=\"open\"", "transport=\"plain\""]);
    assert_eq!(answer(*shut, &v311(), 4), [0x20, 2, 0, 5]);
    let mut client = TlsClient::new(&broker, &broker.path("noctule-data/tls/ca.pem"));
    client.send(&v311());
    assert_eq!(client.receive(4), [0x20, 2, 0, 0]);
    broker.program().expect_complaint(&["connected", "listener=\"sealed\"", "transport=\"TLS 1.3"]);
}

#[test]
fn what_is_wrong_with_a_listener_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let text = |rest: &str| {
        format!("in_memory = true\n[[listener]]\nname = \"field\"\nbind = \"127.0.0.1\"\n{rest}\n")
    };
    let said = failing(&text(&format!("port = {port}"))).complaints;
    assert!(said.starts_with("noctule: listener \"field\": cannot listen on 127.0.0.1:"), "{said}");
    assert!(said.contains("choose another port with `port`"), "{said}");
    let open = text("port = 0").replace("127.0.0.1", "0.0.0.0");
    let said = failing(&open).complaints;
    assert!(
        said.starts_with("noctule: listener \"field\": listening on 0.0.0.0 would let"),
        "{said}"
    );
    let said = failing(&text("port = 0\npassword_file = \"nowhere\"")).complaints;
    assert!(said.starts_with("noctule: listener \"field\": nowhere"), "{said}");
    let tls = "port = 0\ntransport = \"tls\"\ncert = \"nowhere\"\nkey = \"nowhere\"";
    let said = failing(&text(tls)).complaints;
    assert!(said.starts_with("noctule: listener \"field\": nowhere"), "{said}");
    let said = failing(&text("prot = 0")).complaints;
    assert!(said.contains("n.toml:5:1: listener \"field\": unknown key \"prot\""), "{said}");
}

#[test]
fn a_listener_may_promise_less_or_more_than_the_others() {
    for (usual, own) in [("always", "never"), ("never", "always"), ("always", "interval")] {
        let text = format!(
            "durability = \"{usual}\"\ndurability_interval = \"50ms\"\n\
             [[listener]]\nbind = \"127.0.0.1\"\nport = 0\n\
             [[listener]]\nbind = \"127.0.0.1\"\nport = 0\ndurability = \"{own}\"\n"
        );
        let broker = broker(&text);
        let [first, second] = broker.listeners() else { panic!("{:?}", broker.listeners()) };
        for address in [first, second] {
            // A retained message is kept, and its PUBACK waits for that.
            let publish = [0x33, 6, 0, 1, b't', 0, 1, b'x'];
            let bytes = [&v311()[..], &publish].concat();
            assert_eq!(answer(*address, &bytes, 8), [0x20, 2, 0, 0, 0x40, 2, 0, 1]);
        }
        let room = broker.kill();
        let broker = Broker::in_room(room, &["--config", "n.toml"]);
        let subscribe = [0x82, 6, 0, 1, 0, 1, b't', 0];
        let bytes = [&v311()[..], &subscribe].concat();
        let got = answer(broker.listeners()[1], &bytes, 4 + 5 + 6);
        assert_eq!(got[9..], [0x31, 4, 0, 1, b't', b'x'], "{usual} {own}");
    }
}
