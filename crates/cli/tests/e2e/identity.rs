//! Who a client is: users named by certificates, sessions that belong to their users, and addresses
//! that were wrong too often.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::broker::{Broker, noctule};
use crate::login::{answer, connect, passwd};
use crate::program::{DEADLINE, Program};
use crate::room::Room;
use crate::tls_client::TlsClient;

const FOREIGN: u8 = 0x85;

/// A broker where clients with a certificate are the users that it names, and others give a password:
/// `anna` and `sensor-1` have `secret`.
fn broker(flags: &[&str]) -> Broker {
    let room = Room::new();
    let cert = |flags: &[&str]| {
        let mut command = noctule();
        Program::start(command.arg("cert").args(flags).current_dir(room.path())).finish().well();
    };
    cert(&[]);
    cert(&["--client", "sensor-1"]);
    passwd(&room, &["create", "p"], "");
    for user in ["anna", "sensor-1"] {
        passwd(&room, &["add", "p", user, "--password-stdin"], "secret");
    }
    let own = ["--password-file", "p", "--client-ca", "noctule-data/tls/ca.pem"];
    Broker::in_room(room, &[&own[..], &["--client-auth", "optional"], flags].concat())
}

fn certified(broker: &Broker) -> TlsClient {
    let file = |name: &str| broker.path("noctule-data/tls").join(name);
    let (pem, key) = (file("client-sensor-1.pem"), file("client-sensor-1.key"));
    TlsClient::with(broker, &file("ca.pem"), &pem, &key)
}

fn login(broker: &Broker, id: &str, user: Option<&str>, password: Option<&str>) -> u8 {
    let mut stream = broker.connect();
    stream.write_all(&connect(5, id, user, password)).expect("an open connection");
    answer(&mut stream)
}

#[test]
fn a_certificate_names_its_user_and_the_session_belongs_to_that_one() {
    for (field, user) in [("common-name", "sensor-1"), ("subject", "CN=sensor-1")] {
        let broker = broker(&["--certificate-user", field]);
        let mut sensor = certified(&broker);
        // What it claims to be does not count.
        sensor.send(&connect(4, "x", Some("anna"), Some("wrong")));
        assert_eq!(sensor.receive(4), [0x20, 2, 0, 0]);
        assert_eq!(login(&broker, "x", Some("anna"), Some("secret")), FOREIGN);
        let by_password = login(&broker, "x", Some("sensor-1"), Some("secret"));
        assert_eq!(by_password, if user == "sensor-1" { 0 } else { FOREIGN }, "{field}");
    }
}

#[test]
fn a_certificate_that_names_nobody_in_the_way_that_is_asked_for_is_refused() {
    let broker = broker(&["--certificate-user", "alternative-name"]);
    let mut sensor = certified(&broker);
    sensor.send(&connect(4, "x", Some("anna"), Some("secret")));
    assert_eq!(sensor.receive(4), [0x20, 2, 0, 5]);
}

#[test]
fn somebody_elses_session_is_refused_unless_that_is_meant() {
    for (flag, code) in
        [("--session-belongs-to-user", FOREIGN), ("--no-session-belongs-to-user", 0)]
    {
        let broker = broker(&[flag]);
        let mut anna = broker.connect();
        anna.write_all(&connect(5, "x", Some("anna"), Some("secret"))).unwrap();
        assert_eq!(answer(&mut anna), 0);
        assert_eq!(login(&broker, "x", Some("sensor-1"), Some("secret")), code);
        assert_eq!(login(&broker, "y", Some("sensor-1"), Some("secret")), 0);
    }
}

#[test]
fn a_session_that_a_killed_broker_has_left_still_belongs_to_its_user() {
    let room = Room::new();
    passwd(&room, &["create", "p"], "");
    for user in ["anna", "bert"] {
        passwd(&room, &["add", "p", user, "--password-stdin"], "secret");
    }
    let flags = ["--password-file", "p"];
    let broker = Broker::in_room(room, &flags);
    for (level, id) in [(4, "four"), (5, "five")] {
        let mut anna = broker.connect();
        anna.write_all(&staying(level, id, "anna")).unwrap();
        assert_eq!(packet(&mut anna).1[..2], [0, 0], "a new session");
        anna.write_all(&subscribe(level, id)).unwrap();
        assert_eq!(packet(&mut anna).0, 0x90);
        anna.write_all(&[0xe0, 0]).unwrap();
        assert_eq!(anna.read(&mut [0]).unwrap(), 0, "the broker has noticed that she went");
        let mut other = broker.connect();
        other.write_all(&connect(4, "other", Some("bert"), Some("secret"))).unwrap();
        assert_eq!(answer(&mut other), 0);
        other.write_all(&publish(id)).unwrap();
        assert_eq!(packet(&mut other).0, 0x40, "acknowledged, so it is stored");
    }

    let broker = Broker::in_room(broker.kill(), &flags);
    for (level, id, refused) in [(4, "four", 2), (5, "five", FOREIGN)] {
        for attempt in
            [staying(level, id, "bert"), connect(level, id, Some("bert"), Some("secret"))]
        {
            let mut bert = broker.connect();
            bert.write_all(&attempt).unwrap();
            assert_eq!(packet(&mut bert).1[..2], [0, refused]);
        }
        let mut anna = broker.connect();
        anna.write_all(&staying(level, id, "anna")).unwrap();
        assert_eq!(packet(&mut anna).1[..2], [1, 0], "her session is there");
        let (kind, owed) = packet(&mut anna);
        assert_eq!(kind & 0xf6, 0x32, "PUBLISH at QoS 1");
        assert_eq!(owed[..6], [&[0, 4], id.as_bytes()].concat(), "what it was owed, too");
    }
}

/// CONNECT of a user whose session is to outlive the connection.
fn staying(level: u8, id: &str, user: &str) -> Vec<u8> {
    let mut packet = connect(level, id, Some(user), Some("secret"));
    const FLAGS_AT: usize = 9;
    const PROPERTIES_AT: usize = 12;
    packet[FLAGS_AT] &= !0x02;
    if level == 5 {
        let never_expires = [5, 0x11, 0xff, 0xff, 0xff, 0xff];
        packet.splice(PROPERTIES_AT..=PROPERTIES_AT, never_expires);
        packet[1] += 5;
    }
    packet
}

/// SUBSCRIBE at QoS 1.
fn subscribe(level: u8, filter: &str) -> Vec<u8> {
    let properties: &[u8] = if level == 5 { &[0] } else { &[] };
    let rest = [&[0, 1], properties, &[0, filter.len() as u8], filter.as_bytes(), &[1]].concat();
    [vec![0x82, rest.len() as u8], rest].concat()
}

/// PUBLISH of version 3.1.1 at QoS 1.
fn publish(topic: &str) -> Vec<u8> {
    let rest = [&[0, topic.len() as u8], topic.as_bytes(), &[0, 1], b"owed"].concat();
    [vec![0x32, rest.len() as u8], rest].concat()
}

/// The next packet, a short one: its first byte, and what is behind its length.
fn packet(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).expect("a packet");
    let mut rest = vec![0; usize::from(head[1])];
    stream.read_exact(&mut rest).expect("a packet");
    (head[0], rest)
}

#[test]
fn who_is_wrong_too_often_is_refused_for_a_while_but_not_his_neighbours_nor_who_is_known() {
    let broker = broker(&["--login-failures-max", "3", "--login-failures-time", "6s"]);
    assert_eq!(login(&broker, "x", Some("anna"), Some("secret")), 0);
    for _ in 0..3 {
        assert_eq!(login(&broker, "y", Some("anna"), Some("wrong")), 0x86);
    }
    assert_eq!(login(&broker, "y", Some("anna"), Some("wrong")), 0x9f);
    assert_eq!(login(&broker, "y", Some("sensor-1"), Some("secret")), 0, "another user");
    assert_eq!(login(&broker, "x", Some("anna"), Some("secret")), 0, "it was right before");
    broker.program().expect_complaint(&["too many wrong logins of one user", "127.0.0.1"]);
    let end = std::time::Instant::now() + DEADLINE;
    while login(&broker, "y", Some("anna"), Some("wrong")) == 0x9f {
        assert!(std::time::Instant::now() < end, "it is not forgotten");
    }
}

#[test]
fn a_name_that_nobody_asks_to_be_proved_has_nothing_of_who_has_proved_it() {
    let room = Room::new();
    passwd(&room, &["create", "p"], "");
    passwd(&room, &["add", "p", "anna", "--password-stdin"], "secret");
    let listeners = "[[listener]]\nport = 0\npassword_file = 'p'\n[[listener]]\nport = 0\n";
    room.file("n.toml", format!("bind = \"127.0.0.1\"\n{listeners}").as_bytes());
    let broker = Broker::in_room(room, &["--config", "n.toml"]);
    let at = |listener: usize, packet: &[u8]| {
        let mut stream = TcpStream::connect(broker.listeners()[listener]).expect("a listener");
        stream.write_all(packet).expect("an open connection");
        let code = answer(&mut stream);
        (stream, code)
    };
    let (mut anna, code) = at(0, &connect(5, "x", Some("anna"), Some("secret")));
    assert_eq!(code, 0);
    for claim in [Some("anna"), Some("bert"), None] {
        assert_eq!(at(1, &connect(5, "x", claim, None)).1, FOREIGN, "{claim:?}");
    }
    anna.write_all(&[0xc0, 0]).unwrap();
    assert_eq!(packet(&mut anna).0, 0xd0, "she has noticed nothing");
    // What begins there is nobody's, whatever it was called.
    let (_bert, code) = at(1, &connect(5, "y", Some("bert"), None));
    assert_eq!(code, 0);
    assert_eq!(at(1, &connect(5, "y", Some("carl"), None)).1, 0);
}

#[test]
fn a_token_is_taken_in_place_of_a_password() {
    let tokens = include_str!("../../../auth/tests/tokens/tokens.json");
    let tokens: serde_json::Value = serde_json::from_str(tokens).expect("JSON");
    let room = Room::new();
    let keys = include_str!("../../../auth/tests/tokens/jwks.json");
    room.file("keys.json", keys.as_bytes());
    let flags = ["--jwt-keys", "keys.json", "--jwt-issuer", "https://issuer.example"];
    let more = ["--jwt-audience", "noctule", "--jwt-client-id-claim", "dev"];
    let broker = Broker::in_room(room, &[&flags[..], &more].concat());
    let publish = |id: &str, name: &str| {
        let token = tokens[name].as_str().expect("a token");
        let mut command = std::process::Command::new("mosquitto_pub");
        command.args(["-h", &broker.host(), "-p", &broker.port(), "-t", &broker.topic("t")]);
        command.args(["-m", "x", "-i", id, "-u", "anna", "-P", token]);
        Program::start(&mut command).finish().status.code()
    };
    for name in ["RS256", "PS512", "ES256", "ES384", "EDDSA", "HS256", "NAMELESS"] {
        assert_eq!(publish("sensor-1", name), Some(0), "{name}");
    }
    for name in ["NONE", "CONFUSED", "OTHER_ALGORITHM", "NO_END", "NO_AUDIENCE", "NO_ISSUER"] {
        assert_eq!(publish("sensor-1", name), Some(4), "{name}");
    }
    assert_eq!(publish("sensor-2", "ES256"), Some(2), "the token is for another client");
    assert_eq!(login(&broker, "sensor-1", None, None), 0x87);
    std::fs::write(broker.path("keys.json"), r#"{"keys":[]}"#).expect("a writable room");
    broker.program().expect_complaint(&["cannot be used", "no key for signatures"]);
    assert_eq!(publish("sensor-1", "ES256"), Some(0), "the keys from before stay in use");
}
