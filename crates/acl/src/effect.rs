//! What a rule gives or takes.

use std::fmt;

/// Whether a rule gives or takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It gives rights.
    Allow,
    /// It takes rights, whatever gives them.
    Deny,
}

/// What a rule is about: one right or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// To publish.
    pub const PUBLISH: Self = Self(1);
    /// To be given messages.
    pub const READ: Self = Self(2);
    /// To subscribe: a rule that allows it has to cover the filter, one that denies it has to have a
    /// topic in common with it.
    pub const SUBSCRIBE: Self = Self(4);
    /// To subscribe to filters with wildcards. It can only be denied.
    pub const WILDCARDS: Self = Self(8);

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether one of those is among these.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::PUBLISH, "publish"),
            (Self::READ, "read"),
            (Self::SUBSCRIBE, "subscribe"),
            (Self::WILDCARDS, "wildcards"),
        ];
        let mut separator = "";
        for (right, name) in names {
            if self.has(right) {
                write!(f, "{separator}{name}")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}
