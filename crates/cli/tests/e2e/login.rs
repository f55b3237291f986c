//! User names and passwords at the broker's door, and the door that must not stand open.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::broker::{Broker, noctule};
use crate::program::Program;
use crate::room::Room;

const ACCEPTED: [u8; 4] = [0x20, 2, 0, 0];

/// A broker with a user `anna`, whose password is `secret`.
pub(crate) fn guarded(flags: &[&str]) -> Broker {
    let room = Room::new();
    passwd(&room, &["create", "p"], "");
    passwd(&room, &["add", "p", "anna", "--password-stdin"], "secret");
    Broker::in_room(room, &[&["--password-file", "p"], flags].concat())
}

pub(crate) fn passwd(room: &Room, arguments: &[&str], input: &str) {
    let mut command = noctule();
    command.arg("passwd").args(arguments).current_dir(room.path());
    Program::start_with(&mut command, input.as_bytes().to_vec()).finish().well();
}

/// CONNECT with protocol level `level` (3.1.1 or 5).
pub(crate) fn connect(level: u8, id: &str, user: Option<&str>, password: Option<&str>) -> Vec<u8> {
    let text = |text: &str| [&[0, text.len() as u8], text.as_bytes()].concat();
    let mut flags = 0x02;
    let mut payload = text(id);
    for (given, flag) in [(user, 0x80), (password, 0x40)] {
        if let Some(given) = given {
            flags |= flag;
            payload.extend(text(given));
        }
    }
    let mut rest = [text("MQTT"), vec![level, flags, 0, 0]].concat();
    if level == 5 {
        rest.push(0);
    }
    rest.extend(payload);
    [vec![0x10, rest.len() as u8], rest].concat()
}

/// The reason or return code in the answer to CONNECT.
pub(crate) fn answer(stream: &mut TcpStream) -> u8 {
    let mut head = [0; 4];
    stream.read_exact(&mut head).expect("CONNACK");
    assert_eq!(head[0], 0x20);
    let mut rest = vec![0; usize::from(head[1]) - 2];
    stream.read_exact(&mut rest).expect("CONNACK");
    head[3]
}

fn login(broker: &Broker, level: u8, user: Option<&str>, password: Option<&str>) -> u8 {
    let mut stream = broker.connect();
    let packet = connect(level, &broker.id("x"), user, password);
    stream.write_all(&packet).expect("an open connection");
    answer(&mut stream)
}

#[test] // [MQTT3-3.2.2-4]
fn who_does_not_know_the_password_is_refused_with_the_code_that_says_so() {
    let broker = guarded(&[]);
    for (level, bad_password, not_authorized) in [(4, 4, 5), (5, 0x86, 0x87)] {
        let login = |user, password| login(&broker, level, user, password);
        assert_eq!(login(Some("anna"), Some("secret")), 0);
        assert_eq!(login(Some("anna"), Some("Secret")), bad_password);
        assert_eq!(login(Some("nobody"), Some("secret")), bad_password);
        assert_eq!(login(Some("anna"), Some("")), bad_password);
        assert_eq!(login(Some("anna"), None), bad_password);
        assert_eq!(login(None, None), not_authorized);
    }
}

#[test]
fn anonymous_clients_come_in_beside_users_if_that_is_meant() {
    let broker = guarded(&["--allow-anonymous"]);
    assert_eq!(login(&broker, 4, None, None), 0);
    assert_eq!(login(&broker, 4, Some("anna"), Some("secret")), 0);
    assert_eq!(
        login(&broker, 4, Some("anna"), Some("wrong")),
        4,
        "who claims to be somebody is asked"
    );
}

#[test]
fn what_comes_right_behind_connect_waits_for_the_verdict() {
    let broker = guarded(&[]);
    let mut stream = broker.connect();
    let mut bytes = connect(4, &broker.id("x"), Some("anna"), Some("secret"));
    bytes.extend([0xc0, 0]);
    stream.write_all(&bytes).unwrap();
    let mut all = [0; 6];
    stream.read_exact(&mut all).unwrap();
    assert_eq!((&all[..4], &all[4..]), (&ACCEPTED[..], &[0xd0, 0][..]));
    let mut refused = broker.connect();
    let mut bytes = connect(4, &broker.id("y"), Some("anna"), Some("wrong"));
    bytes.extend([0xc0, 0]);
    refused.write_all(&bytes).unwrap();
    let mut all = Vec::new();
    refused.read_to_end(&mut all).unwrap();
    assert_eq!(all, [0x20, 2, 0, 4]);
}

#[test]
fn a_queue_of_logins_holds_nobody_up() {
    let broker = guarded(&["--connect-timeout", "5m", "--login-failures-max", "unlimited"]);
    let mut bystander = broker.connect();
    bystander.write_all(&connect(4, &broker.id("b"), Some("anna"), Some("secret"))).unwrap();
    assert_eq!(answer(&mut bystander), 0);
    let mut waiting: Vec<_> = (0..30)
        .map(|number| {
            let mut stream = broker.connect();
            let id = broker.id(&number.to_string());
            stream.write_all(&connect(4, &id, Some("anna"), Some("wrong"))).unwrap();
            stream
        })
        .collect();
    // Thirty checks take half a second at least; the answer to a ping does not wait for the last of them.
    bystander.write_all(&[0xc0, 0]).unwrap();
    bystander.read_exact(&mut [0; 2]).unwrap();
    let last = waiting.last_mut().unwrap();
    last.set_nonblocking(true).unwrap();
    let early = last.read(&mut [0; 4]);
    assert_eq!(early.map_err(|error| error.kind()), Err(std::io::ErrorKind::WouldBlock));
    last.set_nonblocking(false).unwrap();
    for stream in &mut waiting {
        assert_eq!(answer(stream), 4);
    }
}

#[test]
fn users_that_are_added_or_deleted_count_without_a_restart() {
    let broker = guarded(&[]);
    let change = |arguments: &[&str]| {
        let mut command = noctule();
        command.arg("passwd").args(arguments).current_dir(broker.path(""));
        Program::start_with(&mut command, b"other".to_vec()).finish().well();
    };
    change(&["add", "p", "bert", "--password-stdin"]);
    change(&["delete", "p", "anna"]);
    // The file is looked at once a second; until then the old one counts.
    let end = std::time::Instant::now() + crate::program::DEADLINE;
    while login(&broker, 4, Some("bert"), Some("other")) != 0 {
        assert!(std::time::Instant::now() < end, "the new file is not read");
    }
    assert_eq!(login(&broker, 4, Some("anna"), Some("secret")), 4);
    broker.program().expect_complaint(&["password file read again", "users=1"]);
    std::fs::write(broker.path("p"), b"nonsense\n").unwrap();
    while !broker.program().complaints().contains("p:1: expected user:hash") {
        assert!(std::time::Instant::now() < end, "the broken file is not noticed");
        assert_eq!(login(&broker, 4, Some("bert"), Some("other")), 0, "the old one stays in use");
    }
}

#[test]
fn a_certificate_is_as_good_as_a_password() {
    let room = Room::new();
    let cert = |flags: &[&str]| {
        let mut command = noctule();
        Program::start(command.arg("cert").args(flags).current_dir(room.path())).finish().well();
    };
    cert(&[]);
    cert(&["--client", "sensor-1"]);
    passwd(&room, &["create", "p"], "");
    let flags = ["--password-file", "p", "--client-ca", "noctule-data/tls/ca.pem"];
    let broker = Broker::in_room(room, &[&flags[..], &["--client-auth", "optional"]].concat());
    let file = |name: &str| broker.path("noctule-data/tls").join(name);
    let (pem, key) = (file("client-sensor-1.pem"), file("client-sensor-1.key"));
    let ca = file("ca.pem");
    let mut certified = crate::tls_client::TlsClient::with(&broker, &ca, &pem, &key);
    certified.send(&connect(4, "a", None, None));
    assert_eq!(certified.receive(4), ACCEPTED);
    let mut anonymous = crate::tls_client::TlsClient::new(&broker, &ca);
    anonymous.send(&connect(4, "b", None, None));
    assert_eq!(anonymous.receive(4), [0x20, 2, 0, 5]);
}

#[test]
fn the_network_is_not_listened_to_without_a_guard() {
    let room = Room::new();
    let start = |flags: &[&str]| {
        let mut command = noctule();
        command.args(["broker", "--port", "0", "--tls-port", "0"]).args(flags);
        Program::start(command.current_dir(room.path())).finish()
    };
    for flags in [&["--bind", "0.0.0.0"][..], &["--bind", "127.0.0.1,::"]] {
        let finished = start(flags);
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        assert_eq!(finished.complaints.lines().count(), 1, "{finished:?}");
        assert!(finished.complaints.contains("--allow-anonymous"), "{finished:?}");
        assert!(!room.path().join("noctule-data").exists(), "nothing was begun");
    }
    room.file("bad", b"nonsense\n");
    for (file, words) in
        [("missing", "missing: there is no such file"), ("bad", "bad:1: expected user:hash")]
    {
        let finished = start(&["--password-file", file]);
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        assert_eq!(finished.complaints.lines().count(), 1, "{finished:?}");
        assert!(finished.complaints.contains(words), "{finished:?}");
    }
}

/// Whose password is found right goes to the loop of his session, and leaves his slot to the next one who
/// comes, maybe in the same turn.
#[test]
fn those_who_come_while_others_are_let_in_do_not_push_them_out() {
    const THREADS: usize = 16;
    const EACH: usize = 125;
    // A hash that is found soon, of "secret".
    let hash = "$7$101$m999DcWONBC1t0gK$zkqDJ05qsOutYpq1XG4tsinqhUzI/JkN44Kk8npnObsIUbUi0Xv7\
                OOlPoZduRkLYEiVry4dIPXTXsNK+WY8Uzg==";
    let room = Room::new();
    // Whose login was found right once is let in without another look: each comes once.
    let users: String =
        (0..THREADS * EACH).map(|number| format!("user{number}:{hash}\n")).collect();
    room.file("p", users.as_bytes());
    let broker = Broker::in_room(room, &["--password-file", "p", "--shards", "4"]);
    let address = broker.address();
    let comes = |number: usize| {
        let (user, id) = (format!("user{number}"), number.to_string());
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(&connect(4, &id, Some(&user), Some("secret"))).unwrap();
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).is_ok() && connack == ACCEPTED
    };
    let lost: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let all = thread * EACH..(thread + 1) * EACH;
                let comes = &comes;
                scope.spawn(move || all.filter(|number| !comes(*number)).count())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(lost, 0, "of {}", THREADS * EACH);
}
