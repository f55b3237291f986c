//! A store that makes acknowledgements true: a log of records on disk, in segments.
//!
//! The broker says what has to survive in [records](noctule_broker::Record), with a ticket; the store
//! puts them on stable storage, many at a time, and says when a ticket is good. It gives back what
//! sessions have let go of, and after a restart everything that was promised.
//!
//! It knows the broker's words and none of its rules: who is owed what, and when something may be
//! said, is decided there.

mod assembly;
mod disk;
mod engine;
mod error;
mod faults;
mod format;
mod index;
mod inspection;
mod options;
mod recovery;
mod store;
mod supply;
mod supply_thread;
mod writer;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

#[cfg(test)]
mod simulation;

pub use disk::{Directory, Disk, DiskFile, RealFile};
pub use engine::Figures;
pub use error::StoreError;
pub use faults::{Fault, Faults};
pub use format::VERSION;
pub use inspection::{Inspection, SegmentFigures, compact};
/// Words of the broker that looking into a store needs.
pub use noctule_broker::{
    Message, Owed, PublishedBy, Sequence, SessionKey, StoredInFlight, StoredSubscription,
};
pub use options::{Durability, Options};
pub use recovery::{Recovered, RecoveredSession};
pub use store::{Answer, ShardStore, Store};
