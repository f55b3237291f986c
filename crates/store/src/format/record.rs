//! Records as they are kept: their kinds, their fields, their bytes.
//!
//! They are not quite the broker's. A message stands for itself, and who is owed it names its place
//! in the same segment; the steps of a QoS 2 delivery say all there is to know, not what changed. So
//! each record that still holds can be written again further on, and means the same there.
//!
//! Each has a CRC of its own, since it may be read again long after its batch was.

use super::bytes::{Reader, put_bytes, put_number};
use noctule_broker::{
    MessageBytes, PacketId, QoS, ReplayNumber, RetainHandling, Sequence, SessionKey,
    SubscriptionOptions,
};

/// Bytes before the fields: length, CRC, kind.
pub(crate) const FRAME_BYTES: usize = 9;
/// Fields of fixed or bounded width take no more than this in any record.
const FIELDS_MAX: usize = 96;

/// A message as it is kept: its parts, with the time when it came, or was first stored if that is not
/// known. That its texts are text is looked at by whoever makes a message of it again, as most of what
/// is written and read is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredMessage<'a>(pub(crate) MessageBytes<'a>);

/// The subscription identifiers of a delivery.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Identifiers<'a> {
    Given(&'a [u32]),
    /// As numbers in bytes.
    Read(&'a [u8]),
}

impl Identifiers<'_> {
    pub(crate) fn to_vec(self) -> Vec<u32> {
        match self {
            Self::Given(numbers) => numbers.to_vec(),
            Self::Read(bytes) => {
                let mut reader = Reader::new(bytes);
                std::iter::from_fn(|| reader.number_u32()).collect()
            }
        }
    }
}

impl PartialEq for Identifiers<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.to_vec() == other.to_vec()
    }
}

/// Retained messages that are to be handed out for a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredReplay<'a> {
    /// None if the record is of a format that had no numbers.
    pub(crate) number: Option<ReplayNumber>,
    /// Those up to this one.
    pub(crate) up_to: u64,
    /// Those behind this topic; all if it is empty.
    pub(crate) reached: &'a str,
}

/// A record as it is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Stored<'a> {
    Session {
        key: SessionKey,
        /// Empty if the session has ended and what it is owed is still to be given to others.
        client_id: &'a str,
        user_name: Option<&'a str>,
        /// Whether the name was not verified.
        is_claimed: bool,
        /// Seconds; `None` is for ever.
        expiry: Option<u32>,
        /// Since when its client is away, in milliseconds since 1970; `None` while it is there.
        away_since_ms: Option<u64>,
        /// Its delay in seconds, and the message.
        will: Option<(u32, StoredMessage<'a>)>,
    },
    SessionEnded {
        key: SessionKey,
    },
    Away {
        key: SessionKey,
        since_ms: u64,
        keeps_will: bool,
    },
    Subscribed {
        key: SessionKey,
        filter: &'a str,
        options: SubscriptionOptions,
        identifier: Option<u32>,
        /// If retained messages are still to be handed out for it.
        replay: Option<StoredReplay<'a>>,
    },
    Unsubscribed {
        key: SessionKey,
        filter: &'a str,
    },
    /// A message that later records of the segment refer to.
    Message(StoredMessage<'a>),
    Owed {
        key: SessionKey,
        sequence: Sequence,
        /// Where in the segment the message is.
        message_at: u32,
        qos: QoS,
        retain: bool,
        identifiers: Identifiers<'a>,
        /// If the session is owed it as a member of a group: the filter with `$share`.
        shared: Option<&'a str>,
        /// If it was handed out as a retained message: by which handing out, which has passed its
        /// topic. That is said once, and not again when the record is moved.
        replay: Option<ReplayNumber>,
    },
    /// How far a QoS 2 delivery has come.
    InFlight {
        key: SessionKey,
        sequence: Sequence,
        packet_id: PacketId,
        /// Whether PUBREC came.
        received: bool,
    },
    Delivered {
        key: SessionKey,
        sequence: Sequence,
    },
    Received {
        key: SessionKey,
        packet_id: PacketId,
        message: StoredMessage<'a>,
    },
    /// A packet identifier is held whose message was routed.
    Held {
        key: SessionKey,
        packet_id: PacketId,
    },
    Released {
        key: SessionKey,
        packet_id: PacketId,
    },
    /// Without a payload it says that there is none, since that sequence.
    Retained {
        sequence: u64,
        message: StoredMessage<'a>,
    },
}

mod kind {
    pub(super) const SESSION: u8 = 1;
    pub(super) const SESSION_ENDED: u8 = 2;
    pub(super) const AWAY: u8 = 3;
    pub(super) const SUBSCRIBED: u8 = 4;
    pub(super) const UNSUBSCRIBED: u8 = 5;
    pub(super) const MESSAGE: u8 = 6;
    pub(super) const OWED: u8 = 7;
    pub(super) const IN_FLIGHT: u8 = 8;
    pub(super) const DELIVERED: u8 = 9;
    pub(super) const RECEIVED: u8 = 10;
    pub(super) const HELD: u8 = 11;
    pub(super) const RELEASED: u8 = 12;
    pub(super) const RETAINED: u8 = 13;
}

impl<'a> StoredMessage<'a> {
    pub(crate) fn size_max(&self) -> usize {
        let MessageBytes { topic, properties, payload, published_by, .. } = &self.0;
        let names = |(client_id, user_name): (&[u8], Option<&[u8]>)| {
            client_id.len() + user_name.map_or(0, <[u8]>::len)
        };
        topic.len() + properties.len() + payload.len() + published_by.map_or(0, names)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let MessageBytes { topic, properties, payload, published_by, .. } = &self.0;
        let user_name = published_by.and_then(|(_, user_name)| user_name);
        let mark = |is: bool, mark: u8| if is { mark } else { 0 };
        out.push(
            self.0.qos.bits()
                | mark(self.0.retain, RETAIN)
                | mark(published_by.is_some(), HAS_PUBLISHER)
                | mark(user_name.is_some(), HAS_USER_NAME),
        );
        put_number(out, self.0.received_ms);
        if let Some((client_id, _)) = published_by {
            put_bytes(out, client_id);
        }
        if let Some(user_name) = user_name {
            put_bytes(out, user_name);
        }
        put_bytes(out, topic);
        put_bytes(out, properties);
        out.extend_from_slice(payload);
    }

    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let flags = reader.byte()?;
        let qos = QoS::from_bits(flags & 0b11)?;
        let has = |mark: u8| flags & mark != 0;
        if flags & !(0b11 | RETAIN | HAS_PUBLISHER | HAS_USER_NAME) != 0 {
            return None;
        }
        let received_ms = reader.number()?;
        let client_id = if has(HAS_PUBLISHER) { Some(reader.bytes()?) } else { None };
        let user_name = if has(HAS_USER_NAME) { Some(reader.bytes()?) } else { None };
        Some(Self(MessageBytes {
            qos,
            retain: has(RETAIN),
            received_ms,
            published_by: client_id.map(|client_id| (client_id, user_name)),
            topic: reader.bytes()?,
            properties: reader.bytes()?,
            payload: reader.rest(),
        }))
    }
}

/// Flags of messages and of who is owed them.
const RETAIN: u8 = 1 << 2;
const HAS_PUBLISHER: u8 = 1 << 3;
const HAS_USER_NAME: u8 = 1 << 4;
const IS_SHARED: u8 = 1 << 3;
const IS_REPLAYED: u8 = 1 << 4;

impl<'a> Stored<'a> {
    fn kind(&self) -> u8 {
        match self {
            Self::Session { .. } => kind::SESSION,
            Self::SessionEnded { .. } => kind::SESSION_ENDED,
            Self::Away { .. } => kind::AWAY,
            Self::Subscribed { .. } => kind::SUBSCRIBED,
            Self::Unsubscribed { .. } => kind::UNSUBSCRIBED,
            Self::Message(_) => kind::MESSAGE,
            Self::Owed { .. } => kind::OWED,
            Self::InFlight { .. } => kind::IN_FLIGHT,
            Self::Delivered { .. } => kind::DELIVERED,
            Self::Received { .. } => kind::RECEIVED,
            Self::Held { .. } => kind::HELD,
            Self::Released { .. } => kind::RELEASED,
            Self::Retained { .. } => kind::RETAINED,
        }
    }

    /// It takes at most so many bytes.
    pub(crate) fn size_max(&self) -> usize {
        let strings = match self {
            Self::Session { client_id, user_name, will, .. } => {
                client_id.len()
                    + user_name.map_or(0, str::len)
                    + will.map_or(0, |(_, message)| message.size_max())
            }
            Self::Subscribed { filter, replay, .. } => {
                filter.len() + replay.map_or(0, |replay| replay.reached.len())
            }
            Self::Unsubscribed { filter, .. } => filter.len(),
            Self::Message(message)
            | Self::Received { message, .. }
            | Self::Retained { message, .. } => message.size_max(),
            Self::Owed { identifiers, shared, .. } => {
                let identifiers = match identifiers {
                    Identifiers::Given(numbers) => numbers.len() * 5,
                    Identifiers::Read(bytes) => bytes.len(),
                };
                identifiers + shared.map_or(0, str::len)
            }
            _ => 0,
        };
        FRAME_BYTES + FIELDS_MAX + strings
    }

    /// Appends it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&[0; FRAME_BYTES - 1]);
        out.push(self.kind());
        self.write_fields(out);
        let covered = begin + FRAME_BYTES - 1;
        let length = (out.len() - covered) as u32;
        let crc = crc32fast::hash(&out[covered..]);
        out[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
        out[begin + 4..covered].copy_from_slice(&crc.to_le_bytes());
    }

    fn write_fields(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Session {
                key,
                client_id,
                user_name,
                is_claimed,
                expiry,
                away_since_ms,
                will,
            } => {
                put_number(out, key.0);
                put_bytes(out, client_id.as_bytes());
                put_user_name(out, user_name, is_claimed);
                put_option(out, expiry.map(u64::from));
                put_option(out, away_since_ms);
                put_option(out, will.map(|(delay, _)| u64::from(delay)));
                if let Some((_, message)) = will {
                    message.write(out);
                }
            }
            Self::SessionEnded { key } => put_number(out, key.0),
            Self::Away { key, since_ms, keeps_will } => {
                put_number(out, key.0);
                put_number(out, since_ms);
                out.push(u8::from(keeps_will));
            }
            Self::Subscribed { key, filter, options, identifier, replay } => {
                put_number(out, key.0);
                put_bytes(out, filter.as_bytes());
                out.push(options_byte(options));
                put_option(out, identifier.map(u64::from));
                put_option(out, replay.map(|replay| replay.up_to));
                if let Some(StoredReplay { number, reached, .. }) = replay {
                    put_number(out, number.map_or(0, ReplayNumber::get));
                    put_bytes(out, reached.as_bytes());
                }
            }
            Self::Unsubscribed { key, filter } => {
                put_number(out, key.0);
                put_bytes(out, filter.as_bytes());
            }
            Self::Message(message) => message.write(out),
            Self::Owed { key, sequence, message_at, qos, retain, identifiers, shared, replay } => {
                out.extend_from_slice(&message_at.to_le_bytes());
                put_number(out, key.0);
                put_number(out, sequence.0);
                let shared_flag = if shared.is_some() { IS_SHARED } else { 0 };
                let replay_flag = if replay.is_some() { IS_REPLAYED } else { 0 };
                out.push(qos.bits() | u8::from(retain) << 2 | shared_flag | replay_flag);
                if let Some(filter) = shared {
                    put_bytes(out, filter.as_bytes());
                }
                if let Some(number) = replay {
                    put_number(out, number.get());
                }
                match identifiers {
                    Identifiers::Given(numbers) => {
                        numbers.iter().for_each(|number| put_number(out, u64::from(*number)));
                    }
                    Identifiers::Read(bytes) => out.extend_from_slice(bytes),
                }
            }
            Self::InFlight { key, sequence, packet_id, received } => {
                put_number(out, key.0);
                put_number(out, sequence.0);
                put_number(out, u64::from(packet_id.get()));
                out.push(u8::from(received));
            }
            Self::Delivered { key, sequence } => {
                put_number(out, key.0);
                put_number(out, sequence.0);
            }
            Self::Received { key, packet_id, message } => {
                put_number(out, key.0);
                put_number(out, u64::from(packet_id.get()));
                message.write(out);
            }
            Self::Held { key, packet_id } | Self::Released { key, packet_id } => {
                put_number(out, key.0);
                put_number(out, u64::from(packet_id.get()));
            }
            Self::Retained { sequence, message } => {
                put_number(out, sequence);
                message.write(out);
            }
        }
    }

    /// Reads the record at the front of `bytes` and says how many bytes it takes. `None` if what is
    /// there is no record of this format. With `checked` false its CRC is not looked at.
    pub(crate) fn read(bytes: &'a [u8], checked: bool) -> Option<(Self, usize)> {
        let mut reader = Reader::new(bytes);
        let length = reader.fixed_u32()? as usize;
        let crc = reader.fixed_u32()?;
        let covered = bytes.get(FRAME_BYTES - 1..)?.get(..length)?;
        if checked && crc32fast::hash(covered) != crc {
            return None;
        }
        let mut fields = Reader::new(covered);
        let kind = fields.byte()?;
        let record = Self::read_fields(kind, &mut fields)?;
        fields.is_empty().then_some((record, FRAME_BYTES - 1 + length))
    }

    fn read_fields(kind: u8, fields: &mut Reader<'a>) -> Option<Self> {
        Some(match kind {
            kind::SESSION => {
                let key = SessionKey(fields.number()?);
                let client_id = fields.text()?;
                let (user_name, is_claimed) = user_name_option(fields)?;
                let expiry = small(option(fields)?)?;
                let away_since_ms = option(fields)?;
                let will = match small(option(fields)?)? {
                    Some(delay) => Some((delay, StoredMessage::read(fields)?)),
                    None => None,
                };
                Self::Session { key, client_id, user_name, is_claimed, expiry, away_since_ms, will }
            }
            kind::SESSION_ENDED => Self::SessionEnded { key: SessionKey(fields.number()?) },
            kind::AWAY => Self::Away {
                key: SessionKey(fields.number()?),
                since_ms: fields.number()?,
                keeps_will: fields.byte()? != 0,
            },
            kind::SUBSCRIBED => Self::Subscribed {
                key: SessionKey(fields.number()?),
                filter: fields.text()?,
                options: options_of(fields.byte()?)?,
                identifier: small(option(fields)?)?,
                replay: match option(fields)? {
                    Some(up_to) => Some(StoredReplay::read(up_to, fields)?),
                    None => None,
                },
            },
            kind::UNSUBSCRIBED => {
                Self::Unsubscribed { key: SessionKey(fields.number()?), filter: fields.text()? }
            }
            kind::MESSAGE => Self::Message(StoredMessage::read(fields)?),
            kind::OWED => {
                let message_at = fields.fixed_u32()?;
                let (key, sequence) = (SessionKey(fields.number()?), Sequence(fields.number()?));
                let flags = fields.byte()?;
                if flags & !(0b11 | RETAIN | IS_SHARED | IS_REPLAYED) != 0 {
                    return None;
                }
                let shared = if flags & IS_SHARED != 0 { Some(fields.text()?) } else { None };
                let replay = if flags & IS_REPLAYED != 0 {
                    Some(ReplayNumber::new(fields.number()?)?)
                } else {
                    None
                };
                Self::Owed {
                    key,
                    sequence,
                    message_at,
                    qos: QoS::from_bits(flags & 0b11)?,
                    retain: flags & RETAIN != 0,
                    shared,
                    replay,
                    identifiers: Identifiers::Read(fields.rest()),
                }
            }
            kind::IN_FLIGHT => Self::InFlight {
                key: SessionKey(fields.number()?),
                sequence: Sequence(fields.number()?),
                packet_id: packet_id(fields)?,
                received: fields.byte()? != 0,
            },
            kind::DELIVERED => Self::Delivered {
                key: SessionKey(fields.number()?),
                sequence: Sequence(fields.number()?),
            },
            kind::RECEIVED => Self::Received {
                key: SessionKey(fields.number()?),
                packet_id: packet_id(fields)?,
                message: StoredMessage::read(fields)?,
            },
            kind::HELD => {
                Self::Held { key: SessionKey(fields.number()?), packet_id: packet_id(fields)? }
            }
            kind::RELEASED => {
                Self::Released { key: SessionKey(fields.number()?), packet_id: packet_id(fields)? }
            }
            kind::RETAINED => {
                Self::Retained { sequence: fields.number()?, message: StoredMessage::read(fields)? }
            }
            _ => return None,
        })
    }
}

impl<'a> StoredReplay<'a> {
    /// What follows the number of the last message. Before format 4 that was nothing.
    fn read(up_to: u64, fields: &mut Reader<'a>) -> Option<Self> {
        if fields.is_empty() {
            return Some(Self { number: None, up_to, reached: "" });
        }
        Some(Self { number: ReplayNumber::new(fields.number()?), up_to, reached: fields.text()? })
    }
}

/// Nothing as zero, a number as one more than itself, the largest of all as one less.
fn put_option(out: &mut Vec<u8>, number: Option<u64>) {
    put_number(out, number.map_or(0, |number| number.saturating_add(1)));
}

fn option(fields: &mut Reader<'_>) -> Option<Option<u64>> {
    Some(fields.number()?.checked_sub(1))
}

/// Added to the length of a user name that was not verified; a text of MQTT is shorter.
const CLAIMED: u64 = 1 << 16;

/// Nothing as zero, a user name behind one more than its length, which says too whether it was
/// verified.
fn put_user_name(out: &mut Vec<u8>, name: Option<&str>, is_claimed: bool) {
    let mark = if is_claimed { CLAIMED } else { 0 };
    put_option(out, name.map(|name| name.len() as u64 | mark));
    out.extend_from_slice(name.unwrap_or_default().as_bytes());
}

fn user_name_option<'a>(fields: &mut Reader<'a>) -> Option<(Option<&'a str>, bool)> {
    let Some(length) = option(fields)? else {
        return Some((None, false));
    };
    let name = fields.text_of(usize::try_from(length & !CLAIMED).ok()?)?;
    Some((Some(name), length & CLAIMED != 0))
}

fn small(number: Option<u64>) -> Option<Option<u32>> {
    match number {
        Some(number) => Some(Some(u32::try_from(number).ok()?)),
        None => Some(None),
    }
}

fn packet_id(fields: &mut Reader<'_>) -> Option<PacketId> {
    PacketId::new(u16::try_from(fields.number()?).ok()?)
}

fn options_byte(options: SubscriptionOptions) -> u8 {
    options.qos.bits()
        | u8::from(options.no_local) << 2
        | u8::from(options.retain_as_published) << 3
        | (options.retain_handling as u8) << 4
}

fn options_of(byte: u8) -> Option<SubscriptionOptions> {
    Some(SubscriptionOptions {
        qos: QoS::from_bits(byte & 0b11)?,
        no_local: byte & 0b100 != 0,
        retain_as_published: byte & 0b1000 != 0,
        retain_handling: match byte >> 4 {
            0 => RetainHandling::Always,
            1 => RetainHandling::IfNew,
            2 => RetainHandling::Never,
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: StoredMessage<'_> = StoredMessage(MessageBytes {
        topic: b"a/b",
        properties: &[1, 1],
        payload: b"payload",
        qos: QoS::ExactlyOnce,
        retain: true,
        published_by: Some((b"publisher", Some(b"user"))),
        received_ms: 1_700_000_000_000,
    });
    const KEY: SessionKey = SessionKey(300);
    const SEQUENCE: Sequence = Sequence(70_000);

    fn all() -> Vec<Stored<'static>> {
        let packet_id = PacketId::FIRST.after(700);
        let options = SubscriptionOptions {
            qos: QoS::AtLeastOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::Never,
        };
        let mut nothing = MESSAGE;
        nothing.0.payload = b"";
        nothing.0.published_by = Some((b"", None));
        let mut unknown = MESSAGE;
        unknown.0.published_by = None;
        let session = |expiry: Option<u32>, away_since_ms, will| Stored::Session {
            key: KEY,
            client_id: "client",
            user_name: expiry.map(|_| "user"),
            is_claimed: expiry == Some(0),
            expiry,
            away_since_ms,
            will,
        };
        let number = ReplayNumber::new(u64::MAX);
        let subscribed = |replay| Stored::Subscribed {
            key: KEY,
            filter: "a/#",
            options,
            identifier: None,
            replay: Some(replay),
        };
        vec![
            session(Some(0), None, None),
            session(None, Some(0), Some((0, MESSAGE))),
            session(Some(u32::MAX), Some(1 << 50), Some((u32::MAX, nothing))),
            Stored::SessionEnded { key: KEY },
            Stored::Away { key: KEY, since_ms: 5, keeps_will: true },
            Stored::Subscribed {
                key: KEY,
                filter: "a/#",
                options,
                identifier: Some(268_435_455),
                replay: None,
            },
            subscribed(StoredReplay { number: None, up_to: 1 << 50, reached: "" }),
            subscribed(StoredReplay { number, up_to: u64::MAX - 1, reached: "a/b" }),
            Stored::Unsubscribed { key: KEY, filter: "a/#" },
            Stored::Message(MESSAGE),
            Stored::Message(unknown),
            Stored::Owed {
                key: KEY,
                sequence: SEQUENCE,
                message_at: 4_096,
                qos: QoS::AtLeastOnce,
                retain: true,
                identifiers: Identifiers::Given(&[1, 268_435_455]),
                shared: None,
                replay: number,
            },
            Stored::Owed {
                key: KEY,
                sequence: SEQUENCE,
                message_at: 4_096,
                qos: QoS::ExactlyOnce,
                retain: false,
                identifiers: Identifiers::Given(&[]),
                shared: Some("$share/g/a/#"),
                replay: None,
            },
            Stored::InFlight { key: KEY, sequence: SEQUENCE, packet_id, received: true },
            Stored::Delivered { key: KEY, sequence: SEQUENCE },
            Stored::Received { key: KEY, packet_id, message: MESSAGE },
            Stored::Held { key: KEY, packet_id },
            Stored::Released { key: KEY, packet_id },
            Stored::Retained { sequence: 9, message: nothing },
        ]
    }

    #[test]
    fn a_replay_of_format_3_has_no_number_and_has_come_nowhere() {
        let mut bytes = Vec::new();
        bytes.push(kind::SUBSCRIBED);
        put_number(&mut bytes, KEY.0);
        put_bytes(&mut bytes, b"a/#");
        bytes.push(2);
        put_option(&mut bytes, None);
        put_option(&mut bytes, Some(77));
        let mut record = (bytes.len() as u32).to_le_bytes().to_vec();
        record.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        record.extend_from_slice(&bytes);
        let replay = Some(StoredReplay { number: None, up_to: 77, reached: "" });
        let options = SubscriptionOptions::qos(QoS::ExactlyOnce);
        let identifier = None;
        let expected = Stored::Subscribed { key: KEY, filter: "a/#", options, identifier, replay };
        assert_eq!(Stored::read(&record, true), Some((expected, record.len())));
    }

    #[test]
    fn every_record_comes_back_within_its_size() {
        for record in all() {
            let mut bytes = Vec::new();
            record.write(&mut bytes);
            assert!(bytes.len() <= record.size_max(), "{record:?}");
            assert_eq!(Stored::read(&bytes, true), Some((record, bytes.len())));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed_and_nothing_panics() {
        for record in all() {
            let mut bytes = Vec::new();
            record.write(&mut bytes);
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Stored::read(&flipped, true), None, "{record:?}, bit {bit}");
                // Whatever it reads then, it reads something or nothing.
                let _ = Stored::read(&flipped, false);
            }
            for length in 0..bytes.len() {
                assert_eq!(Stored::read(&bytes[..length], true), None, "{record:?}, {length}");
            }
        }
    }
}
