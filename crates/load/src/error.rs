//! Why a run could not be made or finished. What a broker did wrong with messages is not an error
//! but a finding, see [`crate::checker::Faults`].

use std::fmt;
use std::io;

/// A run that came to nothing, in words for the person who started it.
#[derive(Debug)]
pub struct LoadError {
    doing: String,
    cause: Option<io::Error>,
}

impl LoadError {
    /// Something other than the operating system stood in the way.
    pub fn new(words: impl Into<String>) -> Self {
        Self { doing: words.into(), cause: None }
    }

    /// The operating system refused what `doing` says, "cannot read /proc/1/stat" for example.
    pub fn io(doing: impl Into<String>, cause: io::Error) -> Self {
        Self { doing: doing.into(), cause: Some(cause) }
    }
}

impl LoadError {
    /// Whether it may be over in a moment: there is no broker yet, or it went away.
    pub fn is_passing(&self) -> bool {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable,
            NetworkUnreachable, TimedOut, UnexpectedEof, WouldBlock,
        };
        let kind = self.cause.as_ref().map(io::Error::kind);
        matches!(
            kind,
            Some(
                BrokenPipe
                    | ConnectionAborted
                    | ConnectionRefused
                    | ConnectionReset
                    | HostUnreachable
                    | NetworkUnreachable
                    | TimedOut
                    | UnexpectedEof
                    | WouldBlock
            )
        )
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            None => f.write_str(&self.doing),
            Some(cause) => write!(f, "{}: {cause}", self.doing),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}
