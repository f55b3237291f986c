//! Payloads around the size from which they are shared instead of copied, and far above it, byte
//! for byte.

use crate::{connecting, in_each_version};
use noctule_testkit::packets::*;
use noctule_testkit::{Pieces, World};

/// Bytes that show every displacement.
fn payload(bytes: usize) -> Vec<u8> {
    let mut dice = noctule_testkit::Dice::new(bytes as u64);
    (0..bytes).map(|_| dice.roll() as u8).collect()
}

#[test]
fn sizes_around_the_sharing_of_payloads_arrive_byte_for_byte() {
    for pieces in [Pieces::Whole, Pieces::Random(21)] {
        in_each_version(|version| {
            let mut w = World::new();
            w.in_pieces(pieces);
            w.connect("r", connecting(version));
            w.connect("s", v5());
            w.subscribe("r", "x", 2);
            for bytes in [0, 1, 125, 126, 2_047, 2_048, 2_049, 16_380, 16_384, 70_000] {
                for qos in 0..3 {
                    w.publish("s", publish("x", payload(bytes)).qos(qos));
                    w.receive("r", publish("x", payload(bytes)).qos(qos));
                }
            }
        });
    }
}

#[test]
fn a_megabyte_is_shared_by_many_that_read_at_their_own_pace() {
    let mut w = World::new();
    let message = payload(1_000_000);
    let mut names = Vec::new();
    in_each_version(|version| {
        for qos in 0..3 {
            let name = format!("{version} at {qos}");
            w.connect(&name, connecting(version));
            w.subscribe(&name, "x", qos);
            w.stall_after(&name, 0);
            names.push((name, qos));
        }
    });
    w.connect("s", v311());
    w.in_pieces(Pieces::Random(4));
    w.publish("s", publish("x", &message).qos(2));
    w.publish("s", publish("x", "small"));
    let mut dice = noctule_testkit::Dice::new(5);
    for _ in 0..40 {
        for (name, _) in &names {
            w.stall_after(name, dice.below(60_000));
        }
        w.settle();
    }
    for (name, qos) in &names {
        w.unstall(name);
        let large = w.expect_publish(name, publish("x", &message).qos(*qos));
        w.expect(name, publish("x", "small"));
        w.acknowledge(name, &large);
    }
}

#[test]
fn small_and_large_mix_in_one_output_in_order() {
    let mut w = World::new();
    w.connect("r", v5());
    w.subscribe("r", "x", 1);
    w.connect("s", v311());
    w.stall("r");
    let sizes = [10, 3_000, 20, 30, 2_049, 5_000, 2_048, 1, 9_000];
    for bytes in sizes {
        w.publish("s", publish("x", payload(bytes)).qos(1));
    }
    w.in_pieces(Pieces::Random(6));
    while w.unsent("r") > 0 {
        w.stall_after("r", 97);
        w.settle();
    }
    for bytes in sizes {
        w.receive("r", publish("x", payload(bytes)).qos(1));
    }
}

#[test]
fn the_largest_packet_we_take_is_delivered() {
    let mut w = World::new();
    w.connect("r", v311());
    w.subscribe("r", "x", 1);
    w.connect("s", v311());
    // 4 bytes of fixed header, 3 of topic, 2 of packet identifier.
    let largest = payload(2_000_000 - 9);
    w.publish("s", publish("x", &largest).qos(1));
    w.receive("r", publish("x", &largest).qos(1));
    w.send("s", publish("x", [largest, vec![1]].concat()).qos(1).id(9));
    w.expect_closed("s");
    w.expect_quiet();
}

#[test] // [MQTT3-4.4.0-1] [MQTT5-4.4.0-1]
fn a_large_message_in_flight_is_repeated_whole() {
    let mut w = World::new();
    w.connect("r", v5().persistent());
    w.subscribe("r", "x", 1);
    w.stall_after("r", 1_000);
    w.connect("s", v311());
    w.publish("s", publish("x", payload(50_000)).qos(1));
    w.expect_nothing("r");
    w.lose("r");
    w.connect("r", v5().persistent());
    w.receive("r", publish("x", payload(50_000)).qos(1).id(1).dup());
}
