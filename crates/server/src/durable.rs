//! The store of the process: opened before anybody is served, its answers passed on as letters, what
//! it has kept given to the shards.

use crate::mailboxes::{Letter, Mailboxes};
use crate::options::{Config, Durability};
use noctule_broker::{Now, ShardId, StoredSession, Unstored};
use noctule_store::{Answer, Options, Recovered, Store, StoreError};
use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// Of the disk so much is left free, in bytes.
const FREE_BYTES_MIN: u64 = 256 << 20;

/// The store in the data directory, and what it has kept. `mailboxes` get its answers.
///
/// # Errors
/// What the store says if it cannot be opened.
pub(crate) fn open(
    config: &Config,
    mailboxes: &Arc<Mailboxes>,
    unstored: &Arc<Unstored>,
) -> Result<(Store, Recovered), StoreError> {
    let directory = config.data_dir.join("store");
    make_directory(&config.data_dir).map_err(|error| StoreError::Io {
        doing: "make the data directory",
        file: config.data_dir.display().to_string(),
        error,
    })?;
    let options = Options {
        durability: match config.durability {
            Durability::Always => noctule_store::Durability::Always,
            Durability::Interval => noctule_store::Durability::Interval(config.durability_interval),
            Durability::Never => noctule_store::Durability::Never,
        },
        segment_bytes: u32::try_from(config.store_segment_bytes.0).unwrap_or(u32::MAX),
        in_flight_bytes_max: config
            .limits
            .store_bytes_max
            .get()
            .and_then(|size| usize::try_from(size.0).ok())
            .unwrap_or(usize::MAX),
        free_bytes_min: FREE_BYTES_MIN,
        flush_within: flush_within(config),
        says_written: has_lax_listener(config),
        unstored: Some(Arc::clone(unstored)),
        ..Options::default()
    };
    let mailboxes = Arc::clone(mailboxes);
    Store::open(&directory, options, move |answer| pass_on(answer, &mailboxes))
}

/// Whether some clients' acknowledgements leave before the flush that the others wait for.
fn has_lax_listener(config: &Config) -> bool {
    let listeners = config.all_listeners();
    config.durability == Durability::Always
        && listeners.iter().any(|listener| listener.config.durability != Durability::Always)
}

/// How long what nobody waits for may lie unflushed.
fn flush_within(config: &Config) -> Option<Duration> {
    let listeners = config.all_listeners();
    let says_interval = config.durability == Durability::Interval
        || listeners.iter().any(|listener| listener.config.durability == Durability::Interval);
    says_interval.then_some(config.durability_interval)
}

/// A directory that only its owner can look into; one that is there stays as it is.
fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(path)
}

fn pass_on(answer: Answer, mailboxes: &Mailboxes) {
    match answer {
        Answer::Event { shard, event } => {
            mailboxes.write_from_outside(usize::from(shard.0), Letter::Stored(event));
        }
        Answer::Space { enough, free_bytes } => {
            let free_mib = free_bytes >> 20;
            if enough {
                info!(free_mib, "there is space for new durable messages again");
            } else {
                warn!(free_mib, "the disk is nearly full: new durable messages are refused");
            }
            mailboxes.tell_all(|| Letter::StoreState);
        }
        Answer::CaughtUp => mailboxes.tell_all(|| Letter::StoreState),
        Answer::Failed(error) => {
            // Nothing that waits for a ticket may be said any more, so there is nothing to go on
            // with; and whatever is promised is on disk.
            let line = format!("noctule: {error}; stopped, as acknowledgements would not be true");
            // That nobody may be there to read it must not keep it from ending.
            let _ = writeln!(io::stderr(), "{line}");
            std::process::exit(1);
        }
    }
}

/// What the store has kept, by shard.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) sessions: Vec<StoredSession>,
    /// For the first shard alone: retained messages with their places, and the place of the next.
    pub(crate) retained: Option<(Vec<(u64, noctule_broker::Message)>, u64)>,
}

/// Divides what was kept among shards; `home` says where a client identifier lives.
pub(crate) fn divide(
    recovered: Recovered,
    shards: usize,
    now: Now,
    home: impl Fn(&str) -> ShardId,
) -> Vec<Kept> {
    let mut kept: Vec<Kept> = Vec::new();
    kept.resize_with(shards.max(1), Kept::default);
    // A clock that was set back must not make anything last longer.
    let wall_ms = now.wall_ms.max(recovered.wall_ms);
    for session in recovered.sessions {
        let at = usize::from(home(&session.client_id).0).min(kept.len() - 1);
        kept[at].sessions.push(session.into_stored(wall_ms));
    }
    kept[0].retained = Some((recovered.retained, recovered.next_retained));
    kept
}
