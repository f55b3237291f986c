//! Who may connect: anybody, whoever shows a certificate, or whoever knows a password.
//!
//! What can be decided without a password is decided at once. A password is checked by threads of
//! their own, a few at a time, since each check takes some 20 ms and 20 MiB; the loop goes on, and the
//! verdict comes as a letter. When too many wait, a client is told that the broker is busy. What a
//! client may *do* is not decided here.

use crate::mailboxes::{Letter, Mailboxes};
use crate::options::{ClientAuth, Config};
use crate::passwords::Passwords;
use crate::run::StartError;
use noctule_broker::{ConnectionHandle, Credentials, Verdict};
use noctule_mqtt::ReasonCode;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Checks that may wait for a thread; at 20 ms each, more would time out anyhow.
const WAITING_MAX: usize = 1_024;

/// Threads that check at once, at most: 80 MiB.
const THREADS_MAX: usize = 4;

/// Decides who may connect. Shared by all loops.
#[derive(Debug)]
pub(crate) struct Gate {
    questions: Option<SyncSender<Question>>,
    allow_anonymous: bool,
}

/// What is known of a connection besides what it says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// It has shown a certificate that was found valid.
    pub(crate) has_certificate: bool,
    /// It comes from this machine.
    pub(crate) is_local: bool,
}

/// A password to be checked.
struct Question {
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
    /// [`StartError`]: the password file cannot be used, or anybody could come in unasked.
    pub(crate) fn open(config: &Config, mailboxes: &Arc<Mailboxes>) -> Result<Self, StartError> {
        check_openness(config)?;
        let questions = match config.password_file.get() {
            None => None,
            Some(path) => {
                let passwords = Arc::new(Passwords::read(path).map_err(StartError::Passwords)?);
                let patience = config.limits.connect_timeout;
                let started = start_threads(&passwords, mailboxes, patience);
                let failed = |error| StartError::System { what: "start a thread", error };
                Some(started.map_err(failed)?)
            }
        };
        Ok(Self { questions, allow_anonymous: config.allow_anonymous })
    }

    /// The verdict, or none if it comes as a letter.
    pub(crate) fn ask(
        &self,
        credentials: Credentials,
        origin: Origin,
        (shard, connection): (usize, ConnectionHandle),
    ) -> Option<Verdict> {
        let Some(questions) = &self.questions else {
            return Some(self.without_passwords(origin));
        };
        let Some(user) = credentials.user_name else {
            let accepted = origin.has_certificate || self.allow_anonymous;
            return Some(if accepted { Verdict::Accepted } else { NOT_AUTHORIZED });
        };
        // Nobody's password is no password; that needs no time, as it says nothing about the user.
        let Some(password) = credentials.password else {
            return Some(BAD_PASSWORD);
        };
        let asked = Instant::now();
        let question = Question { user, password, asked, shard, connection };
        questions.try_send(question).is_err().then_some(BUSY)
    }

    /// Without a password file this machine is trusted, as nobody else is listened to unless that
    /// is meant, or clients have certificates.
    fn without_passwords(&self, origin: Origin) -> Verdict {
        let accepted = origin.has_certificate || origin.is_local || self.allow_anonymous;
        if accepted { Verdict::Accepted } else { NOT_AUTHORIZED }
    }
}

/// A broker that the network reaches asks who somebody is, unless it was told not to.
fn check_openness(config: &Config) -> Result<(), StartError> {
    let asks_for_certificates = config.tls
        && config.client_ca.get().is_some()
        && config.client_auth == ClientAuth::Required;
    let is_guarded = asks_for_certificates || config.password_file.get().is_some();
    match config.bind.iter().find(|address| !address.is_loopback()) {
        Some(address) if !is_guarded && !config.allow_anonymous => {
            Err(StartError::Open { address: *address })
        }
        _ => Ok(()),
    }
}

/// Starts the threads that check passwords. They end with the gate.
fn start_threads(
    passwords: &Arc<Passwords>,
    mailboxes: &Arc<Mailboxes>,
    patience: Duration,
) -> io::Result<SyncSender<Question>> {
    let (questions, asked) = sync_channel(WAITING_MAX);
    let asked = Arc::new(Mutex::new(asked));
    // Half of the processors, so that the loops have theirs.
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    for _ in 0..(processors / 2).clamp(1, THREADS_MAX) {
        let checker = Checker {
            passwords: Arc::clone(passwords),
            mailboxes: Arc::clone(mailboxes),
            patience,
        };
        let asked = Arc::clone(&asked);
        thread::Builder::new().name("passwords".to_owned()).spawn(move || checker.run(&asked))?;
    }
    Ok(questions)
}

struct Checker {
    passwords: Arc<Passwords>,
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
        let is_right = self.passwords.verify(&question.user, &question.password);
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
    use noctule_broker::Now;
    use noctule_broker::{Settings, Shard};

    const ELSEWHERE: Origin = Origin { has_certificate: false, is_local: false };
    const HERE: Origin = Origin { has_certificate: false, is_local: true };
    const CERTIFIED: Origin = Origin { has_certificate: true, is_local: false };

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

    #[test]
    fn without_passwords_this_machine_and_certificates_are_trusted() {
        let gate = Gate { questions: None, allow_anonymous: false };
        let nobody = || somebody(None, None);
        assert_eq!(ask(&gate, nobody(), HERE), Some(Verdict::Accepted));
        assert_eq!(ask(&gate, nobody(), CERTIFIED), Some(Verdict::Accepted));
        assert_eq!(ask(&gate, nobody(), ELSEWHERE), Some(NOT_AUTHORIZED));
        let open = Gate { questions: None, allow_anonymous: true };
        assert_eq!(ask(&open, nobody(), ELSEWHERE), Some(Verdict::Accepted));
    }

    #[test]
    fn with_passwords_nobody_is_let_in_for_being_near() {
        let (questions, asked) = sync_channel(1);
        let gate = Gate { questions: Some(questions), allow_anonymous: false };
        assert_eq!(ask(&gate, somebody(None, None), HERE), Some(NOT_AUTHORIZED));
        assert_eq!(ask(&gate, somebody(None, None), CERTIFIED), Some(Verdict::Accepted));
        assert_eq!(ask(&gate, somebody(Some("a"), None), HERE), Some(BAD_PASSWORD));
        assert_eq!(ask(&gate, somebody(Some("a"), Some("b")), HERE), None, "a thread decides");
        assert_eq!(ask(&gate, somebody(Some("a"), Some("b")), HERE), Some(BUSY), "one may wait");
        assert_eq!(asked.iter().next().map(|question| question.user), Some("a".into()));
    }

    #[test]
    fn the_network_is_listened_to_only_with_a_guard() {
        let check = |change: fn(&mut Config)| {
            let mut config = Config { bind: vec!["0.0.0.0".parse().unwrap()], ..Config::default() };
            change(&mut config);
            check_openness(&config).map_err(|error| error.to_string())
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
}
