//! The files of TLS: made, served, renewed, read again, refused.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use noctule_cert::{
    Directory, Made, Name, Purpose, UnixTime, Validity, facts, read_certificates, self_signed,
};
use rustix::process::Signal;

use crate::broker::{Broker, noctule};
use crate::program::{Finished, Program};
use crate::room::Room;
use crate::tls_client::TlsClient;

const TLS: &str = "noctule-data/tls";
const PING: [u8; 2] = [0xc0, 0];
const PONG: [u8; 2] = [0xd0, 0];

#[test]
fn first_run_to_tls_round_trip_in_two_commands() {
    let room = Room::new();
    let mut command = noctule();
    command.args(["broker", "--port", "0", "--tls-port", "0"]).current_dir(room.path());
    let broker = Program::start(&mut command);
    let said =
        broker.expect("SHA-256", |line| line.strip_prefix("    its SHA-256: ").map(str::to_owned));
    // The second command is the very one that is printed.
    let printed = broker.expect("command", |line| {
        line.split_once("with TLS:   ").map(|(_, command)| command.to_owned())
    });
    assert_eq!(said, fingerprint(&room.path().join(TLS).join("server.pem")));
    let line = format!("{printed} -E");
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).current_dir(room.path());
    Program::start(&mut shell).finish().well();
    broker.signal(Signal::TERM);
    broker.finish().well();
    // The second start makes nothing and serves the same.
    let broker = Broker::in_room(room, &[]);
    let client = client(&broker);
    assert_eq!(client.certificate_of_broker(), said);
}

#[test]
fn what_noctule_cert_has_made_is_served_and_never_renewed() {
    let room = Room::new();
    cert(&room, &["--hostname", "broker.example.org", "--days", "10"]);
    let made = fingerprint(&room.path().join(TLS).join("server.pem"));
    let broker = Broker::in_room(room, &[]);
    assert_eq!(client(&broker).certificate_of_broker(), made);
    assert_eq!(fingerprint(&broker.path(TLS).join("server.pem")), made);
    // Ten days are few, and it is not the broker's to renew.
    broker.program().expect_complaint(&["WARN", "server.pem: expires on"]);
}

#[test]
fn secrets_that_everybody_may_read_are_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let room = Room::new();
    cert(&room, &[]);
    let passwords = room.file("p", b"");
    let key = room.path().join(TLS).join("server.key");
    for file in [&key, &passwords] {
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o644)).unwrap();
    }
    let broker = Broker::in_room(room, &["--password-file", "p"]);
    for file in ["server.key", "p"] {
        let words = [file, ": everybody on this machine may read it (mode 644): chmod o-r"];
        broker.program().expect_complaint(&words);
    }
    broker.program().expect_complaint(&["the password file has no users"]);
}

#[test]
fn a_self_signed_ca_of_openssl_is_served() {
    let room = Room::new();
    openssl(
        &room,
        "req -x509 -newkey rsa:2048 -nodes -keyout o.key -out o.pem -days 60 -subj /CN=localhost \
         -addext subjectAltName=DNS:localhost",
    );
    let broker = Broker::in_room(room, &["--cert", "o.pem", "--key", "o.key"]);
    assert!(!broker.path("noctule-data/tls").exists());
    let certificate = broker.path("o.pem");
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "localhost", "-p", &broker.tls_port(), "--cafile"]).arg(certificate);
    Program::start(command.args(["-t", "t", "-m", "x", "-q", "1"])).finish().well();
}

#[test]
fn a_name_that_is_not_in_the_certificate_needs_insecure() {
    let room = Room::new();
    own_certificate(&room, &["broker.example.org"], 100, false);
    let broker = Broker::in_room(room, &[]);
    let publish = |flags: &[&str]| {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "localhost", "-p", &broker.tls_port(), "--cafile"]);
        command.arg(broker.path(TLS).join("ca.pem")).args(["-t", "t", "-m", "x"]).args(flags);
        Program::start(&mut command).finish()
    };
    assert!(!publish(&[]).status.success());
    publish(&["--insecure"]).well();
}

#[test]
fn the_brokers_own_certificate_is_renewed_in_time_and_with_new_names() {
    let room = Room::new();
    own_certificate(&room, &["localhost", "127.0.0.1", "::1"], 5, true);
    let old = fingerprint(&room.path().join(TLS).join("server.pem"));
    let ca = fingerprint(&room.path().join(TLS).join("ca.pem"));
    let broker = Broker::in_room(room, &[]);
    let new = client(&broker).certificate_of_broker();
    assert_ne!(new, old);
    assert_eq!(fingerprint(&broker.path(TLS).join("ca.pem")), ca, "clients trust it");

    let room = Room::new();
    own_certificate(&room, &["localhost"], 100, true);
    let old = fingerprint(&room.path().join(TLS).join("server.pem"));
    let broker = Broker::in_room(room, &["--bind", "127.0.0.1,127.0.0.2"]);
    let path = broker.path(TLS).join("server.pem");
    assert_ne!(fingerprint(&path), old);
    let names = facts(&read_certificates(&path).unwrap()[0]).unwrap().names;
    assert!(names.contains(&"IP 127.0.0.2".to_owned()), "{names:?}");
}

#[test]
fn changed_files_are_used_without_losing_a_connection() {
    let room = Room::new();
    cert(&room, &[]);
    // On a slow machine the greeting of silent clients would come between what is compared here.
    let broker = Broker::in_room(room, &["--hello", "never"]);
    let mut early = client(&broker);
    let old = early.certificate_of_broker();
    make_anew(&broker);
    let new = fingerprint(&broker.path(TLS).join("server.pem"));
    // By itself, without a signal.
    broker.program().expect_complaint(&["TLS files read again"]);
    assert_ne!(old, new);
    assert_eq!(client(&broker).certificate_of_broker(), new);
    early.send(&PING);
    assert_eq!(early.receive(2), PONG);
}

#[test]
fn sighup_reads_at_once_and_a_broken_file_keeps_the_old_one() {
    let room = Room::new();
    cert(&room, &[]);
    let broker = Broker::in_room(room, &[]);
    let old = client(&broker).certificate_of_broker();
    let path = broker.path(TLS).join("server.pem");
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, b"nonsense").unwrap();
    broker.program().signal(Signal::HUP);
    let kept = ["WARN", "those from before stay in use", "server.pem: is not PEM"];
    broker.program().expect_complaint(&kept);
    assert_eq!(client(&broker).certificate_of_broker(), old);
    std::fs::write(&path, good).unwrap();
    broker.program().signal(Signal::HUP);
    broker.program().expect_complaint(&["TLS files read again"]);
    assert_eq!(client(&broker).certificate_of_broker(), old);
}

#[test]
fn client_certificates_are_required_optional_or_void() {
    let room = Room::new();
    cert(&room, &[]);
    cert(&room, &["--client", "sensor-1"]);
    cert(&room, &["--client", "sensor-2"]);
    revoke(&room, "client-sensor-2.pem");
    let ca = format!("{TLS}/ca.pem");
    let list = format!("{TLS}/list.pem");
    let flags = ["--client-ca", &ca, "--client-crl", &list, "--verbose"];
    let broker = Broker::in_room(room, &flags);
    pub_with(&broker, Some("sensor-1")).well();
    broker.program().expect_complaint(&["connected", "client CN=sensor-1"]);
    for (client, words) in
        [(None, "showed no certificate, and one is required"), (Some("sensor-2"), "it is revoked")]
    {
        assert!(!pub_with(&broker, client).status.success(), "{words}");
        broker.program().expect_complaint(&["disconnected", words]);
    }

    let room = Room::new();
    cert(&room, &[]);
    cert(&room, &["--client", "sensor-1"]);
    let broker = Broker::in_room(room, &["--client-ca", &ca, "--client-auth", "optional"]);
    pub_with(&broker, None).well();
    pub_with(&broker, Some("sensor-1")).well();
    let own = |name: &str| broker.path(TLS).join(format!("client-sensor-1.{name}"));
    let mut client = TlsClient::with(&broker, &broker.path(&ca), &own("pem"), &own("key"));
    client.send(CONNECT);
    assert_eq!(client.receive(4), [0x20, 2, 0, 0]);
}

#[test]
fn files_that_cannot_be_used_are_one_line_and_exit_code_1() {
    let room = Room::new();
    cert(&room, &["--out", "a"]);
    cert(&room, &["--out", "b"]);
    openssl(&room, "pkey -in a/server.key -aes256 -passout pass:secret -out encrypted.key");
    room.file("text", b"hello\n");
    write_pair(&room, "expired", &server_made(-1));
    for (certificate, key, words) in [
        ("none.pem", "a/server.key", &["none.pem: there is no such file"][..]),
        ("a/server.pem", "none.key", &["none.key: there is no such file"]),
        ("a", "a/server.key", &["a: is a directory"]),
        (
            "a/server.pem",
            "b/server.key",
            &["b/server.key: this key does not belong", "a/server.pem"],
        ),
        ("a/server.key", "a/server.pem", &["holds PRIVATE KEY, a certificate is expected"]),
        ("text", "a/server.key", &["text: is not PEM"]),
        ("a/server.pem", "encrypted.key", &["encrypted.key: the key is encrypted", "openssl pkey"]),
        ("expired.pem", "expired.key", &["expired.pem: expired on", "renew it"]),
    ] {
        let finished = start(&room, &["--cert", certificate, "--key", key]);
        refused(&finished, words);
    }
    let ca = ["--cert", "a/server.pem", "--key", "a/server.key", "--client-ca"];
    refused(&start(&room, &[&ca[..], &["text"]].concat()), &["text: is not PEM"]);
    let list = [&ca[..], &["a/ca.pem", "--client-crl", "a/ca.pem"]].concat();
    refused(&start(&room, &list), &["a revocation list (X509 CRL) is expected"]);
    // What lies in the data directory and was not made by the broker is not replaced either.
    own_certificate(&room, &["localhost"], -1, false);
    refused(&start(&room, &[]), &["server.pem: expired on", "noctule cert --force"]);
    std::fs::remove_file(room.path().join(TLS).join("server.key")).unwrap();
    refused(&start(&room, &[]), &["server.key: there is no such file"]);
}

#[test]
fn a_data_directory_that_cannot_be_made_is_one_line() {
    let room = Room::new();
    room.file("occupied", b"");
    let finished = start(&room, &["--data-dir", "occupied"]);
    refused(&finished, &["occupied/tls", "--data-dir", "--no-tls"]);
}

#[test]
fn a_tls_port_in_use_names_its_own_flag() {
    let room = Room::new();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut command = noctule();
    command.args(["broker", "--port", "0", "--tls-port", &port]).current_dir(room.path());
    refused(&Program::start(&mut command).finish(), &[&port, "--tls-port"]);
}

const CONNECT: &[u8] = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00";

/// A connected client that trusts the CA of the broker's directory.
fn client(broker: &Broker) -> TlsClient {
    let mut client = TlsClient::new(broker, &broker.path(TLS).join("ca.pem"));
    client.send(CONNECT);
    assert_eq!(client.receive(4), [0x20, 2, 0, 0]);
    client
}

fn pub_with(broker: &Broker, client: Option<&str>) -> Finished {
    let mut command = Command::new("mosquitto_pub");
    let tls = broker.path(TLS);
    command.args(["-h", "localhost", "-p", &broker.tls_port(), "--cafile"]);
    command.arg(tls.join("ca.pem")).args(["-t", "t", "-m", "x", "-q", "1"]);
    if let Some(client) = client {
        command.arg("--cert").arg(tls.join(format!("client-{client}.pem")));
        command.arg("--key").arg(tls.join(format!("client-{client}.key")));
    }
    Program::start(&mut command).finish()
}

fn start(room: &Room, flags: &[&str]) -> Finished {
    let mut command = noctule();
    command.args(["broker", "--port", "0", "--tls-port", "0"]).args(flags);
    Program::start(command.current_dir(room.path())).finish()
}

fn refused(finished: &Finished, words: &[&str]) {
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert_eq!(finished.complaints.lines().count(), 1, "{finished:?}");
    for word in words {
        assert!(finished.complaints.contains(word), "{word} is missing: {finished:?}");
    }
}

fn cert(room: &Room, flags: &[&str]) {
    let mut command = noctule();
    Program::start(command.arg("cert").args(flags).current_dir(room.path())).finish().well();
}

fn make_anew(broker: &Broker) {
    let mut command = noctule();
    command.args(["cert", "--force", "--out"]).arg(broker.path(TLS));
    Program::start(&mut command).finish().well();
}

fn openssl(room: &Room, arguments: &str) {
    let mut command = Command::new("openssl");
    command.args(arguments.split_whitespace()).current_dir(room.path());
    Program::start(&mut command).finish().well();
}

/// Makes `list.pem`, in which this certificate is void.
fn revoke(room: &Room, certificate: &str) {
    room.file("index.txt", b"");
    room.file("number", b"01\n");
    room.file(
        "ca.cnf",
        b"[ca]\ndefault_ca=c\n[c]\ndatabase=index.txt\ncrlnumber=number\ndefault_md=sha256\n",
    );
    let ca = format!("ca -config ca.cnf -cert {TLS}/ca.pem -keyfile {TLS}/ca.key");
    openssl(room, &format!("{ca} -revoke {TLS}/{certificate}"));
    openssl(room, &format!("{ca} -gencrl -crldays 10 -out {TLS}/list.pem"));
}

/// A pair as the broker makes it, which ends in so many days; if `noted`, the broker knows it as its
/// own.
fn own_certificate(room: &Room, names: &[&str], days: i64, noted: bool) {
    let directory = Directory::at(room.path().join(TLS));
    let names = names.iter().map(|name| Name::parse(name).expect("a name")).collect();
    let ca = ("Test CA", Validity::for_days(now(), 1_000));
    let validity = Validity { not_before: now().plus_days(-10), not_after: now().plus_days(days) };
    let issued = directory.issue(&Purpose::Server(names), validity, ca, true, now());
    let issued = issued.expect("a certificate");
    if noted {
        let note = format!("{}\n", issued.facts.fingerprint_sha256);
        room.file(&format!("{TLS}/made-by-broker"), note.as_bytes());
    }
}

fn server_made(days: i64) -> Made {
    let validity = Validity { not_before: now().plus_days(-10), not_after: now().plus_days(days) };
    let names = vec![Name::parse("localhost").expect("a name")];
    self_signed(&Purpose::Server(names), validity).expect("a certificate")
}

fn write_pair(room: &Room, stem: &str, made: &Made) -> [PathBuf; 2] {
    [
        room.file(&format!("{stem}.pem"), made.certificate_pem.as_bytes()),
        room.file(&format!("{stem}.key"), made.key_pem.as_bytes()),
    ]
}

fn fingerprint(path: &Path) -> String {
    let chain = read_certificates(path).expect("a certificate");
    facts(&chain[0]).expect("a certificate").fingerprint_sha256
}

fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}
