//! Conversations between clients and a shard, by subject. Each test is a claim about what a client
//! can see; time, sockets and the store are the world's, so nothing here waits.

mod acknowledging;
mod aliases;
mod authenticating;
mod claiming;
mod connecting;
mod delivering;
mod entering;
mod expiring;
mod governing;
mod greeting;
mod keep_alive;
mod large_messages;
mod malformed;
mod memory;
mod mounts;
mod offers;
mod owners;
mod properties;
mod queues;
mod quotas;
mod restoring;
mod resuming;
mod retained;
mod runs;
mod sessions;
mod sharing;
mod slow_consumers;
mod store_state;
mod subscribing;
mod watching;
mod wills;

use noctule_mqtt::ProtocolVersion;
use noctule_testkit::World;
use noctule_testkit::packets::{Connecting, publish};

/// Runs a conversation in each version.
fn in_each_version(mut conversation: impl FnMut(ProtocolVersion)) {
    ProtocolVersion::ALL.into_iter().for_each(&mut conversation);
}

fn connecting(version: ProtocolVersion) -> Connecting {
    Connecting::of(version)
}

/// Publishes numbered messages, seen acknowledged.
fn publish_numbered(
    w: &mut World,
    name: &str,
    topic: &str,
    qos: u8,
    numbers: std::ops::Range<usize>,
) {
    for number in numbers {
        w.publish(name, publish(topic, number.to_string()).qos(qos));
    }
}

/// Receives and acknowledges numbered messages.
fn receive_numbered(
    w: &mut World,
    name: &str,
    topic: &str,
    qos: u8,
    numbers: std::ops::Range<usize>,
) {
    for number in numbers {
        w.receive(name, publish(topic, number.to_string()).qos(qos));
    }
}
