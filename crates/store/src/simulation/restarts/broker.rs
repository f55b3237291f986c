//! Shards on a log: what they ask is done as the writer's thread does it, some of it at a time.

use crate::assembly::{Assembly, Ready};
use crate::engine::Engine;
use crate::error::StoreError;
use crate::faults::{Fault, Faults};
use crate::simulation::life;
use crate::store::{Load, Persist, take_together};
use crate::testing::{SimulatedDisk, SimulatedFile};
use noctule_broker::{Action, Event, Limits, Now, OnQueueFull, ShardId};
use noctule_testkit::{Dice, Given, Pieces, Shards};
use std::ops::Range;

/// A broker that is running.
pub(super) struct Broker {
    pub(super) shards: Shards,
    engine: Engine<SimulatedFile>,
    assembly: Assembly,
    faults: Faults,
    loads: usize,
}

/// Why a commit came to nothing.
#[derive(Debug)]
pub(super) enum Cut {
    Failed(StoreError),
}

/// When the first of the brokers begins.
const BEGINNING: Now = Now { mono_ms: 1_000_003, wall_ms: 1_700_000_000_017 };

/// Little is kept at hand, and little is in flight, so that the log is asked for the rest.
fn limits() -> Limits {
    Limits { queue_resident_bytes_max: 900, inflight_out_max: 3, ..Limits::default() }
}

impl Broker {
    pub(super) fn start(
        disk: &SimulatedDisk,
        faults: Faults,
        dice: &mut Dice,
    ) -> Result<Self, StoreError> {
        Self::start_with(&limits(), disk, faults, dice)
    }

    /// One whose queues may be full and refuse what is more.
    pub(super) fn start_refusing(
        disk: &SimulatedDisk,
        faults: Faults,
        dice: &mut Dice,
    ) -> Result<Self, StoreError> {
        let queue_messages_max = dice.pick(&[4, 15, 100_000]);
        let on_queue_full = OnQueueFull::Refuse;
        let limits = Limits { queue_messages_max, on_queue_full, ..limits() };
        Self::start_with(&limits, disk, faults, dice)
    }

    fn start_with(
        limits: &Limits,
        disk: &SimulatedDisk,
        faults: Faults,
        dice: &mut Dice,
    ) -> Result<Self, StoreError> {
        let mut broker = Self::with(1 + dice.below(3), limits, disk, faults)?;
        broker.shards.in_pieces(Pieces::Random(dice.roll()));
        broker.shards.defer(dice.chance(60));
        Ok(broker)
    }

    /// One of so many shards.
    pub(super) fn of(
        shards: usize,
        disk: &SimulatedDisk,
        faults: Faults,
    ) -> Result<Self, StoreError> {
        Self::with(shards, &limits(), disk, faults)
    }

    fn with(
        shards: usize,
        limits: &Limits,
        disk: &SimulatedDisk,
        faults: Faults,
    ) -> Result<Self, StoreError> {
        let engine = life::start(disk, faults)?;
        let recovered = engine.recovered()?;
        let now = BEGINNING;
        let wall_ms = now.wall_ms.max(recovered.wall_ms);
        let given = Given {
            sessions: recovered.sessions.into_iter().map(|one| one.into_stored(wall_ms)).collect(),
            retained: recovered.retained,
            next_retained: recovered.next_retained,
            next_key: recovered.next_key,
        };
        let mut shards = Shards::beginning_with(shards, limits, given, now);
        shards.keep_whole_transcript();
        Ok(Self { shards, engine, assembly: Assembly::default(), faults, loads: 0 })
    }

    pub(super) fn loads(&self) -> usize {
        self.loads
    }

    pub(super) fn abandon(self) -> String {
        self.shards.abandon()
    }

    /// It ends properly: what was handed in is stored.
    pub(super) fn stop(mut self) -> (Result<(), StoreError>, String) {
        let ready = self.take(&mut Dice::new(0), 100);
        let written = self.engine.write(&ready.units).and_then(|()| self.engine.close());
        (written, self.shards.abandon())
    }

    /// Takes what shards have asked: of each all, or only the first of it.
    fn take(&mut self, dice: &mut Dice, percent: usize) -> Ready {
        self.take_of(0..self.shards.count(), dice, percent)
    }

    /// The same of some shards.
    fn take_of(&mut self, numbers: Range<usize>, dice: &mut Dice, percent: usize) -> Ready {
        let (mut persists, mut loads) = (Vec::new(), Vec::new());
        for number in numbers {
            let shard = ShardId(number as u16);
            while dice.chance(percent) {
                match self.shards.take_asked(number) {
                    Some(Action::Persist { ticket, mut records, stage }) => {
                        let together = take_together(&mut records);
                        let bytes = records.len();
                        persists.push(Persist { shard, ticket, records, stage, bytes, together });
                    }
                    Some(Action::Load { session, key, after, bytes_max }) => {
                        loads.push(Load { shard, session, key, after, bytes_max });
                    }
                    _ => break,
                }
            }
        }
        self.assembly.assemble(persists, loads)
    }

    /// A group commit, with what was asked to be read, in the order of the writer.
    pub(super) fn commit(&mut self, dice: &mut Dice) -> Result<(), Cut> {
        let percent = dice.pick(&[50, 90, 100]);
        self.commit_some(dice, percent).map_err(Cut::Failed)
    }

    /// Commits what one shard asks, until it asks nothing more, and nothing of what others ask.
    pub(super) fn commit_of(&mut self, shard: usize) -> Result<(), StoreError> {
        while self.shards.has_asked_of(shard) {
            let ready = self.take_of(shard..shard + 1, &mut Dice::new(0), 100);
            self.carry_out(ready)?;
        }
        Ok(())
    }

    /// Commits the first thing that one shard asks.
    pub(super) fn commit_first_of(&mut self, shard: usize) -> Result<(), StoreError> {
        let ready = self.take_of(shard..shard + 1, &mut Dice::new(0), 100);
        self.carry_out(ready)
    }

    /// The log gives up all segments but the last.
    pub(super) fn compact(&mut self) -> Result<(), StoreError> {
        self.engine.compact()
    }

    /// Commits until nothing is asked any more.
    pub(super) fn commit_all(&mut self, dice: &mut Dice) -> Result<(), StoreError> {
        while self.shards.has_asked() {
            self.commit_some(dice, 100)?;
        }
        Ok(())
    }

    fn commit_some(&mut self, dice: &mut Dice, percent: usize) -> Result<(), StoreError> {
        if dice.chance(10) {
            self.engine.tidy()?;
        }
        if dice.chance(40) {
            self.engine.work_ahead()?;
        }
        let ready = self.take(dice, percent);
        self.carry_out(ready)
    }

    fn carry_out(&mut self, ready: Ready) -> Result<(), StoreError> {
        let Ready { units, landing, loads } = ready;
        let early = self.faults.planted(Fault::AcknowledgedBeforeFlush);
        if early {
            self.engine.flush()?;
        }
        self.engine.write(&units)?;
        self.engine.forget_cleared(self.shards.all_stored_before());
        let mut loaded = Vec::new();
        for Load { shard, session, key, after, bytes_max } in loads {
            self.loads += 1;
            let messages = self.engine.loading(key, after, bytes_max).read()?;
            loaded.push((shard, Event::Loaded { session, messages }));
        }
        if !early {
            self.engine.flush()?;
        }
        for (shard, ticket) in landing.tickets {
            self.shards.answer(usize::from(shard.0), Event::Persisted(ticket));
        }
        for (shard, event) in loaded {
            self.shards.answer(usize::from(shard.0), event);
        }
        Ok(())
    }
}
