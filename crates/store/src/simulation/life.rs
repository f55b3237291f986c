//! Lives of a log, one after another on the same disk: it is opened, works, and ends in some way.
//!
//! After each end, what is read back has to be all that was acknowledged, and of what came after
//! that the beginning, record by record, to some point.

use super::model::Model;
use super::story::Story;
use crate::engine::{Engine, open};
use crate::error::StoreError;
use crate::faults::Faults;
use crate::options::Options;
use crate::supply::AtHand;
use crate::testing::{SimulatedDisk, SimulatedFile};
use noctule_broker::{Record, Sequence, SessionKey};
use std::collections::HashSet;
use std::sync::Arc;

pub(super) const SEGMENT_BYTES: u32 = 16 << 10;

/// What a run has seen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lived {
    pub(super) records: u64,
    pub(super) segments: u64,
    pub(super) cuts: u64,
    pub(super) kills: u64,
    pub(super) failed_flushes: u64,
    pub(super) moved: u64,
    pub(super) cut_at_open: u64,
    /// Lives that began with something of the unacknowledged.
    pub(super) partly: u64,
}

impl Lived {
    pub(super) fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.segments += other.segments;
        self.cuts += other.cuts;
        self.kills += other.kills;
        self.failed_flushes += other.failed_flushes;
        self.moved += other.moved;
        self.cut_at_open += other.cut_at_open;
        self.partly += other.partly;
    }
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    PowerCut,
    Kill,
}

/// A disk and what must be on it.
struct Lives {
    disk: SimulatedDisk,
    faults: Faults,
    story: Story,
    /// What was acknowledged.
    kept: Model,
    /// What was written since, in groups.
    since: Vec<Vec<Vec<Record>>>,
    /// The process was killed and the power was not cut since: nothing at all may be missing.
    killed: bool,
    lived: Lived,
}

/// Lives several lives and returns what is wrong.
pub(super) fn live(seed: u64, faults: Faults) -> Result<Lived, String> {
    let mut lives = Lives {
        disk: SimulatedDisk::new(seed),
        faults,
        story: Story::new(seed),
        kept: Model::default(),
        since: Vec::new(),
        killed: false,
        lived: Lived::default(),
    };
    while lives.story.told < 600 || lives.lived.cuts == 0 {
        lives.one_life()?;
    }
    lives.crash();
    lives.reopen()?;
    lives.lived.records = lives.story.told;
    Ok(lives.lived)
}

pub(super) fn start(
    disk: &SimulatedDisk,
    faults: Faults,
) -> Result<Engine<SimulatedFile>, StoreError> {
    let options =
        Options { segment_bytes: SEGMENT_BYTES, faults, clock: || 1_000, ..Options::default() };
    let (opened, supply) = open(Arc::new(disk.clone()), options)?;
    opened.start(Box::new(AtHand::new(supply)))
}

impl Lives {
    fn one_life(&mut self) -> Result<(), String> {
        let end = if self.story.dice.chance(70) { End::PowerCut } else { End::Kill };
        if end == End::PowerCut && self.story.dice.chance(15) {
            // Right in the opening.
            self.disk.cut_power_after(self.story.dice.below(12) as u64);
            match start(&self.disk, self.faults) {
                Err(error) if !self.disk.is_off() => return Err(format!("opening: {error}")),
                Err(_) => {
                    self.lived.cut_at_open += 1;
                    self.lived.cuts += 1;
                    self.crash();
                    return Ok(());
                }
                // It was not as long as that.
                Ok(_) => self.disk.kill(),
            }
        }
        let mut engine = self.reopen()?;
        let lazy = self.story.dice.chance(30);
        let groups = 10 + self.story.dice.below(120);
        if end == End::PowerCut {
            self.disk.cut_power_after(self.story.dice.below(5 * groups) as u64);
        }
        for _ in 0..groups {
            match self.step(&mut engine, lazy) {
                Ok(()) => {}
                Err(_) if self.disk.is_off() => {
                    self.count(&engine);
                    self.lived.cuts += 1;
                    self.crash();
                    return Ok(());
                }
                Err(wrong) => return Err(wrong),
            }
        }
        self.count(&engine);
        if end == End::PowerCut {
            self.lived.cuts += 1;
            self.crash();
        } else {
            self.kill();
            self.killed = true;
        }
        Ok(())
    }

    fn crash(&mut self) {
        self.killed = false;
        self.disk.crash();
    }

    fn kill(&mut self) {
        self.lived.kills += 1;
        self.disk.kill();
    }

    fn count(&mut self, engine: &Engine<SimulatedFile>) {
        let figures = engine.figures();
        self.lived.segments += figures.segments_begun;
        self.lived.moved += figures.moved;
    }

    /// Opens the log and compares what it says with what it has to.
    fn reopen(&mut self) -> Result<Engine<SimulatedFile>, String> {
        let engine = start(&self.disk, self.faults).map_err(|error| format!("opening: {error}"))?;
        let found = Model::of(&engine).map_err(|error| format!("reading: {error}"))?;
        let Some((survived, groups)) = self.matching(&found) else {
            return Err(format!(
                "what was read is none of what it may be; read / acknowledged, before {} groups:\n{}",
                self.since.len(),
                found.differences(&self.kept.clone().seen())
            ));
        };
        if std::mem::take(&mut self.killed)
            && survived.clone().seen() != self.story.now.clone().seen()
        {
            return Err("a kill has lost something that was written".into());
        }
        self.lived.partly += u64::from(groups > 0);
        // From now on it is what has been acknowledged: nothing of it may go.
        self.kept = survived.clone();
        self.since.clear();
        self.story.goes_on_from(survived);
        Ok(engine)
    }

    /// The state among those that it may be, which is the one that was found.
    fn matching(&self, found: &Model) -> Option<(Model, usize)> {
        let mut state = self.kept.clone();
        if state.clone().seen() == *found {
            return Some((state, 0));
        }
        for (number, group) in self.since.iter().enumerate() {
            let settled = settled(group);
            for record in group.iter().flatten() {
                let skip = match record {
                    Record::Owed { key, owed, .. } => {
                        owed.replay().is_none() && settled.contains(&(*key, owed.sequence))
                    }
                    _ => false,
                };
                if skip {
                    continue;
                }
                state.apply(record);
                if state.clone().seen() == *found {
                    return Some((state, number + 1));
                }
            }
        }
        None
    }

    fn acknowledged(&mut self) {
        for record in self.since.drain(..).flatten().flatten() {
            self.kept.apply(&record);
        }
    }

    fn step(&mut self, engine: &mut Engine<SimulatedFile>, lazy: bool) -> Result<(), String> {
        if self.story.dice.chance(40) {
            self.say(engine.work_ahead())?;
        }
        engine.forget_cleared(self.story.all_retained_before());
        match self.story.dice.below(100) {
            0..=3 => return self.say(engine.tidy().map(|_| ())).map(|()| self.acknowledged()),
            4 if self.story.dice.chance(10) => {
                return self.say(engine.compact()).map(|()| self.acknowledged());
            }
            5..=7 => return self.look(engine),
            8 => return self.fail(engine),
            9..=15 => return self.commit_on_a_full_disk(engine),
            _ => {}
        }
        let turns = 1 + self.story.dice.below(4);
        let group: Vec<_> = (0..turns).map(|_| self.story.turn()).collect();
        self.since.push(group);
        let Some(group) = self.since.last() else { return Ok(()) };
        if lazy {
            let written = engine.write(group);
            self.say(written)?;
            if self.story.dice.chance(25) {
                self.say(engine.flush())?;
                self.acknowledged();
            }
            return Ok(());
        }
        let committed = engine.commit(group);
        self.say(committed)?;
        self.acknowledged();
        Ok(())
    }

    /// The disk is full, and a segment is prepared: what is written now has its place.
    fn commit_on_a_full_disk(&mut self, engine: &mut Engine<SimulatedFile>) -> Result<(), String> {
        self.say(engine.work_ahead())?;
        self.disk.fill();
        let group = vec![self.story.turn()];
        let committed = engine.commit(&group);
        self.since.push(group);
        match committed {
            // It was too much for the place there was; but what was begun must not end so.
            Err(StoreError::Io { doing: "make room for", .. }) if !self.disk.is_off() => {
                self.kill();
                *engine = self.reopen()?;
            }
            committed => {
                self.say(committed)?;
                self.acknowledged();
                self.disk.make_room();
            }
        }
        Ok(())
    }

    /// A flush fails: nothing is promised any more, and the process ends.
    fn fail(&mut self, engine: &mut Engine<SimulatedFile>) -> Result<(), String> {
        self.say(engine.flush())?;
        self.acknowledged();
        let group = vec![self.story.turn()];
        if group[0].is_empty() {
            return Ok(());
        }
        self.disk.fail_next_flush();
        let committed = engine.commit(&group);
        self.since.push(group);
        if committed.is_ok() {
            if self.disk.is_off() {
                return Err("the power is off".into());
            }
            // Nothing had to be written.
            self.disk.mend();
            self.acknowledged();
            return Ok(());
        }
        if engine.commit(&[]).is_ok() {
            return Err("goes on after a failed flush".into());
        }
        self.lived.failed_flushes += 1;
        if self.disk.is_off() {
            return Err("the power is off".into());
        }
        if self.story.dice.chance(50) {
            self.crash();
            self.lived.cuts += 1;
        } else {
            self.kill();
        }
        *engine = self.reopen()?;
        Ok(())
    }

    /// What can be read while it works is what was written.
    fn look(&mut self, engine: &Engine<SimulatedFile>) -> Result<(), String> {
        let found = Model::of(engine);
        let found = found.map_err(|error| format!("reading at work: {error}"))?;
        if found == self.story.now.clone().seen() {
            return Ok(());
        }
        let differences = found.differences(&self.story.now.clone().seen());
        Err(format!("what is read at work is not what was written; read / written:\n{differences}"))
    }

    fn say(&self, result: Result<(), StoreError>) -> Result<(), String> {
        result.map_err(|error| format!("at work: {error}"))
    }
}

/// What is owed and delivered in one group need not be written at all.
fn settled(group: &[Vec<Record>]) -> HashSet<(SessionKey, Sequence)> {
    let delivered = group.iter().flatten().filter_map(|record| match record {
        Record::Delivered { key, sequence } => Some((*key, *sequence)),
        _ => None,
    });
    delivered.collect()
}
