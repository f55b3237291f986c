//! Clients that say whatever they like: bytes, and who of them has said what.

use super::World;
use crate::client::State;
use crate::packets::Said;
use crate::transcript::Entry;
use noctule_broker::Owner;

impl World {
    /// Hands any bytes to a client's socket, if it is open, without having the shard read them.
    /// Returns the packets that they complete as a server has to read them, up to the first that
    /// breaks the rules by itself or is larger than `packet_bytes_max`.
    pub fn speak(&mut self, name: &str, bytes: &[u8], packet_bytes_max: u32) -> Vec<Said> {
        let Some(client) = self.clients.get_mut(name).filter(|one| one.state == State::Open) else {
            return Vec::new();
        };
        client.unread.extend(bytes);
        let all = client.speak(bytes, packet_bytes_max);
        let (who, version) = (name.to_owned(), client.version);
        self.transcript.add(Entry::RawToServer { who: who.clone(), bytes: bytes.into() });
        for said in &all {
            self.transcript.add(Entry::ToServer { who: who.clone(), version, said: said.clone() });
        }
        all
    }

    /// Which client it is that has waited longest for a verdict; none if none waits, or it is gone.
    pub fn next_undecided_name(&self) -> Option<&str> {
        let (connection, _) = self.undecided.first()?;
        self.names.get(connection).map(String::as_str)
    }

    /// How many bytes of memory a client's connection takes.
    pub fn bytes_of_connection(&self, name: &str) -> usize {
        let client = self.clients.get(name);
        client.map_or(0, |client| self.shard.bytes_of(Owner::Connection(client.handle)))
    }
}
