//! Byte pipes for a readiness loop: listeners and non-blocking connections.
//!
//! Nothing here knows what the bytes mean, and nothing waits: what cannot be done now says
//! [`WouldBlock`](std::io::ErrorKind::WouldBlock). A [`Pipe`] is plain TCP or TLS; WebSocket will be
//! a further kind.

mod pipe;
mod tcp;
mod tls;

pub use pipe::Pipe;
pub use tcp::{Listener, bind_all};
pub use tls::{
    BadTlsSettings, ClientCertificates, ClientTrust, FirstBytes, TlsAcceptor, TlsFacts, TlsFailure,
    TlsSettings, TlsStream, looks_like_client_hello,
};
