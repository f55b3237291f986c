//! Who decides whether a client may connect.

use noctule_mqtt::ReasonCode;

/// What [`World`](crate::World) answers when the shard asks about a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authenticator {
    /// Everybody may connect.
    Yes,
    /// Nobody may, for this reason.
    No(ReasonCode),
    /// Nothing, until the test calls [`World::verdict`](crate::World::verdict).
    Waiting,
}
