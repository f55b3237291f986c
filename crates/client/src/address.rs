//! Where a broker is: host and port or a Unix socket, what carries the bytes and whether they are
//! encrypted, also as a URL.
//!
//! Nothing is resolved here; a name is looked up for each attempt to connect.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a broker is, with what else a URL may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Host name or IP address, IPv6 without brackets. Of a Unix socket there is none.
    pub host: String,
    /// TCP port. Of a Unix socket there is none (0).
    pub port: u16,
    /// Whether the connection is encrypted; a Unix socket never is.
    pub tls: bool,
    /// What carries the bytes.
    pub transport: Transport,
    /// The user name in the URL.
    pub user_name: Option<String>,
    /// The password in the URL.
    pub password: Option<String>,
    /// The path of the URL without its first slash: by convention a topic. That of WebSocket is none.
    pub topic: Option<String>,
}

/// What carries the bytes between client and broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// WebSocket over TCP: binary frames, after an upgrade from HTTP/1.1 at this path, which begins
    /// with a slash and may have a query.
    WebSocket {
        /// The path, such as `/mqtt`.
        path: String,
    },
    /// The Unix socket at this path of the file system.
    Unix(PathBuf),
}

impl Transport {
    /// WebSocket at the path that is usual for MQTT, `/mqtt`.
    pub fn web_socket() -> Self {
        Self::WebSocket { path: WS_PATH.to_owned() }
    }

    /// The port that a broker listens on unless it was told otherwise; none of a Unix socket (0).
    pub fn default_port(&self, tls: bool) -> u16 {
        match (self, tls) {
            (Self::Tcp, false) => PORT,
            (Self::Tcp, true) => TLS_PORT,
            (Self::WebSocket { .. }, false) => WS_PORT,
            (Self::WebSocket { .. }, true) => WSS_PORT,
            (Self::Unix(_), _) => 0,
        }
    }

    /// Whether a path can stand in a request of HTTP.
    pub(crate) fn is_path(path: &str) -> bool {
        path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
    }
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
const PORT: u16 = 1883;
/// The port of MQTT over TLS.
const TLS_PORT: u16 = 8883;
/// The port of MQTT over WebSocket, by convention.
const WS_PORT: u16 = 8083;
/// The port of MQTT over WebSocket and TLS, by convention.
const WSS_PORT: u16 = 8084;
/// The path of MQTT over WebSocket, by convention.
const WS_PATH: &str = "/mqtt";

impl Address {
    /// This host and port, not encrypted.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            tls: false,
            transport: Transport::Tcp,
            user_name: None,
            password: None,
            topic: None,
        }
    }

    /// The Unix socket at this path.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self { transport: Transport::Unix(path.into()), ..Self::new("", 0) }
    }

    /// Reads a URL:
    ///
    /// - `mqtt://[user[:password]@]host[:port][/topic]`, `mqtts://…` for TLS. Without a port it is
    ///   1883, with TLS 8883.
    /// - `ws://[user[:password]@]host[:port][/path]`, `wss://…` for TLS. Without a port it is 8083,
    ///   with TLS 8084; without a path `/mqtt`.
    /// - `unix:PATH`, the path as it is; `unix:///PATH` is understood as well.
    ///
    /// `%40` stands for `@` in user name and password, and so on.
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
        if let Some(path) = url.strip_prefix("unix:") {
            return unix_path(path).map(Self::unix).map_err(wrong);
        }
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("has no scheme"))?;
        let (tls, is_web_socket) = match scheme {
            "mqtt" => (false, false),
            "mqtts" => (true, false),
            "ws" => (false, true),
            "wss" => (true, true),
            _ => return Err(wrong("begins with no scheme that is known")),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        let (host, port) = split_port(place).ok_or_else(|| wrong("has no valid port"))?;
        if host.is_empty() {
            return Err(wrong("names no host"));
        }
        let (user_name, password) = user_info(user).map_err(wrong)?;
        let path = (path.len() > 1).then_some(path);
        let transport = match path {
            _ if !is_web_socket => Transport::Tcp,
            None => Transport::web_socket(),
            Some(path) if Transport::is_path(path) => {
                Transport::WebSocket { path: path.to_owned() }
            }
            Some(_) => return Err(wrong("has a path that HTTP does not allow")),
        };
        let topic = path.filter(|_| !is_web_socket).map(|path| path[1..].to_owned());
        let port = port.unwrap_or(transport.default_port(tls));
        let host = host.to_owned();
        Ok(Self { host, port, tls, transport, user_name, password, topic })
    }

    /// Host and port as they stand in a URL, an IPv6 address in brackets.
    pub fn authority(&self) -> String {
        let (host, port) = (&self.host, self.port);
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            Transport::Tcp => f.write_str(&self.authority()),
            Transport::WebSocket { path } => {
                let scheme = if self.tls { "wss" } else { "ws" };
                write!(f, "{scheme}://{}{path}", self.authority())
            }
            Transport::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

const FORM: &str = "expected mqtt://[user[:password]@]host[:port][/topic], ws://host[:port][/path] for \
                    WebSocket, mqtts:// or wss:// for TLS, or unix:PATH";

/// The path behind `unix:`.
fn unix_path(text: &str) -> Result<&Path, &'static str> {
    let path = match text.strip_prefix("//") {
        Some(path) if !path.starts_with('/') => {
            return Err("has a host, which a Unix socket has not");
        }
        Some(path) => path,
        None => text,
    };
    if path.is_empty() { Err("names no path") } else { Ok(Path::new(path)) }
}

/// User name and password in front of the host.
fn user_info(user: Option<&str>) -> Result<(Option<String>, Option<String>), &'static str> {
    let Some(user) = user else { return Ok((None, None)) };
    let decode = |text| decoded(text).ok_or("has a wrong '%' escape");
    match user.split_once(':') {
        Some((name, password)) => Ok((Some(decode(name)?), Some(decode(password)?))),
        None => Ok((Some(decode(user)?), None)),
    }
}

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
    fn a_url_of_web_socket_has_a_path_and_no_topic() {
        let read = |url: &str| {
            let address = Address::from_url(url).unwrap();
            let Transport::WebSocket { path } = &address.transport else { panic!("{address:?}") };
            (address.port, address.tls, path.clone(), address.topic.clone(), address.to_string())
        };
        let shown = |text: &str| text.to_owned();
        assert_eq!(read("ws://h"), (8083, false, shown("/mqtt"), None, shown("ws://h:8083/mqtt")));
        assert_eq!(read("wss://h/").0, 8084);
        assert_eq!(
            read("wss://u:p@[::1]:443/a/b?c=d"),
            (443, true, shown("/a/b?c=d"), None, shown("wss://[::1]:443/a/b?c=d"))
        );
        for wrong in ["ws://h/a b", "ws://h/a\r\nX: y", "ws://h/\u{e4}", "ws://h/a#b", "ws://"] {
            let error = Address::from_url(wrong).unwrap_err().to_string();
            assert!(error.contains("ws://host"), "{error}");
        }
    }

    #[test]
    fn a_unix_socket_is_named_by_its_path() {
        for (url, path) in [
            ("unix:/run/a b.sock", "/run/a b.sock"),
            ("unix:///run/x", "/run/x"),
            ("unix:here/x", "here/x"),
        ] {
            let address = Address::from_url(url).unwrap();
            assert_eq!(address, Address::unix(path));
            assert_eq!((address.to_string(), address.port), (format!("unix:{path}"), 0));
        }
        for wrong in ["unix:", "unix://", "unix://host/x"] {
            let error = Address::from_url(wrong).unwrap_err().to_string();
            assert!(error.contains("unix:PATH"), "{error}");
        }
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
