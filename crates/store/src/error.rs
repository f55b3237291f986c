//! What can go wrong with a store, and what to do about it.

use std::fmt;
use std::io;

/// Why a store cannot be opened, or has stopped.
#[derive(Debug)]
pub enum StoreError {
    /// The operating system refused something.
    Io {
        /// What was to be done, as "write to".
        doing: &'static str,
        /// With which file of the store, or the directory itself.
        file: String,
        /// What it said.
        error: io::Error,
    },
    /// Another process has the directory.
    Locked {
        /// The directory.
        directory: String,
    },
    /// A file was written in a format that this version does not know.
    UnknownFormat {
        /// Which file.
        file: String,
        /// Its format.
        version: u32,
    },
    /// What was written once is not there any more.
    Damaged {
        /// Which file.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What was found.
        found: &'static str,
    },
    /// What is to be stored together, or not at all, is more than one file can hold.
    TooLarge {
        /// About how many bytes it is.
        bytes: usize,
        /// How many it may be.
        most: usize,
    },
    /// An earlier failure has stopped the store: nothing that was not acknowledged may be.
    Stopped,
}

impl StoreError {
    pub(crate) fn io(
        doing: &'static str,
        file: impl Into<String>,
    ) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |error| Self::Io { doing, file, error }
    }

    pub(crate) fn damaged(file: impl Into<String>, offset: u64, found: &'static str) -> Self {
        Self::Damaged { file: file.into(), offset, found }
    }

    /// Whether the cause is that the disk is full.
    pub fn is_out_of_space(&self) -> bool {
        matches!(self, Self::Io { error, .. } if matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, file, error } => write!(f, "cannot {doing} '{file}': {error}"),
            Self::Locked { directory } => write!(
                f,
                "another process is using the store in '{directory}': stop it, or give this one a \
                 directory of its own"
            ),
            Self::UnknownFormat { file, version } => write!(
                f,
                "'{file}' has format {version}, and this version reads formats {} to {}: use the \
                 version that wrote it",
                crate::format::OLDEST,
                crate::format::VERSION
            ),
            Self::Damaged { file, offset, found } => write!(
                f,
                "the store is damaged in '{file}' at byte {offset}: {found}. Nothing was changed. \
                 Restore the directory from a copy; or move it away and begin with an empty store, \
                 without the sessions and messages in it"
            ),
            Self::TooLarge { bytes, most } => write!(
                f,
                "{bytes} bytes are to be stored together, and {most} is the most: too many sessions \
                 are owed too large messages at once"
            ),
            Self::Stopped => f.write_str("the store has stopped after an earlier failure"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}
