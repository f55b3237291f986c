//! A message that somebody keeps: in flight, queued, retained, large, or a will.
//!
//! Most messages at QoS 0 never become one. Those that are short-lived come from a pool and go back
//! to it, so that a message at QoS 1 costs no allocation either.

use noctule_mqtt::codec::Frame;
use noctule_mqtt::packet::{Publish, Will};
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{PacketType, Properties, Property, PropertyBuffer, QoS, TopicName, Violation};
use std::fmt;
use triomphe::{Arc, UniqueArc};

/// A shared, immutable application message.
#[derive(Clone)]
pub struct Message(Arc<Body>);

/// Topic, properties and payload in one buffer, and where each is.
#[derive(Default)]
struct Body {
    bytes: Vec<u8>,
    /// If the bytes are the packet it came in: how long its fixed header is. Zero otherwise.
    header_len: u8,
    /// Whether that packet has properties.
    has_properties: bool,
    topic_at: u32,
    topic_len: u32,
    properties_at: u32,
    payload_at: u32,
    qos: QoS,
    retain: bool,
}

impl Body {
    /// Becomes the message of a PUBLISH, by copying its packet whole: it may be what a receiver
    /// gets, and finding its parts again costs nothing.
    fn take_publish(&mut self, frame: &Frame<'_>, publish: &Publish<'_>, has_properties: bool) {
        let payload_at = frame.bytes.len() - publish.payload.len();
        self.bytes.clear();
        self.bytes.extend_from_slice(frame.bytes);
        let passed_on = !publish.dup && !frame.has_padded_length();
        self.header_len = if passed_on { frame.header_len as u8 } else { 0 };
        self.has_properties = has_properties;
        self.topic_at = frame.header_len as u32 + 2;
        self.topic_len = publish.topic.map_or(0, |topic| topic.as_bytes().len()) as u32;
        self.properties_at = (payload_at - publish.properties.as_bytes().len()) as u32;
        self.payload_at = payload_at as u32;
        self.qos = publish.qos;
        self.retain = publish.retain;
    }
}

/// Messages that nobody has any more, to be used again.
#[derive(Default)]
pub(crate) struct MessagePool {
    spare: Vec<UniqueArc<Body>>,
}

/// So many spare messages of at most this size are kept.
const SPARE_MAX: usize = 1_024;
const SPARE_BYTES_MAX: usize = 1_024;

impl MessagePool {
    /// The message of a PUBLISH.
    pub(crate) fn message(
        &mut self,
        frame: &Frame<'_>,
        publish: &Publish<'_>,
        has_properties: bool,
    ) -> Message {
        let mut body = self.spare.pop().unwrap_or_else(|| UniqueArc::new(Body::default()));
        body.take_publish(frame, publish, has_properties);
        Message(body.shareable())
    }

    /// Takes a message back from one who is done with it; if he was the last, it is used again.
    pub(crate) fn recycle(&mut self, message: Message) {
        if message.0.bytes.capacity() <= SPARE_BYTES_MAX
            && self.spare.len() < SPARE_MAX
            && let Ok(unique) = Arc::try_unique(message.0)
        {
            self.spare.push(unique);
        }
    }
}

impl fmt::Debug for MessagePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessagePool").field("spare", &self.spare.len()).finish()
    }
}

/// The parts of a message, wherever they lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageView<'a> {
    pub(crate) topic: TopicName<'a>,
    /// Checked properties to pass on, without their length.
    pub(crate) properties: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

/// What a store keeps of a message, and gives back to have it made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageParts<'a> {
    /// The topic name.
    pub topic: &'a str,
    /// The properties to pass on, without their length.
    pub properties: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
    /// The QoS it was published with.
    pub qos: QoS,
    /// Whether it was published to be retained.
    pub retain: bool,
}

impl Message {
    /// Makes a message of parts that come from outside, and checks them.
    ///
    /// # Errors
    /// What is wrong with the topic name or with the properties of a PUBLISH.
    pub fn from_parts(parts: &MessageParts<'_>) -> Result<Self, Violation> {
        let carrier = Carrier::Packet(PacketType::Publish);
        Ok(Self::new(&MessageView {
            topic: TopicName::new(parts.topic)?,
            properties: Properties::check(parts.properties, carrier)?.as_bytes(),
            payload: parts.payload,
            qos: parts.qos,
            retain: parts.retain,
        }))
    }

    /// Its parts.
    pub fn parts(&self) -> MessageParts<'_> {
        MessageParts {
            topic: self.topic(),
            properties: self.properties(),
            payload: self.payload(),
            qos: self.qos(),
            retain: self.retain(),
        }
    }

    /// A number that two messages have in common if they are one, shared; it says so only as long
    /// as both are held.
    pub fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Makes a message of its parts.
    pub(crate) fn new(view: &MessageView<'_>) -> Self {
        let (topic_len, properties_len) = (view.topic.as_bytes().len(), view.properties.len());
        let mut bytes = Vec::with_capacity(topic_len + properties_len + view.payload.len());
        bytes.extend_from_slice(view.topic.as_bytes());
        bytes.extend_from_slice(view.properties);
        bytes.extend_from_slice(view.payload);
        Self(Arc::new(Body {
            bytes,
            header_len: 0,
            has_properties: false,
            topic_at: 0,
            topic_len: topic_len as u32,
            properties_at: topic_len as u32,
            payload_at: (topic_len + properties_len) as u32,
            qos: view.qos,
            retain: view.retain,
        }))
    }

    /// Makes the message of a will: its properties without the will delay, which concerns the
    /// server alone.
    pub(crate) fn of_will(will: &Will<'_>) -> Self {
        let mut properties = PropertyBuffer::new(Carrier::Packet(PacketType::Publish));
        for property in will.properties {
            if !matches!(property, Property::WillDelayInterval(_)) {
                // Everything else a will may have, a PUBLISH may have too.
                let _ = properties.push(property);
            }
        }
        Self::new(&MessageView {
            topic: will.topic,
            properties: properties.as_properties().as_bytes(),
            payload: will.payload,
            qos: will.qos,
            retain: will.retain,
        })
    }

    /// The topic name.
    pub fn topic(&self) -> &str {
        TopicName::from_checked(self.topic_bytes()).as_str()
    }

    /// All constructors copy the topic from a topic name.
    fn topic_bytes(&self) -> &[u8] {
        &self.0.bytes[self.0.topic_at as usize..][..self.0.topic_len as usize]
    }

    /// The packet it came in, with the length of its fixed header and whether it has properties, if
    /// it can be passed on as it is but for its packet identifier.
    pub(crate) fn packet(&self) -> Option<(&[u8], usize, bool)> {
        match self.0.header_len {
            0 => None,
            header_len => Some((&self.0.bytes, usize::from(header_len), self.0.has_properties)),
        }
    }

    /// The properties to pass on, checked, without their length.
    pub fn properties(&self) -> &[u8] {
        &self.0.bytes[self.0.properties_at as usize..self.0.payload_at as usize]
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.0.bytes[self.0.payload_at as usize..]
    }

    /// The QoS it was published with.
    pub fn qos(&self) -> QoS {
        self.0.qos
    }

    /// Whether it was published to be retained.
    pub fn retain(&self) -> bool {
        self.0.retain
    }

    /// About how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        self.0.bytes.capacity() + size_of::<Body>() + size_of::<usize>()
    }

    pub(crate) fn view(&self) -> MessageView<'_> {
        MessageView {
            topic: TopicName::from_checked(self.topic_bytes()),
            properties: self.properties(),
            payload: self.payload(),
            qos: self.qos(),
            retain: self.retain(),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("qos", &self.qos())
            .field("retain", &self.retain())
            .field("payload_len", &self.payload().len())
            .finish()
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        let parts = |message: &Self| (message.qos(), message.retain());
        parts(self) == parts(other)
            && self.topic() == other.topic()
            && self.properties() == other.properties()
            && self.payload() == other.payload()
    }
}

impl Eq for Message {}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: MessageParts<'_> = MessageParts {
        topic: "a/b",
        properties: &[1, 1],
        payload: b"x",
        qos: QoS::AtLeastOnce,
        retain: true,
    };

    #[test]
    fn a_message_is_made_of_its_parts_again_and_bad_parts_are_refused() {
        let message = Message::from_parts(&PARTS).unwrap();
        assert_eq!(message.parts(), PARTS);
        let refused = |parts| Message::from_parts(&parts).is_err();
        assert!(refused(MessageParts { topic: "a/#", ..PARTS }));
        assert!(refused(MessageParts { properties: &[1, 2], ..PARTS }));
        assert!(refused(MessageParts { properties: &[36, 1], ..PARTS }), "not of PUBLISH");
    }

    #[test]
    fn shared_messages_have_one_identity() {
        let (one, other) =
            (Message::from_parts(&PARTS).unwrap(), Message::from_parts(&PARTS).unwrap());
        assert_eq!(one.identity(), one.clone().identity());
        assert_ne!(one.identity(), other.identity());
    }
}
