//! Every way in which a peer can break the rules of MQTT: what came, what was expected, which
//! clause says so, and what to answer.
//!
//! Two kinds are told apart by their reason code, as section 1.2 of MQTT 5 does: *malformed
//! packets* (0x81), which cannot be read, and *protocol errors* (0x82), which can but may not come
//! now or not like this. A few have codes of their own. Requests that are understood and refused
//! (rights, quotas) are not violations and have no place here.

use crate::property::Carrier;
use crate::{PacketType, PropertyId, ProtocolVersion, ReasonCode};
use std::fmt;

/// What a peer did wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are explained by the message of each variant")]
pub enum Violation {
    /// A packet type that does not exist in this version.
    PacketTypeReserved { bits: u8 },
    /// Flags of the fixed header that are reserved for another value.
    FlagsReserved { packet: PacketType, expected: u8, found: u8 },
    /// A remaining length of more than four bytes.
    RemainingLengthMalformed,
    /// A packet over the receiver's limit, in bytes with its fixed header.
    PacketTooLarge { size: u64, limit: u32 },
    /// A packet that only the other side may send.
    WrongDirection { packet: PacketType },
    /// A field that runs over the end of the packet.
    Truncated { packet: PacketType, field: &'static str, needed: usize, available: usize },
    /// Bytes behind the last field.
    TrailingBytes { packet: PacketType, extra: usize },
    /// A string that is not UTF-8, and the first byte in it that is not.
    StringNotUtf8 { field: &'static str, at: usize },
    /// A string with U+0000 in it.
    StringHasNull { field: &'static str },
    /// A variable byte integer of more bytes than it needs, or than are allowed.
    VariableByteIntegerMalformed { field: &'static str },
    /// Packet identifier zero.
    PacketIdZero { packet: PacketType },
    /// A QoS of 3, in PUBLISH or for a will.
    QosInvalid { field: &'static str },
    /// A QoS of 3 in SUBSCRIBE, which MQTT 5 calls a protocol error and the others malformed.
    RequestedQosInvalid,
    /// A first packet whose protocol name is not MQTT's.
    ProtocolNameUnknown,
    /// A protocol level that is not spoken here.
    ProtocolVersionUnsupported { level: u8 },
    /// The reserved flag of CONNECT is set.
    ConnectFlagReserved,
    /// Will QoS or will retain without a will.
    WillFlagsWithoutWill,
    /// A password without a user name, before MQTT 5.
    PasswordWithoutUserName,
    /// Authentication data without a method.
    AuthenticationDataWithoutMethod,
    /// Reserved flags in CONNACK.
    ConnackFlagsReserved { found: u8 },
    /// DUP on a message at QoS 0.
    DupAtQos0,
    /// An empty topic name or filter.
    TopicEmpty,
    /// A wildcard in a topic name.
    TopicHasWildcard,
    /// A topic of more than 65,535 bytes. Only our own side can make one.
    TopicTooLong { bytes: usize },
    /// A topic longer or with more separators than the receiver's limit.
    TopicOverLimit { what: &'static str, found: usize, limit: usize },
    /// More user properties in a packet than the receiver's limit.
    UserPropertiesOverLimit { found: usize, limit: usize },
    /// A filter with a misplaced wildcard.
    FilterInvalid { why: &'static str },
    /// A `$share` filter without a name or filter.
    SharedFilterInvalid,
    /// No Local on a shared subscription.
    NoLocalOnShared,
    /// Reserved bits in subscription options.
    SubscriptionOptionsReserved { found: u8 },
    /// A retain handling of 3.
    RetainHandlingInvalid,
    /// A list that needs at least one entry.
    ListEmpty { packet: PacketType },
    /// A property that does not exist.
    PropertyUnknown { id: u32 },
    /// A property that does not belong there.
    PropertyNotAllowed { property: PropertyId, carrier: Carrier },
    /// A property more than once.
    PropertyRepeated { property: PropertyId, carrier: Carrier },
    /// A property with a value that is not allowed.
    PropertyValueInvalid { property: PropertyId },
    /// A subscription identifier in a client's PUBLISH.
    SubscriptionIdentifierFromClient,
    /// A reason code that does not exist or does not belong there.
    ReasonCodeInvalid { packet: PacketType, code: u8 },
    /// A topic alias that is zero, over the limit, or not known.
    TopicAliasInvalid { alias: u16 },
    /// A topic alias in the place of a topic that stands for none.
    TopicAliasUnknown { alias: u16 },
    /// A QoS over the greatest that the server has announced.
    QosNotSupported { qos: u8, limit: u8 },
    /// A message to be retained although the server has announced that it retains none.
    RetainNotSupported,
    /// A payload that is declared to be UTF-8 and is not.
    PayloadNotUtf8,
    /// A first packet that is not CONNECT (for a server) or CONNACK or AUTH (for a client).
    FirstPacketUnexpected { packet: PacketType },
    /// CONNECT, or CONNACK, on a connection that has had one.
    SecondConnect,
    /// AUTH on a connection whose CONNECT named no authentication method.
    AuthUnexpected,
    /// AUTH with another authentication method than CONNECT.
    AuthMethodDiffers,
    /// AUTH with a reason that does not go with how far the authentication has come.
    AuthStepUnexpected { reason: ReasonCode },
    /// More unacknowledged messages than the receiver announced it would take.
    ReceiveMaximumExceeded { limit: u16 },
    /// An acknowledgement that does not go with the state of its packet identifier.
    AckUnexpected { packet: PacketType, packet_id: u16 },
    /// A session expiry interval in DISCONNECT although CONNECT had none.
    SessionExpirySetLate,
    /// Silence for one and a half times the keep alive, in seconds.
    KeepAliveTimeout { keep_alive: u16 },
}

/// How far a connection has come, seen from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// CONNECT has not been accepted.
    Connecting,
    /// CONNACK has been sent.
    Connected,
}

/// What a server does about a violation before it closes the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    Close,
    /// CONNACK with this reason, then close.
    Connack(ReasonCode),
    /// DISCONNECT with this reason, then close.
    Disconnect(ReasonCode),
}

impl Violation {
    /// The reason code of MQTT 5 for this violation (section 4.13).
    pub const fn reason_code(&self) -> ReasonCode {
        match self {
            Self::PacketTypeReserved { .. }
            | Self::FlagsReserved { .. }
            | Self::RemainingLengthMalformed
            | Self::Truncated { .. }
            | Self::TrailingBytes { .. }
            | Self::StringNotUtf8 { .. }
            | Self::StringHasNull { .. }
            | Self::VariableByteIntegerMalformed { .. }
            | Self::PacketIdZero { .. }
            | Self::QosInvalid { .. }
            | Self::ConnectFlagReserved
            | Self::WillFlagsWithoutWill
            | Self::PasswordWithoutUserName
            | Self::ConnackFlagsReserved { .. }
            | Self::DupAtQos0
            | Self::TopicHasWildcard
            | Self::TopicTooLong { .. }
            | Self::FilterInvalid { .. }
            | Self::SharedFilterInvalid
            | Self::SubscriptionOptionsReserved { .. }
            | Self::PropertyUnknown { .. }
            | Self::PropertyNotAllowed { .. }
            | Self::ReasonCodeInvalid { .. } => ReasonCode::MalformedPacket,
            Self::WrongDirection { .. }
            | Self::AuthenticationDataWithoutMethod
            | Self::TopicEmpty
            | Self::NoLocalOnShared
            | Self::RequestedQosInvalid
            | Self::RetainHandlingInvalid
            | Self::ListEmpty { .. }
            | Self::PropertyRepeated { .. }
            | Self::PropertyValueInvalid { .. }
            | Self::SubscriptionIdentifierFromClient
            | Self::FirstPacketUnexpected { .. }
            | Self::SecondConnect
            | Self::AuthUnexpected
            | Self::AckUnexpected { .. }
            | Self::TopicAliasUnknown { .. }
            | Self::AuthMethodDiffers
            | Self::AuthStepUnexpected { .. }
            | Self::SessionExpirySetLate => ReasonCode::ProtocolError,
            Self::QosNotSupported { .. } => ReasonCode::QosNotSupported,
            Self::RetainNotSupported => ReasonCode::RetainNotSupported,
            Self::PayloadNotUtf8 => ReasonCode::PayloadFormatInvalid,
            Self::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::ProtocolNameUnknown | Self::ProtocolVersionUnsupported { .. } => {
                ReasonCode::UnsupportedProtocolVersion
            }
            Self::TopicOverLimit { .. } => ReasonCode::TopicNameInvalid,
            Self::UserPropertiesOverLimit { .. } => ReasonCode::QuotaExceeded,
            Self::TopicAliasInvalid { .. } => ReasonCode::TopicAliasInvalid,
            Self::ReceiveMaximumExceeded { .. } => ReasonCode::ReceiveMaximumExceeded,
            Self::KeepAliveTimeout { .. } => ReasonCode::KeepAliveTimeout,
        }
    }

    /// What a server answers before it closes, on a connection that speaks `version` (`None` when
    /// no CONNECT has said so) and has come as far as `phase`.
    ///
    /// - A CONNECT that cannot be read is closed without a word in 3.1 and 3.1.1
    ///   `[MQTT3-3.1.4-1]`, whose return codes have none for it `[MQTT3-3.2.2-6]`; MQTT 5 allows a CONNACK `[MQTT5-3.1.4-1]`, and it helps.
    /// - A first packet that is something else, or names another protocol, gets nothing: whoever
    ///   sent it does not speak MQTT `[MQTT5-3.1.0-1]` `[MQTT5-3.1.2-1]`.
    /// - An unknown protocol level is told in the form of 3.1.1 that all clients understand
    ///   `[MQTT3-3.1.2-2]`.
    pub const fn answer(&self, version: Option<ProtocolVersion>, phase: Phase) -> Answer {
        match (self, phase, version) {
            (Self::ProtocolVersionUnsupported { .. }, Phase::Connecting, _) => {
                Answer::Connack(ReasonCode::UnsupportedProtocolVersion)
            }
            (_, Phase::Connecting, Some(ProtocolVersion::V5)) => {
                Answer::Connack(self.reason_code_for(PacketType::Connack))
            }
            (_, Phase::Connected, Some(ProtocolVersion::V5)) => {
                Answer::Disconnect(self.reason_code_for(PacketType::Disconnect))
            }
            (_, _, Some(ProtocolVersion::V31 | ProtocolVersion::V311) | None) => Answer::Close,
        }
    }

    /// CONNACK and DISCONNECT do not know all of each other's codes: a topic alias cannot be wrong
    /// in the one, a protocol version (of a second CONNECT) in the other.
    const fn reason_code_for(&self, packet: PacketType) -> ReasonCode {
        let reason = self.reason_code();
        if reason.allowed_in(packet) { reason } else { ReasonCode::ProtocolError }
    }

    /// The normative statement that is broken, as cited in this project: in `version` if the
    /// statement has a number there, else the section.
    pub const fn clause(&self, version: ProtocolVersion) -> &'static str {
        let (mqtt3, mqtt5) = self.clauses();
        match version {
            ProtocolVersion::V5 => mqtt5,
            ProtocolVersion::V31 | ProtocolVersion::V311 => mqtt3,
        }
    }

    /// The statements of 3.1.1 and 5.0.
    const fn clauses(&self) -> (&'static str, &'static str) {
        match self {
            Self::PacketTypeReserved { .. } | Self::WrongDirection { .. } => {
                ("MQTT3 section 2.2.1", "MQTT5 section 2.1.2")
            }
            Self::FlagsReserved { .. } => ("MQTT3-2.2.2-2", "MQTT5-2.1.3-1"),
            Self::RemainingLengthMalformed => ("MQTT3 section 2.2.3", "MQTT5 section 2.1.4"),
            Self::PacketTooLarge { .. } => ("MQTT3 section 2.2.3", "MQTT5-3.2.2-15"),
            Self::Truncated { .. } | Self::TrailingBytes { .. } => {
                ("MQTT3-4.8.0-1", "MQTT5 section 4.13")
            }
            Self::StringNotUtf8 { .. } => ("MQTT3-1.5.3-1", "MQTT5-1.5.4-1"),
            Self::StringHasNull { .. } => ("MQTT3-1.5.3-2", "MQTT5-1.5.4-2"),
            Self::VariableByteIntegerMalformed { .. } => ("MQTT3 section 2.2.3", "MQTT5-1.5.5-1"),
            Self::PacketIdZero { .. } => ("MQTT3-2.3.1-1", "MQTT5-2.2.1-3"),
            Self::QosInvalid { .. } => ("MQTT3-3.3.1-4", "MQTT5-3.3.1-4"),
            Self::RequestedQosInvalid => ("MQTT3-3.8.3-4", "MQTT5 section 3.8.3.1"),
            Self::ProtocolNameUnknown => ("MQTT3-3.1.2-1", "MQTT5-3.1.2-1"),
            Self::ProtocolVersionUnsupported { .. } => ("MQTT3-3.1.2-2", "MQTT5-3.1.2-2"),
            Self::ConnectFlagReserved => ("MQTT3-3.1.2-3", "MQTT5-3.1.2-3"),
            Self::WillFlagsWithoutWill => ("MQTT3-3.1.2-13", "MQTT5-3.1.2-11"),
            Self::PasswordWithoutUserName => ("MQTT3-3.1.2-22", "MQTT5 section 3.1.2.9"),
            Self::AuthenticationDataWithoutMethod => {
                ("MQTT3 section 3.1", "MQTT5 section 3.1.2.11.10")
            }
            Self::ConnackFlagsReserved { .. } => ("MQTT3 section 3.2.2.1", "MQTT5-3.2.2-1"),
            Self::DupAtQos0 => ("MQTT3-3.3.1-2", "MQTT5-3.3.1-2"),
            Self::TopicEmpty => ("MQTT3-4.7.3-1", "MQTT5-4.7.3-1"),
            Self::TopicHasWildcard => ("MQTT3-3.3.2-2", "MQTT5-3.3.2-2"),
            Self::TopicTooLong { .. } => ("MQTT3-4.7.3-3", "MQTT5-4.7.3-3"),
            Self::TopicOverLimit { .. } => ("MQTT3 section 4.7.3", "MQTT5 section 4.7.3"),
            Self::UserPropertiesOverLimit { .. } => ("MQTT3 has none", "MQTT5 section 3.3.2.3.7"),
            Self::FilterInvalid { .. } => ("MQTT3-4.7.1-2", "MQTT5-4.7.1-1"),
            Self::SharedFilterInvalid => ("MQTT3 section 4.7", "MQTT5-4.8.2-1"),
            Self::NoLocalOnShared => ("MQTT3 section 3.8.3", "MQTT5-3.8.3-4"),
            Self::SubscriptionOptionsReserved { .. } => ("MQTT3-3.8.3-4", "MQTT5-3.8.3-5"),
            Self::RetainHandlingInvalid => ("MQTT3 section 3.8.3", "MQTT5 section 3.8.3.1"),
            Self::ListEmpty { packet: PacketType::Unsubscribe } => {
                ("MQTT3-3.10.3-2", "MQTT5-3.10.3-2")
            }
            Self::ListEmpty { .. } => ("MQTT3-3.8.3-3", "MQTT5-3.8.3-2"),
            Self::PropertyUnknown { .. }
            | Self::PropertyNotAllowed { .. }
            | Self::PropertyRepeated { .. }
            | Self::PropertyValueInvalid { .. } => ("MQTT3 has none", "MQTT5 section 2.2.2.2"),
            Self::SubscriptionIdentifierFromClient => ("MQTT3 has none", "MQTT5-3.3.4-6"),
            Self::ReasonCodeInvalid { .. } => ("MQTT3 section 3.2.2.3", "MQTT5 section 2.4"),
            Self::TopicAliasInvalid { .. } => ("MQTT3 has none", "MQTT5-3.3.2-8"),
            Self::AuthMethodDiffers => ("MQTT3 has none", "MQTT5-4.12.0-5"),
            Self::AuthStepUnexpected { .. } => ("MQTT3 has none", "MQTT5-4.12.0-3"),
            Self::TopicAliasUnknown { .. } => ("MQTT3 has none", "MQTT5 section 3.3.2.3.4"),
            Self::QosNotSupported { .. } => ("MQTT3 has none", "MQTT5-3.2.2-11"),
            Self::RetainNotSupported => ("MQTT3 has none", "MQTT5-3.2.2-14"),
            Self::PayloadNotUtf8 => ("MQTT3 has none", "MQTT5 section 3.3.2.3.2"),
            Self::FirstPacketUnexpected { .. } => ("MQTT3-3.1.0-1", "MQTT5-3.1.0-1"),
            Self::SecondConnect => ("MQTT3-3.1.0-2", "MQTT5-3.1.0-2"),
            Self::AuthUnexpected => ("MQTT3 has none", "MQTT5-4.12.0-7"),
            Self::ReceiveMaximumExceeded { .. } => ("MQTT3 has none", "MQTT5-3.3.4-7"),
            Self::AckUnexpected { .. } => ("MQTT3 section 4.3", "MQTT5 section 4.3"),
            Self::SessionExpirySetLate => ("MQTT3 has none", "MQTT5 section 3.14.2.2.2"),
            Self::KeepAliveTimeout { .. } => ("MQTT3-3.1.2-24", "MQTT5-3.1.2-22"),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PacketTypeReserved { bits } => {
                write!(f, "packet type {bits} does not exist in this version")
            }
            Self::FlagsReserved { packet, expected, found } => write!(
                f,
                "{packet} needs the fixed header flags {expected:#06b} and came with {found:#06b}"
            ),
            Self::RemainingLengthMalformed => {
                f.write_str("the remaining length goes on after its fourth byte")
            }
            Self::PacketTooLarge { size, limit } => {
                write!(f, "a packet of {size} bytes is over the limit of {limit}")
            }
            Self::WrongDirection { packet } => {
                write!(f, "{packet} flows in the other direction only")
            }
            Self::Truncated { packet, field, needed, available } => write!(
                f,
                "{packet} ends inside its {field}: {needed} bytes needed, {available} available"
            ),
            Self::TrailingBytes { packet, extra } => {
                write!(f, "{packet} has {extra} bytes behind its last field")
            }
            Self::StringNotUtf8 { field, at } => {
                write!(f, "the {field} is not UTF-8, from its byte {at} on")
            }
            Self::StringHasNull { field } => write!(f, "the {field} contains U+0000"),
            Self::VariableByteIntegerMalformed { field } => {
                write!(f, "the {field} is a variable byte integer with too many bytes")
            }
            Self::PacketIdZero { packet } => write!(f, "{packet} has packet identifier 0"),
            Self::QosInvalid { field } => write!(f, "the {field} is 3; 0, 1 or 2 were expected"),
            Self::RequestedQosInvalid => {
                f.write_str("the requested QoS is 3; 0, 1 or 2 were expected")
            }
            Self::ProtocolNameUnknown => {
                f.write_str("the protocol name is neither 'MQTT' nor 'MQIsdp'")
            }
            Self::ProtocolVersionUnsupported { level } => write!(
                f,
                "protocol level {level} is not supported; 3 (3.1), 4 (3.1.1) and 5 (5.0) are"
            ),
            Self::ConnectFlagReserved => f.write_str("the reserved flag of CONNECT is set"),
            Self::WillFlagsWithoutWill => {
                f.write_str("CONNECT has a will QoS or will retain flag without a will")
            }
            Self::PasswordWithoutUserName => f.write_str("CONNECT has a password but no user name"),
            Self::AuthenticationDataWithoutMethod => {
                f.write_str("CONNECT has authentication data but no authentication method")
            }
            Self::ConnackFlagsReserved { found } => {
                write!(f, "CONNACK has flags {found:#010b}; only the lowest may be set")
            }
            Self::DupAtQos0 => f.write_str("a message at QoS 0 has the DUP flag"),
            Self::TopicEmpty => f.write_str("the topic is empty"),
            Self::TopicHasWildcard => f.write_str("the topic name contains '+' or '#'"),
            Self::TopicTooLong { bytes } => {
                write!(f, "the topic has {bytes} bytes; 65,535 are possible")
            }
            Self::TopicOverLimit { what, found, limit } => {
                write!(f, "the topic has {found} {what}, over the limit of {limit}")
            }
            Self::UserPropertiesOverLimit { found, limit } => {
                write!(f, "the packet has {found} user properties, over the limit of {limit}")
            }
            Self::FilterInvalid { why } => write!(f, "the topic filter is not valid: {why}"),
            Self::SharedFilterInvalid => f.write_str(
                "a shared subscription needs the form $share/NAME/FILTER, no wildcard in NAME",
            ),
            Self::NoLocalOnShared => f.write_str("a shared subscription asks for No Local"),
            Self::SubscriptionOptionsReserved { found } => {
                write!(f, "the subscription options {found:#010b} have reserved bits set")
            }
            Self::RetainHandlingInvalid => {
                f.write_str("the retain handling is 3; 0, 1 or 2 were expected")
            }
            Self::ListEmpty { packet } => write!(f, "{packet} needs at least one entry"),
            Self::PropertyUnknown { id } => write!(f, "property {id:#04x} does not exist"),
            Self::PropertyNotAllowed { property, carrier } => {
                write!(f, "the property '{}' may not be in {carrier}", property.words())
            }
            Self::PropertyRepeated { property, carrier } => {
                write!(f, "the property '{}' is in {carrier} more than once", property.words())
            }
            Self::PropertyValueInvalid { property } => {
                write!(f, "the property '{}' has a value that is not allowed", property.words())
            }
            Self::SubscriptionIdentifierFromClient => {
                f.write_str("PUBLISH from a client has a subscription identifier")
            }
            Self::ReasonCodeInvalid { packet, code } => {
                write!(f, "{packet} cannot have the reason code {code:#04x}")
            }
            Self::TopicAliasInvalid { alias } => {
                write!(f, "topic alias {alias} is not known or over the limit")
            }
            Self::AuthMethodDiffers => {
                f.write_str("AUTH has another authentication method than CONNECT")
            }
            Self::AuthStepUnexpected { reason } => {
                write!(f, "AUTH says '{}', which is not its turn", reason.words())
            }
            Self::TopicAliasUnknown { alias } => {
                write!(f, "topic alias {alias} comes without a topic and stands for none yet")
            }
            Self::QosNotSupported { qos, limit } => {
                write!(f, "a message has QoS {qos}; the server has announced at most {limit}")
            }
            Self::RetainNotSupported => f.write_str(
                "a message is to be retained; the server has announced that it does not",
            ),
            Self::PayloadNotUtf8 => f.write_str("a payload is declared to be UTF-8 and is not"),
            Self::FirstPacketUnexpected { packet } => {
                write!(f, "the first packet is {packet}; the connection must begin with CONNECT")
            }
            Self::SecondConnect => f.write_str("a second CONNECT on the same connection"),
            Self::AuthUnexpected => {
                f.write_str("AUTH came, but CONNECT named no authentication method")
            }
            Self::ReceiveMaximumExceeded { limit } => {
                write!(f, "more than {limit} messages are waiting for their acknowledgement")
            }
            Self::AckUnexpected { packet, packet_id } => {
                write!(f, "{packet} for packet identifier {packet_id}, which does not wait for it")
            }
            Self::SessionExpirySetLate => {
                f.write_str("DISCONNECT sets a session expiry interval although CONNECT had none")
            }
            Self::KeepAliveTimeout { keep_alive } => {
                let patience = f64::from(*keep_alive) * 1.5;
                write!(f, "keep-alive: nothing heard for {patience} s")
            }
        }
    }
}

impl std::error::Error for Violation {}
