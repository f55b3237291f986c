//! What every client may rely on, whatever the test is about: looked at with each packet it hears.

use crate::packets::Said;
use noctule_mqtt::{PacketType, QoS};
use std::collections::BTreeSet;

/// What a client remembers of the connection to notice that the server misbehaves.
#[derive(Debug)]
pub(crate) struct Manners {
    accepted: bool,
    over: bool,
    receive_maximum: u16,
    packet_bytes_max: u32,
    /// Identifiers of messages that were received on this connection and are not finished.
    unfinished: BTreeSet<u16>,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            accepted: false,
            over: false,
            receive_maximum: u16::MAX,
            packet_bytes_max: u32::MAX,
            unfinished: BTreeSet::new(),
        }
    }
}

impl Manners {
    /// The client says CONNECT, with these limits on what it is sent. Only the first counts.
    pub(crate) fn on_connect(&mut self, (receive_maximum, packet_bytes_max): (u16, u32)) {
        if !self.accepted {
            self.receive_maximum = receive_maximum;
            self.packet_bytes_max = packet_bytes_max;
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

    /// The client hears this, a packet of `bytes` bytes. Returns what is wrong with it.
    pub(crate) fn on_heard(&mut self, said: &Said, bytes: usize) -> Result<(), String> {
        if self.over {
            return Err("something came after the last word".into());
        }
        // [MQTT3-3.2.0-1] [MQTT5-3.2.0-1] and [MQTT5-3.2.0-2]
        let is_connack = matches!(said, Said::Connack { .. });
        if is_connack == self.accepted {
            return Err("CONNACK must be the first packet, and come once".into());
        }
        if bytes > self.packet_bytes_max as usize && !is_connack {
            // [MQTT5-3.1.2-24]
            return Err(format!("{bytes} bytes are over the client's maximum packet size"));
        }
        match said {
            Said::Connack { reason, .. } => {
                self.accepted = true;
                self.over = reason.is_error();
            }
            Said::Disconnect { .. } => self.over = true,
            Said::Publish(publish) if publish.qos != QoS::AtMostOnce => {
                let new = self.unfinished.insert(publish.packet_id());
                if !new && !publish.dup {
                    // [MQTT3-2.3.1-4] [MQTT5-2.2.1-4]
                    return Err("the packet identifier is in use".into());
                }
            }
            _ => {}
        }
        if self.unfinished.len() > usize::from(self.receive_maximum) {
            // [MQTT5-3.3.4-9]
            return Err(format!("more than {} messages are in flight", self.receive_maximum));
        }
        Ok(())
    }
}
