//! Records of what was deferred and has to be stored after all.

use super::Delivery;
use crate::deferred::{Entry, SLOW_MS};
use crate::persist::Record;

impl Delivery {
    /// `records` behind those of what had been deferred. If that is `overdue`, nothing is deferred for
    /// the same sessions for a while.
    pub(crate) fn with_deferred(
        &mut self,
        deferred: &[Entry],
        overdue: bool,
        mut records: Vec<Record>,
    ) -> Vec<Record> {
        if deferred.is_empty() {
            return records;
        }
        let mut all = Vec::with_capacity(deferred.len() + records.len());
        for Entry { session, key, sequence } in deferred {
            // A session that has ended is owed nothing; of what it has lost otherwise is said there.
            let Some(session) = self.sessions.get_mut(*session) else { continue };
            if overdue {
                session.is_slow_until(self.now.mono_ms + SLOW_MS);
            }
            let in_flight = session.outbound.message(sequence.packet_id());
            if let Some(owed) = in_flight.filter(|owed| owed.sequence == *sequence) {
                all.push(Record::Owed { key: *key, owed: owed.clone(), spilled: false });
            }
        }
        all.append(&mut records);
        all
    }
}
