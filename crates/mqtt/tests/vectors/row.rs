//! What a row of a table is, the words it is written in, and nothing that decides what is right.
//!
//! Bytes are written in hexadecimal; ASCII text may stand in single quotes. Properties that a row
//! expects are written by code of this file, so that the codec's own writer does not vouch for
//! itself.

use noctule_mqtt::packet::{Connect, Publish};
use noctule_mqtt::{
    Packet, PacketId, PacketType, Properties, Property, ProtocolVersion, QoS, Receiver,
    TopicFilter, TopicName, Violation,
};

pub(crate) const V31: &[ProtocolVersion] = &[ProtocolVersion::V31];
pub(crate) const V311: &[ProtocolVersion] = &[ProtocolVersion::V311];
pub(crate) const V5: &[ProtocolVersion] = &[ProtocolVersion::V5];
/// 3.1 and 3.1.1.
pub(crate) const V3: &[ProtocolVersion] = &[ProtocolVersion::V31, ProtocolVersion::V311];
/// Since 3.1.1.
pub(crate) const NEW: &[ProtocolVersion] = &[ProtocolVersion::V311, ProtocolVersion::V5];
pub(crate) const ALL: &[ProtocolVersion] = &ProtocolVersion::ALL;

pub(crate) const SERVER: &[Receiver] = &[Receiver::Server];
pub(crate) const CLIENT: &[Receiver] = &[Receiver::Client];
pub(crate) const BOTH: &[Receiver] = &[Receiver::Server, Receiver::Client];

/// One vector.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// What is claimed, in words.
    pub(crate) claim: &'static str,
    /// The statement that says so: `MQTT3` is 3.1.1, `MQTT31` is 3.1, which has sections only.
    pub(crate) clause: &'static str,
    pub(crate) versions: &'static [ProtocolVersion],
    pub(crate) receivers: &'static [Receiver],
    hex: &'static str,
    /// The largest packet the receiver takes.
    pub(crate) bytes_max: u32,
    pub(crate) expected: Expected,
}

/// What the specification says of the bytes.
#[derive(Debug, Clone)]
pub(crate) enum Expected {
    Packet {
        packet: Packet<'static>,
        /// Whether these bytes are the form in which the packet is written.
        canonical: bool,
    },
    Violation(Violation),
}

/// Who reads a row: in which versions, at which ends.
pub(crate) type Readers = (&'static [ProtocolVersion], &'static [Receiver]);

/// Bytes that are a packet, in the form in which it is written.
pub(crate) fn good(
    claim: &'static str,
    clause: &'static str,
    (versions, receivers): Readers,
    hex: &'static str,
    packet: Packet<'static>,
) -> Row {
    Row {
        claim,
        clause,
        versions,
        receivers,
        hex,
        bytes_max: u32::MAX,
        expected: Expected::Packet { packet, canonical: true },
    }
}

/// Bytes that are a packet, which has a shorter or more usual form.
pub(crate) fn odd(
    claim: &'static str,
    clause: &'static str,
    readers: Readers,
    hex: &'static str,
    packet: Packet<'static>,
) -> Row {
    let mut row = good(claim, clause, readers, hex, packet);
    if let Expected::Packet { canonical, .. } = &mut row.expected {
        *canonical = false;
    }
    row
}

/// Bytes that must be refused.
pub(crate) fn bad(
    claim: &'static str,
    clause: &'static str,
    (versions, receivers): Readers,
    hex: &'static str,
    violation: Violation,
) -> Row {
    Row {
        claim,
        clause,
        versions,
        receivers,
        hex,
        bytes_max: u32::MAX,
        expected: Expected::Violation(violation),
    }
}

impl Row {
    /// The same for a receiver that takes packets up to `bytes_max`.
    pub(crate) fn at_most(self, bytes_max: u32) -> Self {
        Self { bytes_max, ..self }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        bytes(self.hex)
    }
}

/// Reads `30 0001 'text'`.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let mut found = Vec::new();
    for word in hex.split_ascii_whitespace() {
        if let Some(text) = word.strip_prefix('\'') {
            let text = text.strip_suffix('\'').expect("the quote is closed");
            found.extend_from_slice(text.as_bytes());
            continue;
        }
        for pair in word.as_bytes().chunks(2) {
            let digits = std::str::from_utf8(pair).expect("hexadecimal is ASCII");
            found.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits"));
        }
    }
    found
}

/// A violation: a field that needs more bytes than there are.
pub(crate) fn cut(
    packet: PacketType,
    field: &'static str,
    needed: usize,
    available: usize,
) -> Violation {
    Violation::Truncated { packet, field, needed, available }
}

pub(crate) fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not zero")
}

pub(crate) fn topic(text: &'static str) -> TopicName<'static> {
    TopicName::new(text).expect("a topic name")
}

pub(crate) fn filter(text: &'static str) -> TopicFilter<'static> {
    TopicFilter::new(text).expect("a topic filter")
}

/// CONNECT of the client `a` with a clean session and a keep alive of a minute.
pub(crate) fn connect(version: ProtocolVersion) -> Connect<'static> {
    Connect {
        version,
        clean_start: true,
        keep_alive: 60,
        client_id: "a",
        will: None,
        user_name: None,
        password: None,
        properties: Properties::EMPTY,
    }
}

/// PUBLISH of `x` to the topic `a` at QoS 0.
pub(crate) fn publish() -> Publish<'static> {
    Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: Some(topic("a")),
        packet_id: None,
        properties: Properties::EMPTY,
        payload: b"x",
    }
}

/// Properties with these values. They live as long as the test, as packets borrow.
pub(crate) fn properties(list: &[Property<'_>]) -> Properties<'static> {
    Properties::from_checked(Box::leak(property_bytes(list).into_boxed_slice()))
}

/// All properties in a packet.
pub(crate) fn properties_of<'a>(packet: &Packet<'a>) -> Vec<Properties<'a>> {
    match packet {
        Packet::Connect(connect) => {
            let will = connect.will.map(|will| will.properties);
            std::iter::once(connect.properties).chain(will).collect()
        }
        Packet::Connack(connack) => vec![connack.properties],
        Packet::Publish(publish) => vec![publish.properties],
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            vec![ack.properties]
        }
        Packet::Subscribe(subscribe) => vec![subscribe.properties],
        Packet::Suback(suback) => vec![suback.properties],
        Packet::Unsubscribe(unsubscribe) => vec![unsubscribe.properties],
        Packet::Unsuback(unsuback) => vec![unsuback.properties],
        Packet::Disconnect(disconnect) => vec![disconnect.properties],
        Packet::Auth(auth) => vec![auth.properties],
        Packet::Pingreq | Packet::Pingresp => Vec::new(),
    }
}

/// Writes properties by table 2-4 and section 1.5 of MQTT 5.0.
pub(crate) fn property_bytes(list: &[Property<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for property in list {
        property_into(&mut out, *property);
    }
    out
}

fn property_into(out: &mut Vec<u8>, property: Property<'_>) {
    match property {
        Property::PayloadFormatIndicator(value) => out.extend([0x01, value]),
        Property::MessageExpiryInterval(value) => four_bytes(out, 0x02, value),
        Property::ContentType(text) => text_into(out, 0x03, text),
        Property::ResponseTopic(text) => text_into(out, 0x08, text),
        Property::CorrelationData(data) => data_into(out, 0x09, data),
        Property::SubscriptionIdentifier(value) => {
            out.push(0x0B);
            variable_into(out, value);
        }
        Property::SessionExpiryInterval(value) => four_bytes(out, 0x11, value),
        Property::AssignedClientIdentifier(text) => text_into(out, 0x12, text),
        Property::ServerKeepAlive(value) => two_bytes(out, 0x13, value),
        Property::AuthenticationMethod(text) => text_into(out, 0x15, text),
        Property::AuthenticationData(data) => data_into(out, 0x16, data),
        Property::RequestProblemInformation(value) => out.extend([0x17, value]),
        Property::WillDelayInterval(value) => four_bytes(out, 0x18, value),
        Property::RequestResponseInformation(value) => out.extend([0x19, value]),
        Property::ResponseInformation(text) => text_into(out, 0x1A, text),
        Property::ServerReference(text) => text_into(out, 0x1C, text),
        Property::ReasonString(text) => text_into(out, 0x1F, text),
        Property::ReceiveMaximum(value) => two_bytes(out, 0x21, value),
        Property::TopicAliasMaximum(value) => two_bytes(out, 0x22, value),
        Property::TopicAlias(value) => two_bytes(out, 0x23, value),
        Property::MaximumQoS(value) => out.extend([0x24, value]),
        Property::RetainAvailable(value) => out.extend([0x25, value]),
        Property::UserProperty((name, value)) => {
            text_into(out, 0x26, name);
            out.extend((value.len() as u16).to_be_bytes());
            out.extend_from_slice(value.as_bytes());
        }
        Property::MaximumPacketSize(value) => four_bytes(out, 0x27, value),
        Property::WildcardSubscriptionAvailable(value) => out.extend([0x28, value]),
        Property::SubscriptionIdentifierAvailable(value) => out.extend([0x29, value]),
        Property::SharedSubscriptionAvailable(value) => out.extend([0x2A, value]),
    }
}

fn two_bytes(out: &mut Vec<u8>, id: u8, value: u16) {
    out.push(id);
    out.extend(value.to_be_bytes());
}

fn four_bytes(out: &mut Vec<u8>, id: u8, value: u32) {
    out.push(id);
    out.extend(value.to_be_bytes());
}

fn text_into(out: &mut Vec<u8>, id: u8, text: &str) {
    data_into(out, id, text.as_bytes());
}

fn data_into(out: &mut Vec<u8>, id: u8, data: &[u8]) {
    two_bytes(out, id, data.len() as u16);
    out.extend_from_slice(data);
}

/// Section 1.5.5, as its example encodes: seven bits at a time, the lowest first.
pub(crate) fn variable_into(out: &mut Vec<u8>, mut value: u32) {
    loop {
        let digit = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            return out.push(digit);
        }
        out.push(digit | 128);
    }
}
