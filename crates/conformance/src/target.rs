//! The broker under test: where it is, who may come in, and what it says that it has.

use noctule_mqtt::{Properties, ProtocolVersion};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;

use crate::heard::Heard;
use crate::outcome::Stop;
use crate::peer::{Patience, Peer};
use crate::say::Hello;
use crate::wire::{Encryption, Upgrade, Wire};

/// A broker, reachable over TCP, TLS, or WebSocket over either.
#[derive(Debug, Clone)]
pub struct Target {
    addresses: Vec<SocketAddr>,
    /// User name of every connection, at most 65,535 bytes without U+0000.
    pub user_name: Option<String>,
    /// Password of every connection, at most 65,535 bytes.
    pub password: Option<Vec<u8>>,
    /// How long checks wait.
    pub patience: Patience,
    encryption: Option<Encryption>,
    upgrade: Option<Upgrade>,
}

/// Why a broker cannot be tested at all.
#[derive(Debug)]
pub enum Unreachable {
    /// The name means no address, nobody listens there, or TLS or WebSocket cannot be agreed upon.
    Connect(io::Error),
    /// The broker refuses to let us in; the code is that of CONNACK.
    Refused(u8),
    /// It does not speak MQTT as we know it.
    Strange(String),
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Refused(code) => write!(
                f,
                "the broker refuses the connection with CONNACK 0x{code:02X}: are user name and \
                 password right?"
            ),
            Self::Strange(what) => {
                write!(f, "the broker does not answer CONNECT as MQTT does: {what}")
            }
        }
    }
}

impl std::error::Error for Unreachable {}

/// What a broker announces in CONNACK of MQTT 5, with the defaults of the specification for what it
/// leaves out (section 3.2.2.3). In 3.1.1 nothing is announced, and everything counts as there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) receive_maximum: u16,
    pub(crate) maximum_qos: u8,
    pub(crate) retain_available: bool,
    pub(crate) maximum_packet_size: Option<u32>,
    pub(crate) topic_alias_maximum: u16,
    pub(crate) wildcards: bool,
    pub(crate) subscription_identifiers: bool,
    pub(crate) shared_subscriptions: bool,
    pub(crate) server_keep_alive: Option<u16>,
}

/// What a broker does with a version.
pub(crate) enum Reception {
    Spoken(Granted),
    /// Refused with this code: the version is none of its own.
    NotSpoken(u8),
}

impl Target {
    /// The broker at `host`.
    ///
    /// # Errors
    /// [`Unreachable::Connect`] if the name means no address.
    pub fn new(host: &str, port: u16, patience: Patience) -> Result<Self, Unreachable> {
        let found = (host, port).to_socket_addrs().map_err(Unreachable::Connect)?;
        let addresses = found.collect();
        let (encryption, upgrade) = (None, None);
        Ok(Self { addresses, user_name: None, password: None, patience, encryption, upgrade })
    }

    /// The same broker over TLS: whom to trust, and the name that its certificate has to be for.
    ///
    /// # Errors
    /// [`Unreachable::Connect`] if no certificate can be for such a name.
    pub fn over_tls(mut self, config: Arc<ClientConfig>, name: &str) -> Result<Self, Unreachable> {
        let server_name = ServerName::try_from(name.to_owned())
            .map_err(|error| Unreachable::Connect(io::Error::other(error)))?;
        self.encryption = Some(Encryption { config, server_name });
        Ok(self)
    }

    /// The same broker over WebSocket: host and port as it is known by them, and the path, which begins
    /// with a slash.
    #[must_use]
    pub fn over_web_socket(mut self, host: &str, path: &str) -> Self {
        self.upgrade = Some(Upgrade { host: host.to_owned(), path: path.to_owned() });
        self
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> io::Result<Wire> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in &self.addresses {
            match TcpStream::connect_timeout(address, self.patience.answer) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    let (encryption, upgrade) = (self.encryption.as_ref(), self.upgrade.as_ref());
                    return Wire::over(stream, encryption, upgrade, self.patience.answer);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Connects once to see whether the version is spoken and what is announced.
    pub(crate) fn receive(&self, version: ProtocolVersion) -> Result<Reception, Unreachable> {
        let wire = self.connect().map_err(Unreachable::Connect)?;
        let mut peer = Peer::new(wire, version, self.patience);
        let mut hello = Hello::new(version, format!("cf{:08x}", fastrand::u32(..)));
        hello.user_name = self.user_name.clone();
        hello.password = self.password.clone();
        peer.hello(&hello);
        match peer.next("CONNACK") {
            Ok(Heard::Connack(connack)) => match connack.code {
                0 => {
                    let granted = Granted::new(connack.properties());
                    peer.leave();
                    Ok(Reception::Spoken(granted))
                }
                0x01 | 0x84 => Ok(Reception::NotSpoken(connack.code)),
                code => Err(Unreachable::Refused(code)),
            },
            Ok(other) => Err(Unreachable::Strange(other.to_string())),
            // A broker of 3.1.1 answers CONNECT of 5 in its own form, which is malformed in 5.
            Err(Stop::Failed(failure)) if failure.came_hex == "20 02 00 01" => {
                Ok(Reception::NotSpoken(0x01))
            }
            Err(Stop::Failed(failure)) => Err(Unreachable::Strange(failure.to_string())),
            Err(Stop::NotApplicable(why)) => Err(Unreachable::Strange(why)),
        }
    }
}

impl Granted {
    fn new(properties: Properties<'_>) -> Self {
        let is_not_zero = |value: Option<u8>| value != Some(0);
        Self {
            receive_maximum: properties.receive_maximum().unwrap_or(u16::MAX),
            maximum_qos: properties.maximum_qos().unwrap_or(2),
            retain_available: is_not_zero(properties.retain_available()),
            maximum_packet_size: properties.maximum_packet_size(),
            topic_alias_maximum: properties.topic_alias_maximum().unwrap_or(0),
            wildcards: is_not_zero(properties.wildcard_subscription_available()),
            subscription_identifiers: is_not_zero(properties.subscription_identifier_available()),
            shared_subscriptions: is_not_zero(properties.shared_subscription_available()),
            server_keep_alive: properties.server_keep_alive(),
        }
    }
}
