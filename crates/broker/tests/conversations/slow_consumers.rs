//! Clients that do not read as fast as others write: what is dropped, what waits, and that memory
//! has a bound.

use crate::{connecting, in_each_version, publish_numbered, receive_numbered};
use noctule_broker::Limits;
use noctule_mqtt::ProtocolVersion;
use noctule_testkit::packets::*;
use noctule_testkit::{Pieces, Said, World};

fn limits() -> Limits {
    Limits { unsent_bytes_max: 1_000, ..Limits::default() }
}

/// A subscriber `r` of `x` at `qos` that has stopped reading, and a publisher `s`.
fn world(version: ProtocolVersion, qos: u8) -> World {
    let mut w = World::with(limits());
    w.connect("r", connecting(version));
    w.subscribe("r", "x", qos);
    w.stall("r");
    w.connect("s", v311());
    w
}

#[test]
fn at_most_once_is_dropped_and_counted_for_a_client_that_does_not_read() {
    in_each_version(|version| {
        for pieces in [Pieces::Whole, Pieces::Random(11)] {
            let mut w = world(version, 0);
            w.in_pieces(pieces);
            for number in 0..50 {
                w.publish("s", publish("x", format!("{number:0100}")));
            }
            let unsent = w.unsent("r");
            assert!(unsent <= 1_000 + 110, "{unsent} bytes wait");
            let dropped = w.dropped().slow_consumer as usize;
            assert!((35..45).contains(&dropped), "{dropped} of 50 dropped");
            w.unstall("r");
            for number in 0..50 - dropped {
                w.expect("r", publish("x", format!("{number:0100}")));
            }
            w.publish("s", publish("x", "again"));
            w.expect("r", publish("x", "again"));
        }
    });
}

#[test]
fn at_least_and_exactly_once_wait_and_arrive_in_order() {
    in_each_version(|version| {
        for qos in [1, 2] {
            for pieces in [Pieces::Whole, Pieces::Random(12)] {
                let mut w = world(version, qos);
                w.in_pieces(pieces);
                publish_numbered(&mut w, "s", "x", qos, 0..500);
                let unsent = w.unsent("r");
                assert!(unsent <= 1_000 + 20, "{unsent} bytes wait");
                for _ in 0..500 {
                    w.stall_after("r", 77);
                    w.settle();
                }
                w.unstall("r");
                receive_numbered(&mut w, "r", "x", qos, 0..500);
                assert_eq!(w.dropped(), &noctule_broker::Dropped::default());
            }
        }
    });
}

#[test]
fn one_dead_consumer_stops_nobody() {
    let mut w = world(ProtocolVersion::V311, 1);
    w.connect("lively", v5());
    w.subscribe("lively", "x", 1);
    for number in 0..300 {
        w.publish("s", publish("x", number.to_string()).qos(1));
        w.receive("lively", publish("x", number.to_string()).qos(1));
    }
    w.lose("r");
    w.publish("s", publish("x", "after").qos(1));
    w.receive("lively", publish("x", "after").qos(1));
}

#[test]
fn what_a_dead_consumer_did_not_read_comes_to_its_next_connection() {
    let mut w = World::with(limits());
    w.connect("r", v311().persistent());
    w.subscribe("r", "x", 1);
    w.stall_after("r", 55);
    w.connect("s", v311());
    publish_numbered(&mut w, "s", "x", 1, 0..300);
    w.lose("r");
    w.connect("r", v311().persistent());
    let mut seen = Vec::new();
    while let Some(Said::Publish(heard)) = w.next_heard("r") {
        seen.push(String::from_utf8(heard.payload.clone()).expect("a number"));
        w.acknowledge("r", &heard);
    }
    let expected: Vec<_> = (0..300).map(|number| number.to_string()).collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_client_that_asks_and_does_not_read_is_not_read_either() {
    in_each_version(|version| {
        let limits = Limits { packet_bytes_max: 5_000, ..limits() };
        let mut w = World::with(limits.clone());
        w.connect("a", connecting(version));
        w.stall("a");
        let most = limits.unsent_bytes_max + limits.packet_bytes_max as usize;
        for _ in 0..200 {
            w.say_bytes("a", &[0xC0, 0].repeat(100));
            w.settle();
            let unsent = w.unsent("a");
            assert!(unsent <= most + 200, "{unsent} bytes wait");
        }
        assert!(w.unread("a") > 0);
        w.unstall("a");
        assert_eq!(w.unread("a"), 0);
        let answers = w.all_heard("a");
        assert_eq!(answers.len(), 200 * 100);
        assert!(answers.iter().all(|said| *said == Said::Pingresp));
    });
}

#[test] // [MQTT3-3.1.2-24] [MQTT5-3.1.2-22]: it is not read because of what itself does
fn keep_alive_runs_against_a_client_that_asks_and_does_not_read() {
    let mut w = World::with(Limits { packet_bytes_max: 5_000, ..limits() });
    w.connect("a", v311().keep_alive(10));
    w.unheed("a");
    w.stall("a");
    for _ in 0..100 {
        w.say_bytes("a", &[0xC0, 0].repeat(100));
        w.settle();
    }
    w.pass_ms(15_000 + 128);
    assert!(!w.is_open("a"));
    assert_eq!(w.population().connections, 0);
}
