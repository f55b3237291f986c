//! What can be told about a file without reading it: whether it has changed, and who may read it.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;

/// Which file it is, its length and its last change; none if it is not there.
pub(crate) type Stamp = Option<(u64, u64, SystemTime)>;

/// The stamp of a file, or of what a link points to.
pub(crate) fn stamp(path: &Path) -> Stamp {
    let metadata = path.metadata().ok()?;
    Some((metadata.ino(), metadata.len(), metadata.modified().ok()?))
}

/// What to say about a secret file that everybody on this machine may read.
pub(crate) fn exposure(path: &Path) -> Option<String> {
    let mode = path.metadata().ok()?.permissions().mode() & 0o777;
    let is_exposed = mode & 0o004 != 0;
    is_exposed.then(|| {
        let path = path.display();
        format!("{path}: everybody on this machine may read it (mode {mode:03o}): chmod o-r {path}")
    })
}
