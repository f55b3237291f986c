//! TLS 1.2 and 1.3 for the server's side: what is offered, one connection, and what can go wrong.
//!
//! The protocol is rustls's; here it is joined to a non-blocking socket. Files and their formats are
//! not known here, nor is time: certificates come as bytes, and who gives up when is for the caller.

mod acceptor;
mod asked;
mod failure;
mod recognise;
mod scratch;
mod session;
mod stream;
mod timeless;

pub use acceptor::{BadTlsSettings, ClientCertificates, ClientTrust, TlsAcceptor, TlsSettings};
pub use failure::TlsFailure;
pub use recognise::{FirstBytes, looks_like_client_hello};
pub use stream::{TlsFacts, TlsStream};
