//! The server's half: a request is read, and answered.

use super::head::{FIELDS_MAX, Fields, HEAD_BYTES_MAX, Repeated, has_whole_line_ends};
use super::{Refusal, Subprotocol, key};
use httparse::{EMPTY_HEADER, Error, Request, Status};
use std::net::{IpAddr, SocketAddr};

/// A request for an upgrade that is as it has to be. Whether it is granted is the caller's to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeRequest<'a> {
    /// What is asked for, such as `/mqtt`.
    pub target: &'a str,
    /// Where the page comes from that asks, if a browser does.
    pub origin: Option<&'a str>,
    /// The subprotocol to speak: `mqtt` if it was offered.
    pub subprotocol: Subprotocol,
    key: &'a str,
    /// What proxies say about where the request comes from, in their order.
    forwarded_for: Vec<&'a str>,
}

/// Reads a whole head, as [`head_end`](super::head_end) has found it.
///
/// # Errors
/// Why it is not a request for MQTT over WebSocket, and what to answer.
pub fn read_request(head: &[u8]) -> Result<UpgradeRequest<'_>, Refusal> {
    if head.len() > HEAD_BYTES_MAX {
        return Err(Refusal::HeadTooLarge);
    }
    let mut headers = [EMPTY_HEADER; FIELDS_MAX];
    let mut request = Request::new(&mut headers);
    match request.parse(head) {
        Ok(Status::Complete(length)) if length == head.len() && has_whole_line_ends(head) => {}
        Err(Error::TooManyHeaders) => return Err(Refusal::HeadTooLarge),
        Err(Error::Version) => return Err(Refusal::OtherVersion),
        Ok(_) | Err(_) => return Err(Refusal::NotHttp),
    }
    if request.version != Some(1) {
        return Err(Refusal::OtherVersion);
    }
    if request.method != Some("GET") {
        return Err(Refusal::Method);
    }
    let target = request.path.unwrap_or_default();
    if !target.starts_with('/') && !target.contains("://") {
        return Err(Refusal::NotHttp);
    }
    read_fields(target, &Fields(request.headers))
}

fn read_fields<'a>(
    target: &'a str,
    fields: &Fields<'_, 'a>,
) -> Result<UpgradeRequest<'a>, Refusal> {
    let one = |name: &'static str| fields.one(name).map_err(|Repeated| Refusal::Field(name));
    let length = one("Content-Length")?;
    if length.is_some_and(|length| length != "0")
        || fields.all("Transfer-Encoding").next().is_some()
    {
        return Err(Refusal::Body);
    }
    if one("Host")?.is_none() {
        return Err(Refusal::Field("Host"));
    }
    if !fields.lists("Upgrade", "websocket") {
        return Err(Refusal::NotWebSocket);
    }
    if !fields.lists("Connection", "upgrade") {
        return Err(Refusal::Field("Connection"));
    }
    match one("Sec-WebSocket-Version")? {
        Some("13") => {}
        Some(_) => return Err(Refusal::WebSocketVersion),
        None => return Err(Refusal::Field("Sec-WebSocket-Version")),
    }
    let key = one("Sec-WebSocket-Key")?.filter(|key| key::is_key(key));
    let key = key.ok_or(Refusal::Field("Sec-WebSocket-Key"))?;
    let origin = one("Origin")?;
    // [MQTT5-6.0.0-4] [MQTT3-6.0.0-4]
    let offered = fields.list("Sec-WebSocket-Protocol");
    let offers = |subprotocol: &Subprotocol| offered.contains(&subprotocol.name());
    let subprotocol = [Subprotocol::Mqtt, Subprotocol::MqttV31].into_iter().find(offers);
    let subprotocol = subprotocol.ok_or(Refusal::Subprotocol)?;
    let forwarded_for = fields.list("X-Forwarded-For");
    Ok(UpgradeRequest { target, origin, subprotocol, key, forwarded_for })
}

impl UpgradeRequest<'_> {
    /// The answer that grants it, after which frames are spoken.
    #[must_use]
    pub fn response(&self) -> Vec<u8> {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {}\r\n\r\n",
            key::accept(self.key),
            self.subprotocol.name()
        )
        .into_bytes()
    }

    /// Where the request comes from, if the peer is a proxy that may say so: the address nearest to us that
    /// is not one of those proxies, as what lies behind it is hearsay. None if the proxies say nothing.
    #[must_use]
    pub fn forwarded_for(&self, is_proxy: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let mut known = None;
        for hop in self.forwarded_for.iter().rev() {
            let Some(address) = address(hop) else {
                break;
            };
            known = Some(address);
            if !is_proxy(address) {
                break;
            }
        }
        known
    }
}

/// An address, some proxies write a port behind it.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().or_else(|_| with_port()).ok().or_else(in_brackets)
}
