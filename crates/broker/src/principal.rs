//! Who a client is, for whoever asks what it may do: what authentication has found out, and not
//! what the client says; or, where nobody has asked, what it says, marked as such.
//!
//! It belongs to the connection, travels with it to the shard of its session, and does not change as
//! long as the connection lasts. How it was found out must not be known here. Invariant: what
//! belongs to somebody belongs to a name that was verified; a name that is only claimed owns
//! nothing, as anybody can claim it. Whether it gives rights is said where rights are asked about
//! (`Standing::disregards_name`).

use crate::rights::Grant;

/// Who a client was found to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Principal {
    /// The user; none is a client that did not have to say who it is.
    pub user_name: Option<Box<str>>,
    /// Whether the name is only what the client says of itself. Without a name it means nothing.
    pub is_claimed: bool,
    /// Rights that it has brought with it.
    pub grant: Option<Grant>,
}

impl Principal {
    /// The user of this name, which was verified.
    #[must_use]
    pub fn user(name: impl Into<Box<str>>) -> Self {
        Self { user_name: Some(name.into()), is_claimed: false, grant: None }
    }

    /// A client that says it is this one, and was not asked for a proof.
    #[must_use]
    pub fn claiming(name: Option<impl Into<Box<str>>>) -> Self {
        Self { user_name: name.map(Into::into), is_claimed: true, grant: None }
    }

    /// The user to whom belongs what this client begins; nobody if its name was not verified.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.user_name.as_deref().filter(|_| !self.is_claimed)
    }

    /// Whether it gives a name that was not verified.
    pub(crate) fn only_claims_its_name(&self) -> bool {
        self.is_claimed && self.user_name.is_some()
    }

    /// Whether the other has the same name on the same ground.
    pub(crate) fn is_same_user(&self, other: &Self) -> bool {
        (&self.user_name, self.is_claimed) == (&other.user_name, other.is_claimed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_claimed_owns_nothing() {
        assert_eq!(Principal::user("anna").owner(), Some("anna"));
        assert_eq!(Principal::claiming(Some("anna")).owner(), None);
        assert_eq!(Principal::default().owner(), None);
    }
}
