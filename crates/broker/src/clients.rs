//! Which session a client identifier has. The identifiers are with the sessions and nowhere else, so
//! that an idle client does not pay for its name twice.

use crate::arena::Arena;
use crate::session::{Session, SessionHandle};
use foldhash::quality::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::hash::BuildHasher;

/// A table with room for less than eight times this is as small as it gets.
const ROOM_KEPT: usize = 64;

/// Sessions by client identifier. The sessions in it are all in the arena that it is asked with, so that
/// their slots say which they are.
#[derive(Debug)]
pub(crate) struct Clients {
    table: HashTable<u32>,
    hasher: FixedState,
}

impl Clients {
    pub(crate) fn new(seed: u64) -> Self {
        Self { table: HashTable::new(), hasher: FixedState::with_seed(seed) }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn find(&self, client_id: &str, sessions: &Arena<Session>) -> Option<SessionHandle> {
        let slot =
            self.table.find(self.hash(client_id), |one| has_id(*one, client_id, sessions))?;
        sessions.at(*slot).map(|(handle, _)| handle)
    }

    /// Adds a session, in place of an earlier one of its client.
    pub(crate) fn insert(&mut self, handle: SessionHandle, sessions: &Arena<Session>) {
        let Some(session) = sessions.get(handle) else {
            return;
        };
        let client_id = &*session.client_id;
        let hasher = &self.hasher;
        let hash_of = |one: &u32| hash_of(*one, hasher, sessions);
        let is_it = |one: &u32| has_id(*one, client_id, sessions);
        let slot = handle.slot() as u32;
        match self.table.entry(hasher.hash_one(client_id), is_it, hash_of) {
            Entry::Occupied(mut occupied) => *occupied.get_mut() = slot,
            Entry::Vacant(vacant) => {
                vacant.insert(slot);
            }
        }
    }

    /// Removes a session, which has left the arena or is about to. A table that was made for many more
    /// becomes smaller.
    pub(crate) fn remove(
        &mut self,
        handle: SessionHandle,
        client_id: &str,
        sessions: &Arena<Session>,
    ) {
        let hash = self.hash(client_id);
        if let Ok(found) = self.table.find_entry(hash, |one| *one as usize == handle.slot()) {
            found.remove();
        }
        let len = self.table.len();
        if self.table.capacity() > 8 * len.max(ROOM_KEPT) {
            let hasher = &self.hasher;
            self.table.shrink_to(2 * len, |one| hash_of(*one, hasher, sessions));
        }
    }

    fn hash(&self, client_id: &str) -> u64 {
        self.hasher.hash_one(client_id)
    }
}

fn has_id(slot: u32, client_id: &str, sessions: &Arena<Session>) -> bool {
    sessions.at(slot).is_some_and(|(_, session)| *session.client_id == *client_id)
}

fn hash_of(slot: u32, hasher: &FixedState, sessions: &Arena<Session>) -> u64 {
    sessions.at(slot).map_or(0, |(_, session)| hasher.hash_one(&*session.client_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::SessionKey;

    #[test]
    fn sessions_are_found_by_the_identifiers_they_have_while_the_table_grows_and_shrinks() {
        let (mut sessions, mut clients) = (Arena::default(), Clients::new(7));
        let handles: Vec<_> = (0..1_000u64)
            .map(|number| {
                let handle = sessions.insert(Session::new(&number.to_string(), SessionKey(number)));
                clients.insert(handle, &sessions);
                handle
            })
            .collect();
        assert_eq!(clients.find("1000", &sessions), None);
        for (number, handle) in handles.iter().enumerate().step_by(2) {
            sessions.remove(*handle);
            clients.remove(*handle, &number.to_string(), &sessions);
        }
        for (number, handle) in handles.iter().enumerate() {
            let expected = (number % 2 == 1).then_some(*handle);
            assert_eq!(clients.find(&number.to_string(), &sessions), expected, "{number}");
        }
        assert_eq!(clients.len(), 500);
        let room = clients.table.capacity();
        for (number, handle) in handles.iter().enumerate().skip(1).step_by(2) {
            sessions.remove(*handle);
            clients.remove(*handle, &number.to_string(), &sessions);
            let next = handles.get(number + 2).filter(|_| number % 64 == 1);
            let expected = next.map(|_| number + 2);
            let found = expected.and_then(|next| clients.find(&next.to_string(), &sessions));
            assert_eq!(found, next.copied(), "what is left is found");
        }
        assert!(clients.table.capacity() <= 8 * ROOM_KEPT && 8 * ROOM_KEPT < room);
    }

    #[test]
    fn the_last_session_of_a_client_is_its_session() {
        let (mut sessions, mut clients) = (Arena::default(), Clients::new(7));
        let mut insert = |clients: &mut Clients| {
            let handle = sessions.insert(Session::new("a", SessionKey(0)));
            clients.insert(handle, &sessions);
            (handle, clients.find("a", &sessions))
        };
        let (first, found) = insert(&mut clients);
        assert_eq!(found, Some(first));
        let (second, found) = insert(&mut clients);
        assert_eq!((found, clients.len()), (Some(second), 1));
    }
}
