//! Which certificates are accepted, over real handshakes.

use std::path::PathBuf;
use std::sync::Arc;

use noctule_client::{Client, ClientOptions, Error, Reason, TlsOptions};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto::ring};

use crate::peer::{accept, accept_connect, listener, soon};

/// A certificate with its key.
struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

fn names() -> Vec<String> {
    vec!["localhost".to_owned(), "127.0.0.1".to_owned()]
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("sound parameters"))
        .expect("sound parameters")
}

fn issued_by(issuer: &CertifiedIssuer<'static, KeyPair>, params: &CertificateParams) -> Identity {
    let key = KeyPair::generate().expect("sound parameters");
    Identity { certificate: params.signed_by(&key, issuer).expect("sound parameters"), key }
}

fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let mut params = CertificateParams::new(names()).expect("sound parameters");
    change(&mut params);
    let key = KeyPair::generate().expect("sound parameters");
    Identity { certificate: params.self_signed(&key).expect("sound parameters"), key }
}

/// What comes of connecting to a server with this identity, at `host`.
async fn connect(
    server: &Identity,
    clients: Option<&CertifiedIssuer<'static, KeyPair>>,
    host: &str,
    tls: TlsOptions,
) -> Result<(), String> {
    let (listener, options) = listener().await;
    let acceptor = acceptor(server, clients);
    let options = at_host(&options, host).client_id("me").tls(tls);
    let client = Client::connect(options).map_err(|error| error.to_string())?;
    let serving = tokio::spawn(serve(listener, acceptor));
    let outcome = soon("a verdict", client.wait_until_connected()).await;
    serving.abort();
    match outcome {
        Ok(_) => Ok(()),
        Err(Error::Ended(reason)) if matches!(*reason, Reason::Tls(_)) => Err(reason.to_string()),
        Err(other) => panic!("{other}"),
    }
}

fn at_host(options: &ClientOptions, host: &str) -> ClientOptions {
    ClientOptions::new(host, options.address().port)
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor) {
    let mut kept = Vec::new();
    loop {
        let tcp = accept(&listener).await;
        if let Ok(mut stream) = acceptor.accept(tcp).await {
            accept_connect(&mut stream).await;
            kept.push(stream);
        }
    }
}

fn acceptor(server: &Identity, clients: Option<&CertifiedIssuer<'static, KeyPair>>) -> TlsAcceptor {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("sound parameters");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(issuer) => {
            let mut roots = RootCertStore::empty();
            roots.add(issuer.der().clone()).expect("sound parameters");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("sound parameters"))
        }
    };
    let key = PrivateKeyDer::try_from(server.key.serialize_der()).expect("sound parameters");
    let config = builder
        .with_single_cert(vec![server.certificate.der().clone()], key)
        .expect("sound parameters");
    TlsAcceptor::from(Arc::new(config))
}

fn trusting(pem: &str) -> TlsOptions {
    TlsOptions::default().ca_pem(pem)
}

#[tokio::test]
async fn a_chain_to_the_given_authority_is_accepted_and_no_other() {
    let authority = authority();
    let server = issued_by(&authority, &CertificateParams::new(names()).unwrap());
    let good = trusting(&authority.pem());
    assert_eq!(connect(&server, None, "localhost", good.clone()).await, Ok(()));
    assert_eq!(connect(&server, None, "127.0.0.1", good).await, Ok(()));
    let stranger = self::authority();
    let refused = connect(&server, None, "localhost", trusting(&stranger.pem())).await;
    let words = refused.unwrap_err();
    assert!(words.contains("not accepted") && words.contains("name the CA"), "{words}");
}

#[tokio::test]
async fn insecure_accepts_anything() {
    let server = self_signed(|params| params.not_after = date_time_ymd(2001, 1, 1));
    let tls = TlsOptions::default().insecure(true);
    assert_eq!(connect(&server, None, "localhost", tls).await, Ok(()));
}

#[tokio::test]
async fn a_servers_own_certificate_is_accepted_with_its_name_and_dates() {
    let ca_flag = |params: &mut CertificateParams| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    };
    for server in [self_signed(|_| ()), self_signed(ca_flag)] {
        let pinned = trusting(&server.certificate.pem());
        assert_eq!(connect(&server, None, "localhost", pinned).await, Ok(()));
    }
    let elsewhere = self_signed(|params| {
        params.subject_alt_names =
            CertificateParams::new(vec!["elsewhere.test".to_owned()]).unwrap().subject_alt_names;
    });
    let pinned = trusting(&elsewhere.certificate.pem());
    let words = connect(&elsewhere, None, "localhost", pinned).await.unwrap_err();
    assert!(words.contains("elsewhere.test"), "{words}");
    let expired = self_signed(|params| params.not_after = date_time_ymd(2001, 1, 1));
    let pinned = trusting(&expired.certificate.pem());
    let words = connect(&expired, None, "localhost", pinned).await.unwrap_err();
    assert!(words.contains("expired"), "{words}");
    let early = self_signed(|params| params.not_before = date_time_ymd(3_000, 1, 1));
    let pinned = trusting(&early.certificate.pem());
    let words = connect(&early, None, "localhost", pinned).await.unwrap_err();
    assert!(words.contains("not valid yet"), "{words}");
}

#[tokio::test]
async fn a_pinned_certificate_does_not_vouch_for_others_of_its_name() {
    let (pinned, other) = (self_signed(|_| ()), self_signed(|_| ()));
    let tls = trusting(&pinned.certificate.pem());
    assert!(connect(&other, None, "localhost", tls).await.is_err());
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_brokers_that_ask_for_one() {
    let authority = authority();
    let server = issued_by(&authority, &CertificateParams::new(names()).unwrap());
    let me = issued_by(&authority, &CertificateParams::default());
    let room = Room::new();
    let certificate = room.file("me.pem", &me.certificate.pem());
    let key = room.file("me.key", &me.key.serialize_pem());
    let tls = trusting(&authority.pem()).client_certificate(&certificate, &key);
    assert_eq!(connect(&server, Some(&authority), "localhost", tls).await, Ok(()));
    let swapped = TlsOptions::default().client_certificate(&key, &certificate);
    let error = Client::connect(ClientOptions::new("localhost", 1).tls(swapped)).unwrap_err();
    assert!(error.to_string().contains("me.key holds no certificate"), "{error}");
}

/// A directory for one test, gone afterwards.
struct Room(PathBuf);

impl Room {
    fn new() -> Self {
        let name = format!("certificates-{}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("the target directory is writable");
        Self(path)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("the target directory is writable");
        path
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
