//! The server's end of a WebSocket connection over a non-blocking pipe.
//!
//! ```text
//!   Upgrading ─head whole, granted──► Open ─close frame, end of the pipe──► Over
//!       └──────head refused───────────► Over ◄──against the rules───────────┘
//! ```
//!
//! What the reader gets is the payload of frames, put together where it was read: nothing is copied and
//! nothing gathered. What the writer gives leaves from where it lies, behind the header of one frame for
//! everything that is written at once.
//!
//! Invariants: between the bytes of a frame nothing else leaves, so answers of this end's own (the upgrade's,
//! pongs, a close frame) wait for the end of the frame that is under way; and what this end holds is bounded:
//! the head of a request, an answer to it, and the answers to control frames.

use super::{WebSocketFailure, WebSocketRules};
use crate::{FirstBytes, Peer, Pipe};
use noctule_ws::{
    CloseCode, Conversation, End, HEAD_BYTES_MAX, OutgoingFrame, Refusal, head_end, read_request,
};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Slices that leave at once, the header among them. Not more than TLS encrypts at once.
const SLICES_MAX: usize = 64;

/// The server's end of a WebSocket connection.
#[derive(Debug)]
pub struct WebSocketStream {
    inner: Pipe,
    rules: Arc<WebSocketRules>,
    phase: Phase,
    conversation: Conversation,
    frame: OutgoingFrame,
    /// An answer of HTTP that has not wholly left.
    reply: Vec<u8>,
    /// What a stranger may still send that is not payload; none for somebody known.
    stranger_bytes: Option<usize>,
    /// What the request says about where it comes from.
    claimed: Option<IpAddr>,
    /// There may be more to read, though this end did not read until nothing was left.
    has_more: bool,
    end: Ending,
}

#[derive(Debug)]
enum Phase {
    /// The head of a request is awaited, of which these bytes have come.
    Upgrading { head: Vec<u8> },
    /// Frames come.
    Open,
    /// What comes is thrown away.
    Over,
}

/// How the input stands.
#[derive(Debug)]
enum Ending {
    /// It goes on.
    NotYet,
    /// It is over, and the caller has to be told: that the peer has finished, or what failed.
    ToTell(Option<io::Error>),
    /// The caller was told.
    Told,
}

impl WebSocketStream {
    pub(crate) fn new(inner: Pipe, rules: Arc<WebSocketRules>) -> Self {
        Self {
            inner,
            conversation: Conversation::server(rules.frame_bytes_max),
            frame: OutgoingFrame::default(),
            reply: Vec::new(),
            stranger_bytes: Some(rules.stranger_bytes_max.saturating_add(HEAD_BYTES_MAX)),
            phase: Phase::Upgrading { head: Vec::new() },
            rules,
            claimed: None,
            has_more: false,
            end: Ending::NotYet,
        }
    }

    pub(crate) fn inner(&self) -> &Pipe {
        &self.inner
    }

    pub(crate) fn inner_mut(&mut self) -> &mut Pipe {
        &mut self.inner
    }

    /// Its peer is no stranger any more.
    pub(crate) fn acquaint(&mut self) {
        self.stranger_bytes = None;
    }

    pub(crate) fn is_of_proxy(&self, peer: &Peer) -> bool {
        (self.rules.is_proxy)(peer)
    }

    /// Whose the connection is, if its other end is `peer`'s.
    pub(crate) fn forwarded(&self, peer: Peer) -> Peer {
        match (self.is_of_proxy(&peer), self.claimed) {
            // Which port it has there nobody says.
            (true, Some(address)) if !address.to_canonical().is_loopback() => {
                Peer::Address(SocketAddr::new(address, 0))
            }
            // Who comes by way of somebody else is somebody else, whether it is believed or not, and not a
            // program of this machine: a loopback address is one of another machine's, or a forged one.
            (true, _) | (false, Some(_)) => Peer::Behind(peer.source()),
            (false, None) => peer,
        }
    }

    pub(crate) fn is_upgraded(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    pub(crate) fn holds_input(&self) -> bool {
        self.has_more || self.inner.holds_input() || matches!(self.end, Ending::ToTell(_))
    }

    /// Fills `buffer` with payload until it is full, the pipe is empty, or the end is reached. Frames without
    /// payload, and bytes between, are read up to the size of the buffer.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.has_more = false;
        let (mut filled, mut left) = (0, buffer.len());
        loop {
            match &mut self.end {
                Ending::NotYet => {}
                Ending::ToTell(_) if filled > 0 => return Ok(filled),
                Ending::ToTell(what) => {
                    let what = what.take();
                    self.end = Ending::Told;
                    return what.map_or(Ok(0), Err);
                }
                Ending::Told => return self.discard(buffer),
            }
            if left == 0 {
                self.has_more = filled < buffer.len();
                return if filled > 0 { Ok(filled) } else { Err(io::ErrorKind::WouldBlock.into()) };
            }
            let room = (buffer.len() - filled).min(left);
            let room = &mut buffer[filled..filled + room];
            match self.inner.read(room) {
                Ok(0) => self.end = Ending::ToTell(None),
                Ok(read) => {
                    let is_drained = read < room.len() && !self.inner.holds_input();
                    let payload = self.take_in(&mut room[..read]);
                    self.charge(read - payload);
                    filled += payload;
                    left -= read;
                    // If there is no payload, the end may be there already, and nobody would tell of it.
                    if is_drained && filled > 0 {
                        return Ok(filled);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return if filled > 0 { Ok(filled) } else { Err(error) };
                }
                Err(error) => self.end = Ending::ToTell(Some(error)),
            }
        }
    }

    /// After the end what comes is thrown away, until the pipe itself has an end.
    fn discard(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut left = buffer.len();
        loop {
            match self.inner.read(buffer)? {
                0 => return Ok(0),
                read if read < left => left -= read,
                _ => {
                    self.has_more = true;
                    return Err(io::ErrorKind::WouldBlock.into());
                }
            }
        }
    }

    /// Makes payload of bytes that were read, at their front, and answers what is to be answered.
    fn take_in(&mut self, bytes: &mut [u8]) -> usize {
        let payload = match self.phase {
            Phase::Open => self.take_frames(bytes),
            Phase::Upgrading { .. } => self.take_head(bytes),
            Phase::Over => 0,
        };
        if self.wants_write()
            && let Err(error) = self.flush()
            && error.kind() != io::ErrorKind::WouldBlock
            && matches!(self.end, Ending::NotYet)
        {
            self.end = Ending::ToTell(Some(error));
        }
        payload
    }

    fn take_frames(&mut self, bytes: &mut [u8]) -> usize {
        let taken = self.conversation.take_in(bytes);
        match taken.end {
            None => {}
            Some(End::Closed(_)) => {
                self.phase = Phase::Over;
                self.end = Ending::ToTell(None);
            }
            Some(End::Violated(violation)) => self.fail(WebSocketFailure::Violated(violation)),
        }
        taken.payload
    }

    fn take_head(&mut self, bytes: &mut [u8]) -> usize {
        let Phase::Upgrading { head } = &mut self.phase else {
            return 0;
        };
        if head.is_empty() && !bytes.first().is_some_and(u8::is_ascii_uppercase) {
            let mut first = FirstBytes::default();
            first.note(bytes);
            return self.refuse(WebSocketFailure::NotHttp(first), Refusal::NotHttp);
        }
        let before = head.len();
        // A head is hardly ever in pieces; if it is, it is put together here.
        head.extend_from_slice(&bytes[..bytes.len().min(HEAD_BYTES_MAX + 1 - before)]);
        let Some(end) = head_end(head, before) else {
            if head.len() > HEAD_BYTES_MAX {
                let refusal = Refusal::HeadTooLarge;
                return self.refuse(WebSocketFailure::Refused(refusal), refusal);
            }
            return 0;
        };
        let granted = read_request(&head[..end]).and_then(|request| {
            let is_proxy =
                |address| (self.rules.is_proxy)(&Peer::Address(SocketAddr::new(address, 0)));
            let claimed = request.forwarded_for(is_proxy);
            let is_allowed = self.rules.allow(request.origin);
            if is_allowed { Ok((request.response(), claimed)) } else { Err(Refusal::Origin) }
        });
        match granted {
            Ok((response, claimed)) => {
                (self.reply, self.claimed) = (response, claimed);
                self.phase = Phase::Open;
                // Frames may stand behind it.
                let behind = end - before;
                bytes.copy_within(behind.., 0);
                let len = bytes.len() - behind;
                self.take_frames(&mut bytes[..len])
            }
            Err(refusal) => self.refuse(WebSocketFailure::Refused(refusal), refusal),
        }
    }

    fn refuse(&mut self, failure: WebSocketFailure, refusal: Refusal) -> usize {
        // Who does not speak HTTP would not understand it.
        if !matches!(failure, WebSocketFailure::NotHttp(_)) {
            self.reply = refusal.response();
        }
        self.fail(failure);
        0
    }

    fn fail(&mut self, failure: WebSocketFailure) {
        self.phase = Phase::Over;
        self.end = Ending::ToTell(Some(failure.into()));
    }

    /// So many bytes came that are not payload.
    fn charge(&mut self, bytes: usize) {
        if let Some(left) = &mut self.stranger_bytes {
            match left.checked_sub(bytes) {
                Some(less) => *left = less,
                None if matches!(self.end, Ending::NotYet) => {
                    self.conversation.close(CloseCode::POLICY_VIOLATION);
                    let _ = self.flush();
                    self.fail(WebSocketFailure::TooMuch);
                }
                None => {}
            }
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    /// Writes as much of `slices` as the pipe takes, in one frame; behind the rest of the one before, if that
    /// did not fit. After this end has closed, what is written goes nowhere.
    pub(crate) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut written = 0;
        while written < total {
            match self.write_once(slices, written, total) {
                Ok(Some(payload)) => written += payload,
                Ok(None) => return Ok(total),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && written > 0 => {
                    return Ok(written);
                }
                Err(error) => return Err(error),
            }
        }
        if self.wants_write()
            && let Err(error) = self.flush()
            && error.kind() != io::ErrorKind::WouldBlock
        {
            return Err(error);
        }
        Ok(written)
    }

    /// Writes once behind `skip` bytes of `slices`. None if nothing is to leave any more.
    ///
    /// # Errors
    /// Also `WouldBlock`, if less left than should, after as much as could has left.
    fn write_once(
        &mut self,
        slices: &[IoSlice<'_>],
        skip: usize,
        total: usize,
    ) -> io::Result<Option<usize>> {
        if self.frame.is_over() {
            self.flush()?;
            if self.conversation.has_closed() || matches!(self.phase, Phase::Over) {
                return Ok(None);
            }
            self.frame.begin((total - skip) as u64, None);
        }
        let mut pieces = [IoSlice::new(&[]); SLICES_MAX];
        let header = self.frame.header();
        pieces[0] = IoSlice::new(header);
        let (mut count, mut wanted) = (1, header.len());
        let mut left = usize::try_from(self.frame.left()).unwrap_or(usize::MAX);
        let mut skip = skip;
        for slice in slices {
            let piece = slice.get(skip..).unwrap_or_default();
            skip -= skip.min(slice.len());
            let piece = &piece[..piece.len().min(left)];
            if piece.is_empty() {
                continue;
            }
            if count == SLICES_MAX {
                break;
            }
            pieces[count] = IoSlice::new(piece);
            left -= piece.len();
            wanted += piece.len();
            count += 1;
        }
        let begin = usize::from(header.is_empty());
        let sent = self.inner.write_vectored(&pieces[begin..count])?;
        let payload = self.frame.written(sent);
        if sent < wanted && payload == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Some(payload))
    }

    pub(crate) fn wants_write(&self) -> bool {
        self.inner.wants_write() || self.frame.is_over() && self.has_answers()
    }

    fn has_answers(&self) -> bool {
        !self.reply.is_empty() || !self.conversation.answers().is_empty()
    }

    /// Bytes that wait here: for the pipe, or for the rest of a head.
    pub(crate) fn held(&self) -> usize {
        let head = match &self.phase {
            Phase::Upgrading { head } => head.len(),
            Phase::Open | Phase::Over => 0,
        };
        head + self.reply.len() + self.conversation.answers().len() + self.inner.held()
    }

    /// Lets leave what this end has to say by itself, unless it is in the middle of a frame.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()?;
        if !self.frame.is_over() || !self.has_answers() {
            return Ok(());
        }
        while !self.reply.is_empty() {
            let sent = write_some(&mut self.inner, &self.reply)?;
            self.reply.drain(..sent);
        }
        self.reply = Vec::new();
        while !self.conversation.answers().is_empty() {
            let sent = write_some(&mut self.inner, self.conversation.answers())?;
            self.conversation.answers_sent(sent);
        }
        self.inner.flush()
    }

    /// Says goodbye in WebSocket, if it can be said now, and in what is below.
    pub(crate) fn finish_writing(&mut self) {
        if self.is_upgraded() {
            self.conversation.close(CloseCode::NORMAL);
        }
        let _ = self.flush();
        self.inner.finish_writing();
    }
}

/// Writes at least a byte.
fn write_some(pipe: &mut Pipe, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match pipe.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(sent) => return Ok(sent),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
