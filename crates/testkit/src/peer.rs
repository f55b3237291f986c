//! A client that keeps to the rules: the receiving and sending halves of QoS 1 and 2, repetitions
//! after a new connection, and no more in flight than it is allowed.
//!
//! Written on its own and not on the session crate, whose mistakes it is to find. When it speaks is
//! up to the test; what it has to say it remembers until then.

use crate::ledger::Ledger;
use crate::packets::{
    Connecting, Publishing, Said, disconnect, puback, pubcomp, publish, pubrec, pubrel, subscribe,
    unsubscribe,
};
use crate::world::World;
use noctule_mqtt::{PacketType, Properties, QoS, ReasonCode};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A client with one client identifier, through all its connections.
#[derive(Debug)]
pub struct Peer {
    name: String,
    connect: Connecting,
    persistent: bool,
    /// The label of its present or last connection in the world.
    label: String,
    connections: usize,
    phase: Phase,
    last_id: u16,
    /// Unfinished messages to the broker, oldest first.
    sending: VecDeque<Sending>,
    sending_max: usize,
    /// QoS 2 messages that it has taken and that are not released.
    held: BTreeSet<u16>,
    owes: VecDeque<Said>,
    /// Filters of requests that are not answered.
    asked: BTreeMap<u16, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Away,
    Connecting,
    Connected,
}

#[derive(Debug)]
struct Sending {
    id: u16,
    publish: Publishing,
    number: usize,
    /// PUBREC has come.
    received: bool,
}

/// Without a receive maximum from the broker, so many are in flight.
const SENDING_MAX: usize = 5;

impl Peer {
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
            sending_max: SENDING_MAX,
            held: BTreeSet::new(),
            owes: VecDeque::new(),
            asked: BTreeMap::new(),
        }
    }

    /// Its client identifier.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of its connection in the world.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether it has a connection.
    pub fn is_there(&self) -> bool {
        self.phase != Phase::Away
    }

    /// Whether it has a connection, and CONNACK.
    pub fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// Whether it waits for nothing, has nothing to say and nothing unfinished.
    pub fn is_at_rest(&self) -> bool {
        self.is_connected() && self.sending.is_empty() && self.owes.is_empty()
    }

    /// Opens a connection, also when it has one: the broker hands the session over then.
    pub fn connect(&mut self, w: &mut World, ledger: &mut Ledger) {
        let earlier = std::mem::take(&mut self.label);
        self.connections += 1;
        self.label = format!("{}#{}", self.name, self.connections);
        let took_over = self.phase != Phase::Away;
        if took_over {
            self.gone(ledger);
        }
        self.phase = Phase::Connecting;
        w.start(&self.label, self.connect.clone());
        if took_over {
            w.retire(&earlier);
        }
    }

    /// The connection breaks.
    pub fn lose(&mut self, w: &mut World, ledger: &mut Ledger) {
        w.lose(&self.label);
        w.retire(&self.label);
        self.gone(ledger);
    }

    /// Leaves with DISCONNECT.
    pub fn leave(&mut self, w: &mut World, ledger: &mut Ledger) {
        w.send(&self.label, disconnect(ReasonCode::Success));
        if w.is_open(&self.label) {
            // Its packets are not read at the moment, or CONNACK has not come.
            w.lose(&self.label);
        }
        w.retire(&self.label);
        self.gone(ledger);
    }

    fn gone(&mut self, ledger: &mut Ledger) {
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
    /// had to.
    pub fn publish(
        &mut self,
        w: &mut World,
        ledger: &mut Ledger,
        topic: &str,
        (qos, retain): (u8, bool),
        bytes: usize,
    ) {
        // [MQTT3-4.6.0-1] [MQTT5-4.6.0-1]: what has to be repeated goes first.
        let repeating = self.owes.iter().any(|said| matches!(said, Said::Publish(_)));
        let full = qos > 0 && self.sending.len() >= self.sending_max;
        if !self.is_connected() || repeating || full {
            return;
        }
        let mut words = publish(topic, "").qos(qos);
        let number = ledger.published(&self.name, topic, words.qos, retain);
        words.payload = Ledger::payload(number, bytes).into();
        words.retain = retain;
        if qos > 0 {
            let id = self.free_id();
            words.id = Some(id);
            let publish = words.clone();
            self.sending.push_back(Sending { id, publish, number, received: false });
        }
        w.send(&self.label, words);
    }

    /// Asks for a subscription.
    pub fn subscribe(&mut self, w: &mut World, ledger: &mut Ledger, filter: &str, qos: u8) {
        if !self.is_connected() || self.has_asked(filter) {
            return;
        }
        let id = self.free_id();
        self.asked.insert(id, filter.into());
        ledger.subscribing(&self.name, filter, QoS::ALL[usize::from(qos)]);
        w.send(&self.label, subscribe(id, filter, qos));
    }

    /// Asks for a subscription's end.
    pub fn unsubscribe(&mut self, w: &mut World, ledger: &mut Ledger, filter: &str) {
        if !self.is_connected() || self.has_asked(filter) {
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
    pub fn answer(&mut self, w: &mut World, count: usize) {
        for _ in 0..count {
            let Some(said) = self.owes.pop_front().filter(|_| self.is_connected()) else {
                return;
            };
            w.send(&self.label, said);
        }
    }

    /// Looks at everything it has heard. Returns whether that was anything.
    ///
    /// # Panics
    /// If something may not be, by the ledger or by MQTT.
    pub fn listen(&mut self, w: &mut World, ledger: &mut Ledger) -> bool {
        if !self.is_there() {
            return false;
        }
        let heard = w.all_heard(&self.label);
        for said in &heard {
            if let Err(wrong) = self.hear(said, ledger) {
                w.fail(&wrong);
            }
        }
        if !w.is_open(&self.label) {
            w.fail(&format!("{} keeps to the rules and was closed", self.label));
        }
        !heard.is_empty()
    }

    fn hear(&mut self, said: &Said, ledger: &mut Ledger) -> Result<(), String> {
        match said {
            Said::Connack { session_present, reason: ReasonCode::Success, properties } => {
                self.phase = Phase::Connected;
                ledger.connected(&self.name, self.persistent, *session_present)?;
                let granted = Properties::from_checked(properties.as_deref().unwrap_or(&[]));
                let granted = granted.receive_maximum().map_or(SENDING_MAX, usize::from);
                self.sending_max = granted.min(SENDING_MAX);
                self.resume(*session_present);
            }
            Said::Publish(publish) => self.hear_publish(publish, ledger)?,
            Said::Ack { packet, id, reason } => self.hear_ack(*packet, *id, *reason, ledger)?,
            Said::Suback { id, reasons } => {
                let filter = self.asked.remove(id).ok_or("SUBACK for nothing")?;
                if reasons.iter().any(|reason| reason.is_error()) {
                    return Err(format!("{} is refused {filter}", self.name));
                }
                ledger.subscribed(&self.name, &filter);
            }
            Said::Unsuback { id, .. } => {
                self.asked.remove(id).ok_or("UNSUBACK for nothing")?;
            }
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
                pubrel(sending.id)
            } else {
                sending.publish.clone().dup().into()
            });
        }
    }

    fn hear_publish(&mut self, publish: &Publishing, ledger: &mut Ledger) -> Result<(), String> {
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
        match Ledger::number_in(&publish.payload) {
            Some(number) if new => {
                let (topic, qos, retain) = (&publish.topic, publish.qos, publish.retain);
                ledger.delivered(&self.name, number, topic, qos, retain)
            }
            _ => Ok(()),
        }
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
        let at = self.sending.iter().position(|sending| sending.id == id).ok_or_else(unexpected)?;
        let sending = &mut self.sending[at];
        let qos = sending.publish.qos;
        match packet {
            PacketType::Puback if qos == QoS::AtLeastOnce => {
                ledger.acknowledged(sending.number);
                self.sending.remove(at);
            }
            PacketType::Pubrec if qos == QoS::ExactlyOnce => {
                ledger.acknowledged(sending.number);
                sending.received = true;
                self.owes.push_back(pubrel(id));
            }
            PacketType::Pubcomp if sending.received => {
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
            let used = self.asked.contains_key(&id) || self.sending.iter().any(|one| one.id == id);
            if !used {
                return id;
            }
        }
    }
}
