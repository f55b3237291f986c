//! Where a broker is: host, port and whether the connection is encrypted, also as a URL.
//!
//! Nothing is resolved here; a name is looked up for each attempt to connect.

use std::fmt;

/// Where a broker is, with what else a URL may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Host name or IP address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The user name in the URL.
    pub user_name: Option<String>,
    /// The password in the URL.
    pub password: Option<String>,
    /// The path of the URL without its first slash: by convention a topic.
    pub topic: Option<String>,
}

/// Why a URL is none of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AddressError {}

/// The port of MQTT over TCP.
pub(crate) const PORT: u16 = 1883;
/// The port of MQTT over TLS.
pub(crate) const TLS_PORT: u16 = 8883;

impl Address {
    /// This host and port, not encrypted.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port, tls: false, user_name: None, password: None, topic: None }
    }

    /// Reads `mqtt://[user[:password]@]host[:port][/topic]`, `mqtts://…` for TLS. Without a port it
    /// is 1883, with TLS 8883. `%40` stands for `@` in user name and password, and so on.
    ///
    /// # Errors
    /// What is wrong with the URL, and the form that was expected.
    ///
    /// ```
    /// let address = noctule_client::Address::from_url("mqtts://me@example.org/a/b")?;
    /// assert_eq!((address.port, address.topic.as_deref()), (8883, Some("a/b")));
    /// # Ok::<(), noctule_client::AddressError>(())
    /// ```
    pub fn from_url(url: &str) -> Result<Self, AddressError> {
        let wrong = |what: &str| AddressError(format!("the URL \"{url}\" {what}; {FORM}"));
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("has no scheme"))?;
        let tls = match scheme {
            "mqtt" => false,
            "mqtts" => true,
            _ => return Err(wrong("begins with neither mqtt:// nor mqtts://")),
        };
        let (authority, topic) = match rest.split_once('/') {
            Some((authority, topic)) => (authority, Some(topic)),
            None => (rest, None),
        };
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        let (host, port) = split_port(place).ok_or_else(|| wrong("has no valid port"))?;
        if host.is_empty() {
            return Err(wrong("names no host"));
        }
        let (user_name, password) = match user
            .map(|user| user.split_once(':').unwrap_or((user, "")))
        {
            None => (None, None),
            Some((name, word)) => {
                let has_password = user.is_some_and(|user| user.contains(':'));
                let decode = |text| decoded(text).ok_or_else(|| wrong("has a wrong '%' escape"));
                (Some(decode(name)?), has_password.then(|| decode(word)).transpose()?)
            }
        };
        Ok(Self {
            host: host.to_owned(),
            port: port.unwrap_or(if tls { TLS_PORT } else { PORT }),
            tls,
            user_name,
            password,
            topic: topic.filter(|topic| !topic.is_empty()).map(str::to_owned),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

const FORM: &str = "expected mqtt://[user[:password]@]host[:port][/topic], or mqtts:// for TLS";

/// Host and port of `host`, `host:port`, `[::1]` or `[::1]:port`.
fn split_port(place: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        match rest {
            "" => (host, None),
            rest => (host, Some(rest.strip_prefix(':')?)),
        }
    } else {
        match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        }
    };
    match port {
        None => Some((host, None)),
        Some(port) => Some((host, Some(port.parse().ok().filter(|port| *port != 0)?))),
    }
}

/// `%41` as `A`.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_who_and_which_topic() {
        let full = Address::from_url("mqtts://me:a%40b@broker.example:1234/x/+/y").unwrap();
        assert_eq!((full.host.as_str(), full.port, full.tls), ("broker.example", 1234, true));
        assert_eq!(full.user_name.as_deref(), Some("me"));
        assert_eq!(full.password.as_deref(), Some("a@b"));
        assert_eq!(full.topic.as_deref(), Some("x/+/y"));
        let short = Address::from_url("mqtt://localhost").unwrap();
        assert_eq!(short, Address::new("localhost", 1883));
        let six = Address::from_url("mqtt://u@[::1]:99/").unwrap();
        assert_eq!((six.host.as_str(), six.port, six.topic), ("::1", 99, None));
        assert_eq!((six.user_name.as_deref(), six.password), (Some("u"), None));
    }

    #[test]
    fn what_is_no_url_of_a_broker_is_refused_with_the_form_that_is() {
        for wrong in ["localhost", "http://a", "mqtt://", "mqtt://a:x", "mqtt://a:0", "mqtt://[::1"]
        {
            let error = Address::from_url(wrong).unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains("mqtts://"), "{error}");
        }
        assert!(Address::from_url("mqtt://a%4@b").is_err());
    }
}
