//! Why the words of a proxy cannot be used.

use std::error::Error;
use std::fmt;

/// What is wrong with a header of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyFailure {
    /// The connection begins with something else.
    NotAHeader,
    /// It is longer than any that is read.
    TooLong,
    /// The line of version 1 is not as it has to be.
    BadLine,
    /// Neither version 2 nor a command of it.
    UnknownCommand(u8),
    /// A family of addresses or a protocol that is not offered, such as datagrams.
    UnknownFamily(u8),
    /// The parts are longer than the whole.
    Truncated,
    /// A text is not UTF-8.
    NotText,
    /// What may be there once is there twice.
    Twice(u8),
    /// The checksum is another one.
    BadChecksum,
}

impl fmt::Display for ProxyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PROXY protocol: ")?;
        match self {
            Self::NotAHeader => f.write_str("the connection does not begin with a header"),
            Self::TooLong => f.write_str("the header is too long"),
            Self::BadLine => f.write_str("the line of version 1 is malformed"),
            Self::UnknownCommand(byte) => write!(f, "unknown version or command 0x{byte:02X}"),
            Self::UnknownFamily(byte) => {
                write!(f, "family or protocol 0x{byte:02X} is not offered")
            }
            Self::Truncated => f.write_str("a part of the header is longer than the header"),
            Self::NotText => f.write_str("a text in the header is not UTF-8"),
            Self::Twice(kind) => write!(f, "the field 0x{kind:02X} is there twice"),
            Self::BadChecksum => f.write_str("the checksum of the header is wrong"),
        }
    }
}

impl Error for ProxyFailure {}
