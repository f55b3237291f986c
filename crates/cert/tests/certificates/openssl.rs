//! openssl accepts what we make, and we accept what it makes.

use noctule_cert::{
    Authority, Fault, Identity, PrivateKey, Purpose, Validity, facts, is_signed_by,
    read_certificates, read_revocation_lists, self_signed,
};

use crate::room::{Room, now, server};

const TEN_DAYS: i64 = 10;

#[test]
fn openssl_verifies_our_server_and_client_certificates() {
    let room = Room::new();
    let authority = room.authority();
    let validity = Validity::for_days(now(), TEN_DAYS);
    let names = server(&["broker.example.org", "*.lab.example.org", "127.0.0.1", "::1"]);
    room.keep("server", &authority.issue(&names, validity).unwrap());
    let client = Purpose::Client("sensor-1".into());
    room.keep("client", &authority.issue(&client, validity).unwrap());

    let strict = "verify -x509_strict -CAfile ca.pem -purpose";
    let name = "-verify_hostname broker.example.org";
    assert!(room.openssl(&format!("{strict} sslserver {name} server.pem")).contains("OK"));
    room.openssl(&format!("{strict} sslserver -verify_hostname a.lab.example.org server.pem"));
    room.openssl(&format!("{strict} sslserver -verify_ip ::1 server.pem"));
    assert!(room.openssl(&format!("{strict} sslclient client.pem")).contains("OK"));
    room.openssl("pkey -in server.key -check -noout");
}

#[test]
fn openssl_verifies_our_self_signed_certificate() {
    let room = Room::new();
    let made = self_signed(&server(&["localhost"]), Validity::for_days(now(), TEN_DAYS)).unwrap();
    room.keep("server", &made);
    let verify = "verify -CAfile server.pem -purpose sslserver -verify_hostname localhost";
    assert!(room.openssl(&format!("{verify} server.pem")).contains("OK"));
}

#[test]
fn the_fingerprint_is_the_one_that_openssl_prints() {
    let room = Room::new();
    let facts = room.authority().facts().clone();
    let printed = room.openssl("x509 -in ca.pem -noout -fingerprint -sha256");
    assert!(printed.contains(&facts.fingerprint_sha256), "{printed}{facts:?}");
    let serial = room.openssl("x509 -in ca.pem -noout -serial");
    let ours = facts.serial.replace(':', "").to_uppercase();
    assert!(serial.trim().ends_with(ours.trim_start_matches('0')), "{serial}{ours}");
}

#[test]
fn a_self_signed_ca_of_openssl_is_accepted_as_a_server_certificate() {
    let room = Room::new();
    for (key, kind) in [
        ("rsa:2048", "RSA 2048 bits"),
        ("ec -pkeyopt ec_paramgen_curve:P-256", "ECDSA P-256"),
        ("ec -pkeyopt ec_paramgen_curve:P-384", "ECDSA P-384"),
        ("ed25519", "Ed25519"),
    ] {
        room.openssl(&format!(
            "req -x509 -newkey {key} -nodes -keyout s.key -out s.pem -days 30 -subj /CN=localhost \
             -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
        ));
        let identity = Identity::read(&room.path("s.pem"), &room.path("s.key")).unwrap();
        identity.check_time(now().plus_days(1)).unwrap();
        let facts = facts(&identity.chain[0]).unwrap();
        assert!(facts.is_ca, "what openssl does by default");
        assert_eq!(facts.key, kind);
        assert_eq!(facts.names, ["DNS localhost", "IP 127.0.0.1"]);
        assert!(is_signed_by(&identity.chain[0], &identity.chain[0]), "{kind}");
    }
}

#[test]
fn keys_are_read_in_all_three_forms() {
    let room = Room::new();
    room.openssl("ecparam -name prime256v1 -genkey -out sec1.key");
    room.openssl("genrsa -traditional -out pkcs1.key 2048");
    room.openssl("genpkey -algorithm ed25519 -out pkcs8.key");
    for (file, label, kind) in [
        ("sec1.key", "EC PRIVATE KEY", "ECDSA P-256"),
        ("pkcs1.key", "RSA PRIVATE KEY", "RSA 2048 bits"),
        ("pkcs8.key", "PRIVATE KEY", "Ed25519"),
    ] {
        let text = std::fs::read_to_string(room.path(file)).unwrap();
        assert!(text.contains(&format!("-----BEGIN {label}-----")), "{text}");
        assert_eq!(PrivateKey::read(&room.path(file)).unwrap().kind(), kind);
    }
}

#[test]
fn encrypted_and_unusable_keys_are_named_as_such() {
    let room = Room::new();
    room.openssl("genpkey -algorithm ed25519 -aes256 -pass pass:secret -out new.key");
    room.openssl("genrsa -traditional -aes256 -passout pass:secret -out old.key 2048");
    for file in ["new.key", "old.key"] {
        let error = PrivateKey::read(&room.path(file)).unwrap_err();
        assert!(matches!(error.fault, Fault::Encrypted), "{error}");
        assert!(error.to_string().contains("openssl pkey -in"), "{error}");
    }
    room.openssl("genrsa -out small.key 1024");
    room.openssl("ecparam -name secp521r1 -genkey -out curve.key");
    for file in ["small.key", "curve.key"] {
        let error = PrivateKey::read(&room.path(file)).unwrap_err();
        assert!(matches!(error.fault, Fault::BadKey(_)), "{error}");
        assert!(error.to_string().contains("RSA with 2048"), "{error}");
    }
}

#[test]
fn a_ca_of_openssl_signs_our_certificates() {
    let room = Room::new();
    for key in ["rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-384", "ed25519"] {
        room.openssl(&format!(
            "req -x509 -newkey {key} -nodes -keyout ca.key -out ca.pem -days 30 -subj /O=Org/CN=CA"
        ));
        let authority =
            Authority::read(&room.path("ca.pem"), &room.path("ca.key"), now().plus_days(1))
                .unwrap();
        let validity = Validity::for_days(now(), TEN_DAYS);
        let made = authority.issue(&server(&["localhost"]), validity).unwrap();
        room.keep("server", &made);
        // Not -x509_strict: openssl gives its own CA no key usage, and then complains of that.
        let verify = "verify -CAfile ca.pem -purpose sslserver";
        assert!(room.openssl(&format!("{verify} server.pem")).contains("OK"), "{key}");
    }
}

#[test]
fn an_intermediate_ca_is_sent_along() {
    let room = Room::new();
    room.write(
        "ca.ext",
        "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n",
    );
    let ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    room.openssl(&format!("req -x509 {ec} -keyout root.key -out root.pem -days 30 -subj /CN=Root"));
    room.openssl(&format!("req {ec} -keyout ca.key -out ca.csr -subj /CN=Middle"));
    room.openssl(
        "x509 -req -in ca.csr -CA root.pem -CAkey root.key -CAcreateserial -days 20 -extfile \
         ca.ext -out ca.pem",
    );
    let authority =
        Authority::read(&room.path("ca.pem"), &room.path("ca.key"), now().plus_days(1)).unwrap();
    let validity = Validity::for_days(now(), TEN_DAYS);
    room.keep("server", &authority.issue(&server(&["localhost"]), validity).unwrap());
    let chain = read_certificates(&room.path("server.pem")).unwrap();
    assert_eq!(chain.len(), 2);
    assert!(is_signed_by(&chain[0], &chain[1]));
    room.openssl("verify -CAfile root.pem -untrusted server.pem server.pem");
}

#[test]
fn a_revocation_list_of_openssl_is_read() {
    let room = Room::new();
    drop(room.authority());
    room.write("index.txt", "");
    room.write("number", "01\n");
    room.write(
        "ca.cnf",
        "[ca]\ndefault_ca=c\n[c]\ndatabase=index.txt\ncrlnumber=number\ndefault_md=sha256\n",
    );
    room.openssl(
        "ca -config ca.cnf -gencrl -cert ca.pem -keyfile ca.key -crldays 10 -out list.pem",
    );
    assert_eq!(read_revocation_lists(&room.path("list.pem")).unwrap().len(), 1);
}

#[test]
fn what_a_certificate_says_cannot_steer_a_terminal() {
    let room = Room::new();
    room.write(
        "odd.cnf",
        "[req]\ndistinguished_name=d\nprompt=no\nutf8=yes\n[d]\nCN=a\u{1b}[2Jb\n",
    );
    room.openssl("req -x509 -config odd.cnf -newkey ed25519 -nodes -keyout o.key -out o.pem");
    let facts = facts(&read_certificates(&room.path("o.pem")).unwrap()[0]).unwrap();
    assert!(!facts.subject.contains('\u{1b}') && facts.subject.contains("[2Jb"), "{facts:?}");
    assert!(!facts.common_name.unwrap().contains('\u{1b}'));
}
