//! What every client may rely on, whatever the test is about: looked at with each packet it hears.

use crate::packets::{Publishing, Said};
use noctule_mqtt::{PacketType, Properties, QoS};
use std::collections::{BTreeMap, BTreeSet};

/// The limits that a client sets on what it is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) receive_maximum: u16,
    pub(crate) packet_bytes_max: u32,
    pub(crate) topic_aliases_max: u16,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { receive_maximum: u16::MAX, packet_bytes_max: u32::MAX, topic_aliases_max: 0 }
    }
}

/// What a client remembers of the connection to notice that the server misbehaves.
#[derive(Debug, Default)]
pub(crate) struct Manners {
    accepted: bool,
    over: bool,
    bounds: Bounds,
    /// Topics by the alias that the server gave them.
    aliases: BTreeMap<u16, String>,
    /// Identifiers of messages that were received on this connection and are not finished.
    unfinished: BTreeSet<u16>,
    /// The client has acknowledged what it was not sent, so that it cannot know what is in flight.
    is_unsure: bool,
}

impl Manners {
    /// The client says CONNECT, with these limits on what it is sent. Only the first counts.
    pub(crate) fn on_connect(&mut self, bounds: Bounds) {
        if !self.accepted {
            self.bounds = bounds;
        }
    }

    /// The client says this.
    pub(crate) fn on_said(&mut self, said: &Said) {
        if let Said::Ack { packet, id, reason } = said {
            let ends = match packet {
                PacketType::Puback | PacketType::Pubcomp => true,
                PacketType::Pubrec => reason.is_error(),
                _ => false,
            };
            if ends {
                self.unfinished.remove(id);
            }
        }
    }

    /// The client says this, which need not make sense.
    pub(crate) fn on_spoken(&mut self, said: &Said) {
        if let Said::Ack { packet, id, .. } = said {
            self.is_unsure |= *packet != PacketType::Pubrel && !self.unfinished.contains(id);
        }
        self.on_said(said);
    }

    /// The client hears this, a packet of `bytes` bytes. Returns what is wrong with it.
    pub(crate) fn on_heard(&mut self, said: &Said, bytes: usize) -> Result<(), String> {
        // [MQTT5-3.14.4-1]
        if self.over {
            return Err("something came after the last word".into());
        }
        // [MQTT3-3.2.0-1] [MQTT5-3.2.0-1] [MQTT5-3.2.0-2] [MQTT5-3.14.0-1]
        let is_connack = matches!(said, Said::Connack { .. });
        let authenticates = matches!(said, Said::Auth { .. }) && !self.accepted;
        if is_connack == self.accepted && !authenticates {
            return Err("CONNACK must be the first packet, and come once".into());
        }
        if bytes > self.bounds.packet_bytes_max as usize {
            // [MQTT5-3.1.2-24]
            return Err(format!("{bytes} bytes are over the client's maximum packet size"));
        }
        if let Said::Publish(publish) = said {
            self.resolve(publish)?;
        }
        match said {
            Said::Connack { reason, .. } => {
                self.accepted = true;
                self.over = reason.is_error();
            }
            Said::Disconnect { .. } => self.over = true,
            Said::Publish(publish) if publish.qos != QoS::AtMostOnce => {
                let new = self.unfinished.insert(publish.packet_id());
                if !new && !publish.dup && !self.is_unsure {
                    // [MQTT3-2.3.1-4] [MQTT5-2.2.1-4]
                    return Err("the packet identifier is in use".into());
                }
            }
            _ => {}
        }
        if self.unfinished.len() > usize::from(self.bounds.receive_maximum) && !self.is_unsure {
            // [MQTT5-3.3.4-9]
            let most = self.bounds.receive_maximum;
            return Err(format!("more than {most} messages are in flight"));
        }
        Ok(())
    }

    /// Notes what an alias stands for. Returns what is wrong with it.
    fn resolve(&mut self, publish: &Publishing) -> Result<(), String> {
        let Some(alias) = Properties::from_checked(&publish.properties).topic_alias() else {
            return Ok(());
        };
        if alias > self.bounds.topic_aliases_max {
            // [MQTT5-3.1.2-26] [MQTT5-3.1.2-27]
            return Err(format!("topic alias {alias} is over the client's maximum"));
        }
        if !publish.topic.is_empty() {
            self.aliases.insert(alias, publish.topic.clone());
        } else if !self.aliases.contains_key(&alias) {
            return Err(format!("topic alias {alias} stands for nothing"));
        }
        Ok(())
    }
}
