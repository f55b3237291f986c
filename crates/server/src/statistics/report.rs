//! The statistics as lines of the log: now and then while something changes, and at the end.

use noctule_broker::{Snapshot, Traffic};
use std::time::Instant;
use tracing::info;

/// Says the numbers.
#[derive(Debug)]
pub(crate) struct Reporter {
    started: Instant,
    said: Snapshot,
}

impl Reporter {
    pub(crate) fn new(started: Instant) -> Self {
        Self { started, said: Snapshot::default() }
    }

    /// Logs the numbers, if they are not those that were logged last.
    pub(crate) fn report(&mut self, sum: &Snapshot) {
        if differs(&self.said, sum) {
            say(sum, "statistics");
            self.said = sum.clone();
        }
    }

    /// Logs the numbers at the end, unless nobody ever came.
    pub(crate) fn report_end(&mut self, sum: &Snapshot) {
        if sum.counters.connections_opened > 0 {
            let seconds = self.started.elapsed().as_secs();
            say(sum, &format!("statistics at the end, after {seconds} s"));
        }
    }
}

/// Whether something has happened in between.
fn differs(before: &Snapshot, after: &Snapshot) -> bool {
    (&before.counters, &before.packets, &before.dropped, &before.denied, before.sessions)
        != (&after.counters, &after.packets, &after.dropped, &after.denied, after.sessions)
}

fn say(sum: &Snapshot, what: &str) {
    let tls_now = now(&sum.tls);
    let Snapshot { counters, packets, .. } = sum;
    info!(
        clients = sum.connected,
        sessions_away = sum.sessions - sum.connected.min(sum.sessions),
        connections = sum.connections,
        plain = (sum.connections as u64).saturating_sub(tls_now),
        tls = tls_now,
        connections_ever = counters.connections_opened,
        connects_refused = counters.connects_refused,
        violations = counters.violations,
        messages_received = packets.messages_received(),
        messages_sent = packets.messages_sent(),
        dropped = dropped_messages(sum),
        bytes_received = counters.bytes_received,
        bytes_sent = counters.bytes_sent,
        subscriptions = sum.subscriptions,
        retained = sum.retained,
        queued = sum.queued,
        in_flight = sum.in_flight,
        memory_bytes = memory(sum),
        "{what}"
    );
}

/// Connections of a transport now.
pub(crate) fn now(traffic: &Traffic) -> u64 {
    traffic.connections_opened.saturating_sub(traffic.connections_closed)
}

/// Deliveries that did not happen; what else was refused for lack of memory is no message.
pub(crate) fn dropped_messages(sum: &Snapshot) -> u64 {
    let dropped = &sum.dropped;
    let all: u64 = dropped.each().map(|(_, count)| count).sum();
    let denied = sum.denied.publish + sum.denied.read + sum.denied.queued;
    denied + all - dropped.memory_subscriptions - dropped.memory_sessions - dropped.memory_packets
}

/// All memory that is counted, in bytes.
pub(crate) fn memory(sum: &Snapshot) -> usize {
    sum.memory.total() + sum.retained_bytes + sum.large_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_alone_is_no_news() {
        let (before, mut after) = (Snapshot::default(), Snapshot::default());
        after.memory.connections = 1;
        assert!(!differs(&before, &after));
        after.packets.publish_sent[1] = 1;
        assert!(differs(&before, &after));
    }

    #[test]
    fn what_is_no_message_is_no_dropped_message() {
        let mut sum = Snapshot::default();
        sum.dropped.queue_full = 2;
        sum.dropped.memory_sessions = 5;
        assert_eq!(dropped_messages(&sum), 2);
    }
}
