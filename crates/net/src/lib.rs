//! Byte pipes for a readiness loop: listeners and non-blocking connections.
//!
//! Nothing here knows what the bytes mean, and nothing waits: what cannot be done now says
//! [`WouldBlock`](std::io::ErrorKind::WouldBlock). A [`Pipe`] is a socket of TCP or of this machine, or
//! TLS over it, or WebSocket over either. What a proxy says of its client in front of all that is read by `proxy`.

mod listener;
mod peer;
mod pipe;
mod proxy;
mod stream;
mod tcp;
mod tls;
mod unix;
mod websocket;

pub use listener::{Listener, Place};
pub use noctule_ws::Refusal;
pub use peer::{Peer, Source};
pub use pipe::Pipe;
pub use proxy::{
    AnnouncedCertificate, AnnouncedTls, Announcement, Client, HEADER_BYTES_MAX, ProxyFailure,
    parse_announcement,
};
pub use stream::Stream;
pub use tcp::bind_all;
pub use tls::{
    BadTlsSettings, ClientCertificates, ClientTrust, FirstBytes, TlsAcceptor, TlsFacts, TlsFailure,
    TlsSettings, TlsStream, looks_like_client_hello,
};
pub use unix::{SocketFile, bind_unix};
pub use websocket::{Origins, WebSocketFailure, WebSocketRules, WebSocketStream};
