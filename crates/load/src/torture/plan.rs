//! What a torture is to be: how many of whom, how long, with which broker.
//!
//! Plans are values; nothing here starts or connects anything.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use noctule_mqtt::{ProtocolVersion, QoS};

use super::lane::Lane;
use super::newcomer::Newcomer;
use super::publisher::Publisher;
use super::shelf;
use super::station::{Role, Station};
use super::subscriber::Subscriber;
use super::victim::{Ending, Launch, SHARDS};
use crate::packets::MARK_BYTES;

/// A torture.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The broker.
    pub launch: Launch,
    /// How often it is killed under load.
    pub rounds: u32,
    /// From which everything random follows.
    pub seed: u64,
    /// How it is killed.
    pub ending: Ending,
    /// How long it lives under load, from when all clients are back.
    pub life: Range<Duration>,
    /// How long nothing may happen before what is missing counts as lost, and how long a start may
    /// take.
    pub patience: Duration,
    /// Clients that publish at QoS 1 and 2 in turn, each on two topics of its own.
    pub publishers: u16,
    /// Subscribers to all of these topics that are always there.
    pub present: u16,
    /// Subscribers that come for a while and are away for longer, also over several lives.
    pub absent: u16,
    /// Clients that write retained values on [`TOPICS_EACH`] topics of their own, at QoS 1 or 2.
    pub writers: u16,
    /// Retained messages at QoS 2 that a client subscribes to again and again, and deletes some of
    /// meanwhile; zero for no such client.
    pub retained: u32,
    /// Messages that a client keeps in flight.
    pub window: u16,
    /// Size of a payload, at least [`MARK_BYTES`].
    pub payload_bytes: usize,
    /// With how many loops the broker may begin a life: each start takes one of them, and `{shards}` in
    /// its command stands for it.
    pub shards: Vec<u16>,
    /// What is spoken: 3.1.1 or 5.0.
    pub version: ProtocolVersion,
    /// Where the directory of the torture is made.
    pub directory: PathBuf,
}

/// How many topics a writer of retained values has.
pub const TOPICS_EACH: u16 = 4;

impl Plan {
    /// A torture of this broker with the numbers that the command line has by default.
    pub fn new(launch: Launch, directory: PathBuf) -> Self {
        Self {
            launch,
            rounds: 10,
            seed: 1,
            ending: Ending::Kill,
            life: Duration::from_millis(100)..Duration::from_secs(2),
            patience: Duration::from_secs(10),
            publishers: 4,
            present: 2,
            absent: 2,
            writers: 2,
            retained: 4_000,
            window: 64,
            payload_bytes: 256,
            shards: Vec::new(),
            version: ProtocolVersion::V311,
            directory,
        }
    }

    /// Says what is wrong with the plan, if anything is.
    pub fn complaint(&self) -> Option<String> {
        if self.rounds == 0 {
            return Some("a torture has at least one round".into());
        }
        if self.payload_bytes < MARK_BYTES {
            let words = "bytes, in which the message is numbered";
            return Some(format!("a payload has at least {MARK_BYTES} {words}"));
        }
        if self.publishers == 0 && self.writers == 0 {
            return Some("nobody publishes anything".into());
        }
        if self.window == 0 {
            return Some("a window has room for at least one message".into());
        }
        if self.retained > RETAINED_MAX {
            return Some(format!("at most {RETAINED_MAX} retained messages are handed out"));
        }
        if self.clients() > CLIENTS_MAX {
            return Some(format!("at most {CLIENTS_MAX} clients take part"));
        }
        if self.life.end < self.life.start {
            return Some("the longest life is shorter than the shortest".into());
        }
        let mentioned = self.launch.mentions(SHARDS);
        match (mentioned, self.shards.is_empty()) {
            (true, true) => return Some(format!("--shards says what {SHARDS} stands for")),
            (false, false) => return Some(format!("--shards needs {SHARDS} in the command")),
            _ if self.shards.contains(&0) => return Some("a broker has at least one loop".into()),
            _ => {}
        }
        let old = matches!(self.version, ProtocolVersion::V31);
        old.then(|| "MQTT 3.1 does not say whether a session was found; take 3.1.1 or 5".into())
    }

    fn clients(&self) -> u32 {
        [self.publishers, self.present, self.absent, self.writers].map(u32::from).iter().sum()
    }

    /// The lanes, and how many of them are no retained ones.
    pub(super) fn lanes(&self) -> (Vec<Lane>, usize) {
        let spoken = (0..self.publishers).flat_map(|publisher| {
            [(QoS::AtLeastOnce, 1), (QoS::ExactlyOnce, 2)].map(|(qos, number)| {
                Lane::new(format!("torture/q{number}/p{publisher}"), qos, false)
            })
        });
        let kept = (0..self.writers).flat_map(|writer| {
            let qos = if writer % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            (0..TOPICS_EACH).map(move |topic| {
                let apart = shelf::DELETION / u64::from(TOPICS_EACH) * u64::from(topic);
                let name = format!("torture/kept/w{writer}/t{topic}");
                Lane::new(name, qos, true).deleting_earlier(apart)
            })
        });
        (spoken.chain(kept).collect(), usize::from(self.publishers) * 2)
    }

    /// The clients, publishers first.
    pub(super) fn stations(&self) -> Vec<Station> {
        let spoken = usize::from(self.publishers) * 2;
        let publisher = |index: u16| {
            let first = usize::from(index) * 2;
            let role = Publisher::new((first..first + 2).collect(), self.window);
            Station::new(format!("torture-p{index}"), Role::Publisher(role), true)
        };
        let writer = |index: u16| {
            let first = spoken + usize::from(index * TOPICS_EACH);
            let lanes = (first..first + usize::from(TOPICS_EACH)).collect();
            let role = Publisher::new(lanes, self.window.min(WRITER_WINDOW));
            Station::new(format!("torture-w{index}"), Role::Publisher(role), true)
        };
        let subscriber = |name: String, stays| {
            let role = Role::Subscriber(Subscriber::new(&name, spoken));
            Station::new(name, role, stays)
        };
        let publishers = (0..self.publishers).map(publisher);
        let writers = (0..self.writers).map(writer);
        let present =
            (0..self.present).map(|index| subscriber(format!("torture-present-{index}"), true));
        let absent =
            (0..self.absent).map(|index| subscriber(format!("torture-absent-{index}"), false));
        let newcomer = (self.retained > 0).then(|| {
            let role = Newcomer::new(self.retained as usize, self.seed);
            Station::new(role.client_id(), Role::Newcomer(role), true)
        });
        publishers.chain(writers).chain(present).chain(absent).chain(newcomer).collect()
    }
}

/// Few enough that not every look at a topic finds a deletion in flight, with which anything goes.
const WRITER_WINDOW: u16 = (shelf::DELETION / 2) as u16;

const CLIENTS_MAX: u32 = 1_000;
const RETAINED_MAX: u32 = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let launch = Launch { words: vec!["bat".into()], ..Launch::default() };
        Plan::new(launch, PathBuf::from("."))
    }

    fn with_shards() -> Launch {
        let words = ["bat", "--loops={shards}"].map(String::from).into();
        Launch { words, ..Launch::default() }
    }

    #[test]
    fn every_lane_has_one_publisher_and_a_topic_of_its_own() {
        let plan = plan();
        assert_eq!(plan.complaint(), None);
        let (lanes, spoken) = plan.lanes();
        assert_eq!((lanes.len(), spoken), (16, 8));
        let topics: std::collections::BTreeSet<_> = lanes.iter().map(Lane::topic).collect();
        assert_eq!(topics.len(), lanes.len());
        assert!(lanes[..spoken].iter().all(|lane| !lane.retain()));
        let mut written: Vec<_> = plan
            .stations()
            .iter()
            .flat_map(|station| match &station.role {
                Role::Publisher(publisher) => publisher.lanes().to_vec(),
                _ => Vec::new(),
            })
            .collect();
        written.sort_unstable();
        assert_eq!(written, (0..lanes.len()).collect::<Vec<_>>());
    }

    #[test]
    fn a_plan_that_cannot_work_is_refused() {
        let bad = [
            Plan { rounds: 0, ..plan() },
            Plan { payload_bytes: 7, ..plan() },
            Plan { publishers: 0, writers: 0, ..plan() },
            Plan { window: 0, ..plan() },
            Plan { publishers: 1_001, ..plan() },
            Plan { retained: 100_001, ..plan() },
            Plan { life: Duration::from_secs(2)..Duration::from_secs(1), ..plan() },
            Plan { version: ProtocolVersion::V31, ..plan() },
            Plan { shards: vec![1], ..plan() },
            Plan { launch: with_shards(), ..plan() },
            Plan { launch: with_shards(), shards: vec![1, 0], ..plan() },
        ];
        let good = Plan { launch: with_shards(), shards: vec![1, 2], ..plan() };
        assert_eq!(good.complaint(), None);
        for plan in bad {
            assert!(plan.complaint().is_some(), "{plan:?}");
        }
    }
}
