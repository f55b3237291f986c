//! A message on its way to its receivers, and its encoded forms.
//!
//! A PUBLISH is encoded once per form and copied to every receiver that wants it so; only the
//! packet identifier differs, and is written over. Where the publisher's own packet already is the
//! form, it is used as it came.

use crate::expiry::write_seconds_left;
use crate::message::{Attribution, Message, MessagePool, MessageView, PublishedBy};
use crate::outbox::{COPY_MAX, Outbox};
use crate::persist::{Extras, Owed};
use crate::session::SessionHandle;
use noctule_mqtt::codec::{Frame, REMAINING_LENGTH_MAX, variable_byte_integer_len};
use noctule_mqtt::packet::Publish;
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    PacketId, PacketType, Properties, Property, PropertyBuffer, ProtocolVersion, QoS,
};
use noctule_session::{AliasUse, AliasesOut, Now};
use smallvec::SmallVec;
use std::sync::Arc;

/// A message that is being routed.
pub(crate) struct Outgoing<'a> {
    pub(crate) view: MessageView<'a>,
    /// The packet it is in, if it is in one.
    packet: Option<RawPublish<'a>>,
    /// Whether its payload is shared by its receivers instead of copied for each.
    shared: bool,
    /// The same as something to keep, made when the first receiver needs that.
    kept: Option<Message>,
    /// The session that published it, if it is one of this shard.
    pub(crate) from: Option<SessionHandle>,
    /// Who published it, if that is one of another shard and known.
    pub(crate) published_by: Option<PublishedBy<'a>>,
    /// The number it was retained with; zero if it was not.
    pub(crate) retained: u64,
    /// Whether it is sent when there is room for it, or a place was kept for it, so that no queue may refuse it.
    pub(crate) paced: bool,
    /// Whether a session is owed it across a crash, so that its sender has to wait.
    pub(crate) durable: bool,
    /// Whether nothing is stored for it, and those for whom it would be go without.
    pub(crate) unstored: bool,
    /// Whether a session refused it because its queue is full.
    pub(crate) refused: bool,
}

/// A PUBLISH packet as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawPublish<'a> {
    pub(crate) bytes: &'a [u8],
    /// How long its fixed header is.
    pub(crate) header_len: usize,
    pub(crate) has_properties: bool,
    /// Whether it can be passed on as it is, but for its packet identifier.
    pub(crate) passable: bool,
}

impl<'a> RawPublish<'a> {
    /// The packet in `frame`, which was decoded as `publish`.
    #[inline]
    pub(crate) fn new(frame: &Frame<'a>, publish: &Publish<'a>, version: ProtocolVersion) -> Self {
        Self {
            bytes: frame.bytes,
            header_len: frame.header_len,
            has_properties: version.has_properties(),
            // [MQTT3-3.3.1-3] [MQTT5-3.3.1-3]: DUP is between the publisher and us.
            passable: !publish.dup && !frame.has_padded_length(),
        }
    }
}

impl<'a> Outgoing<'a> {
    /// A message that came in `packet`, whose parts are those of `view`.
    #[inline]
    pub(crate) fn of_packet(view: MessageView<'a>, packet: RawPublish<'a>) -> Self {
        Self::new(view, Some(packet), None)
    }

    /// A message that was kept.
    pub(crate) fn of_message(message: &'a Message) -> Self {
        Self::new(message.view(), message.packet(), Some(message.clone()))
    }

    /// A message in parts, and the same as something to keep if that is there.
    pub(crate) fn of_parts(view: MessageView<'a>, message: Option<Message>) -> Self {
        Self::new(view, None, message)
    }

    #[inline]
    fn new(view: MessageView<'a>, packet: Option<RawPublish<'a>>, kept: Option<Message>) -> Self {
        let shared = view.payload.len() > COPY_MAX;
        Self {
            view,
            packet,
            shared,
            kept,
            from: None,
            published_by: None,
            retained: 0,
            paced: false,
            durable: false,
            unstored: false,
            refused: false,
        }
    }

    /// The message as something to keep.
    pub(crate) fn message(&mut self, pool: &mut MessagePool) -> &Message {
        self.kept.get_or_insert_with(|| match self.packet {
            Some(packet) => pool.message(&self.view, packet),
            None => pool.own(&self.view),
        })
    }

    /// Whether what is kept of it does not say when it came and from whom.
    #[inline]
    pub(crate) fn lacks_attribution(&self) -> bool {
        !self.kept.as_ref().is_some_and(Message::is_attributed)
    }

    /// Whether several will keep it that is too large to be made twice.
    #[inline]
    pub(crate) fn is_large_to_keep(&self) -> bool {
        self.shared && self.kept.is_none() && self.view.qos != QoS::AtMostOnce
    }

    /// Has what is kept of it say when it came and from whom. Those who keep it already keep it as
    /// it is.
    pub(crate) fn attribute(&mut self, attribution: &Attribution<'_>, pool: &mut MessagePool) {
        self.kept = Some(match self.packet {
            Some(packet) => pool.attributed_message(&self.view, packet, attribution),
            None => pool.attributed(&self.view, attribution),
        });
    }

    /// About how many bytes a session is owed that has to keep it.
    pub(crate) fn owed_bytes(&self) -> usize {
        let view = &self.view;
        let parts = view.topic.as_bytes().len() + view.properties.len() + view.payload.len();
        size_of::<Owed>() + Message::bytes_of(parts)
    }

    /// The packet it came in, if that is small and can be passed on, so that copying it is the
    /// cheapest way to hand it to somebody.
    #[inline]
    pub(crate) fn passable(&self) -> Option<RawPublish<'a>> {
        self.packet.filter(|packet| packet.passable && !self.shared)
    }

    /// The message whose payload is to be sent from where it lies, if it is large.
    #[inline]
    pub(crate) fn shared_payload(&mut self, pool: &mut MessagePool) -> Option<Message> {
        if self.shared { Some(self.message(pool).clone()) } else { None }
    }

    /// The publisher's packet as a form: the key of the terms it fits, as it came but for its
    /// packet identifier.
    #[inline]
    fn own_form(&self) -> Option<(FormKey, Place)> {
        let RawPublish { bytes, header_len, has_properties, .. } = self.passable()?;
        let key = FormKey::new(has_properties, self.view.qos, self.view.retain);
        let place = Place {
            of_frame: true,
            start: 0,
            end: bytes.len(),
            packet_id_at: header_len + 2 + self.view.topic.as_bytes().len(),
            packet_bytes: bytes.len(),
        };
        Some((key, place))
    }

    /// The packet that can be passed on.
    fn frame_bytes(&self) -> &'a [u8] {
        self.packet.map_or(&[], |packet| packet.bytes)
    }
}

/// What a receiver's form of a message depends on, but for subscription identifiers: whether it
/// has properties, its QoS, its retain flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FormKey(u8);

impl FormKey {
    /// The key of no form.
    const NONE: FormKey = FormKey(u8::MAX);

    #[inline]
    pub(crate) fn new(has_properties: bool, qos: QoS, retain: bool) -> Self {
        Self(qos.bits() | u8::from(has_properties) << 2 | u8::from(retain) << 3)
    }

    pub(crate) fn has_properties(self) -> bool {
        self.0 & 0b100 != 0
    }

    pub(crate) fn qos(self) -> QoS {
        QoS::from_bits(self.0 & 0b11).unwrap_or_default()
    }

    fn retain(self) -> bool {
        self.0 & 0b1000 != 0
    }
}

/// The terms of a delivery that its form depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FormTerms<'a> {
    pub(crate) key: FormKey,
    /// Empty if the form has no properties.
    identifiers: &'a [u32],
}

impl<'a> FormTerms<'a> {
    #[inline]
    pub(crate) fn new(key: FormKey, extras: &'a Option<Arc<Extras>>) -> Self {
        match extras {
            Some(extras) if key.has_properties() => Self { key, identifiers: &extras.identifiers },
            _ => Self { key, identifiers: &[] },
        }
    }
}

/// Encoded forms of the message that is being routed. The memory is used again for the next.
#[derive(Debug)]
pub(crate) struct Forms {
    bytes: Vec<u8>,
    made: Vec<Form>,
    scratch: Vec<u8>,
    /// The form without identifiers asked for last: mostly the one asked for next.
    last_key: FormKey,
    last: Place,
    now: Now,
}

#[derive(Debug, Clone)]
struct Form {
    key: FormKey,
    identifiers: SmallVec<[u32; 2]>,
    place: Place,
}

/// Where an encoded form lies: in the publisher's packet or in what was made.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    of_frame: bool,
    start: usize,
    end: usize,
    packet_id_at: usize,
    packet_bytes: usize,
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

impl Default for Forms {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            made: Vec::new(),
            scratch: Vec::new(),
            last_key: FormKey::NONE,
            last: Place::default(),
            now: Now::default(),
        }
    }
}

impl Forms {
    /// A new message: forgets the last one's forms.
    #[inline]
    pub(crate) fn begin(&mut self, outgoing: &Outgoing<'_>, now: Now) {
        self.now = now;
        self.bytes.clear();
        self.made.clear();
        match outgoing.own_form() {
            Some((key, place)) => (self.last_key, self.last) = (key, place),
            None => self.last_key = FormKey::NONE,
        }
    }

    /// The form of `outgoing` for a receiver with these terms.
    #[inline(always)]
    pub(crate) fn form<'a>(
        &'a mut self,
        outgoing: &Outgoing<'a>,
        key: FormKey,
        extras: &Option<Arc<Extras>>,
    ) -> Encoded<'a> {
        let place = if key == self.last_key && extras.is_none() {
            self.last
        } else {
            self.find_or_make(outgoing, FormTerms::new(key, extras))
        };
        let all = if place.of_frame { outgoing.frame_bytes() } else { &self.bytes };
        let Place { start, end, packet_id_at, packet_bytes, .. } = place;
        Encoded { bytes: &all[start..end], packet_id_at, packet_bytes }
    }

    /// The form asked for last and its key, if it is the whole packet at QoS 0.
    #[inline]
    pub(crate) fn current_at_most_once<'a>(
        &'a self,
        outgoing: &Outgoing<'a>,
    ) -> Option<(FormKey, &'a [u8])> {
        let key = self.last_key;
        if key == FormKey::NONE || key.qos() != QoS::AtMostOnce || outgoing.shared {
            return None;
        }
        let all = if self.last.of_frame { outgoing.frame_bytes() } else { &self.bytes };
        let bytes = &all[self.last.start..self.last.end];
        // An empty one stands for a packet that cannot be expressed.
        if bytes.is_empty() { None } else { Some((key, bytes)) }
    }

    #[cold]
    fn find_or_make(&mut self, outgoing: &Outgoing<'_>, terms: FormTerms<'_>) -> Place {
        let plain = terms.identifiers.is_empty();
        let fits = |form: &&Form| form.key == terms.key && *form.identifiers == *terms.identifiers;
        let place = match (outgoing.own_form(), self.made.iter().find(fits)) {
            (Some((key, place)), _) if key == terms.key && plain => place,
            (_, Some(form)) => form.place,
            (_, None) => self.make(outgoing, terms),
        };
        if plain {
            (self.last_key, self.last) = (terms.key, place);
        }
        place
    }

    fn make(&mut self, outgoing: &Outgoing<'_>, terms: FormTerms<'_>) -> Place {
        let view = &outgoing.view;
        let start = self.bytes.len();
        let packet_id = PacketId::FIRST;
        let (dup, now, alias) = (false, self.now, AliasUse::None);
        let delivery = OneDelivery { terms, dup, packet_id, now, alias };
        write_publish(view, &delivery, &mut self.scratch, &mut self.bytes);
        let head_bytes = self.bytes.len() - start;
        let packet_id_at = packet_id_at(&self.bytes[start..], view.topic.as_bytes().len());
        let payload_bytes = if head_bytes == 0 { 0 } else { view.payload.len() };
        if !outgoing.shared && head_bytes > 0 {
            self.bytes.extend_from_slice(view.payload);
        }
        let place = Place {
            of_frame: false,
            start,
            end: self.bytes.len(),
            packet_id_at,
            packet_bytes: head_bytes + payload_bytes,
        };
        self.made.push(Form { key: terms.key, identifiers: terms.identifiers.into(), place });
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
    /// When it leaves.
    pub(crate) now: Now,
    /// How its topic is said.
    pub(crate) alias: AliasUse,
}

/// Appends the PUBLISH of a delivery to `out`, all but the payload. `scratch` is used up.
fn write_publish(
    view: &MessageView<'_>,
    delivery: &OneDelivery<'_>,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    let terms = &delivery.terms;
    let (version, properties) = if terms.key.has_properties() {
        let properties = if terms.identifiers.is_empty() && delivery.alias == AliasUse::None {
            view.properties
        } else {
            with_own_properties(delivery, view.properties, scratch)
        };
        (ProtocolVersion::V5, Properties::from_checked(properties))
    } else {
        (ProtocolVersion::V311, Properties::EMPTY)
    };
    let publish = Publish {
        dup: delivery.dup,
        qos: terms.key.qos(),
        retain: terms.key.retain(),
        topic: (!matches!(delivery.alias, AliasUse::Known(_))).then_some(view.topic),
        packet_id: (terms.key.qos() != QoS::AtMostOnce).then_some(delivery.packet_id),
        properties,
        payload: view.payload,
    };
    let before = out.len();
    // It came in as a packet of no more than 256 MB, and subscription identifiers are the only
    // thing a delivery adds. Should those take it over what a packet can say, the receiver cannot
    // be sent it, and an empty form tells the caller so.
    if publish.encode_head(version, out).is_err() {
        out.truncate(before);
    } else if !view.expires.is_never() && terms.key.has_properties() {
        // They are what the head ends with.
        let properties_at = out.len() - view.properties.len();
        write_seconds_left(&mut out[properties_at..], view.expires, delivery.now);
    }
}

/// The largest packet that can be expressed: one byte of type, four of length, and what follows.
const PACKET_BYTES_MAX: usize = 1 + 4 + REMAINING_LENGTH_MAX as usize;

/// How the topic of a delivery is said to a client that may take topic aliases, if the packet is not
/// larger than `bytes_max` then; `None` if it is too large in any form.
pub(crate) fn choose_alias(
    view: &MessageView<'_>,
    terms: &FormTerms<'_>,
    aliases: Option<&AliasesOut>,
    bytes_max: usize,
) -> Option<AliasUse> {
    let bytes_max = bytes_max.min(PACKET_BYTES_MAX);
    let wished = aliases.map_or(AliasUse::None, |aliases| aliases.find(view.topic.as_bytes()));
    // A new alias makes the packet longer, for once.
    [wished, AliasUse::None]
        .into_iter()
        .find(|alias| publish_size(view, terms, *alias) <= bytes_max)
}

/// Appends the PUBLISH of a delivery to an outbox. Its payload is copied, unless there is a `shared`
/// message to send it from.
pub(crate) fn put_publish(
    outbox: &mut Outbox,
    view: &MessageView<'_>,
    delivery: &OneDelivery<'_>,
    shared: Option<Message>,
    scratch: &mut Vec<u8>,
) {
    let before = outbox.tail().len();
    write_publish(view, delivery, scratch, outbox.tail());
    let written = outbox.tail().len() - before;
    outbox.appended(written);
    match shared {
        Some(message) => outbox.push_payload(message),
        None => outbox.push(view.payload),
    }
}

/// How many bytes the PUBLISH of a delivery has, payload included.
fn publish_size(view: &MessageView<'_>, terms: &FormTerms<'_>, alias: AliasUse) -> usize {
    let topic_len = match alias {
        AliasUse::Known(_) => 0,
        AliasUse::New(_) | AliasUse::None => view.topic.as_bytes().len(),
    };
    let alias_len = if alias == AliasUse::None { 0 } else { 3 };
    let id = if terms.key.qos() == QoS::AtMostOnce { 0 } else { 2 };
    let identifiers: usize =
        terms.identifiers.iter().map(|one| 1 + variable_byte_integer_len(*one as usize)).sum();
    let properties = if terms.key.has_properties() {
        let bytes = identifiers + alias_len + view.properties.len();
        variable_byte_integer_len(bytes) + bytes
    } else {
        0
    };
    let remaining = 2 + topic_len + id + properties + view.payload.len();
    1 + variable_byte_integer_len(remaining) + remaining
}

/// What belongs to the delivery first, subscription identifiers and topic alias, then the message's
/// own properties in their order.
fn with_own_properties<'a>(
    delivery: &OneDelivery<'_>,
    properties: &[u8],
    scratch: &'a mut Vec<u8>,
) -> &'a [u8] {
    let mut buffer = PropertyBuffer::new(Carrier::Packet(PacketType::Publish));
    if let AliasUse::Known(alias) | AliasUse::New(alias) = delivery.alias {
        // It is the only one, and aliases begin with 1.
        let _ = buffer.push(Property::TopicAlias(alias));
    }
    for identifier in delivery.terms.identifiers {
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
