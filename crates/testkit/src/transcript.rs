//! What was said by whom, for the moment a test fails.

use crate::packets::Said;
use noctule_mqtt::ProtocolVersion;
use std::collections::VecDeque;
use std::fmt::{self, Write as _};

/// The last things that happened, all clients in one column.
#[derive(Debug)]
pub(crate) struct Transcript {
    entries: VecDeque<Entry>,
    forgotten: usize,
    /// Older entries are forgotten.
    pub(crate) kept: usize,
}

/// One thing that happened.
#[derive(Debug)]
pub(crate) enum Entry {
    ToServer { who: String, version: ProtocolVersion, said: Said },
    RawToServer { who: String, bytes: Vec<u8> },
    FromServer { who: String, said: Said },
    Opened(String),
    ClosedByServer { who: String, why: String },
    ClosedByClient(String),
    Time { mono_ms: u64 },
    Note(String),
}

const KEPT: usize = 120;
/// Of raw bytes, so many are shown.
const RAW_SHOWN: usize = 48;

impl Default for Transcript {
    fn default() -> Self {
        Self { entries: VecDeque::new(), forgotten: 0, kept: KEPT }
    }
}

impl Transcript {
    pub(crate) fn add(&mut self, entry: Entry) {
        // Time that passes in many small steps is one line.
        if let (Some(Entry::Time { mono_ms }), Entry::Time { mono_ms: later }) =
            (self.entries.back_mut(), &entry)
        {
            *mono_ms = *later;
            return;
        }
        if self.entries.len() >= self.kept {
            self.entries.pop_front();
            self.forgotten += 1;
        }
        self.entries.push_back(entry);
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.forgotten > 0 {
            writeln!(f, "  ({} earlier lines)", self.forgotten)?;
        }
        self.entries.iter().try_for_each(|entry| writeln!(f, "  {entry}"))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ToServer { who, version, said } => write!(f, "{who} ──► {said}  ({version})"),
            Self::RawToServer { who, bytes } => {
                let mut hex = String::new();
                for byte in bytes.iter().take(RAW_SHOWN) {
                    write!(hex, "{byte:02x} ")?;
                }
                write!(f, "{who} ──► {} bytes: {hex}", bytes.len())
            }
            Self::FromServer { who, said } => write!(f, "{who} ◄── {said}"),
            Self::Opened(who) => write!(f, "{who} ─── opens a connection"),
            Self::ClosedByServer { who, why } => write!(f, "{who} ─x─ closed by the shard: {why}"),
            Self::ClosedByClient(who) => write!(f, "{who} ─x─ gone"),
            Self::Time { mono_ms } => write!(f, "··· time is {mono_ms} ms"),
            Self::Note(note) => write!(f, "··· {note}"),
        }
    }
}
