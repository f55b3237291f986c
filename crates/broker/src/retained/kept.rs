//! A retained message as it is kept: small ones packed into one piece of memory, together with the
//! number they were set with and whom they are from; large ones, and those that expire, as the
//! message that others have as well.
//!
//! ```text
//! number 8 | came 8 | lengths of topic, properties, client id, user name 2 each | flags 1
//! | topic | properties | payload | client identifier | user name
//! ```

use crate::expiry::Deadline;
use crate::message::{Attribution, Message, MessagePool, MessageView, PublishedBy};
use crate::outgoing::Outgoing;
use noctule_mqtt::{QoS, TopicName};

/// The retained message of a topic.
#[derive(Debug)]
pub(crate) enum Kept {
    Packed(Packed),
    Shared(Box<Shared>),
}

/// A message that is not packed.
#[derive(Debug)]
pub(crate) struct Shared {
    message: Message,
    sequence: u64,
}

/// All of a small message that never expires.
pub(crate) struct Packed(Box<[u8]>);

/// A message with its names takes no more than this if it is packed: as much as the buffer of a
/// spare message has, so that making one of it allocates nothing.
pub(crate) const PACKED_MAX: usize = 1_024;
/// What an allocator needs for each piece of memory, as far as we count it.
const PIECE_BYTES: usize = 16;

const HEAD_BYTES: usize = 8 + 8 + 4 * 2 + 1;
const HAS_CLIENT_ID: u8 = 0b100;
const HAS_USER_NAME: u8 = 0b1000;
const RETAIN: u8 = 0b1_0000;

impl Kept {
    /// `message`, which was set with this number.
    pub(super) fn new(message: &Message, sequence: u64) -> Self {
        match Packed::new(message, sequence) {
            Some(packed) => Self::Packed(packed),
            None => Self::Shared(Box::new(Shared { message: message.clone(), sequence })),
        }
    }

    /// When it was set, in the order of all retained messages.
    pub(super) fn sequence(&self) -> u64 {
        match self {
            Self::Packed(packed) => packed.number(SEQUENCE_AT),
            Self::Shared(shared) => shared.sequence,
        }
    }

    pub(crate) fn topic(&self) -> TopicName<'_> {
        match self {
            Self::Packed(packed) => TopicName::from_checked(packed.topic_bytes()),
            Self::Shared(shared) => shared.message.topic_name(),
        }
    }

    /// Its parts.
    pub(crate) fn view(&self) -> MessageView<'_> {
        match self {
            Self::Packed(packed) => packed.view(),
            Self::Shared(shared) => shared.message.view(),
        }
    }

    pub(crate) fn expires(&self) -> Deadline {
        match self {
            Self::Packed(_) => Deadline::NEVER,
            Self::Shared(shared) => shared.message.expires(),
        }
    }

    /// Who published it, if that is known.
    pub(crate) fn published_by(&self) -> Option<PublishedBy<'_>> {
        match self {
            Self::Packed(packed) => packed.attribution().published_by,
            Self::Shared(shared) => shared.message.published_by(),
        }
    }

    /// It on its way to a receiver who gets it at this QoS, which is higher than its own where messages
    /// are upgraded. Only one who is sent it at QoS 1 or 2 keeps it.
    pub(crate) fn outgoing(&self, qos: QoS, pool: &mut MessagePool) -> Outgoing<'_> {
        match self {
            Self::Shared(shared) => Outgoing::of_message(&shared.message),
            Self::Packed(packed) => {
                let view = packed.view();
                let is_kept = qos != QoS::AtMostOnce;
                let message = is_kept.then(|| pool.unpacked(&view, &packed.attribution()));
                Outgoing::of_parts(view, message)
            }
        }
    }

    /// How many bytes of memory it counts with.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.0.len() + PIECE_BYTES,
            Self::Shared(shared) => shared.message.weight() + size_of::<Shared>() + PIECE_BYTES,
        }
    }
}

const SEQUENCE_AT: usize = 0;
const RECEIVED_AT: usize = 8;
const LENGTHS_AT: usize = 16;
const FLAGS_AT: usize = 24;

impl Packed {
    /// None if the message is too large, or expires.
    fn new(message: &Message, sequence: u64) -> Option<Self> {
        let view = message.view();
        let by = message.published_by();
        let client_id = by.map_or("", |by| by.client_id);
        let user_name = by.and_then(|by| by.user_name);
        let parts: [&[u8]; 5] = [
            view.topic.as_bytes(),
            view.properties,
            view.payload,
            client_id.as_bytes(),
            user_name.unwrap_or_default().as_bytes(),
        ];
        let bytes = parts.iter().map(|part| part.len()).sum::<usize>();
        if bytes > PACKED_MAX || !view.expires.is_never() {
            return None;
        }
        let mut packed = Vec::with_capacity(HEAD_BYTES + bytes);
        packed.extend_from_slice(&sequence.to_ne_bytes());
        packed.extend_from_slice(&message.received_ms().to_ne_bytes());
        for part in [parts[0], parts[1], parts[3], parts[4]] {
            // None is longer than all of them, which is little enough.
            packed.extend_from_slice(&(part.len() as u16).to_ne_bytes());
        }
        let mut flags = view.qos.bits();
        flags |= if view.retain { RETAIN } else { 0 };
        flags |= if by.is_some() { HAS_CLIENT_ID } else { 0 };
        flags |= if user_name.is_some() { HAS_USER_NAME } else { 0 };
        packed.push(flags);
        parts.iter().for_each(|part| packed.extend_from_slice(part));
        Some(Self(packed.into()))
    }

    fn number(&self, at: usize) -> u64 {
        self.0[at..].first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    }

    fn length(&self, which: usize) -> usize {
        let bytes = self.0[LENGTHS_AT + 2 * which..].first_chunk();
        bytes.map_or(0, |bytes| usize::from(u16::from_ne_bytes(*bytes)))
    }

    fn flags(&self) -> u8 {
        self.0[FLAGS_AT]
    }

    fn topic_bytes(&self) -> &[u8] {
        &self.0[HEAD_BYTES..][..self.length(0)]
    }

    fn view(&self) -> MessageView<'_> {
        let (topic, behind) = self.0[HEAD_BYTES..].split_at(self.length(0));
        let (properties, behind) = behind.split_at(self.length(1));
        let payload = &behind[..behind.len() - self.length(2) - self.length(3)];
        MessageView {
            topic: TopicName::from_checked(topic),
            properties,
            payload,
            qos: QoS::from_bits(self.flags() & 0b11).unwrap_or_default(),
            retain: self.flags() & RETAIN != 0,
            expires: Deadline::NEVER,
        }
    }

    fn attribution(&self) -> Attribution<'_> {
        let names = &self.0[self.0.len() - self.length(2) - self.length(3)..];
        let (client_id, user_name) = names.split_at(self.length(2));
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let published_by = text(client_id).filter(|_| self.flags() & HAS_CLIENT_ID != 0);
        let published_by = published_by.map(|client_id| PublishedBy {
            client_id,
            user_name: text(user_name).filter(|_| self.flags() & HAS_USER_NAME != 0),
        });
        Attribution { published_by, received_ms: self.number(RECEIVED_AT) }
    }
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let view = self.view();
        f.debug_struct("Packed")
            .field("sequence", &self.number(SEQUENCE_AT))
            .field("topic", &view.topic)
            .field("payload_len", &view.payload.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageParts;
    use proptest::prelude::*;

    #[test]
    fn a_place_among_the_retained_is_small() {
        assert_eq!(size_of::<Kept>(), 16);
    }

    proptest! {
        /// What is made of a packed message is what was packed.
        #[test]
        fn nothing_is_lost_by_packing(
            topic in "[a-zé/]{1,40}",
            properties in prop::sample::select(vec![&[][..], &[1, 1], &[3, 0, 1, b'x']]),
            payload in prop::collection::vec(any::<u8>(), 1..1_100),
            qos in 0u8..3,
            retain: bool,
            names in prop::option::of(("[a-z]{0,20}", prop::option::of("[a-zü]{0,9}"))),
            received_ms: u64,
            sequence: u64,
        ) {
            let published_by = names.as_ref().map(|(client_id, user_name)| PublishedBy {
                client_id,
                user_name: user_name.as_deref(),
            });
            let qos = QoS::from_bits(qos).unwrap();
            let parts = MessageParts {
                topic: &topic, properties, payload: &payload, qos, retain, published_by, received_ms,
            };
            let message = Message::from_parts(&parts).unwrap();
            let kept = Kept::new(&message, sequence);
            let names_len = names.iter().map(|(id, name)| id.len() + name.as_ref().map_or(0, String::len));
            let all = topic.len() + properties.len() + payload.len() + names_len.sum::<usize>();
            prop_assert_eq!(matches!(kept, Kept::Packed(_)), all <= PACKED_MAX);
            prop_assert_eq!(kept.sequence(), sequence);
            prop_assert_eq!(kept.published_by(), published_by);
            prop_assert_eq!(kept.topic().as_str(), &topic);
            let mut pool = MessagePool::default();
            let mut outgoing = kept.outgoing(QoS::ExactlyOnce, &mut pool);
            prop_assert_eq!(outgoing.view.payload, &*payload);
            prop_assert_eq!(outgoing.view.qos, qos);
            if qos != QoS::AtMostOnce {
                prop_assert_eq!(outgoing.message(&mut pool).parts(), parts);
            }
        }
    }
}
