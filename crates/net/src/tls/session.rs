//! rustls' connection without buffers of its own, and what has to be kept for it between two reads.
//!
//! Invariants:
//!
//! - What is kept of the input has no whole record in it, other than pieces of a handshake message whose
//!   rest has not come. So only [`Session::take_in`] brings forth plaintext.
//! - rustls remembers by their place where such pieces lie. So whenever it is asked for anything but what
//!   it has ready, it is shown what is kept; without it, it would look behind the end of nothing.
//! - After an error it is asked for nothing any more but the alert that it has ready.

use super::asked::asked_name;
use super::scratch::{KEPT_MAX, Sealed};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{CommonState, Error, ServerConfig};
use std::sync::Arc;

/// One TLS session of a server: encrypted bytes in, plaintext out, and the other way round.
pub(super) struct Session {
    connection: UnbufferedServerConnection,
    kept: Vec<u8>,
    server_name: Option<Box<str>>,
}

impl Session {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Self { connection, kept: Vec::new(), server_name: None })
    }

    /// What was agreed on.
    pub(super) fn state(&self) -> &CommonState {
        &self.connection
    }

    /// The name by which the client asked for the server.
    pub(super) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// How much of the input so far is to stand in front of what comes next.
    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Takes in what has come: `came` bytes of `input` behind [`Self::kept`] ones, whose place is filled here.
    /// Plaintext goes to `read`, what TLS has to say to `output`. Says whether the peer has finished.
    ///
    /// # Errors
    /// The peer does not keep to TLS. What came whole before that has been read.
    pub(super) fn take_in(
        &mut self,
        input: &mut [u8],
        read: impl FnMut(&[u8]),
        output: &mut Sealed,
    ) -> Result<bool, Error> {
        input[..self.kept.len()].copy_from_slice(&self.kept);
        let was_handshaking = self.connection.is_handshaking();
        let taken = self.process(input, read, output);
        // Also if that has failed: nobody else may find the name.
        if was_handshaking && let Some(name) = asked_name() {
            self.server_name = Some(name);
        }
        taken
    }

    fn process(
        &mut self,
        input: &mut [u8],
        mut read: impl FnMut(&[u8]),
        output: &mut Sealed,
    ) -> Result<bool, Error> {
        let mut done = 0;
        let mut has_finished = false;
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut input[done..]);
            match state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        read(record.payload);
                    }
                }
                ConnectionState::EncodeTlsData(data) => encode(data, output)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => has_finished = true,
                ConnectionState::WriteTraffic(_)
                | ConnectionState::BlockedHandshake
                | ConnectionState::Closed => {
                    done += discard;
                    break;
                }
                _ => return Err(unexpected()),
            }
            done += discard;
        }
        // What stands behind a goodbye is nothing.
        let rest = if has_finished { &[] } else { &input[done..] };
        self.keep(rest)?;
        Ok(has_finished)
    }

    fn keep(&mut self, rest: &[u8]) -> Result<(), Error> {
        if rest.is_empty() {
            self.kept = Vec::new();
            return Ok(());
        }
        if rest.len() > KEPT_MAX {
            return Err(Error::General("a handshake message in too many pieces".into()));
        }
        self.kept.clear();
        self.kept.extend_from_slice(rest);
        Ok(())
    }

    /// Encrypts `plaintext`, behind what else TLS has to say.
    ///
    /// # Errors
    /// There is no session to do it in, or its keys are used up.
    pub(super) fn seal(&mut self, plaintext: &[u8], output: &mut Sealed) -> Result<(), Error> {
        self.write(output, |traffic, output| {
            output
                .put(|room| traffic.encrypt(plaintext, room), room_to_encrypt)
                .map_err(|error| sealing(&error))
        })
    }

    /// Says goodbye, if there is a session to leave.
    pub(super) fn close(&mut self, output: &mut Sealed) -> Result<(), Error> {
        if self.connection.is_handshaking() {
            // Nothing is encrypted before a ClientHello is answered, and behind that rustls has no way to say it.
            if self.connection.protocol_version().is_none() {
                output.append(&CLOSE_NOTIFY);
            }
            return Ok(());
        }
        self.write(output, |traffic, output| {
            output
                .put(|room| traffic.queue_close_notify(room), room_to_encrypt)
                .map_err(|error| sealing(&error))
        })
    }

    /// Puts out what is ready, and after an error that is an alert.
    pub(super) fn last_words(&mut self, output: &mut Sealed) {
        while self.connection.wants_write() {
            // As long as something is ready, rustls does not look at its input.
            let state = self.connection.process_tls_records(&mut []).state;
            let Ok(ConnectionState::EncodeTlsData(data)) = state else {
                return;
            };
            if encode(data, output).is_err() {
                return;
            }
        }
    }

    fn write(
        &mut self,
        output: &mut Sealed,
        write: impl FnOnce(
            &mut WriteTraffic<'_, ServerConnectionData>,
            &mut Sealed,
        ) -> Result<(), Error>,
    ) -> Result<(), Error> {
        loop {
            let state = self.connection.process_tls_records(&mut self.kept).state;
            match state? {
                ConnectionState::WriteTraffic(mut traffic) => return write(&mut traffic, output),
                ConnectionState::EncodeTlsData(data) => encode(data, output)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => {}
                _ => return Err(unexpected()),
            }
        }
    }
}

fn encode(
    mut data: EncodeTlsData<'_, ServerConnectionData>,
    output: &mut Sealed,
) -> Result<(), Error> {
    let room = |error: &EncodeError| match error {
        EncodeError::InsufficientSize(size) => Some(size.required_size),
        EncodeError::AlreadyEncoded => None,
    };
    output.put(|room| data.encode(room), room).map_err(|error| Error::General(error.to_string()))
}

fn room_to_encrypt(error: &EncryptError) -> Option<usize> {
    match error {
        EncryptError::InsufficientSize(size) => Some(size.required_size),
        EncryptError::EncryptExhausted => None,
    }
}

fn sealing(error: &EncryptError) -> Error {
    Error::General(error.to_string())
}

fn unexpected() -> Error {
    Error::General("the TLS session is in no state for that".into())
}

/// The alert of that name in a record, as it is before anything is encrypted.
const CLOSE_NOTIFY: [u8; 7] = [0x15, 3, 3, 0, 2, 1, 0];
