//! From a configuration to the guards of its listeners: which methods there are, in which order, and
//! what of it contradicts itself.
//!
//! What methods do is not known here. Invariant: a guard that was made asks whoever the network
//! reaches who he is, unless the configuration says that it need not.

use super::callers::{Callers, CallersPlan};
use super::checkers::{Answers, Checkers};
use super::guard::{Guard, Method};
use super::passwords::Passwords;
use super::tokens::Tokens;
use crate::options::{AuthMethod, CertificateUser, ClientAuth, Config, Listener};
use crate::run::StartError;
use noctule_cert::IdentityField;
use std::path::Path;
use std::sync::Arc;

/// Makes guards, and takes over what others have in use.
pub(super) struct Maker<'a> {
    /// Those that are in use, or were made.
    pub(super) known: Vec<Arc<Guard>>,
    /// Once they are needed.
    pub(super) checkers: Option<&'a Checkers>,
    pub(super) answers: &'a Answers,
}

/// Whether a configuration asks clients for something that takes time to check.
pub(super) fn asks(config: &Config) -> bool {
    config.password_file.get().is_some()
        || config.jwt_keys.get().is_some()
        || !config.http_auth_url.is_empty()
}

impl Maker<'_> {
    /// The guard that a listener asks for.
    ///
    /// # Errors
    /// [`StartError`]: a file or a URL cannot be used, the configuration contradicts itself, or anybody
    /// could come in unasked.
    pub(super) fn guard(&self, listener: &Listener) -> Result<Guard, StartError> {
        check_openness(listener)?;
        check_methods(listener)?;
        let config = &listener.config;
        let wanted = config.auth_methods.written().unwrap_or(&AuthMethod::ALL);
        let mut methods = Vec::new();
        for method in wanted {
            methods.extend(self.method(*method, config)?);
        }
        let mut guard = Guard {
            methods,
            believes_proxies: config.proxy_certificates,
            trusts_this_machine: false,
        };
        guard.trusts_this_machine = config.auth_methods.written().is_none() && !guard.asks();
        Ok(guard)
    }

    /// A method, if the configuration has what it needs.
    fn method(&self, method: AuthMethod, config: &Config) -> Result<Option<Method>, StartError> {
        Ok(match method {
            AuthMethod::Certificate => Some(Method::Certificate(field(config.certificate_user))),
            AuthMethod::Jwt => match config.jwt_keys.get() {
                None => None,
                Some(path) => Some(Method::Tokens(Arc::new(Tokens::watch(path, config)?))),
            },
            AuthMethod::PasswordFile => match config.password_file.get() {
                None => None,
                Some(path) => Some(Method::Passwords(self.passwords(path)?)),
            },
            AuthMethod::Http => match (CallersPlan::of(config), self.checkers) {
                (Some(plan), Some(checkers)) => Some(Method::Http(self.callers(plan, checkers)?)),
                _ => None,
            },
            AuthMethod::Anonymous => {
                let is_wanted = config.allow_anonymous || config.auth_methods.names(method);
                is_wanted.then_some(Method::Anonymous)
            }
        })
    }

    fn passwords(&self, path: &Path) -> Result<Arc<Passwords>, StartError> {
        let mut known = self.known.iter().flat_map(|guard| guard.passwords());
        match known.find(|known| known.is_at(path)) {
            Some(known) => Ok(Arc::clone(known)),
            None => Passwords::watch(path).map(Arc::new),
        }
    }

    fn callers(&self, plan: CallersPlan, checkers: &Checkers) -> Result<Arc<Callers>, StartError> {
        let mut known = self.known.iter().flat_map(|guard| guard.callers());
        match known.find(|known| known.follow(&plan)) {
            Some(known) => Ok(Arc::clone(known)),
            None => Callers::start(plan, checkers, self.answers).map(Arc::new),
        }
    }
}

fn field(user: CertificateUser) -> Option<IdentityField> {
    match user {
        CertificateUser::None => None,
        CertificateUser::CommonName => Some(IdentityField::CommonName),
        CertificateUser::Subject => Some(IdentityField::Subject),
        CertificateUser::AlternativeName => Some(IdentityField::AlternativeName),
    }
}

/// Who names the methods has what they need, and means what he says.
fn check_methods(listener: &Listener) -> Result<(), StartError> {
    let config = &listener.config;
    let Some(written) = config.auth_methods.written() else {
        return Ok(());
    };
    let lacks = |method: AuthMethod, what: &str| {
        let word = method.word();
        Err(StartError::Methods(format!("`auth_methods` names `{word}`, and {what}")))
    };
    for method in written {
        match method {
            AuthMethod::Certificate if !may_show_certificates(listener) => {
                return lacks(
                    *method,
                    "clients cannot show a certificate: that takes TLS and a `client_ca`, or \
                     `proxy_certificates`",
                );
            }
            AuthMethod::Jwt if config.jwt_keys.get().is_none() => {
                return lacks(*method, "there is no `jwt_keys`");
            }
            AuthMethod::PasswordFile if config.password_file.get().is_none() => {
                return lacks(*method, "there is no `password_file`");
            }
            AuthMethod::Http if config.http_auth_url.is_empty() => {
                return lacks(*method, "there is no `http_auth_url`");
            }
            _ => {}
        }
    }
    if config.allow_anonymous && !config.auth_methods.names(AuthMethod::Anonymous) {
        return Err(StartError::Methods(
            "`allow_anonymous` is on, and `auth_methods` does not name `anonymous`: say which is meant"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Whether clients may have certificates there. Of the usual listeners the one with TLS is enough:
/// they are meant as one.
fn may_show_certificates(listener: &Listener) -> bool {
    let config = &listener.config;
    let by_tls = has_tls(listener) && config.client_ca.get().is_some();
    by_tls || config.proxy_certificates
}

fn has_tls(listener: &Listener) -> bool {
    listener.transport().is_tls() || (!listener.is_written && listener.config.tls)
}

/// Who listens where the network reaches him asks who somebody is, unless he was told not to. Of the
/// usual listeners the one with TLS guards the others: they are meant as one.
pub(super) fn check_openness(listener: &Listener) -> Result<(), StartError> {
    let config = &listener.config;
    let asks_for_certificates = has_tls(listener)
        && config.client_ca.get().is_some()
        && config.client_auth == ClientAuth::Required;
    let proxies_ask = config.proxies_only && config.proxy_certificates;
    if listener.unix_path().is_some() {
        // The permissions of its file say who may come.
        return Ok(());
    }
    // Methods that are named are meant, `anonymous` too.
    let is_guarded = asks_for_certificates
        || proxies_ask
        || asks(config)
        || config.auth_methods.written().is_some();
    match config.bind.iter().find(|address| !address.is_loopback()) {
        Some(address) if !is_guarded && !config.allow_anonymous => {
            Err(StartError::Open { address: *address, is_written: listener.is_written })
        }
        _ => Ok(()),
    }
}
