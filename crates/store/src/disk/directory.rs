//! A directory of the real file system.

use super::{Disk, DiskFile, PAGE_BYTES};
use rustix::fs::{Advice, FallocateFlags, OFlags};
use rustix::io::Errno;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The file whose lock stands for the directory.
const LOCK: &str = "lock";

/// A directory of the real file system.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    read_only: bool,
    /// The open directory, to be synchronized.
    handle: File,
    lock: Mutex<Option<File>>,
}

impl Directory {
    /// Opens a directory, which is made if it does not exist, with all above it; only its owner may
    /// enter.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let handle = File::open(path)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // Its name has to last, too. One that cannot be opened is not ours to care for.
            if let Ok(parent) = File::open(parent) {
                parent.sync_all()?;
            }
        }
        Ok(Self { path: path.into(), read_only: false, handle, lock: Mutex::default() })
    }

    /// Opens a directory that exists and is not to be changed.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open_read_only(path: &Path) -> io::Result<Self> {
        let handle = File::open(path)?;
        Ok(Self { path: path.into(), read_only: true, handle, lock: Mutex::default() })
    }
}

impl Disk for Directory {
    type File = RealFile;

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn lock(&self) -> io::Result<()> {
        let file = match OpenOptions::new()
            .read(true)
            .write(!self.read_only)
            .create(!self.read_only)
            .truncate(false)
            .mode(0o600)
            .open(self.path.join(LOCK))
        {
            // A copy need not have one, and nobody works on what has none.
            Err(error) if self.read_only && error.kind() == io::ErrorKind::NotFound => {
                return Ok(());
            }
            opened => opened?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if let Ok(mut lock) = self.lock.lock() {
            *lock = Some(file);
        }
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            // Ours are ASCII; what is not is not ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<RealFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        options.open(self.path.join(name)).map(RealFile)
    }

    fn open(&self, name: &str) -> io::Result<RealFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(!self.read_only);
        options.open(self.path.join(name)).map(RealFile)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let found = rustix::fs::fstatvfs(&self.handle)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

/// A file of the real file system.
///
/// Some kernels (Linux from 6.16 on, with ext4) keep what is written at once in memory as one unit, and
/// write a unit whole whenever a byte of it has changed. What is written next begins in the page in which
/// this ends. So that page is always written by itself; and of a file that is used again, nothing
/// is left in memory.
#[derive(Debug)]
pub struct RealFile(File);

/// Zeros as direct input and output needs them.
#[repr(align(4096))]
struct Zeros([u8; 1 << 20]);

static ZEROS: Zeros = Zeros([0; 1 << 20]);

impl RealFile {
    /// Writes zeros past the memory of the operating system, which costs a tenth. False if the file
    /// system cannot do that.
    fn fill_directly(&self, begin: u64, end: u64) -> io::Result<bool> {
        let flags = rustix::fs::fcntl_getfl(&self.0)?;
        if rustix::fs::fcntl_setfl(&self.0, flags | OFlags::DIRECT).is_err() {
            return Ok(false);
        }
        let mut at = begin;
        let filled = loop {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX).min(ZEROS.0.len());
            if left == 0 {
                break Ok(true);
            }
            match self.0.write_at(&ZEROS.0[..left], at) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => at += written as u64,
                // It needs larger units, or has no way to do it.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => break Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        rustix::fs::fcntl_setfl(&self.0, flags)?;
        filled
    }
}

impl DiskFile for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        let last_page = (end.saturating_sub(1) / PAGE_BYTES as u64) * PAGE_BYTES as u64;
        let before = usize::try_from(last_page.saturating_sub(offset)).unwrap_or(0);
        let (front, last) = bytes.split_at(before.min(bytes.len()));
        if !front.is_empty() {
            self.0.write_all_at(front, offset)?;
        }
        self.0.write_all_at(last, offset + front.len() as u64)
    }

    fn fill(&self, begin: u64, end: u64) -> io::Result<()> {
        // In one piece, if the file system can do that. It has to say so if there is no room.
        let allocated = rustix::fs::fallocate(&self.0, FallocateFlags::empty(), begin, end - begin);
        if let Err(error @ (Errno::NOSPC | Errno::DQUOT)) = allocated {
            return Err(error.into());
        }
        if self.fill_directly(begin, end)? {
            return Ok(());
        }
        let page = &ZEROS.0[..PAGE_BYTES];
        (begin..end).step_by(PAGE_BYTES).try_for_each(|at| self.0.write_all_at(page, at))
    }

    fn begin_anew(&self) {
        // It is only advice: if it is not taken, small commits write more than they have to.
        let _ = rustix::fs::fadvise(&self.0, 0, None, Advice::DontNeed);
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(into, offset)
    }

    /// A file that was removed can be flushed as well, and nobody would ever find it.
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()?;
        if self.0.metadata()?.nlink() == 0 {
            let words = "it was removed while it was in use, and what it held is gone with it";
            return Err(io::Error::other(words));
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
