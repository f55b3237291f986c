//! A listener, and what a connection has to do at it first: nothing, or a TLS handshake.

use mio::{Interest, Registry, Token};
use noctule_net::{Listener, Pipe, TlsAcceptor};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// How a connection is carried, for logs: `plain`, or the version of TLS, the cipher suite, and whom
/// the client's certificate names.
pub(crate) fn transport(pipe: &Pipe) -> String {
    let Some(facts) = pipe.tls_facts() else {
        return "plain".to_owned();
    };
    let resumed = if facts.is_resumed { ", resumed" } else { "" };
    let client = facts.client_certificate.and_then(|der| noctule_cert::facts(&der));
    let client = client.map_or_else(String::new, |facts| format!(", client {}", facts.subject));
    format!("{} {}{resumed}{client}", facts.version, facts.cipher)
}

/// A listener with its transport.
#[derive(Debug)]
pub(crate) struct Door {
    listener: Listener,
    tls: Option<Arc<TlsAcceptor>>,
}

impl Door {
    /// Without encryption.
    pub(crate) fn plain(listener: Listener) -> Self {
        Self { listener, tls: None }
    }

    /// With TLS.
    pub(crate) fn tls(listener: Listener, acceptor: Arc<TlsAcceptor>) -> Self {
        Self { listener, tls: Some(acceptor) }
    }

    /// Another handle of the same listener, for another loop.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { listener: self.listener.try_clone()?, tls: self.tls.clone() })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// What is spoken there, in the words of the start.
    pub(crate) fn transport(&self) -> &'static str {
        if self.tls.is_some() { "MQTT over TLS" } else { "MQTT" }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.listener, token, Interest::READABLE)
    }

    /// Accepts a connection. Its handshake is done by reading.
    pub(crate) fn accept(&self) -> io::Result<(Pipe, SocketAddr)> {
        let (pipe, peer) = self.listener.accept()?;
        match &self.tls {
            Some(acceptor) => Ok((acceptor.accept(pipe)?, peer)),
            None => Ok((pipe, peer)),
        }
    }
}
