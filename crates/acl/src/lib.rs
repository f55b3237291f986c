//! What may a client do? Rules in a file, in Mosquitto's language or in TOML, and in the claims of a
//! token.
//!
//! ```text
//! text ─parse─► Rules ─decide(who, wish)─► Decision { word, why }
//!                         word: Allowed · Denied · Unspoken (no rule has anything to say)
//! ```
//!
//! [`Rules`] are one list of [`Rule`]s and, for each user, group and for everybody, which of them
//! hold. They do not change; a changed file makes new ones. Whoever asks puts the words of several
//! rules together: who is denied by one has no right, who is allowed by none has none either.
//!
//! The two languages differ in how rules are put together:
//!
//! - **Mosquitto**: the topics of the user (or of those without a name) first, then the patterns of all;
//!   in each a `deny` wins, and the first of both that says something decides. Any subscription is
//!   taken, as Mosquitto does; what it brings is decided message by message.
//! - **TOML**: all rules that hold for the client at once; a `deny` wins wherever it stands.
//!
//! The invariant of both: a name that a client has chosen never makes a rule mean more. See
//! [`Topic`] for how.
//!
//! Nothing here knows of connections, sessions or threads, and but for reading a file
//! ([`AclFile::read`]) nothing touches the world.

mod claim;
mod effect;
mod file;
mod index;
mod mosquitto;
mod problem;
mod rules;
mod tables;
mod topic;

pub use effect::{Effect, Rights};
pub use file::{AclFile, Language};
pub use noctule_mqtt::rights::{Who, Wish, Word};
pub use problem::{AclError, Problem, Severity};
pub use rules::{Decision, Rule, Rules, Why};
pub use topic::Topic;
