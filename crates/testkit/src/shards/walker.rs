//! A client that keeps to the rules and connects over any shard. What [`Peer`](crate::Peer) is in a
//! world of one shard, this is among several; besides the ledger's books it keeps its own about
//! retained messages.
//!
//! Retained messages are judged by their number in the ledger, which is the order in which they are
//! set as long as nobody repeats one: a message that was sent again may be set again, and is
//! excepted.

use super::Shards;
use crate::ledger::Ledger;
use crate::packets::{
    Connecting, Publishing, Said, disconnect, puback, pubcomp, publish, pubrec, pubrel, subscribe,
    unsubscribe,
};
use noctule_mqtt::{PacketType, QoS, ReasonCode, TopicFilter, TopicName};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One client identifier, through all its connections.
#[derive(Debug)]
pub struct Walker {
    name: String,
    connect: Connecting,
    persistent: bool,
    label: String,
    connections: usize,
    phase: Phase,
    last_id: u16,
    /// Unfinished messages to the broker, oldest first.
    sending: VecDeque<Sending>,
    /// QoS 2 messages that it has taken and that are not released.
    held: BTreeSet<u16>,
    owes: VecDeque<Said>,
    /// Filters of requests that are not answered.
    asked: BTreeMap<u16, String>,
    /// For each filter ever subscribed to, how many messages there were at its last SUBACK: only
    /// those may come as retained. No limit while it is not answered.
    retained_before: BTreeMap<String, usize>,
    /// By topic and QoS, the last message published as retained that came as it was published.
    live: BTreeMap<(String, QoS), usize>,
    /// Messages it has sent twice.
    repeated: BTreeSet<usize>,
    /// Connections that broke while they were handed over. Each takes the session over when it
    /// arrives, if only for a moment, and so may close a later one.
    stragglers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Away,
    Connecting,
    Connected,
}

#[derive(Debug)]
struct Sending {
    publish: Publishing,
    number: usize,
    /// PUBREC has come.
    received: bool,
}

/// So many messages are in flight to the broker.
const SENDING_MAX: usize = 5;
/// Ends the payload of a message that was published to be retained, which a subscriber cannot see.
const KEPT: &str = "kept";

fn is_to_be_kept(payload: &[u8]) -> bool {
    payload.ends_with(KEPT.as_bytes())
}

impl Walker {
    /// A client that connects with `connect`, which says whether its session is `persistent`.
    pub fn new(name: &str, connect: Connecting, persistent: bool) -> Self {
        Self {
            name: name.into(),
            connect: connect.id(name),
            persistent,
            label: String::new(),
            connections: 0,
            phase: Phase::Away,
            last_id: 0,
            sending: VecDeque::new(),
            held: BTreeSet::new(),
            owes: VecDeque::new(),
            asked: BTreeMap::new(),
            retained_before: BTreeMap::new(),
            live: BTreeMap::new(),
            repeated: BTreeSet::new(),
            stragglers: 0,
        }
    }

    /// Its client identifier.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of its connection among the clients.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether it has a connection.
    pub fn is_there(&self) -> bool {
        self.phase != Phase::Away
    }

    /// Whether it has CONNACK, waits for nothing, and has nothing to say.
    pub fn is_at_rest(&self) -> bool {
        let idle = self.sending.is_empty() && self.owes.is_empty() && self.asked.is_empty();
        self.phase == Phase::Connected && idle
    }

    /// The messages that this client has repeated so far.
    pub fn repeated(&self) -> &BTreeSet<usize> {
        &self.repeated
    }

    /// Opens a connection on a shard. An earlier one breaks at that moment: which of the two the
    /// session's shard hears of first is up to the mail.
    pub fn connect(&mut self, w: &mut Shards, ledger: &mut Ledger, shard: usize) {
        if self.is_there() {
            self.lose(w, ledger);
        }
        self.connections += 1;
        self.label = format!("{}#{}", self.name, self.connections);
        self.phase = Phase::Connecting;
        w.start(&self.label, shard, self.connect.clone());
    }

    /// The connection breaks.
    pub fn lose(&mut self, w: &mut Shards, ledger: &mut Ledger) {
        self.note_straggler(w);
        if w.is_open(&self.label) {
            w.lose(&self.label);
        }
        self.gone(w, ledger);
    }

    /// Leaves with DISCONNECT.
    pub fn leave(&mut self, w: &mut Shards, ledger: &mut Ledger) {
        if w.is_open(&self.label) {
            w.send(&self.label, disconnect(ReasonCode::Success));
        }
        if w.is_open(&self.label) {
            // CONNACK has not come, so nothing is read.
            self.note_straggler(w);
            w.lose(&self.label);
        }
        self.gone(w, ledger);
    }

    fn note_straggler(&mut self, w: &Shards) {
        self.stragglers += usize::from(w.place_of(&self.label).is_none());
    }

    fn gone(&mut self, w: &mut Shards, ledger: &mut Ledger) {
        w.retire(&self.label);
        self.phase = Phase::Away;
        self.owes.clear();
        self.asked.clear();
        if !self.persistent {
            self.sending.clear();
            self.held.clear();
            ledger.ended(&self.name);
        }
    }

    /// Publishes, if it is connected, may have one more message in flight and has repeated what it
    /// had to. The shard reads it when the shards are settled next, so that several are one batch.
    pub fn publish(
        &mut self,
        w: &mut Shards,
        ledger: &mut Ledger,
        topic: &str,
        (qos, retain): (u8, bool),
    ) {
        // [MQTT3-4.6.0-1] [MQTT5-4.6.0-1]: what has to be repeated goes first.
        let repeating = self.owes.iter().any(|said| matches!(said, Said::Publish(_)));
        let full = qos > 0 && self.sending.len() >= SENDING_MAX;
        if !self.can_speak(w) || repeating || full {
            return;
        }
        let mut words = publish(topic, "").qos(qos);
        let number = ledger.published(&self.name, topic, words.qos, retain);
        words.payload =
            [Ledger::payload(number, 10).as_str(), if retain { KEPT } else { "" }].concat().into();
        words.retain = retain;
        if qos > 0 {
            words.id = Some(self.free_id());
            let publish = words.clone();
            self.sending.push_back(Sending { publish, number, received: false });
        }
        w.say(&self.label, words);
    }

    /// Asks for a subscription.
    pub fn subscribe(&mut self, w: &mut Shards, ledger: &mut Ledger, filter: &str, qos: u8) {
        if !self.can_speak(w) || self.has_asked(filter) {
            return;
        }
        let id = self.free_id();
        self.asked.insert(id, filter.into());
        self.retained_before.insert(filter.into(), usize::MAX);
        ledger.subscribing(&self.name, filter, QoS::ALL[usize::from(qos)]);
        w.send(&self.label, subscribe(id, filter, qos));
    }

    /// Asks for a subscription's end.
    pub fn unsubscribe(&mut self, w: &mut Shards, ledger: &mut Ledger, filter: &str) {
        if !self.can_speak(w) || self.has_asked(filter) {
            return;
        }
        let id = self.free_id();
        self.asked.insert(id, filter.into());
        ledger.unsubscribing(&self.name, filter);
        w.send(&self.label, unsubscribe(id, &[filter]));
    }

    fn has_asked(&self, filter: &str) -> bool {
        self.asked.values().any(|asked| asked == filter)
    }

    /// Says up to `count` of the things it owes the broker: acknowledgements and repetitions.
    pub fn answer(&mut self, w: &mut Shards, count: usize) {
        for _ in 0..count {
            if !self.can_speak(w) {
                return;
            }
            let Some(said) = self.owes.pop_front() else {
                return;
            };
            w.send(&self.label, said);
        }
    }

    /// It has CONNACK, and no straggler has closed it.
    fn can_speak(&self, w: &Shards) -> bool {
        self.phase == Phase::Connected && w.is_open(&self.label)
    }

    /// Looks at everything it has heard. `repeated` are messages that others have sent twice.
    /// Returns whether that was anything.
    ///
    /// # Panics
    /// If something may not be, by the ledger or by MQTT.
    pub fn listen(
        &mut self,
        w: &mut Shards,
        ledger: &mut Ledger,
        repeated: &BTreeSet<usize>,
    ) -> bool {
        if !self.is_there() {
            return false;
        }
        let heard = w.all_heard(&self.label);
        for said in &heard {
            if let Err(wrong) = self.hear(said, ledger, repeated) {
                w.fail(&wrong);
            }
        }
        if !w.is_open(&self.label) {
            if self.stragglers == 0 {
                w.fail(&format!("{} keeps to the rules and was closed", self.label));
            }
            self.stragglers -= 1;
            w.expect_closed(&self.label);
            self.gone(w, ledger);
            return true;
        }
        !heard.is_empty()
    }

    fn hear(
        &mut self,
        said: &Said,
        ledger: &mut Ledger,
        repeated: &BTreeSet<usize>,
    ) -> Result<(), String> {
        match said {
            Said::Connack { session_present, reason: ReasonCode::Success, .. } => {
                self.phase = Phase::Connected;
                ledger.connected(&self.name, self.persistent, *session_present)?;
                self.resume(*session_present);
            }
            Said::Publish(publish) => self.hear_publish(publish, ledger, repeated)?,
            Said::Ack { packet, id, reason } => self.hear_ack(*packet, *id, *reason, ledger)?,
            Said::Suback { id, reasons } => {
                let filter = self.asked.remove(id).ok_or("SUBACK for nothing")?;
                if reasons.iter().any(|reason| reason.is_error()) {
                    return Err(format!("{} is refused {filter}", self.name));
                }
                ledger.subscribed(&self.name, &filter);
                self.retained_before.insert(filter, ledger.totals().0);
            }
            Said::Unsuback { id, .. } => {
                self.asked.remove(id).ok_or("UNSUBACK for nothing")?;
            }
            Said::Disconnect { reason: ReasonCode::SessionTakenOver, .. }
                if self.stragglers > 0 => {}
            other => return Err(format!("{} does not expect {other}", self.name)),
        }
        Ok(())
    }

    /// `[MQTT3-4.4.0-1]` `[MQTT5-4.4.0-1]`: what is unfinished is repeated, in order.
    fn resume(&mut self, session_present: bool) {
        if !session_present {
            self.sending.clear();
            self.held.clear();
        }
        for sending in &self.sending {
            self.owes.push_back(if sending.received {
                pubrel(sending.publish.packet_id())
            } else {
                self.repeated.insert(sending.number);
                sending.publish.clone().dup().into()
            });
        }
    }

    fn hear_publish(
        &mut self,
        publish: &Publishing,
        ledger: &mut Ledger,
        repeated: &BTreeSet<usize>,
    ) -> Result<(), String> {
        let new = match publish.qos {
            QoS::AtMostOnce => true,
            QoS::AtLeastOnce => {
                self.owes.push_back(puback(publish.packet_id()));
                true
            }
            QoS::ExactlyOnce => {
                self.owes.push_back(pubrec(publish.packet_id()));
                self.held.insert(publish.packet_id())
            }
        };
        let Some(number) = Ledger::number_in(&publish.payload).filter(|_| new) else {
            return Ok(());
        };
        let (topic, qos, retain) = (&publish.topic, publish.qos, publish.retain);
        ledger.delivered(&self.name, number, topic, qos, retain)?;
        if publish.dup || repeated.contains(&number) || self.repeated.contains(&number) {
            return Ok(());
        }
        let live = self.live.entry((topic.clone(), qos)).or_default();
        if !retain {
            if is_to_be_kept(&publish.payload) {
                *live = (*live).max(number);
            }
            return Ok(());
        }
        if number < *live {
            let name = &self.name;
            return Err(format!("{name} hears retained message {number} after live {live}"));
        }
        if !self.may_be_retained(topic, number) {
            let name = &self.name;
            return Err(format!("{name} hears retained message {number}, set after every SUBACK"));
        }
        Ok(())
    }

    /// Whether a message was there before some subscription to its topic was acknowledged.
    fn may_be_retained(&self, topic: &str, number: usize) -> bool {
        self.retained_before.iter().any(|(filter, before)| {
            let matches = match (TopicFilter::new(filter), TopicName::new(topic)) {
                (Ok(filter), Ok(topic)) => filter.matches(topic),
                _ => false,
            };
            matches && number < *before
        })
    }

    fn hear_ack(
        &mut self,
        packet: PacketType,
        id: u16,
        reason: ReasonCode,
        ledger: &mut Ledger,
    ) -> Result<(), String> {
        if packet == PacketType::Pubrel {
            self.held.remove(&id);
            self.owes.push_back(pubcomp(id));
            return Ok(());
        }
        if reason.is_error() && reason != ReasonCode::PacketIdentifierNotFound {
            return Err(format!("{} is refused a message: {reason}", self.name));
        }
        let unexpected = || format!("{packet} {id} for {}, which does not wait for it", self.name);
        let is_it = |sending: &Sending| sending.publish.id == Some(id);
        let at = self.sending.iter().position(is_it).ok_or_else(unexpected)?;
        let sending = &mut self.sending[at];
        match (packet, sending.publish.qos) {
            (PacketType::Puback, QoS::AtLeastOnce) => {
                ledger.acknowledged(sending.number);
                self.sending.remove(at);
            }
            (PacketType::Pubrec, QoS::ExactlyOnce) => {
                ledger.acknowledged(sending.number);
                sending.received = true;
                self.owes.push_back(pubrel(id));
            }
            (PacketType::Pubcomp, QoS::ExactlyOnce) if sending.received => {
                self.sending.remove(at);
            }
            _ => return Err(unexpected()),
        }
        Ok(())
    }

    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id % 60 + 1;
            let id = self.last_id;
            let sent = self.sending.iter().any(|one| one.publish.id == Some(id));
            if !sent && !self.asked.contains_key(&id) {
                return id;
            }
        }
    }
}
