//! What carries a check's bytes: TCP, TLS over it, and frames of WebSocket over either.

use noctule_ws::{ClientStream, ClientUpgrade, CloseCode, End, Subprotocol};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Whom to trust, and the name that the certificate has to be for.
#[derive(Debug, Clone)]
pub(crate) struct Encryption {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
}

/// What is asked for when WebSocket is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Upgrade {
    /// Host and port as the server is known by them.
    pub(crate) host: String,
    pub(crate) path: String,
}

/// A connection that waits.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    frames: Option<Box<Frames>>,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

#[derive(Debug)]
struct Frames {
    stream: ClientStream,
    /// What came with the answer to the upgrade.
    early: Vec<u8>,
    has_ended: bool,
}

impl Wire {
    /// Over a connection of TCP; handshake and upgrade are made, in which each answer may take so long.
    ///
    /// # Errors
    /// Of the handshake and of the upgrade.
    pub(crate) fn over(
        socket: TcpStream,
        encryption: Option<&Encryption>,
        upgrade: Option<&Upgrade>,
        patience: Duration,
    ) -> io::Result<Self> {
        socket.set_read_timeout(Some(patience))?;
        let mut stream = match encryption {
            None => Stream::Plain(socket),
            Some(encryption) => Stream::encrypted(socket, encryption)?,
        };
        let frames = upgrade.map(|upgrade| Frames::agree(&mut stream, upgrade)).transpose()?;
        Ok(Self { stream, frames: frames.map(Box::new) })
    }

    /// Waits at most so long for what is read next.
    pub(crate) fn set_patience(&self, patience: Duration) {
        let socket = match &self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => &tls.sock,
        };
        // Zero is refused, and would mean for ever.
        let _ = socket.set_read_timeout(Some(patience.max(Duration::from_millis(1))));
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// If the broker has closed.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.frames {
            Some(frames) => frames.send(&mut self.stream, bytes),
            None => self.stream.write_all(bytes).and_then(|()| self.stream.flush()),
        }
    }

    /// Reads something; 0 is the end.
    ///
    /// # Errors
    /// Also that nothing came in time.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.frames {
            Some(frames) => frames.read(&mut self.stream, buffer),
            None => self.stream.read(buffer),
        }
    }

    /// Says that nothing more is written. That the broker has closed is noticed by reading.
    pub(crate) fn finish(&mut self) {
        if let Some(frames) = &mut self.frames {
            frames.stream.close(CloseCode::NORMAL);
            let _ = frames.let_leave(&mut self.stream);
        }
        let _ = match &mut self.stream {
            Stream::Plain(socket) => socket.shutdown(Shutdown::Write),
            Stream::Tls(tls) => {
                tls.conn.send_close_notify();
                tls.flush().and_then(|()| tls.sock.shutdown(Shutdown::Write))
            }
        };
    }
}

impl Stream {
    fn encrypted(socket: TcpStream, encryption: &Encryption) -> io::Result<Self> {
        let Encryption { config, server_name } = encryption;
        let session = ClientConnection::new(Arc::clone(config), server_name.clone())
            .map_err(io::Error::other)?;
        let mut tls = StreamOwned::new(session, socket);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        Ok(Self::Tls(Box::new(tls)))
    }
}

impl Frames {
    fn agree(stream: &mut Stream, wanted: &Upgrade) -> io::Result<Self> {
        let upgrade = ClientUpgrade::new(Subprotocol::Mqtt).map_err(io::Error::other)?;
        let request = upgrade.request(&wanted.host, &wanted.path, &[]).map_err(io::Error::other)?;
        stream.write_all(&request)?;
        stream.flush()?;
        let (mut answer, mut piece) = (Vec::new(), [0; 1024]);
        loop {
            let count = stream.read(&mut piece)?;
            if count == 0 {
                return Err(io::Error::other("the server closed when WebSocket was asked for"));
            }
            answer.extend_from_slice(&piece[..count]);
            if let Some(head) = upgrade.read_response(&answer).map_err(io::Error::other)? {
                let early = answer.split_off(head);
                return Ok(Self { stream: ClientStream::default(), early, has_ended: false });
            }
        }
    }

    fn send(&mut self, stream: &mut Stream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.let_leave(stream)?;
            let count = self.stream.say(bytes).map_err(io::Error::other)?;
            if count == 0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            bytes = &bytes[count..];
        }
        self.let_leave(stream)
    }

    fn let_leave(&mut self, stream: &mut Stream) -> io::Result<()> {
        while !self.stream.to_send().is_empty() {
            stream.write_all(self.stream.to_send())?;
            let count = self.stream.to_send().len();
            self.stream.sent(count);
        }
        stream.flush()
    }

    /// That the server closes WebSocket is the end, and so is that it breaks its rules: the close frame
    /// is sent, and the check finds that what it expected does not come.
    fn read(&mut self, stream: &mut Stream, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.has_ended {
            let count = if self.early.is_empty() {
                stream.read(buffer)?
            } else {
                let count = self.early.len().min(buffer.len());
                buffer[..count].copy_from_slice(&self.early[..count]);
                self.early.drain(..count);
                count
            };
            if count == 0 {
                return Ok(0);
            }
            let taken = self.stream.take_in(&mut buffer[..count]);
            self.has_ended = taken.end.is_some();
            let left = self.let_leave(stream);
            if let Some(End::Violated(violation)) = taken.end {
                return Err(io::Error::other(violation));
            }
            if taken.payload > 0 {
                return Ok(taken.payload);
            }
            // Who has said that it closes need not take our answer.
            if !self.has_ended {
                left?;
            }
        }
        Ok(0)
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}
