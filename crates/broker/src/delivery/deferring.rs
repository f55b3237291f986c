//! Records of what was deferred and has to be stored after all.

use super::Delivery;
use crate::deferred::Entry;
use crate::persist::Record;

impl Delivery {
    /// `records` behind those of what had been deferred.
    pub(crate) fn with_deferred(
        &self,
        deferred: &[Entry],
        mut records: Vec<Record>,
    ) -> Vec<Record> {
        if deferred.is_empty() {
            return records;
        }
        let mut all = Vec::with_capacity(deferred.len() + records.len());
        for Entry { session, key, sequence } in deferred {
            // A session that has ended is owed nothing; of what it has lost otherwise is said there.
            let Some(session) = self.sessions.get(*session) else { continue };
            if let Some(owed) = session.at_hand(*sequence) {
                all.push(Record::Owed { key: *key, owed: owed.clone(), spilled: false });
            }
        }
        all.append(&mut records);
        all
    }
}
