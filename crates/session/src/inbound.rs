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

/// The packet identifiers of QoS 2 messages between PUBLISH and PUBREL. Most peers have none, so they
/// are behind a pointer, which is there from the first one until [`shed`](Inbound::shed).
#[derive(Debug, Default)]
pub struct Inbound(Option<Box<Held>>);

#[derive(Debug, Default)]
struct Held {
    /// Whether each is still being stored.
    ids: BTreeMap<PacketId, bool>,
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
        self.0.as_ref().map_or(0, |held| held.ids.len())
    }

    /// Gives back the memory for identifiers if none is held.
    pub fn shed(&mut self) {
        if self.held() == 0 {
            self.0 = None;
        }
    }

    /// Whether a message is still being stored. One that comes behind it must not be dealt with
    /// before it, so it has to wait for the store as well.
    pub fn is_storing(&self) -> bool {
        self.0.as_ref().is_some_and(|held| held.storing > 0)
    }

    /// Whether the message with this identifier is still being stored.
    pub fn is_storing_one(&self, packet_id: PacketId) -> bool {
        self.0.as_ref().is_some_and(|held| held.ids.get(&packet_id) == Some(&true))
    }

    /// A QoS 2 PUBLISH came. If it is new and has to be stored before it counts as received, say so
    /// with `storing` and call [`stored`](Self::stored) when that is done.
    pub fn on_publish(&mut self, packet_id: PacketId, storing: bool) -> Received {
        let held = self.0.get_or_insert_default();
        match held.ids.get(&packet_id) {
            Some(true) => Received::Storing,
            Some(false) => Received::Duplicate,
            None => {
                held.ids.insert(packet_id, storing);
                held.storing += usize::from(storing);
                Received::New
            }
        }
    }

    /// The message is stored: PUBREC may leave. False if the identifier is not held any more.
    pub fn stored(&mut self, packet_id: PacketId) -> bool {
        let Some(held) = &mut self.0 else {
            return false;
        };
        match held.ids.get_mut(&packet_id) {
            Some(storing) if *storing => {
                *storing = false;
                held.storing -= 1;
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
        let Some(held) = &mut self.0 else {
            return false;
        };
        let storing = held.ids.remove(&packet_id);
        held.storing -= usize::from(storing == Some(true));
        storing.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_sends_nothing_at_qos_2_takes_a_pointer() {
        assert_eq!(size_of::<Inbound>(), 8);
        let mut inbound = Inbound::default();
        inbound.on_publish(PacketId::FIRST, true);
        inbound.shed();
        assert!(inbound.is_storing(), "what is held stays");
        assert!(inbound.on_pubrel(PacketId::FIRST));
        inbound.shed();
        assert!(inbound.0.is_none());
        assert!(!inbound.on_pubrel(PacketId::FIRST) && !inbound.stored(PacketId::FIRST));
    }

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
        assert!(inbound.is_storing() && inbound.is_storing_one(id));
        assert!(!inbound.is_storing_one(id.next()));
        assert!(inbound.stored(id));
        assert!(!inbound.is_storing_one(id));
        assert!(!inbound.is_storing());
        assert_eq!(inbound.on_publish(id, true), Received::Duplicate);
        assert!(!inbound.stored(id));
    }
}
