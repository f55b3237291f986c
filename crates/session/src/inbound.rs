//! The receiving half: which QoS 2 messages have been received and not released.
//!
//! ```text
//! PUBLISH ─► (storing) ─► PUBREC ─► held ─PUBREL─► (storing) ─► PUBCOMP, forgotten
//!               a repeated PUBLISH of a held id is answered and not delivered again
//! ```
//!
//! A receiver that stores nothing goes straight through the states in brackets. Whether a message
//! has expired meanwhile is not asked here: its exchange is completed all the same
//! `[MQTT5-4.3.3-13]`.

use noctule_mqtt::PacketId;
use std::collections::BTreeMap;

/// What a QoS 2 PUBLISH is, given what came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// A new message; its identifier is held from now on.
    New,
    /// A repetition of a message that is still being stored: its PUBREC is on its way.
    Storing,
    /// A repetition of a message that was taken: only PUBREC is to be sent `[MQTT5-4.3.3-10]`.
    Duplicate,
}

/// The packet identifiers of QoS 2 messages between PUBLISH and PUBREL.
#[derive(Debug, Default)]
pub struct Inbound {
    /// Whether each is still being stored.
    held: BTreeMap<PacketId, bool>,
    storing: usize,
}

impl Inbound {
    /// Holds an identifier that a store has kept; with `storing` its message is not routed yet, and
    /// [`stored`](Self::stored) is to be called when it is.
    pub fn restore(&mut self, packet_id: PacketId, storing: bool) {
        self.on_publish(packet_id, storing);
    }

    /// How many identifiers are held.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether a message is still being stored. One that comes behind it must not be dealt with
    /// before it, so it has to wait for the store as well.
    pub fn is_storing(&self) -> bool {
        self.storing > 0
    }

    /// A QoS 2 PUBLISH came. If it is new and has to be stored before it counts as received, say so
    /// with `storing` and call [`stored`](Self::stored) when that is done.
    pub fn on_publish(&mut self, packet_id: PacketId, storing: bool) -> Received {
        match self.held.get(&packet_id) {
            Some(true) => Received::Storing,
            Some(false) => Received::Duplicate,
            None => {
                self.held.insert(packet_id, storing);
                self.storing += usize::from(storing);
                Received::New
            }
        }
    }

    /// The message is stored: PUBREC may leave. False if the identifier is not held any more.
    pub fn stored(&mut self, packet_id: PacketId) -> bool {
        match self.held.get_mut(&packet_id) {
            Some(storing) if *storing => {
                *storing = false;
                self.storing -= 1;
                true
            }
            Some(_) | None => false,
        }
    }

    /// The message was refused (PUBREC with 0x80 or above): its identifier is free again
    /// `[MQTT5-4.3.3-9]`.
    pub fn refuse(&mut self, packet_id: PacketId) {
        self.forget(packet_id);
    }

    /// PUBREL came: forgets the identifier, which means a new message from then on
    /// `[MQTT3-4.3.3-2]` `[MQTT5-4.3.3-11]` `[MQTT5-4.3.3-12]`. False if it was not held; PUBCOMP is
    /// due all the same, in MQTT 5 with "packet identifier not found".
    pub fn on_pubrel(&mut self, packet_id: PacketId) -> bool {
        self.forget(packet_id)
    }

    fn forget(&mut self, packet_id: PacketId) -> bool {
        let storing = self.held.remove(&packet_id);
        self.storing -= usize::from(storing == Some(true));
        storing.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test] // [MQTT3-4.3.3-2] [MQTT5-4.3.3-10] [MQTT5-4.3.3-12]
    fn a_message_counts_once_until_it_is_released() {
        let mut inbound = Inbound::default();
        let id = PacketId::FIRST;
        assert_eq!(inbound.on_publish(id, false), Received::New);
        assert_eq!(inbound.on_publish(id, false), Received::Duplicate);
        assert_eq!(inbound.held(), 1);
        assert!(inbound.on_pubrel(id));
        assert!(!inbound.on_pubrel(id));
        assert_eq!(inbound.on_publish(id, false), Received::New);
    }

    #[test]
    fn a_repetition_during_storing_is_not_answered_twice() {
        let mut inbound = Inbound::default();
        let id = PacketId::FIRST;
        assert_eq!(inbound.on_publish(id, true), Received::New);
        assert_eq!(inbound.on_publish(id, true), Received::Storing);
        assert!(inbound.is_storing());
        assert!(inbound.stored(id));
        assert!(!inbound.is_storing());
        assert_eq!(inbound.on_publish(id, true), Received::Duplicate);
        assert!(!inbound.stored(id));
    }
}
