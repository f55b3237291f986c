//! What is answered to which violation, in which version and phase.
//!
//! A code is written here as the clause in its line says it. Where no clause gives a code, MQTT 5
//! section 4.13 leaves the choice between 0x81 (cannot be read) and 0x82 (may not be said), and the
//! line says so with `section 4.13`.

use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    Answer, PacketType, Phase, PropertyId, ProtocolVersion, ReasonCode as R, Violation as W,
};

pub(crate) struct Line {
    pub(crate) violation: W,
    /// `reason_code()`, and what DISCONNECT says in MQTT 5.
    reason: R,
    /// What CONNACK says in MQTT 5, if that is something else.
    in_connack: R,
    /// What DISCONNECT says in MQTT 5, if that is something else.
    in_disconnect: R,
    clause: &'static str,
}

fn line(violation: W, reason: R, clause: &'static str) -> Line {
    Line { violation, reason, in_connack: reason, in_disconnect: reason, clause }
}

impl Line {
    /// For codes that CONNACK has no place for.
    fn in_connack(self, in_connack: R) -> Self {
        Self { in_connack, ..self }
    }

    /// For codes that DISCONNECT has no place for.
    fn in_disconnect(self, in_disconnect: R) -> Self {
        Self { in_disconnect, ..self }
    }
}

#[rustfmt::skip]
pub(crate) fn lines() -> Vec<Line> {
    use R::{MalformedPacket as Malformed, ProtocolError as Protocol};
    let packet = PacketType::Publish;
    let property = PropertyId::ContentType;
    let carrier = Carrier::Will;
    let field = "field";
    vec![
        line(W::PacketTypeReserved { bits: 0 }, Malformed, "section 4.13"),
        line(W::FlagsReserved { packet, expected: 0, found: 1 }, Malformed, "MQTT5-2.1.3-1"),
        line(W::RemainingLengthMalformed, Malformed, "section 4.13"),
        line(W::PacketTooLarge { size: 2, limit: 1 }, R::PacketTooLarge, "section 3.1.2.11.4 and 3.2.2.3.6"),
        line(W::WrongDirection { packet }, Protocol, "section 4.13"),
        line(W::Truncated { packet, field, needed: 1, available: 0 }, Malformed, "section 4.13"),
        line(W::TrailingBytes { packet, extra: 1 }, Malformed, "section 4.13"),
        line(W::StringNotUtf8 { field, at: 0 }, Malformed, "MQTT5-1.5.4-1"),
        line(W::StringHasNull { field }, Malformed, "MQTT5-1.5.4-2"),
        line(W::VariableByteIntegerMalformed { field }, Malformed, "section 4.13"),
        line(W::PacketIdZero { packet }, Malformed, "section 4.13"),
        line(W::QosInvalid { field }, Malformed, "section 3.3.1.2 and 3.1.2.6"),
        line(W::RequestedQosInvalid, Protocol, "section 3.8.3.1"),
        line(W::ProtocolNameUnknown, R::UnsupportedProtocolVersion, "section 3.1.2.1").in_disconnect(Protocol),
        line(W::ProtocolVersionUnsupported { level: 6 }, R::UnsupportedProtocolVersion, "MQTT5-3.1.2-2").in_disconnect(Protocol),
        line(W::ConnectFlagReserved, Malformed, "section 3.1.2.3"),
        line(W::WillFlagsWithoutWill, Malformed, "section 4.13"),
        line(W::PasswordWithoutUserName, Malformed, "section 4.13"),
        line(W::AuthenticationDataWithoutMethod, Protocol, "section 3.1.2.11.10"),
        line(W::ConnackFlagsReserved { found: 2 }, Malformed, "section 4.13"),
        line(W::DupAtQos0, Malformed, "section 4.13"),
        line(W::TopicEmpty, Protocol, "section 3.3.2.1"),
        line(W::TopicHasWildcard, Malformed, "section 4.13"),
        line(W::TopicTooLong { bytes: 65_536 }, Malformed, "section 4.13"),
        line(W::TopicOverLimit { what: "levels", found: 2, limit: 1 }, R::TopicNameInvalid, "section 4.13.1, 0x90"),
        line(W::UserPropertiesOverLimit { found: 2, limit: 1 }, R::QuotaExceeded, "section 4.13.1, 0x97"),
        line(W::FilterInvalid { why: "" }, Malformed, "section 4.13"),
        line(W::SharedFilterInvalid, Malformed, "section 4.13"),
        line(W::NoLocalOnShared, Protocol, "MQTT5-3.8.3-4"),
        line(W::SubscriptionOptionsReserved { found: 0x40 }, Malformed, "MQTT5-3.8.3-5"),
        line(W::RetainHandlingInvalid, Protocol, "section 3.8.3.1"),
        line(W::ListEmpty { packet: PacketType::Subscribe }, Protocol, "section 3.8.3"),
        line(W::ListEmpty { packet: PacketType::Unsubscribe }, Protocol, "section 3.10.3"),
        line(W::PropertyUnknown { id: 0 }, Malformed, "section 2.2.2.2"),
        line(W::PropertyNotAllowed { property, carrier }, Malformed, "section 2.2.2.2"),
        line(W::PropertyRepeated { property, carrier }, Protocol, "section 3.3.2.3 and its like"),
        line(W::PropertyValueInvalid { property }, Protocol, "section 3.1.2.11 and its like"),
        line(W::SubscriptionIdentifierFromClient, Protocol, "section 4.13"),
        line(W::ReasonCodeInvalid { packet, code: 1 }, Malformed, "section 4.13"),
        line(W::TopicAliasInvalid { alias: 0 }, R::TopicAliasInvalid, "section 3.3.2.3.4, 0x94").in_connack(Protocol),
        line(W::FirstPacketUnexpected { packet }, Protocol, "section 4.13"),
        line(W::SecondConnect, Protocol, "MQTT5-3.1.0-2"),
        line(W::AuthUnexpected, Protocol, "section 4.12"),
        line(W::ReceiveMaximumExceeded { limit: 1 }, R::ReceiveMaximumExceeded, "section 3.3.4, 0x93").in_connack(Protocol),
        line(W::AckUnexpected { packet, packet_id: 1 }, Protocol, "section 4.13"),
        line(W::SessionExpirySetLate, Protocol, "section 3.14.2.2.2"),
        line(W::KeepAliveTimeout { keep_alive: 1 }, R::KeepAliveTimeout, "section 3.14.2.1, 0x8D").in_connack(Protocol),
    ]
}

const OLD: [ProtocolVersion; 2] = [ProtocolVersion::V31, ProtocolVersion::V311];

#[test]
fn reason_codes_are_those_of_the_clauses() {
    for line in lines() {
        assert_eq!(line.violation.reason_code(), line.reason, "{}", line.clause);
    }
}

#[test] // [MQTT5-3.1.4-1] [MQTT5-4.13.1-1]
fn mqtt_5_says_why_before_it_closes() {
    let v5 = Some(ProtocolVersion::V5);
    for line in lines() {
        let in_connack = Answer::Connack(line.in_connack);
        let in_disconnect = Answer::Disconnect(line.in_disconnect);
        let answer = |phase| line.violation.answer(v5, phase);
        assert_eq!(answer(Phase::Connecting), in_connack, "{}", line.clause);
        assert_eq!(answer(Phase::Connected), in_disconnect, "{}", line.clause);
        assert!(line.in_connack.allowed_in(PacketType::Connack));
        assert!(line.in_disconnect.allowed_in(PacketType::Disconnect));
    }
}

#[test] // [MQTT3-3.1.4-1] [MQTT3-4.8.0-1]
fn mqtt_3_closes_without_a_word() {
    for line in lines() {
        for version in OLD.map(Some) {
            let answer = |phase| line.violation.answer(version, phase);
            assert_eq!(answer(Phase::Connected), Answer::Close);
            if !matches!(line.violation, W::ProtocolVersionUnsupported { .. }) {
                assert_eq!(answer(Phase::Connecting), Answer::Close);
            }
        }
    }
}

#[test] // [MQTT3-3.1.2-2] [MQTT5-3.1.2-2]
fn an_unsupported_level_is_told_in_every_version() {
    let violation = W::ProtocolVersionUnsupported { level: 6 };
    let told = Answer::Connack(R::UnsupportedProtocolVersion);
    for version in ProtocolVersion::ALL.map(Some).into_iter().chain([None]) {
        assert_eq!(violation.answer(version, Phase::Connecting), told);
    }
    assert_eq!(R::UnsupportedProtocolVersion.connect_return_code(), 1);
    assert_eq!(R::UnsupportedProtocolVersion.byte(), 0x84);
}

#[test] // [MQTT3-3.1.0-1] [MQTT5-3.1.0-1] [MQTT5-3.1.2-1]
fn whoever_has_not_said_a_version_is_told_nothing() {
    for line in lines() {
        if !matches!(line.violation, W::ProtocolVersionUnsupported { .. }) {
            let answer = line.violation.answer(None, Phase::Connecting);
            assert_eq!(answer, Answer::Close, "{}", line.clause);
        }
    }
}

#[test]
fn every_violation_has_words_and_a_clause_in_every_version() {
    for line in lines() {
        assert!(line.violation.to_string().len() > 10);
        for version in ProtocolVersion::ALL {
            let prefix = match version {
                ProtocolVersion::V5 => "MQTT5",
                ProtocolVersion::V31 | ProtocolVersion::V311 => "MQTT3",
            };
            let clause = line.violation.clause(version);
            assert!(clause.starts_with(prefix), "{clause}");
        }
    }
}
