//! Receivers that do not keep up, and publishers on other shards.

use crate::exchange;
use noctule_broker::Limits;
use noctule_testkit::Shards;
use noctule_testkit::packets::*;

/// How many of so many messages to one topic are acknowledged to a publisher on shard 0 while the
/// receiver on shard 1 acknowledges nothing.
fn taken(count: u16, elsewhere: bool) -> usize {
    // Crowded beyond 2,000 bytes.
    let limits = Limits { unsent_bytes_max: 8_000, inflight_out_max: 2, ..Limits::default() };
    let mut w = Shards::with(2, &limits);
    let receiver = w.name_at(1, 0);
    let publisher = w.name_at(if elsewhere { 0 } else { 1 }, 1);
    w.connect(&receiver, 1, v311());
    w.subscribe(&receiver, "x", 1);
    w.connect(&publisher, 1, v311());
    let mut taken = 0;
    for id in 1..=count {
        w.send(&publisher, publish("x", [b'.'; 100]).qos(1).id(id));
        exchange(&mut w, 0, 1);
        taken += w.all_heard(&publisher).len();
    }
    assert_eq!(w.all_heard(&receiver).len(), 2, "as many as may be in flight");
    taken
}

#[test]
fn a_receiver_whose_queue_grows_slows_its_publishers_wherever_they_are() {
    let (here, elsewhere) = (taken(100, false), taken(100, true));
    assert!(here < 20, "{here} messages were taken from a publisher on the same shard");
    assert!(elsewhere < 20, "{elsewhere} messages were taken from a publisher on another shard");
}
