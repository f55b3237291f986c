//! Who a client is: users named by certificates, sessions that belong to their users, and addresses
//! that were wrong too often.

use std::io::Write;

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
fn an_address_that_is_wrong_too_often_is_refused_for_a_while_but_not_who_is_known() {
    let broker = broker(&["--login-failures-max", "3", "--login-failures-time", "1s"]);
    assert_eq!(login(&broker, "x", Some("anna"), Some("secret")), 0);
    for _ in 0..3 {
        assert_eq!(login(&broker, "y", Some("anna"), Some("wrong")), 0x86);
    }
    assert_eq!(login(&broker, "y", Some("sensor-1"), Some("secret")), 0x9f);
    assert_eq!(login(&broker, "x", Some("anna"), Some("secret")), 0, "it was right before");
    broker.program().expect_complaint(&["too many wrong logins", "127.0.0.1"]);
    let end = std::time::Instant::now() + DEADLINE;
    while login(&broker, "y", Some("sensor-1"), Some("secret")) != 0 {
        assert!(std::time::Instant::now() < end, "it is not forgotten");
    }
}
