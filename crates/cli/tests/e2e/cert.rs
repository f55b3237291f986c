//! `noctule cert` as a user runs it, and openssl's opinion of what it makes.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::broker::noctule;
use crate::program::{Finished, Program};
use crate::room::Room;

const TLS: &str = "noctule-data/tls";

#[test]
fn without_anything_it_makes_what_the_broker_serves() {
    let room = Room::new();
    let said = cert(&room, &[]).well().lines.join("\n");
    for file in ["ca.pem", "ca.key", "server.pem", "server.key"] {
        assert!(said.contains(&format!("made ./{TLS}/{file}: ")), "{file}: {said}");
        let secret = file.ends_with(".key");
        assert_eq!(mode(&room, file) & 0o077 == 0, secret, "{file}");
    }
    assert!(said.contains(&format!("--cafile ./{TLS}/ca.pem")), "{said}");
    assert!(!said.contains("PRIVATE"), "{said}");
    let verified = openssl(
        &room,
        "verify -x509_strict -CAfile ca.pem -purpose sslserver -verify_hostname localhost \
         server.pem",
    );
    assert_eq!(verified.well().lines, ["server.pem: OK"]);
    openssl(&room, "verify -CAfile ca.pem -verify_ip 127.0.0.1 server.pem").well();
    openssl(&room, "verify -CAfile ca.pem -verify_ip ::1 server.pem").well();
    assert_eq!(
        room.path().join("noctule-data").metadata().unwrap().permissions().mode() & 0o777,
        0o700
    );
}

#[test]
fn names_and_days_are_those_that_were_asked_for() {
    let room = Room::new();
    let flags =
        "--hostname broker.example.org --hostname *.lab.example.org --ip 192.0.2.7 --days 30";
    cert(&room, &flags.split(' ').collect::<Vec<_>>()).well();
    let said = info(&room, "server.pem");
    assert!(
        said.contains(
            "names       DNS broker.example.org, DNS *.lab.example.org, IP 192.0.2.7, DNS \
             localhost, IP 127.0.0.1, IP ::1\n"
        ),
        "{said}"
    );
    assert!(said.contains("(30 days left)") || said.contains("(29 days left)"), "{said}");
    assert!(said.contains("usage       digital signature, TLS server\n"), "{said}");
    let name = "-verify_hostname a.lab.example.org";
    openssl(&room, &format!("verify -CAfile ca.pem {name} server.pem")).well();
    let wrong = openssl(&room, "verify -CAfile ca.pem -verify_hostname other.org server.pem");
    assert!(!wrong.status.success(), "{wrong:?}");
}

#[test]
fn the_data_directory_of_the_environment_is_where_files_go() {
    let room = Room::new();
    let mut command = noctule();
    command.arg("cert").env("NOCTULE_DATA_DIR", "elsewhere").current_dir(room.path());
    Program::start(&mut command).finish().well();
    assert!(room.path().join("elsewhere/tls/server.pem").exists());
}

#[test]
fn nothing_is_overwritten_without_force_and_the_ca_never() {
    let room = Room::new();
    cert(&room, &[]).well();
    let before = all(&room);
    let refused = cert(&room, &["--hostname", "b.example.org"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert_eq!(refused.complaints.lines().count(), 1, "{refused:?}");
    assert!(refused.complaints.contains("server.pem: exists"), "{refused:?}");
    assert!(refused.complaints.contains("--force"), "{refused:?}");
    assert_eq!(all(&room), before);
    cert(&room, &["--hostname", "b.example.org", "--force"]).well();
    let after = all(&room);
    assert_eq!((&after[0], &after[1]), (&before[0], &before[1]), "the CA");
    assert!(after[2] != before[2] && after[3] != before[3]);
    openssl(&room, "verify -CAfile ca.pem -verify_hostname b.example.org server.pem").well();
}

#[test]
fn a_client_gets_a_certificate_that_is_for_clients_alone() {
    let room = Room::new();
    let said = cert(&room, &["--client", "sensor-1"]).well().lines.join("\n");
    assert!(said.contains("--cert") && said.contains("client-sensor-1.key"), "{said}");
    openssl(&room, "verify -CAfile ca.pem -purpose sslclient client-sensor-1.pem").well();
    let wrong = openssl(&room, "verify -CAfile ca.pem -purpose sslserver client-sensor-1.pem");
    assert!(!wrong.status.success(), "{wrong:?}");
    assert!(info(&room, "client-sensor-1.pem").contains("subject     CN=sensor-1\n"));
    assert!(!room.path().join(TLS).join("server.pem").exists());
    let escape = cert(&room, &["--client", "../../x"]);
    assert_eq!(escape.status.code(), Some(2), "{escape:?}");
}

#[test]
fn a_self_signed_certificate_is_verified_by_itself() {
    let room = Room::new();
    cert(&room, &["--self-signed"]).well();
    assert!(!room.path().join(TLS).join("ca.pem").exists());
    let verify = "verify -purpose sslserver -verify_hostname localhost -CAfile server.pem";
    openssl(&room, &format!("{verify} server.pem")).well();
    assert!(info(&room, "server.pem").contains("signed by   itself\n"));
}

#[test]
fn a_chain_is_shown_with_who_signed_whom_and_no_key() {
    let room = Room::new();
    cert(&room, &[]).well();
    let text = ["server.pem", "ca.pem", "server.key"]
        .map(|name| std::fs::read_to_string(room.path().join(TLS).join(name)).unwrap());
    let key_body = text[2].lines().nth(1).unwrap().to_owned();
    std::fs::write(room.path().join(TLS).join("all.pem"), text.concat()).unwrap();
    let said = info(&room, "all.pem");
    for line in [
        "all.pem: 2 certificates, 1 private key",
        "signed by   certificate 2, the next",
        "signed by   itself",
        "CA          yes, it may sign others",
        "private key: ECDSA P-256, belongs to certificate 1; it is not shown",
    ] {
        assert!(said.contains(line), "{line} is missing:\n{said}");
    }
    assert!(!said.contains(&key_body), "the key is shown");
    let printed = openssl(&room, "x509 -in server.pem -noout -fingerprint -sha256").well();
    let fingerprint = printed.lines[0].split('=').nth(1).unwrap().to_owned();
    assert!(said.contains(&format!("SHA-256     {fingerprint}\n")), "{said}");
}

#[test]
fn what_openssl_makes_is_shown() {
    let room = Room::new();
    std::fs::create_dir_all(room.path().join(TLS)).unwrap();
    openssl(
        &room,
        "req -x509 -newkey rsa:2048 -nodes -keyout o.key -out o.pem -days 3 -subj \
         /C=DE/O=Example/CN=localhost -addext subjectAltName=DNS:localhost",
    )
    .well();
    let said = info(&room, "o.pem");
    for line in ["CN=localhost", "key         RSA 2048 bits", "DNS localhost", "usage       not"] {
        assert!(said.contains(line), "{line} is missing:\n{said}");
    }
    openssl(&room, "x509 -in o.pem -outform DER -out o.der").well();
    assert!(info(&room, "o.der").contains("RSA 2048 bits"));
}

#[test]
fn a_file_that_cannot_be_shown_is_one_clear_line() {
    let room = Room::new();
    room.file("text", b"hello\n");
    for (file, words) in
        [("missing.pem", "no such file"), ("text", "is not PEM"), (".", "directory")]
    {
        let finished = cert(&room, &["--info", file]);
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        assert_eq!(finished.complaints.lines().count(), 1, "{finished:?}");
        assert!(finished.complaints.contains(words), "{finished:?}");
    }
}

fn cert(room: &Room, flags: &[&str]) -> Finished {
    let mut command = noctule();
    Program::start(command.arg("cert").args(flags).current_dir(room.path())).finish()
}

fn info(room: &Room, name: &str) -> String {
    let file = Path::new(TLS).join(name);
    let said = cert(room, &["--info", file.to_str().expect("UTF-8")]).well().lines;
    said.join("\n") + "\n"
}

fn openssl(room: &Room, arguments: &str) -> Finished {
    let mut command = Command::new("openssl");
    command.args(arguments.split_whitespace()).current_dir(room.path().join(TLS));
    Program::start(&mut command).finish()
}

fn mode(room: &Room, name: &str) -> u32 {
    let metadata = room.path().join(TLS).join(name).metadata().expect("a file");
    metadata.permissions().mode() & 0o777
}

fn all(room: &Room) -> [Vec<u8>; 4] {
    let read = |name| std::fs::read(room.path().join(TLS).join(name)).expect("a file");
    ["ca.pem", "ca.key", "server.pem", "server.key"].map(read)
}
