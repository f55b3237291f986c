//! Messages that wait for a connection or for their turn, in the order of their publishing.

use std::collections::VecDeque;

use super::Sent;
use crate::error::Error;
use crate::options::Limits;

/// Messages that wait.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: VecDeque<Sent>,
    bytes: usize,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether the limits are not reached; one message may go over that of bytes.
    pub(super) fn has_room(&self, limits: &Limits) -> bool {
        self.waiting.len() < limits.queue_count_max && self.bytes < limits.queue_bytes_max
    }

    /// Whether `bytes` more fit.
    pub(super) fn check(&self, bytes: usize, limits: &Limits) -> Result<(), Error> {
        let fits = self.bytes.saturating_add(bytes) <= limits.queue_bytes_max;
        if self.waiting.len() < limits.queue_count_max && fits {
            return Ok(());
        }
        Err(Error::QueueFull {
            messages: self.waiting.len(),
            messages_max: limits.queue_count_max,
            bytes: self.bytes,
            bytes_max: limits.queue_bytes_max,
        })
    }

    pub(super) fn push(&mut self, sent: Sent) {
        self.bytes += sent.publish.bytes();
        self.waiting.push_back(sent);
    }

    pub(super) fn first(&self) -> Option<&Sent> {
        self.waiting.front()
    }

    pub(super) fn pop(&mut self) -> Option<Sent> {
        let sent = self.waiting.pop_front()?;
        self.bytes -= sent.publish.bytes();
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT {
            self.waiting = VecDeque::new();
        }
        Some(sent)
    }
}

/// A drained queue up to this size is kept.
const KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::Publish;

    fn sent(payload: &'static str) -> Sent {
        Sent { publish: Publish::new("t", payload).check().unwrap(), token: None }
    }

    #[test]
    fn both_limits_hold_and_what_leaves_makes_room() {
        let limits = Limits { queue_count_max: 2, queue_bytes_max: 10, ..Limits::default() };
        let mut backlog = Backlog::default();
        assert!(backlog.check(10, &limits).is_ok());
        assert!(backlog.check(11, &limits).is_err());
        backlog.push(sent("12345"));
        assert!(backlog.check(4, &limits).is_ok() && backlog.check(5, &limits).is_err());
        backlog.push(sent("1"));
        let full = backlog.check(1, &limits).unwrap_err().to_string();
        assert!(full.contains("2 of 2 messages, 8 of 10 bytes"), "{full}");
        assert!(!backlog.has_room(&limits));
        backlog.pop();
        assert!(backlog.has_room(&limits) && backlog.check(8, &limits).is_ok());
    }
}
