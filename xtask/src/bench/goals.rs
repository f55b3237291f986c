//! What is shown, and what it is to be: the goals, and what others were measured at when the goals
//! were set.

/// One line of the table: a figure of a row, and how it is written.
pub(super) struct Line {
    pub(super) title: &'static str,
    pub(super) row: &'static str,
    pub(super) figure: &'static str,
    pub(super) unit: &'static str,
    /// At most.
    pub(super) goal: Option<Goal>,
}

/// What a figure may be at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Goal {
    /// In the unit of the line.
    AtMost(f64),
    /// So many times the relay's figure of the same run.
    TimesRelay(f64),
}

const fn at_most(
    title: &'static str,
    row: &'static str,
    figure: &'static str,
    unit: &'static str,
    most: f64,
) -> Line {
    Line { title, row, figure, unit, goal: Some(Goal::AtMost(most)) }
}

const fn shown(
    title: &'static str,
    row: &'static str,
    figure: &'static str,
    unit: &'static str,
) -> Line {
    Line { title, row, figure, unit, goal: None }
}

/// The lines that have goals.
pub(super) const GOALS: &[Line] = &[
    at_most("pair QoS 0, 64 B", "pair-q0-64", "us", "µs", 0.12),
    at_most("pair QoS 0, 1 KiB", "pair-q0-1k", "us", "µs", 0.85),
    at_most("pair QoS 1, 64 B", "pair-q1-64", "us", "µs", 0.22),
    at_most("pair QoS 1, 1 KiB", "pair-q1-1k", "us", "µs", 0.95),
    at_most("pair QoS 2, 64 B", "pair-q2-64", "us", "µs", 0.50),
    at_most("pair QoS 2, 1 KiB", "pair-q2-1k", "us", "µs", 1.2),
    at_most("500 pairs, 2 in flight, QoS 0", "many-q0", "us", "µs", 3.6),
    at_most("500 pairs, 2 in flight, QoS 1", "many-q1", "us", "µs", 6.5),
    at_most("fan-out 1 to 500, QoS 0", "fan-out-q0", "us", "µs", 0.08),
    at_most("fan-out 1 to 500, QoS 1", "fan-out-q1", "us", "µs", 0.20),
    at_most("fan-in 100 to 1, QoS 1", "fan-in-q1", "us", "µs", 0.25),
    at_most("100 clients × 1,000 wildcard filters", "filters-100k", "us", "µs", 0.9),
    at_most("idle connection", "idle-10k", "bytes", "bytes", 600.0),
    at_most("idle connection, TLS", "idle-tls", "bytes", "bytes", 5_600.0),
    Line {
        title: "connect",
        row: "connect",
        figure: "us",
        unit: "µs",
        goal: Some(Goal::TimesRelay(1.3)),
    },
    at_most("filter subscribed", "filters-100k", "subscribe_us", "µs", 0.8),
    at_most("filter subscribed", "filters-100k", "filter_bytes", "bytes", 250.0),
    at_most("100,000 retained to one subscriber", "retained", "take_s", "s", 0.05),
    at_most("retained message, above its payload", "retained", "bytes", "bytes", 200.0),
];

/// The lines that have none.
pub(super) const MORE: &[Line] = &[
    shown("pair over TLS, QoS 0, 64 B, 100 in flight", "tls-pair-q0", "us", "µs"),
    shown("pair over TLS, QoS 1, 64 B, 100 in flight", "tls-pair-q1", "us", "µs"),
    shown("TLS handshake, full", "handshake", "full_us", "µs"),
    shown("TLS handshake, resumed", "handshake", "resumed_us", "µs"),
    shown("5,000 messages/s, QoS 0, p50", "steady-q0", "p50_us", "µs"),
    shown("5,000 messages/s, QoS 0, p99", "steady-q0", "p99_us", "µs"),
    shown("5,000 messages/s, QoS 0, p99.9", "steady-q0", "p999_us", "µs"),
    shown("5,000 messages/s, QoS 1, p50", "steady-q1", "p50_us", "µs"),
    shown("5,000 messages/s, QoS 1, p99", "steady-q1", "p99_us", "µs"),
    shown("5,000 messages/s, QoS 1, p99.9", "steady-q1", "p999_us", "µs"),
    shown("durable QoS 1, 64 × 16 under way, receiver there", "durable-q1", "us", "µs"),
    shown("… more than in memory", "durable-q1", "more_us", "µs"),
    shown("… messages a second", "durable-q1", "per_second", "/s"),
    shown("… what the disk allows", "durable-q1", "floor", "/s"),
    shown("durable QoS 1, receiver away", "durable-q1", "absent_us", "µs"),
    shown("… more than in memory", "durable-q1", "absent_more_us", "µs"),
    shown("… messages a second", "durable-q1", "absent_per_second", "/s"),
    shown("… what the disk allows", "durable-q1", "absent_floor", "/s"),
    shown("retained message set, QoS 0", "retained", "set_us", "µs"),
    shown("absent session with a subscription", "grow-absent-100k", "bytes", "bytes"),
];

/// How a figure grows: a curve for each of some brokers, or of some rows.
pub(super) struct Growth {
    /// Of the picture's file, without `.svg`.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) x: &'static str,
    pub(super) y: &'static str,
    pub(super) figure: &'static str,
    pub(super) curves: &'static [Curve],
}

/// A curve: its points are figures of rows at brokers.
pub(super) struct Curve {
    pub(super) label: &'static str,
    /// How much there is of what grows, the row, and the broker.
    pub(super) points: &'static [(f64, &'static str, &'static str)],
}

macro_rules! curve {
    ($label:literal, $broker:literal: $($x:literal $row:literal),+) => {
        Curve { label: $label, points: &[$(($x, $row, $broker)),+] }
    };
}

macro_rules! loops {
    ($label:literal, $row:literal) => {
        Curve {
            label: $label,
            points: &[
                (1.0, $row, "noctule/1"),
                (2.0, $row, "noctule/2"),
                (4.0, $row, "noctule/4"),
                (8.0, $row, "noctule/8"),
            ],
        }
    };
}

pub(super) const GROWTH: &[Growth] = &[
    Growth {
        name: "pairs",
        title: "Pairs, QoS 0, 64 B, 100 in flight each",
        x: "pairs",
        y: "µs of processor time per message",
        figure: "us",
        curves: &[
            curve!("Noctule", "noctule": 1.0 "grow-pairs-1", 10.0 "grow-pairs-10",
                100.0 "grow-pairs-100", 1000.0 "grow-pairs-1000"),
            curve!("relay", "relay": 1.0 "grow-pairs-1", 10.0 "grow-pairs-10",
                100.0 "grow-pairs-100", 1000.0 "grow-pairs-1000"),
            curve!("Mosquitto", "mosquitto": 1.0 "grow-pairs-1", 10.0 "grow-pairs-10",
                100.0 "grow-pairs-100", 1000.0 "grow-pairs-1000"),
        ],
    },
    Growth {
        name: "filters",
        title: "Filters with wildcards, one of which matches",
        x: "filters",
        y: "µs of processor time per message",
        figure: "us",
        curves: &[
            curve!("Noctule", "noctule": 1e3 "grow-filters-1k", 1e5 "grow-filters-100k",
                1e6 "grow-filters-1m"),
            curve!("Mosquitto", "mosquitto": 1e3 "grow-filters-1k", 1e5 "grow-filters-100k"),
        ],
    },
    Growth {
        name: "filter-bytes",
        title: "Memory of a filter with wildcards",
        x: "filters",
        y: "resident bytes each",
        figure: "filter_bytes",
        curves: &[
            curve!("Noctule", "noctule": 1e3 "grow-filters-1k", 1e5 "grow-filters-100k",
                1e6 "grow-filters-1m"),
            curve!("Mosquitto", "mosquitto": 1e3 "grow-filters-1k", 1e5 "grow-filters-100k"),
        ],
    },
    Growth {
        name: "connections",
        title: "Memory of an idle connection",
        x: "connections",
        y: "resident bytes each",
        figure: "bytes",
        curves: &[
            curve!("Noctule", "noctule": 1e3 "grow-idle-1k", 1e4 "idle-10k", 1.9e4 "grow-idle-19k"),
            curve!("Mosquitto", "mosquitto": 1e3 "grow-idle-1k", 1e4 "idle-10k",
                1.9e4 "grow-idle-19k"),
        ],
    },
    Growth {
        name: "loops",
        title: "Loops on two processors, generator included",
        x: "loops",
        y: "µs of processor time per message",
        figure: "us",
        curves: &[
            loops!("100 pairs, QoS 0", "shards-pairs-q0"),
            loops!("100 pairs, QoS 1", "shards-pairs-q1"),
            loops!("1 to 500, QoS 0", "shards-fan-out-q0"),
        ],
    },
    Growth {
        name: "loops-rate",
        title: "Loops on two processors, generator included",
        x: "loops",
        y: "messages a second",
        figure: "per_second",
        curves: &[
            loops!("100 pairs, QoS 0", "shards-pairs-q0"),
            loops!("100 pairs, QoS 1", "shards-pairs-q1"),
            loops!("1 to 500, QoS 0", "shards-fan-out-q0"),
        ],
    },
];
