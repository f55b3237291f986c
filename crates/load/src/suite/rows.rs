//! Which rows there are.

use noctule_mqtt::QoS;

use super::{Overload, Row, Who, Work};
use crate::plan::Shape;

const ALL: &[Who] = &[Who::Noctule, Who::Relay, Who::Mosquitto];
const BROKERS: &[Who] = &[Who::Noctule, Who::Mosquitto];
const OURS: &[Who] = &[Who::Noctule];
const ALL_ON_ONE: &[Who] = &[Who::Loops(1), Who::Relay, Who::Mosquitto];
const BROKERS_ON_ONE: &[Who] = &[Who::Loops(1), Who::Mosquitto];
const LOOPS: &[Who] = &[Who::Loops(1), Who::Loops(2), Who::Loops(4), Who::Loops(8)];
const RATIONED: &[Who] = &[Who::Loops(1), Who::Loops(2), Who::Loops(4)];

/// Messages under way per receiver in floods.
const WINDOW: u32 = 1_000;
const SMALL_WINDOW: u32 = 100;
/// More than are acknowledged to nobody else than to us: of QoS 2 a client may have as many begun.
const QOS_2_WINDOW: u32 = 500;
/// For one receiver of a hundred publishers: each has a hundredth of it under way.
const FAN_IN_WINDOW: u32 = 10_000;
const FAN_IN_SMALL_WINDOW: u32 = 800;

/// All rows, in the order in which they are measured.
pub fn rows() -> Vec<Row> {
    let mut rows = vec![];
    let mut add = |name: &str, who: &[Who], work| rows.push(row(name, who, work));
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for (size, payload_bytes) in [("64", 64), ("1k", 1_024)] {
            let window = if qos == QoS::ExactlyOnce { QOS_2_WINDOW } else { WINDOW };
            let work = flow(Shape::Pairs(10), qos, payload_bytes, window);
            add(&format!("pair-q{}-{size}", qos.bits()), ALL, work);
        }
    }
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        add(&format!("many-q{}", qos.bits()), ALL, flow(Shape::Pairs(500), qos, 64, 2));
    }
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let work = flow(Shape::FanOut(500), qos, 64, WINDOW);
        add(&format!("fan-out-q{}", qos.bits()), ALL, work);
    }
    for (name, window) in [("fan-in-q1", FAN_IN_WINDOW), ("fan-in-small-q1", FAN_IN_SMALL_WINDOW)] {
        add(name, ALL, flow(Shape::FanIn(100), QoS::AtLeastOnce, 64, window));
    }
    add("filters-100k", BROKERS, filters(1_000, 4));
    add("filters-100k-one", BROKERS, filters(1_000, 1));
    add("idle-10k", BROKERS, Work::Idle { connections: 10_000, over_tls: false });
    add("idle-tls", BROKERS, Work::Idle { connections: 2_000, over_tls: true });
    add("connect", ALL, Work::Coming { over_tls: false });
    add("handshake", BROKERS, Work::Coming { over_tls: true });
    add("retained", BROKERS, Work::Retained { messages: 100_000 });
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let over_tls = true;
        let (shape, window) = (Shape::Pairs(10), SMALL_WINDOW);
        let work = Work::Flow { shape, qos, payload_bytes: 64, window, over_tls };
        add(&format!("tls-pair-q{}", qos.bits()), BROKERS, work);
    }
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let work = Work::Steady { qos, rate: 5_000.0 };
        add(&format!("steady-q{}", qos.bits()), ALL, work);
    }
    add("durable-q1", OURS, Work::Disk { publishers: 64, window: 16 });
    // More than may be in flight to the receiver.
    add("durable-deep-q1", OURS, Work::Disk { publishers: 64, window: 100 });
    // Some 16 messages to a commit while the receiver is away.
    add("durable-small-q1", OURS, Work::Disk { publishers: 36, window: 1 });
    overloads(&mut rows);
    growth(&mut rows);
    rows
}

/// Twice what a broker can carry. The relay has no laggards, as it writes to the first who hears.
fn overloads(rows: &mut Vec<Row>) {
    const MIXED: &[QoS] = &[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    for (name, who, levels, laggards) in [
        ("overload-q0", ALL_ON_ONE, &MIXED[..1], 0),
        ("overload-q1", ALL_ON_ONE, &MIXED[1..2], 0),
        ("overload-mixed", BROKERS_ON_ONE, MIXED, 0),
        ("overload-laggards", BROKERS_ON_ONE, MIXED, 12),
    ] {
        let work = Work::Overload(Overload { levels, laggards });
        rows.push(row(name, who, work));
        let spread = format!("{name}-spread");
        rows.push(Row { pinned: false, ..row(&spread, OURS, work) });
    }
}

/// How figures grow with what there is of something.
fn growth(rows: &mut Vec<Row>) {
    for pairs in [1, 10, 100, 1_000] {
        let work = flow(Shape::Pairs(pairs), QoS::AtMostOnce, 64, SMALL_WINDOW);
        rows.push(row(&format!("grow-pairs-{pairs}"), ALL, work));
    }
    let mut once = |name: &str, who: &[Who], work| {
        rows.push(Row { rounds_max: 1, ..row(name, who, work) });
    };
    once("grow-filters-1k", BROKERS, filters(10, 1));
    once("grow-filters-100k", BROKERS, filters(1_000, 1));
    once("grow-filters-1m", OURS, filters(10_000, 1));
    once("grow-idle-1k", BROKERS, Work::Idle { connections: 1_000, over_tls: false });
    once("grow-idle-19k", BROKERS, Work::Idle { connections: 19_000, over_tls: false });
    once("backlog-1m", OURS, Work::Backlog { clients: 10, each: 100_000 });
    once("grow-absent-100k", BROKERS, Work::Absent { sessions: 100_000 });
    // One after another on the same two processors, generator included.
    let mut spread = |name: &str, work| {
        rows.push(Row { pinned: false, ..row(name, LOOPS, work) });
    };
    spread("shards-pairs-q0", flow(Shape::Pairs(100), QoS::AtMostOnce, 64, SMALL_WINDOW));
    spread("shards-pairs-q1", flow(Shape::Pairs(100), QoS::AtLeastOnce, 64, SMALL_WINDOW));
    spread("shards-fan-out-q0", flow(Shape::FanOut(500), QoS::AtMostOnce, 64, WINDOW));
    // A share of a processor for each loop, so that the generator has what it needs.
    let mut gain = |name: &str, shape, qos| {
        let work = Work::Gain { shape, qos, window: WINDOW };
        rows.push(Row { pinned: false, ..row(name, RATIONED, work) });
    };
    gain("gain-pairs-q0", Shape::Pairs(100), QoS::AtMostOnce);
    gain("gain-pairs-q1", Shape::Pairs(100), QoS::AtLeastOnce);
    gain("gain-fan-out-q0", Shape::FanOut(500), QoS::AtMostOnce);
}

fn row(name: &str, who: &[Who], work: Work) -> Row {
    Row { name: name.into(), work, who: who.into(), pinned: true, rounds_max: u32::MAX }
}

fn flow(shape: Shape, qos: QoS, payload_bytes: usize, window: u32) -> Work {
    Work::Flow { shape, qos, payload_bytes, window, over_tls: false }
}

fn filters(each: u32, matching: u16) -> Work {
    Work::Filters { clients: 100, each, matching }
}
