//! The tests of a broker that `noctule check` runs: over plain and TLS, and between them.
//!
//! Each test is a function from clients to words, or to what went wrong. What is printed of it is
//! the command's matter.

use std::time::{Duration, Instant};

use noctule_client::{
    Bytes, Client, ClientOptions, Error, Hello, Publish, QoS, Reason, Reconnect, Subscribe,
    TlsOptions, Will,
};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// What came of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed(String),
    Failed(String),
    /// It could not be made, or says nothing about this broker.
    Skipped(String),
}

/// A test with its outcome.
#[derive(Clone, Debug)]
pub(crate) struct Tested {
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
}

/// What was found out about a broker.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) tests: Vec<Tested>,
    /// The certificate that the broker showed, in DER.
    pub(crate) certificate: Option<Bytes>,
}

impl Findings {
    /// Whether nothing failed.
    pub(crate) fn passed(&self) -> bool {
        !self.tests.iter().any(|test| matches!(test.outcome, Outcome::Failed(_)))
    }

    fn note(&mut self, name: &'static str, outcome: Result<String, String>) -> bool {
        let passed = outcome.is_ok();
        let outcome = outcome.map_or_else(Outcome::Failed, Outcome::Passed);
        self.tests.push(Tested { name, outcome });
        passed
    }

    fn skip(&mut self, name: &'static str, why: &str) {
        self.tests.push(Tested { name, outcome: Outcome::Skipped(why.to_owned()) });
    }
}

/// Which broker, and how.
pub(crate) struct Subject {
    /// For a connection that is not encrypted.
    pub(crate) plain: ClientOptions,
    /// The port of TLS and whom to trust there; or why TLS is left out.
    pub(crate) tls: Result<(u16, TlsOptions), &'static str>,
    /// Further ways in, each with its name.
    pub(crate) doors: Vec<(&'static str, ClientOptions)>,
    /// A certificate of a CA that has nothing to do with the broker.
    pub(crate) strange_ca: String,
    /// How long the greeting is waited for.
    pub(crate) hello: Duration,
}

/// The name of the test of a further way in with the others.
const ACROSS: &str = "there and back";

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs all tests.
pub(crate) async fn examine(subject: &Subject) -> Findings {
    let mut findings = Findings::default();
    let plain = connected(&mut findings, "plain connection", subject.plain.clone()).await;
    let encrypted = examine_tls(subject, &mut findings).await;
    let (across, back) = ("plain to TLS", "TLS to plain");
    if let (Some(plain), Some(encrypted)) = (&plain, &encrypted) {
        findings.note(across, passes(plain, encrypted, QoS::AtLeastOnce).await);
        findings.note(back, passes(encrypted, plain, QoS::AtLeastOnce).await);
    } else {
        findings.skip(across, "it takes both connections");
        findings.skip(back, "it takes both connections");
    }
    let reachable = encrypted.as_ref().or(plain.as_ref());
    let doors = examine_doors(subject, reachable, &mut findings).await;
    match reachable.or(doors.first()) {
        Some(client) => examine_messages(subject, client, encrypted.is_some(), &mut findings).await,
        None => findings.skip("messages", "there is no connection"),
    }
    for client in [plain, encrypted].into_iter().flatten().chain(doors) {
        // How a test client ends is no finding.
        let _ = client.disconnect().await;
    }
    findings
}

/// The client of an encrypted connection, verified if that works.
async fn examine_tls(subject: &Subject, findings: &mut Findings) -> Option<Client> {
    let (_, trust) = match &subject.tls {
        Ok(tls) => tls,
        Err(why) => {
            findings.skip("TLS", why);
            return None;
        }
    };
    let with = |trust: TlsOptions| encrypted(subject, trust);
    let verified = if trust.is_insecure() {
        findings.skip("TLS, verified", "left out by --insecure");
        None
    } else {
        connected(findings, "TLS, verified", with(trust.clone())).await
    };
    let open = TlsOptions::default().insecure(true);
    let unverified = connected(findings, "TLS, not verified", with(open)).await;
    let stranger = TlsOptions::default().ca_pem(subject.strange_ca.as_str());
    if unverified.is_some() {
        findings.note("wrong CA is refused", is_refused(with(stranger)).await);
    } else {
        findings.skip("wrong CA is refused", "there is no TLS");
    }
    let client = verified.or(unverified)?;
    let granted = client.wait_until_connected().await.ok()?;
    findings.certificate = granted.peer_certificates.first().cloned();
    Some(client)
}

/// The clients of the further ways in. A message goes in at each and out elsewhere, and back.
async fn examine_doors(
    subject: &Subject,
    other: Option<&Client>,
    findings: &mut Findings,
) -> Vec<Client> {
    let mut clients: Vec<Client> = Vec::new();
    for (name, options) in &subject.doors {
        let Some(client) = connected(findings, name, options.clone()).await else { continue };
        let across = match other.or(clients.first()) {
            Some(other) => there_and_back(&client, other).await,
            None => there_and_back(&client, &client).await,
        };
        findings.note(ACROSS, across.map(|words| format!("{name}: {words}")));
        clients.push(client);
    }
    clients
}

/// Whether messages get from one client to the other, and the other way.
async fn there_and_back(one: &Client, other: &Client) -> Result<String, String> {
    passes(one, other, QoS::AtLeastOnce).await?;
    passes(other, one, QoS::AtLeastOnce).await
}

fn encrypted(subject: &Subject, trust: TlsOptions) -> ClientOptions {
    let port = subject.tls.as_ref().map_or(0, |(port, _)| *port);
    subject.plain.clone().plain_port(port).tls(trust)
}

async fn examine_messages(
    subject: &Subject,
    client: &Client,
    over_tls: bool,
    findings: &mut Findings,
) {
    for (name, qos) in
        [("QoS 0", QoS::AtMostOnce), ("QoS 1", QoS::AtLeastOnce), ("QoS 2", QoS::ExactlyOnce)]
    {
        findings.note(name, passes(client, client, qos).await);
    }
    findings.note("retained message", retained(client).await);
    let options = match &subject.tls {
        Ok(_) if over_tls => encrypted(subject, TlsOptions::default().insecure(true)),
        _ => subject.plain.clone(),
    };
    findings.note("will", will(client, options).await);
    hello(subject, client, findings).await;
}

/// Connects, each client with an identifier of its own.
async fn connect(options: ClientOptions) -> Result<Client, String> {
    let id = format!("check{:08x}", fastrand::u32(..));
    let options = options.client_id(id).reconnect(Reconnect::never()).connect_timeout(PATIENCE);
    let client = Client::connect(options).map_err(|error| error.to_string())?;
    match client.wait_until_connected().await {
        Ok(_) => Ok(client),
        Err(Error::Ended(reason)) => Err(reason.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

async fn connected(
    findings: &mut Findings,
    name: &'static str,
    options: ClientOptions,
) -> Option<Client> {
    let begun = Instant::now();
    let outcome = connect(options).await;
    let words = outcome.as_ref().map(|_| format!("connected in {:.1?}", begun.elapsed()));
    findings.note(name, words.map_err(Clone::clone));
    outcome.ok()
}

/// A client that trusts somebody else must not be connected.
async fn is_refused(options: ClientOptions) -> Result<String, String> {
    let client = Client::connect(options.reconnect(Reconnect::never()))
        .map_err(|error| error.to_string())?;
    match client.wait_until_connected().await {
        Ok(_) => {
            let _ = client.disconnect().await;
            Err("a certificate of another CA was accepted".into())
        }
        Err(Error::Ended(reason)) if matches!(*reason, Reason::Tls(_)) => Ok("refused".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// A topic that nobody else uses.
fn own_topic() -> String {
    format!("noctule-check/{:016x}", fastrand::u64(..))
}

/// Whether a message gets from one client to the other, once and whole.
async fn passes(from: &Client, to: &Client, qos: QoS) -> Result<String, String> {
    let topic = own_topic();
    let payload = Bytes::from_static(b"\x00check \xff");
    let begun = Instant::now();
    within(async {
        let wanted = Subscribe::new(topic.as_str()).qos(qos);
        let mut messages = to.subscribe(wanted).await.map_err(words)?;
        let message = Publish::new(topic.as_str(), payload.clone()).qos(qos);
        from.publish(message).await.map_err(words)?;
        let came = messages.next().await.ok_or("the connection ended")?;
        to.unsubscribe(topic.as_str()).await.map_err(words)?;
        if came.payload() != &payload || came.qos() != qos {
            return Err(format!("it came changed: {came:?}"));
        }
        match messages.next().await {
            Some(_) => Err("it came twice".into()),
            None => Ok(format!("arrived in {:.1?}", begun.elapsed())),
        }
    })
    .await
}

async fn retained(client: &Client) -> Result<String, String> {
    let topic = own_topic();
    within(async {
        let publish = |text: &'static str| {
            Publish::new(topic.as_str(), text).qos(QoS::AtLeastOnce).retain(true)
        };
        client.publish(publish("kept")).await.map_err(words)?;
        let wanted = Subscribe::new(topic.as_str());
        let mut messages = client.subscribe(wanted).await.map_err(words)?;
        let kept = messages.next().await.ok_or("the connection ended")?;
        client.unsubscribe(topic.as_str()).await.map_err(words)?;
        client.publish(publish("")).await.map_err(words)?;
        if kept.retain() {
            Ok("kept and removed".into())
        } else {
            Err("its flag is missing".into())
        }
    })
    .await
}

/// A client that vanishes without a word must be spoken for.
async fn will(client: &Client, options: ClientOptions) -> Result<String, String> {
    let topic = own_topic();
    within(async {
        let wanted = Subscribe::new(topic.as_str());
        let mut messages = client.subscribe(wanted).await.map_err(words)?;
        // Its runtime is torn down around it: no time for DISCONNECT.
        let doomed = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let doomed = Doomed(Some(doomed.map_err(|error| error.to_string())?));
        let options = options.will(Will::new(topic.as_str(), "lost"));
        let kept = doomed.connect(options).await?;
        drop(doomed);
        let message = messages.next().await.ok_or("the connection ended")?;
        drop(kept);
        client.unsubscribe(topic.as_str()).await.map_err(words)?;
        match message.payload().as_ref() {
            b"lost" => Ok("sent".into()),
            other => Err(format!("it says something else: {other:?}")),
        }
    })
    .await
}

/// A runtime that is torn down with all that runs in it, without waiting for anything, also when
/// the test is given up.
struct Doomed(Option<Runtime>);

impl Doomed {
    async fn connect(&self, options: ClientOptions) -> Result<Client, String> {
        let runtime = self.0.as_ref().ok_or("it is gone")?;
        runtime.spawn(connect(options)).await.map_err(|error| error.to_string()).flatten()
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

async fn hello(subject: &Subject, client: &Client, findings: &mut Findings) {
    const NAME: &str = "HELLO";
    let is_noctule = match client.wait_until_connected().await {
        Ok(granted) => granted.is_noctule(),
        Err(_) => false,
    };
    match client.wait_for_hello(subject.hello).await {
        Ok(Hello::Confirmed) => findings.note(NAME, Ok("came".into())),
        Ok(_) if is_noctule => findings.note(NAME, Err("Noctule should greet".into())),
        Ok(_) => {
            findings.skip(NAME, "no greeting, which only Noctule sends");
            true
        }
        Err(error) => findings.note(NAME, Err(words(error))),
    };
}

async fn within(test: impl Future<Output = Result<String, String>>) -> Result<String, String> {
    timeout(PATIENCE, test).await.unwrap_or_else(|_| Err(format!("not within {PATIENCE:?}")))
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn words(error: Error) -> String {
    error.to_string()
}
