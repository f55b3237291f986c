//! What was said and heard on each connection, and what is owed by it.
//!
//! What a client says counts as it is decoded by the codec, not as a script meant it: so a damaged
//! packet that makes sense is taken for what it has become.

use super::script::{KEEPER, SLOTS};
use noctule_broker::{Record, SessionKey};
use noctule_mqtt::{PacketType, Properties, QoS, ReasonCode};
use noctule_testkit::packets::{Publishing, puback, pubcomp, pubrec, pubrel};
use noctule_testkit::{Said, World};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

pub(crate) struct Books {
    lines: [Line; SLOTS],
    keeper: SessionKey,
    /// How many records were read, and what the keeper is owed by them.
    read: usize,
    stored: HashSet<Vec<u8>>,
    /// How often each payload was said, and what of it was promised.
    said: HashMap<Vec<u8>, usize>,
    promised: BTreeMap<Vec<u8>, QoS>,
    /// Packet identifiers that a client identifier has used: what comes with one again may be taken
    /// for a repetition.
    used: HashSet<(String, u16)>,
}

/// A connection.
#[derive(Default)]
struct Line {
    client_id: Option<String>,
    is_accepted: bool,
    /// What was published with an acknowledgement to come, in order.
    published: VecDeque<Published>,
    /// What else was asked, by the answer and its identifier.
    asked: BTreeMap<(PacketType, u16), usize>,
    /// What the client has to say to what it heard.
    to_say: VecDeque<Said>,
    aliases: BTreeMap<u16, String>,
}

struct Published {
    answer: PacketType,
    id: u16,
    /// If the keeper has to be owed it: the payload.
    owed: Option<(Vec<u8>, QoS)>,
}

impl Books {
    pub(crate) fn new(world: &World) -> Self {
        let keeper = world.records().iter().find_map(|record| match record {
            Record::Session { key, client_id, .. } if &**client_id == KEEPER => Some(*key),
            _ => None,
        });
        Self {
            lines: Default::default(),
            keeper: keeper.expect("the keeper's session is recorded"),
            read: 0,
            stored: HashSet::new(),
            said: HashMap::new(),
            promised: BTreeMap::new(),
            used: HashSet::new(),
        }
    }

    /// A connection was opened in a place.
    pub(crate) fn opened(&mut self, slot: usize) {
        self.lines[slot] = Line::default();
    }

    /// Whether a CONNECT was said on a connection.
    pub(crate) fn has_spoken(&self, slot: usize) -> bool {
        self.lines[slot].client_id.is_some()
    }

    pub(crate) fn is_accepted(&self, slot: usize) -> bool {
        self.lines[slot].is_accepted
    }

    /// What a client has to say next to what it has heard, so many packets.
    pub(crate) fn take_answers(&mut self, slot: usize, count: usize) -> Vec<Said> {
        let to_say = &mut self.lines[slot].to_say;
        to_say.drain(..count.min(to_say.len())).collect()
    }

    /// A client has said this.
    pub(crate) fn said(&mut self, slot: usize, said: &Said) {
        let line = &mut self.lines[slot];
        match said {
            Said::Connect(connect) if line.client_id.is_none() => {
                line.client_id = Some(connect.client_id().to_owned());
                if let Some(payload) = connect.will_payload() {
                    *self.said.entry(payload.into()).or_default() += 1;
                }
            }
            Said::Publish(publish) => self.published(slot, publish),
            Said::Ack { packet: PacketType::Pubrel, id, .. } => {
                line.ask(PacketType::Pubcomp, *id);
            }
            Said::Subscribe(subscribe) => line.ask(PacketType::Suback, subscribe.packet_id()),
            Said::Unsubscribe { id, .. } => line.ask(PacketType::Unsuback, *id),
            Said::Pingreq => line.ask(PacketType::Pingresp, 0),
            _ => {}
        }
    }

    fn published(&mut self, slot: usize, publish: &Publishing) {
        *self.said.entry(publish.payload.clone()).or_default() += 1;
        let line = &mut self.lines[slot];
        let properties = Properties::from_checked(&publish.properties);
        let mut topic = publish.topic.clone();
        if let Some(alias) = properties.topic_alias() {
            if topic.is_empty() {
                topic = line.aliases.get(&alias).cloned().unwrap_or_default();
            } else {
                line.aliases.insert(alias, topic.clone());
            }
        }
        let answer = match publish.qos {
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => PacketType::Puback,
            QoS::ExactlyOnce => PacketType::Pubrec,
        };
        let id = publish.packet_id();
        let is_new = self.used.insert((line.client_id.clone().unwrap_or_default(), id));
        let may_expire = properties.message_expiry_interval().is_some();
        let is_owed = is_new && !may_expire && !topic.starts_with('$') && !topic.is_empty();
        let owed = is_owed.then(|| (publish.payload.clone(), publish.qos));
        line.published.push_back(Published { answer, id, owed });
    }

    /// Reads what the store was given since this was called last.
    pub(crate) fn read_records(&mut self, world: &World) {
        for record in &world.records()[self.read..] {
            match record {
                Record::Owed { key, owed, .. } if *key == self.keeper => {
                    self.stored.insert(owed.message.payload().to_vec());
                }
                // Routed when the broker comes back, if it was not before.
                Record::Received { message, .. } => {
                    self.stored.insert(message.payload().to_vec());
                }
                Record::SessionEnded(key) if *key == self.keeper => {
                    world.fail("the keeper's session was ended");
                }
                _ => {}
            }
        }
        self.read = world.records().len();
    }

    /// A client has heard this.
    pub(crate) fn heard(&mut self, slot: usize, said: &Said, world: &World) {
        let line = &mut self.lines[slot];
        let answered = match said {
            Said::Connack { reason, .. } => {
                line.is_accepted = !reason.is_error();
                true
            }
            Said::Publish(publish) => {
                match publish.qos {
                    QoS::AtMostOnce => {}
                    QoS::AtLeastOnce => line.to_say.push_back(puback(publish.packet_id())),
                    QoS::ExactlyOnce => line.to_say.push_back(pubrec(publish.packet_id())),
                }
                true
            }
            Said::Ack { packet: PacketType::Pubrel, id, .. } => {
                line.to_say.push_back(pubcomp(*id));
                true
            }
            Said::Ack { packet: PacketType::Pubcomp, id, .. } => {
                line.answered(PacketType::Pubcomp, *id)
            }
            Said::Ack { packet, id, reason } => {
                self.acknowledged(slot, *packet, *id, *reason, world)
            }
            Said::Suback { id, .. } => line.answered(PacketType::Suback, *id),
            Said::Unsuback { id, .. } => line.answered(PacketType::Unsuback, *id),
            Said::Pingresp => line.answered(PacketType::Pingresp, 0),
            Said::Disconnect { .. } | Said::Auth { .. } => true,
            Said::Connect(_) | Said::Subscribe(_) | Said::Unsubscribe { .. } | Said::Pingreq => {
                false
            }
        };
        if !answered {
            world.fail(&format!("{slot} hears {said}, and has not asked for it"));
        }
    }

    /// PUBACK or PUBREC: for a message that was said, and none that was said before one that is
    /// acknowledged already.
    fn acknowledged(
        &mut self,
        slot: usize,
        packet: PacketType,
        id: u16,
        reason: ReasonCode,
        world: &World,
    ) -> bool {
        let line = &mut self.lines[slot];
        if packet == PacketType::Pubrec {
            line.to_say.push_back(pubrel(id));
        }
        let is_it = |published: &Published| (published.answer, published.id) == (packet, id);
        let Some(at) = line.published.iter().position(is_it) else {
            return false;
        };
        let owed = line.published.drain(..=at).next_back().and_then(|published| published.owed);
        let Some((payload, qos)) = owed.filter(|_| !reason.is_error() && drops(world) == 0) else {
            return true;
        };
        if !self.stored.contains(&payload) {
            world.fail(&format!("{packet} {id} came before its message was stored"));
        }
        self.promised.insert(payload, qos);
        true
    }

    /// The keeper has received all that it is owed.
    pub(crate) fn settle(&self, received: &[Vec<u8>], world: &World) {
        let all: BTreeSet<&Vec<u8>> = received.iter().collect();
        if drops(world) == 0
            && let Some((payload, _)) = self.promised.iter().find(|(it, _)| !all.contains(it))
        {
            world.fail(&format!("{} was promised and is lost", payload.escape_ascii()));
        }
        let mut counts: HashMap<&[u8], usize> = HashMap::new();
        for payload in received {
            *counts.entry(payload).or_default() += 1;
        }
        for (payload, count) in counts {
            let said = self.said.get(payload).copied().unwrap_or(0);
            if count > said {
                let payload = payload.escape_ascii();
                world.fail(&format!("{payload} was said {said} times and received {count} times"));
            }
        }
    }
}

impl Line {
    fn ask(&mut self, answer: PacketType, id: u16) {
        *self.asked.entry((answer, id)).or_default() += 1;
    }

    /// Whether that was asked and not answered yet.
    fn answered(&mut self, answer: PacketType, id: u16) -> bool {
        match self.asked.get_mut(&(answer, id)) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }
}

/// How many messages were acknowledged and not kept, as the limits have it: they are counted.
fn drops(world: &World) -> u64 {
    let dropped = world.dropped();
    dropped.queue_full + dropped.store_full + dropped.memory_queued + dropped.memory_retained
}
