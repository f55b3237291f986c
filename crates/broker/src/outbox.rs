//! The bytes that are to leave on a connection.
//!
//! Small things are copied into one buffer after another; large payloads are shared and leave from
//! where they lie. Empty, an outbox owns no memory: its buffer goes back to the shard's pool.

use crate::message::Message;
use crate::outgoing::Encoded;
use noctule_mqtt::PacketId;
use std::collections::VecDeque;
use std::io::IoSlice;

/// Payloads over this many bytes are shared instead of copied. Measured: copying is cheaper below,
/// sharing above (docs/decisions).
pub(crate) const COPY_MAX: usize = 2_048;

/// Bytes that have left are taken out of the buffer when they are as many as this, and half of it.
const SENT_KEPT: usize = 16 * 1024;

/// Output of one connection, in order.
#[derive(Debug, Default)]
pub struct Outbox {
    /// What leaves first, from `sent` on.
    head: Vec<u8>,
    sent: usize,
    /// What follows the head; there only when a large payload is waiting.
    rest: Option<Box<Rest>>,
}

/// Behind the head, boxed because an idle connection should not pay for it.
#[derive(Debug, Default)]
struct Rest {
    segments: VecDeque<Segment>,
    /// Bytes of all of them.
    bytes: usize,
    /// Bytes of payloads among them that are counted elsewhere.
    metered: usize,
}

impl Rest {
    fn push_payload(&mut self, message: Message) {
        self.bytes += message.payload().len();
        self.metered += metered_bytes(&message);
        self.segments.push_back(Segment::Payload(message));
    }

    fn pop(&mut self) -> Option<Segment> {
        let segment = self.segments.pop_front();
        self.bytes -= segment.as_ref().map_or(0, |segment| segment.bytes().len());
        if let Some(Segment::Payload(message)) = &segment {
            self.metered -= metered_bytes(message);
        }
        segment
    }
}

fn metered_bytes(message: &Message) -> usize {
    if message.is_metered() { message.payload().len() } else { 0 }
}

#[derive(Debug)]
enum Segment {
    Copied(Vec<u8>),
    Payload(Message),
}

impl Segment {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Payload(message) => message.payload(),
        }
    }
}

impl Outbox {
    /// How many bytes are waiting.
    #[inline]
    pub fn len(&self) -> usize {
        let rest = self.rest.as_ref().map_or(0, |rest| rest.bytes);
        self.head.len() + rest - self.sent
    }

    /// How many of these bytes count with the connection: all but payloads that are counted by
    /// themselves.
    pub(crate) fn weight(&self) -> usize {
        // A part of the first payload may have left.
        self.len().saturating_sub(self.rest.as_ref().map_or(0, |rest| rest.metered))
    }

    /// Whether nothing is waiting.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the next bytes would be copied into a buffer that does not exist yet.
    pub(crate) fn lacks_buffer(&self) -> bool {
        self.head.capacity() == 0 && self.rest.is_none()
    }

    /// Gives it a buffer to begin with.
    pub(crate) fn lend(&mut self, buffer: Vec<u8>) {
        self.head = buffer;
    }

    /// The buffer that copied bytes are to be appended to. Follow with
    /// [`appended`](Self::appended).
    #[inline]
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        if self.rest.is_none() { &mut self.head } else { self.tail_of_rest() }
    }

    fn tail_of_rest(&mut self) -> &mut Vec<u8> {
        let rest = self.rest.get_or_insert_default();
        if !matches!(rest.segments.back(), Some(Segment::Copied(_))) {
            rest.segments.push_back(Segment::Copied(Vec::new()));
        }
        match rest.segments.back_mut() {
            Some(Segment::Copied(buffer)) => buffer,
            _ => unreachable!("a copied segment was just put there"),
        }
    }

    /// Says how many bytes were appended to the [`tail`](Self::tail).
    #[inline]
    pub(crate) fn appended(&mut self, bytes: usize) {
        if let Some(rest) = &mut self.rest {
            rest.bytes += bytes;
        }
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.tail().extend_from_slice(bytes);
        self.appended(bytes.len());
    }

    /// Appends a copy of an encoded PUBLISH with its packet identifier put in.
    #[inline(always)]
    pub(crate) fn push_numbered(&mut self, publish: Encoded<'_>, packet_id: PacketId) {
        let tail = self.tail();
        let at = tail.len() + publish.packet_id_at;
        tail.extend_from_slice(publish.bytes);
        if let Some(place) = tail.get_mut(at..at + 2) {
            place.copy_from_slice(&packet_id.get().to_be_bytes());
        }
        self.appended(publish.bytes.len());
    }

    /// Appends the payload of `message` by reference.
    pub(crate) fn push_payload(&mut self, message: Message) {
        self.rest.get_or_insert_default().push_payload(message);
    }

    /// All that is waiting, if it lies in one piece.
    pub fn contiguous(&self) -> Option<&[u8]> {
        if self.rest.is_some() { None } else { self.head.get(self.sent..) }
    }

    /// Fills `slices` with what leaves next and returns how many were filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let head = &self.head[self.sent.min(self.head.len())..];
        // Behind the head's end, `sent` counts into the first of the rest.
        let mut skip = self.sent.saturating_sub(self.head.len());
        let rest = self.rest.iter().flat_map(|rest| rest.segments.iter().map(Segment::bytes));
        let mut filled = 0;
        for bytes in std::iter::once(head).chain(rest.map(|bytes| {
            let bytes = &bytes[skip..];
            skip = 0;
            bytes
        })) {
            if filled == slices.len() {
                break;
            }
            if !bytes.is_empty() {
                slices[filled] = IoSlice::new(bytes);
                filled += 1;
            }
        }
        filled
    }

    /// Takes `written` bytes off the front. When nothing is left the buffer is handed back.
    #[inline]
    pub(crate) fn advance(&mut self, written: usize) -> Option<Vec<u8>> {
        if self.rest.is_some() || self.sent + written < self.head.len() {
            return self.advance_partly(written);
        }
        self.sent = 0;
        let mut buffer = std::mem::take(&mut self.head);
        buffer.clear();
        Some(buffer)
    }

    fn advance_partly(&mut self, written: usize) -> Option<Vec<u8>> {
        self.sent += written;
        if self.is_empty() {
            self.sent = 0;
            self.rest = None;
            let mut buffer = std::mem::take(&mut self.head);
            buffer.clear();
            return Some(buffer);
        }
        // `sent` may reach past the head into a payload behind it; what is finished is let go.
        while self.sent >= self.head.len()
            && let Some(rest) = &mut self.rest
        {
            let past_head = self.sent - self.head.len();
            match rest.segments.front() {
                Some(Segment::Copied(_)) => self.sent = past_head,
                Some(Segment::Payload(message)) if past_head >= message.payload().len() => {
                    self.sent = past_head - message.payload().len();
                }
                Some(Segment::Payload(_)) | None => break,
            }
            self.head = match rest.pop() {
                Some(Segment::Copied(bytes)) => bytes,
                Some(Segment::Payload(_)) | None => Vec::new(),
            };
            if rest.segments.is_empty() {
                self.rest = None;
            }
        }
        // A reader who is always a little behind would have the head grow for ever.
        if self.sent >= SENT_KEPT
            && self.sent <= self.head.len()
            && self.sent >= self.head.len() / 2
        {
            self.head.drain(..self.sent);
            self.sent = 0;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageView;
    use noctule_mqtt::QoS;

    fn large(byte: u8, len: usize) -> Message {
        Message::new(&MessageView {
            topic: noctule_mqtt::TopicName::new("t").unwrap(),
            properties: &[],
            payload: &vec![byte; len],
            qos: QoS::AtMostOnce,
            retain: false,
            expires: crate::expiry::Deadline::NEVER,
        })
    }

    fn contents(outbox: &Outbox) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 16];
        let filled = outbox.slices(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn what_goes_in_comes_out_in_any_pieces() {
        for step in 1..40 {
            let mut outbox = Outbox::default();
            let mut expected = Vec::new();
            outbox.push(b"one");
            expected.extend(b"one");
            for byte in 0..3u8 {
                outbox.push_payload(large(byte, 10));
                expected.extend([byte; 10]);
                if byte != 1 {
                    outbox.push(b"small");
                    expected.extend(b"small");
                }
            }
            let mut seen = Vec::new();
            while !outbox.is_empty() {
                let bytes = contents(&outbox);
                assert_eq!(bytes.len(), outbox.len());
                let taken = step.min(bytes.len());
                seen.extend_from_slice(&bytes[..taken]);
                outbox.advance(taken);
            }
            assert_eq!(seen, expected, "in steps of {step}");
            assert!(outbox.lacks_buffer());
        }
    }

    #[test]
    fn a_reader_always_a_little_behind_does_not_make_the_buffer_grow() {
        let mut outbox = Outbox::default();
        outbox.push(&[0; 1_000]);
        for round in 0..10_000u32 {
            outbox.push(&round.to_be_bytes().repeat(250));
            assert!(outbox.advance(1_000).is_none());
            assert_eq!(contents(&outbox)[..4], round.to_be_bytes());
        }
        assert!(outbox.head.capacity() < 100_000, "{} bytes", outbox.head.capacity());
    }

    #[test]
    fn it_can_go_on_while_it_is_being_emptied() {
        let mut outbox = Outbox::default();
        outbox.push(b"abc");
        assert!(outbox.advance(2).is_none());
        outbox.push_payload(large(7, 4));
        outbox.push(b"d");
        assert_eq!(contents(&outbox), [b'c', 7, 7, 7, 7, b'd']);
        assert!(outbox.advance(3).is_none());
        outbox.push(b"e");
        assert_eq!(contents(&outbox), [7, 7, b'd', b'e']);
        assert_eq!(outbox.advance(4).map(|buffer| buffer.len()), Some(0));
    }
}
