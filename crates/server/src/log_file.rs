//! The file that the log goes to, if it goes to one: appended, and opened again when that is asked
//! for, so that whoever rotates logs can put it aside.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where log lines go.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    reopen: Reopen,
}

/// Asks for the file to be opened again before the next line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reopen(Arc<AtomicBool>);

impl Reopen {
    pub(crate) fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl LogFile {
    /// Opens the file, or makes it, readable by its owner and group.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) fn open(path: &Path, reopen: &Reopen) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: open(path)?, reopen: reopen.clone() })
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.reopen.0.swap(false, Ordering::Relaxed) {
            match open(&self.path) {
                Ok(file) => self.file = file,
                // The old one is better than none.
                Err(error) => {
                    let path = self.path.display();
                    writeln!(self.file, "the log goes on here: {path} cannot be opened: {error}")?;
                }
            }
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_put_aside_is_begun_anew_when_that_is_asked_for() {
        let name = format!("noctule-log-file-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let aside = path.with_extension("1");
        let reopen = Reopen::default();
        let mut log = LogFile::open(&path, &reopen).unwrap();
        log.write_all(b"one\n").unwrap();
        std::fs::rename(&path, &aside).unwrap();
        log.write_all(b"two\n").unwrap();
        reopen.ask();
        log.write_all(b"three\n").unwrap();
        drop(log);
        LogFile::open(&path, &reopen).unwrap().write_all(b"four\n").unwrap();
        let read = |path| std::fs::read_to_string(path).unwrap();
        assert_eq!((read(&aside), read(&path)), ("one\ntwo\n".into(), "three\nfour\n".into()));
        for path in [path, aside] {
            std::fs::remove_file(path).unwrap();
        }
    }
}
