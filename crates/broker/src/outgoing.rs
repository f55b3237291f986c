//! A message on its way to its receivers, and its encoded forms.
//!
//! A PUBLISH is encoded once per form and copied to every receiver that wants it so; only the
//! packet identifier differs, and is written over. Where the publisher's own packet already is the
//! form, it is used as it came.

use crate::message::{Message, MessageView};
use crate::outbox::COPY_MAX;
use noctule_mqtt::codec::{Frame, variable_byte_integer_len};
use noctule_mqtt::packet::Publish;
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    PacketId, PacketType, Properties, Property, PropertyBuffer, ProtocolVersion, QoS,
};
use smallvec::SmallVec;

/// A message that is being routed.
pub(crate) struct Outgoing<'a> {
    pub(crate) view: MessageView<'a>,
    source: Source<'a>,
    /// Whether its payload is shared by its receivers instead of copied for each.
    shared: bool,
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
        Self::new(view, source, None)
    }

    /// A message that was kept.
    pub(crate) fn of_message(message: &'a Message) -> Self {
        Self::new(message.view(), Source::Kept, Some(message.clone()))
    }

    fn new(view: MessageView<'a>, source: Source<'a>, kept: Option<Message>) -> Self {
        let shared = view.payload.len() > COPY_MAX;
        Self { view, source, shared, kept, durable: false, refused: false }
    }

    /// The message as something to keep.
    pub(crate) fn message(&mut self) -> &Message {
        self.kept.get_or_insert_with(|| match &self.source {
            Source::Packet { frame, publish, .. } => Message::of_publish(frame, publish),
            Source::Kept => Message::new(&self.view),
        })
    }

    /// The message whose payload is to be sent from where it lies, if it is large.
    #[inline]
    pub(crate) fn shared_payload(&mut self) -> Option<Message> {
        self.shared.then(|| self.message().clone())
    }

    /// The publisher's packet as a form: the key of the terms it fits, as it came but for its
    /// packet identifier.
    fn own_form(&self) -> Option<(u8, Place)> {
        match &self.source {
            Source::Packet { frame, publish, has_properties } if !publish.dup && !self.shared => {
                let (has_properties, retain) = (*has_properties, publish.retain);
                let terms =
                    FormTerms { has_properties, qos: publish.qos, retain, identifiers: &[] };
                let packet_id_at = frame.header_len + 2 + self.view.topic.as_bytes().len();
                Some((terms.key(), Place::Frame { packet_id_at }))
            }
            _ => None,
        }
    }

    /// The publisher's packet.
    fn frame_bytes(&self) -> &'a [u8] {
        match &self.source {
            Source::Packet { frame, .. } => frame.bytes,
            Source::Kept => &[],
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

impl FormTerms<'_> {
    /// All but the identifiers in one number.
    #[inline]
    fn key(&self) -> u8 {
        self.qos.bits() | u8::from(self.has_properties) << 2 | u8::from(self.retain) << 3
    }
}

/// Encoded forms of the message that is being routed. The memory is used again for the next.
#[derive(Debug, Default)]
pub(crate) struct Forms {
    bytes: Vec<u8>,
    made: Vec<Form>,
    scratch: Vec<u8>,
    /// The publisher's packet, if it is the form of any terms.
    own: Option<(u8, Place)>,
    /// The form asked for last, if it has no identifiers: mostly the one asked for next.
    last: Option<(u8, Place)>,
}

#[derive(Debug, Clone)]
struct Form {
    key: u8,
    identifiers: SmallVec<[u32; 2]>,
    place: Place,
}

/// Where an encoded form lies.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// It is the publisher's packet.
    Frame {
        packet_id_at: usize,
    },
    Made {
        start: usize,
        end: usize,
        packet_id_at: usize,
    },
}

/// One encoded form: the packet without its payload if that is shared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encoded<'a> {
    pub(crate) bytes: &'a [u8],
    /// Where the packet identifier is, at QoS 1 and 2.
    pub(crate) packet_id_at: usize,
    /// How large the packet is with its payload. Zero if it cannot be expressed.
    pub(crate) packet_bytes: usize,
}

impl Forms {
    /// A new message: forgets the last one's forms.
    #[inline]
    pub(crate) fn begin(&mut self, outgoing: &Outgoing<'_>) {
        self.bytes.clear();
        self.made.clear();
        self.own = outgoing.own_form();
        self.last = self.own;
    }

    /// The form of `outgoing` for a receiver with `terms`.
    #[inline]
    pub(crate) fn form<'a>(
        &'a mut self,
        outgoing: &Outgoing<'a>,
        terms: &FormTerms<'_>,
    ) -> Encoded<'a> {
        let place = match self.last {
            Some((key, place)) if key == terms.key() && terms.identifiers.is_empty() => place,
            _ => self.find_or_make(outgoing, terms),
        };
        let (bytes, packet_id_at) = match place {
            Place::Frame { packet_id_at } => (outgoing.frame_bytes(), packet_id_at),
            Place::Made { start, end, packet_id_at } => (&self.bytes[start..end], packet_id_at),
        };
        let mut packet_bytes = bytes.len();
        if outgoing.shared && packet_bytes > 0 {
            packet_bytes += outgoing.view.payload.len();
        }
        Encoded { bytes, packet_id_at, packet_bytes }
    }

    #[cold]
    fn find_or_make(&mut self, outgoing: &Outgoing<'_>, terms: &FormTerms<'_>) -> Place {
        let fits =
            |form: &&Form| form.key == terms.key() && *form.identifiers == *terms.identifiers;
        let place = match self.made.iter().find(fits) {
            Some(form) => form.place,
            None => match self.own {
                Some((key, place)) if key == terms.key() && terms.identifiers.is_empty() => place,
                _ => self.make(outgoing, terms),
            },
        };
        if terms.identifiers.is_empty() {
            self.last = Some((terms.key(), place));
        }
        place
    }

    fn make(&mut self, outgoing: &Outgoing<'_>, terms: &FormTerms<'_>) -> Place {
        let view = &outgoing.view;
        let start = self.bytes.len();
        let delivery = OneDelivery { terms: *terms, dup: false, packet_id: PacketId::FIRST };
        write_publish(view, &delivery, &mut self.scratch, &mut self.bytes);
        let packet_id_at = packet_id_at(&self.bytes[start..], view.topic.as_bytes().len());
        if !outgoing.shared && self.bytes.len() > start {
            self.bytes.extend_from_slice(view.payload);
        }
        let place = Place::Made { start, end: self.bytes.len(), packet_id_at };
        self.made.push(Form { key: terms.key(), identifiers: terms.identifiers.into(), place });
        place
    }
}

/// One delivery of a message to one client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OneDelivery<'a> {
    pub(crate) terms: FormTerms<'a>,
    pub(crate) dup: bool,
    /// Ignored at QoS 0.
    pub(crate) packet_id: PacketId,
}

/// Appends the PUBLISH of a delivery to `out`, all but the payload. `scratch` is used up.
pub(crate) fn write_publish(
    view: &MessageView<'_>,
    delivery: &OneDelivery<'_>,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    let terms = &delivery.terms;
    let (version, properties) = if terms.has_properties {
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
    let remaining = 2 + view.topic.as_bytes().len() + id + properties + view.payload.len();
    1 + variable_byte_integer_len(remaining) + remaining
}

/// Subscription identifiers first, then the message's own properties in their order.
fn with_identifiers<'a>(
    identifiers: &[u32],
    properties: &[u8],
    scratch: &'a mut Vec<u8>,
) -> &'a [u8] {
    let mut buffer = PropertyBuffer::new(Carrier::Packet(PacketType::Publish));
    for identifier in identifiers {
        // Identifiers are checked when they are subscribed with.
        let _ = buffer.push(Property::SubscriptionIdentifier(*identifier));
    }
    scratch.clear();
    scratch.extend_from_slice(buffer.as_properties().as_bytes());
    scratch.extend_from_slice(properties);
    scratch
}

/// Where the packet identifier of an encoded PUBLISH is: behind fixed header and topic.
fn packet_id_at(publish: &[u8], topic_len: usize) -> usize {
    let length_bytes = publish.iter().skip(1).take_while(|byte| **byte & 0x80 != 0).count() + 1;
    1 + length_bytes + 2 + topic_len
}
