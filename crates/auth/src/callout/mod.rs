//! Asking somebody else over HTTP who may come in.
//!
//! One question is one POST, whose body names the client ([`Asked`]), and whose answer is
//! [`Answer`] or a failure. A failure is never an answer: whoever asks must not let anybody in for it.
//! When to ask, how many at once and for how long to believe an answer is not decided here; the
//! [`Breaker`] and [`Remembered`] help to. Nothing of a question is ever part of a message.

mod answer;
mod breaker;
mod remembered;
mod request;

pub use answer::Answer;
pub use breaker::{Breaker, Turn};
pub use remembered::Remembered;
pub use request::{Asked, BodyFormat};

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Error};

/// Whom to ask, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalloutOptions {
    /// Where: `http://` or `https://`, without user name and password.
    pub url: String,
    /// How the question is written.
    pub format: BodyFormat,
    /// PEM file with the CAs of which one has to have signed the other's certificate; none are those
    /// that the machine trusts. For `https://` alone.
    pub ca: Option<PathBuf>,
    /// How long an answer may take, from the first byte of the connection to the last of the answer.
    pub timeout: Duration,
    /// How many connections are kept for the next question.
    pub connections_max: usize,
}

/// Somebody who is asked over HTTP. Asking blocks.
#[derive(Debug)]
pub struct Callout {
    url: Uri,
    format: BodyFormat,
    agent: Agent,
}

/// Why nobody can be asked as the options say.
#[derive(Debug)]
pub enum CalloutProblem {
    /// The URL is none, or not of HTTP.
    Url(&'static str),
    /// The file with CAs cannot be used.
    Ca(PathBuf, String),
    /// A CA is named and the URL is not of HTTPS.
    CaUnused,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CalloutFailure {
    /// It took too long.
    TimedOut,
    /// Nobody could be reached, or the connection broke.
    Unreachable(String),
    /// The certificate was not that of somebody who is trusted, or TLS failed otherwise.
    NotTrusted(String),
    /// An answer with this status, which says neither yes nor no.
    Status(u16),
    /// An answer that is not understood.
    NoAnswer,
    /// The question cannot be written: a password that is not text, as JSON.
    NotText,
}

/// Longer answers are not read: they are none.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;
/// Headers of an answer are not longer than that.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Connections that were quiet for longer are not used again: most servers close them then.
const IDLE: Duration = Duration::from_secs(4);

impl Callout {
    /// Prepares to ask as the options say. Nothing is sent yet.
    ///
    /// # Errors
    /// [`CalloutProblem`].
    pub fn new(options: &CalloutOptions) -> Result<Self, CalloutProblem> {
        let url = read_url(&options.url)?;
        let is_tls = url.scheme_str() == Some("https");
        let roots = match &options.ca {
            Some(_) if !is_tls => return Err(CalloutProblem::CaUnused),
            Some(path) => read_ca(path)?,
            None if is_tls => machine_roots(),
            None => Vec::new(),
        };
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(options.timeout))
            .http_status_as_error(false)
            // Whoever is asked answers himself: the question holds a password.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // Nor does the environment say by whom it travels.
            .proxy(None)
            .user_agent("noctule")
            .accept("application/json, text/plain")
            .max_response_header_size(HEADER_BYTES_MAX)
            .max_idle_connections(options.connections_max)
            .max_idle_connections_per_host(options.connections_max)
            .max_idle_age(IDLE)
            .build()
            .new_agent();
        Ok(Self { url, format: options.format, agent })
    }

    /// Whether passwords travel in the clear to another machine.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        let host = self.url.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_near = host == "localhost"
            || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        self.url.scheme_str() == Some("http") && !is_near
    }

    /// Whether the question can be written at all: as JSON a password has to be UTF-8.
    #[must_use]
    pub fn can_say(&self, asked: &Asked<'_>) -> bool {
        asked.written(self.format).is_some()
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`CalloutFailure`]: nobody is to be let in for it.
    pub fn ask(&self, asked: &Asked<'_>) -> Result<Answer, CalloutFailure> {
        let body = asked.written(self.format).ok_or(CalloutFailure::NotText)?;
        let sent = self
            .agent
            .post(&self.url)
            .content_type(self.format.content_type())
            .send(body.as_slice());
        let mut response = sent.map_err(CalloutFailure::of)?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        match body {
            Ok(body) => Answer::read(status, &body),
            Err(Error::BodyExceedsLimit(_)) => Err(CalloutFailure::NoAnswer),
            Err(error) => Err(CalloutFailure::of(error)),
        }
    }
}

impl CalloutFailure {
    fn of(error: Error) -> Self {
        match error {
            Error::Timeout(_) => Self::TimedOut,
            Error::Tls(what) => Self::NotTrusted(what.to_owned()),
            Error::Rustls(error) => Self::NotTrusted(error.to_string()),
            Error::Io(error) => match error.get_ref().and_then(|it| it.downcast_ref()) {
                Some(error @ rustls::Error::InvalidCertificate(_)) => {
                    Self::NotTrusted(error.to_string())
                }
                _ => Self::Unreachable(error.to_string()),
            },
            Error::HostNotFound => Self::Unreachable("its host name is not known".to_owned()),
            Error::ConnectionFailed => Self::Unreachable("no connection".to_owned()),
            // What has come is not HTTP, or more than a header may be.
            _ => Self::NoAnswer,
        }
    }

    /// Whether it says that whoever is asked had better be left alone for a while. An answer that is
    /// wrong is none of these: it may be about one client alone, who must not keep out the others.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::TimedOut | Self::Unreachable(_) | Self::NotTrusted(_) => true,
            Self::Status(status) => matches!(status, 408 | 429 | 502 | 503 | 504),
            Self::NoAnswer | Self::NotText => false,
        }
    }
}

fn read_url(text: &str) -> Result<Uri, CalloutProblem> {
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return Err(CalloutProblem::Url("it has to begin with http:// or https://"));
    }
    let url: Uri = text.parse().map_err(|_| CalloutProblem::Url("it is no URL"))?;
    match url.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            Err(CalloutProblem::Url("it must not hold a user name or password"))
        }
        Some(authority) if !authority.host().is_empty() => Ok(url),
        _ => Err(CalloutProblem::Url("it names no host")),
    }
}

fn read_ca(path: &Path) -> Result<Vec<Certificate<'static>>, CalloutProblem> {
    let problem = |what: String| CalloutProblem::Ca(path.to_owned(), what);
    let pem = fs::read(path).map_err(|error| problem(error.to_string()))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        let item = item.map_err(|_| problem("it is not PEM".to_owned()))?;
        if let PemItem::Certificate(certificate) = item {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(problem("it has no certificate".to_owned()));
    }
    Ok(found)
}

/// What the machine trusts; without any nobody is trusted, which every question then says.
fn machine_roots() -> Vec<Certificate<'static>> {
    let loaded = rustls_native_certs::load_native_certs();
    loaded.certs.iter().map(|it| Certificate::from_der(it).to_owned()).collect()
}

impl fmt::Display for CalloutProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(what) => write!(f, "the URL in `http_auth_url` cannot be used: {what}"),
            Self::Ca(path, what) => {
                write!(f, "the file {} in `http_auth_ca` cannot be used: {what}", path.display())
            }
            Self::CaUnused => f.write_str(
                "`http_auth_ca` is for https://, and `http_auth_url` begins with http://",
            ),
        }
    }
}

impl std::error::Error for CalloutProblem {}

impl fmt::Display for CalloutFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Unreachable(why) => write!(f, "not reachable: {why}"),
            Self::NotTrusted(why) => write!(f, "not trusted: {why}"),
            Self::Status(status) => write!(f, "an answer with status {status}"),
            Self::NoAnswer => f.write_str("an answer that says neither allow nor deny"),
            Self::NotText => {
                f.write_str("a password that is not UTF-8 cannot be asked about as JSON")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str) -> CalloutOptions {
        CalloutOptions {
            url: url.to_owned(),
            format: BodyFormat::Json,
            ca: None,
            timeout: Duration::from_secs(1),
            connections_max: 1,
        }
    }

    fn problem(url: &str) -> String {
        Callout::new(&options(url)).unwrap_err().to_string()
    }

    #[test]
    fn urls_that_cannot_be_used_are_said() {
        assert!(problem("http://a b/").contains("no URL"));
        assert!(problem("ftp://a/").contains("begin with http"));
        assert!(problem("a.example/x").contains("begin with http"));
        let said = problem("http://anna:secret@a.example/");
        assert!(said.contains("must not hold") && !said.contains("secret"), "{said}");
        let with_ca = CalloutOptions { ca: Some("ca.pem".into()), ..options("http://a.example/") };
        assert!(matches!(Callout::new(&with_ca), Err(CalloutProblem::CaUnused)));
        let nowhere = CalloutOptions { ca: Some("/no/ca".into()), ..options("https://a.example/") };
        assert!(Callout::new(&nowhere).unwrap_err().to_string().contains("/no/ca"));
    }

    #[test]
    fn passwords_in_the_clear_are_noticed() {
        let is_exposed = |url| Callout::new(&options(url)).unwrap().is_exposed();
        assert!(is_exposed("http://auth.example/"));
        assert!(is_exposed("http://192.0.2.1:80/"));
        for near in
            ["http://127.0.0.1:9/a", "http://[::1]/", "http://localhost/", "https://a.example/"]
        {
            assert!(!is_exposed(near), "{near}");
        }
    }

    #[test]
    fn only_outages_count_as_such() {
        assert!(CalloutFailure::TimedOut.is_outage());
        assert!(CalloutFailure::Status(503).is_outage());
        assert!(!CalloutFailure::Status(500).is_outage());
        assert!(!CalloutFailure::NoAnswer.is_outage());
    }
}
