//! When memory is short: who waits, what is dropped, what is refused, and that it all goes on when
//! there is room again.

use noctule_broker::{Cause, Dropped, Limits, OnQueueFull, Owner, Pressure};
use noctule_mqtt::ReasonCode;
use noctule_testkit::World;
use noctule_testkit::packets::*;

const MEMORY_MAX: usize = 1_000_000;
/// A brake of 100 ms, and the grain of a timer.
const BRAKED_MS: u64 = 100 + 2 * 128;

/// A world in which `away`, who is not there, is owed so many messages of 1,000 bytes from `s`.
fn filled(messages: usize) -> World {
    filled_with(messages, &Limits::default())
}

fn filled_with(messages: usize, limits: &Limits) -> World {
    let mut w = World::with(Limits { memory_max: MEMORY_MAX, ..limits.clone() });
    w.connect("away", v311().persistent());
    w.subscribe("away", "fill", 1);
    w.lose("away");
    w.connect("s", v5());
    for _ in 0..messages {
        w.publish("s", publish("fill", [0; 1_000]).qos(1));
    }
    w
}

/// Empties the queue that was filled.
fn make_room(w: &mut World) {
    w.connect("away", v311());
    w.settle();
    assert_eq!(w.pressure(), Pressure::None);
}

#[test]
fn pressure_rises_with_what_is_queued_and_falls_when_it_is_gone() {
    for (messages, pressure) in [
        (500, Pressure::None),
        (750, Pressure::Floods),
        (840, Pressure::AtMostOnce),
        (930, Pressure::NewWork),
    ] {
        let mut w = filled(messages);
        assert_eq!(w.pressure(), pressure, "{messages} messages");
        make_room(&mut w);
    }
}

/// What sessions were owed that have ended, as far as it is not freed yet.
fn not_freed(w: &World) -> usize {
    let all: usize = w.owners().map(|(_, bytes)| bytes).sum();
    assert_eq!(all, w.memory_of_all(), "every byte has an owner");
    w.owners().filter(|(owner, _)| *owner == Owner::Ended).map(|(_, bytes)| bytes).sum()
}

#[test]
fn what_a_session_was_owed_is_freed_in_slices_when_it_ends() {
    const MESSAGES: usize = 5_000;
    const SLICE: usize = 1_000;
    // At hand, and left to a store in memory.
    for at_hand in [1 << 30, 1_000] {
        let limits = Limits { queue_resident_bytes_max: at_hand, ..Limits::default() };
        let mut w = World::with(limits);
        w.connect("away", v311().persistent());
        w.subscribe("away", "fill", 1);
        w.lose("away");
        w.connect("s", v5());
        let before = w.memory_of_all();
        for _ in 0..MESSAGES {
            w.publish("s", publish("fill", [0; 100]).qos(1));
        }
        let each = (w.memory_of_all() - before) / MESSAGES;
        w.connect("away", v311());
        let mut left = not_freed(&w);
        assert!(left >= (MESSAGES - SLICE) * each, "{left} bytes of {MESSAGES} times {each}");
        while left > 0 {
            w.settle();
            assert_eq!(not_freed(&w), left, "once in a millisecond");
            w.pass_ms(1);
            let freed = left - not_freed(&w);
            assert!((1..=SLICE * each).contains(&freed), "{freed} bytes of {each} each");
            left -= freed;
        }
    }
}

#[test]
fn who_sends_much_is_read_slowly_and_who_sends_little_is_not() {
    let mut w = filled(750);
    w.connect("flood", v311());
    w.send("flood", publish("nobody", [0; 5_000]));
    w.send("flood", pingreq());
    assert!(w.unread("flood") > 0, "it waits");
    w.connect("little", v311());
    for _ in 0..10 {
        w.send("little", publish("nobody", [0; 500]));
        w.send("little", pingreq());
        w.expect("little", pingresp());
    }
    w.pass_ms(BRAKED_MS);
    w.expect("flood", pingresp());
}

#[test]
fn at_most_once_is_dropped_for_whoever_does_not_take_it() {
    let mut w = filled(840);
    for name in ["slow", "fast"] {
        w.connect(name, v311());
        w.subscribe(name, "news", 0);
    }
    w.stall("slow");
    for number in 0..100 {
        w.send("s", publish("news", vec![number; 1_000]));
        w.pass_ms(BRAKED_MS);
        w.expect("fast", publish("news", vec![number; 1_000]));
    }
    let dropped = w.dropped().memory_at_most_once;
    assert!((75..90).contains(&dropped), "{dropped} of 100");
    assert!(w.unsent("slow") < 20_000);
}

#[test]
fn queues_take_nothing_more_when_there_is_none_left_and_keep_what_they_have() {
    let mut w = filled(1_000);
    let refused = w.dropped().memory_queued as usize;
    assert!((50..150).contains(&refused), "{refused} of 1,000");
    make_room(&mut w);
}

#[test]
fn what_is_promised_reaches_those_who_are_there_also_if_it_cannot_be_retained() {
    let mut w = filled(850);
    w.connect("r", v5());
    w.subscribe("r", "live", 2);
    w.connect("p", v5().expiry(100));
    w.connect("mortal", v5().will(will("live", "gone").qos(1).retain()));
    while w.pressure() < Pressure::NewWork {
        w.publish("s", publish("fill", [0; 1_000]).qos(1));
    }
    // Before its receipt is promised it can be refused.
    w.send("p", publish("live", "x").qos(2).retain().id(1));
    w.expect("p", pubrec(1).because(ReasonCode::QuotaExceeded));
    // Nobody is there who could send a will again.
    w.lose("mortal");
    w.receive("r", publish("live", "gone").qos(1));
    assert_eq!((w.dropped().memory_retained, w.population().retained), (2, 0));
}

#[test]
fn what_was_promised_before_memory_was_short_is_routed() {
    let mut w = filled(850);
    w.connect("r", v5());
    w.subscribe("r", "live", 2);
    w.connect("p", v5().expiry(100));
    w.hold_store();
    w.send("p", publish("live", "x").qos(2).retain().id(1));
    let mut id = 1;
    while w.pressure() < Pressure::NewWork {
        w.send("s", publish("fill", [0; 1_000]).qos(1).id(id));
        w.pass_ms(BRAKED_MS);
        id += 1;
    }
    w.let_store_run();
    w.expect("p", pubrec(1));
    w.receive("r", publish("live", "x").qos(2));
    // The others are answered too.
    w.all_heard("s");
}

#[test]
fn new_sessions_subscriptions_and_retained_messages_are_refused_until_there_is_room() {
    let mut w = filled(850);
    w.connect("r", v5());
    w.subscribe("r", "live", 1);
    while w.pressure() < Pressure::NewWork {
        w.publish("s", publish("fill", [0; 1_000]).qos(1));
    }
    w.send("r", subscribe(2, "more", 0).and("live", 0));
    w.expect("r", suback(2, &[ReasonCode::QuotaExceeded.byte(), 0]));
    w.expect_refused("late", v5(), ReasonCode::QuotaExceeded);
    w.send("s", publish("kept", "x").qos(1).retain().id(1));
    w.expect("s", puback(1).because(ReasonCode::QuotaExceeded));
    // What need not be kept goes on.
    w.publish("s", publish("live", "y"));
    w.expect("r", publish("live", "y"));
    let Dropped { memory_subscriptions, memory_sessions, memory_retained, .. } = *w.dropped();
    assert_eq!((memory_subscriptions, memory_sessions, memory_retained), (1, 1, 1));
    make_room(&mut w);
    w.subscribe("r", "more", 0);
    w.connect("late", v5());
    w.publish("s", publish("kept", "x").qos(1).retain());
    assert_eq!(w.population().retained, 1);
}

#[test]
fn a_retained_message_can_be_removed_when_memory_is_short() {
    let mut w = World::with(Limits { memory_max: MEMORY_MAX, ..Limits::default() });
    w.connect("s", v5());
    let mut topics = 0;
    while w.pressure() < Pressure::NewWork {
        w.pass_ms(BRAKED_MS);
        w.publish("s", publish(&topics.to_string(), [0; 1_000]).qos(1).retain());
        topics += 1;
    }
    assert!((700..1_000).contains(&topics), "{topics}");
    for topic in 0..topics {
        w.publish("s", publish(&topic.to_string(), "").qos(1).retain());
    }
    assert_eq!((w.population().retained, w.pressure()), (0, Pressure::None));
}

#[test] // 3.x has no negative acknowledgement
fn before_version_5_a_refused_publisher_is_closed_without_an_acknowledgement() {
    let limits = Limits { on_queue_full: OnQueueFull::Refuse, ..Limits::default() };
    let mut w = filled_with(850, &limits);
    w.connect("old", v311());
    while w.pressure() < Pressure::NewWork {
        w.publish("old", publish("fill", [0; 1_000]).qos(1));
    }
    w.send("old", publish("fill", [0; 1_000]).qos(1).id(9));
    w.expect_closed("old");
    assert_eq!(w.cause("old"), Some(&Cause::QuotaExceeded));
}

#[test]
fn who_is_sending_something_large_goes_when_there_is_no_room_left() {
    let mut w = filled(850);
    w.connect("large", v5());
    while w.pressure() < Pressure::NewWork {
        w.publish("s", publish("fill", [0; 1_000]).qos(1));
    }
    // The beginning of a PUBLISH of 1,000,000 bytes.
    w.send_bytes("large", &[0x30, 0xC0, 0x84, 0x3D, 0, 1, b'x']);
    for _ in 0..20 {
        if w.is_open("large") {
            w.send_bytes("large", &[0; 5_000]);
            w.pass_ms(BRAKED_MS);
        }
    }
    w.expect("large", disconnect(ReasonCode::QuotaExceeded));
    w.expect_closed("large");
    assert_eq!(w.cause("large"), Some(&Cause::MemoryShort));
    assert!(w.is_open("s"));
}

#[test]
fn a_large_message_counts_once_however_many_have_it() {
    let mut w = World::new();
    for number in 0..20 {
        let name = format!("r{number}");
        w.connect(&name, v311());
        w.subscribe(&name, "x", 1);
        w.stall(&name);
    }
    w.connect("s", v311());
    let before = w.memory_of_all();
    w.publish("s", publish("x", vec![7; 500_000]).qos(1));
    let taken = w.memory_of_all() - before;
    assert!((500_000..600_000).contains(&taken), "{taken} bytes");
    for number in 0..20 {
        w.lose(&format!("r{number}"));
    }
    assert_eq!(w.large(), 0, "nobody has it any more");
}

#[test]
fn one_can_ask_who_takes_memory() {
    let w = filled(100);
    let most = w.owners().max_by_key(|(_, bytes)| *bytes).expect("there are some");
    assert!(matches!(most.0, Owner::Session(_)), "{most:?}");
    assert!((100_000..140_000).contains(&most.1), "{most:?}");
}
