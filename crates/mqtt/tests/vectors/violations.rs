//! Whether the rows reach every violation that the codec can find, and only those.

use noctule_mqtt::Violation;
use std::collections::BTreeSet;

/// Who finds a violation.
#[derive(Debug, PartialEq, Eq)]
enum Finder {
    /// Reading bytes.
    Codec,
    /// Making a topic that the wire has no length for.
    TopicOfOurOwn,
    /// Whoever knows what was said before, or what is allowed here.
    Conversation,
}

/// A new variant does not compile until somebody has decided where it belongs.
fn finder(violation: &Violation) -> Finder {
    use Violation as V;
    match violation {
        V::PacketTypeReserved { .. }
        | V::FlagsReserved { .. }
        | V::RemainingLengthMalformed
        | V::PacketTooLarge { .. }
        | V::WrongDirection { .. }
        | V::Truncated { .. }
        | V::TrailingBytes { .. }
        | V::StringNotUtf8 { .. }
        | V::StringHasNull { .. }
        | V::VariableByteIntegerMalformed { .. }
        | V::PacketIdZero { .. }
        | V::QosInvalid { .. }
        | V::RequestedQosInvalid
        | V::ProtocolNameUnknown
        | V::ProtocolVersionUnsupported { .. }
        | V::ConnectFlagReserved
        | V::WillFlagsWithoutWill
        | V::PasswordWithoutUserName
        | V::AuthenticationDataWithoutMethod
        | V::ConnackFlagsReserved { .. }
        | V::DupAtQos0
        | V::TopicEmpty
        | V::TopicHasWildcard
        | V::FilterInvalid { .. }
        | V::SharedFilterInvalid
        | V::NoLocalOnShared
        | V::SubscriptionOptionsReserved { .. }
        | V::RetainHandlingInvalid
        | V::ListEmpty { .. }
        | V::PropertyUnknown { .. }
        | V::PropertyNotAllowed { .. }
        | V::PropertyRepeated { .. }
        | V::PropertyValueInvalid { .. }
        | V::SubscriptionIdentifierFromClient
        | V::ReasonCodeInvalid { .. }
        | V::TopicAliasInvalid { .. } => Finder::Codec,
        V::TopicTooLong { .. } => Finder::TopicOfOurOwn,
        V::TopicOverLimit { .. }
        | V::UserPropertiesOverLimit { .. }
        | V::FirstPacketUnexpected { .. }
        | V::SecondConnect
        | V::AuthUnexpected
        | V::ReceiveMaximumExceeded { .. }
        | V::AckUnexpected { .. }
        | V::SessionExpirySetLate
        | V::TopicAliasUnknown { .. }
        | V::AuthMethodDiffers
        | V::AuthStepUnexpected { .. }
        | V::QosNotSupported { .. }
        | V::RetainNotSupported
        | V::PayloadNotUtf8
        | V::KeepAliveTimeout { .. } => Finder::Conversation,
    }
}

/// How many arms of [`finder`] are there in all; who adds one adds a line to the answers too.
const VARIANTS: usize = 46;

/// The variant without its fields.
pub(crate) fn name(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    let end = text.find(|c: char| !c.is_alphanumeric());
    text[..end.unwrap_or(text.len())].to_owned()
}

#[test]
fn every_violation_has_a_line_among_the_answers() {
    let lines = crate::answers::lines();
    let named: BTreeSet<_> = lines.iter().map(|line| name(&line.violation)).collect();
    assert_eq!(named.len(), VARIANTS, "{named:?}");
}

#[test]
fn the_rows_reach_every_violation_that_the_codec_finds() {
    let codecs_own: BTreeSet<_> = crate::answers::lines()
        .iter()
        .filter(|line| finder(&line.violation) == Finder::Codec)
        .map(|line| name(&line.violation))
        .collect();
    let mut reached = BTreeSet::new();
    crate::for_each(|row, version, receiver| {
        let bytes = row.bytes();
        if let Err(violation) = crate::read(&bytes, row.bytes_max, version, receiver) {
            assert_eq!(finder(&violation), Finder::Codec, "{}", row.claim);
            reached.insert(name(&violation));
        }
    });
    assert_eq!(reached, codecs_own);
}
