//! Why a connection ended or did not come about, in words for people, and whether trying again can
//! help.

use std::fmt;
use std::time::Duration;

use noctule_mqtt::{PacketType, ProtocolVersion, ReasonCode, Violation};
use noctule_scram::ScramError;

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// The user of the client asked for it.
    Asked,
    /// The broker refused the connection in CONNACK.
    Refused(Refusal),
    /// The broker ended the connection with DISCONNECT (MQTT 5).
    Dismissed {
        /// Why.
        code: ReasonCode,
        /// Its own words, if it sent any.
        words: Option<String>,
    },
    /// The connection could not be opened, or it broke: what the system says.
    Network(String),
    /// The broker closed the connection without a word.
    Closed,
    /// The encrypted connection could not be agreed upon: what is wrong.
    Tls(String),
    /// The server did not go on to WebSocket.
    Upgrade {
        /// The status of its answer, if it was one of HTTP.
        status: Option<u16>,
        /// Why.
        words: String,
    },
    /// The broker did not answer in time.
    NoAnswer {
        /// What was expected.
        expected: &'static str,
        /// How long.
        waited: Duration,
    },
    /// The broker sent what MQTT does not allow.
    Violation(Violation),
    /// We could not prove who we are, or the broker that it knows us.
    Authentication(ScramError),
    /// What answered CONNECT is no MQTT: its first bytes.
    NotMqtt(Vec<u8>),
    /// The broker went on with a session (Session Present) although we had asked for a new one
    /// `[MQTT5-3.2.2-4]`.
    SessionUnexpected,
    /// A packet that is well-formed came when it must not.
    OutOfPlace(PacketType),
    /// As many attempts as allowed have failed.
    GaveUp {
        /// How many.
        attempts: u32,
        /// What the last one failed of.
        last: Box<Reason>,
    },
}

/// A broker's refusal of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which MQTT was spoken.
    pub version: ProtocolVersion,
    /// Why not. Return codes of MQTT 3.1 and 3.1.1 are their counterparts of MQTT 5.
    pub code: ReasonCode,
    /// The broker's own words, if it sent any.
    pub words: Option<String>,
    /// Another server that the broker recommends.
    pub server_reference: Option<String>,
}

impl Reason {
    /// Whether it makes sense to try again without a change by a person.
    pub fn may_heal(&self) -> bool {
        match self {
            // Whoever comes back to a session that was taken over takes it over again, and so on
            // for ever.
            Self::Dismissed { code: ReasonCode::SessionTakenOver, .. }
            | Self::Asked
            | Self::Tls(_)
            | Self::Authentication(_)
            | Self::GaveUp { .. } => false,
            Self::Refused(refusal) => refusal_may_heal(refusal.code),
            // The server or the proxy before it is in trouble, or asks for patience. Other answers
            // mean that there is no WebSocket for us at this path.
            Self::Upgrade { status, .. } => matches!(status, Some(429 | 500..)),
            Self::Dismissed { .. }
            | Self::Network(_)
            | Self::Closed
            | Self::NoAnswer { .. }
            | Self::NotMqtt(_)
            | Self::OutOfPlace(_)
            | Self::SessionUnexpected
            | Self::Violation(_) => true,
        }
    }

    /// The broker's reason code, if it gave one.
    pub fn reason_code(&self) -> Option<ReasonCode> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            Self::Dismissed { code, .. } => Some(*code),
            Self::GaveUp { last, .. } => last.reason_code(),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("disconnected as asked"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Dismissed { code: ReasonCode::SessionTakenOver, .. } => f.write_str(
                "another client connected with the same client identifier and took the session \
                 over; give each client an identifier of its own",
            ),
            Self::Dismissed { code, words } => {
                write!(f, "the broker ended the connection: {code}")?;
                quoted(f, words.as_deref())
            }
            Self::Network(what) => f.write_str(what),
            Self::Closed => f.write_str("the broker closed the connection"),
            Self::Tls(what) => write!(f, "TLS failed: {what}"),
            Self::Upgrade { words, .. } => write!(f, "no WebSocket: {words}"),
            Self::NoAnswer { expected, waited } => {
                write!(f, "no {expected} from the broker within {waited:?}")
            }
            Self::Violation(violation) => {
                write!(f, "the peer does not speak MQTT as it should: {violation}")
            }
            Self::Authentication(error) => write!(f, "authentication failed: {error}"),
            Self::NotMqtt(bytes) => not_mqtt(f, bytes),
            Self::SessionUnexpected => f.write_str(
                "the peer does not speak MQTT as it should: it went on with a session although a \
                 new one was asked for",
            ),
            Self::OutOfPlace(packet) => {
                write!(f, "the peer does not speak MQTT as it should: {packet} came out of place")
            }
            Self::GaveUp { attempts, last } => {
                write!(f, "gave up after {attempts} attempts; the last: {last}")
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection refused: {}", explain_refusal(self.version, self.code))?;
        quoted(f, self.words.as_deref())?;
        match &self.server_reference {
            Some(server) => write!(f, "; it recommends the server {server:?}"),
            None => Ok(()),
        }
    }
}

/// What answers where a broker was expected, as far as its first bytes tell.
fn not_mqtt(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str("the peer answers, but not with MQTT (its first bytes are")?;
    bytes.iter().try_for_each(|byte| write!(f, " {byte:02x}"))?;
    f.write_str(match bytes {
        [0x15 | 0x16, 3, ..] => "): that is TLS; connect with TLS, or to the plain port",
        [b'H', b'T', b'T', b'P', ..] => {
            "): that is a web server; WebSocket goes to it by ws:// or wss://"
        }
        _ => ")",
    })
}

/// The peer's own words, escaped, as they may hold anything.
fn quoted(f: &mut fmt::Formatter<'_>, words: Option<&str>) -> fmt::Result {
    match words {
        Some(words) => write!(f, "; the broker says: {words:?}"),
        None => Ok(()),
    }
}

/// Whether a refusal may pass by itself. What depends on what this client *is* (its identifier,
/// password, version, will) does not.
pub(crate) const fn refusal_may_heal(code: ReasonCode) -> bool {
    matches!(
        code,
        ReasonCode::UnspecifiedError
            | ReasonCode::ImplementationSpecificError
            | ReasonCode::ServerUnavailable
            | ReasonCode::ServerBusy
            | ReasonCode::QuotaExceeded
            | ReasonCode::UseAnotherServer
            | ReasonCode::ConnectionRateExceeded
    )
}

/// What a CONNACK with `code` means on a connection that speaks `version`, with the number that was
/// on the wire. Codes that CONNACK cannot have are described by their own words.
pub fn explain_refusal(version: ProtocolVersion, code: ReasonCode) -> String {
    let number = if version.has_reason_codes() {
        format!("0x{:02X}", code.byte())
    } else {
        format!("return code {}", code.connect_return_code())
    };
    format!("{} ({number})", explanation(version, code))
}

fn explanation(version: ProtocolVersion, code: ReasonCode) -> String {
    let text = match code {
        ReasonCode::UnspecifiedError => "the broker gives no reason",
        ReasonCode::MalformedPacket => "the broker could not read our CONNECT",
        ReasonCode::ProtocolError => "the broker found our CONNECT to break the protocol",
        ReasonCode::ImplementationSpecificError => "for a reason of this broker's own",
        ReasonCode::UnsupportedProtocolVersion => {
            return format!(
                "the broker does not speak MQTT {version}; try another version (3.1.1 is the most \
                 widely spoken)"
            );
        }
        ReasonCode::ClientIdentifierNotValid => {
            "the client identifier is not allowed here; choose another one"
        }
        ReasonCode::BadUserNameOrPassword => "the user name or the password is wrong",
        ReasonCode::NotAuthorized => {
            "this client is not allowed to connect; a user name and password may be needed"
        }
        ReasonCode::ServerUnavailable => "the broker is not available for the moment",
        ReasonCode::ServerBusy => "the broker is busy; try again later",
        ReasonCode::Banned => "this client is banned by the broker's administrator",
        ReasonCode::BadAuthenticationMethod => "the authentication method is not accepted",
        ReasonCode::TopicNameInvalid => "the topic of the will is not accepted",
        ReasonCode::PacketTooLarge => "our CONNECT is larger than the broker takes",
        ReasonCode::QuotaExceeded => "a quota of the broker is used up",
        ReasonCode::PayloadFormatInvalid => {
            "the payload of the will does not have the format it claims"
        }
        ReasonCode::RetainNotSupported => {
            "the broker keeps no retained messages, and the will asks for it"
        }
        ReasonCode::QosNotSupported => "the broker does not support the QoS of the will",
        ReasonCode::UseAnotherServer => "another server should be used for the time being",
        ReasonCode::ServerMoved => "the broker has moved; use its new address",
        ReasonCode::ConnectionRateExceeded => "too many connections in a short time",
        other => other.words(),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use noctule_mqtt::PacketType;

    use super::*;

    #[test]
    fn every_code_of_connack_is_explained_in_every_version() {
        let codes = ReasonCode::ALL.iter().filter(|code| code.allowed_in(PacketType::Connack));
        for code in codes.filter(|code| code.is_error()) {
            let text = explain_refusal(ProtocolVersion::V5, *code);
            assert!(text.ends_with(&format!("(0x{:02X})", code.byte())), "{text}");
            assert!(!text.starts_with(code.words()) || text.len() > 40, "{text} says no more");
        }
        for number in 1..=5 {
            let code = ReasonCode::from_connect_return_code(number).unwrap();
            for version in [ProtocolVersion::V31, ProtocolVersion::V311] {
                let text = explain_refusal(version, code);
                assert!(text.ends_with(&format!("(return code {number})")), "{text}");
            }
        }
    }

    #[test]
    fn a_wrong_password_does_not_heal_and_a_busy_broker_does() {
        let refused = |code| {
            Reason::Refused(Refusal {
                version: ProtocolVersion::V311,
                code,
                words: None,
                server_reference: None,
            })
        };
        assert!(!refused(ReasonCode::BadUserNameOrPassword).may_heal());
        assert!(!refused(ReasonCode::NotAuthorized).may_heal());
        assert!(refused(ReasonCode::ServerUnavailable).may_heal());
        assert!(Reason::Closed.may_heal() && !Reason::Asked.may_heal());
        let taken = Reason::Dismissed { code: ReasonCode::SessionTakenOver, words: None };
        assert!(!taken.may_heal(), "two clients would take the session from each other for ever");
    }

    #[test]
    fn what_is_no_broker_is_named_if_it_is_known() {
        let said = |bytes: &[u8]| Reason::NotMqtt(bytes.to_vec()).to_string();
        assert!(said(&[0x15, 3, 3, 0, 2]).contains("with TLS"));
        assert!(said(b"HTTP/1.1").contains("web server"));
        assert!(said(&[0xff, 0]).contains("ff 00"));
    }

    #[test]
    fn words_of_the_broker_cannot_write_on_the_terminal() {
        let reason = Reason::Dismissed {
            code: ReasonCode::ServerBusy,
            words: Some("\u{1b}[2Jgone\n".to_owned()),
        };
        let text = reason.to_string();
        assert!(!text.contains('\u{1b}') && !text.contains('\n'), "{text:?}");
    }
}
