//! Files written whole or not at all; secret ones for their owner's eyes only.
//!
//! A file gets its mode when it is made, under another name, and its own name when its bytes are on
//! the disk: nobody sees half a key, and no moment exists in which others may read it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::{Fault, FileError};

/// A file to be written.
#[derive(Debug)]
pub struct NewFile<'a> {
    /// Where.
    pub path: PathBuf,
    /// Its bytes.
    pub content: &'a str,
    /// Only the owner may read it (mode 0600); else everybody may (0644, less the umask).
    pub secret: bool,
}

/// Makes a directory, with those above it, that only its owner may enter (mode 0700). One that is
/// there is left as it is.
///
/// # Errors
/// [`FileError`] if it cannot be made.
pub fn make_private_directory(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(FileError::writing(path))
}

/// Writes all files. Without `force` nothing is written if one of them is there already.
///
/// Each file appears at once and whole; several files do not appear at once. A key should come before
/// its certificate, so that a certificate is never without its key.
///
/// # Errors
/// [`FileError`]: one exists, or cannot be written.
pub fn save(files: &[NewFile<'_>], force: bool) -> Result<(), FileError> {
    for file in files {
        // A dangling link is something there, too.
        if !force && file.path.symlink_metadata().is_ok() {
            return Err(FileError::new(&file.path, Fault::Exists));
        }
    }
    files.iter().try_for_each(|file| save_one(file, force))
}

fn save_one(file: &NewFile<'_>, force: bool) -> Result<(), FileError> {
    let failed = FileError::writing(&file.path);
    let temporary = temporary_name(&file.path);
    let result = write_whole(&temporary, file).and_then(|()| {
        if force { fs::rename(&temporary, &file.path) } else { name_anew(&temporary, &file.path) }
    });
    if let Err(error) = result {
        // Under its own name there is nothing yet; the error to tell is the first one.
        let _ = fs::remove_file(&temporary);
        return Err(if error.kind() == io::ErrorKind::AlreadyExists {
            FileError::new(&file.path, Fault::Exists)
        } else {
            failed(error)
        });
    }
    sync_directory(&file.path);
    Ok(())
}

/// In the same directory, so that renaming is possible, and of this process.
fn temporary_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.new", std::process::id()))
}

fn write_whole(temporary: &Path, file: &NewFile<'_>) -> io::Result<()> {
    // Left over from a process that was killed and had the same number.
    let _ = fs::remove_file(temporary);
    let mode = if file.secret { 0o600 } else { 0o644 };
    let mut out = OpenOptions::new().write(true).create_new(true).mode(mode).open(temporary)?;
    out.write_all(file.content.as_bytes())?;
    out.sync_all()
}

/// Gives a file its name, unless somebody has taken it in between.
fn name_anew(temporary: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(temporary, path) {
        Ok(()) => fs::remove_file(temporary),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // A file system without links; that the name is free was seen a moment ago.
        Err(_) => fs::rename(temporary, path),
    }
}

/// So that the name survives a power cut. The file is there in any case.
fn sync_directory(path: &Path) {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let _ = File::open(parent.unwrap_or(Path::new("."))).and_then(|directory| directory.sync_all());
}
