//! Who may connect: anybody, whoever shows a certificate, or whoever knows a password.
//!
//! What can be decided without checking a password is decided at once: certificates, proofs by SCRAM,
//! and logins that were found right before. A password that has to be checked is checked by threads
//! of their own; the loop goes on, and the answer comes as a letter. When too many wait, a client is
//! told that the broker is busy; when it has been wrong too often, it has to wait, and then is refused.
//! What a client may *do* is not decided here.

mod chance;
mod checkers;
mod exchange;
mod failures;
mod passwords;
mod slowed;
mod tokens;
mod watched;

use crate::arrivals::Arrivals;
use crate::limits::arrival_rules;
use crate::mailboxes::Mailboxes;
use crate::options::{CertificateUser, ClientAuth, Config, Listener};
use crate::run::StartError;
use checkers::{Checkers, Claim, Question};
pub(crate) use exchange::Begun;
use failures::{Failures, Standing, Whom};
use noctule_auth::is_token;
use noctule_broker::{
    ConnectionHandle, Credentials, Enhanced, EntranceId, Event, Principal, Step, Verdict,
};
use noctule_cert::{IdentityField, identity};
use noctule_mqtt::ReasonCode;
use noctule_net::{AnnouncedCertificate, Peer, Source};
use passwords::Passwords;
use slowed::{Slowed, Then};
use std::io;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokens::Tokens;
use tracing::debug;

/// Decides who may connect. Shared by all loops.
#[derive(Debug)]
pub(crate) struct Gate {
    /// By the number of the listener.
    guards: RwLock<Vec<Guard>>,
    /// Once there is a password file.
    workers: OnceLock<Workers>,
    failures: Arc<Failures>,
    arrivals: Arc<Arrivals>,
    mailboxes: Arc<Mailboxes>,
    /// How long somebody may wait for an answer.
    patience: Duration,
}

/// Who may connect at one listener.
#[derive(Debug, Clone)]
struct Guard {
    /// If clients have to give a user's.
    passwords: Option<Arc<Passwords>>,
    /// If tokens are taken in place of passwords.
    tokens: Option<Arc<Tokens>>,
    /// If a certificate says who its holder is.
    identity: Option<IdentityField>,
    /// If what proxies say of certificates counts.
    believes_proxies: bool,
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
    /// The certificate that a proxy says the client has shown, and that the proxy found valid.
    pub(crate) announced: Option<&'a AnnouncedCertificate>,
    /// Where it comes from.
    pub(crate) peer: Peer,
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
            arrivals: Arc::default(),
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
        if guards.iter().any(Guard::asks) && self.workers.get().is_none() {
            let failed = |error| StartError::System { what: "start a thread", error };
            // Nobody else starts them: configurations are taken up one after another.
            let _ = self.workers.set(Workers::start(self).map_err(failed)?);
        }
        *self.guards.write().unwrap_or_else(PoisonError::into_inner) = guards;
        self.arrivals.set(arrival_rules(config));
        Ok(())
    }

    /// Those who come, before anything is known of them.
    pub(crate) fn arrivals(&self) -> &Arc<Arrivals> {
        &self.arrivals
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
        if !guard.asks() {
            return Some(guard.without_passwords(origin));
        }
        let Credentials { client_id, user_name: user, password, .. } = credentials;
        let (source, tokens) = (origin.peer.source(), guard.tokens.as_ref());
        let password = match (password, tokens) {
            (Some(token), Some(tokens)) if is_token(&token) => {
                let claim = Claim::Token { tokens: Arc::clone(tokens), user, token, client_id };
                return self.check(claim, source, asker);
            }
            (password, _) => password,
        };
        let Some(user) = user else {
            let accepted = guard.has_certificate(origin) || guard.allow_anonymous;
            return Some(if accepted { Verdict::Accepted } else { NOT_AUTHORIZED });
        };
        // Nobody's password is no password; that needs no time, as it says nothing about the user.
        let (Some(password), Some(passwords)) = (password, &guard.passwords) else {
            return Some(BAD_PASSWORD);
        };
        if passwords.knows(&user, &password) {
            return Some(Verdict::Accepted);
        }
        let claim = Claim::Password { passwords: Arc::clone(passwords), user, password };
        self.check(claim, source, asker)
    }

    /// Has a password or a token checked, at once or later; or says why not.
    fn check(
        &self,
        claim: Claim,
        source: Source,
        asker: (usize, ConnectionHandle),
    ) -> Option<Verdict> {
        let Some(workers) = self.workers.get() else {
            return Some(BUSY);
        };
        let key = self.failures.claim(source, claim.whom());
        let question = Question { claim, source, key, asker };
        match self.failures.standing(key, Instant::now()) {
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
        let user_of = |begun: &Begun| begun.as_ref().map(|exchange| exchange.user().to_owned());
        // The first step says who it is to be, the next one proves it and ends the exchange.
        let user = user_of(begun).filter(|_| said.step == Step::Next);
        let answer = exchange::step(passwords, begun, said, connection);
        let user = user.or_else(|| user_of(begun)).unwrap_or_default();
        let source = origin.peer.source();
        let key = self.failures.claim(source, Whom::User(&user));
        let standing = self.failures.standing(key, Instant::now());
        if standing == Standing::Refused {
            *begun = None;
            return refused(TOO_OFTEN);
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                debug!("{error}");
                checkers::note(&self.failures, key, source);
                return refused(NOT_AUTHORIZED);
            }
        };
        if matches!(answer, Event::Proven { .. }) {
            self.failures.forgive(key, Instant::now());
        }
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
    /// Whether clients are asked who they are.
    fn asks(&self) -> bool {
        self.passwords.is_some() || self.tokens.is_some()
    }

    /// Without a password file this machine is trusted, as nobody else is listened to unless that
    /// is meant, or clients have certificates.
    fn without_passwords(&self, origin: Origin<'_>) -> Verdict {
        let is_local = origin.peer.is_on_this_machine();
        let accepted = self.has_certificate(origin) || is_local || self.allow_anonymous;
        if accepted { Verdict::AcceptedUnasked } else { NOT_AUTHORIZED }
    }

    /// Whether the client has shown a certificate, here or to a proxy that is believed.
    fn has_certificate(&self, origin: Origin<'_>) -> bool {
        origin.certificate.is_some() || self.announced(origin).is_some()
    }

    /// The certificate of which a proxy has told, if it is believed.
    fn announced<'a>(&self, origin: Origin<'a>) -> Option<&'a AnnouncedCertificate> {
        origin.announced.filter(|_| self.believes_proxies)
    }

    /// What follows from a client's certificate, if certificates say who their holders are.
    fn named(&self, origin: Origin<'_>) -> Option<Verdict> {
        let field = self.identity?;
        let name = match (origin.certificate, self.announced(origin)) {
            (Some(certificate), _) => identity(certificate, field),
            // A proxy says no more of it than that.
            (None, Some(announced)) if field == IdentityField::CommonName => {
                let name = announced.common_name.as_deref().filter(|name| !name.is_empty());
                name.map(str::to_owned)
            }
            (None, Some(_)) => None,
            (None, None) => return None,
        };
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
    let tokens = match config.jwt_keys.get() {
        None => None,
        Some(path) => Some(Arc::new(Tokens::watch(path, config)?)),
    };
    let believes_proxies = config.proxy_certificates;
    let allow_anonymous = config.allow_anonymous;
    Ok(Guard { passwords, tokens, identity, believes_proxies, allow_anonymous })
}

/// Who listens where the network reaches him asks who somebody is, unless he was told not to. Of the
/// usual listeners the one with TLS guards the others: they are meant as one.
fn check_openness(listener: &Listener) -> Result<(), StartError> {
    let config = &listener.config;
    let is_tls = listener.transport().is_tls() || (!listener.is_written && config.tls);
    let asks_for_certificates =
        is_tls && config.client_ca.get().is_some() && config.client_auth == ClientAuth::Required;
    let proxies_ask = config.proxies_only && config.proxy_certificates;
    if listener.unix_path().is_some() {
        // The permissions of its file say who may come.
        return Ok(());
    }
    let is_guarded = asks_for_certificates
        || proxies_ask
        || config.password_file.get().is_some()
        || config.jwt_keys.get().is_some();
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
const OTHER_CLIENT: Verdict = Verdict::Refused(ReasonCode::ClientIdentifierNotValid);
const TOO_OFTEN: Verdict = Verdict::Refused(ReasonCode::ConnectionRateExceeded);

#[cfg(test)]
mod tests;
