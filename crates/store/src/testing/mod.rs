//! For tests, of this crate and of others: a disk that does everything a real one may do.

mod inode;
mod simulated_disk;

pub use simulated_disk::{SimulatedDisk, SimulatedFile};
