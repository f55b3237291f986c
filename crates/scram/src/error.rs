//! Why one end does not believe the other.

use std::fmt;

/// Why the other end is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScramError {
    /// A message is not of the form that RFC 5802 describes.
    Malformed(&'static str),
    /// The other end insists on something that is not offered.
    NotSupported(&'static str),
    /// The client's proof is wrong, or the user does not exist: which of them is not said.
    WrongProof,
    /// The server does not know what it would know of this password: it is not the one it claims to
    /// be.
    WrongServer,
    /// The server ends the exchange with an error.
    Refused,
}

impl fmt::Display for ScramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "SCRAM: the message lacks {what}"),
            Self::NotSupported(what) => write!(f, "SCRAM: {what} is not supported"),
            Self::WrongProof => f.write_str("SCRAM: the proof is wrong"),
            Self::WrongServer => f.write_str(
                "SCRAM: the server does not prove that it knows this password; it may be another \
                 one that poses as it",
            ),
            Self::Refused => f.write_str("SCRAM: the server refuses"),
        }
    }
}

impl std::error::Error for ScramError {}
