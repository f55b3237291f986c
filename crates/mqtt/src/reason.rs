//! Reason codes of MQTT 5, the packets that may carry each, and their counterparts before 5.

use crate::PacketType;
use std::fmt;

/// Declares every reason code once: number, name, words for people, and the packets it may be in
/// (MQTT 5.0 section 2.4 and the sections of the packets).
macro_rules! reason_codes {
    ($($(#[$doc:meta])* $code:literal $name:ident $words:literal in $($packet:ident)|+;)+) => {
        /// What became of a request, or why a connection ends.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum ReasonCode {
            $($(#[$doc])* #[doc = concat!("`", stringify!($code), "`: ", $words, ".")] $name = $code,)+
        }

        impl ReasonCode {
            /// Every reason code, in numerical order.
            pub const ALL: &'static [ReasonCode] = &[$(Self::$name),+];

            /// The code with this number, or `None` if the specification has none.
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($code => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// The code in words, for logs and people.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)+ }
            }

            /// Whether `packet` may carry this code.
            pub const fn allowed_in(self, packet: PacketType) -> bool {
                match self {
                    $(Self::$name => matches!(packet, $(PacketType::$packet)|+),)+
                }
            }
        }
    };
}

reason_codes! {
    /// Also "normal disconnection" in DISCONNECT and "granted QoS 0" in SUBACK.
    0x00 Success "success" in Connack | Puback | Pubrec | Pubrel | Pubcomp | Suback | Unsuback | Auth | Disconnect;
    0x01 GrantedQos1 "granted QoS 1" in Suback;
    0x02 GrantedQos2 "granted QoS 2" in Suback;
    0x04 DisconnectWithWill "disconnect with will message" in Disconnect;
    0x10 NoMatchingSubscribers "no matching subscribers" in Puback | Pubrec;
    0x11 NoSubscriptionExisted "no subscription existed" in Unsuback;
    0x18 ContinueAuthentication "continue authentication" in Auth;
    0x19 Reauthenticate "re-authenticate" in Auth;
    0x80 UnspecifiedError "unspecified error" in Connack | Puback | Pubrec | Suback | Unsuback | Disconnect;
    0x81 MalformedPacket "malformed packet" in Connack | Disconnect;
    0x82 ProtocolError "protocol error" in Connack | Disconnect;
    0x83 ImplementationSpecificError "implementation specific error" in Connack | Puback | Pubrec | Suback | Unsuback | Disconnect;
    0x84 UnsupportedProtocolVersion "unsupported protocol version" in Connack;
    0x85 ClientIdentifierNotValid "client identifier not valid" in Connack;
    0x86 BadUserNameOrPassword "bad user name or password" in Connack;
    0x87 NotAuthorized "not authorized" in Connack | Puback | Pubrec | Suback | Unsuback | Disconnect;
    0x88 ServerUnavailable "server unavailable" in Connack;
    0x89 ServerBusy "server busy" in Connack | Disconnect;
    0x8A Banned "banned" in Connack;
    0x8B ServerShuttingDown "server shutting down" in Disconnect;
    0x8C BadAuthenticationMethod "bad authentication method" in Connack | Disconnect;
    0x8D KeepAliveTimeout "keep alive timeout" in Disconnect;
    0x8E SessionTakenOver "session taken over" in Disconnect;
    0x8F TopicFilterInvalid "topic filter invalid" in Suback | Unsuback | Disconnect;
    0x90 TopicNameInvalid "topic name invalid" in Connack | Puback | Pubrec | Disconnect;
    0x91 PacketIdentifierInUse "packet identifier in use" in Puback | Pubrec | Suback | Unsuback;
    0x92 PacketIdentifierNotFound "packet identifier not found" in Pubrel | Pubcomp;
    0x93 ReceiveMaximumExceeded "receive maximum exceeded" in Disconnect;
    0x94 TopicAliasInvalid "topic alias invalid" in Disconnect;
    0x95 PacketTooLarge "packet too large" in Connack | Disconnect;
    0x96 MessageRateTooHigh "message rate too high" in Disconnect;
    0x97 QuotaExceeded "quota exceeded" in Connack | Puback | Pubrec | Suback | Disconnect;
    0x98 AdministrativeAction "administrative action" in Disconnect;
    0x99 PayloadFormatInvalid "payload format invalid" in Connack | Puback | Pubrec | Disconnect;
    0x9A RetainNotSupported "retain not supported" in Connack | Disconnect;
    0x9B QosNotSupported "QoS not supported" in Connack | Disconnect;
    0x9C UseAnotherServer "use another server" in Connack | Disconnect;
    0x9D ServerMoved "server moved" in Connack | Disconnect;
    0x9E SharedSubscriptionsNotSupported "shared subscriptions not supported" in Suback | Disconnect;
    0x9F ConnectionRateExceeded "connection rate exceeded" in Connack | Disconnect;
    0xA0 MaximumConnectTime "maximum connect time" in Disconnect;
    0xA1 SubscriptionIdentifiersNotSupported "subscription identifiers not supported" in Suback | Disconnect;
    0xA2 WildcardSubscriptionsNotSupported "wildcard subscriptions not supported" in Suback | Disconnect;
}

impl ReasonCode {
    /// The number on the wire.
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// Whether the code reports a failure (0x80 and above).
    pub const fn is_error(self) -> bool {
        self.byte() >= 0x80
    }

    /// The SUBACK code that grants `qos`.
    pub const fn granted(qos: crate::QoS) -> Self {
        match qos {
            crate::QoS::AtMostOnce => Self::Success,
            crate::QoS::AtLeastOnce => Self::GrantedQos1,
            crate::QoS::ExactlyOnce => Self::GrantedQos2,
        }
    }

    /// The CONNACK return code of MQTT 3.1.1 (table 3.1) nearest in meaning. What the old table
    /// has no word for is "server unavailable".
    pub const fn connect_return_code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::UnsupportedProtocolVersion => 1,
            Self::ClientIdentifierNotValid => 2,
            Self::BadUserNameOrPassword => 4,
            Self::NotAuthorized | Self::Banned | Self::BadAuthenticationMethod => 5,
            _ => 3,
        }
    }

    /// The reason that a CONNACK return code of MQTT 3.1.1 stands for, or `None` for 6 and above.
    pub const fn from_connect_return_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Success),
            1 => Some(Self::UnsupportedProtocolVersion),
            2 => Some(Self::ClientIdentifierNotValid),
            3 => Some(Self::ServerUnavailable),
            4 => Some(Self::BadUserNameOrPassword),
            5 => Some(Self::NotAuthorized),
            _ => None,
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02X})", self.words(), self.byte())
    }
}
