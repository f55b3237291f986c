//! What a test expects, and how it fails when that does not come.

use super::World;
use crate::client::State;
use crate::packets::{Publishing, Said};

impl World {
    /// The next packet that a client hears is this one; it is handed over as it came.
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

    /// The next packet that a client hears is this PUBLISH.
    ///
    /// # Panics
    /// If another came, or none.
    #[track_caller]
    pub fn expect_publish(&mut self, name: &str, expected: Publishing) -> Publishing {
        match self.expect(name, expected) {
            Said::Publish(publish) => publish,
            other => self.fail(&format!("{other} is no PUBLISH")),
        }
    }

    /// Among the packets that a client has heard is this one. What came before it stays to be
    /// looked at.
    ///
    /// # Panics
    /// If it has not come.
    #[track_caller]
    pub fn expect_anywhere(&mut self, name: &str, expected: impl Into<Said>) -> Said {
        let expected = expected.into();
        let version = self.client(name).version;
        let found = self.find(name, |heard| expected.admits(heard, version));
        found
            .unwrap_or_else(|| self.fail(&format!("{name} expects {expected}, which has not come")))
    }

    /// Takes the first packet that a client has heard and that `is_it`.
    pub(super) fn find(&mut self, name: &str, is_it: impl Fn(&Said) -> bool) -> Option<Said> {
        let inbox = &mut self.clients.get_mut(name)?.inbox;
        let at = inbox.iter().position(is_it)?;
        inbox.remove(at)
    }

    /// Takes the next packet that a client has heard.
    pub fn next_heard(&mut self, name: &str) -> Option<Said> {
        self.clients.get_mut(name)?.inbox.pop_front()
    }

    /// Takes everything that a client has heard.
    pub fn all_heard(&mut self, name: &str) -> Vec<Said> {
        self.clients
            .get_mut(name)
            .map(|client| client.inbox.drain(..).collect())
            .unwrap_or_default()
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

    /// The shard has closed a client's connection, and the client has heard nothing more.
    ///
    /// # Panics
    /// If it has, or the connection is open.
    #[track_caller]
    pub fn expect_closed(&mut self, name: &str) {
        self.expect_nothing(name);
        if self.client(name).state != State::ClosedByServer {
            self.fail(&format!("{name} expects to be closed"));
        }
        if let Some(client) = self.clients.get_mut(name) {
            client.state = State::Closed;
        }
    }

    /// Nothing has been heard that was not expected, and nobody was closed.
    ///
    /// # Panics
    /// If somebody was or has.
    #[track_caller]
    pub fn expect_quiet(&self) {
        for (name, client) in self.clients.iter().filter(|(_, client)| !client.unheeded) {
            if let Some(said) = client.inbox.front() {
                self.fail(&format!("nobody expected that {name} hears {said}"));
            }
            if client.state == State::ClosedByServer {
                self.fail(&format!("nobody expected that {name} is closed"));
            }
            if client.state == State::Open && client.is_amid_packet() && client.room == usize::MAX {
                self.fail(&format!("{name} has heard half a packet"));
            }
        }
    }

    /// Nothing is left in the shard but retained messages: no connection, session or subscription,
    /// no message in the store, no work.
    ///
    /// # Panics
    /// If something is.
    #[track_caller]
    pub fn expect_nobody_left(&self) {
        let left = self.population();
        if (left.connections, left.sessions, left.subscriptions) != (0, 0, 0) {
            self.fail(&format!("something is left: {left:?}"));
        }
        let memory = self.shard.memory();
        if memory.total() != 0 {
            self.fail(&format!("memory is counted that nobody takes: {memory:?}"));
        }
        if self.shard.has_work() || self.store.spilled() > 0 || !self.asked.is_empty() {
            let (spilled, asked) = (self.store.spilled(), self.asked.len());
            self.fail(&format!("work is left; {spilled} spilled, {asked} asked of the store"));
        }
    }

    /// Memory is counted rightly.
    ///
    /// # Panics
    /// If it is not.
    pub(super) fn check_memory(&self) {
        if let Some(complaint) = crate::memory::complaint(&self.shard) {
            self.fail(&complaint);
        }
    }
}
