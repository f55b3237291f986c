//! A listener, and what a connection has to do at it first: nothing, or a TLS handshake.

use crate::options::{self, Networks};
use mio::{Interest, Registry, Token};
use noctule_broker::EntranceId;
use noctule_net::{Listener, Peer, Pipe, Place, TlsAcceptor};
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
    /// The number of the listener among those of the configuration.
    entrance: EntranceId,
    /// How the listener is called, if somebody has written it.
    label: Option<Arc<str>>,
    proxies: Option<Arc<Proxies>>,
}

/// Who says whose a connection is.
#[derive(Debug)]
struct Proxies {
    networks: Networks,
    /// Nobody else may come.
    only: bool,
}

/// How somebody is received at a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Welcome {
    /// As a client.
    Client,
    /// As a proxy, which has to say whose the connection is.
    Proxy,
    /// Not at all.
    Nobody,
}

impl Door {
    /// The door of a listener, with TLS if there is an acceptor for it.
    pub(crate) fn new(
        socket: Listener,
        listener: &options::Listener,
        tls: Option<Arc<TlsAcceptor>>,
    ) -> Self {
        let (entrance, label) = (entrance_of(listener), listener.label().map(Arc::from));
        let (networks, only) = (listener.config.proxies.clone(), listener.config.proxies_only);
        let proxies = (!networks.is_empty()).then(|| Arc::new(Proxies { networks, only }));
        Self { listener: socket, tls, entrance, label, proxies }
    }

    /// Another handle of the same listener, for another loop.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            listener: self.listener.try_clone()?,
            tls: self.tls.clone(),
            entrance: self.entrance,
            label: self.label.clone(),
            proxies: self.proxies.clone(),
        })
    }

    /// Where it is.
    pub(crate) fn place(&self) -> &Place {
        self.listener.place()
    }

    /// Its address, if it is not a Unix socket.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.address()
    }

    /// How somebody is received who connects.
    pub(crate) fn welcome(&self, peer: &Peer) -> Welcome {
        match &self.proxies {
            None => Welcome::Client,
            Some(proxies) if proxies.networks.has(peer) => Welcome::Proxy,
            Some(proxies) if proxies.only => Welcome::Nobody,
            Some(_) => Welcome::Client,
        }
    }

    /// What applies to those who come by it.
    pub(crate) fn entrance(&self) -> EntranceId {
        self.entrance
    }

    pub(crate) fn is_of(&self, listener: &options::Listener) -> bool {
        self.entrance == entrance_of(listener)
    }

    /// The name of the listener, or its place in the file; none if nobody has written it.
    pub(crate) fn name(&self) -> Option<String> {
        let label = self.label.as_deref()?.strip_prefix("listener ")?;
        Some(label.trim_matches('"').to_owned())
    }

    /// Where it is and what is spoken there, in the words of the start.
    pub(crate) fn described(&self) -> String {
        let transport = if self.tls.is_some() { "MQTT over TLS" } else { "MQTT" };
        let label = self.label.as_ref().map_or_else(String::new, |label| format!(", {label}"));
        format!("listening on {} ({transport}{label})", self.place())
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.listener, token, Interest::READABLE)
    }

    /// Accepts a connection. Its handshake is done by reading.
    pub(crate) fn accept(&self) -> io::Result<(Pipe, Peer)> {
        let (pipe, peer) = self.listener.accept()?;
        match &self.tls {
            Some(acceptor) => Ok((acceptor.accept(pipe)?, peer)),
            None => Ok((pipe, peer)),
        }
    }
}

fn entrance_of(listener: &options::Listener) -> EntranceId {
    // There are fewer of them.
    EntranceId(u8::try_from(listener.number).unwrap_or(u8::MAX))
}
