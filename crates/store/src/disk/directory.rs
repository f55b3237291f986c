//! A directory of the real file system.

use super::{Disk, DiskFile, PAGE_BYTES};
use rustix::fs::{Advice, AtFlags, FallocateFlags, OFlags, StatxFlags};
use rustix::io::Errno;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

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
        options.open(self.path.join(name)).map(RealFile::new)
    }

    fn open(&self, name: &str) -> io::Result<RealFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(!self.read_only);
        options.open(self.path.join(name)).map(RealFile::new)
    }

    fn open_for_commits(&self, name: &str) -> io::Result<RealFile> {
        let file = OpenOptions::new().write(true).open(self.path.join(name)).map(RealFile::new)?;
        file.set_direct(true)?;
        Ok(file)
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
/// What is flushed at once need not pass through the memory of the operating system: writing past it
/// (*directly*) takes about half as much processor time. Where the file system cannot do that, it is
/// written through memory as everything else, and nobody need know.
///
/// Some kernels (Linux from 6.16 on, with ext4) keep what is written at once in memory as one unit, and
/// write a unit whole whenever a byte of it has changed. What is written next begins in the page in which
/// this ends. So through memory that page is always written by itself; and of a file that is used again,
/// nothing is left in memory.
#[derive(Debug)]
pub struct RealFile {
    file: File,
    is_direct: AtomicBool,
}

/// Zeros as direct output needs them.
#[repr(align(4096))]
struct Zeros([u8; 1 << 20]);

static ZEROS: Zeros = Zeros([0; 1 << 20]);

impl RealFile {
    fn new(file: File) -> Self {
        Self { file, is_direct: AtomicBool::new(false) }
    }

    /// How many names it has.
    ///
    /// Nothing else is asked for. Some kernels (Linux from 6.13 on) note that somebody has seen when a file was
    /// changed, so that the next write has a new time to put down, and a file system without a journal
    /// then writes that with the next flush: a third more for every commit.
    fn names(&self) -> io::Result<u64> {
        match rustix::fs::statx(&self.file, "", AtFlags::EMPTY_PATH, StatxFlags::NLINK) {
            Ok(found) => Ok(found.stx_nlink.into()),
            // It is older than the call, or may not be used.
            Err(_) => self.file.metadata().map(|found| found.nlink()),
        }
    }

    /// Has everything written directly, or not any more. False if the file system cannot do that.
    fn set_direct(&self, is_direct: bool) -> io::Result<bool> {
        let mut flags = rustix::fs::fcntl_getfl(&self.file)?;
        flags.set(OFlags::DIRECT, is_direct);
        let is_set = rustix::fs::fcntl_setfl(&self.file, flags).is_ok();
        self.is_direct.store(is_direct && is_set, Ordering::Relaxed);
        Ok(is_set)
    }

    /// Writes directly. Returns how much was taken, which is not all if the file system needs larger units, or has
    /// no way to do it.
    fn write_directly(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut taken = 0;
        while taken < bytes.len() {
            match self.file.write_at(&bytes[taken..], offset + taken as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => taken += written,
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    fn write_through_memory(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        let last_page = (end.saturating_sub(1) / PAGE_BYTES as u64) * PAGE_BYTES as u64;
        let before = usize::try_from(last_page.saturating_sub(offset)).unwrap_or(0);
        let (front, last) = bytes.split_at(before.min(bytes.len()));
        if !front.is_empty() {
            self.file.write_all_at(front, offset)?;
        }
        self.file.write_all_at(last, offset + front.len() as u64)
    }

    /// Writes zeros directly, which costs a tenth. Returns up to where.
    fn fill_directly(&self, begin: u64, end: u64) -> io::Result<u64> {
        let mut at = begin;
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX).min(ZEROS.0.len());
            let taken = self.write_directly(&ZEROS.0[..left], at)?;
            at += taken as u64;
            if taken < left {
                break;
            }
        }
        Ok(at)
    }
}

impl DiskFile for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut taken = 0;
        if self.is_direct.load(Ordering::Relaxed) {
            taken = self.write_directly(bytes, offset)?;
            if taken == bytes.len() {
                return Ok(());
            }
            self.set_direct(false)?;
        }
        self.write_through_memory(&bytes[taken..], offset + taken as u64)
    }

    fn fill(&self, begin: u64, end: u64) -> io::Result<()> {
        // In one piece, if the file system can do that. It has to say so if there is no room.
        let allocated =
            rustix::fs::fallocate(&self.file, FallocateFlags::empty(), begin, end - begin);
        if let Err(error @ (Errno::NOSPC | Errno::DQUOT)) = allocated {
            return Err(error.into());
        }
        let mut at = begin;
        if self.set_direct(true)? {
            let filled = self.fill_directly(begin, end);
            self.set_direct(false)?;
            at = filled?;
        }
        let page = &ZEROS.0[..PAGE_BYTES];
        (at..end).step_by(PAGE_BYTES).try_for_each(|at| self.file.write_all_at(page, at))
    }

    fn begin_anew(&self) {
        // It is only advice: if it is not taken, small commits write more than they have to.
        let _ = rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed);
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }

    /// A file that was removed can be flushed as well, and nobody would ever find it.
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()?;
        if self.names()? == 0 {
            let words = "it was removed while it was in use, and what it held is gone with it";
            return Err(io::Error::other(words));
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
