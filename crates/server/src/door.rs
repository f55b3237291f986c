//! A listener, and what a connection has to do at it first: nothing, a TLS handshake, an upgrade to WebSocket.

use crate::options::{self, Auto, Networks};
use mio::{Interest, Registry, Token};
use noctule_broker::EntranceId;
use noctule_net::{Listener, Origins, Peer, Pipe, Place, TlsAcceptor, WebSocketRules};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// How a connection is carried, for logs: `plain`, or the version of TLS, the cipher suite, and whom
/// the client's certificate names; with `WebSocket` in front.
pub(crate) fn transport(pipe: &Pipe) -> String {
    match (pipe.is_websocket(), encryption(pipe)) {
        (false, encryption) => encryption.unwrap_or_else(|| "plain".to_owned()),
        (true, None) => "WebSocket".to_owned(),
        (true, Some(encryption)) => format!("WebSocket, {encryption}"),
    }
}

fn encryption(pipe: &Pipe) -> Option<String> {
    let facts = pipe.tls_facts()?;
    let resumed = if facts.is_resumed { ", resumed" } else { "" };
    let client = facts.client_certificate.and_then(|der| noctule_cert::facts(&der));
    let client = client.map_or_else(String::new, |facts| format!(", client {}", facts.subject));
    Some(format!("{} {}{resumed}{client}", facts.version, facts.cipher))
}

/// A listener with its transport.
#[derive(Debug)]
pub(crate) struct Door {
    listener: Listener,
    tls: Option<Arc<TlsAcceptor>>,
    web: Option<Arc<WebSocketRules>>,
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
        let web = listener.transport().is_websocket().then(|| Arc::new(web_rules(listener)));
        Self { listener: socket, tls, web, entrance, label, proxies }
    }

    /// Another handle of the same listener, for another loop.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            listener: self.listener.try_clone()?,
            tls: self.tls.clone(),
            web: self.web.clone(),
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
            Some(proxies) if proxies.networks.has(peer) => Welcome::Proxy,
            Some(proxies) if proxies.only => Welcome::Nobody,
            Some(_) | None => Welcome::Client,
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
        let transport = match (&self.web, &self.tls) {
            (None, None) => "MQTT",
            (None, Some(_)) => "MQTT over TLS",
            (Some(_), None) => "MQTT over WebSocket",
            (Some(_), Some(_)) => "MQTT over WebSocket with TLS",
        };
        let label = self.label.as_ref().map_or_else(String::new, |label| format!(", {label}"));
        format!("listening on {} ({transport}{label})", self.place())
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.listener, token, Interest::READABLE)
    }

    /// Accepts a connection. Its handshake, and its upgrade, are done by reading.
    pub(crate) fn accept(&self) -> io::Result<(Pipe, Peer)> {
        let (pipe, peer) = self.listener.accept()?;
        let pipe = match &self.tls {
            Some(acceptor) => acceptor.accept(pipe)?,
            None => pipe,
        };
        let pipe = match &self.web {
            Some(rules) => pipe.into_websocket(Arc::clone(rules)),
            None => pipe,
        };
        Ok((pipe, peer))
    }
}

/// What applies to those who come by WebSocket.
fn web_rules(listener: &options::Listener) -> WebSocketRules {
    let config = &listener.config;
    let origins = match &config.ws_origins {
        Auto::Auto if listener.is_for_this_machine() => Origins::OfThisMachine,
        Auto::Auto | Auto::Set(options::Origins::Any) => Origins::Any,
        Auto::Set(options::Origins::Listed(origins)) => Origins::Listed(origins.clone()),
    };
    let proxies = config.ws_proxies.clone();
    let packet_bytes_max = config.limits.packet_bytes_max.get();
    WebSocketRules {
        frame_bytes_max: packet_bytes_max.map_or(u64::MAX, |bytes| bytes.0),
        stranger_bytes_max: usize::try_from(config.limits.connect_bytes_max.0)
            .unwrap_or(usize::MAX),
        origins,
        is_proxy: Box::new(move |peer| proxies.has(peer)),
    }
}

fn entrance_of(listener: &options::Listener) -> EntranceId {
    // There are fewer of them.
    EntranceId(u8::try_from(listener.number).unwrap_or(u8::MAX))
}
