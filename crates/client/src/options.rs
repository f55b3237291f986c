//! What a client is to be: where it connects, as whom, how it keeps its session, and its limits.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use noctule_mqtt::codec::EncodeError;
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{PacketType, Property, PropertyBuffer, ProtocolVersion};

use crate::address::{Address, AddressError, Transport};
use crate::error::Error;
use crate::event::Event;
use crate::publish::Will;
use crate::reconnect::Reconnect;
use crate::tls::TlsOptions;

/// How long the broker keeps the session: subscriptions, and messages under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// It ends with each network connection. Messages under way at QoS 1 and 2 are published again
    /// after a reconnect, so one at QoS 2 may then arrive twice.
    Connection,
    /// It outlives lost connections for this long, and ends when the client disconnects: the
    /// default, with an hour. Before MQTT 5 no session can be ended that way, and this means
    /// [`Connection`](Self::Connection).
    Client(Duration),
    /// A new one at first; it outlives lost connections and the client for this long. Before MQTT 5
    /// this means [`Connection`](Self::Connection).
    Fresh(Duration),
    /// It is resumed if it is there and outlives the client for this long; before MQTT 5 for as
    /// long as the broker likes. Needs a client identifier of its own.
    ///
    /// A process takes the session of an earlier one up without knowing what was under way in it.
    /// Messages for it come, some perhaps for the second time; and before a packet identifier is
    /// used at QoS 2, the message that the broker may still hold under it is completed (PUBREL), as
    /// the new one would otherwise count as its repetition and be lost.
    Persistent(Duration),
}

impl Default for Session {
    fn default() -> Self {
        Self::Client(Duration::from_secs(3_600))
    }
}

/// How a client proves who it is, other than by saying its password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// SCRAM-SHA-256: the password never leaves the client, and the broker proves that it knows what
    /// is derived from it, so that nobody can pose as the broker.
    ScramSha256,
}

/// What may grow, and up to where. No limit may be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Messages at QoS 1 and 2 that may be sent without being acknowledged; a broker may allow
    /// less. The others wait in the queue. Default 100.
    pub inflight_count_max: u16,
    /// Messages that may wait for the connection or for their turn; one more is refused while there
    /// is no connection and waits with its publisher while there is. Default 10,000.
    pub queue_count_max: usize,
    /// Their topics, properties and payloads in bytes. Default 64 MiB.
    pub queue_bytes_max: usize,
    /// Messages at QoS 1 and 2 that a broker may send before they are acknowledged (MQTT 5).
    /// Default 100.
    pub receive_maximum: u16,
    /// The largest packet that is accepted, in bytes; a larger one ends the connection. Default
    /// 16 MiB.
    pub packet_bytes_max: u32,
    /// Messages that may wait in each [`Messages`](crate::Messages) to be taken out; then nothing
    /// is read from the broker until there is room. Default 1,000.
    pub stream_count_max: usize,
    /// Topic aliases that a broker may set (MQTT 5). Default 16.
    pub topic_alias_maximum: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            inflight_count_max: 100,
            queue_count_max: 10_000,
            queue_bytes_max: 64 << 20,
            receive_maximum: 100,
            packet_bytes_max: 16 << 20,
            stream_count_max: 1_000,
            topic_alias_maximum: 16,
        }
    }
}

/// What a client is to be. Each method sets one thing and returns the options.
#[derive(Clone)]
pub struct ClientOptions {
    pub(crate) address: Address,
    pub(crate) bind_address: Option<IpAddr>,
    pub(crate) tls: Option<TlsOptions>,
    pub(crate) version: ProtocolVersion,
    pub(crate) client_id: String,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<Bytes>,
    pub(crate) authentication: Option<Authentication>,
    pub(crate) will: Option<Will>,
    pub(crate) keep_alive_seconds: u16,
    pub(crate) session: Session,
    pub(crate) properties: PropertyBuffer,
    pub(crate) fault: Option<EncodeError>,
    pub(crate) reconnect: Reconnect,
    pub(crate) limits: Limits,
    pub(crate) connect_timeout: Duration,
    pub(crate) ack_timeout: Duration,
    pub(crate) leave_timeout: Duration,
    pub(crate) queue_at_most_once: bool,
    pub(crate) subscription_identifiers: bool,
    pub(crate) on_event: Option<EventCallback>,
}

/// Called for each event, in the client's task.
pub(crate) type EventCallback = Arc<dyn Fn(&Event) + Send + Sync>;

impl fmt::Debug for ClientOptions {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("address", &self.address.to_string())
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("user_name", &self.user_name)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

impl ClientOptions {
    /// A client of the broker at `host` (a name or an IP address) and `port`: MQTT 5, not
    /// encrypted, with a random client identifier.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self::at(Address::new(host, port))
    }

    /// A client of the broker at this Unix socket, otherwise as [`new`](Self::new).
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::at(Address::unix(path))
    }

    /// A client of the broker at this address: what a URL may say besides the place is taken from it,
    /// TLS trusts the system's roots, and the rest is as with [`new`](Self::new).
    pub fn at(mut address: Address) -> Self {
        let user_name = address.user_name.take();
        let password = address.password.take().map(|password| password.into_bytes().into());
        let tls = address.tls.then(TlsOptions::default);
        Self {
            address,
            bind_address: None,
            tls,
            version: ProtocolVersion::V5,
            client_id: random_client_id(),
            user_name,
            password,
            authentication: None,
            will: None,
            keep_alive_seconds: 60,
            session: Session::default(),
            properties: PropertyBuffer::new(Carrier::Packet(PacketType::Connect)),
            fault: None,
            reconnect: Reconnect::default(),
            limits: Limits::default(),
            connect_timeout: Duration::from_secs(10),
            ack_timeout: Duration::from_secs(20),
            leave_timeout: Duration::from_secs(5),
            queue_at_most_once: true,
            subscription_identifiers: true,
            on_event: None,
        }
    }

    /// A client of the broker that a URL names, such as `mqtts://user@host:8883` or
    /// `ws://host:8083/mqtt`. With `mqtts` and `wss` the certificate is checked against the system's
    /// roots; see [`tls`](Self::tls) for others.
    ///
    /// # Errors
    /// As [`Address::from_url`].
    pub fn from_url(url: &str) -> Result<Self, AddressError> {
        Address::from_url(url).map(Self::at)
    }

    /// Connects to this port instead, not encrypted until [`tls`](Self::tls) says so.
    #[must_use]
    pub fn plain_port(mut self, port: u16) -> Self {
        self.address.port = port;
        self.plain()
    }

    /// Does not encrypt the connection.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.address.tls = false;
        self.tls = None;
        self
    }

    /// Goes over WebSocket, at this path of the broker's web server; by convention it is `/mqtt`, and
    /// the port 8083, with TLS 8084.
    #[must_use]
    pub fn web_socket(mut self, path: impl Into<String>) -> Self {
        self.address.transport = Transport::WebSocket { path: path.into() };
        self
    }

    /// Encrypts the connection.
    #[must_use]
    pub fn tls(mut self, tls: TlsOptions) -> Self {
        self.address.tls = true;
        self.tls = Some(tls);
        self
    }

    /// Connects from this address of the machine.
    #[must_use]
    pub fn bind_address(mut self, address: IpAddr) -> Self {
        self.bind_address = Some(address);
        self
    }

    /// Speaks this version.
    #[must_use]
    pub fn version(mut self, version: ProtocolVersion) -> Self {
        self.version = version;
        self
    }

    /// Sets the client identifier. Empty: the broker chooses one, which (MQTT 5) is kept for later
    /// connections of this client.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// Sets the user name.
    #[must_use]
    pub fn user_name(mut self, user_name: impl Into<String>) -> Self {
        self.user_name = Some(user_name.into());
        self
    }

    /// Sets the password; before MQTT 5 it needs a user name.
    #[must_use]
    pub fn password(mut self, password: impl Into<Bytes>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Proves user name and password in this way instead of saying them (MQTT 5).
    #[must_use]
    pub fn authentication(mut self, method: Authentication) -> Self {
        self.authentication = Some(method);
        self
    }

    /// Sets the will.
    #[must_use]
    pub fn will(mut self, will: Will) -> Self {
        self.will = Some(will);
        self
    }

    /// Sets how many seconds may pass without a packet; 0 switches keep-alive off, and a dead
    /// connection is then noticed only when something is sent. Default 60.
    #[must_use]
    pub fn keep_alive_seconds(mut self, seconds: u16) -> Self {
        self.keep_alive_seconds = seconds;
        self
    }

    /// Sets how long the broker keeps the session.
    #[must_use]
    pub fn session(mut self, session: Session) -> Self {
        self.session = session;
        self
    }

    /// Adds a property to CONNECT (MQTT 5). What has an option of its own (session expiry, receive
    /// maximum, packet size, topic aliases) replaces the option.
    #[must_use]
    pub fn property(mut self, property: Property<'_>) -> Self {
        if let Err(fault) = self.properties.push(property) {
            self.fault.get_or_insert(fault);
        }
        self
    }

    /// Sets how a lost connection is tried again.
    #[must_use]
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// Sets what may grow, and up to where.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how long name look-up, connection, TLS and CONNACK may take together. Default 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long a broker may leave everything unanswered that waits for an answer before the
    /// connection counts as dead. Default 20 s.
    #[must_use]
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.ack_timeout = timeout;
        self
    }

    /// Sets how long [`disconnect`](crate::Client::disconnect) waits for what is under way. Default
    /// 5 s.
    #[must_use]
    pub fn leave_timeout(mut self, timeout: Duration) -> Self {
        self.leave_timeout = timeout;
        self
    }

    /// Sets whether messages at QoS 0 wait while there is no connection, instead of being refused
    /// with [`Error::ConnectionLost`]. Default: they wait.
    #[must_use]
    pub fn queue_at_most_once(mut self, queue: bool) -> Self {
        self.queue_at_most_once = queue;
        self
    }

    /// Sets whether each subscription gets an identifier (MQTT 5), by which a message goes to the
    /// right streams although filters overlap. Default: it does.
    #[must_use]
    pub fn subscription_identifiers(mut self, use_them: bool) -> Self {
        self.subscription_identifiers = use_them;
        self
    }

    /// Calls `callback` for each event, in the client's task: it must not wait for anything.
    #[must_use]
    pub fn on_event(mut self, callback: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.on_event = Some(Arc::new(callback));
        self
    }

    /// Where the broker is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What can be seen to be wrong before anything is tried.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone().into());
        }
        let invalid = |what: &str| Err(Error::Invalid(what.to_owned()));
        if self.password.is_some() && self.user_name.is_none() && self.version < ProtocolVersion::V5
        {
            return invalid("before MQTT 5 a password needs a user name");
        }
        // [MQTT3-3.1.3-7]
        if self.client_id.is_empty() && matches!(self.session, Session::Persistent(_)) {
            return invalid("a persistent session needs a client identifier");
        }
        if self.authentication.is_some() && self.version < ProtocolVersion::V5 {
            return invalid("authentication methods need MQTT 5");
        }
        let is_named = self.user_name.as_ref().is_some_and(|name| !name.is_empty());
        if self.authentication.is_some() && !(is_named && self.password.is_some()) {
            return invalid("this authentication method needs a user name and a password");
        }
        self.check_transport()?;
        let limits = self.limits;
        if limits.inflight_count_max == 0
            || limits.receive_maximum == 0
            || limits.packet_bytes_max == 0
            || limits.stream_count_max == 0
        {
            return invalid("no limit may be zero");
        }
        self.will.as_ref().map_or(Ok(()), |will| will.packet().map(drop))
    }

    /// What does not go together with what carries the bytes.
    fn check_transport(&self) -> Result<(), Error> {
        let invalid = |what: String| Err(Error::Invalid(what));
        match &self.address.transport {
            Transport::WebSocket { path } if !Transport::is_path(path) => invalid(format!(
                "\"{path}\" is no path of WebSocket: it begins with '/' and has no blanks, no '#' and \
                 nothing but ASCII"
            )),
            Transport::Unix(_) if self.tls.is_some() => {
                invalid("a Unix socket is not encrypted: it does not leave the machine".to_owned())
            }
            Transport::Unix(_) if self.bind_address.is_some() => {
                invalid("a Unix socket is connected to from no address".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// An identifier of at most 23 letters and digits, which every version allows.
fn random_client_id() -> String {
    let mut id = String::from("noctule");
    id.extend(std::iter::repeat_with(fastrand::alphanumeric).take(14));
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test] // [MQTT3-3.1.3-7]
    fn what_cannot_work_is_found_before_anything_is_tried() {
        let options = || ClientOptions::new("h", 1).version(ProtocolVersion::V311);
        assert!(options().check().is_ok());
        assert!(options().password("p").check().is_err());
        assert!(options().will(Will::new("a/#", "x")).check().is_err());
        let persistent = Session::Persistent(Duration::ZERO);
        assert!(options().client_id("").session(persistent).check().is_err());
        let nothing = Limits { receive_maximum: 0, ..Limits::default() };
        assert!(options().limits(nothing).check().is_err());
        let scram = |options: ClientOptions| options.authentication(Authentication::ScramSha256);
        let named = || scram(options().user_name("u").password("p"));
        assert!(named().check().is_err(), "it needs MQTT 5");
        assert!(named().version(ProtocolVersion::V5).check().is_ok());
        assert!(scram(ClientOptions::new("h", 1).user_name("u")).check().is_err());
        assert!(scram(ClientOptions::new("h", 1).password("p")).check().is_err());
    }

    #[test]
    fn a_transport_that_cannot_be_is_found_before_anything_is_tried() {
        let wrong = |options: ClientOptions| options.check().unwrap_err().to_string();
        assert!(wrong(ClientOptions::new("h", 1).web_socket("mqtt")).contains("begins with '/'"));
        assert!(wrong(ClientOptions::new("h", 1).web_socket("/a b")).contains("blanks"));
        assert!(wrong(ClientOptions::unix("/x").tls(TlsOptions::default())).contains("encrypted"));
        let bound = ClientOptions::unix("/x").bind_address([127, 0, 0, 1].into());
        assert!(wrong(bound).contains("no address"));
        assert!(ClientOptions::unix("/x").check().is_ok());
        assert!(ClientOptions::new("h", 1).web_socket("/").check().is_ok());
    }

    #[test]
    fn the_password_is_not_shown() {
        let options = ClientOptions::new("h", 1).user_name("u").password("secret");
        assert!(!format!("{options:?}").contains("secret"));
    }

    #[test]
    fn a_chosen_identifier_is_one_that_every_version_allows() {
        let id = random_client_id();
        assert!(id.len() <= 23 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
        assert_ne!(id, random_client_id());
    }
}
