//! Who may connect: anybody, whoever shows a certificate, or whoever knows a password.
//!
//! What can be decided without checking a password is decided at once: certificates, proofs by SCRAM,
//! and logins that were found right before. A password that has to be checked is checked by threads
//! of their own; the loop goes on, and the answer comes as a letter. When too many wait, a client is
//! told that the broker is busy; when its address has been wrong too often, it has to wait, and then
//! is refused. What a client may *do* is not decided here.

mod chance;
mod checkers;
mod exchange;
mod failures;
mod passwords;
mod slowed;

use crate::mailboxes::Mailboxes;
use crate::options::{CertificateUser, ClientAuth, Config, Listener, Transport};
use crate::run::StartError;
use checkers::{Checkers, Question};
pub(crate) use exchange::Begun;
use failures::{Failures, Standing};
use noctule_broker::{
    ConnectionHandle, Credentials, Enhanced, EntranceId, Event, Principal, Verdict,
};
use noctule_cert::{IdentityField, identity};
use noctule_mqtt::ReasonCode;
use passwords::Passwords;
use slowed::{Slowed, Then};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tracing::debug;

/// Decides who may connect. Shared by all loops.
#[derive(Debug)]
pub(crate) struct Gate {
    /// By the number of the listener.
    guards: RwLock<Vec<Guard>>,
    /// Once there is a password file.
    workers: OnceLock<Workers>,
    failures: Arc<Failures>,
    mailboxes: Arc<Mailboxes>,
    /// How long somebody may wait for an answer.
    patience: Duration,
}

/// Who may connect at one listener.
#[derive(Debug, Clone)]
struct Guard {
    /// If clients have to give a user's.
    passwords: Option<Arc<Passwords>>,
    /// If a certificate says who its holder is.
    identity: Option<IdentityField>,
    allow_anonymous: bool,
}

/// The threads for what takes time.
#[derive(Debug)]
struct Workers {
    checkers: Checkers,
    slowed: Slowed,
}

impl Workers {
    fn start(gate: &Gate) -> io::Result<Self> {
        let checkers = Checkers::start(&gate.mailboxes, &gate.failures, gate.patience)?;
        let slowed = Slowed::start(checkers.clone(), &gate.mailboxes)?;
        Ok(Self { checkers, slowed })
    }
}

/// What is known of a connection besides what it says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// Where it came in.
    pub(crate) entrance: EntranceId,
    /// The certificate, in DER, that it has shown and that was found valid.
    pub(crate) certificate: Option<&'a [u8]>,
    /// Where it comes from.
    pub(crate) address: IpAddr,
}

impl Gate {
    /// The gate that the configuration asks for. Verdicts that take time come through `mailboxes`.
    ///
    /// # Errors
    /// [`StartError`]: a password file cannot be used, or anybody could come in unasked.
    pub(crate) fn open(config: &Config, mailboxes: &Arc<Mailboxes>) -> Result<Self, StartError> {
        let limits = &config.limits;
        let failures = Failures::new(limits.login_failures_max.get(), limits.login_failures_time);
        let gate = Self {
            guards: RwLock::default(),
            workers: OnceLock::new(),
            failures: Arc::new(failures),
            mailboxes: Arc::clone(mailboxes),
            patience: limits.connect_timeout,
        };
        gate.replace(config)?;
        Ok(gate)
    }

    /// Uses another configuration from now on. Password files that were in use stay as they were read.
    ///
    /// # Errors
    /// As [`open`](Self::open); then nothing has changed.
    pub(crate) fn replace(&self, config: &Config) -> Result<(), StartError> {
        let mut known: Vec<Arc<Passwords>> = self.known();
        let mut guards = Vec::new();
        for listener in config.all_listeners() {
            let guard = guard(&listener, &mut known).map_err(|error| error.of(&listener))?;
            guards.push(guard);
        }
        if guards.iter().any(|guard| guard.passwords.is_some()) && self.workers.get().is_none() {
            let failed = |error| StartError::System { what: "start a thread", error };
            // Nobody else starts them: configurations are taken up one after another.
            let _ = self.workers.set(Workers::start(self).map_err(failed)?);
        }
        *self.guards.write().unwrap_or_else(PoisonError::into_inner) = guards;
        Ok(())
    }

    /// The password files that are in use.
    fn known(&self) -> Vec<Arc<Passwords>> {
        let guards = self.guards.read().unwrap_or_else(PoisonError::into_inner);
        guards.iter().filter_map(|guard| guard.passwords.clone()).collect()
    }

    /// The answer to a connection that asks to be let in, or none if it comes as a letter. `begun` is
    /// the connection's, for exchanges of several steps.
    pub(crate) fn ask(
        &self,
        credentials: Credentials,
        origin: Origin<'_>,
        begun: &mut Begun,
        asker: (usize, ConnectionHandle),
    ) -> Option<Event> {
        let guards = self.guards.read().unwrap_or_else(PoisonError::into_inner);
        let verdict = match guards.get(usize::from(origin.entrance.0)) {
            None => Some(NOT_AUTHORIZED),
            Some(guard) => match (&guard.passwords, &credentials.enhanced) {
                // Who shows a certificate that says who he is has nothing to prove besides.
                (Some(passwords), Some(said)) if guard.named(origin).is_none() => {
                    return self.prove(passwords, said, origin, begun, asker);
                }
                (_, Some(_)) => Some(Verdict::Refused(ReasonCode::BadAuthenticationMethod)),
                (_, None) => self.verdict(guard, credentials, origin, asker),
            },
        };
        verdict.map(|verdict| Event::Authenticated { connection: asker.1, verdict })
    }

    fn verdict(
        &self,
        guard: &Guard,
        credentials: Credentials,
        origin: Origin<'_>,
        asker: (usize, ConnectionHandle),
    ) -> Option<Verdict> {
        if let Some(named) = guard.named(origin) {
            return Some(named);
        }
        let Some(passwords) = &guard.passwords else {
            return Some(guard.without_passwords(origin));
        };
        let Some(user) = credentials.user_name else {
            let accepted = origin.certificate.is_some() || guard.allow_anonymous;
            return Some(if accepted { Verdict::Accepted } else { NOT_AUTHORIZED });
        };
        // Nobody's password is no password; that needs no time, as it says nothing about the user.
        let Some(password) = credentials.password else {
            return Some(BAD_PASSWORD);
        };
        if passwords.knows(&user, &password) {
            return Some(Verdict::Accepted);
        }
        let (passwords, address) = (Arc::clone(passwords), origin.address);
        self.check(Question { passwords, user, password, address, asker })
    }

    /// Has a password checked, at once or later; or says why not.
    fn check(&self, question: Question) -> Option<Verdict> {
        let Some(workers) = self.workers.get() else {
            return Some(BUSY);
        };
        match self.failures.standing(question.address, Instant::now()) {
            Standing::Good => workers.checkers.ask(question),
            Standing::Slowed(delay) => {
                let waits = workers.slowed.wait(delay, Then::Check(question));
                (!waits).then_some(BUSY)
            }
            Standing::Refused => Some(TOO_OFTEN),
        }
    }

    /// Takes a step of an exchange in which a client proves who it is.
    fn prove(
        &self,
        passwords: &Passwords,
        said: &Enhanced,
        origin: Origin<'_>,
        begun: &mut Begun,
        (shard, connection): (usize, ConnectionHandle),
    ) -> Option<Event> {
        let refused = |verdict| Some(Event::Authenticated { connection, verdict });
        let standing = self.failures.standing(origin.address, Instant::now());
        if standing == Standing::Refused {
            *begun = None;
            return refused(TOO_OFTEN);
        }
        let answer = match exchange::step(passwords, begun, said, connection) {
            Ok(answer) => answer,
            Err(error) => {
                debug!("{error}");
                checkers::note(&self.failures, origin.address);
                return refused(NOT_AUTHORIZED);
            }
        };
        match (standing, self.workers.get()) {
            (Standing::Slowed(delay), Some(workers)) => {
                let waits = workers.slowed.wait(delay, Then::Answer(shard, answer));
                if waits { None } else { refused(BUSY) }
            }
            _ => Some(answer),
        }
    }
}

impl Guard {
    /// Without a password file this machine is trusted, as nobody else is listened to unless that
    /// is meant, or clients have certificates.
    fn without_passwords(&self, origin: Origin<'_>) -> Verdict {
        let is_local = origin.address.to_canonical().is_loopback();
        let accepted = origin.certificate.is_some() || is_local || self.allow_anonymous;
        if accepted { Verdict::Accepted } else { NOT_AUTHORIZED }
    }

    /// What follows from a client's certificate, if certificates say who their holders are.
    fn named(&self, origin: Origin<'_>) -> Option<Verdict> {
        let name = identity(origin.certificate?, self.identity?);
        Some(name.map_or(NOT_AUTHORIZED, |name| Verdict::AcceptedAs(Principal::user(name))))
    }
}

/// The guard that a listener asks for. Its password file is read if it is not `known`.
fn guard(listener: &Listener, known: &mut Vec<Arc<Passwords>>) -> Result<Guard, StartError> {
    check_openness(listener)?;
    let config = &listener.config;
    let passwords = match config.password_file.get() {
        None => None,
        Some(path) => Some(match known.iter().find(|known| known.is_at(path)) {
            Some(known) => Arc::clone(known),
            None => {
                let read = Arc::new(Passwords::watch(path)?);
                known.push(Arc::clone(&read));
                read
            }
        }),
    };
    let identity = match config.certificate_user {
        CertificateUser::None => None,
        CertificateUser::CommonName => Some(IdentityField::CommonName),
        CertificateUser::Subject => Some(IdentityField::Subject),
        CertificateUser::AlternativeName => Some(IdentityField::AlternativeName),
    };
    Ok(Guard { passwords, identity, allow_anonymous: config.allow_anonymous })
}

/// Who listens where the network reaches him asks who somebody is, unless he was told not to. Of the
/// two usual listeners the one with TLS guards the other: they are meant as one.
fn check_openness(listener: &Listener) -> Result<(), StartError> {
    let config = &listener.config;
    let is_tls = listener.transport() == Transport::Tls || (!listener.is_written && config.tls);
    let asks_for_certificates =
        is_tls && config.client_ca.get().is_some() && config.client_auth == ClientAuth::Required;
    let is_guarded = asks_for_certificates || config.password_file.get().is_some();
    match config.bind.iter().find(|address| !address.is_loopback()) {
        Some(address) if !is_guarded && !config.allow_anonymous => {
            Err(StartError::Open { address: *address, is_written: listener.is_written })
        }
        _ => Ok(()),
    }
}

const NOT_AUTHORIZED: Verdict = Verdict::Refused(ReasonCode::NotAuthorized);
const BAD_PASSWORD: Verdict = Verdict::Refused(ReasonCode::BadUserNameOrPassword);
const BUSY: Verdict = Verdict::Refused(ReasonCode::ServerBusy);
const TOO_OFTEN: Verdict = Verdict::Refused(ReasonCode::ConnectionRateExceeded);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Limit, Optional};
    use mio::{Poll, Token, Waker};
    use noctule_auth::PasswordFile;
    use noctule_broker::Now;
    use noctule_broker::{Settings, Shard};
    use noctule_cert::{Purpose, UnixTime, Validity, read_certificates, self_signed};
    use std::net::Ipv4Addr;

    const HERE: Origin<'_> = Origin {
        entrance: EntranceId(0),
        certificate: None,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    const ELSEWHERE: Origin<'_> =
        Origin { address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), ..HERE };
    const CERTIFIED: Origin<'_> = Origin { certificate: Some(b"of somebody"), ..ELSEWHERE };

    fn somebody(user: Option<&str>, password: Option<&str>) -> Credentials {
        Credentials {
            client_id: "a".into(),
            user_name: user.map(Into::into),
            enhanced: None,
            password: password.map(|text| text.as_bytes().into()),
        }
    }

    fn ask(gate: &Gate, who: Credentials, origin: Origin<'_>) -> Option<Verdict> {
        let limits = noctule_broker::Limits::default();
        let settings = Settings { limits, next_key: 1, ..Settings::default() };
        let connection = Shard::new(settings, Now { mono_ms: 0, wall_ms: 0 })
            .open(Now { mono_ms: 0, wall_ms: 0 });
        match gate.ask(who, origin, &mut None, (0, connection))? {
            Event::Authenticated { verdict, .. } => Some(verdict),
            other => panic!("{other:?}"),
        }
    }

    fn mailboxes() -> Arc<Mailboxes> {
        let poll = Poll::new().unwrap();
        Arc::new(Mailboxes::new(vec![Waker::new(poll.registry(), Token(0)).unwrap()]))
    }

    fn gate(config: &Config) -> Gate {
        Gate::open(config, &mailboxes()).unwrap()
    }

    /// A password file with one user, `a` with the password `b`; removed at the end.
    struct File(std::path::PathBuf);

    impl File {
        fn new(name: &str) -> Self {
            let name = format!("noctule-gate-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            PasswordFile::create(&path, true).unwrap();
            PasswordFile::set(&path, "a", b"b", None).unwrap();
            Self(path)
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn without_passwords_this_machine_and_certificates_are_trusted() {
        let closed = gate(&Config::default());
        let nobody = || somebody(None, None);
        assert_eq!(ask(&closed, nobody(), HERE), Some(Verdict::Accepted));
        assert_eq!(ask(&closed, nobody(), CERTIFIED), Some(Verdict::Accepted));
        assert_eq!(ask(&closed, nobody(), ELSEWHERE), Some(NOT_AUTHORIZED));
        let open = gate(&Config { allow_anonymous: true, ..Config::default() });
        assert_eq!(ask(&open, nobody(), ELSEWHERE), Some(Verdict::Accepted));
        let unknown = Origin { entrance: EntranceId(9), ..HERE };
        assert_eq!(ask(&open, nobody(), unknown), Some(NOT_AUTHORIZED), "no such listener");
    }

    #[test]
    fn with_passwords_nobody_is_let_in_for_being_near() {
        let file = File::new("near");
        let password_file = Optional::Set(file.0.clone());
        let gate = gate(&Config { password_file, ..Config::default() });
        assert_eq!(ask(&gate, somebody(None, None), HERE), Some(NOT_AUTHORIZED));
        assert_eq!(ask(&gate, somebody(None, None), CERTIFIED), Some(Verdict::Accepted));
        assert_eq!(ask(&gate, somebody(Some("a"), None), HERE), Some(BAD_PASSWORD));
        assert_eq!(ask(&gate, somebody(Some("a"), Some("b")), HERE), None, "a thread decides");
    }

    /// A gate with a password file of which nobody checks passwords, but the test.
    fn unattended(file: &File, max: u32) -> (Gate, impl Fn() -> Option<Question>) {
        let (checkers, asked) = checkers::tests::nobody(64);
        let mut config = Config::default();
        config.limits.login_failures_max = Limit::At(max);
        let (gate, mailboxes) = (gate(&config), mailboxes());
        let slowed = Slowed::start(checkers.clone(), &mailboxes).unwrap();
        gate.workers.set(Workers { checkers, slowed }).unwrap();
        config.password_file = Optional::Set(file.0.clone());
        gate.replace(&config).unwrap();
        (gate, asked)
    }

    #[test]
    fn a_login_that_was_right_needs_no_check_until_the_file_changes() {
        let file = File::new("again");
        let (gate, asked) = unattended(&file, 20);
        let login = || ask(&gate, somebody(Some("a"), Some("b")), ELSEWHERE);
        assert_eq!(login(), None);
        let question = asked().unwrap();
        assert!(question.passwords.verify(&question.user, &question.password));
        assert_eq!(login(), Some(Verdict::Accepted));
        assert_eq!(ask(&gate, somebody(Some("a"), Some("c")), ELSEWHERE), None, "another one");
        assert!(!question.passwords.verify("a", b"c"));
        assert_eq!(ask(&gate, somebody(Some("a"), Some("c")), ELSEWHERE), None, "still wrong");
        PasswordFile::set(&file.0, "a", b"c", None).unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        while login().is_some() {
            assert!(Instant::now() < end, "the new file is not read");
            std::thread::yield_now();
        }
    }

    #[test]
    fn an_address_that_was_wrong_too_often_has_to_wait_and_is_refused_then() {
        let file = File::new("often");
        let (gate, asked) = unattended(&file, 6);
        let wrong = || ask(&gate, somebody(Some("a"), Some("c")), ELSEWHERE);
        let known = gate.known().remove(0);
        assert!(known.verify("a", b"b"));
        for _ in 0..5 {
            assert_eq!(wrong(), None);
            assert!(asked().is_some(), "it is checked at once");
            checkers::note(&gate.failures, ELSEWHERE.address);
        }
        assert_eq!(wrong(), None);
        assert!(asked().is_none(), "it has to wait");
        let end = Instant::now() + Duration::from_secs(30);
        while asked().is_none() {
            assert!(Instant::now() < end, "it is not checked");
            std::thread::yield_now();
        }
        checkers::note(&gate.failures, ELSEWHERE.address);
        assert_eq!(wrong(), Some(TOO_OFTEN));
        assert_eq!(ask(&gate, somebody(Some("a"), Some("c")), HERE), None, "another address");
        let right = ask(&gate, somebody(Some("a"), Some("b")), ELSEWHERE);
        assert_eq!(right, Some(Verdict::Accepted), "it was right before");
        let scram = Enhanced {
            method: "SCRAM-SHA-256".into(),
            data: Some(b"n,,n=a,r=x"[..].into()),
            step: noctule_broker::Step::First,
        };
        let proof = Credentials { enhanced: Some(scram), ..somebody(None, None) };
        assert_eq!(ask(&gate, proof, ELSEWHERE), Some(TOO_OFTEN));
    }

    #[test]
    fn a_certificate_says_who_its_holder_is_if_that_is_asked_for() {
        let validity = Validity::for_days(UnixTime(0), 1);
        let made = self_signed(&Purpose::Client("sensor-1".into()), validity).unwrap();
        let pem = File(std::env::temp_dir().join(format!("noctule-gate-{}", std::process::id())));
        std::fs::write(&pem.0, made.certificate_pem).unwrap();
        let certificate = read_certificates(&pem.0).unwrap().remove(0);
        let shown = Origin { certificate: Some(&certificate), ..ELSEWHERE };
        let file = File::new("named");
        let config = Config {
            certificate_user: CertificateUser::CommonName,
            password_file: Optional::Set(file.0.clone()),
            ..Config::default()
        };
        let gate = gate(&config);
        let named = Some(Verdict::AcceptedAs(Principal::user("sensor-1")));
        assert_eq!(ask(&gate, somebody(None, None), shown), named);
        assert_eq!(ask(&gate, somebody(Some("a"), Some("c")), shown), named, "whatever it says");
        assert_eq!(ask(&gate, somebody(None, None), CERTIFIED), Some(NOT_AUTHORIZED), "nobody");
        assert_eq!(ask(&gate, somebody(None, None), ELSEWHERE), Some(NOT_AUTHORIZED));
        assert_eq!(ask(&gate, somebody(Some("a"), Some("b")), ELSEWHERE), None, "a password");
    }

    #[test]
    fn when_too_many_wait_the_broker_is_busy() {
        let file = File::new("busy");
        let (gate, asked) = unattended(&file, 20);
        for _ in 0..64 {
            assert_eq!(ask(&gate, somebody(Some("a"), Some("b")), HERE), None);
        }
        assert_eq!(ask(&gate, somebody(Some("a"), Some("b")), HERE), Some(BUSY), "so many wait");
        assert_eq!(asked().map(|question| question.user), Some("a".into()));
    }

    #[test]
    fn each_listener_has_its_own_guard_and_a_new_configuration_replaces_them() {
        let file = File::new("each");
        let text = format!(
            "[[listener]]\nport = 1\n[[listener]]\nport = 2\npassword_file = '{}'\n",
            file.0.display()
        );
        let config = crate::options::config_of(&text);
        let gate = gate(&config);
        let second = Origin { entrance: EntranceId(1), ..HERE };
        assert_eq!(ask(&gate, somebody(None, None), HERE), Some(Verdict::Accepted));
        assert_eq!(ask(&gate, somebody(None, None), second), Some(NOT_AUTHORIZED));
        let bad = crate::options::config_of(&text.replace("each", "nowhere"));
        let said = gate.replace(&bad).unwrap_err().to_string();
        assert!(said.starts_with("listener 2 of the file: "), "{said}");
        assert_eq!(ask(&gate, somebody(None, None), second), Some(NOT_AUTHORIZED), "as before");
        let both = config.listeners[1].clone();
        let without = Config { listeners: vec![config.listeners[0].clone(), both], ..config };
        let open = Config { allow_anonymous: true, ..without };
        assert_eq!(gate.replace(&open).map_err(|error| error.to_string()), Ok(()));
        assert_eq!(ask(&gate, somebody(None, None), second), Some(Verdict::Accepted));
    }

    fn openness(config: &Config) -> Result<(), String> {
        let check = |listener: &Listener| {
            check_openness(listener).map_err(|error| error.of(listener).to_string())
        };
        config.all_listeners().iter().try_for_each(check)
    }

    #[test]
    fn the_network_is_listened_to_only_with_a_guard() {
        let check = |change: fn(&mut Config)| {
            let mut config = Config { bind: vec!["0.0.0.0".parse().unwrap()], ..Config::default() };
            change(&mut config);
            openness(&config)
        };
        let said = check(|_| ()).unwrap_err();
        for word in ["0.0.0.0", "--password-file", "--client-ca", "--allow-anonymous"] {
            assert!(said.contains(word), "{said}");
        }
        assert_eq!(check(|config| config.allow_anonymous = true), Ok(()));
        assert_eq!(check(|config| config.password_file = Optional::Set("p".into())), Ok(()));
        assert_eq!(check(|config| config.client_ca = Optional::Set("p".into())), Ok(()));
        assert_eq!(check(|config| config.bind = vec!["127.0.0.7".parse().unwrap()]), Ok(()));
        assert!(
            check(|config| {
                config.client_ca = Optional::Set("p".into());
                config.client_auth = ClientAuth::Optional;
            })
            .is_err()
        );
        assert!(
            check(|config| {
                config.client_ca = Optional::Set("p".into());
                config.tls = false;
            })
            .is_err()
        );
    }

    #[test]
    fn a_listener_of_its_own_needs_a_guard_of_its_own() {
        let guarded = "[[listener]]\nname = \"far\"\nbind = \"0.0.0.0\"\nport = 1\n\
                       transport = \"tls\"\nclient_ca = \"ca\"\n";
        assert_eq!(openness(&crate::options::config_of(guarded)), Ok(()));
        let plain = guarded.replace("\"tls\"", "\"tcp\"");
        let said = openness(&crate::options::config_of(&plain)).unwrap_err();
        assert!(said.starts_with("listener \"far\": listening on 0.0.0.0 would let"), "{said}");
        assert!(said.contains("`allow_anonymous = true`"), "{said}");
        let open = format!("{guarded}[[listener]]\nbind = \"::\"\nport = 2\n");
        let said = openness(&crate::options::config_of(&open)).unwrap_err();
        assert!(said.starts_with("listener 2 of the file: "), "{said}");
    }
}
