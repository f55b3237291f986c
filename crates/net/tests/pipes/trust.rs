//! Client certificates: asked for or not, valid or not.

use std::io::{Read, Write};
use std::sync::Arc;
use std::thread;

use noctule_net::{ClientCertificates, ClientTrust, TlsFacts, TlsFailure, TlsSettings};
use rustls::ClientConfig;
use rustls_pki_types::CertificateRevocationListDer;

use crate::certificates::{Authority, Identity, settings};
use crate::peers::House;

fn trust(clients: &Authority, lists: Vec<CertificateRevocationListDer<'static>>) -> ClientTrust {
    let authorities = vec![clients.certificate()];
    ClientTrust { authorities, revocation_lists: lists, ignores_dates: false }
}

/// What comes of a client with this certificate.
fn outcome(house: &House, identity: Option<&Identity>) -> Result<TlsFacts, TlsFailure> {
    let outcomes = [&rustls::version::TLS12, &rustls::version::TLS13]
        .map(|version| attempt(house, &house.config_of(&[version], identity)));
    let [one, other] = outcomes;
    assert_eq!(one.is_ok(), other.is_ok(), "the versions differ");
    other
}

fn attempt(house: &House, config: &Arc<ClientConfig>) -> Result<TlsFacts, TlsFailure> {
    let (mut client, mut served) = house.connect(config);
    let talking = thread::spawn(move || {
        let sent = client.write_all(b"x");
        // A refusal is told as an alert; what it is called in the client is not ours.
        let mut answer = [0; 1];
        sent.and_then(|()| client.read_exact(&mut answer)).map_err(|error| error.to_string())
    });
    let served_one = match served.read(1) {
        Ok(bytes) => {
            assert_eq!(bytes, b"x");
            served.write_all(b"y");
            Ok(served.pipe.tls_facts().expect("a handshake that is through"))
        }
        Err(error) => {
            let inner = error.into_inner().expect("a failure of TLS");
            Err(*inner.downcast::<TlsFailure>().expect("a failure of TLS"))
        }
    };
    let answer = talking.join().expect("a client");
    assert_eq!(answer.is_ok(), served_one.is_ok(), "{answer:?}");
    if let Err(said) = answer {
        assert!(said.contains("alert"), "the client is told by an alert: {said}");
    }
    served_one
}

fn refusal(house: &House, identity: Option<&Identity>) -> String {
    outcome(house, identity).expect_err("a refusal").to_string()
}

#[test]
fn whoever_is_not_asked_shows_nothing() {
    let house = House::new();
    let identity = Authority::new("Clients").client(1);
    assert_eq!(outcome(&house, Some(&identity)).unwrap().client_certificate, None);
}

#[test]
fn a_required_certificate_must_be_there_and_valid() {
    let clients = Authority::new("Clients");
    let house = House::asking(|_| ClientCertificates::Required(trust(&clients, Vec::new())));
    let good = clients.client(1);
    let facts = outcome(&house, Some(&good)).unwrap();
    assert_eq!(facts.client_certificate.as_ref(), Some(&good.chain[0]));
    assert!(refusal(&house, None).contains("showed no certificate, and one is required"));
    let stranger = Authority::new("Strangers").client(1);
    assert!(refusal(&house, Some(&stranger)).contains("not signed by the CA of clients"));
    assert!(refusal(&house, Some(&clients.expired_client())).contains("expired"));
    assert!(refusal(&house, Some(&clients.server())).contains("not for TLS clients"));
}

#[test]
fn an_optional_certificate_may_be_missing_but_not_wrong() {
    let clients = Authority::new("Clients");
    let house = House::asking(|_| ClientCertificates::Optional(trust(&clients, Vec::new())));
    assert_eq!(outcome(&house, None).unwrap().client_certificate, None);
    assert!(outcome(&house, Some(&clients.client(1))).unwrap().client_certificate.is_some());
    let stranger = Authority::new("Strangers").client(1);
    assert!(refusal(&house, Some(&stranger)).contains("not signed by the CA of clients"));
}

#[test]
fn a_revoked_certificate_is_refused_also_one_that_has_a_ticket() {
    let clients = Authority::new("Clients");
    let required = |revoked: &[u64]| {
        ClientCertificates::Required(trust(&clients, vec![clients.revoking(revoked)]))
    };
    let house = House::asking(|_| required(&[7]));
    assert!(refusal(&house, Some(&clients.client(7))).contains("it is revoked"));
    let good = clients.client(8);
    let config = house.config_of(&[&rustls::version::TLS13], Some(&good));
    assert!(!attempt(&house, &config).unwrap().is_resumed);
    let resumed = attempt(&house, &config).unwrap();
    assert!(resumed.is_resumed);
    assert_eq!(resumed.client_certificate.as_ref(), Some(&good.chain[0]), "it is remembered");

    house.acceptor.replace(settings(&house.authority.server(), required(&[7, 8]))).unwrap();
    let refused = attempt(&house, &config).unwrap_err().to_string();
    assert!(refused.contains("it is revoked"), "{refused}");
}

#[test]
fn a_client_that_does_not_trust_the_server_says_so_and_we_say_what_to_do() {
    let house = House::of("Servers");
    for (other, words) in [
        ("Others", "does not trust this server's certificate"),
        ("Servers", "another one of the same name"),
    ] {
        let (mut client, mut served) = house.connect(&House::of(other).config());
        let talking = thread::spawn(move || client.write_all(b"x"));
        let said = served.failure().to_string();
        assert!(said.contains(words), "{said}");
        assert!(talking.join().unwrap().is_err());
    }
}

#[test]
fn authorities_that_are_none_are_refused() {
    let house = House::new();
    let authorities = vec![b"nonsense".to_vec().into()];
    let clients = ClientCertificates::Required(ClientTrust {
        authorities,
        revocation_lists: Vec::new(),
        ignores_dates: false,
    });
    let error = house.acceptor.replace(settings(&house.authority.server(), clients)).unwrap_err();
    assert!(error.to_string().contains("certificate 1 of the clients' CAs"), "{error}");
    let empty =
        ClientTrust { authorities: Vec::new(), revocation_lists: Vec::new(), ignores_dates: false };
    let clients = ClientCertificates::Required(empty);
    house.acceptor.replace(settings(&house.authority.server(), clients)).unwrap_err();
}

#[test]
fn dates_of_certificates_may_be_left_out_of_account_and_nothing_else() {
    let clients = Authority::new("Clients");
    let timeless = |lists| ClientTrust { ignores_dates: true, ..trust(&clients, lists) };
    let house =
        House::asking(|_| ClientCertificates::Required(timeless(vec![clients.revoking(&[7])])));
    assert!(outcome(&house, Some(&clients.client(8))).is_ok());
    assert!(outcome(&house, Some(&clients.expired_client())).is_ok());
    assert!(outcome(&house, Some(&clients.future_client())).is_ok());
    assert!(refusal(&house, Some(&clients.client(7))).contains("it is revoked"));
    assert!(refusal(&house, None).contains("showed no certificate, and one is required"));
    let stranger = Authority::new("Strangers").expired_client();
    assert!(refusal(&house, Some(&stranger)).contains("not signed by the CA of clients"));
    assert!(refusal(&house, Some(&clients.server())).contains("not for TLS clients"));
}

#[test]
fn where_only_the_newest_version_is_offered_an_older_one_is_refused() {
    let house = House::new();
    let identity = house.authority.server();
    let newest = |newest_only| TlsSettings {
        newest_only,
        ..settings(&identity, ClientCertificates::NotAsked)
    };
    let attempts = || {
        [&rustls::version::TLS12, &rustls::version::TLS13]
            .map(|version| attempt(&house, &house.config_of(&[version], None)).is_ok())
    };
    house.acceptor.replace(newest(true)).unwrap();
    assert_eq!(attempts(), [false, true]);
    house.acceptor.replace(newest(false)).unwrap();
    assert_eq!(attempts(), [true, true]);
}
