//! What a client of a check says: packets in their valid form by the codec, and raw bytes for what
//! the codec would refuse to write.
//!
//! Nothing is sent here.

use noctule_mqtt::packet::{Connect, Publish, Will};
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    Packet, PacketId, PacketType, Properties, Property, PropertyBuffer, ProtocolVersion, QoS,
    TopicName, codec,
};

/// CONNECT of a client that begins anew, until told otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Hello {
    pub(crate) version: ProtocolVersion,
    pub(crate) client_id: String,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) clean: bool,
    keep_alive: u16,
    will: Option<WillWords>,
    properties: Vec<u8>,
}

/// The will of a [`Hello`].
#[derive(Debug, Clone)]
pub(crate) struct WillWords {
    topic: String,
    payload: Vec<u8>,
    qos: u8,
    retain: bool,
    properties: Vec<u8>,
}

/// A message to be published, at QoS 0 until told otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Publishing {
    topic: String,
    payload: Vec<u8>,
    qos: u8,
    id: u16,
    retain: bool,
    dup: bool,
    properties: Vec<u8>,
}

impl Hello {
    /// Of this client, with a keep alive of a minute.
    pub(crate) fn new(version: ProtocolVersion, client_id: String) -> Self {
        Self {
            version,
            client_id,
            user_name: None,
            password: None,
            clean: true,
            keep_alive: 60,
            will: None,
            properties: Vec::new(),
        }
    }

    pub(crate) fn id(mut self, client_id: &str) -> Self {
        self.client_id = client_id.into();
        self
    }

    pub(crate) fn clean(mut self, clean: bool) -> Self {
        self.clean = clean;
        self
    }

    pub(crate) fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive = seconds;
        self
    }

    pub(crate) fn will(mut self, will: WillWords) -> Self {
        self.will = Some(will);
        self
    }

    /// Adds a property; before MQTT 5 there are none, and it is left out.
    pub(crate) fn with(mut self, property: Property<'_>) -> Self {
        if self.version.has_properties() {
            append(&mut self.properties, PacketType::Connect, property);
        }
        self
    }

    /// How the session goes on behind the connection: in MQTT 5 for so many seconds.
    pub(crate) fn expiry(self, seconds: u32) -> Self {
        self.with(Property::SessionExpiryInterval(seconds))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let will = self.will.as_ref().map(|will| Will {
            topic: topic_name(&will.topic),
            qos: qos(will.qos),
            retain: will.retain,
            payload: &will.payload,
            properties: Properties::from_checked(&will.properties),
        });
        written(
            self.version,
            &Packet::Connect(Box::new(Connect {
                version: self.version,
                clean_start: self.clean,
                keep_alive: self.keep_alive,
                client_id: &self.client_id,
                will,
                user_name: self.user_name.as_deref(),
                password: self.password.as_deref(),
                properties: Properties::from_checked(&self.properties),
            })),
        )
    }

    /// The same with its connect flags changed to `flags`.
    pub(crate) fn bytes_with_flags(&self, flags: impl FnOnce(u8) -> u8) -> Vec<u8> {
        let mut bytes = self.bytes();
        // The remaining length may have more than one byte; behind it come a string of four
        // characters and the level.
        let at = 1 + length_bytes(&bytes) + 2 + 4 + 1;
        bytes[at] = flags(bytes[at]);
        bytes
    }

    /// The same with these bytes as its properties, whatever they are. Only in MQTT 5.
    pub(crate) fn bytes_with_raw_properties(&self, properties: &[u8]) -> Vec<u8> {
        let mut hello = self.clone();
        hello.properties.clear();
        let bytes = hello.bytes();
        let body = &bytes[1 + length_bytes(&bytes)..];
        // Name, level, flags and keep alive; then the length of no properties.
        let (head, rest) = (&body[..10], &body[11..]);
        raw(bytes[0], &[head, &property_block(self.version, properties), rest])
    }
}

/// How many bytes the remaining length of a packet takes.
fn length_bytes(packet: &[u8]) -> usize {
    1 + packet[1..].iter().take_while(|byte| **byte & 0x80 != 0).count()
}

impl WillWords {
    pub(crate) fn new(topic: &str, payload: &str) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: 0,
            retain: false,
            properties: Vec::new(),
        }
    }

    pub(crate) fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    pub(crate) fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    pub(crate) fn with(mut self, property: Property<'_>) -> Self {
        push(&mut self.properties, Carrier::Will, property);
        self
    }

    /// These bytes as its properties, whatever they are.
    pub(crate) fn raw_properties(mut self, properties: &[u8]) -> Self {
        self.properties = properties.into();
        self
    }
}

/// A message.
pub(crate) fn publish(topic: &str, payload: impl AsRef<[u8]>) -> Publishing {
    Publishing {
        topic: topic.into(),
        payload: payload.as_ref().into(),
        qos: 0,
        id: 0,
        retain: false,
        dup: false,
        properties: Vec::new(),
    }
}

impl Publishing {
    pub(crate) fn qos(mut self, qos: u8, id: u16) -> Self {
        (self.qos, self.id) = (qos, id);
        self
    }

    pub(crate) fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    pub(crate) fn dup(mut self) -> Self {
        self.dup = true;
        self
    }

    pub(crate) fn with(mut self, property: Property<'_>) -> Self {
        append(&mut self.properties, PacketType::Publish, property);
        self
    }

    /// These bytes as its properties, whatever they are.
    pub(crate) fn raw_properties(mut self, properties: &[u8]) -> Self {
        self.properties = properties.into();
        self
    }

    pub(crate) fn quality(&self) -> (u8, u16) {
        (self.qos, self.id)
    }

    pub(crate) fn bytes(&self, version: ProtocolVersion) -> Vec<u8> {
        let topic = (!self.topic.is_empty()).then(|| topic_name(&self.topic));
        let publish = Publish {
            dup: self.dup,
            qos: qos(self.qos),
            retain: self.retain,
            topic,
            packet_id: PacketId::new(self.id),
            properties: Properties::from_checked(&self.properties),
            payload: &self.payload,
        };
        written(version, &Packet::Publish(publish))
    }
}

/// A packet as the codec writes it.
fn written(version: ProtocolVersion, packet: &Packet<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    codec::encode(packet, version, &mut out).expect("a check writes what the codec can write");
    out
}

/// Properties of a packet, without their length.
pub(crate) fn properties(packet: PacketType, all: &[Property<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    all.iter().for_each(|property| append(&mut bytes, packet, *property));
    bytes
}

fn append(bytes: &mut Vec<u8>, packet: PacketType, property: Property<'_>) {
    push(bytes, Carrier::Packet(packet), property);
}

fn push(bytes: &mut Vec<u8>, carrier: Carrier, property: Property<'_>) {
    let mut buffer = PropertyBuffer::new(carrier);
    buffer.push(property).expect("a check writes a property that may be there");
    bytes.extend_from_slice(buffer.as_properties().as_bytes());
}

fn topic_name(topic: &str) -> TopicName<'_> {
    TopicName::new(topic).expect("a check writes a valid topic")
}

fn qos(number: u8) -> QoS {
    QoS::from_bits(number).expect("a check writes a QoS of 0, 1 or 2")
}

/// A packet of any bytes: its first byte and what comes behind the remaining length.
pub(crate) fn raw(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut out = vec![first];
    let mut left = body.len();
    loop {
        let more = if left > 0x7F { 0x80 } else { 0 };
        out.push((left & 0x7F) as u8 | more);
        left >>= 7;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&body);
    out
}

/// Bytes with their length in two bytes before them: a string, if they are UTF-8.
pub(crate) fn field(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let length = u16::try_from(bytes.len()).expect("a check writes fields that fit");
    [&length.to_be_bytes(), bytes].concat()
}

/// `properties` with their length; before MQTT 5, nothing.
pub(crate) fn property_block(version: ProtocolVersion, properties: &[u8]) -> Vec<u8> {
    if !version.has_properties() {
        return Vec::new();
    }
    assert!(properties.len() < 0x80, "a check writes short property lists");
    let mut out = vec![properties.len() as u8];
    out.extend_from_slice(properties);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_packets_have_their_length_and_fields_theirs() {
        assert_eq!(raw(0xC0, &[]), [0xC0, 0]);
        assert_eq!(raw(0x30, &[&[0; 200]])[..3], [0x30, 0xC8, 0x01]);
        assert_eq!(field("ab"), [0, 2, b'a', b'b']);
        assert_eq!(property_block(ProtocolVersion::V311, &[1]), [0u8; 0]);
        assert_eq!(property_block(ProtocolVersion::V5, &[1]), [1, 1]);
    }

    #[test]
    fn connect_flags_are_found_whatever_the_length() {
        for id in ["short".to_owned(), "x".repeat(300)] {
            let hello = Hello::new(ProtocolVersion::V311, id);
            assert_eq!(hello.bytes_with_flags(|flags| flags), hello.bytes());
            let changed = hello.bytes_with_flags(|flags| {
                assert_eq!(flags, 0x02);
                flags | 1
            });
            assert!(changed.windows(3).any(|three| three == [b'T', 4, 3]), "{changed:?}");
        }
    }
}
