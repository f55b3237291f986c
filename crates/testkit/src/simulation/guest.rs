//! A client that keeps to the rules, and does with its connections what clients do: comes twice,
//! goes without a word, stays silent, leaves old connections behind.
//!
//! Written on its own and not on the session crate, whose mistakes it is to find. When it speaks is
//! up to the simulation; what it has to say it remembers until then. What it hears is judged in
//! `hearing`.

use super::Stage;
use super::books::{New, Wish, payload};
use super::lives::Visit;
use crate::packets::{
    Connecting, Publishing, Said, Subscribing, disconnect, disconnect_expiring, pingreq, publish,
    pubrel, subscribe, unsubscribe, will,
};
use noctule_mqtt::packet::RetainHandling;
use noctule_mqtt::{PacketType, ProtocolVersion, QoS, ReasonCode};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One client identifier, through all its connections.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) name: String,
    pub(super) version: ProtocolVersion,
    /// It never goes, and reads whatever comes: it is there to tell what became of wills.
    pub(super) is_witness: bool,
    /// Whether its sessions are to outlive their connections, mostly.
    pub(super) lasting: bool,
    pub(super) label: String,
    pub(super) connections: usize,
    pub(super) phase: Phase,
    /// The session expiry interval of this connection, in seconds.
    pub(super) expiry: u32,
    /// Whether its session is kept in the store, or may have been on an earlier connection. Then
    /// PUBREC says that a message is stored, and not yet for whom.
    stores_first: bool,
    pub(super) packet_bytes_max: Option<u32>,
    /// The number of its session.
    pub(super) life: u64,
    /// Counts the times it began anew: order holds within each.
    era: u64,
    keep_alive: u16,
    last_id: u16,
    /// Unfinished messages to the broker, oldest first.
    pub(super) sending: VecDeque<Sending>,
    /// Messages of QoS 2 that it has given up, and whose identifiers may be held in a session that
    /// an earlier connection of it has got, or may get.
    given_up: Vec<Sending>,
    /// QoS 2 messages that it has taken and that are not released.
    pub(super) held: BTreeSet<u16>,
    pub(super) owes: VecDeque<Said>,
    /// Messages that it will acknowledge at QoS 1, by packet identifier.
    pub(super) unconfirmed: BTreeMap<u16, usize>,
    /// Requests that are not answered.
    pub(super) asked: BTreeMap<u16, Asked>,
    said_ms: u64,
    silent_until_ms: u64,
    /// What it knows of retained messages.
    pub(super) retained: Seen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Away,
    /// CONNACK has not come; whether it says things before that.
    Connecting {
        eagerly: bool,
    },
    Connected,
}

#[derive(Debug)]
pub(super) struct Sending {
    pub(super) publish: Publishing,
    pub(super) number: usize,
    /// PUBREC has come.
    pub(super) received: bool,
    /// The connection on which it was sent last.
    pub(super) connection: usize,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) enum Asked {
    Subscribe {
        filters: Vec<(String, Wish, RetainHandling)>,
        /// How many batches had been persisted when it was said.
        batches: u64,
    },
    Unsubscribe(String),
}

/// What a client has seen of retained messages.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By topic, the last message, retained or live.
    pub(super) last: BTreeMap<String, usize>,
    /// By topic and QoS, the last that came live.
    pub(super) live: BTreeMap<(String, QoS), usize>,
    /// Filters and the connections on which they were asked for in this session.
    pub(super) asked_on: BTreeSet<(String, usize)>,
    /// Filters that were granted.
    pub(super) granted: BTreeSet<String>,
    /// Filters for which retained messages were asked for, by the connection that did.
    pub(super) fresh: BTreeMap<String, usize>,
}

/// So many messages are in flight to the broker.
const SENDING_MAX: usize = 5;
const TOPICS: &[&str] = &["t/0", "t/1", "t/2", "u", "a/b/c", "$x/1"];
const FILTERS: &[&str] = &[
    "t/0", "t/1", "t/+", "t/#", "#", "u", "+", "+/b/c", "a/+/c", "a/b/#", "$x/#", "r/#", "r/+/1",
    "r/+/0", "r/g1/+", "+/g2/#",
];

impl Guest {
    pub(super) fn new(number: usize, lasting: bool) -> Self {
        Self {
            name: format!("g{number}"),
            version: ProtocolVersion::ALL[number % ProtocolVersion::ALL.len()],
            is_witness: false,
            lasting,
            label: String::new(),
            connections: 0,
            phase: Phase::Away,
            expiry: 0,
            stores_first: false,
            packet_bytes_max: None,
            life: 0,
            era: 0,
            keep_alive: 0,
            last_id: 0,
            sending: VecDeque::new(),
            given_up: Vec::new(),
            held: BTreeSet::new(),
            owes: VecDeque::new(),
            unconfirmed: BTreeMap::new(),
            asked: BTreeMap::new(),
            said_ms: 0,
            silent_until_ms: 0,
            retained: Seen::default(),
        }
    }

    /// Who hears the wills.
    pub(super) fn witness() -> Self {
        let name = "witness".into();
        Self { name, version: ProtocolVersion::V5, is_witness: true, ..Self::new(0, true) }
    }

    pub(super) fn is_there(&self) -> bool {
        self.phase != Phase::Away
    }

    /// Whether it has CONNACK, waits for nothing, and has nothing to say.
    pub(super) fn is_at_rest(&self) -> bool {
        let idle = self.sending.is_empty() && self.owes.is_empty() && self.asked.is_empty();
        self.phase == Phase::Connected && idle
    }

    /// Opens a connection on some shard. One that it has is left behind, broken or not.
    pub(super) fn connect(&mut self, stage: &mut Stage) {
        if self.is_there() {
            let zombie = stage.dice.chance(50);
            self.go(stage, |stage, label| {
                if zombie { stage.w.stop_listening(label) } else { stage.w.reset(label) }
            });
        }
        self.connections += 1;
        self.label = format!("{}#{}", self.name, self.connections);
        let (connect, visit) = self.choose_connect(stage);
        let shard = stage.dice.below(stage.course.shards);
        if !self.is_witness && stage.dice.chance(stage.course.refused) {
            stage.refused.insert(self.label.clone());
        }
        let idle = self.sending.is_empty() && self.held.is_empty();
        self.phase = Phase::Connecting { eagerly: idle && stage.dice.chance(50) };
        stage.lives.opens(&self.label, visit);
        stage.w.open(&self.label, shard, self.version);
        self.say(stage, connect);
    }

    fn choose_connect(&mut self, stage: &mut Stage) -> (Connecting, Visit) {
        let overtakes = stage.may_get_a_session(&self.name);
        let dice = &mut stage.dice;
        let v5 = self.version == ProtocolVersion::V5;
        let lasts = self.lasting != dice.chance(15);
        // 3.1 is not told whether its session is there; so it must not end by itself.
        let lasts = lasts
            && (self.version != ProtocolVersion::V31
                || stage.course.limits.session_expiry_max.is_none());
        self.expiry = match (lasts, v5) {
            (false, _) => 0,
            (true, true) => dice.pick(&[10, 60, 600, u32::MAX]),
            (true, false) => u32::MAX,
        };
        let clean = if v5 { dice.chance(if lasts { 10 } else { 50 }) } else { !lasts };
        self.stores_first = self.expiry > 0 || !clean;
        // What was said on a connection that gets its session later may come later, too.
        self.era += u64::from(clean || overtakes);
        self.keep_alive = if self.is_witness { 0 } else { dice.pick(&[0, 0, 5, 20, 60]) };
        let mut connect =
            Connecting::of(self.version).id(&self.name).clean(clean).keep_alive(self.keep_alive);
        self.packet_bytes_max = None;
        if v5 {
            connect = connect.expiry(self.expiry);
            if dice.chance(40) {
                connect = connect.receive_maximum(1 + dice.below(4) as u16);
            }
            if !self.is_witness && dice.chance(15) {
                self.packet_bytes_max = Some(1_000);
                stage.books.takes(&self.name, Some(1_000));
                connect = connect.packet_max(1_000);
            }
        }
        let mut visit =
            Visit { id: self.name.clone(), clean, expiry: self.expiry, ..Visit::default() };
        if !self.is_witness && dice.chance(50) {
            stage.wills += 1;
            let number = stage.wills;
            let words = format!("W{}", payload(number, 5));
            let mut last = will(&format!("will/{}", self.name), words).qos(dice.pick(&[1, 2]));
            let delay = if v5 { dice.pick(&[0, 3, 15, 90]) } else { 0 };
            if delay > 0 {
                last = last.delay(delay);
            }
            if dice.chance(20) {
                last = last.retain();
            }
            connect = connect.will(last);
            visit.will = Some((number, delay));
        }
        (connect, visit)
    }

    /// Leaves in one of the ways there are.
    pub(super) fn leave(&mut self, stage: &mut Stage) {
        let v5 = self.version == ProtocolVersion::V5;
        let expiry = stage.dice.pick(&[0, 5, 60]);
        let way = stage.dice.below(6);
        match way {
            0 => {}
            1 => self.say(stage, Said::Pingreq),
            2 if v5 => self.say(stage, disconnect(ReasonCode::DisconnectWithWill)),
            3 if v5 && self.expiry > 0 => {
                stage.lives.says_bye(&self.label, Some(expiry));
                self.say(stage, disconnect_expiring(ReasonCode::Success, expiry));
            }
            4 => self.say_nonsense(stage),
            _ => self.say(stage, disconnect(ReasonCode::Success)),
        }
        self.go(stage, |stage, label| {
            if way == 0 {
                stage.w.reset(label);
            } else {
                stage.w.half_close(label);
                stage.w.stop_listening(label);
            }
        });
    }

    /// Something that a client may not say.
    fn say_nonsense(&mut self, stage: &mut Stage) {
        stage.w.say_bytes(&self.label, &[0xf0, 0x00]);
    }

    /// The connection is not its any more.
    pub(super) fn go(&mut self, stage: &mut Stage, parting: impl FnOnce(&mut Stage, &str)) {
        parting(stage, &self.label);
        stage.past.push(std::mem::take(&mut self.label));
        self.phase = Phase::Away;
        self.owes.clear();
        self.unconfirmed.clear();
        self.asked.clear();
        self.silent_until_ms = 0;
        let label = stage.past.last().map_or("", String::as_str);
        for number in stage.values.left(label) {
            stage.books.abandoned(number);
        }
        if self.expiry == 0
            && let Some(ended) = stage.lives.number(label)
        {
            self.begin_anew(stage, None, ended + 1);
            // What it has asked for on connections that are not over may yet be done.
            stage.books.replaced(&self.name);
        }
    }

    /// Its session is another, or none: whatever is unfinished is nothing any more, but for what was
    /// said to the session of this number already. Sessions before the number `first` are over.
    pub(super) fn begin_anew(&mut self, stage: &mut Stage, life: Option<u64>, first: u64) {
        let sending = std::mem::take(&mut self.sending).into_iter();
        let (kept, gone) = sending.partition(|one| self.was_said_in(stage, life, one));
        self.sort(stage, (life, first), kept, gone);
        self.held.clear();
        self.era += 1;
        let mut asked_on = std::mem::take(&mut self.retained.asked_on);
        asked_on.retain(|(_, on)| self.matters(stage, first, *on));
        self.retained = Seen { asked_on, ..Seen::default() };
    }

    /// It has the session of this number as before, and goes on with what is unfinished, but for what
    /// was said on a connection that has no session yet and may still get one: that is left to it.
    ///
    /// Repeated, it could come twice with nobody to blame: the broker knows it by its packet identifier
    /// only within a session, which that connection may end (`[MQTT3-3.1.2-6]` `[MQTT5-3.1.2-4]`), and
    /// only until its PUBREL (`[MQTT3-4.3.3-2]` `[MQTT5-4.3.3-12]`).
    pub(super) fn go_on(&mut self, stage: &mut Stage, life: u64) {
        let sending = std::mem::take(&mut self.sending).into_iter();
        let (gone, kept) = sending.partition(|one| {
            self.session_on(stage, one.connection).is_none()
                && self.matters(stage, life, one.connection)
        });
        // If it was not sure which session it would be, the one before counts too.
        self.sort(stage, (Some(life), life.saturating_sub(1)), kept, gone);
    }

    /// Gives up what is `gone`, and goes on with what is `kept` and with what was given up and is in
    /// this session all the same. Sessions before the number `first` are over.
    fn sort(
        &mut self,
        stage: &mut Stage,
        (life, first): (Option<u64>, u64),
        kept: Vec<Sending>,
        gone: Vec<Sending>,
    ) {
        for one in &gone {
            stage.books.abandoned(one.number);
            stage.values.abandoned(&one.publish.topic, one.number);
        }
        let mut given_up = std::mem::take(&mut self.given_up);
        given_up.extend(gone.into_iter().filter(|one| one.publish.qos == QoS::ExactlyOnce));
        given_up.retain(|one| self.matters(stage, first, one.connection));
        let (found, given_up) =
            given_up.into_iter().partition::<Vec<_>, _>(|one| self.was_said_in(stage, life, one));
        self.given_up = given_up;
        // Nothing is sent again that was given up, but its identifier has to become free.
        let release = |one: Sending| Sending { received: true, ..one };
        self.sending = found.into_iter().map(release).chain(kept).collect();
    }

    /// The number of the session that one of its connections was given.
    fn session_on(&self, stage: &Stage, on: usize) -> Option<u64> {
        stage.lives.number(&format!("{}#{on}", self.name))
    }

    fn was_said_in(&self, stage: &Stage, life: Option<u64>, one: &Sending) -> bool {
        life.is_some() && self.session_on(stage, one.connection) == life
    }

    /// Whether what was said on a connection may be in a session of this number or a later one.
    fn matters(&self, stage: &Stage, first: u64, on: usize) -> bool {
        match self.session_on(stage, on) {
            Some(number) => number >= first,
            None => !stage.w.is_over(&format!("{}#{on}", self.name)),
        }
    }

    /// Says nothing for a while, also when it is due.
    pub(super) fn be_silent(&mut self, stage: &Stage, ms: u64) {
        if !self.is_witness {
            self.silent_until_ms = stage.w.now_ms() + ms;
        }
    }

    /// Goes on talking.
    pub(super) fn wake(&mut self) {
        self.silent_until_ms = 0;
    }

    /// May say something now.
    pub(super) fn can_speak(&self, stage: &Stage) -> bool {
        let may = match self.phase {
            Phase::Away => false,
            Phase::Connecting { eagerly } => eagerly,
            Phase::Connected => true,
        };
        may && self.silent_until_ms <= stage.w.now_ms() && stage.w.is_open(&self.label)
    }

    /// Keeps its connection alive if it is time for that.
    pub(super) fn ping(&mut self, stage: &mut Stage) {
        let due = self.said_ms + u64::from(self.keep_alive) * 400;
        if self.keep_alive > 0 && stage.w.now_ms() >= due && self.can_speak(stage) {
            self.say(stage, pingreq());
        }
    }

    fn say(&mut self, stage: &mut Stage, said: impl Into<Said>) {
        self.said_ms = stage.w.now_ms();
        stage.w.say(&self.label, said);
    }

    /// Publishes to some topic, if it may have one more message in flight and has repeated what it
    /// had to.
    pub(super) fn publish(&mut self, stage: &mut Stage) {
        let dice = &mut stage.dice;
        let qos = dice.below(3) as u8;
        let bytes = match dice.below(100) {
            0..90 => dice.below(30),
            90..99 => 2_000 + dice.below(2_000),
            _ => 20_000 + dice.below(20_000),
        };
        if dice.chance(30) {
            let clears = qos < 2 && dice.chance(15);
            let topic = format!("r/{}/{qos}", self.name);
            self.publish_to(stage, &topic, qos, Some(clears), bytes.min(30));
        } else {
            let topic = dice.pick(TOPICS);
            self.publish_to(stage, topic, qos, None, bytes);
        }
    }

    /// Publishes, to be retained if it says whether it `clears` the topic. Returns the number.
    pub(super) fn publish_to(
        &mut self,
        stage: &mut Stage,
        topic: &str,
        qos: u8,
        clears: Option<bool>,
        bytes: usize,
    ) -> Option<usize> {
        // [MQTT3-4.6.0-1] [MQTT5-4.6.0-1]: what has to be repeated goes first.
        let repeating = self.owes.iter().any(|said| matches!(said, Said::Publish(_)));
        let full = qos > 0 && self.sending.len() >= SENDING_MAX;
        if !self.can_speak(stage) || repeating || full {
            return None;
        }
        let mut words = publish(topic, "").qos(qos);
        words.retain = clears.is_some();
        let unknowable = clears == Some(true);
        let new = New {
            publisher: &self.name,
            era: self.era,
            topic,
            qos: words.qos,
            retain: words.retain,
            firm: !(qos == 2 && self.stores_first),
            unknowable,
            bytes: bytes + 200,
        };
        let now = stage.w.now_ms();
        let number = stage.books.published(&new, |name| stage.lives.standing(name, now));
        if let Some(clears) = clears.filter(|_| topic.starts_with("r/")) {
            stage.values.said(topic, number, clears, qos == 0, &self.label);
        }
        if !unknowable {
            words.payload = payload(number, bytes).into();
        }
        if qos > 0 {
            words.id = Some(self.free_id());
            let (publish, connection) = (words.clone(), self.connections);
            self.sending.push_back(Sending { publish, number, received: false, connection });
        }
        self.say(stage, words);
        Some(number)
    }

    /// Asks for some subscriptions.
    pub(super) fn subscribe(&mut self, stage: &mut Stage) {
        let mut filters = vec![stage.dice.pick(FILTERS)];
        if stage.dice.chance(20) {
            filters.push(stage.dice.pick(FILTERS));
        }
        filters.dedup();
        self.subscribe_to(stage, &filters, self.is_witness);
    }

    /// Asks for these subscriptions, at QoS 2 and without options if it is to be `plainly`.
    pub(super) fn subscribe_to(&mut self, stage: &mut Stage, filters: &[&str], plainly: bool) {
        if !self.can_speak(stage) || filters.iter().any(|filter| self.has_asked(filter)) {
            return;
        }
        let v5 = self.version == ProtocolVersion::V5;
        let id = self.free_id();
        let identifier = (v5 && stage.dice.chance(50)).then(|| 1 + stage.dice.below(300) as u32);
        let mut packet: Option<Subscribing> = None;
        let mut asked = Vec::new();
        for filter in filters {
            let dice = &mut stage.dice;
            let qos = if plainly { 2 } else { dice.below(3) as u8 };
            let mut one = match packet.take() {
                None => subscribe(id, filter, qos),
                Some(packet) => packet.and(filter, qos),
            };
            let odd = v5 && !plainly;
            let wish = Wish {
                qos: QoS::ALL[usize::from(qos)],
                no_local: odd && dice.chance(20),
                retain_as_published: odd && dice.chance(20),
                identifier,
            };
            let handling = match dice.below(10) {
                0 if odd => RetainHandling::Never,
                1..4 if odd => RetainHandling::IfNew,
                _ => RetainHandling::Always,
            };
            if wish.no_local {
                one = one.no_local();
            }
            if wish.retain_as_published {
                one = one.retain_as_published();
            }
            packet = Some(one.retain_handling(handling));
            stage.books.subscribing(&self.name, filter, wish);
            if wish.qos == QoS::AtMostOnce || wish.no_local {
                self.retained.fresh.remove(*filter);
            }
            self.retained.asked_on.insert(((*filter).into(), self.connections));
            asked.push(((*filter).to_owned(), wish, handling));
        }
        let batches = stage.w.batches();
        self.asked.insert(id, Asked::Subscribe { filters: asked, batches });
        if let Some(mut packet) = packet {
            if let Some(identifier) = identifier {
                packet = packet.identifier(identifier);
            }
            self.say(stage, packet);
        }
    }

    /// Asks for a subscription's end.
    pub(super) fn unsubscribe(&mut self, stage: &mut Stage) {
        if !self.is_witness {
            let filter = stage.dice.pick(FILTERS);
            self.unsubscribe_from(stage, filter);
        }
    }

    pub(super) fn unsubscribe_from(&mut self, stage: &mut Stage, filter: &str) {
        if !self.can_speak(stage) || self.has_asked(filter) {
            return;
        }
        let id = self.free_id();
        self.asked.insert(id, Asked::Unsubscribe(filter.into()));
        stage.books.unsubscribing(&self.name, filter);
        self.retained.fresh.remove(filter);
        self.say(stage, unsubscribe(id, &[filter]));
    }

    fn has_asked(&self, filter: &str) -> bool {
        self.asked.values().any(|asked| match asked {
            Asked::Subscribe { filters, .. } => filters.iter().any(|(one, ..)| one == filter),
            Asked::Unsubscribe(one) => one == filter,
        })
    }

    /// Says up to `count` of the things it owes the broker: acknowledgements and repetitions.
    pub(super) fn answer(&mut self, stage: &mut Stage, count: usize) {
        for _ in 0..count {
            if self.phase != Phase::Connected || !self.can_speak(stage) {
                return;
            }
            let Some(said) = self.owes.pop_front() else {
                return;
            };
            if let Said::Ack { packet: PacketType::Puback, id, .. } = &said
                && let Some(number) = self.unconfirmed.remove(id)
            {
                stage.books.receives(&self.name, number);
            }
            self.say(stage, said);
        }
    }

    /// `[MQTT3-4.4.0-1]` `[MQTT5-4.4.0-1]`: what is unfinished is repeated, in order.
    pub(super) fn repeat_unfinished(&mut self, stage: &mut Stage) {
        for sending in self.sending.iter_mut().filter(|one| one.connection != self.connections) {
            sending.connection = self.connections;
            self.owes.push_back(if sending.received {
                pubrel(sending.publish.packet_id())
            } else {
                let twice = sending.publish.qos == QoS::ExactlyOnce;
                stage.books.repeated(sending.number, !(twice && self.stores_first));
                sending.publish.clone().dup().into()
            });
        }
    }

    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id % 60 + 1;
            let id = self.last_id;
            let sent = self.sending.iter().chain(&self.given_up);
            let sent = sent.into_iter().any(|one| one.publish.id == Some(id));
            if !sent && !self.asked.contains_key(&id) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Plan, Simulation};
    use super::*;
    use crate::shards::Happening;

    fn stage() -> Stage {
        Simulation::new(Plan { seed: 0, minutes: 0, whole_story: false }).stage
    }

    /// A connection is given its session.
    fn claims(stage: &mut Stage, who: &str) {
        let at_ms = stage.w.now_ms();
        let claimed = Happening::Claimed { who: who.into(), at_ms };
        assert_eq!(stage.lives.take(&claimed), Ok(()));
    }

    fn ended(who: &str) -> Happening {
        Happening::Ended { who: who.into(), cause: noctule_broker::Cause::PeerClosed, at_ms: 0 }
    }

    /// For whom a message of QoS 2 has to be stored when it is acknowledged, if the publisher's
    /// session does not outlive the connection and it starts `clean`.
    fn stored_for(clean: bool) -> Vec<(String, u64)> {
        let mut stage = stage();
        let visit = Visit { id: "r".into(), expiry: 10, ..Visit::default() };
        stage.lives.opens("r#1", visit);
        claims(&mut stage, "r#1");
        stage.books.finds("r", 1);
        let wish = Wish {
            qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            identifier: None,
        };
        stage.books.subscribing("r", "u", wish);
        stage.books.subscribed("r", "u");
        let mut guest = Guest { version: ProtocolVersion::V5, ..Guest::new(1, false) };
        while {
            let (_, visit) = guest.choose_connect(&mut stage);
            visit.expiry > 0 || visit.clean != clean
        } {}
        guest.label = "g1#1".into();
        guest.phase = Phase::Connected;
        stage.w.open(&guest.label, 0, guest.version);
        let number = guest.publish_to(&mut stage, "u", 2, None, 1).expect("it may publish");
        stage.books.acknowledged(number)
    }

    /// A guest that has said something on a connection before its CONNACK, and left it behind for
    /// another, on which it has a session that ends with it.
    fn with_a_session_in_between(stage: &mut Stage) -> Guest {
        let mut guest = Guest::new(1, true);
        guest.connect(stage);
        guest.phase = Phase::Connecting { eagerly: true };
        guest.publish_to(stage, "u", 2, None, 1).expect("it may publish");
        guest.subscribe_to(stage, &["r/#"], true);
        guest.go(stage, |stage, label| stage.w.stop_listening(label));
        guest.connect(stage);
        guest.expiry = 0;
        claims(stage, "g1#2");
        guest.begin_anew(stage, Some(1), 1);
        guest
    }

    fn identifiers<'a>(sent: impl IntoIterator<Item = &'a Sending>) -> Vec<Option<u16>> {
        sent.into_iter().map(|one| one.publish.id).collect()
    }

    #[test]
    fn what_was_said_on_a_connection_counts_when_its_session_is_found() {
        let mut stage = stage();
        let mut guest = with_a_session_in_between(&mut stage);
        assert_eq!(identifiers(&guest.sending), []);
        assert_eq!(identifiers(&guest.given_up), [Some(1)]);
        stage.lives.take(&ended("g1#2")).expect("it may end");
        stage.lives.opens("g1#1", Visit { id: "g1".into(), expiry: u32::MAX, ..Visit::default() });
        claims(&mut stage, "g1#1");
        guest.go(&mut stage, |_, _| ());
        assert_eq!(identifiers(&guest.given_up), [Some(1)], "that session is another one");
        guest.last_id = 60;
        assert_eq!(guest.free_id(), 2, "the first is held in it");
        // The next connection has found it.
        guest.begin_anew(&mut stage, Some(2), 2);
        assert!(guest.sending.iter().all(|one| one.received), "only PUBREL is to be sent");
        assert_eq!(identifiers(&guest.sending), [Some(1)]);
        assert_eq!(identifiers(&guest.given_up), []);
        assert_eq!(guest.retained.asked_on, [("r/#".into(), 1)].into());
    }

    /// A guest whose session is known to it, and that has said something more on a connection that it
    /// has left before CONNACK, and is on its third now.
    fn with_a_connection_overtaken(stage: &mut Stage) -> Guest {
        let lasting = Visit { id: "g1".into(), expiry: u32::MAX, ..Visit::default() };
        let mut guest = Guest::new(1, true);
        guest.connect(stage);
        stage.lives.opens("g1#1", lasting.clone());
        claims(stage, "g1#1");
        guest.phase = Phase::Connected;
        guest.publish_to(stage, "u", 2, None, 1).expect("it may publish");
        for next in ["g1#2", "g1#3"] {
            guest.expiry = u32::MAX;
            guest.go(stage, |stage, label| stage.w.stop_listening(label));
            guest.connect(stage);
            stage.lives.opens(next, lasting.clone());
            guest.phase = Phase::Connecting { eagerly: true };
            if next == "g1#2" {
                guest.publish_to(stage, "u", 2, None, 1).expect("it may publish");
            }
        }
        claims(stage, "g1#3");
        guest
    }

    #[test]
    fn what_was_said_on_a_connection_that_may_get_a_session_later_is_left_to_it() {
        let mut stage = stage();
        let mut guest = with_a_connection_overtaken(&mut stage);
        guest.go_on(&mut stage, 1);
        assert_eq!(identifiers(&guest.sending), [Some(1)]);
        assert_eq!(identifiers(&guest.given_up), [Some(2)]);
        // It has got the same one; so its identifier has to become free.
        claims(&mut stage, "g1#2");
        guest.go_on(&mut stage, 1);
        assert_eq!(identifiers(&guest.sending), [Some(2), Some(1)]);
        assert!(guest.sending[0].received && !guest.sending[1].received);
        assert_eq!(identifiers(&guest.given_up), []);
    }

    #[test]
    fn what_was_said_on_a_connection_that_ended_without_a_session_is_repeated_in_the_next() {
        let mut stage = stage();
        let mut guest = with_a_connection_overtaken(&mut stage);
        stage.w.reset("g1#2");
        stage.w.settle();
        guest.go_on(&mut stage, 1);
        assert_eq!(identifiers(&guest.sending), [Some(1), Some(2)]);
        assert_eq!(identifiers(&guest.given_up), []);
    }

    #[test]
    fn what_was_asked_for_in_an_earlier_session_too_was_asked_for_in_this_one() {
        let mut stage = stage();
        let mut guest = Guest::new(1, true);
        for (label, clean) in [("g1#1", false), ("g1#2", true)] {
            guest.connect(&mut stage);
            let id = "g1".into();
            stage.lives.opens(label, Visit { id, clean, expiry: u32::MAX, ..Visit::default() });
            guest.expiry = u32::MAX;
            guest.phase = Phase::Connecting { eagerly: true };
            guest.subscribe_to(&mut stage, &["r/#"], true);
            claims(&mut stage, label);
            guest.go(&mut stage, |stage, label| stage.w.stop_listening(label));
        }
        guest.begin_anew(&mut stage, Some(2), 2);
        assert_eq!(guest.retained.asked_on, [("r/#".into(), 2)].into());
    }

    #[test]
    fn what_was_said_on_a_connection_that_ends_without_a_session_is_forgotten() {
        let mut stage = stage();
        let mut guest = with_a_session_in_between(&mut stage);
        stage.w.reset("g1#1");
        stage.w.settle();
        stage.lives.take(&ended("g1#2")).expect("it may end");
        guest.go(&mut stage, |_, _| ());
        assert_eq!(identifiers(&guest.given_up), []);
        assert!(guest.retained.asked_on.is_empty());
    }

    #[test]
    fn what_comes_behind_messages_that_are_stored_first_is_perhaps_stored_first_too() {
        assert_eq!(stored_for(true), [("r".into(), 1)]);
        assert_eq!(stored_for(false), []);
    }
}
