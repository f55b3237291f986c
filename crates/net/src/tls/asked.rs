//! The name by which a client asks for its server.
//!
//! rustls tells it to whoever chooses a certificate, and, without buffers of its own, to nobody else.
//! A certificate is chosen within the call that takes in a ClientHello, so the name is noted for the
//! thread, and whoever made that call asks for it behind it.

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::cell::Cell;
use std::sync::Arc;

thread_local! {
    static ASKED: Cell<Option<Box<str>>> = const { Cell::new(None) };
}

/// What the last ClientHello that this thread has taken in asked for, if it has not been told yet.
pub(super) fn asked_name() -> Option<Box<str>> {
    ASKED.take()
}

/// Presents one certificate, whoever is asked for.
#[derive(Debug)]
pub(super) struct OneCertificate(SingleCertAndKey);

impl OneCertificate {
    pub(super) fn new(certificate: CertifiedKey) -> Self {
        Self(certificate.into())
    }
}

impl ResolvesServerCert for OneCertificate {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        ASKED.set(hello.server_name().map(Box::from));
        self.0.resolve(hello)
    }
}
