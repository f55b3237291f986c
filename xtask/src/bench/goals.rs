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
    /// In the unit of the line, on a machine on which the relay takes `relay` in this row; on another
    /// machine as much more or less as the relay takes more or less there.
    Beside { most: f64, row: &'static str, relay: f64 },
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

/// A goal that was set beside a figure of the relay in this row: the first of `relay`.
const fn beside(
    title: &'static str,
    row: &'static str,
    figure: &'static str,
    unit: &'static str,
    most: f64,
    relay: (f64, &'static str),
) -> Line {
    let goal = Goal::Beside { most, row: relay.1, relay: relay.0 };
    Line { title, row, figure, unit, goal: Some(goal) }
}

const fn shown(
    title: &'static str,
    row: &'static str,
    figure: &'static str,
    unit: &'static str,
) -> Line {
    Line { title, row, figure, unit, goal: None }
}

/// Rows of what storing costs.
const DURABLE: &str = "durable-q1";
const DEEP: &str = "durable-deep-q1";
const SMALL: &str = "durable-small-q1";

/// The lines that have goals.
pub(super) const GOALS: &[Line] = &[
    beside("pair QoS 0, 64 B", "pair-q0-64", "us", "µs", 0.12, (0.027, "pair-q0-64")),
    beside("pair QoS 0, 1 KiB", "pair-q0-1k", "us", "µs", 0.85, (0.65, "pair-q0-1k")),
    at_most("pair QoS 1, 64 B", "pair-q1-64", "us", "µs", 0.22),
    at_most("pair QoS 1, 1 KiB", "pair-q1-1k", "us", "µs", 0.95),
    at_most("pair QoS 2, 64 B", "pair-q2-64", "us", "µs", 0.50),
    at_most("pair QoS 2, 1 KiB", "pair-q2-1k", "us", "µs", 1.2),
    beside("500 pairs, 2 in flight, QoS 0", "many-q0", "us", "µs", 3.6, (2.95, "many-q0")),
    beside("500 pairs, 2 in flight, QoS 1", "many-q1", "us", "µs", 6.5, (2.95, "many-q0")),
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
    at_most("durable − in memory, 64 × 16, receiver there", DURABLE, "more_us", "µs", 0.7),
    at_most("durable − in memory, 64 × 16, receiver away", DURABLE, "absent_more_us", "µs", 0.7),
    at_most("durable − in memory, 64 × 100, receiver there", DEEP, "more_us", "µs", 0.7),
    at_most("durable − in memory, 64 × 100, receiver away", DEEP, "absent_more_us", "µs", 0.7),
    at_most("durable − in memory, 36 × 1, receiver there", SMALL, "more_us", "µs", 4.0),
    at_most("durable − in memory, 36 × 1, receiver away", SMALL, "absent_more_us", "µs", 4.0),
];

/// The lines that have none.
pub(super) const MORE: &[Line] = &[
    shown("one of 100,000 wildcard filters matches", "filters-100k-one", "us", "µs"),
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
    shown("durable QoS 1, 64 × 16 under way, receiver there", DURABLE, "us", "µs"),
    shown("… messages a second", DURABLE, "per_second", "/s"),
    shown("… what the disk allows", DURABLE, "floor", "/s"),
    shown("durable QoS 1, receiver away", DURABLE, "absent_us", "µs"),
    shown("… messages a second", DURABLE, "absent_per_second", "/s"),
    shown("… what the disk allows", DURABLE, "absent_floor", "/s"),
    shown("durable QoS 1, 64 × 100 under way, receiver there", DEEP, "us", "µs"),
    shown("… messages a second", DEEP, "per_second", "/s"),
    shown("durable QoS 1, 36 × 1 under way, receiver away", SMALL, "absent_us", "µs"),
    shown("… to a commit", SMALL, "absent_per_commit", "messages"),
    shown("retained message set, QoS 0", "retained", "set_us", "µs"),
    shown("10,000 connections, gone again: what stays", "idle-10k", "left_bytes", "bytes"),
    shown("1 million messages queued, each", "backlog-1m", "bytes", "bytes"),
    shown("… taken and gone: what stays", "backlog-1m", "left_bytes", "bytes"),
    shown("absent session with a subscription", "grow-absent-100k", "bytes", "bytes"),
];

/// What a broker is to do at twice the load that it can carry.
pub(super) struct Burden {
    pub(super) title: &'static str,
    pub(super) row: &'static str,
    /// At whom, and what it is called.
    pub(super) brokers: &'static [(&'static str, &'static str)],
}

/// A figure of a burden: what it is called, and what it is to be.
pub(super) struct Bearing {
    pub(super) title: &'static str,
    pub(super) figure: &'static str,
    pub(super) bound: Option<Bound>,
}

/// What a figure is to be at most, or at least.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    pub(super) fn is_kept(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

const ON_ONE: &[(&str, &str)] =
    &[("noctule/1", "Noctule, one loop"), ("relay", "relay"), ("mosquitto", "Mosquitto")];
const SPREAD: &[(&str, &str)] = &[("noctule", "Noctule as it comes, not pinned")];

const fn burden(
    title: &'static str,
    row: &'static str,
    brokers: &'static [(&'static str, &'static str)],
) -> Burden {
    Burden { title, row, brokers }
}

/// The lines of the table of overload.
pub(super) const BURDENS: &[Burden] = &[
    burden("QoS 0", "overload-q0", ON_ONE),
    burden("QoS 0", "overload-q0-spread", SPREAD),
    burden("QoS 1", "overload-q1", ON_ONE),
    burden("QoS 1", "overload-q1-spread", SPREAD),
    burden("a third each at QoS 0, 1, 2", "overload-mixed", ON_ONE),
    burden("a third each at QoS 0, 1, 2", "overload-mixed-spread", SPREAD),
    burden("the same, with laggards", "overload-laggards", ON_ONE),
    burden("the same, with laggards", "overload-laggards-spread", SPREAD),
];

const fn bearing(title: &'static str, figure: &'static str, bound: Option<Bound>) -> Bearing {
    Bearing { title, figure, bound }
}

/// And its columns.
pub(super) const BEARINGS: &[Bearing] = &[
    bearing("peak, /s", "peak_per_second", None),
    bearing("offered, /s", "offered_per_second", None),
    bearing("carried, /s", "per_second", None),
    bearing("× peak", "of_peak", Some(Bound::AtLeast(0.9))),
    bearing("processors busy", "busy", None),
    bearing("generator's", "generator_busy", None),
    bearing("memory grown by, MiB", "memory_mib", Some(Bound::AtMost(256.0))),
    bearing("good client QoS 0, p99 ms", "good_q0_p99_ms", Some(Bound::AtMost(20.0))),
    bearing("QoS 1, p99 ms", "good_q1_p99_ms", Some(Bound::AtMost(20.0))),
    bearing("control, p99 ms", "control_p99_ms", None),
    bearing("lost", "lost", Some(Bound::AtMost(0.0))),
    bearing("doubled", "doubled", Some(Bound::AtMost(0.0))),
];

/// The rows of the table of what more loops gain, and what they are called.
pub(super) const GAINS: &[(&str, &str)] = &[
    ("100 pairs, QoS 0", "gain-pairs-q0"),
    ("100 pairs, QoS 1", "gain-pairs-q1"),
    ("1 to 500, QoS 0", "gain-fan-out-q0"),
];

/// How a figure grows: a curve for each broker, or for each row.
pub(super) struct Growth {
    /// Of the picture's file, without `.svg`.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) x: &'static str,
    pub(super) y: &'static str,
    pub(super) figure: &'static str,
    pub(super) curves: Curves,
}

/// Which figures make the curves.
pub(super) enum Curves {
    /// How much there is of what grows, and the row; a curve for each of the brokers.
    Rows(&'static [(f64, &'static str)]),
    /// What a curve is called, and its row; a point for each number of loops.
    Loops(&'static [(&'static str, &'static str)]),
}

/// Whose curves there are, as far as they have points.
pub(super) const BROKERS: &[(&str, &str)] =
    &[("Noctule", "noctule"), ("relay", "relay"), ("Mosquitto", "mosquitto")];

/// Numbers of loops, and what the suite calls Noctule with them.
pub(super) const LOOPS: &[(f64, &str)] =
    &[(1.0, "noctule/1"), (2.0, "noctule/2"), (4.0, "noctule/4"), (8.0, "noctule/8")];

const PAIRS: Curves = Curves::Rows(&[
    (1.0, "grow-pairs-1"),
    (10.0, "grow-pairs-10"),
    (100.0, "grow-pairs-100"),
    (1e3, "grow-pairs-1000"),
]);
const FILTERS: Curves =
    Curves::Rows(&[(1e3, "grow-filters-1k"), (1e5, "grow-filters-100k"), (1e6, "grow-filters-1m")]);
const CONNECTIONS: Curves =
    Curves::Rows(&[(1e3, "grow-idle-1k"), (1e4, "idle-10k"), (1.9e4, "grow-idle-19k")]);
const SPREADS: Curves = Curves::Loops(&[
    ("100 pairs, QoS 0", "shards-pairs-q0"),
    ("100 pairs, QoS 1", "shards-pairs-q1"),
    ("1 to 500, QoS 0", "shards-fan-out-q0"),
]);

pub(super) const GROWTH: &[Growth] = &[
    Growth {
        name: "pairs",
        title: "Pairs, QoS 0, 64 B, 100 in flight each",
        x: "pairs",
        y: "µs of processor time per message",
        figure: "us",
        curves: PAIRS,
    },
    Growth {
        name: "filters",
        title: "Filters with wildcards, one of which matches",
        x: "filters",
        y: "µs of processor time per message",
        figure: "us",
        curves: FILTERS,
    },
    Growth {
        name: "filter-bytes",
        title: "Memory of a filter with wildcards",
        x: "filters",
        y: "resident bytes each",
        figure: "filter_bytes",
        curves: FILTERS,
    },
    Growth {
        name: "connections",
        title: "Memory of an idle connection",
        x: "connections",
        y: "resident bytes each",
        figure: "bytes",
        curves: CONNECTIONS,
    },
    Growth {
        name: "loops",
        title: "Loops on two processors, generator included",
        x: "loops",
        y: "µs of processor time per message",
        figure: "us",
        curves: SPREADS,
    },
    Growth {
        name: "loops-rate",
        title: "Loops on two processors, generator included",
        x: "loops",
        y: "messages a second",
        figure: "per_second",
        curves: SPREADS,
    },
];
