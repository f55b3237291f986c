//! Who may connect: anybody, whoever shows a certificate, or whoever knows a password.
//!
//! What can be decided without a password is decided at once, and so is whoever proves that it knows
//! its password by SCRAM. A password that is said is checked by threads of their own; the loop goes
//! on, and the verdict comes as a letter. When too many wait, a client is told that the broker is
//! busy. What a client may *do* is not decided here.

mod checkers;
mod exchange;
mod passwords;

use crate::mailboxes::Mailboxes;
use crate::options::{ClientAuth, Config};
use crate::run::StartError;
use checkers::{Checkers, Question};
pub(crate) use exchange::Begun;
use noctule_broker::{ConnectionHandle, Credentials, Event, Verdict};
use noctule_mqtt::ReasonCode;
use passwords::Passwords;
use std::sync::Arc;

/// Decides who may connect. Shared by all loops.
#[derive(Debug)]
pub(crate) struct Gate {
    guard: Option<Guard>,
    allow_anonymous: bool,
}

/// What users are known by.
#[derive(Debug)]
struct Guard {
    passwords: Arc<Passwords>,
    checkers: Checkers,
}

/// What is known of a connection besides what it says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// It has shown a certificate that was found valid.
    pub(crate) has_certificate: bool,
    /// It comes from this machine.
    pub(crate) is_local: bool,
}

impl Gate {
    /// The gate that the configuration asks for. Verdicts that take time come through `mailboxes`.
    ///
    /// # Errors
    /// [`StartError`]: the password file cannot be used, or anybody could come in unasked.
    pub(crate) fn open(config: &Config, mailboxes: &Arc<Mailboxes>) -> Result<Self, StartError> {
        check_openness(config)?;
        let guard = match config.password_file.get() {
            None => None,
            Some(path) => {
                let passwords = Arc::new(Passwords::watch(path)?);
                let patience = config.limits.connect_timeout;
                let started = Checkers::start(&passwords, mailboxes, patience);
                let failed = |error| StartError::System { what: "start a thread", error };
                Some(Guard { passwords, checkers: started.map_err(failed)? })
            }
        };
        Ok(Self { guard, allow_anonymous: config.allow_anonymous })
    }

    /// The answer to a connection that asks to be let in, or none if it comes as a letter. `begun` is
    /// the connection's, for exchanges of several steps.
    pub(crate) fn ask(
        &self,
        credentials: Credentials,
        origin: Origin,
        begun: &mut Begun,
        asker: (usize, ConnectionHandle),
    ) -> Option<Event> {
        let connection = asker.1;
        if let Some(said) = &credentials.enhanced {
            return Some(match &self.guard {
                Some(guard) => exchange::step(&guard.passwords, begun, said, connection),
                // No method is offered then.
                None => Event::Authenticated { connection, verdict: NOT_AUTHORIZED },
            });
        }
        let verdict = self.verdict(credentials, origin, asker)?;
        Some(Event::Authenticated { connection, verdict })
    }

    fn verdict(
        &self,
        credentials: Credentials,
        origin: Origin,
        asker: (usize, ConnectionHandle),
    ) -> Option<Verdict> {
        let Some(guard) = &self.guard else {
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
        guard.checkers.ask(Question { user, password, asker })
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
        gate.verdict(who, origin, (0, connection))
    }

    #[test]
    fn without_passwords_this_machine_and_certificates_are_trusted() {
        let gate = Gate { guard: None, allow_anonymous: false };
        let nobody = || somebody(None, None);
        assert_eq!(ask(&gate, nobody(), HERE), Some(Verdict::Accepted));
        assert_eq!(ask(&gate, nobody(), CERTIFIED), Some(Verdict::Accepted));
        assert_eq!(ask(&gate, nobody(), ELSEWHERE), Some(NOT_AUTHORIZED));
        let open = Gate { guard: None, allow_anonymous: true };
        assert_eq!(ask(&open, nobody(), ELSEWHERE), Some(Verdict::Accepted));
    }

    #[test]
    fn with_passwords_nobody_is_let_in_for_being_near() {
        let (checkers, mut asked) = checkers::tests::nobody(1);
        let passwords = Arc::new(Passwords::unwatched());
        let guard = Some(Guard { passwords, checkers });
        let gate = Gate { guard, allow_anonymous: false };
        assert_eq!(ask(&gate, somebody(None, None), HERE), Some(NOT_AUTHORIZED));
        assert_eq!(ask(&gate, somebody(None, None), CERTIFIED), Some(Verdict::Accepted));
        assert_eq!(ask(&gate, somebody(Some("a"), None), HERE), Some(BAD_PASSWORD));
        assert_eq!(ask(&gate, somebody(Some("a"), Some("b")), HERE), None, "a thread decides");
        assert_eq!(ask(&gate, somebody(Some("a"), Some("b")), HERE), Some(BUSY), "one may wait");
        assert_eq!(asked.next().map(|question| question.user), Some("a".into()));
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
