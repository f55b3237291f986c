//! Several shards in one thread: what clients may rely on whichever shard they came to and whoever
//! reads his mail first. Each test is a claim; the mail is delivered when the test says so, so
//! nothing here waits.

mod asking;
mod deferring;
mod governing;
mod handing_over;
mod order;
mod promises;
mod repeating;
mod retained;
mod runs;
mod sharing;
mod slow_consumers;
mod visibility;

use noctule_mqtt::ProtocolVersion;
use noctule_testkit::Shards;
use noctule_testkit::packets::Connecting;

/// Runs a conversation in each version.
fn in_each_version(mut conversation: impl FnMut(ProtocolVersion)) {
    ProtocolVersion::ALL.into_iter().for_each(&mut conversation);
}

fn connecting(version: ProtocolVersion) -> Connecting {
    Connecting::of(version)
}

/// Delivers all letters of two shards to each other until there are none.
fn exchange(w: &mut Shards, one: usize, other: usize) {
    while w.letters(one, other) + w.letters(other, one) > 0 {
        w.deliver_all(one, other);
        w.deliver_all(other, one);
    }
}
