//! What the broker offers to clients where the specification leaves the choice to the server.
//!
//! Not a bound of anything that grows: those are in [`Limits`](crate::Limits). MQTT 5 is told in
//! CONNACK what differs from the defaults of the specification (section 3.2.2.3); the older versions
//! have no words for it.

use noctule_mqtt::QoS;

/// What is offered; by default everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The longest keep alive in seconds that an MQTT 5 client may have; one that asks for longer,
    /// or for none, is told to use this one `[MQTT5-3.2.2-21]`. `None` leaves the choice to clients.
    pub keep_alive_max: Option<u16>,
    /// Whether an older client that asks for longer, or for none, is refused with "identifier rejected":
    /// it cannot be told to use another. Otherwise it keeps its own.
    pub keep_alive_strict: bool,
    /// The highest QoS with which clients may publish. Subscriptions are granted no more.
    pub qos_max: QoS,
    /// Whether messages may be retained.
    pub retain: bool,
    /// Whether filters may have wildcards.
    pub wildcard_subscriptions: bool,
    /// Whether subscriptions may have an identifier.
    pub subscription_identifiers: bool,
    /// Whether and how subscriptions may be shared.
    pub shared_subscriptions: Sharing,
    /// Whether a payload that claims to be UTF-8 is looked at.
    pub payload_format_checked: bool,
    /// What a client that asks for response information is told: the beginning of topics on which it
    /// may expect answers.
    pub response_information: Option<Box<str>>,
    /// Whether a session belongs to the user whose client has it: others are refused its client
    /// identifier, to go on with it as well as to end it.
    pub sessions_belong_to_users: bool,
    /// Methods of enhanced authentication that whoever decides knows; CONNECT with any other is
    /// refused with "bad authentication method" `[MQTT5-4.12.0-1]`.
    pub authentication_methods: Vec<Box<str>>,
    /// Where clients are sent when the broker stops.
    pub server_reference: Option<Box<str>>,
}

/// Which member of a group gets a message of a shared subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody: subscriptions may not be shared.
    No,
    /// One after another.
    RoundRobin,
    /// The same one as long as it can.
    Sticky,
    /// The one that the topic says.
    Hash,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            keep_alive_max: None,
            keep_alive_strict: false,
            qos_max: QoS::ExactlyOnce,
            retain: true,
            wildcard_subscriptions: true,
            subscription_identifiers: true,
            shared_subscriptions: Sharing::RoundRobin,
            payload_format_checked: false,
            response_information: None,
            sessions_belong_to_users: true,
            authentication_methods: Vec::new(),
            server_reference: None,
        }
    }
}

impl Offer {
    /// The bits of a PUBLISH's first byte that may not be set: those of a QoS that is not offered,
    /// and the retain flag. A QoS of 3 is not decodable and needs no bit.
    pub(crate) fn refused_publish_flags(&self) -> u8 {
        let retain = if self.retain { 0 } else { 0b0001 };
        let qos = match self.qos_max {
            QoS::AtMostOnce => 0b0110,
            QoS::AtLeastOnce => 0b0100,
            QoS::ExactlyOnce => 0,
        };
        retain | qos
    }

    /// The keep alive of a client that asks for `asked` seconds: that one, if it is told no other
    /// `[MQTT5-3.2.2-22]`.
    pub(crate) fn keep_alive(&self, asked: u16) -> u16 {
        match self.keep_alive_max {
            Some(max) if asked == 0 || asked > max => max,
            _ => asked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test] // [MQTT5-3.2.2-21]
    fn a_keep_alive_that_is_too_long_or_none_becomes_the_longest() {
        let offer = Offer { keep_alive_max: Some(60), ..Offer::default() };
        assert_eq!(
            [0, 1, 60, 61, u16::MAX].map(|asked| offer.keep_alive(asked)),
            [60, 1, 60, 60, 60]
        );
        assert_eq!([0, u16::MAX].map(|asked| Offer::default().keep_alive(asked)), [0, u16::MAX]);
    }
}
