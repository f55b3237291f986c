//! The words of a question about rights and of its answer, for those who ask and those who decide, who
//! do not know each other. Who may do what must not be known here.

use crate::topic::{TopicFilter, TopicName};
use std::fmt;

/// Whose rights are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who<'a> {
    /// The client identifier.
    pub client_id: &'a str,
    /// The user name that gives rights: the one that authentication has found out or, where claimed
    /// names are trusted, the one that the client claims. None is a client without a name that counts.
    pub user_name: Option<&'a str>,
}

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish<'a> {
    /// To publish on this topic.
    Publish(TopicName<'a>),
    /// To be given a message of this topic.
    Read(TopicName<'a>),
    /// To subscribe to this filter; of a shared subscription, the filter in it.
    Subscribe(TopicFilter<'a>),
}

impl fmt::Display for Wish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish(topic) => write!(f, "publish on {topic}"),
            Self::Read(topic) => write!(f, "read {topic}"),
            Self::Subscribe(filter) => write!(f, "subscribe to {filter}"),
        }
    }
}

/// What whoever is asked says to a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It may.
    Allowed,
    /// It may not, whoever else allows it.
    Denied,
    /// That is for others to say; if nobody allows it, it may not.
    Unspoken,
}
