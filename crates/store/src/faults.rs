//! Faults that tests plant in the log, to see that the simulation finds them.
//!
//! In a build for use there is no way to plant one, and the compiler removes every trace of them:
//! [`Faults::planted`] is false there.

/// A rule of the log that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A commit returns before its flush, which follows with the next.
    AcknowledgedBeforeFlush,
    /// Nothing is ever flushed.
    FlushSkipped,
    /// A flush that failed is taken for one that did not.
    FailedFlushIgnored,
    /// That a segment goes on where the one before ended is not checked.
    ChainNotChecked,
    /// Who is owed a message is written before the message, in another batch.
    OwedBeforeMessage,
    /// Of two retained messages of a topic the one that was stored last wins.
    OldRetainedWins,
    /// That a topic was cleared is forgotten while an older message for it may still come.
    ClearedForgottenEarly,
    /// A segment is given up although something in it still counts.
    FreedWhileLive,
    /// A segment is given up before it is on stable storage that nobody needs it.
    FreedBeforeFlush,
    /// Segments that were given up and are still there are read again.
    WatermarkIgnored,
    /// New segments are not filled with zeros, so that space is taken when they are written.
    ZeroingSkipped,
    /// The new name of a segment is not waited for.
    DirectoryNotSynced,
    /// CRCs are not checked.
    TornBatchAccepted,
    /// A segment number in a batch is not checked, so that what an earlier use of the file has left
    /// is read again.
    StaleBytesRead,
    /// One record in some that are to be moved forward is not.
    StragglerDropped,
    /// Moving records forward ends before the end of the segment, which is given up all the same.
    MovingCutShort,
    /// What is found at the start is not flushed before going on.
    EndNotFlushedAtOpen,
    /// That a session ended is not noticed for some.
    SessionEndForgotten,
    /// The block in which a batch begins is written without what the batch before has left in it.
    LastBlockForgotten,
    /// What is to be stored together or not at all is divided where there is no room for all of it.
    UnitDivided,
}

impl Fault {
    /// All of them.
    pub const ALL: &'static [Fault] = &[
        Self::AcknowledgedBeforeFlush,
        Self::FlushSkipped,
        Self::FailedFlushIgnored,
        Self::ChainNotChecked,
        Self::OwedBeforeMessage,
        Self::OldRetainedWins,
        Self::ClearedForgottenEarly,
        Self::FreedWhileLive,
        Self::FreedBeforeFlush,
        Self::WatermarkIgnored,
        Self::ZeroingSkipped,
        Self::DirectoryNotSynced,
        Self::TornBatchAccepted,
        Self::StaleBytesRead,
        Self::StragglerDropped,
        Self::MovingCutShort,
        Self::EndNotFlushedAtOpen,
        Self::SessionEndForgotten,
        Self::LastBlockForgotten,
        Self::UnitDivided,
    ];
}

/// The fault that is planted, if one is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults(#[cfg(any(test, feature = "testing"))] Option<Fault>);

impl Faults {
    /// Plants one.
    #[cfg(any(test, feature = "testing"))]
    pub fn plant(fault: Fault) -> Self {
        Self(Some(fault))
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn planted(self, fault: Fault) -> bool {
        self.0 == Some(fault)
    }

    #[cfg(not(any(test, feature = "testing")))]
    pub(crate) fn planted(self, _: Fault) -> bool {
        false
    }
}
