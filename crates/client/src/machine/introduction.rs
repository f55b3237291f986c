//! CONNECT, made from the options and from what is known of the session.

use noctule_mqtt::{Packet, Property, PropertyBuffer, codec, packet};

use super::proving;
use crate::error::Error;
use crate::options::{ClientOptions, Session};

/// What CONNECT says besides the options.
pub(super) struct Who<'a> {
    pub(super) client_id: &'a str,
    pub(super) clean_start: bool,
    /// What is said first to prove who we are.
    pub(super) first: Option<&'a [u8]>,
}

/// Appends CONNECT, which names the session by the client identifier `[MQTT3-3.1.3-2]`
/// `[MQTT5-3.1.3-2]`.
pub(super) fn connect_packet(
    options: &ClientOptions,
    who: &Who<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let mut properties = connect_properties(options)?;
    if let Some(first) = who.first {
        proving::introduce(&mut properties, first)?;
    }
    let (user_name, password) = proving::said(options);
    let connect = packet::Connect {
        version: options.version,
        clean_start: who.clean_start,
        keep_alive: options.keep_alive_seconds,
        client_id: who.client_id,
        will: options.will.as_ref().map(crate::publish::Will::packet).transpose()?,
        user_name,
        password,
        properties: properties.as_properties(),
    };
    Ok(codec::encode(&Packet::Connect(Box::new(connect)), options.version, out)?)
}

/// The user's own properties, and those of the options that the user has not set that way.
fn connect_properties(options: &ClientOptions) -> Result<PropertyBuffer, Error> {
    let mut properties = options.properties.clone();
    let own = options.properties.as_properties();
    let expiry = match options.session {
        Session::Connection => 0,
        Session::Client(expiry) | Session::Fresh(expiry) | Session::Persistent(expiry) => {
            u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX)
        }
    };
    let limits = options.limits;
    if expiry != 0 && own.session_expiry_interval().is_none() {
        properties.push(Property::SessionExpiryInterval(expiry))?;
    }
    if own.receive_maximum().is_none() {
        properties.push(Property::ReceiveMaximum(limits.receive_maximum))?;
    }
    if own.maximum_packet_size().is_none() {
        properties.push(Property::MaximumPacketSize(limits.packet_bytes_max))?;
    }
    if limits.topic_alias_maximum != 0 && own.topic_alias_maximum().is_none() {
        properties.push(Property::TopicAliasMaximum(limits.topic_alias_maximum))?;
    }
    Ok(properties)
}
