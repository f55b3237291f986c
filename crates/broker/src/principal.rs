//! Who a client is, for whoever asks what it may do: what authentication has found out, and not
//! what the client says; or, where nobody has asked, what it says, marked as such.
//!
//! It belongs to the connection, travels with it to the shard of its session, and does not change as
//! long as the connection lasts. How it was found out must not be known here. Invariant: what
//! belongs to somebody belongs to a name that was verified; a name that is only claimed owns
//! nothing, as anybody can claim it. Whether it gives rights is said where rights are asked about
//! (`Standing::disregards_name`).

use crate::rights::Grant;
use std::ops::Deref;
use std::sync::Arc;

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

/// A principal that a connection has together with its session. It takes a pointer, and nothing more for
/// a client that did not have to say who it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Identity(Option<Arc<Principal>>);

static NOBODY: Principal = Principal { user_name: None, is_claimed: false, grant: None };

impl From<Principal> for Identity {
    fn from(principal: Principal) -> Self {
        // That a name is only claimed means nothing where there is none.
        let is_nobody = principal.user_name.is_none() && principal.grant.is_none();
        Self((!is_nobody).then(|| Arc::new(principal)))
    }
}

impl Deref for Identity {
    type Target = Principal;

    fn deref(&self) -> &Principal {
        self.0.as_deref().unwrap_or(&NOBODY)
    }
}

impl Identity {
    /// The name was verified.
    pub(crate) fn verify(&mut self) {
        if self.is_claimed {
            *self = Principal { is_claimed: false, ..(**self).clone() }.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_a_pointer_and_nobody_has_none() {
        assert_eq!(size_of::<Identity>(), 8);
        let nobody = Identity::from(Principal::claiming(None::<&str>));
        assert_eq!((nobody.0.is_none(), &*nobody), (true, &Principal::default()));
        let mut anna = Identity::from(Principal::claiming(Some("anna")));
        assert_eq!(*anna, Principal::claiming(Some("anna")));
        anna.verify();
        assert_eq!(*anna, Principal::user("anna"));
    }

    #[test]
    fn what_is_only_claimed_owns_nothing() {
        assert_eq!(Principal::user("anna").owner(), Some("anna"));
        assert_eq!(Principal::claiming(Some("anna")).owner(), None);
        assert_eq!(Principal::default().owner(), None);
    }
}
