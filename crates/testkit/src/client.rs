//! One end of a connection as the world sees it: bytes on their way in both directions, and the
//! packets that were heard and not looked at yet.

use crate::manners::Manners;
use crate::packets::Said;
use noctule_broker::{Cause, ConnectionHandle};
use noctule_mqtt::packet::announced_version;
use noctule_mqtt::{PacketType, ProtocolVersion, ReasonCode, Receiver, codec};
use std::collections::VecDeque;

/// A client of the world.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) version: ProtocolVersion,
    pub(crate) handle: ConnectionHandle,
    pub(crate) state: State,
    /// Why the shard says the connection ended.
    pub(crate) cause: Option<Cause>,
    /// Bytes that have left the client and that the shard has not read.
    pub(crate) unread: VecDeque<u8>,
    /// The shard does not want input; it will say when it does.
    pub(crate) paused: bool,
    /// How many bytes its socket still takes.
    pub(crate) room: usize,
    pub(crate) has_output: bool,
    pub(crate) inbox: VecDeque<Said>,
    pub(crate) last_id: u16,
    /// Unlooked-at packets do not fail the test.
    pub(crate) unheeded: bool,
    partial: Vec<u8>,
    pub(crate) manners: Manners,
    pub(crate) line: Line,
    speech: Speech,
}

/// What a client says byte by byte, read as a server has to read it.
#[derive(Debug, Default)]
struct Speech {
    partial: Vec<u8>,
    has_announced: bool,
    /// It has said what no server reads on after.
    is_over: bool,
}

/// What is known of a connection from outside the shard, to judge what becomes of it.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// The client has said that nothing more comes from it.
    pub(crate) half_closed: bool,
    /// When it was opened, or came to the shard of its session.
    pub(crate) came_ms: u64,
    /// When a shard last read from it.
    pub(crate) read_ms: u64,
    /// When its CONNACK was written, or a shard asked for its input again.
    pub(crate) awaited_ms: u64,
    /// From CONNECT, in seconds.
    pub(crate) keep_alive: u16,
    /// Whether its CONNACK was written and accepts it.
    pub(crate) accepted: bool,
    /// It was given its session.
    pub(crate) claimed: bool,
    /// It had to wait for its session when it was accepted.
    pub(crate) has_waited: bool,
    /// How many batches were persisted when it was given its session.
    pub(crate) claim_stamp: u64,
    /// For each packet in the inbox, how many batches were persisted when it was written.
    pub(crate) stamps: VecDeque<u64>,
    /// It was closed before all was written that was to be.
    pub(crate) cut_short: bool,
    /// The reason in the DISCONNECT that it was sent.
    pub(crate) last_word: Option<ReasonCode>,
}

/// How the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    /// It is broken, and its shard has not noticed.
    Breaking,
    /// The shard has closed it, and the test has not said that it expected this.
    ClosedByServer,
    Closed,
}

impl Client {
    pub(crate) fn new(version: ProtocolVersion, handle: ConnectionHandle) -> Self {
        Self {
            version,
            handle,
            state: State::Open,
            cause: None,
            unread: VecDeque::new(),
            paused: false,
            room: usize::MAX,
            has_output: false,
            inbox: VecDeque::new(),
            last_id: 0,
            unheeded: false,
            partial: Vec::new(),
            manners: Manners::default(),
            line: Line::default(),
            speech: Speech::default(),
        }
    }

    /// The client says these bytes, whatever they are. Returns the packets that they complete, up to
    /// the first that breaks the rules by itself or is larger than `packet_bytes_max`.
    pub(crate) fn speak(&mut self, bytes: &[u8], packet_bytes_max: u32) -> Vec<Said> {
        let mut speech = std::mem::take(&mut self.speech);
        speech.partial.extend_from_slice(bytes);
        let (mut said, mut used) = (Vec::new(), 0);
        while !speech.is_over {
            let frame = match codec::next_frame(&speech.partial[used..], packet_bytes_max) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => {
                    speech.is_over = true;
                    break;
                }
            };
            used += frame.bytes.len();
            if frame.type_bits() == PacketType::Connect as u8 && !speech.has_announced {
                // Also one that cannot be read is answered in the words of its version.
                self.version = announced_version(frame.body()).unwrap_or(ProtocolVersion::V311);
                speech.has_announced = true;
            }
            match codec::decode(&frame, self.version, Receiver::Server).map(|it| Said::of(&it)) {
                Ok(packet) => {
                    speech.is_over = self.note_spoken(&packet);
                    said.push(packet);
                }
                Err(_) => speech.is_over = true,
            }
        }
        speech.partial.drain(..used);
        self.speech = speech;
        said
    }

    /// Notes a packet that was said, and whether it was the last.
    fn note_spoken(&mut self, packet: &Said) -> bool {
        if let Said::Connect(connect) = packet {
            self.manners.on_connect(connect.bounds());
        }
        self.manners.on_spoken(packet);
        matches!(packet, Said::Disconnect { .. })
    }

    /// An identifier for the client's next packet.
    pub(crate) fn next_id(&mut self) -> u16 {
        self.last_id = self.last_id % u16::MAX + 1;
        self.last_id
    }

    /// Bytes have arrived from the server. Hands over the packets they complete.
    ///
    /// # Errors
    /// What the server did wrong.
    pub(crate) fn hear(&mut self, bytes: &[u8]) -> Result<Vec<Said>, String> {
        self.partial.extend_from_slice(bytes);
        let mut heard = Vec::new();
        let mut used = 0;
        while let Some(frame) = codec::next_frame(&self.partial[used..], u32::MAX)
            .map_err(|violation| format!("no packet: {violation}"))?
        {
            let packet = codec::decode(&frame, self.version, Receiver::Client)
                .map_err(|violation| format!("{violation}, in {:02x?}", frame.bytes))?;
            let said = Said::of(&packet);
            self.manners
                .on_heard(&said, frame.bytes.len())
                .map_err(|why| format!("{why}: {said}"))?;
            used += frame.bytes.len();
            heard.push(said);
        }
        self.partial.drain(..used);
        Ok(heard)
    }

    /// Whether part of a packet was heard and not the rest.
    pub(crate) fn is_amid_packet(&self) -> bool {
        !self.partial.is_empty()
    }
}
