//! Runs: messages that one client sends to one topic, one behind the other, and that came together.
//!
//! That is what a flood is made of. What is the same for all of them, looking for the route and for
//! each receiver, is done once for a run, and at QoS 0 their packets, which lie in one piece already,
//! are copied in one piece. Only messages whose packets can be passed on as they came make a run:
//! neither DUP nor the retain flag, no properties, a small payload. A message that comes alone to the
//! topic of the one before is a run of one, which spares it most of what is asked of others. Whether its receivers can take it
//! so is asked in `delivery/runs.rs`; whoever cannot gets the messages one by one, as all did without
//! this module. The invariant: nobody can tell from what he receives whether messages were in a run.

use crate::expiry::Deadline;
use crate::message::MessageView;
use crate::outbox::COPY_MAX;
use crate::outgoing::RawPublish;
use noctule_mqtt::codec::{self, Frame};
use noctule_mqtt::{PacketId, ProtocolVersion, QoS, TopicName};

/// A run takes no more bytes than this: a receiver that does not keep up is noticed between runs.
const RUN_BYTES_MAX: usize = 16 * 1024;

/// The first bytes of a PUBLISH that may be in a run: QoS 0 and QoS 1 without flags.
const AT_MOST_ONCE: u8 = 0x30;
const AT_LEAST_ONCE: u8 = 0x32;

/// Messages that make a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    /// Their packets, one behind the other.
    pub(crate) bytes: &'a [u8],
    /// How many there are: at least one.
    pub(crate) messages: usize,
    /// Size of all payloads.
    pub(crate) payload_bytes: usize,
    /// Size of the largest packet.
    pub(crate) packet_bytes_max: usize,
    pub(crate) qos: QoS,
    pub(crate) has_properties: bool,
    topic_len: usize,
}

/// One packet of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) header_len: usize,
    /// `None` at QoS 0.
    pub(crate) packet_id: Option<PacketId>,
    pub(crate) payload: &'a [u8],
}

/// Whether what comes `behind` a packet looks as if a run had begun: to be asked of every packet, so it
/// is a matter of a few instructions.
#[inline]
pub(crate) fn is_begun(frame: &Frame<'_>, behind: &[u8]) -> bool {
    let first = frame.bytes[0];
    if first != AT_MOST_ONCE && first != AT_LEAST_ONCE || behind.first() != Some(&first) {
        return false;
    }
    let [high, low, ..] = *frame.body() else { return false };
    let topic =
        frame.header_len..frame.header_len + 2 + usize::from(u16::from_be_bytes([high, low]));
    let (Some(here), Some(there)) = (frame.bytes.get(topic.clone()), behind.get(topic)) else {
        return false;
    };
    here == there
}

/// The bytes of a packet's topic, if it may be in a run.
#[inline]
pub(crate) fn topic_of<'a>(frame: &Frame<'a>) -> Option<&'a [u8]> {
    if frame.bytes[0] != AT_MOST_ONCE && frame.bytes[0] != AT_LEAST_ONCE {
        return None;
    }
    topic_of_any(frame)
}

/// The bytes of the topic of a packet that is a PUBLISH.
#[inline]
pub(crate) fn topic_of_any<'a>(frame: &Frame<'a>) -> Option<&'a [u8]> {
    let (length, rest) = frame.body().split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

impl<'a> Run<'a> {
    /// The run that `input` begins with, if it does. `first` is the packet at its front; a packet of
    /// more than `packet_bytes_max` does not belong to it, and is refused by whoever takes packets one
    /// by one.
    pub(crate) fn at_front(
        input: &'a [u8],
        first: &Frame<'a>,
        version: ProtocolVersion,
        packet_bytes_max: u32,
    ) -> Option<Self> {
        let first_byte = first.bytes[0];
        let qos = if first_byte == AT_MOST_ONCE { QoS::AtMostOnce } else { QoS::AtLeastOnce };
        let (topic_len, _) = first.body().split_first_chunk::<2>()?;
        let topic_len = usize::from(u16::from_be_bytes(*topic_len));
        let mut run = Self {
            bytes: &[],
            messages: 0,
            payload_bytes: 0,
            packet_bytes_max: 0,
            qos,
            has_properties: version.has_properties(),
            topic_len,
        };
        // Length and text.
        let topic = first.body().get(..2 + topic_len)?;
        let packet_bytes_max = packet_bytes_max.min(RUN_BYTES_MAX as u32);
        let mut end = 0;
        while let Ok(Some(frame)) = codec::next_frame(&input[end..], packet_bytes_max)
            && frame.bytes[0] == first_byte
            && frame.body().starts_with(topic)
            && end + frame.bytes.len() <= RUN_BYTES_MAX
            && let Some(member) = run.member(frame)
        {
            end += frame.bytes.len();
            run.messages += 1;
            run.payload_bytes += member.payload.len();
            run.packet_bytes_max = run.packet_bytes_max.max(frame.bytes.len());
        }
        run.bytes = &input[..end];
        (run.messages > 0).then_some(run)
    }

    /// The same of a copy of its packets.
    pub(crate) fn with_bytes<'b>(&self, bytes: &'b [u8]) -> Run<'b> {
        Run { bytes, ..*self }
    }

    /// The topic's bytes, which nobody has checked yet.
    pub(crate) fn topic(&self) -> &'a [u8] {
        let first = self.members().next();
        first.map_or(&[], |first| &first.bytes[first.header_len + 2..][..self.topic_len])
    }

    /// A packet's message and its bytes. `topic` is that of the run.
    #[inline(always)]
    pub(crate) fn parts<'t>(
        &self,
        member: &Member<'t>,
        topic: TopicName<'t>,
    ) -> (MessageView<'t>, RawPublish<'t>) {
        let Member { bytes, header_len, payload, .. } = *member;
        let (qos, retain, expires) = (self.qos, false, Deadline::NEVER);
        let view = MessageView { topic, properties: &[], payload, qos, retain, expires };
        let has_properties = self.has_properties;
        (view, RawPublish { bytes, header_len, has_properties, passable: true })
    }

    /// Where a packet has its packet identifier, behind its fixed header.
    pub(crate) fn packet_id_at(&self) -> usize {
        2 + self.topic_len
    }

    /// Its packets, in order.
    #[inline]
    pub(crate) fn members(&self) -> impl Iterator<Item = Member<'a>> {
        let (run, mut rest) = (*self, self.bytes);
        std::iter::from_fn(move || {
            let frame = codec::next_frame(rest, RUN_BYTES_MAX as u32).ok()??;
            rest = &rest[frame.bytes.len()..];
            run.member(frame)
        })
    }

    /// A packet, if it fits: its topic is known to be that of the run.
    #[inline(always)]
    fn member(&self, frame: Frame<'a>) -> Option<Member<'a>> {
        if frame.has_padded_length() {
            return None;
        }
        let rest = frame.body().get(self.packet_id_at()..)?;
        let (packet_id, rest) = if self.qos == QoS::AtMostOnce {
            (None, rest)
        } else {
            let (id, rest) = rest.split_first_chunk::<2>()?;
            (Some(PacketId::new(u16::from_be_bytes(*id))?), rest)
        };
        let payload = if self.has_properties {
            let (length, payload) = rest.split_first()?;
            (*length == 0).then_some(payload)?
        } else {
            rest
        };
        let Frame { bytes, header_len } = frame;
        (payload.len() <= COPY_MAX).then_some(Member { bytes, header_len, packet_id, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(input: &[u8], version: ProtocolVersion) -> Option<Run<'_>> {
        let first = codec::next_frame(input, 1_000_000).unwrap().unwrap();
        Run::at_front(input, &first, version, 1_000_000)
    }

    #[test]
    fn messages_to_one_topic_are_a_run_up_to_what_differs() {
        let same = b"\x30\x05\x00\x01a12\x30\x04\x00\x01a3";
        let found = |behind: &[u8]| {
            let input = [same, behind].concat();
            let run = run(&input, ProtocolVersion::V311).unwrap();
            assert_eq!((run.topic(), run.payload_bytes, run.packet_bytes_max), (&b"a"[..], 3, 7));
            (run.messages, run.bytes.len())
        };
        assert_eq!(found(b""), (2, 13));
        // Another topic, one that begins the same, a flag, another QoS, a length too long, half a
        // packet, what is no packet.
        for behind in [
            &b"\x30\x04\x00\x01b3"[..],
            b"\x30\x05\x00\x02ab3",
            b"\x31\x04\x00\x01a3",
            b"\x32\x06\x00\x01a\x00\x013",
            b"\x30\x84\x00\x00\x01a3",
            b"\x30\x04\x00\x01",
            b"\x30\xFF\xFF\xFF\xFF\xFF",
        ] {
            assert_eq!(found(behind), (2, 13), "{behind:?}");
        }
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_no_run() {
        let lone = run(b"\x30\x04\x00\x01a3\xC0\x00", ProtocolVersion::V311).unwrap();
        assert_eq!((lone.messages, lone.bytes.len()), (1, 6));
        // Shorter than its topic says.
        assert!(run(b"\x30\x02\x00\x05\x30\x02\x00\x05", ProtocolVersion::V311).is_none());
        let large = [b"\x30\x84\x10\x00\x01a".as_slice(), &[b'x'; 2_049]].concat().repeat(2);
        assert!(run(&large, ProtocolVersion::V311).is_none(), "its payload is shared");
    }

    #[test]
    fn identifiers_and_properties_are_seen() {
        let input = b"\x32\x07\x00\x01a\x00\x07\x00x\x32\x07\x00\x01a\x00\x08\x00y";
        let found = run(input, ProtocolVersion::V5).unwrap();
        let ids: Vec<_> = found.members().map(|one| one.packet_id.unwrap().get()).collect();
        let payloads: Vec<_> = found.members().map(|one| one.payload).collect();
        assert_eq!((ids, payloads), (vec![7, 8], vec![&b"x"[..], b"y"]));
        // One with properties, one without an identifier.
        let other = b"\x32\x09\x00\x01a\x00\x08\x02\x01\x00y";
        let both = [&input[..9], other].concat();
        assert_eq!(run(&both, ProtocolVersion::V5).unwrap().messages, 1);
        assert!(run(other, ProtocolVersion::V5).is_none());
        assert!(
            run(b"\x32\x05\x00\x01a\x00\x00\x32\x05\x00\x01a\x00\x00", ProtocolVersion::V311)
                .is_none()
        );
    }

    #[test]
    fn a_run_has_an_end() {
        let message = [b"\x30\x7F\x00\x01a".as_slice(), &[b'x'; 124]].concat();
        let input = message.repeat(1_000);
        let found = run(&input, ProtocolVersion::V311).unwrap();
        assert_eq!(found.messages, RUN_BYTES_MAX / message.len());
        assert_eq!(found.members().count(), found.messages);
    }
}
