//! Files that cannot be used: each is one line with the file, the fault and the remedy.

use std::path::Path;

use noctule_cert::{
    Fault, FileError, Identity, PrivateKey, Validity, read_anything, read_authorities,
    read_certificates, read_revocation_lists, self_signed,
};

use crate::room::{Room, now, server};

/// The error is one line that names the file and says all of `words`.
fn says<T: std::fmt::Debug>(result: Result<T, FileError>, words: &[&str]) -> Fault {
    let error = result.expect_err("a bad file");
    let said = error.to_string();
    assert!(!said.contains('\n') && !said.contains('\u{1b}'), "{said}");
    assert!(said.starts_with(&error.path.display().to_string()), "{said}");
    for word in words {
        assert!(said.contains(word), "{word} is missing: {said}");
    }
    error.fault
}

fn room_with_pair() -> Room {
    let room = Room::new();
    let made = self_signed(&server(&["localhost"]), Validity::for_days(now(), 10));
    room.keep("server", &made.expect("a certificate"));
    room
}

#[test]
fn missing_and_unreadable_files() {
    let room = Room::new();
    says(read_certificates(&room.path("none.pem")), &["no such file", "noctule cert"]);
    says(PrivateKey::read(&room.path("none.key")), &["no such file"]);
    says(read_certificates(&room.path("")), &["is a directory"]);
}

#[test]
fn authorities_may_lie_in_a_directory_beside_other_things() {
    let room = room_with_pair();
    let made = self_signed(&server(&["other"]), Validity::for_days(now(), 10));
    room.keep("other", &made.expect("a certificate"));
    room.write("notes.txt", b"not PEM");
    std::os::unix::fs::symlink("server.pem", room.path("0123abcd.0")).unwrap();
    let found = read_authorities(&room.path("")).unwrap();
    assert_eq!(found.len(), 2, "each once, and no keys");
    assert_eq!(read_authorities(&room.path("other.pem")).unwrap().len(), 1);
    let empty = Room::new();
    empty.write("notes.txt", b"not PEM");
    assert!(read_authorities(&empty.path("")).is_err());
}

#[test]
fn exchanged_files_are_recognised() {
    let room = room_with_pair();
    let (certificate, key) = (room.path("server.pem"), room.path("server.key"));
    let fault = says(read_certificates(&key), &["PRIVATE KEY", "a certificate", "exchanged"]);
    assert!(matches!(fault, Fault::WrongType { .. }));
    says(PrivateKey::read(&certificate), &["CERTIFICATE", "a private key", "exchanged"]);
    says(read_revocation_lists(&certificate), &["CERTIFICATE", "revocation list"]);
}

#[test]
fn a_key_of_another_certificate() {
    let room = room_with_pair();
    let other = self_signed(&server(&["localhost"]), Validity::for_days(now(), 10)).unwrap();
    room.keep("other", &other);
    let read = Identity::read(&room.path("server.pem"), &room.path("other.key"));
    let fault = says(read, &["other.key", "does not belong", "server.pem"]);
    assert!(matches!(fault, Fault::NotItsKey { .. }));
}

#[test]
fn text_binary_and_emptiness_are_no_pem() {
    let room = Room::new();
    for (name, content) in [("a", &b"hello\n"[..]), ("b", b""), ("c", &[0, 159, 146, 150, 255])] {
        says(read_certificates(&room.write(name, content)), &["is not PEM", "-----BEGIN"]);
    }
    let der = [0x30, 0x82, 1, 2, 3];
    says(read_certificates(&room.write("d", der)), &["DER", "openssl x509 -inform DER"]);
}

#[test]
fn pem_cut_short_or_with_wrong_bytes_is_damaged() {
    let room = room_with_pair();
    let whole = std::fs::read_to_string(room.path("server.pem")).unwrap();
    let cut = room.write("cut.pem", &whole[..whole.len() / 2]);
    says(read_certificates(&cut), &["damaged PEM"]);
    let mut lines: Vec<_> = whole.lines().collect();
    lines[2] = "****\u{1b}[2J****";
    says(read_certificates(&room.write("stars.pem", lines.join("\n"))), &["damaged PEM"]);
    let nonsense = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let second = room.write("second.pem", whole.clone() + nonsense);
    let fault = says(read_certificates(&second), &["certificate 2 in it"]);
    assert!(matches!(fault, Fault::BadCertificate(2)));
    let list = nonsense.replace("CERTIFICATE", "X509 CRL");
    says(read_revocation_lists(&room.write("crl.pem", list)), &["list 1 in it"]);
    let key = nonsense.replace("CERTIFICATE", "PRIVATE KEY");
    says(PrivateKey::read(&room.write("bad.key", key)), &["cannot be used", "ECDSA P-256"]);
    let odd = "-----BEGIN \u{1b}[2J-----\nx\n-----END \u{1b}[2J-----\n";
    says(read_certificates(&room.write("odd.pem", odd)), &["holds"]);
}

#[test]
fn no_prefix_of_a_good_file_makes_a_reader_panic() {
    let room = room_with_pair();
    let files = ["server.pem", "server.key"].map(|name| std::fs::read(room.path(name)).unwrap());
    for whole in &files {
        for len in (0..whole.len()).step_by(7) {
            let path = room.write("prefix", &whole[..len]);
            let _ = read_certificates(&path);
            let _ = PrivateKey::read(&path);
            let _ = read_anything(&path);
        }
    }
}

#[test]
fn a_file_of_unusual_size_is_refused() {
    let room = Room::new();
    let path = room.path("huge");
    std::fs::File::create(&path).unwrap().set_len(17 * 1024 * 1024).unwrap();
    says(read_certificates(&path), &["more than 16777216 bytes"]);
}

#[test]
fn anything_of_interest_in_a_file_is_counted() {
    let room = room_with_pair();
    let text = ["server.pem", "server.key"]
        .map(|name| std::fs::read_to_string(room.path(name)).unwrap())
        .concat();
    let contents = read_anything(&room.write("both.pem", &text)).unwrap();
    assert_eq!((contents.certificates.len(), contents.private_keys), (1, 1));
    let der = room.write("server.der", &contents.certificates[0]);
    assert_eq!(read_anything(&der).unwrap().certificates, contents.certificates);
    // A chain and its key may lie in one file.
    let both = room.path("both.pem");
    Identity::read(Path::new(&both), &both).unwrap();
}
