//! What the store costs, on the disk of the directory for temporary files.

use super::{Measured, Suite};
use crate::LoadError;
use crate::checker::Faults;
use crate::durable::{self, Load, Plan, Subscriber};

pub(super) fn measure(suite: &Suite, publishers: u16, window: u16) -> Result<Measured, LoadError> {
    let plan = Plan {
        program: suite.noctule.clone(),
        options: Vec::new(),
        parent: std::env::temp_dir(),
        loads: vec![Load { publishers, window }],
        subscribers: Subscriber::ALL.to_vec(),
        payload_bytes: PAYLOAD_BYTES,
        duration: suite.duration,
        rounds: 1,
        queued: 0,
        sessions: 0,
    };
    let findings = durable::measure(&plan, |_| ())?;
    let mut faults = Faults::default();
    let mut figures = Vec::new();
    for series in &findings.series {
        for round in &series.rounds {
            faults += round.durable.faults;
            faults += round.memory.faults;
            let names = match series.subscriber {
                Subscriber::Absent => [
                    "absent_us",
                    "absent_more_us",
                    "absent_per_second",
                    "absent_floor",
                    "absent_per_commit",
                ],
                Subscriber::Present => ["us", "more_us", "per_second", "floor", "per_commit"],
            };
            let us = round.durable.broker_us();
            let more = us.zip(round.memory.broker_us()).map(|(durable, memory)| durable - memory);
            let values = [us, more, round.durable.rate(), round.floor.rate(), round.per_flush];
            let known = names.into_iter().zip(values);
            figures.extend(known.filter_map(|(name, value)| Some((name, value?))));
        }
    }
    Ok(Measured { figures, faults, ..Measured::default() })
}

const PAYLOAD_BYTES: usize = 256;
