//! What the store asks of a disk: one flat directory of files that are read and written at offsets.
//!
//! Nothing of the log's own rules lives here. The words mean what POSIX says and no more: until
//! [`DiskFile::sync_data`] has returned, what was written may be lost, in part and in any order; until
//! [`Disk::sync_directory`] has, a new, renamed or removed file may have its old name. The simulated
//! disk takes them at their word.

mod blocks;
mod directory;

pub(crate) use blocks::Blocks;
pub use directory::{Directory, RealFile};

use std::io;

/// Files are kept in memory and written to the disk in pages of this size, or of several of them.
pub(crate) const PAGE_BYTES: usize = 4_096;
const ZERO_PAGE: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// A directory that belongs to one store.
pub trait Disk: Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;

    /// What to call it in messages.
    fn name(&self) -> String;

    /// Keeps other processes away until this value is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another has it.
    fn lock(&self) -> io::Result<()>;

    /// The names of all files, in no particular order.
    ///
    /// # Errors
    /// What the operating system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a new, empty file that only its owner may read.
    ///
    /// # Errors
    /// What the operating system says; also if there is one of that name.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file for reading, and for writing unless the disk was opened to be read only.
    ///
    /// # Errors
    /// What the operating system says.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file a second time, to write to it what is flushed at once. Only whole pages can be written,
    /// from memory that begins at a multiple of a page, and nothing can be read; what has been written can be
    /// read through the file that [`open`](Self::open) gives.
    ///
    /// # Errors
    /// What the operating system says.
    fn open_for_commits(&self, name: &str) -> io::Result<Self::File>;

    /// Gives a file another name.
    ///
    /// # Errors
    /// What the operating system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Who has it open can go on reading it.
    ///
    /// # Errors
    /// What the operating system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Waits until the names of files are on stable storage.
    ///
    /// # Errors
    /// What the operating system says.
    fn sync_directory(&self) -> io::Result<()>;

    /// How many bytes more can be written.
    ///
    /// # Errors
    /// What the operating system says.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// An open file.
#[expect(clippy::len_without_is_empty, reason = "a segment is never empty, and nobody asks")]
pub trait DiskFile: Send + Sync + 'static {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// What the operating system says; a part may have been written then.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Fills `into` from `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the file is shorter, or what the operating system says.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;

    /// Waits until what was written is on stable storage.
    ///
    /// # Errors
    /// What the operating system says. What was written before may be lost then, whatever a second
    /// call returns.
    fn sync_data(&self) -> io::Result<()>;

    /// Fills a new file with zeros from `begin` to `end`, both whole pages, so that later nothing but its
    /// contents changes.
    ///
    /// # Errors
    /// What the operating system says.
    fn fill(&self, begin: u64, end: u64) -> io::Result<()> {
        (begin..end).step_by(PAGE_BYTES).try_for_each(|at| self.write_at(&ZERO_PAGE, at))
    }

    /// What it holds is of no use any more, and all of it will be written again.
    fn begin_anew(&self) {}

    /// Its length in bytes.
    ///
    /// # Errors
    /// What the operating system says.
    fn len(&self) -> io::Result<u64>;
}
