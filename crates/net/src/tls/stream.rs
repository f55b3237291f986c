//! One TLS connection over a non-blocking socket.
//!
//! Two buffers stand between the socket and the caller, and with them come the traps of
//! edge-triggered readiness:
//!
//! - The socket may be empty while decrypted bytes, or the end, wait here. So a read goes on until
//!   the buffer is full or the socket is empty, and [`TlsStream::holds_input`] tells of the rest.
//! - The socket may be full while encrypted bytes wait here, even if the caller wrote nothing:
//!   handshakes, tickets and answers to key updates are written by reading. [`TlsStream::wants_write`]
//!   tells of them.
//!
//! Invariant: the socket is read only when no decrypted bytes are left, and plaintext is taken only
//! when no encrypted bytes are left, so neither buffer grows beyond what one such step can add: a
//! record of 16 KiB on the way in, 64 KiB on the way out.

use super::TlsFailure;
use super::recognise::{ALERT, FirstBytes, HANDSHAKE};
use crate::stream::Stream;
use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};
use rustls_pki_types::CertificateDer;
use std::fmt;
use std::io::{self, BufRead, IoSlice, Read, Write};

/// Slices that are encrypted at once; a caller with more calls again.
const SLICES_MAX: usize = 64;

/// How much of what a peer has sent is thrown away after a failure, so that closing does not take
/// back the alert that says why.
const DISCARDED_MAX: usize = 32 * 1024;

/// The server's end of a TLS connection.
pub struct TlsStream {
    socket: Stream,
    session: ServerConnection,
    first: FirstBytes,
    /// There are decrypted bytes that nobody has read.
    has_plaintext: bool,
    end: End,
}

/// How a connection's input stands.
#[derive(Debug)]
enum End {
    /// It goes on.
    NotYet,
    /// It is over, and the caller has to be told: that the peer has finished, or what failed.
    ToTell(Option<io::Error>),
    /// The caller was told.
    Told,
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
            .field("is_handshaking", &self.session.is_handshaking())
            .field("has_plaintext", &self.has_plaintext)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl TlsStream {
    pub(super) fn new(socket: Stream, session: ServerConnection) -> Self {
        Self {
            socket,
            session,
            first: FirstBytes::default(),
            has_plaintext: false,
            end: End::NotYet,
        }
    }

    pub(crate) fn socket_mut(&mut self) -> &mut Stream {
        &mut self.socket
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    pub(crate) fn holds_input(&self) -> bool {
        self.has_plaintext || matches!(self.end, End::ToTell(_))
    }

    pub(crate) fn wants_write(&self) -> bool {
        self.session.wants_write()
    }

    /// Encrypted bytes that wait for the socket.
    pub(crate) fn unsent(&mut self) -> usize {
        if !self.session.wants_write() {
            return 0;
        }
        // Nothing has come since the last time: only the state is asked for.
        self.session.process_new_packets().map_or(0, |state| state.tls_bytes_to_write())
    }

    /// Fills `buffer` until it is full, the socket is empty, or the end is reached. A peer that
    /// closes without saying so in TLS has finished as well: MQTT knows by itself what is whole.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        loop {
            filled += self.take_plaintext(&mut buffer[filled..])?;
            if filled == buffer.len() {
                return Ok(filled);
            }
            match &mut self.end {
                End::NotYet => {}
                End::ToTell(_) if filled > 0 => return Ok(filled),
                End::ToTell(what) => {
                    let what = what.take();
                    self.end = End::Told;
                    return what.map_or(Ok(0), Err);
                }
                End::Told => return Ok(0),
            }
            match self.receive() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return if filled > 0 { Ok(filled) } else { Err(error) };
                }
                Err(error) => self.end = End::ToTell(Some(error)),
            }
        }
    }

    fn take_plaintext(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.has_plaintext || buffer.is_empty() {
            return Ok(0);
        }
        let taken = self.session.reader().read(buffer)?;
        self.look_for_plaintext();
        Ok(taken)
    }

    fn look_for_plaintext(&mut self) {
        let mut reader = self.session.reader();
        self.has_plaintext = reader.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
    }

    /// Takes in what one read of the socket gives, and lets leave what TLS answers to it.
    fn receive(&mut self) -> io::Result<()> {
        let mut socket = Noting { socket: &mut self.socket, first: &mut self.first };
        if self.session.read_tls(&mut socket)? == 0 {
            self.end = End::ToTell(None);
            return Ok(());
        }
        if self.is_something_else() {
            return Err(self.fail(TlsFailure::NotTls(self.first)));
        }
        let processed = self.session.process_new_packets();
        // What came whole before a damaged record is not lost.
        self.look_for_plaintext();
        match processed {
            Ok(state) => {
                if state.peer_has_closed() {
                    self.end = End::ToTell(None);
                }
                match self.flush() {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
                    _ => Ok(()),
                }
            }
            Err(error) if self.session.is_handshaking() => {
                Err(self.fail(TlsFailure::Handshake(error)))
            }
            Err(error) => Err(self.fail(TlsFailure::Session(error))),
        }
    }

    /// Whether the peer does not speak TLS: neither of the records that can come first begins so.
    fn is_something_else(&self) -> bool {
        match self.first.as_slice() {
            [HANDSHAKE | ALERT, 3, ..] | [HANDSHAKE | ALERT] | [] => false,
            _ => self.session.is_handshaking(),
        }
    }

    /// Sends the alert that says why, as well as it can be sent now.
    fn fail(&mut self, failure: TlsFailure) -> io::Error {
        if !matches!(failure, TlsFailure::NotTls(_)) {
            let _ = self.flush();
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
        io::Error::new(io::ErrorKind::InvalidData, failure)
    }

    /// Takes and encrypts as much of `slices` as the socket takes at once. What is taken and does not
    /// fit stays here, at most 64 KiB of it.
    pub(crate) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.flush()?;
        let mut copies = [IoSlice::new(&[]); SLICES_MAX];
        let count = slices.len().min(SLICES_MAX);
        copies[..count].copy_from_slice(&slices[..count]);
        let mut rest = &mut copies[..count];
        let mut written = 0;
        // Empty slices at the front would look like the end.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let taken = self.session.writer().write_vectored(rest)?;
            IoSlice::advance_slices(&mut rest, taken);
            written += taken;
            match self.flush() {
                Ok(()) if taken == 0 => break,
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let is_stuck = written == 0 && !rest.is_empty();
        if is_stuck { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(written) }
    }

    /// Lets encrypted bytes leave.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says goodbye in TLS and in TCP. A peer that is gone needs neither.
    pub(crate) fn finish_writing(&mut self) {
        self.session.send_close_notify();
        let _ = self.flush();
        self.socket.finish_writing();
    }

    pub(crate) fn facts(&self) -> Option<TlsFacts> {
        if self.session.is_handshaking() {
            return None;
        }
        let suite = self.session.negotiated_cipher_suite()?;
        let version = match self.session.protocol_version()? {
            ProtocolVersion::TLSv1_3 => "TLS 1.3",
            _ => "TLS 1.2",
        };
        let certificates = self.session.peer_certificates();
        Some(TlsFacts {
            version,
            cipher: suite.suite().as_str().map_or_else(String::new, str::to_owned),
            server_name: self.session.server_name().map(str::to_owned),
            is_resumed: self.session.handshake_kind() == Some(HandshakeKind::Resumed),
            client_certificate: certificates.and_then(|all| all.first()).cloned(),
        })
    }
}

/// A socket whose first bytes are noted.
struct Noting<'a> {
    socket: &'a mut Stream,
    first: &'a mut FirstBytes,
}

impl Read for Noting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.socket.read(buffer)?;
        self.first.note(&buffer[..read]);
        Ok(read)
    }
}
