//! A message that somebody keeps: in flight, queued, retained, large, or a will.
//!
//! Most messages at QoS 0 never become one. Those that are short-lived come from a pool and go back
//! to it, so that a message at QoS 1 costs no allocation either.

use crate::expiry::Deadline;
use crate::memory::CommonMemory;
use crate::outgoing::RawPublish;
use noctule_mqtt::packet::{Publish, Will};
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{PacketType, Properties, Property, PropertyBuffer, QoS, TopicName, Violation};
use noctule_session::Now;
use std::fmt;
use std::sync::Arc as StdArc;
use triomphe::{Arc, UniqueArc};

/// A shared, immutable application message.
#[derive(Clone)]
pub struct Message(Arc<Body>);

/// Topic, properties and payload in one buffer, and where each is. Who published it lies behind.
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
    /// Where the payload ends, and the publisher's client identifier and user name begin.
    payload_end: u32,
    client_id_len: u16,
    user_name_len: u16,
    publisher: Known,
    qos: QoS,
    retain: bool,
    expires: Deadline,
    /// When it came, in milliseconds of wall time; zero if nobody has to know.
    received_ms: u64,
    /// Where its bytes are counted, if that is not done by whoever has it.
    meter: Option<StdArc<CommonMemory>>,
}

/// What is known of the publisher of a message.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Known {
    #[default]
    Nothing,
    ClientId,
    UserName,
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(meter) = &self.meter {
            meter.subtract_large(self.bytes.capacity());
        }
    }
}

impl Body {
    /// Counts its bytes by themselves if they are many, for as long as anybody has them.
    fn measure(&mut self, meter: &StdArc<CommonMemory>) {
        if self.bytes.capacity() > METERED_BYTES {
            meter.add_large(self.bytes.capacity());
            self.meter = Some(StdArc::clone(meter));
        }
    }

    /// Topic, properties and payload, one behind the other, and who published it.
    fn of_parts(view: &MessageView<'_>, attribution: &Attribution<'_>) -> Self {
        let mut body = Self::default();
        body.take_parts(view, attribution);
        body
    }

    /// Becomes a message of these parts, and says who published it.
    fn take_parts(&mut self, view: &MessageView<'_>, attribution: &Attribution<'_>) {
        let (topic_len, properties_len) = (view.topic.as_bytes().len(), view.properties.len());
        let parts_len = topic_len + properties_len + view.payload.len();
        self.bytes.clear();
        self.bytes.reserve_exact(parts_len + attribution.names_len());
        self.bytes.extend_from_slice(view.topic.as_bytes());
        self.bytes.extend_from_slice(view.properties);
        self.bytes.extend_from_slice(view.payload);
        self.header_len = 0;
        self.has_properties = false;
        self.topic_at = 0;
        self.topic_len = topic_len as u32;
        self.properties_at = topic_len as u32;
        self.payload_at = (topic_len + properties_len) as u32;
        self.payload_end = parts_len as u32;
        self.publisher = Known::Nothing;
        self.qos = view.qos;
        self.retain = view.retain;
        self.expires = view.expires;
        self.attribute(attribution);
    }

    /// Notes when it came and from whom. To be done once, and before its bytes are counted.
    fn attribute(&mut self, attribution: &Attribution<'_>) {
        self.received_ms = attribution.received_ms;
        let Some(PublishedBy { client_id, user_name }) = attribution.published_by else {
            return;
        };
        // Strings of a CONNECT are no longer than these numbers can say; others come from no client.
        let length = |text: &str| u16::try_from(text.len());
        let (Ok(client_id_len), Ok(user_name_len)) =
            (length(client_id), length(user_name.unwrap_or_default()))
        else {
            return;
        };
        (self.client_id_len, self.user_name_len) = (client_id_len, user_name_len);
        self.bytes.extend_from_slice(client_id.as_bytes());
        self.bytes.extend_from_slice(user_name.unwrap_or_default().as_bytes());
        self.publisher = if user_name.is_some() { Known::UserName } else { Known::ClientId };
    }

    /// Becomes the message of a PUBLISH, by copying its packet whole: it may be what a receiver
    /// gets, and finding its parts again costs nothing.
    fn take_publish(&mut self, view: &MessageView<'_>, packet: RawPublish<'_>) {
        let payload_at = packet.bytes.len() - view.payload.len();
        self.bytes.clear();
        self.bytes.extend_from_slice(packet.bytes);
        self.header_len = if packet.passable { packet.header_len as u8 } else { 0 };
        self.has_properties = packet.has_properties;
        self.topic_at = packet.header_len as u32 + 2;
        self.topic_len = view.topic.as_bytes().len() as u32;
        self.properties_at = (payload_at - view.properties.len()) as u32;
        self.payload_at = payload_at as u32;
        self.payload_end = packet.bytes.len() as u32;
        self.publisher = Known::Nothing;
        self.received_ms = 0;
        self.qos = view.qos;
        self.retain = view.retain;
        self.expires = view.expires;
    }
}

/// Messages that nobody has any more, to be used again.
#[derive(Default)]
pub(crate) struct MessagePool {
    /// By how many bytes they have room for: at `n` for 2^n at most, and for half of that at least.
    spare: [Spare; SPARE_SIZES],
    /// Counts the large ones.
    meter: StdArc<CommonMemory>,
}

/// Messages over this size are counted once, and not with each of those who have them.
const METERED_BYTES: usize = 2_048;

/// So many spare messages of one size are kept, up to that of those which count with each, and more of
/// small ones: some thousands come and go between two acknowledgements where many receivers have full
/// windows.
const SPARE_MAX: usize = 2_048;
const SMALL_SPARE_BYTES_MAX: usize = 1 << 20;
const SPARE_BYTES_MAX: usize = METERED_BYTES;
const SPARE_SIZES: usize = size_of_spare(SPARE_BYTES_MAX) + 1;

/// Among which spare messages those of so many bytes are.
#[inline]
const fn size_of_spare(bytes: usize) -> usize {
    (usize::BITS - bytes.saturating_sub(1).leading_zeros()) as usize
}

/// Spare messages of one size.
#[derive(Default)]
struct Spare {
    bodies: Vec<UniqueArc<Body>>,
    /// The fewest that there were since some were given back last: nobody needed these.
    unneeded: usize,
}

impl Spare {
    #[inline]
    fn take(&mut self) -> Option<UniqueArc<Body>> {
        let body = self.bodies.pop()?;
        self.unneeded = self.unneeded.min(self.bodies.len());
        Some(body)
    }

    /// Whether some are left.
    fn give_back(&mut self) -> bool {
        self.bodies.truncate(self.bodies.len() - self.unneeded);
        if self.bodies.is_empty() {
            self.bodies = Vec::new();
        }
        self.unneeded = self.bodies.len();
        !self.bodies.is_empty()
    }
}

impl MessagePool {
    /// A pool without messages, whose large ones are counted there.
    pub(crate) fn new(meter: &StdArc<CommonMemory>) -> Self {
        Self { spare: Default::default(), meter: StdArc::clone(meter) }
    }

    /// A message to be filled with so many bytes.
    #[inline]
    fn body(&mut self, bytes: usize) -> UniqueArc<Body> {
        let spare = self.spare.get_mut(size_of_spare(bytes)).and_then(Spare::take);
        spare.unwrap_or_else(|| UniqueArc::new(Body::default()))
    }

    /// Frees messages that nobody has needed since the last time. Returns whether some are left that may
    /// turn out to be not needed either.
    pub(crate) fn give_back(&mut self) -> bool {
        self.spare.iter_mut().fold(false, |left, spare| left | spare.give_back())
    }

    /// The message of a PUBLISH.
    #[inline]
    pub(crate) fn message(&mut self, view: &MessageView<'_>, packet: RawPublish<'_>) -> Message {
        let mut body = self.body(packet.bytes.len());
        body.take_publish(view, packet);
        if packet.bytes.len() > SPARE_BYTES_MAX {
            body.measure(&self.meter);
        }
        Message(body.shareable())
    }

    /// The message of a PUBLISH, with when it came and from whom.
    pub(crate) fn attributed_message(
        &mut self,
        view: &MessageView<'_>,
        packet: RawPublish<'_>,
        attribution: &Attribution<'_>,
    ) -> Message {
        let bytes = packet.bytes.len() + attribution.names_len();
        let mut body = self.body(bytes);
        body.bytes.clear();
        // At once, or the names would make it twice as large.
        body.bytes.reserve(bytes);
        body.take_publish(view, packet);
        body.attribute(attribution);
        if body.bytes.len() > SPARE_BYTES_MAX {
            body.measure(&self.meter);
        }
        Message(body.shareable())
    }

    /// A message of the broker's own making.
    pub(crate) fn own(&self, view: &MessageView<'_>) -> Message {
        self.attributed(view, &Attribution::default())
    }

    /// A message that is put together here, with when it came and from whom.
    pub(crate) fn attributed(
        &self,
        view: &MessageView<'_>,
        attribution: &Attribution<'_>,
    ) -> Message {
        let mut body = Body::of_parts(view, attribution);
        body.measure(&self.meter);
        Message(Arc::new(body))
    }

    /// A small message, made anew of what was kept of it.
    pub(crate) fn unpacked(
        &mut self,
        view: &MessageView<'_>,
        attribution: &Attribution<'_>,
    ) -> Message {
        let mut body = self.body(view.kept_bytes() + attribution.names_len());
        body.take_parts(view, attribution);
        body.measure(&self.meter);
        Message(body.shareable())
    }

    /// Takes a message back from one who is done with it; if he was the last, it is used again.
    pub(crate) fn recycle(&mut self, message: Message) {
        let size = size_of_spare(message.0.bytes.capacity());
        if let Some(spare) = self.spare.get_mut(size)
            && spare.bodies.len() < SPARE_MAX.max(SMALL_SPARE_BYTES_MAX >> size)
            && let Ok(unique) = Arc::try_unique(message.0)
        {
            spare.bodies.push(unique);
        }
    }
}

impl fmt::Debug for MessagePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spare: usize = self.spare.iter().map(|spare| spare.bodies.len()).sum();
        f.debug_struct("MessagePool").field("spare", &spare).finish()
    }
}

/// The parts of a message, wherever they lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageView<'a> {
    pub(crate) topic: TopicName<'a>,
    /// Checked properties, without their length. All of them are passed on as they came and in their
    /// order, but for the message expiry interval `[MQTT5-3.3.2-4]` `[MQTT5-3.3.2-15]`
    /// `[MQTT5-3.3.2-16]` `[MQTT5-3.3.2-17]` `[MQTT5-3.3.2-18]` `[MQTT5-3.3.2-20]`.
    pub(crate) properties: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) expires: Deadline,
}

impl<'a> MessageView<'a> {
    /// As it counts for what may be retained: its topic, properties and payload.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.topic.as_str().len() + self.properties.len() + self.payload.len()
    }

    /// The parts of a packet; none if it has no topic.
    #[inline]
    pub(crate) fn of_publish(publish: &Publish<'a>, expires: Deadline) -> Option<Self> {
        Some(Self {
            topic: publish.topic?,
            properties: publish.properties.as_bytes(),
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            expires,
        })
    }
}

/// Who published a message: what will be asked when rights are looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedBy<'a> {
    /// The publisher's client identifier.
    pub client_id: &'a str,
    /// The user name of its connection, if it had one.
    pub user_name: Option<&'a str>,
}

/// When a message came and from whom, as far as that is known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attribution<'a> {
    pub(crate) published_by: Option<PublishedBy<'a>>,
    /// In milliseconds of wall time; zero if it is not known.
    pub(crate) received_ms: u64,
}

impl Attribution<'_> {
    /// How many bytes the names in it have.
    fn names_len(&self) -> usize {
        let names = |by: PublishedBy<'_>| by.client_id.len() + by.user_name.map_or(0, str::len);
        self.published_by.map_or(0, names)
    }
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
    /// Who published it; nobody if that is not known, or was the broker.
    pub published_by: Option<PublishedBy<'a>>,
    /// When it came, in milliseconds of wall time since 1970: from then on its expiry counts. Zero
    /// if that is not known.
    pub received_ms: u64,
}

/// The same as bytes, of which nobody has said that they are text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageBytes<'a> {
    /// The topic name.
    pub topic: &'a [u8],
    /// The properties to pass on, without their length.
    pub properties: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
    /// The QoS it was published with.
    pub qos: QoS,
    /// Whether it was published to be retained.
    pub retain: bool,
    /// The client identifier of whoever published it, and the user name if there is one.
    pub published_by: Option<(&'a [u8], Option<&'a [u8]>)>,
    /// When it came, as in [`MessageParts`].
    pub received_ms: u64,
}

impl<'a> MessageBytes<'a> {
    /// The parts, if all that has to be text is text.
    pub fn parts(&self) -> Option<MessageParts<'a>> {
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let published_by = match self.published_by {
            None => None,
            Some((client_id, None)) => {
                Some(PublishedBy { client_id: text(client_id)?, user_name: None })
            }
            Some((client_id, Some(user_name))) => {
                let user_name = Some(text(user_name)?);
                Some(PublishedBy { client_id: text(client_id)?, user_name })
            }
        };
        Some(MessageParts {
            topic: text(self.topic)?,
            properties: self.properties,
            payload: self.payload,
            qos: self.qos,
            retain: self.retain,
            published_by,
            received_ms: self.received_ms,
        })
    }
}

impl Message {
    /// Makes a message of parts that come from outside, and checks them.
    ///
    /// # Errors
    /// What is wrong with the topic name or with the properties of a PUBLISH.
    pub fn from_parts(parts: &MessageParts<'_>) -> Result<Self, Violation> {
        let carrier = Carrier::Packet(PacketType::Publish);
        let MessageParts { published_by, received_ms, .. } = *parts;
        let view = MessageView {
            topic: TopicName::new(parts.topic)?,
            properties: Properties::check(parts.properties, carrier)?.as_bytes(),
            payload: parts.payload,
            qos: parts.qos,
            retain: parts.retain,
            expires: Deadline::NEVER,
        };
        Ok(Self(Arc::new(Body::of_parts(&view, &Attribution { published_by, received_ms }))))
    }

    /// As [`from_parts`](Self::from_parts), for a message that was stored: if it expires, its time
    /// has been running since it came.
    ///
    /// # Errors
    /// As [`from_parts`](Self::from_parts).
    pub fn from_stored_parts(parts: &MessageParts<'_>) -> Result<Self, Violation> {
        let mut message = Self::from_parts(parts)?;
        let properties = Properties::from_checked(parts.properties);
        if let (Some(seconds), Some(body)) =
            (properties.message_expiry_interval(), Arc::get_mut(&mut message.0))
        {
            let end_ms = parts.received_ms.saturating_add(u64::from(seconds) * 1_000);
            body.expires = Deadline::at_wall_ms(end_ms);
        }
        Ok(message)
    }

    /// Has its expiry count on the clock that never goes back, if nobody else has the message. It is
    /// not good for longer than it was when it came, whatever the other clock says.
    pub(crate) fn put_on_clock(&mut self, now: Now) {
        let interval = Properties::from_checked(self.properties()).message_expiry_interval();
        let longest = interval.map_or(Deadline::NEVER, |seconds| Deadline::after(seconds, now));
        let expires = self.expires().on_monotonic_clock(now).min(longest);
        if expires != self.expires()
            && let Some(body) = Arc::get_mut(&mut self.0)
        {
            body.expires = expires;
        }
    }

    /// Its parts.
    pub fn parts(&self) -> MessageParts<'_> {
        MessageParts {
            topic: self.topic(),
            properties: self.properties(),
            payload: self.payload(),
            qos: self.qos(),
            retain: self.retain(),
            published_by: self.published_by(),
            received_ms: self.received_ms(),
        }
    }

    /// What a store writes down of it, as bytes. All of them were checked when they came, and whoever
    /// only writes them down need not look at them again.
    pub fn to_store(&self) -> MessageBytes<'_> {
        let body = &*self.0;
        let names = || {
            let behind = &body.bytes[body.payload_end as usize..];
            let (client_id, behind) = behind.split_at(usize::from(body.client_id_len));
            (client_id, &behind[..usize::from(body.user_name_len)])
        };
        let published_by = match body.publisher {
            Known::Nothing => None,
            Known::ClientId => Some((names().0, None)),
            Known::UserName => Some((names().0, Some(names().1))),
        };
        MessageBytes {
            topic: self.topic_bytes(),
            properties: self.properties(),
            payload: self.payload(),
            qos: body.qos,
            retain: body.retain,
            published_by,
            received_ms: body.received_ms,
        }
    }

    /// Whether somebody else has it, too.
    pub fn is_shared(&self) -> bool {
        !Arc::is_unique(&self.0)
    }

    /// A number that two messages have in common if they are one, shared; it says so only as long
    /// as both are held.
    pub fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    #[cfg(test)]
    pub(crate) fn new(view: &MessageView<'_>) -> Self {
        Self(Arc::new(Body::of_parts(view, &Attribution::default())))
    }

    /// Makes the message of a will: to be retained or not as it says `[MQTT3-3.1.2-16]`
    /// `[MQTT3-3.1.2-17]` `[MQTT5-3.1.2-14]` `[MQTT5-3.1.2-15]`, with its properties in their order
    /// `[MQTT5-3.1.3-10]`, but without the will delay, which concerns the server alone.
    pub(crate) fn of_will(will: &Will<'_>, pool: &MessagePool) -> Self {
        let mut properties = PropertyBuffer::new(Carrier::Packet(PacketType::Publish));
        for property in will.properties {
            if !matches!(property, Property::WillDelayInterval(_)) {
                // Everything else a will may have, a PUBLISH may have too.
                let _ = properties.push(property);
            }
        }
        let view = MessageView {
            topic: will.topic,
            properties: properties.as_properties().as_bytes(),
            payload: will.payload,
            qos: will.qos,
            retain: will.retain,
            // It begins to count when the will is published (section 3.1.3.2.4).
            expires: Deadline::NEVER,
        };
        pool.own(&view)
    }

    /// The topic name.
    pub fn topic(&self) -> &str {
        self.topic_name().as_str()
    }

    /// The same, as it was when it was checked.
    pub(crate) fn topic_name(&self) -> TopicName<'_> {
        TopicName::from_checked(self.topic_bytes())
    }

    /// All constructors copy the topic from a topic name.
    fn topic_bytes(&self) -> &[u8] {
        &self.0.bytes[self.0.topic_at as usize..][..self.0.topic_len as usize]
    }

    /// The packet it came in, if that can be passed on as it is but for its packet identifier.
    pub(crate) fn packet(&self) -> Option<RawPublish<'_>> {
        // With an expiry interval it says more with every second than is true.
        let passable = self.0.header_len != 0 && self.0.expires.is_never();
        passable.then(|| RawPublish {
            bytes: &self.0.bytes[..self.0.payload_end as usize],
            header_len: usize::from(self.0.header_len),
            has_properties: self.0.has_properties,
            passable: true,
        })
    }

    /// The properties to pass on, checked, without their length.
    pub fn properties(&self) -> &[u8] {
        &self.0.bytes[self.0.properties_at as usize..self.0.payload_at as usize]
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.0.bytes[self.0.payload_at as usize..self.0.payload_end as usize]
    }

    /// Who published it, if that is known.
    pub fn published_by(&self) -> Option<PublishedBy<'_>> {
        let behind = self.0.bytes.get(self.0.payload_end as usize..)?;
        let (client_id, behind) = behind.split_at_checked(usize::from(self.0.client_id_len))?;
        let user_name = behind.get(..usize::from(self.0.user_name_len))?;
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let client_id = text(client_id)?;
        match self.0.publisher {
            Known::Nothing => None,
            Known::ClientId => Some(PublishedBy { client_id, user_name: None }),
            Known::UserName => Some(PublishedBy { client_id, user_name: text(user_name) }),
        }
    }

    /// When it came, in milliseconds of wall time; zero if that is not known.
    pub fn received_ms(&self) -> u64 {
        self.0.received_ms
    }

    /// Whether it says when it came or from whom.
    pub(crate) fn is_attributed(&self) -> bool {
        self.0.received_ms != 0 || self.0.publisher != Known::Nothing
    }

    /// The QoS it was published with.
    pub fn qos(&self) -> QoS {
        self.0.qos
    }

    /// Whether it was published to be retained.
    pub fn retain(&self) -> bool {
        self.0.retain
    }

    /// When it is of no use any more `[MQTT5-3.3.2-5]`.
    pub fn expires(&self) -> Deadline {
        self.0.expires
    }

    /// About how many bytes of memory a message takes whose parts have so many.
    pub(crate) fn bytes_of(parts: usize) -> usize {
        parts + size_of::<Body>() + size_of::<usize>()
    }

    /// About how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        self.0.bytes.capacity() + size_of::<Body>() + size_of::<usize>()
    }

    /// How many bytes count with each of those who have it.
    #[inline]
    pub(crate) fn weight(&self) -> usize {
        let counted = if self.0.meter.is_some() { 0 } else { self.0.bytes.capacity() };
        counted + size_of::<Body>() + size_of::<usize>()
    }

    /// Whether its bytes are counted by themselves.
    pub(crate) fn is_metered(&self) -> bool {
        self.0.meter.is_some()
    }

    pub(crate) fn view(&self) -> MessageView<'_> {
        MessageView {
            topic: self.topic_name(),
            properties: self.properties(),
            payload: self.payload(),
            qos: self.qos(),
            retain: self.retain(),
            expires: self.expires(),
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
        self.parts() == other.parts()
    }
}

impl Eq for Message {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_used_again_for_others_of_their_size_until_nobody_needs_them() {
        let mut pool = MessagePool::default();
        let payload = [b'x'; METERED_BYTES];
        let make = |pool: &mut MessagePool, bytes: usize| {
            let mut packet = vec![0x32, 0, 0, 1, b'a', 0, 1];
            packet.extend_from_slice(&payload[..bytes]);
            let view = MessageView {
                topic: TopicName::new("a").unwrap(),
                properties: &[],
                payload: &payload[..bytes],
                qos: QoS::AtLeastOnce,
                retain: false,
                expires: Deadline::NEVER,
            };
            let (header_len, has_properties) = (2, false);
            let packet = RawPublish { bytes: &packet, header_len, has_properties, passable: true };
            pool.message(&view, packet)
        };
        let (small, large) = (make(&mut pool, 10), make(&mut pool, 1_500));
        let (small_at, large_at) = (small.identity(), large.identity());
        pool.recycle(small);
        pool.recycle(large);
        let again = make(&mut pool, 1_400);
        assert_eq!(again.identity(), large_at, "the small one has no room for it");
        assert_eq!(again.payload().len(), 1_400);
        pool.recycle(again);
        assert!(pool.give_back(), "the small one may be spare, the large one was needed");
        assert_eq!(make(&mut pool, 12).identity(), small_at);
        assert!(pool.give_back());
        assert!(!pool.give_back(), "nobody needed the large one since");
        let huge = make(&mut pool, METERED_BYTES);
        pool.recycle(huge);
        assert!(!pool.give_back(), "it counts by itself and is not kept");
    }

    const PARTS: MessageParts<'_> = MessageParts {
        topic: "a/b",
        properties: &[1, 1],
        payload: b"x",
        qos: QoS::AtLeastOnce,
        retain: true,
        published_by: Some(PublishedBy { client_id: "c", user_name: Some("") }),
        received_ms: 7,
    };

    #[test]
    fn a_message_is_made_of_its_parts_again_and_bad_parts_are_refused() {
        let message = Message::from_parts(&PARTS).unwrap();
        assert_eq!(message.parts(), PARTS);
        assert_eq!(message.to_store().parts(), Some(PARTS));
        for published_by in [None, Some(PublishedBy { client_id: "", user_name: None })] {
            let parts = MessageParts { published_by, ..PARTS };
            let message = Message::from_parts(&parts).unwrap();
            assert_eq!(message.parts(), parts);
            assert_eq!(message.to_store().parts(), Some(parts));
        }
        let refused = |parts| Message::from_parts(&parts).is_err();
        assert!(refused(MessageParts { topic: "a/#", ..PARTS }));
        assert!(refused(MessageParts { properties: &[1, 2], ..PARTS }));
        assert!(refused(MessageParts { properties: &[36, 1], ..PARTS }), "not of PUBLISH");
    }

    #[test]
    fn bytes_that_are_no_text_make_no_parts() {
        let bytes = Message::from_parts(&PARTS).unwrap();
        let bytes = bytes.to_store();
        let is_refused = |bytes: MessageBytes<'_>| bytes.parts().is_none();
        assert!(is_refused(MessageBytes { topic: b"\xFF", ..bytes }));
        for published_by in [(&b"\xFF"[..], None), (b"c", Some(&b"\xFF"[..]))] {
            assert!(is_refused(MessageBytes { published_by: Some(published_by), ..bytes }));
        }
    }

    #[test]
    fn shared_messages_have_one_identity() {
        let (one, other) =
            (Message::from_parts(&PARTS).unwrap(), Message::from_parts(&PARTS).unwrap());
        assert_eq!(one.identity(), one.clone().identity());
        assert!(!one.is_shared());
        let _also_one = one.clone();
        assert!(one.is_shared());
        assert_ne!(one.identity(), other.identity());
    }
}
