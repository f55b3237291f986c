//! What carries a check's bytes: TCP, or TLS over it.

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

/// A connection that waits.
#[derive(Debug)]
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    /// Over a connection of TCP; of TLS the handshake is made, in which each answer may take so long.
    ///
    /// # Errors
    /// Of the handshake.
    pub(crate) fn over(
        stream: TcpStream,
        encryption: Option<&Encryption>,
        patience: Duration,
    ) -> io::Result<Self> {
        let Some(Encryption { config, server_name }) = encryption else {
            return Ok(Self::Plain(stream));
        };
        stream.set_read_timeout(Some(patience))?;
        let session = ClientConnection::new(Arc::clone(config), server_name.clone())
            .map_err(io::Error::other)?;
        let mut tls = StreamOwned::new(session, stream);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        Ok(Self::Tls(Box::new(tls)))
    }

    /// Waits at most so long for what is read next.
    pub(crate) fn set_patience(&self, patience: Duration) {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &tls.sock,
        };
        // Zero is refused, and would mean for ever.
        let _ = socket.set_read_timeout(Some(patience.max(Duration::from_millis(1))));
    }

    /// Says that nothing more is written.
    pub(crate) fn finish(&mut self) {
        // That the broker has closed is noticed by reading.
        let _ = match self {
            Self::Plain(socket) => socket.shutdown(Shutdown::Write),
            Self::Tls(tls) => {
                tls.conn.send_close_notify();
                tls.flush().and_then(|()| tls.sock.shutdown(Shutdown::Write))
            }
        };
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Wire {
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
