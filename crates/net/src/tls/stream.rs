//! One TLS connection over a non-blocking socket.
//!
//! A connection that says nothing owns no buffer. Bytes come into the thread's [`Scratch`], are decrypted there and
//! copied to the caller; what is encrypted leaves from there. What has to wait is kept here, and with it
//! come the traps of edge-triggered readiness:
//!
//! - The socket may be empty while decrypted bytes, or the end, wait here. [`TlsStream::holds_input`] tells of
//!   them. A read goes on until the buffer is full or the socket is empty.
//! - The socket may be full while encrypted bytes wait here, even if the caller wrote nothing:
//!   handshakes, tickets and answers to key updates are written by reading. [`TlsStream::wants_write`]
//!   tells of them.
//!
//! Invariant: the socket is read only when no decrypted bytes are left, hardly more of it than the caller
//! has room for, and plaintext is taken only when no encrypted bytes are left. So what waits does not grow beyond
//! what one such step can add: a record of 16 KiB and [`READ_MIN`] on the way in, 64 KiB on the way out.

use super::TlsFailure;
use super::recognise::{ALERT, FirstBytes, HANDSHAKE};
use super::scratch::{Backlog, READ_MAX, SEALED_AT_ONCE, Scratch, Sealed};
use super::session::Session;
use crate::stream::Stream;
use rustls::{HandshakeKind, ProtocolVersion};
use rustls_pki_types::CertificateDer;
use std::fmt;
use std::io::{self, IoSlice, Read, Write};

/// How much of a socket is read at once at least, however little the caller has room for.
const READ_MIN: usize = 4096;

/// How much the caller may write before the handshake is through.
const EARLY_MAX: usize = 64 * 1024;

/// How much of what a peer has sent is thrown away after a failure, so that closing does not take
/// back the alert that says why.
const DISCARDED_MAX: usize = 32 * 1024;

/// The server's end of a TLS connection.
pub struct TlsStream {
    socket: Stream,
    session: Session,
    /// Until the handshake is through.
    beginning: Option<Box<Beginning>>,
    /// Decrypted bytes that nobody has read.
    unread: Backlog,
    /// Encrypted bytes that the socket has not taken.
    unsent: Backlog,
    end: End,
}

/// What counts only in a handshake.
#[derive(Default)]
struct Beginning {
    first: FirstBytes,
    /// What is to be encrypted as soon as it can be.
    early: Vec<u8>,
}

/// How a connection's input stands.
#[derive(Debug)]
enum End {
    /// It goes on.
    NotYet,
    /// The peer has finished, and the caller was told or has to be. Writing may go on.
    Finished { told: bool },
    /// Nothing can go on, and this has to be told, if it was not.
    Failed { untold: Option<io::Error> },
}

/// What was agreed on in a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLS 1.2` or `TLS 1.3`.
    pub version: &'static str,
    /// The cipher suite by its name at IANA.
    pub cipher: String,
    /// The name by which the client asked for the server (SNI).
    pub server_name: Option<String>,
    /// The session goes on from an earlier connection, by a ticket.
    pub is_resumed: bool,
    /// The client's own certificate in DER, which was found valid.
    pub client_certificate: Option<CertificateDer<'static>>,
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("socket", &self.socket)
            .field("is_handshaking", &self.is_handshaking())
            .field("unread", &self.unread.len())
            .field("unsent", &self.unsent.len())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl TlsStream {
    pub(super) fn new(socket: Stream, session: Session) -> Self {
        Self {
            socket,
            session,
            beginning: Some(Box::default()),
            unread: Backlog::default(),
            unsent: Backlog::default(),
            end: End::NotYet,
        }
    }

    pub(crate) fn socket_mut(&mut self) -> &mut Stream {
        &mut self.socket
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.session.state().is_handshaking()
    }

    pub(crate) fn holds_input(&self) -> bool {
        let has_to_tell = match &self.end {
            End::NotYet => false,
            End::Finished { told } => !told,
            End::Failed { untold } => untold.is_some(),
        };
        has_to_tell || !self.unread.is_empty()
    }

    pub(crate) fn wants_write(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Bytes that wait here: for the socket, for the end of the handshake, for the rest of a record or of a
    /// handshake message, for the caller.
    pub(crate) fn held(&self) -> usize {
        let early = self.beginning.as_ref().map_or(0, |beginning| beginning.early.len());
        self.unsent.len() + early + self.session.kept() + self.unread.len()
    }

    /// Fills `buffer` until it is full, the socket is empty, or the end is reached. A peer that
    /// closes without saying so in TLS has finished as well: MQTT knows by itself what is whole.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = self.unread.move_into(buffer);
        loop {
            if filled == buffer.len() {
                return Ok(filled);
            }
            match &mut self.end {
                End::NotYet => {}
                _ if filled > 0 => return Ok(filled),
                End::Finished { told } => {
                    *told = true;
                    return Ok(0);
                }
                End::Failed { untold } => return untold.take().map_or(Ok(0), Err),
            }
            match self.receive(&mut buffer[filled..]) {
                Ok(received) => {
                    filled += received.plaintext;
                    // If nothing came for the caller, the end may be there already, and nobody would tell of it.
                    if received.is_drained && filled > 0 {
                        return Ok(filled);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return if filled > 0 { Ok(filled) } else { Err(error) };
                }
                Err(error) => self.end = End::Failed { untold: Some(error) },
            }
        }
    }

    /// Takes in what one read of the socket gives, into `buffer` as far as there is room, and lets leave
    /// what TLS answers to it.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        Scratch::with(|Scratch { input, output }| {
            let kept = self.session.kept();
            let wanted = buffer.len().clamp(READ_MIN, READ_MAX);
            let read = self.socket.read(&mut input[kept..kept + wanted])?;
            if read == 0 {
                self.end = End::Finished { told: false };
                return Ok(Received { plaintext: 0, is_drained: false });
            }
            let is_drained = read < wanted;
            let input = &mut input[..kept + read];
            if let Some(beginning) = &mut self.beginning {
                beginning.first.note(&input[kept..]);
                if is_something_else(&beginning.first) {
                    let failure = TlsFailure::NotTls(beginning.first);
                    self.fail(failure, output);
                    return Ok(Received { plaintext: 0, is_drained });
                }
            }
            let unread = &mut self.unread;
            let mut plaintext = 0;
            let taken = self.session.take_in(
                input,
                |bytes| {
                    let count = bytes.len().min(buffer.len() - plaintext);
                    buffer[plaintext..plaintext + count].copy_from_slice(&bytes[..count]);
                    plaintext += count;
                    if count < bytes.len() {
                        unread.push(&bytes[count..]);
                    }
                },
                output,
            );
            // What came whole before a damaged record is not lost.
            self.answer(taken, output);
            Ok(Received { plaintext, is_drained })
        })
    }

    /// Draws the consequences of what was taken in.
    fn answer(&mut self, taken: Result<bool, rustls::Error>, output: &mut Sealed) {
        let has_finished = match taken {
            Ok(has_finished) => has_finished,
            Err(error) if self.is_handshaking() => {
                return self.fail(TlsFailure::Handshake(error), output);
            }
            Err(error) => return self.fail(TlsFailure::Session(error), output),
        };
        if has_finished {
            self.end = End::Finished { told: false };
        }
        let mut answered = Ok(());
        if !self.is_handshaking()
            && let Some(beginning) = self.beginning.take()
            && !beginning.early.is_empty()
        {
            answered = self
                .session
                .seal(&beginning.early, output)
                .map_err(|error| invalid(TlsFailure::Session(error)));
        }
        if let Err(error) = answered.and_then(|()| self.send(output)) {
            self.end = End::Failed { untold: Some(error) };
        }
    }

    /// Sends the alert that says why, as well as it can be sent now.
    fn fail(&mut self, failure: TlsFailure, output: &mut Sealed) {
        if !matches!(failure, TlsFailure::NotTls(_)) {
            self.session.last_words(output);
            let _ = self.send(output);
            self.socket.finish_writing();
        }
        let mut discarded = [0; 4096];
        let mut left = DISCARDED_MAX;
        while left > 0 {
            match self.socket.read(&mut discarded) {
                Ok(read) if read > 0 => left = left.saturating_sub(read),
                _ => break,
            }
        }
        self.end = End::Failed { untold: Some(invalid(failure)) };
    }

    /// Takes and encrypts as much of `slices` as the socket takes at once. What is taken and does not
    /// fit stays here, at most 64 KiB of it.
    pub(crate) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if let End::Failed { untold } = &mut self.end {
            return Err(untold.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()));
        }
        self.flush()?;
        if let Some(beginning) = &mut self.beginning {
            return beginning.write(slices);
        }
        Scratch::with(|Scratch { input, output }| {
            let mut slices = Plaintext { slices, taken: 0 };
            let mut written = 0;
            while self.unsent.is_empty() {
                let plaintext = slices.take(input);
                if plaintext.is_empty() {
                    break;
                }
                output.clear();
                if let Err(error) = self.session.seal(plaintext, output) {
                    self.session.last_words(output);
                    let _ = self.send(output);
                    self.end = End::Failed { untold: None };
                    return Err(invalid(TlsFailure::Session(error)));
                }
                self.send(output)?;
                written += plaintext.len();
            }
            Ok(written)
        })
    }

    /// Lets leave what is in `output`, and keeps what the socket does not take.
    fn send(&mut self, output: &Sealed) -> io::Result<()> {
        let mut bytes = output.as_slice();
        while !bytes.is_empty() && self.unsent.is_empty() {
            match write_some(&mut self.socket, bytes) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.unsent.push(bytes);
        Ok(())
    }

    /// Lets encrypted bytes leave.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            let sent = write_some(&mut self.socket, self.unsent.as_slice())?;
            self.unsent.advance(sent);
        }
        Ok(())
    }

    /// Says goodbye in TLS and in TCP. A peer that is gone needs neither.
    pub(crate) fn finish_writing(&mut self) {
        if !matches!(self.end, End::Failed { .. }) {
            let _ = self.flush();
            Scratch::with(|Scratch { output, .. }| {
                if self.session.close(output).is_ok() {
                    let _ = self.send(output);
                }
            });
        }
        self.socket.finish_writing();
    }

    pub(crate) fn facts(&self) -> Option<TlsFacts> {
        let state = self.session.state();
        if state.is_handshaking() {
            return None;
        }
        let suite = state.negotiated_cipher_suite()?;
        let version = match state.protocol_version()? {
            ProtocolVersion::TLSv1_3 => "TLS 1.3",
            _ => "TLS 1.2",
        };
        Some(TlsFacts {
            version,
            cipher: suite.suite().as_str().map_or_else(String::new, str::to_owned),
            server_name: self.session.server_name().map(str::to_owned),
            is_resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
            client_certificate: state.peer_certificates().and_then(|all| all.first()).cloned(),
        })
    }
}

/// What one read of a socket has given.
struct Received {
    /// Bytes for the caller.
    plaintext: usize,
    /// The socket gave less than it was asked for.
    is_drained: bool,
}

impl Beginning {
    /// Takes as much as there is room for.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let before = self.early.len();
        for slice in slices {
            let room = EARLY_MAX - self.early.len();
            self.early.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        let written = self.early.len() - before;
        let is_stuck = written == 0 && slices.iter().any(|slice| !slice.is_empty());
        if is_stuck { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(written) }
    }
}

/// Whether the peer does not speak TLS: neither of the records that can come first begins so.
fn is_something_else(first: &FirstBytes) -> bool {
    !matches!(first.as_slice(), [HANDSHAKE | ALERT, 3, ..] | [HANDSHAKE | ALERT] | [])
}

/// Slices that are taken from the front.
struct Plaintext<'a> {
    slices: &'a [IoSlice<'a>],
    /// How much of the first one is taken.
    taken: usize,
}

impl<'a> Plaintext<'a> {
    /// As much as is encrypted at once, in one piece; nothing if nothing is left. What lies in several slices is put
    /// together in `room`.
    fn take<'r>(&mut self, room: &'r mut [u8]) -> &'r [u8]
    where
        'a: 'r,
    {
        let mut filled = 0;
        while let [first, behind @ ..] = self.slices {
            let first = &first[self.taken..];
            let is_alone = behind.is_empty() || first.len() >= SEALED_AT_ONCE;
            if filled == 0 && is_alone {
                let bytes = &first[..first.len().min(SEALED_AT_ONCE)];
                self.advance(bytes.len());
                return bytes;
            }
            let count = first.len().min(SEALED_AT_ONCE - filled);
            room[filled..filled + count].copy_from_slice(&first[..count]);
            self.advance(count);
            filled += count;
            if filled == SEALED_AT_ONCE {
                break;
            }
        }
        &room[..filled]
    }

    /// Passes `count` bytes of the first slice.
    fn advance(&mut self, count: usize) {
        self.taken += count;
        if let [first, behind @ ..] = self.slices
            && self.taken == first.len()
        {
            (self.slices, self.taken) = (behind, 0);
        }
    }
}

fn write_some(socket: &mut Stream, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match socket.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn invalid(failure: TlsFailure) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::server::UnbufferedServerConnection;

    #[test]
    fn there_may_be_very_many_idle_ones() {
        // Without what rustls allocates beside, as docs/performance.md says.
        let (all, rustls) = (size_of::<TlsStream>(), size_of::<UnbufferedServerConnection>());
        assert!(rustls <= 1_096, "{rustls}");
        assert!(all - rustls <= 152, "{all}");
    }

    #[test]
    fn slices_are_put_together_up_to_what_is_encrypted_at_once() {
        let large = vec![7; SEALED_AT_ONCE + 5];
        let cases: [(&[&[u8]], &[usize]); 6] = [
            (&[], &[]),
            (&[b"", b""], &[]),
            (&[b"", b"one", b"", b"two"], &[6]),
            (&[&large], &[SEALED_AT_ONCE, 5]),
            (&[b"head", &large], &[SEALED_AT_ONCE, 9]),
            (&[&large, b"tail", b""], &[SEALED_AT_ONCE, 9]),
        ];
        let mut room = vec![0; SEALED_AT_ONCE];
        for (slices, expected) in cases {
            let whole = slices.concat();
            let slices: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
            let mut plaintext = Plaintext { slices: &slices, taken: 0 };
            let mut taken = Vec::new();
            for length in expected {
                let piece = plaintext.take(&mut room);
                assert_eq!(piece.len(), *length);
                taken.extend_from_slice(piece);
            }
            assert!(plaintext.take(&mut room).is_empty());
            assert!(taken == whole);
        }
    }
}
