//! What is made says what it should, and can be read back.

use noctule_cert::{
    Authority, Fault, Identity, IssueError, Purpose, UnixTime, Validity, is_signed_by,
    read_certificates, self_signed,
};

use crate::room::{Room, now, server};

#[test]
fn a_ca_may_sign_certificates_and_nothing_else() {
    let room = Room::new();
    let authority = room.authority();
    let facts = authority.facts();
    assert_eq!(facts.subject, "CN=Test CA");
    assert!(facts.is_ca && facts.self_issued);
    assert_eq!(facts.key_usages, ["certificate signing", "CRL signing"]);
    assert_eq!(facts.extended_key_usages, [""; 0]);
    assert_eq!(facts.key, "ECDSA P-256");
}

#[test]
fn a_server_certificate_carries_its_names_and_its_usage() {
    let room = Room::new();
    let made = room
        .authority()
        .issue(&server(&["Localhost", "127.0.0.1", "::1"]), Validity::for_days(now(), 10))
        .unwrap();
    let facts = &made.facts;
    assert_eq!(facts.subject, "CN=localhost");
    assert_eq!(facts.issuer, "CN=Test CA");
    assert_eq!(facts.names, ["DNS localhost", "IP 127.0.0.1", "IP ::1"]);
    assert_eq!(facts.key_usages, ["digital signature"]);
    assert_eq!(facts.extended_key_usages, ["TLS server"]);
    assert!(!facts.is_ca && !facts.self_issued);
    assert!((9..=10).contains(&facts.not_after.days_since(now())), "{facts:?}");
    assert!(facts.not_before < now());
    assert!(!format!("{made:?}").contains("PRIVATE"), "Debug shows the key");

    let (certificate, key) = room.keep("server", &made);
    let identity = Identity::read(&certificate, &key).unwrap();
    assert_eq!(identity.not_after(), facts.not_after);
    identity.check_time(now()).unwrap();
    let authority = read_certificates(&room.path("ca.pem")).unwrap();
    assert!(is_signed_by(&identity.chain[0], &authority[0]));
    assert!(!is_signed_by(&authority[0], &identity.chain[0]));
}

#[test]
fn a_client_certificate_is_for_clients_alone() {
    let room = Room::new();
    let purpose = Purpose::Client("sensor-1".into());
    let made = room.authority().issue(&purpose, Validity::for_days(now(), 10)).unwrap();
    assert_eq!(made.facts.common_name.as_deref(), Some("sensor-1"));
    assert_eq!(made.facts.extended_key_usages, ["TLS client"]);
}

#[test]
fn two_certificates_have_different_keys_and_numbers() {
    let room = Room::new();
    let authority = room.authority();
    let [one, two] = [0, 1]
        .map(|_| authority.issue(&server(&["localhost"]), Validity::for_days(now(), 10)).unwrap());
    assert_ne!(one.facts.serial, two.facts.serial);
    assert_ne!(one.facts.fingerprint_sha256, two.facts.fingerprint_sha256);
    assert_ne!(one.key_pem, two.key_pem);
}

#[test]
fn a_certificate_that_signs_itself_needs_no_ca() {
    let room = Room::new();
    let made = self_signed(&server(&["localhost"]), Validity::for_days(now(), 10)).unwrap();
    assert!(made.facts.self_issued && !made.facts.is_ca);
    let (certificate, key) = room.keep("server", &made);
    let identity = Identity::read(&certificate, &key).unwrap();
    assert!(is_signed_by(&identity.chain[0], &identity.chain[0]));
}

#[test]
fn nothing_outlives_the_ca_that_signed_it() {
    let room = Room::new();
    let authority = room.authority();
    let error = authority.issue(&server(&["a"]), Validity::for_days(now(), 101)).unwrap_err();
    assert!(matches!(error, IssueError::OutlivesAuthority { .. }), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("ca.pem") && said.contains("--days"), "{said}");
}

#[test]
fn time_decides_whether_a_certificate_is_valid() {
    let room = Room::new();
    let made = self_signed(&server(&["localhost"]), Validity::for_days(now(), 10)).unwrap();
    let (certificate, key) = room.keep("server", &made);
    let identity = Identity::read(&certificate, &key).unwrap();
    identity.check_time(identity.not_after()).unwrap();
    let late = identity.check_time(UnixTime(identity.not_after().0 + 1)).unwrap_err();
    assert!(matches!(late.fault, Fault::Expired(_)), "{late:?}");
    assert!(late.to_string().contains("server.pem: expired on 2"), "{late}");
    let early = identity.check_time(now().plus_days(-1)).unwrap_err();
    assert!(matches!(early.fault, Fault::NotYetValid(_)), "{early:?}");
}

#[test]
fn an_expired_ca_signs_nothing() {
    let room = Room::new();
    drop(room.authority());
    let later = now().plus_days(101);
    let error = Authority::read(&room.path("ca.pem"), &room.path("ca.key"), later).unwrap_err();
    assert!(matches!(error.fault, Fault::Expired(_)), "{error:?}");
}

#[test]
fn a_server_certificate_is_no_ca() {
    let room = Room::new();
    let made = self_signed(&server(&["localhost"]), Validity::for_days(now(), 10)).unwrap();
    let (certificate, key) = room.keep("server", &made);
    let error = Authority::read(&certificate, &key, now()).unwrap_err();
    assert!(matches!(error.fault, Fault::NotAnAuthority), "{error:?}");
}
