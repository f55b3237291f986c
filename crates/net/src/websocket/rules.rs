//! What applies to those who connect by WebSocket.

use crate::Peer;
use std::fmt;
use std::net::IpAddr;

/// What applies to those who connect.
pub struct WebSocketRules {
    /// Bytes of payload that a frame may have.
    pub frame_bytes_max: u64,
    /// Bytes that are not payload (headers of frames, control frames) which a peer may send, beside the head
    /// of its request, before somebody says that it is [known](crate::Pipe::acquaint).
    pub stranger_bytes_max: usize,
    /// Which pages may connect. Programs that are no browser name no origin, and may.
    pub origins: Origins,
    /// Whether somebody is a proxy that says truly where its clients are.
    pub is_proxy: Box<dyn Fn(&Peer) -> bool + Send + Sync>,
}

/// Origins of pages, as browsers write them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// All.
    Any,
    /// Those whose host is this machine, as it calls itself: `localhost` and the loopback addresses.
    OfThisMachine,
    /// These, such as `https://example.org`.
    Listed(Vec<String>),
}

impl WebSocketRules {
    /// Whether a request with this origin is granted.
    pub(super) fn allow(&self, origin: Option<&str>) -> bool {
        let Some(origin) = origin else {
            return true;
        };
        match &self.origins {
            Origins::Any => true,
            Origins::OfThisMachine => is_of_this_machine(origin),
            Origins::Listed(all) => all.iter().any(|one| one.eq_ignore_ascii_case(origin)),
        }
    }
}

impl fmt::Debug for WebSocketRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketRules")
            .field("frame_bytes_max", &self.frame_bytes_max)
            .field("stranger_bytes_max", &self.stranger_bytes_max)
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}

/// Whether the host of an origin is this machine by name or address. Whoever can have another name lead
/// here, as name servers can, is not of this machine.
fn is_of_this_machine(origin: &str) -> bool {
    let Some((_, authority)) = origin.split_once("://") else {
        return false;
    };
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(host, _)| host),
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    };
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_this_machine_are_told_from_others() {
        for (origin, expected) in [
            ("http://localhost", true),
            ("https://LocalHost:8443", true),
            ("http://127.0.0.1:3000", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:8080", true),
            ("http://[::1]", true),
            ("http://localhost.evil.example", false),
            ("http://evil.example:80", false),
            ("http://192.168.0.2", false),
            ("http://[fe80::1]", false),
            ("http://127.0.0.1.evil.example", false),
            ("localhost", false),
            ("null", false),
            ("file://", false),
            ("", false),
        ] {
            assert_eq!(is_of_this_machine(origin), expected, "{origin}");
        }
    }
}
