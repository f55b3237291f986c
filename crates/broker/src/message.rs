//! A message that somebody keeps: in flight, queued, retained, large, or a will.
//!
//! One allocation holds everything. Most messages at QoS 0 never become one.

use noctule_mqtt::codec::Frame;
use noctule_mqtt::packet::{Publish, Will};
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{PacketType, Property, PropertyBuffer, QoS, TopicName};
use std::fmt;
use triomphe::ThinArc;

/// A shared, immutable application message.
#[derive(Clone)]
pub struct Message(ThinArc<Head, u8>);

/// Where the parts are, and what is not bytes.
struct Head {
    topic_at: u32,
    topic_len: u32,
    properties_at: u32,
    payload_at: u32,
    qos: QoS,
    retain: bool,
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

impl Message {
    /// Makes a message of its parts.
    pub(crate) fn new(view: &MessageView<'_>) -> Self {
        let mut bytes = Vec::with_capacity(
            view.topic.as_bytes().len() + view.properties.len() + view.payload.len(),
        );
        bytes.extend_from_slice(view.topic.as_bytes());
        bytes.extend_from_slice(view.properties);
        bytes.extend_from_slice(view.payload);
        let head = Head {
            topic_at: 0,
            topic_len: view.topic.as_bytes().len() as u32,
            properties_at: view.topic.as_bytes().len() as u32,
            payload_at: (view.topic.as_bytes().len() + view.properties.len()) as u32,
            qos: view.qos,
            retain: view.retain,
        };
        Self(ThinArc::from_header_and_slice(head, &bytes))
    }

    /// Makes a message of a PUBLISH, by copying the body of its frame whole.
    pub(crate) fn of_publish(frame: &Frame<'_>, publish: &Publish<'_>) -> Self {
        let body = frame.body();
        let payload_at = body.len() - publish.payload.len();
        let head = Head {
            topic_at: 2,
            topic_len: publish.topic.map_or(0, |topic| topic.as_bytes().len()) as u32,
            properties_at: (payload_at - publish.properties.as_bytes().len()) as u32,
            payload_at: payload_at as u32,
            qos: publish.qos,
            retain: publish.retain,
        };
        Self(ThinArc::from_header_and_slice(head, body))
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
        let head = &self.0.header.header;
        &self.0.slice[head.topic_at as usize..][..head.topic_len as usize]
    }

    /// The properties to pass on, checked, without their length.
    pub fn properties(&self) -> &[u8] {
        let head = &self.0.header.header;
        &self.0.slice[head.properties_at as usize..head.payload_at as usize]
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.0.slice[self.0.header.header.payload_at as usize..]
    }

    /// The QoS it was published with.
    pub fn qos(&self) -> QoS {
        self.0.header.header.qos
    }

    /// Whether it was published to be retained.
    pub fn retain(&self) -> bool {
        self.0.header.header.retain
    }

    /// About how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        self.0.slice.len() + size_of::<Head>() + 2 * size_of::<usize>()
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
