//! Replacing a file whole, for its owner's eyes only.
//!
//! The new file gets its mode when it is made, under another name, and the old one's name when its
//! bytes are on the disk. It keeps its owner: root may change the password file of a broker that is
//! not root, who must be able to read it afterwards.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// Writes `content` to a new file at `path`.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`], or what the operating system says.
pub(crate) fn create(path: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

/// Replaces the content of the file at `path`, or makes it.
pub(crate) fn replace(path: &Path, content: &str) -> io::Result<()> {
    // Of a link, what it points to is replaced.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    // Left over from a process that was killed and had the same number.
    let _ = fs::remove_file(&temporary);
    let result = create(&temporary, content)
        .and_then(|()| keep_owner(&path, &temporary))
        .and_then(|()| fs::rename(&temporary, &path));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result.inspect(|()| {
        let _ = File::open(directory_of(&path)).and_then(|directory| directory.sync_all());
    })
}

/// Keeps others who change the file by this module waiting, until dropped.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    // The directory, since the file itself is replaced.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let directory = File::open(directory_of(&path))?;
    directory.lock()?;
    Ok(directory)
}

fn keep_owner(old: &Path, new: &Path) -> io::Result<()> {
    let Ok(wanted) = old.metadata() else {
        return Ok(());
    };
    let file = File::open(new)?;
    let given = file.metadata()?;
    if (wanted.uid(), wanted.gid()) == (given.uid(), given.gid()) {
        return Ok(());
    }
    fchown(&file, Some(wanted.uid()), Some(wanted.gid()))
}

fn directory_of(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

const MODE: u32 = 0o600;
