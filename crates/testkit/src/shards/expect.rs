//! What a test of several shards expects, and whole exchanges of packets.

use super::Shards;
use crate::client::State;
use crate::packets::{
    Connecting, Publishing, Said, disconnect, puback, pubcomp, pubrec, suback, subscribe,
};
use crate::store::Store;
use noctule_broker::Memory;
use noctule_mqtt::{PacketType, QoS, ReasonCode};
use std::collections::VecDeque;

impl Shards {
    /// Opens a connection on a shard and sends CONNECT.
    #[track_caller]
    pub fn start(&mut self, name: &str, shard: usize, connect: Connecting) {
        self.open(name, shard, connect.version());
        self.send(name, connect);
    }

    /// Connects a client over a shard. Returns whether a session was present.
    ///
    /// # Panics
    /// If CONNACK is not the first thing it hears, or refuses.
    #[track_caller]
    pub fn connect(&mut self, name: &str, shard: usize, connect: Connecting) -> bool {
        self.start(name, shard, connect);
        self.expect_accepted(name)
    }

    /// The next packet that a client hears is a CONNACK that accepts it. Returns whether a session
    /// was present.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn expect_accepted(&mut self, name: &str) -> bool {
        match self.next_heard(name) {
            Some(Said::Connack { session_present, reason: ReasonCode::Success, .. }) => {
                session_present
            }
            Some(other) => self.fail(&format!("{name} expects CONNACK and hears {other}")),
            None => self.fail(&format!("{name} expects CONNACK and hears nothing")),
        }
    }

    /// The next packet that a client hears is this one.
    ///
    /// # Panics
    /// If another came, or none.
    #[track_caller]
    pub fn expect(&mut self, name: &str, expected: impl Into<Said>) -> Said {
        let expected = expected.into();
        let version = self.client(name).version;
        let Some(heard) = self.next_heard(name) else {
            self.fail(&format!("{name} expects {expected} and hears nothing"));
        };
        if !expected.admits(&heard, version) {
            self.fail(&format!("{name} expects {expected}\n      and hears {heard}"));
        }
        heard
    }

    /// Takes the next packet that a client has heard.
    pub fn next_heard(&mut self, name: &str) -> Option<Said> {
        let client = &mut self.clients.get_mut(name)?.client;
        client.line.stamps.pop_front();
        client.inbox.pop_front()
    }

    /// Takes everything that a client has heard.
    pub fn all_heard(&mut self, name: &str) -> Vec<Said> {
        let Some(seat) = self.clients.get_mut(name) else {
            return Vec::new();
        };
        seat.client.line.stamps.clear();
        seat.client.inbox.drain(..).collect()
    }

    /// A client has heard nothing more.
    ///
    /// # Panics
    /// If it has.
    #[track_caller]
    pub fn expect_nothing(&self, name: &str) {
        if let Some(said) = self.client(name).inbox.front() {
            self.fail(&format!("{name} expects nothing and hears {said}"));
        }
    }

    /// A shard has closed a client's connection, and the client has heard nothing more.
    ///
    /// # Panics
    /// If it has, or the connection is open.
    #[track_caller]
    pub fn expect_closed(&mut self, name: &str) {
        self.expect_nothing(name);
        if self.client(name).state != State::ClosedByServer {
            self.fail(&format!("{name} expects to be closed"));
        }
        if let Some(seat) = self.clients.get_mut(name) {
            seat.client.state = State::Closed;
        }
    }

    /// Nothing has been heard that was not expected, and nobody was closed.
    ///
    /// # Panics
    /// If somebody was or has.
    #[track_caller]
    pub fn expect_quiet(&self) {
        for (name, seat) in &self.clients {
            if let Some(said) = seat.client.inbox.front() {
                self.fail(&format!("nobody expected that {name} hears {said}"));
            }
            if seat.client.state == State::ClosedByServer {
                self.fail(&format!("nobody expected that {name} is closed"));
            }
            if seat.client.state == State::Open && seat.client.is_amid_packet() {
                self.fail(&format!("{name} has heard half a packet"));
            }
        }
    }

    /// Nothing is left but retained messages: no connection, session, subscription or letter, no
    /// message in a store, no work.
    ///
    /// # Panics
    /// If something is.
    #[track_caller]
    pub fn expect_nobody_left(&self) {
        for (shard, left) in self.populations().iter().enumerate() {
            if (left.connections, left.sessions, left.subscriptions) != (0, 0, 0) {
                self.fail(&format!("something is left on shard {shard}: {left:?}"));
            }
        }
        let asking: Vec<_> = self.leftovers().iter().map(|left| left.asking).collect();
        if asking.iter().any(|asking| *asking > 0) {
            self.fail(&format!("on shards messages wait for room, or room for them: {asking:?}"));
        }
        for node in &self.nodes {
            let memory = Memory { mail: 0, ..node.shard.borrow().memory() };
            if memory.total() != 0 {
                self.fail(&format!("memory is counted that nobody takes: {memory:?}"));
            }
        }
        if self.connections() != 0 {
            self.fail(&format!("{} connections are counted, none is there", self.connections()));
        }
        let letters: usize = self.boxes.iter().flatten().map(VecDeque::len).sum();
        let busy = self.nodes.iter().any(|node| {
            node.shard.borrow().has_work() || !node.asked.is_empty() || node.store.spilled() > 0
        });
        if busy || letters > 0 {
            self.fail(&format!("work is left, and {letters} letters"));
        }
    }

    /// A client subscribes with packet identifier 1, and is granted the QoS it asks for. Letters
    /// have nothing to do with that.
    ///
    /// # Panics
    /// If it is not, or hears anything before.
    #[track_caller]
    pub fn subscribe(&mut self, name: &str, filter: &str, qos: u8) {
        self.send(name, subscribe(1, filter, qos));
        self.expect(name, suback(1, &[qos]));
    }

    /// The next packet that a client hears is this PUBLISH, and it acknowledges it, at QoS 2 to the
    /// end.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn receive(&mut self, name: &str, expected: Publishing) -> Publishing {
        let publish = match self.expect(name, expected) {
            Said::Publish(publish) => publish,
            other => self.fail(&format!("{other} is no PUBLISH")),
        };
        match publish.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.send(name, puback(publish.packet_id())),
            QoS::ExactlyOnce => {
                let wanted = publish.packet_id();
                self.send(name, pubrec(wanted));
                let pubrel = self.clients.get_mut(name).and_then(|seat| {
                    let inbox = &mut seat.client.inbox;
                    let at = inbox.iter().position(|said| {
                        matches!(said, Said::Ack { packet: PacketType::Pubrel, id, .. }
                            if *id == wanted)
                    })?;
                    inbox.remove(at)
                });
                if pubrel.is_none() {
                    self.fail(&format!("{name} expects PUBREL {wanted}, which has not come"));
                }
                self.send(name, pubcomp(wanted));
            }
        }
        publish
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

    /// Memory is counted rightly.
    ///
    /// # Panics
    /// If it is not.
    pub(super) fn check_memory(&self) {
        for (at, node) in self.nodes.iter().enumerate() {
            if let Some(complaint) = crate::memory::complaint(&node.shard.borrow()) {
                self.fail(&format!("shard {at}: {complaint}"));
            }
        }
    }
}
