//! One connection of the relay, and what part it plays.
//!
//! An end whose bytes are copied is never looked into. Where bytes of several ends go to one, whole
//! packets are cut out by their lengths, and each answer is handed to whoever wrote what it answers:
//! one answer to one packet, in order, which holds for PUBLISH and PUBREL alike.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

use mio::net::TcpStream;
use noctule_mqtt::ProtocolVersion;
use noctule_mqtt::codec;

use super::{FRAME_BYTES_MAX, unfit};
use crate::packets::VERSION;

#[derive(Debug)]
pub(super) struct End {
    pub(super) stream: TcpStream,
    pub(super) version: ProtocolVersion,
    pub(super) out: Vec<u8>,
    written: usize,
    pub(super) part: Part,
    /// Bytes of an unfinished packet, where packets matter.
    pub(super) unread: Vec<u8>,
    /// Who waits for answers of this end, and for how many.
    asked: VecDeque<(usize, u64)>,
}

/// What becomes of what an end says.
#[derive(Debug)]
pub(super) enum Part {
    /// It is read, until it shows whom this end talks to.
    Stranger,
    /// It is thrown away.
    Idle,
    /// It is copied to these.
    Copied(Arc<[usize]>),
    /// Whole packets are copied to an end that others write to as well.
    Whole {
        /// That end.
        to: usize,
        /// Whether each packet will be answered.
        is_answered: bool,
    },
    /// Answers go to those who asked.
    Answering,
}

impl End {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            version: VERSION,
            out: Vec::new(),
            written: 0,
            part: Part::Stranger,
            unread: Vec::new(),
            asked: VecDeque::new(),
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// The whole packets in what has come so far, and how many they are; the rest waits.
    pub(super) fn whole<'a>(&mut self, bytes: &'a [u8]) -> io::Result<(Cow<'a, [u8]>, u64)> {
        if self.unread.is_empty() {
            let (at, count) = packets(bytes)?;
            self.unread.extend_from_slice(&bytes[at..]);
            return Ok((Cow::Borrowed(&bytes[..at]), count));
        }
        let mut input = std::mem::take(&mut self.unread);
        input.extend_from_slice(bytes);
        let (at, count) = packets(&input)?;
        self.unread = input.split_off(at);
        Ok((Cow::Owned(input), count))
    }

    /// So many answers of this end will be for `key`.
    pub(super) fn expect(&mut self, key: usize, count: u64) {
        match self.asked.back_mut() {
            Some((last, waiting)) if *last == key => *waiting += count,
            _ if count > 0 => self.asked.push_back((key, count)),
            _ => {}
        }
    }

    /// The answers in what has come, by whom they are for.
    pub(super) fn answers(&mut self, bytes: &[u8]) -> io::Result<Vec<(usize, Vec<u8>)>> {
        let (packets, _) = self.whole(bytes)?;
        let (mut rest, mut found) = (&*packets, Vec::new());
        while let Some((key, count)) = self.asked.front_mut() {
            let mut at = 0;
            while *count > 0
                && let Some(length) = packet(&rest[at..])?
            {
                at += length;
                *count -= 1;
            }
            found.push((*key, rest[..at].to_vec()));
            rest = &rest[at..];
            if *count > 0 {
                break;
            }
            self.asked.pop_front();
        }
        Ok(found)
    }
}

/// How many bytes the whole packets at the front have, and how many they are.
fn packets(bytes: &[u8]) -> io::Result<(usize, u64)> {
    let (mut at, mut count) = (0, 0);
    while let Some(length) = packet(&bytes[at..])? {
        at += length;
        count += 1;
    }
    Ok((at, count))
}

/// How long the packet at the front is, if it is there.
fn packet(bytes: &[u8]) -> io::Result<Option<usize>> {
    codec::next_frame(bytes, FRAME_BYTES_MAX)
        .map(|frame| frame.map(|frame| frame.bytes.len()))
        .map_err(|violation| unfit(&violation))
}
