//! The work that is measured: a design filled with filters, and the cells, each of which does a
//! number of operations on it. Topics and filters are made and checked beforehand.

use crate::design::Design;
use crate::locks::Locks;
use crate::mix::{self, COLD_TOPICS, HOT_TOPICS, Top, WARM_TOPICS};
use noctule_mqtt::{TopicFilter, TopicName};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Publishes to a few topics.
    Hot,
    /// To a quarter as many as the cache has places.
    Warm,
    /// Publishes to many more topics than the cache holds.
    Cold,
    /// As [`Hot`](Self::Hot), with a change of a subscription after every twentieth.
    HotChurn,
    /// As [`Cold`](Self::Cold), with the same changes.
    ColdChurn,
    /// Subscriptions to filters nobody else has.
    Subscribe,
    /// Their end.
    Unsubscribe,
    /// One more subscriber of a filter that thousands have.
    Join,
    /// A publish to the topic of these thousands.
    FanOut,
    /// One leaves or joins, and a publish follows.
    FanOutChanged,
}

impl Cell {
    /// With filters of devices.
    pub(crate) const OF_DEVICES: [Self; 7] = [
        Self::Hot,
        Self::Warm,
        Self::Cold,
        Self::HotChurn,
        Self::ColdChurn,
        Self::Subscribe,
        Self::Unsubscribe,
    ];
    /// With one filter and many subscribers.
    pub(crate) const OF_FAN_OUT: [Self; 3] = [Self::Join, Self::FanOut, Self::FanOutChanged];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hot => "publish, hot",
            Self::Warm => "publish, warm",
            Self::Cold => "publish, cold",
            Self::HotChurn => "publish, hot, 1/20 change",
            Self::ColdChurn => "publish, cold, 1/20 change",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Join => "join the many",
            Self::FanOut => "publish to the many",
            Self::FanOutChanged => "change + publish to the many",
        }
    }
}

/// Subscriptions that come and go.
pub(crate) const GUESTS: usize = 4_096;
/// A million publishes a second with 50,000 changes beside them.
const PUBLISHES_PER_CHANGE: usize = 20;
/// The filter that many have.
const MANY: &str = "plant/alarm";

/// A design at work, whichever it is.
pub(crate) trait Workable {
    /// Makes ready for a cell, without being measured.
    fn prepare(&mut self, cell: Cell);

    /// Does the work of a cell, about `operations` operations, and returns how many they were.
    fn measured(&mut self, cell: Cell, operations: usize) -> usize;
}

impl<D: Design> Workable for Work<D> {
    fn prepare(&mut self, cell: Cell) {
        if cell == Cell::Unsubscribe {
            self.all_guests(true);
            return;
        }
        self.all_guests(false);
        if std::mem::take(&mut self.joined) {
            for session in GUEST_SESSIONS..GUEST_SESSIONS + GUESTS {
                let shard = shard_of(session, self.shards);
                self.design.unsubscribe(shard, parsed(MANY), session as u32);
            }
        }
    }

    fn measured(&mut self, cell: Cell, operations: usize) -> usize {
        self.work(cell, operations)
    }
}

/// A design at work.
pub(crate) struct Work<D> {
    design: D,
    shards: u16,
    topics: Vec<String>,
    guests: Vec<TopicFilter<'static>>,
    /// Whether each guest is subscribed.
    present: Vec<bool>,
    filters: usize,
    many: usize,
    /// Whether the guests have joined the many.
    joined: bool,
    dice: u64,
}

impl<D: Design> Work<D> {
    /// With `filters` filters of the mix, and `many` subscribers of one more filter.
    pub(crate) fn new(shards: u16, top: Top, filters: usize, many: usize) -> Self {
        let mut design = D::new(&Locks::new(shards), 0..shards);
        fill(&mut design, top, 0..filters, shards);
        for session in filters..filters + many {
            design.subscribe(shard_of(session, shards), parsed(MANY), session as u32);
        }
        Self {
            design,
            shards,
            topics: mix::topics(top, filters, COLD_TOPICS),
            guests: guests(top, filters),
            present: vec![false; GUESTS],
            filters,
            many,
            joined: false,
            dice: 0,
        }
    }

    /// Not inlined, so that a tool that counts can tell where it begins and ends.
    #[inline(never)]
    fn work(&mut self, cell: Cell, operations: usize) -> usize {
        match cell {
            Cell::Hot => self.publishes(operations, HOT_TOPICS, false),
            Cell::Warm => self.publishes(operations, WARM_TOPICS, false),
            Cell::Cold => self.publishes(operations, COLD_TOPICS, false),
            Cell::HotChurn => self.publishes(operations, HOT_TOPICS, true),
            Cell::ColdChurn => self.publishes(operations, COLD_TOPICS, true),
            Cell::Subscribe => self.all_guests(true),
            Cell::Unsubscribe => self.all_guests(false),
            Cell::Join => self.joins(),
            Cell::FanOut => self.fan_out(operations, false),
            Cell::FanOutChanged => self.fan_out(operations / FAN_OUT_SHARE, true),
        }
    }

    fn publishes(&mut self, operations: usize, topics: usize, churn: bool) -> usize {
        let topics = &self.topics[..topics];
        for number in 0..operations {
            self.dice = mix::scattered(self.dice.wrapping_add(1));
            let topic = &topics[self.dice as usize % topics.len()];
            let shard = (number % usize::from(self.shards)) as u16;
            let topic = TopicName::from_checked(topic.as_bytes());
            std::hint::black_box(self.design.publish(shard, topic));
            if churn && number % PUBLISHES_PER_CHANGE == 0 {
                let guest = (self.dice >> 32) as usize % GUESTS;
                toggle(&mut self.design, &self.guests, &mut self.present, guest, self.shards);
            }
        }
        operations
    }

    fn all_guests(&mut self, there: bool) -> usize {
        let mut changed = 0;
        for guest in 0..GUESTS {
            if self.present[guest] != there {
                toggle(&mut self.design, &self.guests, &mut self.present, guest, self.shards);
                changed += 1;
            }
        }
        changed
    }

    fn joins(&mut self) -> usize {
        for session in GUEST_SESSIONS..GUEST_SESSIONS + GUESTS {
            let shard = shard_of(session, self.shards);
            self.design.subscribe(shard, parsed(MANY), session as u32);
        }
        self.joined = true;
        GUESTS
    }

    fn fan_out(&mut self, operations: usize, changed: bool) -> usize {
        let topic = TopicName::from_checked(MANY.as_bytes());
        for number in 0..operations {
            if changed {
                let session = self.filters + number / 2 % self.many;
                let shard = shard_of(session, self.shards);
                if number % 2 == 0 {
                    self.design.unsubscribe(shard, parsed(MANY), session as u32);
                } else {
                    self.design.subscribe(shard, parsed(MANY), session as u32);
                }
            }
            let shard = (number % usize::from(self.shards)) as u16;
            std::hint::black_box(self.design.publish(shard, topic));
        }
        operations
    }
}

/// A route to ten thousand takes a thousand times as long to make as one to a few.
const FAN_OUT_SHARE: usize = 100;

/// Subscribes the sessions with these numbers, each to the filter of its number.
pub(crate) fn fill<D: Design>(
    design: &mut D,
    top: Top,
    numbers: impl Iterator<Item = usize>,
    shards: u16,
) {
    for number in numbers {
        let filter = mix::filter(top, number);
        design.subscribe(shard_of(number, shards), parsed(&filter), number as u32);
    }
}

/// Filters of devices like those that are there, in the same sites, which nobody has. They are
/// checked once and live as long as the process.
pub(crate) fn guests(top: Top, filters: usize) -> Vec<TopicFilter<'static>> {
    let guest = |guest: usize| {
        let filter = mix::filter(top, guest % filters);
        // `#` has the last word in a filter.
        let filter = match filter.strip_suffix('#') {
            Some(prefix) => format!("{prefix}guest{guest}/#"),
            None => format!("{filter}/guest{guest}"),
        };
        parsed(filter.leak())
    };
    (0..GUESTS).map(guest).collect()
}

fn toggle<D: Design>(
    design: &mut D,
    guests: &[TopicFilter<'static>],
    present: &mut [bool],
    guest: usize,
    shards: u16,
) {
    let (shard, session) = (shard_of(guest, shards), (GUEST_SESSIONS + guest) as u32);
    present[guest] = !present[guest];
    if !present[guest] {
        design.unsubscribe(shard, guests[guest], session);
    } else {
        design.subscribe(shard, guests[guest], session);
    }
}

/// Above the sessions of any mix.
pub(crate) const GUEST_SESSIONS: usize = 1 << 30;

pub(crate) fn shard_of(session: usize, shards: u16) -> u16 {
    (session % usize::from(shards)) as u16
}

pub(crate) fn parsed(filter: &str) -> TopicFilter<'_> {
    TopicFilter::new(filter).unwrap_or_else(|violation| panic!("{filter}: {violation}"))
}
