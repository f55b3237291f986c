//! Clients that do not read as fast as others write: what is dropped, what waits, and that memory
//! has a bound.

use crate::{connecting, in_each_version, receive_numbered};
use noctule_broker::{Limits, Report};
use noctule_mqtt::ProtocolVersion;
use noctule_testkit::packets::*;
use noctule_testkit::{Pieces, Said, World};

/// A receiver is crowded beyond 250 waiting bytes.
fn limits() -> Limits {
    Limits { unsent_bytes_max: 1_000, ..Limits::default() }
}

/// Longer than publishers wait for a receiver, a timer's grain included.
const PATIENCE_MS: u64 = 700;

/// A subscriber `r` of `x` at `qos` that has stopped reading, and a publisher `s`.
fn world(version: ProtocolVersion, qos: u8) -> World {
    let mut w = World::with(limits());
    w.connect("r", connecting(version));
    w.subscribe("r", "x", qos);
    w.stall("r");
    w.connect("s", v311());
    w
}

fn say_numbered(w: &mut World, name: &str, topic: &str, numbers: std::ops::Range<usize>) {
    for number in numbers {
        w.send(name, publish(topic, format!("{number:0100}")));
    }
}

/// Publishes numbered messages, passing time when the publisher is not read. Returns how often that
/// was.
fn publish_patiently(w: &mut World, name: &str, qos: u8, numbers: std::ops::Range<usize>) -> usize {
    let mut waits = 0;
    let mut send = |w: &mut World, said: Said| {
        w.send(name, said);
        if w.unread(name) > 0 {
            waits += 1;
            w.pass_ms(PATIENCE_MS);
        }
    };
    for number in numbers {
        let id = 1 + number as u16;
        send(w, publish("x", number.to_string()).qos(qos).id(id).into());
        if qos == 1 {
            w.expect(name, puback(id));
        } else {
            w.expect(name, pubrec(id));
            send(w, pubrel(id));
            w.expect(name, pubcomp(id));
        }
    }
    waits
}

#[test]
fn a_publisher_waits_for_a_receiver_that_reads_again_in_time_and_nothing_is_lost() {
    in_each_version(|version| {
        for pieces in [Pieces::Whole, Pieces::Random(11)] {
            let mut w = world(version, 0);
            w.in_pieces(pieces);
            for number in 0..50 {
                say_numbered(&mut w, "s", "x", number..number + 1);
            }
            let unsent = w.unsent("r");
            assert!(unsent <= 250 + 2 * 110, "{unsent} bytes wait");
            assert_eq!(w.counters().publishers_slowed, 1);
            w.unstall("r");
            for number in 0..50 {
                w.expect("r", publish("x", format!("{number:0100}")));
            }
            assert_eq!(w.dropped(), &noctule_broker::Dropped::default());
            assert_eq!(w.counters().slow_consumers, 0);
        }
    });
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
            w.pass_ms(PATIENCE_MS);
            assert_eq!(w.counters().slow_consumers, 1);
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
                assert_eq!(publish_patiently(&mut w, "s", qos, 0..500), 1);
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
fn that_messages_are_lost_is_said_once_and_then_every_minute() {
    let mut w = world(ProtocolVersion::V5, 0);
    let publish_some = |w: &mut World, count: usize| {
        for number in 0..count {
            w.publish("s", publish("x", format!("{number:0100}")));
        }
    };
    let said = |w: &World| -> Vec<u64> {
        let losses = w.reports().iter().filter_map(|report| match report {
            Report::Losing { client_id, lost } if **client_id == *"r" => Some(lost.at_most_once),
            _ => None,
        });
        losses.collect()
    };
    publish_some(&mut w, 10);
    w.pass_ms(PATIENCE_MS);
    assert_eq!(said(&w), [], "all of them found room");
    publish_some(&mut w, 10);
    assert_eq!(said(&w), [1]);
    publish_some(&mut w, 10);
    let lost = w.dropped().slow_consumer;
    w.pass(61);
    assert_eq!(said(&w), [1, lost - 1]);
    w.pass(200);
    publish_some(&mut w, 3);
    assert_eq!(said(&w), [1, lost - 1, 1], "it is news again");
    w.pass(61);
    assert_eq!(said(&w), [1, lost - 1, 1, 2]);
}

#[test]
fn whoever_publishes_to_a_full_window_waits_until_the_queue_is_empty() {
    const WINDOW: usize = 10;
    let mut w = World::with(Limits { unsent_bytes_max: 64 * 1024, ..Limits::default() });
    w.connect("r", v5().receive_maximum(WINDOW as u16));
    w.subscribe("r", "x", 1);
    w.connect("s", v311());
    w.unheed("s");
    let mut sent = 0;
    while w.unread("s") == 0 {
        w.send("s", publish("x", sent.to_string()).qos(1).id(1 + sent as u16));
        sent += 1;
    }
    let routed = sent - 1;
    let queued = routed - WINDOW;
    // A sixteenth of the limit, of messages that take more than 100 bytes each.
    assert!((10..40).contains(&queued), "{queued} messages are in the queue");
    receive_numbered(&mut w, "r", "x", 1, 0..queued - 1);
    assert!(w.unread("s") > 0, "one is in the queue still");
    receive_numbered(&mut w, "r", "x", 1, queued - 1..queued);
    assert_eq!(w.unread("s"), 0);
    receive_numbered(&mut w, "r", "x", 1, queued..sent);
    assert_eq!(w.counters().slow_consumers, 0);
}

#[test]
fn a_message_that_waits_in_the_queue_does_not_hold_up_what_needs_none() {
    let mut w = World::with(Limits { unsent_bytes_max: 64 * 1024, ..Limits::default() });
    w.connect("r", v5().receive_maximum(1));
    w.subscribe("r", "q", 1);
    w.subscribe("r", "x", 0);
    w.connect("s", v311());
    for number in ["1", "2"] {
        w.publish("s", publish("q", number).qos(1));
    }
    let first = w.expect_publish("r", publish("q", "1").qos(1));
    w.stall("r");
    let mut sent = 0;
    while w.unread("s") == 0 {
        say_numbered(&mut w, "s", "x", sent..sent + 1);
        sent += 1;
    }
    w.unstall("r");
    assert_eq!(w.unread("s"), 0, "nothing of it waits any more");
    for number in 0..sent {
        w.expect("r", publish("x", format!("{number:0100}")));
    }
    assert_eq!((w.counters().publishers_slowed, w.counters().slow_consumers), (1, 0));
    w.acknowledge("r", &first);
    w.receive("r", publish("q", "2").qos(1));
}

#[test]
fn one_dead_consumer_holds_up_the_others_once_and_for_half_a_second() {
    let mut w = world(ProtocolVersion::V311, 1);
    w.connect("lively", v5());
    w.subscribe("lively", "x", 1);
    let mut waits = 0;
    for number in 0..300 {
        waits += publish_patiently(&mut w, "s", 1, number..number + 1);
        w.receive("lively", publish("x", number.to_string()).qos(1));
    }
    assert_eq!(waits, 1);
    w.lose("r");
    w.publish("s", publish("x", "after").qos(1));
    w.receive("lively", publish("x", "after").qos(1));
}

#[test]
fn nobody_waits_for_one_dead_consumer_of_many() {
    let mut w = world(ProtocolVersion::V5, 0);
    let lively = ["a", "b", "c", "d"];
    for name in lively {
        w.connect(name, v311());
        w.subscribe(name, "x", 0);
    }
    for number in 0..300 {
        w.publish("s", publish("x", format!("{number:0100}")));
        for name in lively {
            w.expect(name, publish("x", format!("{number:0100}")));
        }
    }
    assert_eq!(w.counters().publishers_slowed, 0);
    assert!(w.dropped().slow_consumer > 200);
    // While it may still be waited for, more may wait than later.
    assert!(w.unsent("r") <= 4 * 1_000 + 110);
}

#[test]
fn clients_that_flood_each_other_without_reading_do_not_wait_for_each_other() {
    let mut w = World::with(limits());
    for (name, own) in [("a", "to/a"), ("b", "to/b")] {
        w.connect(name, v311());
        w.subscribe(name, own, 0);
        w.stall(name);
    }
    for round in 0..20 {
        say_numbered(&mut w, "a", "to/b", round * 10..round * 10 + 10);
        say_numbered(&mut w, "b", "to/a", round * 10..round * 10 + 10);
    }
    assert_eq!((w.unread("a"), w.unread("b")), (0, 0), "both are heard");
    w.unstall("a");
    w.unstall("b");
    assert!(w.all_heard("a").len() > 5);
    w.all_heard("b");
    w.publish("a", publish("to/b", "after"));
    w.expect("b", publish("to/b", "after"));
}

#[test]
fn a_receiver_that_trickles_cannot_have_its_publisher_wait_again_and_again() {
    let mut w = world(ProtocolVersion::V311, 0);
    let mut waited_ms = 0;
    let mut number = 0;
    for _ in 0..100 {
        while w.unread("s") == 0 && number < 10_000 {
            say_numbered(&mut w, "s", "x", number..number + 1);
            number += 1;
        }
        // It reads what eases it, just in time.
        w.pass_ms(350);
        waited_ms += 350;
        let waiting = w.unsent("r");
        w.stall_after("r", waiting);
        w.settle();
        w.stall("r");
        if w.counters().slow_consumers > 0 {
            break;
        }
    }
    assert!(waited_ms <= 2 * 350, "{waited_ms} ms");
    w.all_heard("r");
}

#[test]
fn a_receiver_that_leaves_is_not_waited_for() {
    for leaves in [World::lose, World::disconnect] {
        let mut w = world(ProtocolVersion::V311, 0);
        w.connect("lively", v5());
        w.subscribe("lively", "x", 0);
        say_numbered(&mut w, "s", "x", 0..20);
        assert!(w.unread("s") > 0);
        leaves(&mut w, "r");
        assert_eq!(w.unread("s"), 0);
        assert_eq!(w.all_heard("lively").len(), 20);
    }
}

#[test] // [MQTT5-3.1.2-22]: it is not read, so its silence is ours
fn keep_alive_does_not_run_against_a_publisher_that_waits() {
    let mut w = world(ProtocolVersion::V311, 0);
    w.connect("t", v311().keep_alive(1));
    w.unheed("t");
    w.pass_ms(1_300);
    say_numbered(&mut w, "t", "x", 0..20);
    assert!(w.unread("t") > 0);
    w.pass_ms(450);
    assert!(w.is_open("t"), "it was heard 450 ms ago and has been waiting since");
    w.pass_ms(1_200);
    assert!(w.is_open("t"), "its silence began when it was read again");
    w.pass_ms(1_500);
    assert!(!w.is_open("t"));
}

#[test]
fn what_a_dead_consumer_did_not_read_comes_to_its_next_connection() {
    let mut w = World::with(limits());
    w.connect("r", v311().persistent());
    w.subscribe("r", "x", 1);
    w.stall_after("r", 55);
    w.connect("s", v311());
    publish_patiently(&mut w, "s", 1, 0..300);
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
