//! Who may connect at one listener: a chain of methods, each of which lets a client in, refuses it, or
//! does not know it, so that the next one is asked.
//!
//! ```text
//!            ┌── decides ──────────────────────────────► verdict
//! method 1 ──┼── does not know it ──► method 2 ── … ───► nobody knows it: refused
//!            └── has to work ──► a thread: decides, or does not know it ──► method 2
//! ```
//!
//! What is decided at once is decided here, in microseconds; how work is done is not known here.
//! Invariant: who is known by no method is refused, and a method that fails lets nobody in.

use super::callers::Callers;
use super::failures::Whom;
use super::passwords::Passwords;
use super::tokens::Tokens;
use super::{BAD_PASSWORD, NOT_AUTHORIZED, Origin};
use noctule_auth::is_token;
use noctule_broker::{ConnectionHandle, Credentials, Principal, Verdict};
use noctule_cert::{IdentityField, identity};
use noctule_net::{AnnouncedCertificate, Peer, Source};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Who may connect at one listener.
#[derive(Debug)]
pub(super) struct Guard {
    /// In the order in which they are asked.
    pub(super) methods: Vec<Method>,
    /// If what proxies say of certificates counts.
    pub(super) believes_proxies: bool,
    /// If nobody is asked who he is, as nothing else was said: this machine may come in.
    pub(super) trusts_this_machine: bool,
}

/// A way to find out who a client is.
#[derive(Debug)]
pub(super) enum Method {
    /// By its certificate, and what of that is its name, if anything is.
    Certificate(Option<IdentityField>),
    Tokens(Arc<Tokens>),
    Passwords(Arc<Passwords>),
    Http(Arc<Callers>),
    /// Not at all, if it does not say who it is.
    Anonymous,
}

/// A client that wants to come in, with all that a method may want to know of it.
pub(super) struct Login {
    pub(super) guard: Arc<Guard>,
    pub(super) client_id: Box<str>,
    pub(super) user: Option<Box<str>>,
    pub(super) password: Option<Box<[u8]>>,
    shown: Shown,
    peer: Peer,
    /// When it came.
    pub(super) since: Instant,
    /// A method has looked for it and does not know it: if nobody does, that may have been a guess.
    pub(super) may_be_guess: bool,
    /// Which loop wants to know, and about whom.
    pub(super) asker: (usize, ConnectionHandle),
}

/// What a client's certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shown {
    /// There is none.
    Nothing,
    /// It is valid, and names are not asked for.
    Valid,
    Name(Box<str>),
    /// A name is asked for, and it has none.
    Nobody,
}

/// What a method says of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Opinion {
    /// It may come in, or not.
    Decided(Verdict),
    /// It has to work for that.
    Works,
    /// It does not know the client.
    Unknown,
}

/// What a guard says of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    Verdict(Verdict),
    /// The method at this place has to work.
    Work(usize),
}

/// A password is part of nothing that is shown.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

impl Login {
    pub(super) fn new(
        guard: &Arc<Guard>,
        credentials: Credentials,
        origin: Origin<'_>,
        asker: (usize, ConnectionHandle),
    ) -> Self {
        let Credentials { client_id, user_name: user, password, .. } = credentials;
        Self {
            guard: Arc::clone(guard),
            client_id,
            user,
            password,
            shown: guard.shown(origin),
            peer: origin.peer,
            since: Instant::now(),
            may_be_guess: false,
            asker,
        }
    }

    /// What it counts with when it fails.
    pub(super) fn source(&self) -> Source {
        self.peer.source()
    }

    /// Whom it says to be: the bearer of a token, a user, or else whoever has its client identifier.
    pub(super) fn whom(&self) -> Whom<'_> {
        match &self.password {
            Some(token) if self.shows_token() => Whom::Token(token),
            _ => self.user.as_deref().map_or(Whom::Client(&self.client_id), Whom::User),
        }
    }

    /// The address from which it comes, if it has one of its own.
    pub(super) fn host(&self) -> Option<String> {
        match self.peer {
            Peer::Address(address) => Some(address.ip().to_canonical().to_string()),
            Peer::Local { .. } | Peer::Behind(_) => None,
        }
    }
}

impl Guard {
    /// Whether clients are asked who they are.
    pub(super) fn asks(&self) -> bool {
        self.methods.iter().any(Method::asks)
    }

    /// What can be said at once of a client by the methods from a place on.
    pub(super) fn look(&self, login: &Login, from: usize) -> Finding {
        for (at, method) in self.methods.iter().enumerate().skip(from) {
            match method.look(login) {
                Opinion::Decided(verdict) => return Finding::Verdict(verdict),
                Opinion::Works => return Finding::Work(at),
                Opinion::Unknown => {}
            }
        }
        Finding::Verdict(self.last_word(login))
    }

    /// What becomes of a client that need not say who it is.
    fn welcome(&self) -> Verdict {
        if self.asks() { Verdict::Accepted } else { Verdict::AcceptedUnasked }
    }

    /// Nobody knows it.
    fn last_word(&self, login: &Login) -> Verdict {
        if self.trusts_this_machine && login.peer.is_on_this_machine() {
            return self.welcome();
        }
        if login.user.is_some() && self.asks() { BAD_PASSWORD } else { NOT_AUTHORIZED }
    }

    /// The passwords that a client may prove to know, if no method before them can settle who it is:
    /// its certificate, or somebody who is asked over HTTP, who could refuse it and cannot be asked
    /// about a proof.
    pub(super) fn provable(&self, origin: Origin<'_>) -> Option<&Arc<Passwords>> {
        let place = |is_it: fn(&Method) -> bool| self.methods.iter().position(is_it);
        let at = place(|method| matches!(method, Method::Passwords(_)))?;
        let certificate = place(|method| matches!(method, Method::Certificate(_)));
        let asked = place(|method| matches!(method, Method::Http(_)));
        let is_settled = asked.is_some_and(|before| before < at)
            || certificate.is_some_and(|before| before < at)
                && matches!(self.shown(origin), Shown::Name(_) | Shown::Nobody);
        match &self.methods[at] {
            Method::Passwords(passwords) if !is_settled => Some(passwords),
            _ => None,
        }
    }

    pub(super) fn passwords(&self) -> impl Iterator<Item = &Arc<Passwords>> {
        self.methods.iter().filter_map(|method| match method {
            Method::Passwords(passwords) => Some(passwords),
            _ => None,
        })
    }

    pub(super) fn callers(&self) -> impl Iterator<Item = &Arc<Callers>> {
        self.methods.iter().filter_map(|method| match method {
            Method::Http(callers) => Some(callers),
            _ => None,
        })
    }

    /// What the certificate of a client says, shown here or to a proxy that is believed.
    fn shown(&self, origin: Origin<'_>) -> Shown {
        let field = self.methods.iter().find_map(|method| match method {
            Method::Certificate(field) => Some(*field),
            _ => None,
        });
        let Some(field) = field else {
            return Shown::Nothing;
        };
        let announced = origin.announced.filter(|_| self.believes_proxies);
        let name = match (origin.certificate, announced, field) {
            (None, None, _) => return Shown::Nothing,
            (_, _, None) => return Shown::Valid,
            (Some(certificate), _, Some(field)) => identity(certificate, field),
            (None, Some(announced), Some(field)) => announced_name(announced, field),
        };
        name.map_or(Shown::Nobody, |name| Shown::Name(name.into()))
    }
}

/// The name in a certificate of which a proxy has told: it says no more of it than the common name.
fn announced_name(announced: &AnnouncedCertificate, field: IdentityField) -> Option<String> {
    let name = announced.common_name.as_deref().filter(|name| !name.is_empty());
    name.filter(|_| field == IdentityField::CommonName).map(str::to_owned)
}

impl Method {
    /// Whether it wants to know something of a client that others have to keep secret.
    fn asks(&self) -> bool {
        matches!(self, Self::Tokens(_) | Self::Passwords(_) | Self::Http(_))
    }

    /// What it says of a client at once.
    fn look(&self, login: &Login) -> Opinion {
        // Where nobody is asked, a name is what the client says it is.
        let says_nothing = login.user.is_none() || !login.guard.asks();
        match self {
            Self::Certificate(_) => match &login.shown {
                Shown::Name(name) => {
                    Opinion::Decided(Verdict::AcceptedAs(Principal::user(name.clone())))
                }
                Shown::Nobody => Opinion::Decided(NOT_AUTHORIZED),
                Shown::Valid if says_nothing && !login.shows_token() => {
                    Opinion::Decided(login.guard.welcome())
                }
                Shown::Valid | Shown::Nothing => Opinion::Unknown,
            },
            Self::Tokens(_) if login.shows_token() => Opinion::Works,
            Self::Passwords(passwords) => match (&login.user, &login.password) {
                (Some(user), Some(password)) if passwords.knows(user, password) => {
                    Opinion::Decided(Verdict::Accepted)
                }
                (Some(_), Some(_)) => Opinion::Works,
                // Nobody's password is no password; that needs no time, as it says nothing of the user.
                _ => Opinion::Unknown,
            },
            Self::Http(callers) if callers.knows(login) => Opinion::Decided(Verdict::Accepted),
            Self::Http(_) => Opinion::Works,
            Self::Anonymous if says_nothing => Opinion::Decided(login.guard.welcome()),
            Self::Tokens(_) | Self::Anonymous => Opinion::Unknown,
        }
    }
}

impl Login {
    /// Whether it gives a token for a password, and tokens are taken.
    fn shows_token(&self) -> bool {
        let takes_them = self.guard.methods.iter().any(|it| matches!(it, Method::Tokens(_)));
        takes_them && self.password.as_deref().is_some_and(is_token)
    }
}
