//! Batches that are to be stored together, while some of them are not there yet.
//!
//! A shard whose message is owed on other shards names a [`Together`]; its batch and theirs go to
//! the log as one unit or not at all. What a shard hands in behind a batch that waits, waits as well,
//! because its order is kept; so do its questions for messages that wait. Nobody waits for long:
//! shards read each other's mail whatever they wait for.
//!
//! Nothing is written here. The invariant: a unit that is let go holds all batches of every name in it.

use crate::store::{Load, Persist};
use noctule_broker::{Record, ShardId, Stage, Ticket, Together};
use std::collections::HashMap;
use std::mem::take;

/// What was handed in and cannot be written yet.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    /// In the order in which it was handed in.
    waiting: Vec<Persist>,
    /// Questions that may be about what waits, each with the last ticket that it has to wait for.
    loads: Vec<(Ticket, Load)>,
}

/// What can be written now.
#[derive(Debug)]
pub(crate) struct Ready {
    /// Records that are to be stored together or not at all, in their order.
    pub(crate) units: Vec<Vec<Record>>,
    /// What follows when they are.
    pub(crate) landing: Landing,
    /// Questions that can be answered when they are written.
    pub(crate) loads: Vec<Load>,
}

/// What is promised when something is as safe as it was to become.
#[derive(Debug)]
pub(crate) struct Landing {
    /// The last ticket of each shard.
    pub(crate) tickets: Vec<(ShardId, Ticket)>,
    /// How many bytes it is, as they were counted.
    pub(crate) bytes: usize,
    /// How safe the most demanding of it has to become.
    pub(crate) stage: Stage,
}

impl Assembly {
    /// Takes what was handed in, and gives what can be written of it and of what has waited.
    pub(crate) fn assemble(&mut self, persists: Vec<Persist>, loads: Vec<Load>) -> Ready {
        let mut ready = Ready::nothing();
        let is_plain = |persist: &Persist| persist.together.is_empty();
        if self.waiting.is_empty() && persists.iter().all(is_plain) {
            persists.into_iter().for_each(|persist| ready.add(persist, false));
        } else {
            self.waiting.extend(persists);
            self.let_go(&mut ready);
        }
        self.answerable(loads, &mut ready);
        ready
    }

    fn let_go(&mut self, ready: &mut Ready) {
        let ends = ends(&self.waiting);
        // Between two that belong together everything belongs to them: the log has one order.
        let mut joined = false;
        let mut open: HashMap<Together, i64> = HashMap::new();
        for (at, persist) in take(&mut self.waiting).into_iter().enumerate() {
            if ends.get(&persist.shard).is_some_and(|end| at >= *end) {
                self.waiting.push(persist);
                continue;
            }
            let follows = joined;
            for (together, batches) in &persist.together {
                let missing = open.entry(*together).or_default();
                *missing += batches.map_or(0, i64::from) - 1;
            }
            open.retain(|_, missing| *missing != 0);
            joined = !open.is_empty();
            ready.add(persist, follows);
        }
    }

    /// Adds the questions to `ready` that do not wait for anything.
    fn answerable(&mut self, loads: Vec<Load>, ready: &mut Ready) {
        let last = |shard| self.waiting.iter().rev().find(|persist| persist.shard == shard);
        for load in loads {
            match last(load.shard) {
                Some(persist) => self.loads.push((persist.ticket, load)),
                None => ready.loads.push(load),
            }
        }
        for (ticket, load) in take(&mut self.loads) {
            let first = self.waiting.iter().find(|persist| persist.shard == load.shard);
            if first.is_some_and(|persist| persist.ticket <= ticket) {
                self.loads.push((ticket, load));
            } else {
                ready.loads.push(load);
            }
        }
    }
}

/// For each shard the place of its first batch that has to wait, if one has.
fn ends(batches: &[Persist]) -> HashMap<ShardId, usize> {
    let mut ends: HashMap<ShardId, usize> = HashMap::new();
    loop {
        let goes = |at: usize, shard: ShardId| ends.get(&shard).is_none_or(|end| at < *end);
        let mut there: HashMap<Together, (u32, Option<u32>)> = HashMap::new();
        for (_, persist) in batches.iter().enumerate().filter(|(at, one)| goes(*at, one.shard)) {
            for (together, batches) in &persist.together {
                let found = there.entry(*together).or_default();
                *found = (found.0 + 1, found.1.or(*batches));
            }
        }
        let is_whole =
            |together: &Together| there.get(together).is_some_and(|(is, due)| Some(*is) == *due);
        let waits = |(at, persist): &(usize, &Persist)| {
            goes(*at, persist.shard) && !persist.together.iter().all(|(one, _)| is_whole(one))
        };
        // Backwards, so that the first of each shard is the one that stays.
        let nearer: HashMap<_, _> = batches
            .iter()
            .enumerate()
            .rev()
            .filter(waits)
            .map(|(at, persist)| (persist.shard, at))
            .collect();
        // Each time ends come nearer to the beginning, so this comes to an end.
        if nearer.is_empty() {
            return ends;
        }
        ends.extend(nearer);
    }
}

impl Ready {
    fn nothing() -> Self {
        let landing = Landing { tickets: Vec::new(), bytes: 0, stage: Stage::Written };
        Self { units: Vec::new(), landing, loads: Vec::new() }
    }

    /// Adds a batch, as a part of the unit before it or as one of its own.
    fn add(&mut self, persist: Persist, follows: bool) {
        let Persist { shard, ticket, mut records, stage, bytes, .. } = persist;
        let landing = &mut self.landing;
        landing.bytes += bytes;
        landing.stage = landing.stage.max(stage);
        match landing.tickets.iter_mut().find(|(found, _)| *found == shard) {
            // Tickets rise, and one stands for all before it.
            Some((_, last)) => *last = ticket,
            None => landing.tickets.push((shard, ticket)),
        }
        match self.units.last_mut() {
            Some(unit) if follows => unit.append(&mut records),
            _ => self.units.push(records),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_broker::{Sequence, SessionHandle, SessionKey};

    const FIRST: Together = Together { shard: ShardId(0), number: 1 };
    const SECOND: Together = Together { shard: ShardId(1), number: 1 };
    const NOBODY: &[(Together, Option<u32>)] = &[];

    /// A batch with one record that tells it from the others.
    fn batch(shard: u16, ticket: u64, together: &[(Together, Option<u32>)]) -> Persist {
        let record = Record::SessionEnded(SessionKey(u64::from(shard) * 100 + ticket));
        let together = together.to_vec();
        let (shard, ticket) = (ShardId(shard), Ticket(ticket));
        Persist { shard, ticket, records: vec![record], stage: Stage::Flushed, bytes: 1, together }
    }

    /// The units that are let go when these are handed in, by what tells them apart.
    fn units(assembly: &mut Assembly, batches: Vec<Persist>) -> Vec<Vec<u64>> {
        let ready = assembly.assemble(batches, Vec::new());
        assert_eq!(ready.landing.bytes, ready.units.iter().map(Vec::len).sum::<usize>());
        let name = |record: &Record| match record {
            Record::SessionEnded(key) => key.0,
            other => panic!("{other:?}"),
        };
        ready.units.iter().map(|unit| unit.iter().map(name).collect()).collect()
    }

    #[test]
    fn what_belongs_to_nothing_goes_at_once_each_by_itself() {
        let mut assembly = Assembly::default();
        let batches = vec![batch(0, 1, NOBODY), batch(1, 1, NOBODY), batch(0, 2, NOBODY)];
        let ready = assembly.assemble(batches, Vec::new());
        assert_eq!(ready.units.len(), 3);
        assert_eq!(ready.landing.tickets, [(ShardId(0), Ticket(2)), (ShardId(1), Ticket(1))]);
    }

    #[test]
    fn a_batch_and_all_behind_it_wait_until_the_others_are_there() {
        let mut assembly = Assembly::default();
        let begin = vec![
            batch(0, 1, NOBODY),
            batch(0, 2, &[(FIRST, Some(3))]),
            batch(0, 3, NOBODY),
            batch(1, 1, NOBODY),
        ];
        assert_eq!(units(&mut assembly, begin), [vec![1], vec![101]]);
        let one = vec![batch(1, 2, &[(FIRST, None)]), batch(2, 1, NOBODY)];
        assert_eq!(units(&mut assembly, one), [vec![201]]);
        let last = vec![batch(1, 3, NOBODY), batch(2, 2, &[(FIRST, None)]), batch(2, 3, NOBODY)];
        // One unit from the first that belongs to it to the last; order within a shard is kept.
        let expected = [vec![2, 3, 102, 103, 202], vec![203]];
        assert_eq!(units(&mut assembly, last), expected);
        assert!(units(&mut assembly, Vec::new()).is_empty());
    }

    #[test]
    fn whoever_is_there_first_waits_for_the_one_who_knows_how_many_there_are() {
        let mut assembly = Assembly::default();
        assert!(units(&mut assembly, vec![batch(1, 1, &[(FIRST, None)])]).is_empty());
        let opened = vec![batch(0, 1, &[(FIRST, Some(2))])];
        assert_eq!(units(&mut assembly, opened), [vec![101, 1]]);
    }

    #[test]
    fn shards_that_wait_for_each_other_go_together() {
        let mut assembly = Assembly::default();
        let crossed = vec![
            batch(0, 1, &[(FIRST, Some(2))]),
            batch(1, 1, &[(SECOND, Some(2))]),
            batch(1, 2, &[(FIRST, None)]),
        ];
        assert!(units(&mut assembly, crossed).is_empty());
        let last = vec![batch(0, 2, &[(SECOND, None)])];
        assert_eq!(units(&mut assembly, last), [vec![1, 101, 102, 2]]);
    }

    #[test]
    fn what_waits_behind_something_that_waits_holds_up_its_own_companions() {
        let mut assembly = Assembly::default();
        let batches = vec![
            batch(0, 1, &[(FIRST, Some(2))]),
            batch(0, 2, &[(SECOND, Some(2))]),
            batch(1, 1, &[(SECOND, None)]),
            batch(1, 2, NOBODY),
            batch(2, 1, NOBODY),
        ];
        assert_eq!(units(&mut assembly, batches), [vec![201]]);
        let last = vec![batch(2, 2, &[(FIRST, None)])];
        assert_eq!(units(&mut assembly, last).concat(), [1, 2, 101, 102, 202]);
    }

    #[test]
    fn a_question_waits_for_what_it_may_be_about_and_for_nothing_that_came_later() {
        let load = |shard| Load {
            shard: ShardId(shard),
            session: SessionHandle::NOTHING,
            key: SessionKey(1),
            after: Sequence(0),
            bytes_max: 1,
        };
        let mut assembly = Assembly::default();
        let batches = vec![batch(0, 1, &[(FIRST, Some(2))])];
        let ready = assembly.assemble(batches, vec![load(0), load(1)]);
        assert_eq!(ready.loads.iter().map(|load| load.shard.0).collect::<Vec<_>>(), [1]);
        let batches = vec![batch(1, 1, &[(FIRST, None)]), batch(0, 2, &[(SECOND, Some(2))])];
        let ready = assembly.assemble(batches, Vec::new());
        assert_eq!(ready.loads.iter().map(|load| load.shard.0).collect::<Vec<_>>(), [0]);
    }
}
