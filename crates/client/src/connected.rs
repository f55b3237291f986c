//! What a broker granted with CONNACK.

use bytes::Bytes;
use noctule_mqtt::{ProtocolVersion, QoS, packet};

/// What a broker granted with CONNACK, with the defaults where it said nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// Which MQTT is spoken.
    pub version: ProtocolVersion,
    /// Whether the broker went on with a stored session.
    pub session_present: bool,
    /// The client identifier, ours or the one that the broker assigned; empty only if we sent none
    /// and the broker (before MQTT 5) did not say which it chose.
    pub client_id: String,
    /// How many seconds the client may be silent, 0 for ever: as the broker wants it.
    pub keep_alive_seconds: u16,
    /// How many messages at QoS 1 and 2 the broker takes without having acknowledged them.
    pub receive_maximum: u16,
    /// The highest QoS that the broker takes.
    pub maximum_qos: QoS,
    /// Whether the broker keeps retained messages.
    pub retain_available: bool,
    /// The largest packet that the broker takes, in bytes.
    pub maximum_packet_size: Option<u32>,
    /// Whether filters may have wildcards.
    pub wildcards_available: bool,
    /// Whether subscriptions may have identifiers.
    pub subscription_identifiers_available: bool,
    /// Whether subscriptions may be shared.
    pub shared_subscriptions_available: bool,
    /// Where answers to requests should be expected, if we asked for it.
    pub response_information: Option<String>,
    /// What else the broker said about itself.
    pub user_properties: Vec<(String, String)>,
    /// The certificates that the broker showed, its own first, in DER; none without TLS.
    pub peer_certificates: Vec<Bytes>,
}

impl Connected {
    /// Reads an accepting CONNACK. `client_id` and `keep_alive` are what we asked for.
    pub(crate) fn new(
        connack: &packet::Connack<'_>,
        version: ProtocolVersion,
        client_id: &str,
        keep_alive: u16,
    ) -> Self {
        let granted = connack.properties;
        let available = |value: Option<u8>| value != Some(0);
        let pairs = granted.user_properties();
        Self {
            version,
            session_present: connack.session_present,
            client_id: granted.assigned_client_identifier().unwrap_or(client_id).to_owned(),
            keep_alive_seconds: granted.server_keep_alive().unwrap_or(keep_alive),
            receive_maximum: granted.receive_maximum().unwrap_or(u16::MAX),
            maximum_qos: granted.maximum_qos().and_then(QoS::from_bits).unwrap_or(QoS::ExactlyOnce),
            retain_available: available(granted.retain_available()),
            maximum_packet_size: granted.maximum_packet_size(),
            wildcards_available: available(granted.wildcard_subscription_available()),
            subscription_identifiers_available: version.has_properties()
                && available(granted.subscription_identifier_available()),
            shared_subscriptions_available: available(granted.shared_subscription_available()),
            response_information: granted.response_information().map(str::to_owned),
            user_properties: pairs.map(|(name, value)| (name.into(), value.into())).collect(),
            peer_certificates: Vec::new(),
        }
    }

    /// Whether the broker says that it is Noctule: by a user property `server` whose value begins
    /// with `noctule`, in MQTT 5.
    pub fn is_noctule(&self) -> bool {
        self.user_properties
            .iter()
            .any(|(name, value)| name == SERVER && value.to_ascii_lowercase().starts_with(NOCTULE))
    }
}

const SERVER: &str = "server";
const NOCTULE: &str = "noctule";
