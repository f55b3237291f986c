//! A client with a session that lasts: it keeps its half, whatever becomes of the connection.

use super::books::{Books, Name, Published};
use noctule_broker::RetainHandling;
use noctule_testkit::packets::{
    Connecting, Publishing, Said, puback, pubcomp, publish, pubrec, pubrel, subscribe, v5, v311,
};
use noctule_testkit::{Dice, PacketType, ReasonCode, Shards};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Subscriber,
    Publisher,
}

/// A message that was heard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    pub(super) name: Name,
    pub(super) qos: u8,
    pub(super) at: usize,
}

/// A SUBSCRIBE.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    id: u16,
    pub(super) at: usize,
    /// When its SUBACK came.
    pub(super) granted_at: Option<usize>,
    /// Whether it asks for retained messages.
    pub(super) wants_retained: bool,
}

/// How far a message that was published has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    Published,
    Received,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: String,
    role: Role,
    number: usize,
    five: bool,
    topics: &'static [&'static str],
    filter: &'static str,
    qos: u8,
    /// CONNACK has come on this connection.
    connected: bool,
    /// CONNECT was sent on it.
    connecting: bool,
    /// A session was confirmed: it has to be there from now on.
    confirmed: bool,
    asked_to_subscribe: bool,
    /// When SUBACK came.
    pub(super) subscribed_at: Option<usize>,
    pub(super) asks: Vec<Ask>,
    pub(super) heard: Vec<Heard>,
    /// Identifiers of QoS 2 messages that were received and not released.
    held: BTreeSet<u16>,
    /// What will be acknowledged: the packets.
    answers: VecDeque<Said>,
    /// What was heard at QoS 1 and is not acknowledged: the identifier of each.
    unanswered: BTreeMap<Name, u16>,
    /// What was published and is not finished, by identifier, in order.
    sending: VecDeque<(u16, Name, Sending)>,
    next_id: u16,
    next_number: u32,
}

/// So many messages are not acknowledged at once.
const WINDOW: usize = 6;
const TOPICS: &[&str] = &["t/1", "t/2", "t/3", "r/1", "r/2", "r/3", "r/4"];
/// A subscriber asks for his filter so often.
const ASKS_MAX: usize = 5;

impl Client {
    pub(super) fn new(name: String, role: Role, dice: &mut Dice) -> Self {
        let number = usize::from(name.as_bytes().last().copied().unwrap_or_default());
        Self {
            name,
            role,
            number,
            five: dice.chance(50),
            // Each has retained topics of its own, so that it is known which message is the last.
            topics: TOPICS,
            filter: dice.pick(&["t/#", "#", "t/1", "+/2", "r/#", "r/#"]),
            qos: 1 + dice.below(2) as u8,
            connected: false,
            connecting: false,
            confirmed: false,
            asked_to_subscribe: false,
            subscribed_at: None,
            asks: Vec::new(),
            heard: Vec::new(),
            held: BTreeSet::new(),
            answers: VecDeque::new(),
            unanswered: BTreeMap::new(),
            sending: VecDeque::new(),
            next_id: 0,
            next_number: 0,
        }
    }

    pub(super) fn wants(&self, topic: &str) -> bool {
        match self.filter {
            "#" => true,
            "t/#" => topic.starts_with("t/"),
            "r/#" => topic.starts_with("r/"),
            "+/2" => topic.ends_with("/2"),
            exact => topic.starts_with(exact),
        }
    }

    /// Messages that it had heard and not acknowledged when it was cut off, and that have not come again.
    pub(super) fn heard_in_vain(&self) -> impl Iterator<Item = &Name> {
        self.unanswered.keys()
    }

    /// Whether it has begun something that is not finished.
    pub(super) fn is_busy(&self) -> bool {
        !self.connected || !self.answers.is_empty() || !self.sending.is_empty()
    }

    /// The broker is gone, and what was on the way with it.
    pub(super) fn is_cut_off(&mut self) {
        (self.connected, self.connecting) = (false, false);
        self.answers.clear();
        self.asked_to_subscribe = false;
    }

    /// Does something.
    pub(super) fn act(&mut self, w: &mut Shards, books: &mut Books, dice: &mut Dice) {
        self.note_closed(w);
        if !self.connected {
            if !self.connecting && dice.chance(60) {
                self.connect(w, dice);
            }
            return;
        }
        match dice.below(100) {
            0..4 => {
                w.lose(&self.name);
                w.retire(&self.name);
                self.is_cut_off();
            }
            4..60 if self.role == Role::Publisher => self.publish_one(w, books, dice),
            4..8 if self.subscribed_at.is_some() && self.asks.len() < ASKS_MAX => {
                let wants_retained = !self.five || dice.chance(60);
                self.ask(w, books, wants_retained);
            }
            _ => {
                // Some answers now, the rest some other time.
                for _ in 0..dice.below(4) {
                    self.answer(w);
                }
            }
        }
    }

    /// Does what is left to be done.
    pub(super) fn finish(&mut self, w: &mut Shards, _: &mut Books) {
        self.note_closed(w);
        if !self.connected && !self.connecting {
            self.connect(w, &mut Dice::new(1));
        }
        while self.connected && self.answer(w) {}
    }

    /// Before MQTT 5 a message is refused by closing.
    fn note_closed(&mut self, w: &mut Shards) {
        if self.connected && !w.is_open(&self.name) {
            w.retire(&self.name);
            self.is_cut_off();
        }
    }

    /// Subscribes to its filter, for the first time or again.
    fn ask(&mut self, w: &mut Shards, books: &mut Books, wants_retained: bool) {
        let id = 300 + self.asks.len() as u16;
        let said = subscribe(id, self.filter, self.qos);
        let said = if wants_retained { said } else { said.retain_handling(RetainHandling::IfNew) };
        self.asks.push(Ask { id, at: books.now(), granted_at: None, wants_retained });
        w.send(&self.name, said);
    }

    fn connect(&mut self, w: &mut Shards, dice: &mut Dice) {
        let connect: Connecting =
            if self.five { v5().clean(false).expiry(100_000) } else { v311().persistent() };
        self.connecting = true;
        let shard = dice.below(w.count());
        w.start(&self.name, shard, connect);
    }

    /// Says the next thing that it owes an answer with.
    fn answer(&mut self, w: &mut Shards) -> bool {
        let Some(said) = self.answers.pop_front() else {
            return false;
        };
        if !w.is_open(&self.name) {
            return false;
        }
        if let Said::Ack { packet: PacketType::Puback, id, .. } = &said {
            self.unanswered.retain(|_, unanswered| unanswered != id);
        }
        w.send(&self.name, said);
        true
    }

    fn publish_one(&mut self, w: &mut Shards, books: &mut Books, dice: &mut Dice) {
        if self.sending.len() >= WINDOW {
            return;
        }
        self.next_number += 1;
        let name = (self.number, self.next_number);
        let topic = dice.pick(self.topics);
        let retain = topic.starts_with("r/");
        // Of a topic with a retained message everybody has one of his own.
        let topic = if retain { format!("{topic}/{}", self.number) } else { topic.to_owned() };
        let at = books.now();
        let qos = 1 + dice.below(2) as u8;
        let published = Published {
            topic,
            qos,
            retain,
            acknowledged_at: None,
            repeated: false,
            refused: false,
            at,
        };
        books.published.insert(name, published);
        self.next_id = self.next_id % 200 + 1;
        let id = self.next_id;
        self.sending.push_back((id, name, Sending::Published));
        let said = packet(books, name, id);
        w.send(&self.name, said);
    }

    /// A session goes on: what was not acknowledged is sent again, in order.
    fn resume(&mut self, w: &mut Shards, books: &mut Books) {
        for (id, name, sending) in self.sending.clone() {
            if !w.is_open(&self.name) {
                return;
            }
            match sending {
                Sending::Published => {
                    let said = packet(books, name, id).dup();
                    if let Some(published) = books.published.get_mut(&name) {
                        published.repeated = true;
                    }
                    w.send(&self.name, said);
                }
                Sending::Received => w.send(&self.name, pubrel(id)),
            }
        }
    }

    /// Looks at what it hears.
    pub(super) fn listen(&mut self, w: &mut Shards, books: &mut Books) -> Result<(), String> {
        loop {
            let heard = w.all_heard(&self.name);
            if heard.is_empty() {
                return Ok(());
            }
            for said in heard {
                self.hear(said, w, books)?;
            }
        }
    }

    fn hear(&mut self, said: Said, w: &mut Shards, books: &mut Books) -> Result<(), String> {
        match said {
            Said::Connack { session_present, reason: ReasonCode::Success, .. } => {
                if self.confirmed && !session_present {
                    return Err(format!("the session of {} is gone", self.name));
                }
                books.resumed += usize::from(session_present);
                (self.connected, self.confirmed) = (true, true);
                self.resume(w, books);
                if self.role == Role::Subscriber && self.subscribed_at.is_none() {
                    self.asked_to_subscribe = true;
                    self.ask(w, books, true);
                }
            }
            Said::Suback { id, .. } => {
                let now = books.now();
                if let Some(ask) = self.asks.iter_mut().find(|ask| ask.id == id) {
                    ask.granted_at = Some(now);
                }
                self.subscribed_at.get_or_insert(now);
            }
            Said::Publish(publishing) => self.hear_publish(&publishing, books)?,
            Said::Ack { packet, id, reason } => self.hear_ack(packet, id, reason, books),
            other => return Err(format!("{} hears {other}", self.name)),
        }
        Ok(())
    }

    fn hear_publish(&mut self, publishing: &Publishing, books: &mut Books) -> Result<(), String> {
        let name = named(&publishing.payload).ok_or("a message that nobody said")?;
        let (qos, id) = (publishing.qos as u8, publishing.id.unwrap_or(0));
        let (retained, at) = (publishing.retain, books.now());
        books.heard += 1;
        match qos {
            1 => {
                // What was sent again, or stored before it was routed, may be another delivery.
                let published = books.published.get(&name);
                let repeated = published.is_none_or(|one| one.repeated || one.qos == 2);
                // What is retained may be sent several times, each time as another delivery.
                let before = if retained { None } else { self.unanswered.insert(name, id) };
                if let Some(before) = before.filter(|_| !repeated) {
                    books.continued += 1;
                    if before != id {
                        let who = &self.name;
                        return Err(format!("{who} heard {name:?} as {before} and again as {id}"));
                    }
                }
                self.heard.push(Heard { name, qos, at });
                self.answers.push_back(puback(id));
            }
            2 => {
                if self.held.insert(id) {
                    self.heard.push(Heard { name, qos, at });
                }
                self.answers.push_back(pubrec(id));
            }
            // What was retained and published at QoS 0 is nobody's here.
            _ => return Err(format!("{} heard {name:?} at QoS 0", self.name)),
        }
        Ok(())
    }

    fn hear_ack(&mut self, packet: PacketType, id: u16, reason: ReasonCode, books: &mut Books) {
        let now = books.now();
        if packet == PacketType::Pubrel {
            self.held.remove(&id);
            self.answers.push_back(pubcomp(id));
            return;
        }
        let Some(at) = self.sending.iter().position(|(sending, _, _)| *sending == id) else {
            return;
        };
        if reason == ReasonCode::QuotaExceeded {
            // Whoever else has got it, it was not acknowledged.
            if let Some((_, name, _)) = self.sending.remove(at)
                && let Some(published) = books.published.get_mut(&name)
            {
                published.refused = true;
            }
            books.refused += 1;
            return;
        }
        if matches!(packet, PacketType::Puback | PacketType::Pubrec)
            && let Some(published) = books.published.get_mut(&self.sending[at].1)
        {
            published.acknowledged_at.get_or_insert(now);
        }
        if packet == PacketType::Pubrec {
            self.sending[at].2 = Sending::Received;
            self.answers.push_back(pubrel(id));
        } else {
            self.sending.remove(at);
        }
    }
}

/// Somebody new is sent the retained messages: of each topic the last that was acknowledged, or one
/// that was published later.
pub(super) fn read_retained(w: &mut Shards, books: &Books) -> Result<(), String> {
    w.connect("reader", 0, v311());
    w.send("reader", subscribe(1, "r/#", 0));
    w.pass_ms(100);
    let mut found: BTreeMap<String, Name> = BTreeMap::new();
    for said in w.all_heard("reader") {
        if let Said::Publish(publishing) = said {
            let name = named(&publishing.payload).ok_or("a retained message that nobody said")?;
            found.insert(publishing.topic, name);
        }
    }
    let mut wanted: BTreeMap<(&str, u8), u32> = BTreeMap::new();
    for ((_, number), one) in books.published.iter().filter(|(_, one)| one.retain) {
        if one.is_acknowledged() {
            wanted.insert((&one.topic, one.qos), *number);
        }
    }
    for ((topic, qos), number) in wanted {
        // A message at QoS 2 is routed when it is stored, and so may come behind one at QoS 1.
        let is_later = |name: &Name| {
            name.1 >= number || books.published.get(name).is_some_and(|one| one.qos != qos)
        };
        if !found.get(topic).is_some_and(is_later) {
            let found = found.get(topic);
            return Err(format!("{topic} keeps {found:?}, though {number} was acknowledged"));
        }
    }
    Ok(())
}

fn packet(books: &Books, name: Name, id: u16) -> Publishing {
    let Some(one) = books.published.get(&name) else {
        return publish("t", "");
    };
    let said = publish(&one.topic, format!("{}-{}", name.0, name.1)).qos(one.qos).id(id);
    if one.retain { said.retain() } else { said }
}

fn named(payload: &[u8]) -> Option<Name> {
    let (publisher, number) = std::str::from_utf8(payload).ok()?.split_once('-')?;
    Some((publisher.parse().ok()?, number.parse().ok()?))
}
