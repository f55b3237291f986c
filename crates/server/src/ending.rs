//! How the process ends in time without losing what it has taken.
//!
//! Clients are told and the loops end; then the store is closed, which flushes what was handed in. If
//! the loops do not end in time the store is closed all the same, and the process ends without them:
//! what they go on taking is not stored any more, and so is never acknowledged. The disk takes the
//! time that it takes; who does not want to wait for it asks a second time.

use noctule_store::{Store, StoreError};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The store until it is closed, by whoever comes first.
#[derive(Debug)]
pub(crate) struct Keeper(Mutex<Option<Store>>);

impl Keeper {
    /// Keeps the store, if there is one.
    pub(crate) fn of(store: Option<Store>) -> Self {
        Self(Mutex::new(store))
    }

    /// Flushes what was handed in, and ends the store; whoever comes meanwhile waits for it.
    ///
    /// # Errors
    /// What has stopped the store before, which it has said.
    pub(crate) fn close(&self) -> Result<(), StoreError> {
        let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        store.take().map_or(Ok(()), Store::close)
    }
}

/// Waits until the loops have ended, which drops the other side of `ended`. If that takes longer than
/// `patience`, closes the store and leaves by `exit`, with the exit code.
pub(crate) fn end_in_time(
    ended: &Receiver<()>,
    patience: Duration,
    keeper: &Keeper,
    exit: impl FnOnce(i32),
) {
    if ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
        exit(i32::from(keeper.close().is_err()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_broker::{Principal, Record, SessionKey, ShardId, Stage, Ticket};
    use noctule_store::testing::SimulatedDisk;
    use noctule_store::{Answer, Durability, Options};
    use std::sync::mpsc::channel;

    fn session(key: u64) -> Record {
        let client_id = key.to_string().into();
        let key = SessionKey(key);
        Record::Session {
            key,
            client_id,
            principal: Principal::default(),
            expiry: None,
            will: None,
        }
    }

    fn opened(
        disk: &SimulatedDisk,
        durability: Durability,
    ) -> (Store, noctule_store::Recovered, Receiver<Answer>) {
        let (sender, answers) = channel();
        let options = Options {
            durability,
            segment_bytes: 64 << 10,
            free_bytes_min: 0,
            ..Options::default()
        };
        let answer = move |answer| drop(sender.send(answer));
        let (store, recovered) = Store::open_on(disk.clone(), options, answer).unwrap();
        (store, recovered, answers)
    }

    #[test]
    fn loops_that_do_not_end_in_time_do_not_keep_what_was_taken_off_the_disk() {
        for durability in [Durability::Always, Durability::Never] {
            let disk = SimulatedDisk::new(3);
            let (store, _, _answers) = opened(&disk, durability);
            let shard = store.for_shard(ShardId(0));
            for key in 1..=50 {
                shard.persist_until(Stage::Written, Ticket(key), vec![session(key)]);
            }
            let keeper = Keeper::of(Some(store));
            let (_busy, ended) = channel();
            let mut code = None;
            end_in_time(&ended, Duration::ZERO, &keeper, |with| {
                // The machine fails as soon as the process has ended.
                disk.crash();
                code = Some(with);
            });
            assert_eq!(code, Some(0));
            // The loop is still at it. Nobody promises anything for that.
            shard.persist(Ticket(51), vec![session(51)]);
            let (_, recovered, _) = opened(&disk, durability);
            assert_eq!(recovered.sessions.len(), 50, "{durability:?}");
        }
    }

    #[test]
    fn loops_that_end_in_time_are_left_alone() {
        let (busy, ended) = channel::<()>();
        drop(busy);
        end_in_time(&ended, Duration::from_secs(60), &Keeper::of(None), |_| panic!("not in time"));
    }

    #[test]
    fn a_disk_that_fails_at_the_end_is_no_good_end() {
        let disk = SimulatedDisk::new(3);
        let (store, _, answers) = opened(&disk, Durability::Never);
        store.for_shard(ShardId(0)).persist(Ticket(1), vec![session(1)]);
        while !matches!(answers.recv().unwrap(), Answer::Event { .. }) {}
        disk.cut_power_after(0);
        let (_busy, ended) = channel();
        let mut code = None;
        end_in_time(&ended, Duration::ZERO, &Keeper::of(Some(store)), |with| code = Some(with));
        assert_eq!(code, Some(1));
        assert!(answers.try_iter().any(|answer| matches!(answer, Answer::Failed(_))), "it is said");
    }
}
