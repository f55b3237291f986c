//! Handing out retained messages while the broker is killed: told step by step, where chance would
//! need long to find the moment.

use super::broker::Broker;
use crate::faults::{Fault, Faults};
use crate::testing::SimulatedDisk;
use noctule_broker::faults::{Fault as BrokerFault, plant};
use noctule_testkit::PacketType;
use noctule_testkit::packets::{
    Publishing, Said, pubcomp, publish, pubrec, pubrel, subscribe, v311,
};
use std::collections::{BTreeMap, BTreeSet};

/// A broker on a disk, and what its subscriber has heard in all its lives.
struct Stage {
    disk: SimulatedDisk,
    faults: Faults,
    broker: Option<Broker>,
    /// How often a message was new, by payload.
    heard: BTreeMap<String, usize>,
    held: BTreeSet<u16>,
}

/// The name of a client whose session is on the second of two shards, and that of one on the first.
fn names(broker: &Broker) -> (String, String) {
    (broker.shards.name_at(1, 0), broker.shards.name_at(0, 0))
}

impl Stage {
    fn new(shards: usize) -> Self {
        Self::with(shards, Faults::default())
    }

    /// With a log that has this fault.
    fn with(shards: usize, faults: Faults) -> Self {
        let mut stage = Self {
            disk: SimulatedDisk::new(5),
            faults,
            broker: None,
            heard: BTreeMap::new(),
            held: BTreeSet::new(),
        };
        stage.begin(shards);
        stage
    }

    fn begin(&mut self, shards: usize) {
        let broker = Broker::of(shards, &self.disk, self.faults);
        self.broker = Some(broker.expect("the log can be read"));
    }

    /// The broker is killed, and begins with so many shards.
    fn kill(&mut self, shards: usize) {
        self.broker.take().map(Broker::abandon);
        self.disk.kill();
        self.begin(shards);
    }

    fn broker(&mut self) -> &mut Broker {
        self.broker.as_mut().expect("it runs")
    }

    fn commit_all(&mut self) {
        let committed = self.broker().commit_all(&mut noctule_testkit::Dice::new(1));
        committed.expect("the disk works");
    }

    fn commit_of(&mut self, shard: usize) {
        self.broker().commit_of(shard).expect("the disk works");
    }

    fn connect(&mut self, name: &str) {
        self.broker().shards.start(name, 0, v311().persistent());
        self.commit_all();
        self.broker().shards.expect_accepted(name);
    }

    fn send(&mut self, name: &str, said: impl Into<Said>) {
        self.broker().shards.send(name, said);
    }

    /// A client hears what there is, and acknowledges so many of the QoS 2 messages among it. Returns
    /// whether there was something.
    fn hear(&mut self, name: &str, most: usize) -> bool {
        let said = self.broker().shards.all_heard(name);
        let (is_something, mut left) = (!said.is_empty(), most);
        for one in said {
            match one {
                Said::Publish(Publishing { id: Some(id), payload, .. }) => {
                    if self.held.insert(id) {
                        let payload = String::from_utf8_lossy(&payload).into_owned();
                        *self.heard.entry(payload).or_default() += 1;
                    }
                    if left > 0 {
                        left -= 1;
                        self.send(name, pubrec(id));
                    }
                }
                Said::Ack { packet: PacketType::Pubrel, id, .. } => {
                    self.held.remove(&id);
                    self.send(name, pubcomp(id));
                }
                _ => {}
            }
        }
        is_something
    }

    /// A client hears all that it is owed.
    fn hear_all(&mut self, name: &str) {
        let mut quiet = 0;
        while quiet < 3 {
            self.commit_all();
            self.broker().shards.pass_ms(50);
            quiet = if self.hear(name, usize::MAX) { 0 } else { quiet + 1 };
        }
    }

    fn retain(&mut self, name: &str, id: u16, topic: &str, payload: &str) {
        self.send(name, publish(topic, payload).qos(2).id(id).retain());
        self.commit_all();
        self.send(name, pubrel(id));
        self.commit_all();
        self.broker().shards.all_heard(name);
    }
}

/// A message at QoS 2 is retained, and handed to a new subscription before the store has it; and the
/// broker is killed before it has. Returns how often it came.
fn handed_out_before_it_is_stored() -> Option<usize> {
    let mut stage = Stage::new(2);
    let (subscriber, publisher) = names(stage.broker());
    stage.connect(&subscriber);
    stage.connect(&publisher);
    stage.send(&publisher, publish("r/1", "once").qos(2).id(1).retain());
    // That it has come is stored. Now it is routed, and that is not.
    let broker = stage.broker();
    broker.commit_first_of(0).expect("the disk works");
    stage.send(&subscriber, subscribe(1, "r/#", 2));
    for _ in 0..4 {
        stage.commit_of(1);
        stage.hear(&subscriber, usize::MAX);
    }
    stage.kill(2);
    stage.connect(&subscriber);
    stage.hear_all(&subscriber);
    stage.heard.get("once").copied()
}

#[test]
fn what_another_shard_has_not_stored_is_not_handed_out_before() {
    assert_eq!(handed_out_before_it_is_stored(), Some(1));
    plant(Some(BrokerFault::ReplayUnstored));
    let with_the_fault = handed_out_before_it_is_stored();
    plant(None);
    assert_eq!(with_the_fault, Some(2), "the test would see it");
}

/// A retained message is lost in a crash with its number, up to which a subscription was to get them.
/// Returns how often it came when it was published again.
fn numbers_that_were_lost() -> Option<usize> {
    let mut stage = Stage::new(2);
    let (subscriber, publisher) = names(stage.broker());
    stage.connect(&subscriber);
    stage.connect(&publisher);
    stage.retain(&publisher, 1, "r/1", "first");
    stage.send(&publisher, publish("r/2", "second").qos(1).id(2).retain());
    stage.send(&subscriber, subscribe(1, "r/#", 2));
    stage.commit_of(1);
    stage.kill(2);
    stage.connect(&publisher);
    stage.retain(&publisher, 2, "r/2", "second");
    stage.connect(&subscriber);
    stage.hear_all(&subscriber);
    assert_eq!(stage.heard.get("first"), Some(&1));
    stage.heard.get("second").copied()
}

#[test]
fn what_is_set_after_a_restart_is_later_than_what_a_subscription_waits_for() {
    assert_eq!(numbers_that_were_lost(), Some(1));
    plant(Some(BrokerFault::RetainedNumbersAgain));
    let with_the_fault = numbers_that_were_lost();
    plant(None);
    assert_eq!(with_the_fault, Some(2), "the test would see it");
}

/// A shard sets a retained message, another one clears its topic, and the log has that long before it hears
/// from the first one. Returns what a new subscription is handed after a crash.
fn set_by_who_is_late(faults: Faults) -> BTreeSet<String> {
    let mut stage = Stage::with(2, faults);
    let (quick, late) = names(stage.broker());
    stage.connect(&quick);
    stage.connect(&late);
    stage.send(&late, publish("r/1", "old").qos(1).id(1).retain());
    stage.send(&quick, publish("r/1", "").qos(1).id(1).retain());
    stage.commit_of(1);
    // The log goes on, and gives up the segment in which that was said.
    for id in 2..8 {
        stage.send(&quick, publish("r/2", "new".repeat(2_000)).qos(1).id(id).retain());
        stage.commit_of(1);
    }
    stage.broker().compact().expect("the disk works");
    stage.commit_of(0);
    stage.kill(2);
    stage.connect("reader");
    stage.send("reader", subscribe(1, "r/#", 0));
    stage.commit_all();
    stage.broker().shards.pass_ms(50);
    let said = stage.broker().shards.all_heard("reader").into_iter();
    let payload = |said| match said {
        Said::Publish(publishing) => {
            Some(String::from_utf8_lossy(&publishing.payload[..3]).into_owned())
        }
        _ => None,
    };
    said.filter_map(payload).collect()
}

#[test]
fn a_message_that_comes_behind_what_has_cleared_its_topic_stays_away() {
    let heard = |faults| set_by_who_is_late(faults).into_iter().collect::<Vec<_>>();
    assert_eq!(heard(Faults::default()), ["new"]);
    let with_the_fault = heard(Faults::plant(Fault::ClearedForgottenEarly));
    assert_eq!(with_the_fault, ["new", "old"], "the test would see it");
}

/// Retained messages are handed out, a few in each of several lives with other numbers of shards.
/// Meanwhile one is replaced and one is deleted. Returns how often each came.
fn several_lives() -> BTreeMap<String, usize> {
    let mut stage = Stage::new(1);
    let names = ["subscriber", "publisher"];
    stage.connect(names[0]);
    stage.connect(names[1]);
    for number in 0..30 {
        stage.retain(names[1], 1, &format!("r/{number}"), &format!("m{number}"));
    }
    stage.send(names[0], subscribe(1, "r/+", 2));
    stage.commit_all();
    for life in 0..6 {
        // The window is 3: of what is on its way, one is answered in full, one not at all.
        for _ in 0..3 {
            stage.hear(names[0], 2);
            stage.commit_all();
        }
        if life == 3 {
            // Whatever of these two was not handed out yet is no longer what it was.
            stage.connect(names[1]);
            stage.retain(names[1], 1, "r/7", "new7");
            stage.retain(names[1], 1, "r/8", "");
        }
        stage.kill(1 + life % 3);
        stage.connect(names[0]);
        if life == 4 {
            // The connection is lost as well.
            stage.broker().shards.lose(names[0]);
            stage.broker().shards.retire(names[0]);
            stage.connect(names[0]);
        }
    }
    stage.hear_all(names[0]);
    stage.heard
}

#[test]
fn each_comes_once_though_the_broker_is_killed_again_and_again_in_the_middle() {
    let heard = several_lives();
    for number in (0..30).filter(|number| ![7, 8].contains(number)) {
        assert_eq!(heard.get(&format!("m{number}")), Some(&1), "{number}: {heard:?}");
    }
    assert_eq!(heard.get("new7"), Some(&1));
    assert!(heard.values().all(|times| *times == 1), "{heard:?}");
    plant(Some(BrokerFault::ReplayBeginsAnew));
    let heard = several_lives();
    plant(None);
    assert!(heard.values().any(|times| *times > 1), "the test would see it");
}

#[test]
fn another_subscribe_in_the_middle_that_wants_none_loses_none() {
    use noctule_broker::RetainHandling;
    use noctule_testkit::packets::v5;
    for kills in [false, true] {
        let mut stage = Stage::new(2);
        let publisher = names(stage.broker()).1;
        stage.connect(&publisher);
        for number in 0..20 {
            stage.retain(&publisher, 1, &format!("r/{number}"), &format!("m{number}"));
        }
        let connect = v5().clean(false).expiry(1_000);
        stage.broker().shards.start("five", 0, connect.clone());
        stage.commit_all();
        stage.broker().shards.expect_accepted("five");
        // Its SUBACK is not there yet, and later it is: both times the first one goes on.
        stage.send("five", subscribe(1, "r/#", 2));
        stage.send("five", subscribe(2, "r/#", 2).retain_handling(RetainHandling::IfNew));
        stage.commit_all();
        stage.hear("five", usize::MAX);
        stage.commit_all();
        stage.send("five", subscribe(3, "r/#", 2).retain_handling(RetainHandling::Never));
        stage.commit_all();
        stage.hear("five", usize::MAX);
        if kills {
            stage.kill(3);
            stage.broker().shards.start("five", 0, connect);
            stage.commit_all();
            stage.broker().shards.expect_accepted("five");
        }
        stage.hear_all("five");
        assert_eq!(stage.heard.len(), 20, "{:?}", stage.heard);
        assert!(stage.heard.values().all(|times| *times == 1), "{:?}", stage.heard);
    }
}
