//! What can be told about a file without reading it, by which a changed one is noticed.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

/// Which file it is, its length and its last change; none if it is not there.
pub(crate) type Stamp = Option<(u64, u64, SystemTime)>;

/// The stamp of a file, or of what a link points to.
pub(crate) fn stamp(path: &Path) -> Stamp {
    let metadata = path.metadata().ok()?;
    Some((metadata.ino(), metadata.len(), metadata.modified().ok()?))
}
