//! Who may connect: anybody, whoever shows a certificate, or whoever knows a password.
//!
//! What can be decided without a password is decided at once. A password is checked by threads of
//! their own, a few at a time, since each check takes some 20 ms and 20 MiB; the loop goes on, and the
//! verdict comes as a letter. When too many wait, a client is told that the broker is busy. What a
//! client may *do* is not decided here.

use crate::mailboxes::{Letter, Mailboxes};
use crate::options::{ClientAuth, Config, Listener, Transport};
use crate::passwords::Passwords;
use crate::run::StartError;
use noctule_broker::{ConnectionHandle, Credentials, EntranceId, Verdict};
use noctule_mqtt::ReasonCode;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

/// Checks that may wait for a thread; at 20 ms each, more would time out anyhow.
const WAITING_MAX: usize = 1_024;

/// Threads that check at once, at most: 80 MiB.
const THREADS_MAX: usize = 4;

/// Decides who may connect. Shared by all loops.
#[derive(Debug)]
pub(crate) struct Gate {
    /// By the number of the listener.
    guards: RwLock<Vec<Guard>>,
    checkers: Checkers,
}

/// Who may connect at one listener.
#[derive(Debug, Clone)]
struct Guard {
    /// If clients have to give a user's.
    passwords: Option<Arc<Passwords>>,
    allow_anonymous: bool,
}

/// The threads that check passwords, once there is a password file.
#[derive(Debug)]
struct Checkers {
    questions: OnceLock<SyncSender<Question>>,
    mailboxes: Arc<Mailboxes>,
    /// How long somebody may wait for an answer.
    patience: Duration,
}

/// What is known of a connection besides what it says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// Where it came in.
    pub(crate) entrance: EntranceId,
    /// It has shown a certificate that was found valid.
    pub(crate) has_certificate: bool,
    /// It comes from this machine.
    pub(crate) is_local: bool,
}

/// A password to be checked.
#[derive(Debug)]
struct Question {
    passwords: Arc<Passwords>,
    user: Box<str>,
    password: Box<[u8]>,
    asked: Instant,
    /// Which loop wants to know, and about whom.
    shard: usize,
    connection: ConnectionHandle,
}

impl Gate {
    /// The gate that the configuration asks for. Verdicts that take time come through `mailboxes`.
    ///
    /// # Errors
    /// [`StartError`]: a password file cannot be used, or anybody could come in unasked.
    pub(crate) fn open(config: &Config, mailboxes: &Arc<Mailboxes>) -> Result<Self, StartError> {
        let patience = config.limits.connect_timeout;
        let (questions, mailboxes) = (OnceLock::new(), Arc::clone(mailboxes));
        let checkers = Checkers { questions, mailboxes, patience };
        let gate = Self { guards: RwLock::default(), checkers };
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
        if guards.iter().any(|guard| guard.passwords.is_some()) {
            self.checkers.start().map_err(|error| {
                let what = "start a thread";
                StartError::System { what, error }
            })?;
        }
        *self.guards.write().unwrap_or_else(PoisonError::into_inner) = guards;
        Ok(())
    }

    /// The password files that are in use.
    fn known(&self) -> Vec<Arc<Passwords>> {
        let guards = self.guards.read().unwrap_or_else(PoisonError::into_inner);
        guards.iter().filter_map(|guard| guard.passwords.clone()).collect()
    }

    /// The verdict, or none if it comes as a letter.
    pub(crate) fn ask(
        &self,
        credentials: Credentials,
        origin: Origin,
        (shard, connection): (usize, ConnectionHandle),
    ) -> Option<Verdict> {
        let guards = self.guards.read().unwrap_or_else(PoisonError::into_inner);
        let Some(guard) = guards.get(usize::from(origin.entrance.0)) else {
            return Some(NOT_AUTHORIZED);
        };
        let Some(passwords) = &guard.passwords else {
            return Some(guard.without_passwords(origin));
        };
        let Some(user) = credentials.user_name else {
            let accepted = origin.has_certificate || guard.allow_anonymous;
            return Some(if accepted { Verdict::Accepted } else { NOT_AUTHORIZED });
        };
        // Nobody's password is no password; that needs no time, as it says nothing about the user.
        let Some(password) = credentials.password else {
            return Some(BAD_PASSWORD);
        };
        let (passwords, asked) = (Arc::clone(passwords), Instant::now());
        let question = Question { passwords, user, password, asked, shard, connection };
        let questions = self.checkers.questions.get();
        let is_asked = questions.is_some_and(|questions| questions.try_send(question).is_ok());
        (!is_asked).then_some(BUSY)
    }
}

impl Guard {
    /// Without a password file this machine is trusted, as nobody else is listened to unless that
    /// is meant, or clients have certificates.
    fn without_passwords(&self, origin: Origin) -> Verdict {
        let accepted = origin.has_certificate || origin.is_local || self.allow_anonymous;
        if accepted { Verdict::Accepted } else { NOT_AUTHORIZED }
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
                let read = Arc::new(Passwords::read(path).map_err(StartError::Passwords)?);
                known.push(Arc::clone(&read));
                read
            }
        }),
    };
    Ok(Guard { passwords, allow_anonymous: config.allow_anonymous })
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

impl Checkers {
    /// Starts the threads, unless they run. They end with the gate.
    fn start(&self) -> io::Result<()> {
        if self.questions.get().is_none() {
            let questions = start_threads(&self.mailboxes, self.patience)?;
            // Nobody else starts them: configurations are taken up one after another.
            let _ = self.questions.set(questions);
        }
        Ok(())
    }
}

/// Starts the threads that check passwords. They end with the gate.
fn start_threads(
    mailboxes: &Arc<Mailboxes>,
    patience: Duration,
) -> io::Result<SyncSender<Question>> {
    let (questions, asked) = sync_channel(WAITING_MAX);
    let asked = Arc::new(Mutex::new(asked));
    // Half of the processors, so that the loops have theirs.
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    for _ in 0..(processors / 2).clamp(1, THREADS_MAX) {
        let checker = Checker { mailboxes: Arc::clone(mailboxes), patience };
        let asked = Arc::clone(&asked);
        thread::Builder::new().name("passwords".to_owned()).spawn(move || checker.run(&asked))?;
    }
    Ok(questions)
}

struct Checker {
    mailboxes: Arc<Mailboxes>,
    patience: Duration,
}

impl Checker {
    fn run(&self, asked: &Mutex<Receiver<Question>>) {
        loop {
            let question = asked.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(question) = question else {
                return;
            };
            // Whoever has waited longer was sent away.
            if question.asked.elapsed() < self.patience {
                self.answer(&question);
            }
        }
    }

    fn answer(&self, question: &Question) {
        let is_right = question.passwords.verify(&question.user, &question.password);
        let verdict = if is_right { Verdict::Accepted } else { BAD_PASSWORD };
        let connection = question.connection;
        self.mailboxes.write_from_outside(question.shard, Letter::Verdict { connection, verdict });
    }
}

const NOT_AUTHORIZED: Verdict = Verdict::Refused(ReasonCode::NotAuthorized);
const BAD_PASSWORD: Verdict = Verdict::Refused(ReasonCode::BadUserNameOrPassword);
const BUSY: Verdict = Verdict::Refused(ReasonCode::ServerBusy);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Optional;
    use mio::{Poll, Token, Waker};
    use noctule_auth::PasswordFile;
    use noctule_broker::Now;
    use noctule_broker::{Settings, Shard};

    const HERE: Origin = Origin { entrance: EntranceId(0), has_certificate: false, is_local: true };
    const ELSEWHERE: Origin = Origin { is_local: false, ..HERE };
    const CERTIFIED: Origin = Origin { has_certificate: true, ..ELSEWHERE };

    fn somebody(user: Option<&str>, password: Option<&str>) -> Credentials {
        Credentials {
            client_id: "a".into(),
            user_name: user.map(Into::into),
            enhanced: None,
            password: password.map(|text| text.as_bytes().into()),
        }
    }

    fn ask(gate: &Gate, who: Credentials, origin: Origin) -> Option<Verdict> {
        let limits = noctule_broker::Limits::default();
        let settings = Settings { limits, next_key: 1, ..Settings::default() };
        let connection = Shard::new(settings, Now { mono_ms: 0, wall_ms: 0 })
            .open(Now { mono_ms: 0, wall_ms: 0 });
        gate.ask(who, origin, (0, connection))
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
            PasswordFile::set(&path, "a", b"b").unwrap();
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

    #[test]
    fn when_too_many_wait_the_broker_is_busy() {
        let file = File::new("busy");
        let (questions, asked) = sync_channel(1);
        let checkers = Checkers {
            questions: OnceLock::from(questions),
            mailboxes: mailboxes(),
            patience: Duration::ZERO,
        };
        let passwords = Some(Arc::new(Passwords::read(&file.0).unwrap()));
        let guards = RwLock::new(vec![Guard { passwords, allow_anonymous: false }]);
        let gate = Gate { guards, checkers };
        assert_eq!(ask(&gate, somebody(Some("a"), Some("b")), HERE), None);
        assert_eq!(ask(&gate, somebody(Some("a"), Some("b")), HERE), Some(BUSY), "one may wait");
        assert_eq!(asked.try_iter().next().map(|question| question.user), Some("a".into()));
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
