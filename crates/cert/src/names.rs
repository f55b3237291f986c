//! The names a certificate can carry: host names, IP addresses, and the name of a client.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustls_pki_types::DnsName;

/// The longest common name that X.509 allows, in characters (`ub-common-name`).
const COMMON_NAME_MAX: usize = 64;

/// A name that a server is reached by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// A host name in its ASCII form, perhaps with `*.` in front.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

/// Why a text is no [`Name`], with what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadName(String);

impl Name {
    /// The name as [`CertificateFacts::names`](crate::CertificateFacts::names) has it.
    #[must_use]
    pub fn described(&self) -> String {
        match self {
            Self::Dns(name) => format!("DNS {name}"),
            Self::Ip(address) => format!("IP {address}"),
        }
    }

    /// Reads a host name or an address.
    ///
    /// # Errors
    /// [`BadName`] says what was expected.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if let Ok(address) = text.trim_matches(['[', ']']).parse() {
            return Ok(Self::Ip(address));
        }
        let bare = text.strip_prefix("*.").unwrap_or(text);
        if DnsName::try_from(bare).is_ok() && !bare.ends_with('.') {
            return Ok(Self::Dns(text.to_ascii_lowercase()));
        }
        let shown = text.escape_debug();
        Err(BadName(if text.is_ascii() {
            format!(
                "expected a host name such as broker.example.org or *.example.org, or an IP \
                 address, found \"{shown}\""
            )
        } else {
            format!("expected a host name in its ASCII form (xn--…), found \"{shown}\"")
        }))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadName {}

/// Whether `text` can be a client's common name and a part of a file's name.
///
/// # Errors
/// [`BadName`] says what was expected.
pub fn check_common_name(text: &str) -> Result<(), BadName> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    let good = text.chars().all(fits)
        && !text.starts_with(['.', '-'])
        && (1..=COMMON_NAME_MAX).contains(&text.len());
    if good {
        return Ok(());
    }
    Err(BadName(format!(
        "expected 1 to {COMMON_NAME_MAX} letters, digits and . _ - @, beginning with none of . and \
         -, found \"{}\"",
        text.escape_debug()
    )))
}

/// What reaches this machine from itself: `localhost` and its addresses.
#[must_use]
pub fn loopback_names() -> Vec<Name> {
    vec![
        Name::Dns("localhost".to_owned()),
        Name::Ip(Ipv4Addr::LOCALHOST.into()),
        Name::Ip(Ipv6Addr::LOCALHOST.into()),
    ]
}

/// The name of this machine, if it is one that a certificate can carry.
#[must_use]
pub fn machine_name() -> Option<Name> {
    let system = rustix::system::uname();
    let name = system.nodename().to_str().ok()?;
    Name::parse(name).ok().filter(|name| !loopback_names().contains(name))
}

/// What a CA is called that is made on this machine.
#[must_use]
pub fn ca_name() -> String {
    const WORDS: &str = "Noctule CA";
    let named = machine_name().map(|name| format!("{WORDS} of {name}"));
    named.filter(|name| name.len() <= COMMON_NAME_MAX).unwrap_or_else(|| WORDS.to_owned())
}

/// The subject of a server: its first name that is short enough.
pub(crate) fn common_name(names: &[Name]) -> String {
    let fits = |name: &String| name.len() <= COMMON_NAME_MAX;
    names.iter().map(ToString::to_string).find(fits).unwrap_or_else(|| "server".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_and_addresses_are_told_apart() {
        assert_eq!(Name::parse("LocalHost"), Ok(Name::Dns("localhost".into())));
        assert_eq!(Name::parse("*.example.org"), Ok(Name::Dns("*.example.org".into())));
        assert_eq!(Name::parse("127.0.0.1"), Ok(Name::Ip("127.0.0.1".parse().unwrap())));
        assert_eq!(Name::parse("[::1]"), Ok(Name::Ip("::1".parse().unwrap())));
        for wrong in ["", "*", "a b", "a..b", "*.*.org", "host:8883", "-a", "a\u{1b}[2J", "a."] {
            let said = Name::parse(wrong).unwrap_err().to_string();
            assert!(said.contains("expected a host name") && !said.contains('\u{1b}'), "{said}");
        }
        assert!(Name::parse("bücher.example").unwrap_err().to_string().contains("xn--"));
    }

    #[test]
    fn a_clients_name_is_safe_as_a_file_name() {
        for good in ["sensor-1", "a@example.org", &"x".repeat(64)] {
            assert_eq!(check_common_name(good), Ok(()));
        }
        for wrong in ["", "../a", "a/b", ".a", "-a", "a b", "ä", &"x".repeat(65)] {
            assert!(check_common_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_common_name_is_short_enough() {
        let long = Name::Dns(format!("{}.example.org", "a".repeat(63)));
        assert_eq!(common_name(std::slice::from_ref(&long)), "server");
        assert_eq!(common_name(&[long, Name::Dns("b".into())]), "b");
    }
}
