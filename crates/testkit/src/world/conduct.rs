//! Whole exchanges of packets, for tests that are about something else.

use super::World;
use crate::packets::{
    Connecting, Publishing, Said, connack_refused, disconnect, puback, pubcomp, pubrec, pubrel,
    suback, subscribe, unsubscribe,
};
use noctule_mqtt::{PacketType, ProtocolVersion, QoS, ReasonCode};

impl World {
    /// Connects a client, which is accepted. Returns whether a session was present.
    ///
    /// # Panics
    /// If CONNACK is not the first thing it hears, or refuses.
    #[track_caller]
    pub fn connect(&mut self, name: &str, connect: Connecting) -> bool {
        self.start(name, connect);
        match self.next_heard(name) {
            Some(Said::Connack { session_present, reason: ReasonCode::Success, .. }) => {
                session_present
            }
            Some(other) => self.fail(&format!("{name} expects CONNACK and hears {other}")),
            None => self.fail(&format!("{name} expects CONNACK and hears nothing")),
        }
    }

    /// Opens a connection and sends CONNECT.
    #[track_caller]
    pub fn start(&mut self, name: &str, connect: Connecting) {
        self.open(name, connect.version());
        self.send(name, connect);
    }

    /// A client tries to connect, is refused for this reason and closed.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn expect_refused(&mut self, name: &str, connect: Connecting, reason: ReasonCode) {
        self.start(name, connect);
        self.expect(name, connack_refused(reason));
        self.expect_closed(name);
    }

    /// A client subscribes, and is granted the QoS it asks for.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn subscribe(&mut self, name: &str, filter: &str, qos: u8) {
        let id = self.next_id(name);
        self.send(name, subscribe(id, filter, qos));
        self.expect_anywhere(name, suback(id, &[qos]));
    }

    /// A client ends a subscription.
    ///
    /// # Panics
    /// If that is not acknowledged.
    #[track_caller]
    pub fn unsubscribe(&mut self, name: &str, filter: &str) {
        let id = self.next_id(name);
        self.send(name, unsubscribe(id, &[filter]));
        let is_it = |heard: &Said| matches!(heard, Said::Unsuback { id: of, .. } if *of == id);
        if self.find(name, is_it).is_none() {
            self.fail(&format!("{name} expects UNSUBACK {id}, which has not come"));
        }
    }

    /// A client publishes a message and sees it acknowledged. Returns its packet identifier, 0 at
    /// QoS 0.
    ///
    /// # Panics
    /// If it is not acknowledged, or refused.
    #[track_caller]
    pub fn publish(&mut self, name: &str, mut publish: Publishing) -> u16 {
        let qos = publish.qos;
        if qos != QoS::AtMostOnce && publish.id.is_none() {
            publish.id = Some(self.next_id(name));
        }
        let id = publish.id.unwrap_or(0);
        self.send(name, publish);
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.take_ack(name, PacketType::Puback, id),
            QoS::ExactlyOnce => {
                self.take_ack(name, PacketType::Pubrec, id);
                self.send(name, pubrel(id));
                self.take_ack(name, PacketType::Pubcomp, id);
            }
        }
        id
    }

    #[track_caller]
    fn take_ack(&mut self, name: &str, wanted: PacketType, wanted_id: u16) {
        let found = self.find(name, |heard| {
            matches!(heard, Said::Ack { packet, id, reason }
                if (*packet, *id) == (wanted, wanted_id) && !reason.is_error())
        });
        if found.is_none() {
            self.fail(&format!("{name} expects {wanted} {wanted_id}, which has not come"));
        }
    }

    /// The next packet that a client hears is this PUBLISH, and it acknowledges it to the end.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn receive(&mut self, name: &str, expected: Publishing) -> Publishing {
        let publish = self.expect_publish(name, expected);
        self.acknowledge(name, &publish);
        publish
    }

    /// A client acknowledges a message to the end.
    #[track_caller]
    pub fn acknowledge(&mut self, name: &str, publish: &Publishing) {
        match publish.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.send(name, puback(publish.packet_id())),
            QoS::ExactlyOnce => {
                let id = publish.packet_id();
                self.send(name, pubrec(id));
                self.take_ack(name, PacketType::Pubrel, id);
                self.send(name, pubcomp(id));
            }
        }
    }

    /// A client leaves with DISCONNECT.
    ///
    /// # Panics
    /// If it hears anything more.
    #[track_caller]
    pub fn disconnect(&mut self, name: &str) {
        self.send(name, disconnect(ReasonCode::Success));
        self.expect_closed(name);
    }

    /// Ends a client's session, whether it is connected or not.
    #[track_caller]
    pub fn forget(&mut self, name: &str, version: ProtocolVersion) {
        if self.is_open(name) {
            self.lose(name);
        }
        self.connect(name, Connecting::of(version));
        self.disconnect(name);
    }

    /// A packet identifier for a client's next packet.
    #[track_caller]
    pub fn next_id(&mut self, name: &str) -> u16 {
        self.client_mut(name).next_id()
    }
}
