//! Who a client is, for whoever asks what it may do: what authentication has found out, and not
//! what the client says.
//!
//! It belongs to the connection, travels with it to the shard of its session, and does not change as
//! long as the connection lasts. How it was found out must not be known here.

use crate::rights::Grant;

/// Who a client was found to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Principal {
    /// The user; none is a client that did not have to say who it is.
    pub user_name: Option<Box<str>>,
    /// Rights that it has brought with it.
    pub grant: Option<Grant>,
}

impl Principal {
    /// The user of this name.
    #[must_use]
    pub fn user(name: impl Into<Box<str>>) -> Self {
        Self { user_name: Some(name.into()), grant: None }
    }
}
