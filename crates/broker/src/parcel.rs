//! PUBLISH packets on their way from one shard to another, packed.
//!
//! A message that is small and came as a packet that can be passed on travels as that packet: one
//! copy into the parcel, one out of it, and nothing is allocated, counted by reference or parsed
//! again. What a reader needs to know of the packet's inside is written on its *label*. An emptied
//! parcel is used again, see [`Shard::take_emptied`](crate::Shard::take_emptied).

use crate::connection::ConnectionHandle;
use crate::expiry::Deadline;
use crate::mail::ReplyTo;
use crate::message::{MessageView, PublishedBy};
use crate::outgoing::RawPublish;
use crate::postbag::Covering;
use crate::run::Run;
use noctule_mqtt::{QoS, TopicName};

/// A parcel is closed when it holds so many bytes of packets.
const PARCEL_BYTES: usize = 64 * 1024;
/// And so many packets.
const PARCEL_PACKETS: usize = 4_096;

/// Packets for another shard, in order.
#[derive(Debug, Default)]
pub struct Parcel {
    labels: Vec<Label>,
    bytes: Vec<u8>,
    /// Who waits for an answer, in the order of the labels that say so.
    replies: Vec<ReplyTo>,
    /// The numbers of those that were retained, in the order of the labels that say so.
    retained: Vec<u64>,
    /// How long the names of their publishers are that lie behind packets, in the order of the
    /// labels that say so.
    names: Vec<Names>,
    /// Runs without their packets, in the order of the labels that say so.
    runs: Vec<Run<'static>>,
}

/// What was put into a parcel at once.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content<'a> {
    /// A packet.
    One(Packed<'a>),
    /// Packets that came as a run on this connection, and are one.
    Run(Run<'a>, Option<ConnectionHandle>),
}

/// How long a client identifier and a user name are.
#[derive(Debug, Clone, Copy)]
struct Names {
    client_id: u16,
    user_name: Option<u16>,
}

impl Names {
    fn of(by: PublishedBy<'_>) -> Option<Self> {
        Some(Self {
            client_id: u16::try_from(by.client_id.len()).ok()?,
            user_name: match by.user_name {
                Some(user_name) => Some(u16::try_from(user_name.len()).ok()?),
                None => None,
            },
        })
    }

    /// Reads the names at the front of `bytes`. Returns what lies behind them, too.
    fn read(self, bytes: &[u8]) -> (Option<PublishedBy<'_>>, &[u8]) {
        let (client_id, rest) = bytes.split_at(usize::from(self.client_id).min(bytes.len()));
        let user_len = usize::from(self.user_name.unwrap_or(0)).min(rest.len());
        let (user_name, rest) = rest.split_at(user_len);
        let user_name = self.user_name.and_then(|_| std::str::from_utf8(user_name).ok());
        let by = std::str::from_utf8(client_id)
            .ok()
            .map(|client_id| PublishedBy { client_id, user_name });
        (by, rest)
    }
}

/// What is known of a packet whose bytes lie in the parcel.
#[derive(Debug, Clone, Copy)]
struct Label {
    packet_len: u32,
    properties_len: u32,
    payload_len: u32,
    topic_len: u16,
    header_len: u8,
    marks: Marks,
    /// The connection that it came on.
    publisher: Option<ConnectionHandle>,
}

/// QoS and flags of a packet in one byte.
#[derive(Debug, Clone, Copy)]
struct Marks(u8);

const RETAIN: u8 = 1 << 2;
const HAS_PROPERTIES: u8 = 1 << 3;
const ASKS_REPLY: u8 = 1 << 4;
const HAS_NAMES: u8 = 1 << 5;
const IS_RUN: u8 = 1 << 6;

impl Marks {
    fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }

    fn qos(self) -> QoS {
        QoS::from_bits(self.0 & 0b11).unwrap_or_default()
    }
}

/// A packet taken out of a parcel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packed<'a> {
    pub(crate) view: MessageView<'a>,
    pub(crate) packet: RawPublish<'a>,
    pub(crate) publisher: Option<ConnectionHandle>,
    pub(crate) reply: Option<ReplyTo>,
    /// The number it was retained with; zero if it was not.
    pub(crate) retained: u64,
    /// Who published it, if this shard has to know.
    pub(crate) published_by: Option<PublishedBy<'a>>,
}

impl Parcel {
    /// Whether one more packet should go into the next parcel.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= PARCEL_BYTES || self.labels.len() >= PARCEL_PACKETS
    }

    /// How many bytes of memory it takes, also when it is empty.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.labels.capacity() * size_of::<Label>()
    }

    /// Copies a packet to the end. Its parts are those of `view`. Returns by how many bytes the
    /// parcel is longer.
    #[inline]
    pub(crate) fn push(
        &mut self,
        view: &MessageView<'_>,
        packet: RawPublish<'_>,
        covering: &Covering<'_>,
        retained: u64,
    ) -> usize {
        let Covering { publisher, reply, .. } = *covering;
        let by = covering.attribution.and_then(|attribution| attribution.published_by);
        let names = by.and_then(Names::of);
        let mark = |is: bool, mark: u8| if is { mark } else { 0 };
        let marks = view.qos.bits()
            | mark(view.retain, RETAIN)
            | mark(packet.has_properties, HAS_PROPERTIES)
            | mark(reply.is_some(), ASKS_REPLY)
            | mark(names.is_some(), HAS_NAMES);
        // A packet has no more than 256 MB, and its header five bytes at most.
        self.labels.push(Label {
            packet_len: packet.bytes.len() as u32,
            properties_len: view.properties.len() as u32,
            payload_len: view.payload.len() as u32,
            topic_len: view.topic.as_bytes().len() as u16,
            header_len: packet.header_len as u8,
            marks: Marks(marks),
            publisher,
        });
        self.bytes.extend_from_slice(packet.bytes);
        self.replies.extend(reply);
        if view.retain {
            self.retained.push(retained);
        }
        let mut bytes = packet.bytes.len() + size_of::<Label>();
        if let (Some(names), Some(by)) = (names, by) {
            let user_name = by.user_name.unwrap_or_default();
            self.bytes.extend_from_slice(by.client_id.as_bytes());
            self.bytes.extend_from_slice(user_name.as_bytes());
            self.names.push(names);
            bytes += by.client_id.len() + user_name.len() + size_of::<Names>();
        }
        bytes
    }

    /// Copies a run to the end, under one label. Returns by how many bytes the parcel is longer.
    pub(crate) fn push_run(&mut self, run: &Run<'_>, publisher: Option<ConnectionHandle>) -> usize {
        self.labels.push(Label {
            // A run is of some kilobytes.
            packet_len: run.bytes.len() as u32,
            properties_len: 0,
            payload_len: 0,
            topic_len: 0,
            header_len: 0,
            marks: Marks(run.qos.bits() | IS_RUN),
            publisher,
        });
        self.bytes.extend_from_slice(run.bytes);
        self.runs.push(run.with_bytes(&[]));
        run.bytes.len() + size_of::<Label>()
    }

    /// What was put in, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Content<'_>> {
        let mut rest = self.bytes.as_slice();
        let mut replies = self.replies.iter().copied();
        let mut retained = self.retained.iter().copied();
        let mut names = self.names.iter().copied();
        let mut runs = self.runs.iter();
        self.labels.iter().map(move |label| {
            let (bytes, behind) = rest.split_at((label.packet_len as usize).min(rest.len()));
            rest = behind;
            if label.marks.has(IS_RUN)
                && let Some(run) = runs.next()
            {
                return Content::Run(run.with_bytes(bytes), label.publisher);
            }
            let reply = if label.marks.has(ASKS_REPLY) { replies.next() } else { None };
            let retained = if label.marks.has(RETAIN) { retained.next() } else { None };
            let names = if label.marks.has(HAS_NAMES) { names.next() } else { None };
            let published_by = names.and_then(|names| {
                let (by, behind) = names.read(rest);
                rest = behind;
                by
            });
            let read = label.read(bytes, reply, retained.unwrap_or(0));
            Content::One(Packed { published_by, ..read })
        })
    }

    /// Empties it, to be used again.
    pub(crate) fn clear(&mut self) {
        self.labels.clear();
        self.bytes.clear();
        self.replies.clear();
        self.retained.clear();
        self.names.clear();
        self.runs.clear();
    }
}

impl Label {
    fn read<'a>(&self, bytes: &'a [u8], reply: Option<ReplyTo>, retained: u64) -> Packed<'a> {
        let header_len = usize::from(self.header_len);
        let topic_at = header_len + 2;
        let payload_at = bytes.len() - self.payload_len as usize;
        let properties_at = payload_at - self.properties_len as usize;
        let topic = &bytes[topic_at..topic_at + usize::from(self.topic_len)];
        Packed {
            view: MessageView {
                // It was one when it was put in.
                topic: TopicName::from_checked(topic),
                properties: &bytes[properties_at..payload_at],
                payload: &bytes[payload_at..],
                qos: self.marks.qos(),
                retain: self.marks.has(RETAIN),
                // What expires is not packed.
                expires: Deadline::NEVER,
            },
            packet: RawPublish {
                bytes,
                header_len,
                has_properties: self.marks.has(HAS_PROPERTIES),
                passable: true,
            },
            publisher: self.publisher,
            reply,
            retained,
            published_by: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commons::ShardId;
    use crate::message::Attribution;
    use noctule_mqtt::codec::{self, next_frame};
    use noctule_mqtt::packet::Publish;
    use noctule_mqtt::{Packet, PacketId, ProtocolVersion, Receiver};
    use proptest::prelude::*;

    fn packet(qos: u8, retain: bool, payload: &[u8], version: ProtocolVersion) -> Vec<u8> {
        let mut bytes = Vec::new();
        let publish = Publish {
            dup: false,
            qos: QoS::from_bits(qos).unwrap(),
            retain,
            topic: Some(TopicName::new("a/b").unwrap()),
            packet_id: (qos > 0).then(|| PacketId::new(7).unwrap()),
            properties: noctule_mqtt::Properties::EMPTY,
            payload,
        };
        codec::encode(&Packet::Publish(publish), version, &mut bytes).unwrap();
        bytes
    }

    proptest! {
        /// What is taken out is what was put in, also from a parcel that is used again.
        #[test]
        fn what_is_taken_out_was_put_in(
            packets in prop::collection::vec(
                (
                    (0u8..3, any::<bool>()),
                    prop::collection::vec(any::<u8>(), 0..300),
                    any::<bool>(),
                    prop::option::of(("[a-z]{0,5}", prop::option::of("[a-z]{0,5}"))),
                ),
                0..20,
            ),
            again in any::<bool>(),
        ) {
            let mut parcel = Parcel::default();
            for round in 0..=usize::from(again) {
                parcel.clear();
                let encoded: Vec<_> = packets
                    .iter()
                    .skip(round)
                    .map(|((qos, retain), payload, five, by)| {
                        let version =
                            if *five { ProtocolVersion::V5 } else { ProtocolVersion::V311 };
                        let published_by = by.as_ref().map(|(client_id, user_name)| {
                            PublishedBy { client_id, user_name: user_name.as_deref() }
                        });
                        (packet(*qos, *retain, payload, version), version, published_by)
                    })
                    .collect();
                for (bytes, version, published_by) in &encoded {
                    let frame = next_frame(bytes, u32::MAX).unwrap().unwrap();
                    let publish =
                        Publish::decode(&frame, *version, Receiver::Server, |_| false).unwrap();
                    let view = MessageView::of_publish(&publish, Deadline::NEVER).unwrap();
                    let attribution =
                        Attribution { published_by: *published_by, received_ms: 0 };
                    let covering = Covering {
                        from: ShardId(0),
                        publisher: None,
                        reply: None,
                        attribution: Some(attribution),
                    };
                    parcel.push(&view, RawPublish::new(&frame, &publish, *version), &covering, 0);
                }
                let out: Vec<_> = parcel
                    .iter()
                    .map(|content| match content {
                        Content::One(packed) => packed,
                        Content::Run(..) => unreachable!("no run was put in"),
                    })
                    .collect();
                prop_assert_eq!(out.len(), encoded.len());
                for (packed, (bytes, version, published_by)) in out.iter().zip(&encoded) {
                    let frame = next_frame(bytes, u32::MAX).unwrap().unwrap();
                    let publish =
                        Publish::decode(&frame, *version, Receiver::Server, |_| false).unwrap();
                    prop_assert_eq!(packed.packet.bytes, bytes.as_slice());
                    prop_assert_eq!(packed.published_by, *published_by);
                    prop_assert_eq!(packed.view.payload, publish.payload);
                    prop_assert_eq!(packed.view.topic.as_str(), "a/b");
                    prop_assert_eq!(packed.view.qos, publish.qos);
                    prop_assert_eq!(packed.view.retain, publish.retain);
                    prop_assert_eq!(packed.packet.has_properties, version.has_properties());
                }
            }
        }
    }

    #[test]
    fn a_run_lies_between_packets_as_it_was_put_in() {
        let single = packet(1, false, b"single", ProtocolVersion::V5);
        let input = [
            packet(0, false, b"one", ProtocolVersion::V5),
            packet(0, false, b"two", ProtocolVersion::V5),
        ]
        .concat();
        let frame = next_frame(&input, u32::MAX).unwrap().unwrap();
        let run = Run::at_front(&input, &frame, ProtocolVersion::V5, u32::MAX).unwrap();
        let one = next_frame(&single, u32::MAX).unwrap().unwrap();
        let publish =
            Publish::decode(&one, ProtocolVersion::V5, Receiver::Server, |_| false).unwrap();
        let view = MessageView::of_publish(&publish, Deadline::NEVER).unwrap();
        let raw = RawPublish::new(&one, &publish, ProtocolVersion::V5);
        let covering =
            Covering { from: ShardId(0), publisher: None, reply: None, attribution: None };
        let mut parcel = Parcel::default();
        for _ in 0..2 {
            parcel.clear();
            parcel.push(&view, raw, &covering, 0);
            parcel.push_run(&run, None);
            parcel.push(&view, raw, &covering, 0);
            let found: Vec<_> = parcel
                .iter()
                .map(|content| match content {
                    Content::One(packed) => packed.packet.bytes.to_vec(),
                    Content::Run(found, publisher) => {
                        assert_eq!(
                            (found.messages, found.topic(), publisher),
                            (2, &b"a/b"[..], None)
                        );
                        found.bytes.to_vec()
                    }
                })
                .collect();
            assert_eq!(found, [single.clone(), input.clone(), single.clone()]);
        }
    }
}
