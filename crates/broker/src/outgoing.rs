//! A message on its way to its receivers, and its encoded forms.
//!
//! A PUBLISH is encoded once per form and copied to every receiver that wants it so; only the
//! packet identifier differs, and is written over. Where the publisher's own packet already is the
//! form, it is used as it came.

use crate::message::{Message, MessageView};
use noctule_mqtt::codec::{Frame, variable_byte_integer_len};
use noctule_mqtt::packet::Publish;
use noctule_mqtt::{PacketId, Properties, Property, ProtocolVersion, QoS};
use smallvec::SmallVec;

/// A message that is being routed.
pub(crate) struct Outgoing<'a> {
    pub(crate) view: MessageView<'a>,
    source: Source<'a>,
    /// The same as something to keep, made when the first receiver needs that.
    kept: Option<Message>,
    /// Whether a session is owed it across a crash, so that its sender has to wait.
    pub(crate) durable: bool,
    /// Whether a session refused it because its queue is full.
    pub(crate) refused: bool,
}

enum Source<'a> {
    Packet { frame: &'a Frame<'a>, publish: &'a Publish<'a>, has_properties: bool },
    Kept,
}

impl<'a> Outgoing<'a> {
    /// A message that has just come in as `publish`, whose topic is known to be there.
    pub(crate) fn of_publish(
        view: MessageView<'a>,
        frame: &'a Frame<'a>,
        publish: &'a Publish<'a>,
        version: ProtocolVersion,
    ) -> Self {
        let has_properties = version.has_properties();
        let source = Source::Packet { frame, publish, has_properties };
        Self { view, source, kept: None, durable: false, refused: false }
    }

    /// A message that was kept.
    pub(crate) fn of_message(message: &'a Message) -> Self {
        Self {
            view: message.view(),
            source: Source::Kept,
            kept: Some(message.clone()),
            durable: false,
            refused: false,
        }
    }

    /// The message as something to keep.
    pub(crate) fn message(&mut self) -> Message {
        let message = self.kept.get_or_insert_with(|| match &self.source {
            Source::Packet { frame, publish, .. } => Message::of_publish(frame, publish),
            Source::Kept => Message::new(&self.view),
        });
        message.clone()
    }

    /// The publisher's packet, if it is what a receiver with these terms gets.
    #[inline]
    fn as_it_came(&self, terms: &FormTerms<'_>) -> Option<&'a [u8]> {
        match &self.source {
            Source::Packet { frame, publish, has_properties }
                if *has_properties == terms.has_properties
                    && publish.qos == QoS::AtMostOnce
                    && terms.qos == QoS::AtMostOnce
                    && publish.retain == terms.retain
                    && terms.identifiers.is_empty() =>
            {
                Some(frame.bytes)
            }
            _ => None,
        }
    }
}

/// What a receiver's form of a message depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FormTerms<'a> {
    pub(crate) has_properties: bool,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) identifiers: &'a [u32],
}

/// Encoded forms of the message that is being routed. The memory is used again for the next.
#[derive(Debug, Default)]
pub(crate) struct Forms {
    bytes: Vec<u8>,
    made: SmallVec<[Form; 4]>,
    properties: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Form {
    has_properties: bool,
    qos: QoS,
    retain: bool,
    identifiers: SmallVec<[u32; 2]>,
    start: usize,
    end: usize,
}

/// One encoded form: the packet without its payload if that is to be shared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encoded<'a> {
    pub(crate) bytes: &'a [u8],
    /// Where the packet identifier is, at QoS 1 and 2.
    pub(crate) packet_id_at: usize,
}

impl Forms {
    /// A new message: forgets the last one's forms.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.made.clear();
    }

    /// The form of `outgoing` for a receiver with `terms`; without the payload if `shared`.
    #[inline]
    pub(crate) fn form<'a>(
        &'a mut self,
        outgoing: &Outgoing<'a>,
        terms: &FormTerms<'_>,
        shared: bool,
    ) -> Encoded<'a> {
        if !shared && let Some(bytes) = outgoing.as_it_came(terms) {
            return Encoded { bytes, packet_id_at: 0 };
        }
        let found = self.made.iter().position(|form| form.fits(terms));
        let index = found.unwrap_or_else(|| self.make(&outgoing.view, terms, shared));
        let form = &self.made[index];
        let bytes = &self.bytes[form.start..form.end];
        let topic_len = outgoing.view.topic.as_str().len();
        Encoded { bytes, packet_id_at: packet_id_at(bytes, topic_len) }
    }

    fn make(&mut self, view: &MessageView<'_>, terms: &FormTerms<'_>, shared: bool) -> usize {
        let start = self.bytes.len();
        let delivery = Delivery { terms: *terms, dup: false, packet_id: PacketId::FIRST };
        write_publish(view, &delivery, &mut self.properties, &mut self.bytes);
        if !shared {
            self.bytes.extend_from_slice(view.payload);
        }
        self.made.push(Form {
            has_properties: terms.has_properties,
            qos: terms.qos,
            retain: terms.retain,
            identifiers: terms.identifiers.into(),
            start,
            end: self.bytes.len(),
        });
        self.made.len() - 1
    }
}

impl Form {
    fn fits(&self, terms: &FormTerms<'_>) -> bool {
        self.has_properties == terms.has_properties
            && self.qos == terms.qos
            && self.retain == terms.retain
            && *self.identifiers == *terms.identifiers
    }
}

/// One delivery of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery<'a> {
    pub(crate) terms: FormTerms<'a>,
    pub(crate) dup: bool,
    /// Ignored at QoS 0.
    pub(crate) packet_id: PacketId,
}

/// Appends the PUBLISH of a delivery to `out`, all but the payload. `scratch` is used up.
pub(crate) fn write_publish(
    view: &MessageView<'_>,
    delivery: &Delivery<'_>,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    let terms = &delivery.terms;
    let (version, properties) = if terms.has_properties {
        scratch.clear();
        let properties = if terms.identifiers.is_empty() {
            view.properties
        } else {
            with_identifiers(terms.identifiers, view.properties, scratch)
        };
        (ProtocolVersion::V5, Properties::from_checked(properties))
    } else {
        (ProtocolVersion::V311, Properties::EMPTY)
    };
    let publish = Publish {
        dup: delivery.dup,
        qos: terms.qos,
        retain: terms.retain,
        topic: Some(view.topic),
        packet_id: (terms.qos != QoS::AtMostOnce).then_some(delivery.packet_id),
        properties,
        payload: view.payload,
    };
    let before = out.len();
    // It came in as a packet of no more than 256 MB, and subscription identifiers are the only
    // thing a delivery adds. Should those take it over what a packet can say, the receiver cannot
    // be sent it, and an empty form tells the caller so.
    if publish.encode_head(version, out).is_err() {
        out.truncate(before);
    }
}

/// How many bytes the PUBLISH of a delivery has, payload included.
pub(crate) fn publish_size(view: &MessageView<'_>, terms: &FormTerms<'_>) -> usize {
    let id = if terms.qos == QoS::AtMostOnce { 0 } else { 2 };
    let identifiers: usize =
        terms.identifiers.iter().map(|one| 1 + variable_byte_integer_len(*one as usize)).sum();
    let properties = if terms.has_properties {
        let bytes = identifiers + view.properties.len();
        variable_byte_integer_len(bytes) + bytes
    } else {
        0
    };
    let remaining = 2 + view.topic.as_str().len() + id + properties + view.payload.len();
    1 + variable_byte_integer_len(remaining) + remaining
}

/// Subscription identifiers first, then the message's own properties in their order.
fn with_identifiers<'a>(
    identifiers: &[u32],
    properties: &[u8],
    scratch: &'a mut Vec<u8>,
) -> &'a [u8] {
    use noctule_mqtt::property::Carrier;
    use noctule_mqtt::{PacketType, PropertyBuffer};
    let mut buffer = PropertyBuffer::new(Carrier::Packet(PacketType::Publish));
    for identifier in identifiers {
        // Identifiers are checked when they are subscribed with.
        let _ = buffer.push(Property::SubscriptionIdentifier(*identifier));
    }
    scratch.extend_from_slice(buffer.as_properties().as_bytes());
    scratch.extend_from_slice(properties);
    scratch
}

/// Where the packet identifier of an encoded PUBLISH is: behind fixed header and topic.
fn packet_id_at(publish: &[u8], topic_len: usize) -> usize {
    let length_bytes = publish.iter().skip(1).take_while(|byte| **byte & 0x80 != 0).count() + 1;
    1 + length_bytes + 2 + topic_len
}
