//! The books of what was promised: which message was acknowledged to its publisher, who had a
//! subscription then, and what has been delivered.
//!
//! Entries are made by [`Peer`](crate::Peer)s (or by whoever speaks for a client) when something is
//! *sure*: a subscription counts from its SUBACK to the UNSUBSCRIBE, a message from its PUBACK or
//! PUBREC. What lies between may or may not have happened and binds nobody. Checked is:
//!
//! - a message that was acknowledged at QoS 1 or 2 reaches everybody who was subscribed to it at
//!   QoS 1 or 2 all the time between its first PUBLISH and its acknowledgement, unless that session
//!   ends;
//! - a message delivered at QoS 2, or published at QoS 0, is delivered once;
//! - of one publisher, topic and QoS, first deliveries keep the order of publishing (for QoS 1, of
//!   what the receiver was surely to get at QoS 1 when it was published: of the rest it may see
//!   the repetitions alone);
//! - nobody hears what nobody published, at a higher QoS, or on a topic never subscribed to;
//! - a persistent session is there when its client comes back.

use noctule_mqtt::{QoS, TopicFilter, TopicName};
use std::collections::{BTreeMap, BTreeSet};

/// See the module. Mistakes are returned as text, for the caller to fail with.
#[derive(Debug, Default)]
pub struct Ledger {
    messages: Vec<Posted>,
    unacknowledged: BTreeSet<usize>,
    sessions: BTreeMap<String, Book>,
    deliveries: usize,
}

/// A message that was published.
#[derive(Debug)]
struct Posted {
    publisher: String,
    topic: String,
    qos: QoS,
    retain: bool,
    /// Who will be owed it when it is acknowledged: session, its life, and the QoS.
    candidates: BTreeMap<String, (u64, QoS)>,
    /// Who was subscribed at QoS 1 or 2 when it was sent first: session and its life.
    subscribed: BTreeMap<String, u64>,
}

/// One client identifier's session.
#[derive(Debug, Default)]
struct Book {
    /// Counts the sessions this client has had.
    life: u64,
    established: bool,
    filters: BTreeMap<String, Filter>,
    /// Every filter this session may have had.
    ever: BTreeSet<String>,
    owed: BTreeSet<usize>,
    delivered: BTreeMap<usize, usize>,
    last: BTreeMap<(String, String, QoS, QoS), usize>,
}

/// A subscription, as far as its client can know.
#[derive(Debug, Clone, Copy)]
struct Filter {
    /// The QoS that it surely has, if it surely exists.
    sure: Option<QoS>,
    asked: QoS,
}

impl Ledger {
    /// A client sends a message for the first time. Returns its number, which its payload has to
    /// begin with; see [`number_in`](Self::number_in).
    pub fn published(&mut self, publisher: &str, topic: &str, qos: QoS, retain: bool) -> usize {
        let number = self.messages.len();
        let mut candidates = BTreeMap::new();
        let mut subscribed = BTreeMap::new();
        for (name, book) in &self.sessions {
            let Some(wanted) = book.sure_qos(topic).map(|wanted| wanted.min(qos)) else {
                continue;
            };
            if wanted != QoS::AtMostOnce {
                subscribed.insert(name.clone(), book.life);
                candidates.insert(name.clone(), (book.life, wanted));
            }
        }
        self.messages.push(Posted {
            publisher: publisher.into(),
            topic: topic.into(),
            qos,
            retain,
            candidates,
            subscribed,
        });
        if qos != QoS::AtMostOnce {
            self.unacknowledged.insert(number);
        }
        number
    }

    /// A payload that names message `number`, at least `bytes` long.
    pub fn payload(number: usize, bytes: usize) -> String {
        format!("{number}:{}", "x".repeat(bytes))
    }

    /// The number of the message that a payload names.
    pub fn number_in(payload: &[u8]) -> Option<usize> {
        let (number, _) = std::str::from_utf8(payload).ok()?.split_once(':')?;
        number.parse().ok()
    }

    /// The broker has acknowledged a message to its publisher.
    pub fn acknowledged(&mut self, number: usize) {
        if !self.unacknowledged.remove(&number) {
            return;
        }
        for (name, (life, _)) in &self.messages[number].candidates {
            if let Some(book) = self.sessions.get_mut(name).filter(|book| book.life == *life) {
                book.owed.insert(number);
            }
        }
    }

    /// CONNACK has accepted a client.
    ///
    /// # Errors
    /// If a session should have been there and was not, or the other way round.
    pub fn connected(&mut self, name: &str, persistent: bool, present: bool) -> Result<(), String> {
        let book = self.sessions.entry(name.into()).or_default();
        if present && !persistent {
            return Err(format!("{name} started clean and a session was present"));
        }
        if !present {
            if book.established && persistent {
                return Err(format!("the session of {name} is lost"));
            }
            book.end();
        }
        book.established = true;
        Ok(())
    }

    /// A session is over, and with it all it was owed.
    pub fn ended(&mut self, name: &str) {
        if let Some(book) = self.sessions.get_mut(name) {
            book.end();
        }
    }

    /// A client sends SUBSCRIBE.
    pub fn subscribing(&mut self, name: &str, filter: &str, qos: QoS) {
        let book = self.sessions.entry(name.into()).or_default();
        book.ever.insert(filter.into());
        let entry = book.filters.entry(filter.into()).or_insert(Filter { sure: None, asked: qos });
        entry.sure = entry.sure.map(|sure| sure.min(qos));
        entry.asked = qos;
        self.reconsider(name);
    }

    /// SUBACK has granted what the last SUBSCRIBE to this filter asked for.
    pub fn subscribed(&mut self, name: &str, filter: &str) {
        let entry = self.sessions.get_mut(name).and_then(|book| book.filters.get_mut(filter));
        if let Some(entry) = entry {
            entry.sure = Some(entry.asked);
        }
    }

    /// A client sends UNSUBSCRIBE.
    pub fn unsubscribing(&mut self, name: &str, filter: &str) {
        if let Some(book) = self.sessions.get_mut(name) {
            book.filters.remove(filter);
        }
        self.reconsider(name);
    }

    /// A client has received a message, for the first time by its packet identifier.
    ///
    /// # Errors
    /// What is wrong with that.
    pub fn delivered(
        &mut self,
        name: &str,
        number: usize,
        topic: &str,
        qos: QoS,
        retain: bool,
    ) -> Result<(), String> {
        self.deliveries += 1;
        let Some(posted) = self.messages.get(number) else {
            return Err(format!("{name} hears message {number}, which nobody published"));
        };
        if posted.topic != topic || qos > posted.qos || (retain && !posted.retain) {
            return Err(format!("{name} hears message {number} on {topic} at {qos}: {posted:?}"));
        }
        let book = self.sessions.entry(name.into()).or_default();
        if !book.ever.iter().any(|filter| matches(filter, topic)) {
            return Err(format!("{name} hears {topic}, to which it never subscribed"));
        }
        if retain {
            // A copy from before the subscription: may come for each, and after newer ones.
            return Ok(());
        }
        let times = book.delivered.entry(number).or_default();
        *times += 1;
        if *times > 1 {
            let once = qos == QoS::ExactlyOnce || posted.qos == QoS::AtMostOnce;
            return if once { Err(format!("{name} hears message {number} again")) } else { Ok(()) };
        }
        let whole = qos != QoS::AtMostOnce && posted.subscribed.get(name) == Some(&book.life);
        if posted.qos == QoS::AtLeastOnce && !whole {
            return Ok(());
        }
        let key = (posted.publisher.clone(), posted.topic.clone(), posted.qos, qos);
        match book.last.insert(key, number) {
            Some(last) if last > number => {
                Err(format!("{name} hears message {number} after message {last}"))
            }
            _ => Ok(()),
        }
    }

    /// Everything has had time to arrive: is anybody still owed something?
    ///
    /// # Errors
    /// Who, and what.
    pub fn settle(&self) -> Result<(), String> {
        for (name, book) in &self.sessions {
            let lost = book.owed.iter().find(|number| !book.delivered.contains_key(number));
            if let Some(number) = lost {
                let posted = &self.messages[*number];
                return Err(format!(
                    "message {number} was acknowledged to {} and never came to {name}: {posted:?}",
                    posted.publisher
                ));
            }
        }
        Ok(())
    }

    /// How many messages were published, and how many deliveries seen: for a test to make sure that
    /// something happened.
    pub fn totals(&self) -> (usize, usize) {
        (self.messages.len(), self.deliveries)
    }

    /// How many deliveries have been promised, as far as anybody can be sure.
    pub fn promised(&self) -> usize {
        self.sessions.values().map(|book| book.owed.len()).sum()
    }

    /// A client's subscriptions have become fewer or lower: what is on its way to it is not surely
    /// owed any more.
    fn reconsider(&mut self, name: &str) {
        let Some(book) = self.sessions.get(name) else {
            return;
        };
        for number in &self.unacknowledged {
            let posted = &mut self.messages[*number];
            let wanted = book.sure_qos(&posted.topic).map(|wanted| wanted.min(posted.qos));
            if wanted.is_none_or(|wanted| wanted == QoS::AtMostOnce) {
                posted.candidates.remove(name);
            }
        }
    }
}

impl Book {
    fn end(&mut self) {
        *self = Self { life: self.life + 1, ..Self::default() };
    }

    /// The QoS at which messages of `topic` are surely wanted.
    fn sure_qos(&self, topic: &str) -> Option<QoS> {
        let matching = self.filters.iter().filter(|(filter, _)| matches(filter, topic));
        matching.filter_map(|(_, filter)| filter.sure).max()
    }
}

fn matches(filter: &str, topic: &str) -> bool {
    match (TopicFilter::new(filter), TopicName::new(topic)) {
        (Ok(filter), Ok(topic)) => filter.matches(topic),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: QoS = QoS::AtLeastOnce;
    const TWO: QoS = QoS::ExactlyOnce;

    /// A ledger in which `s` is surely subscribed to `t/#` at QoS 2.
    fn subscribed() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.connected("s", true, false).unwrap();
        ledger.subscribing("s", "t/#", TWO);
        ledger.subscribed("s", "t/#");
        ledger
    }

    #[test]
    fn an_acknowledged_message_that_never_comes_is_found() {
        let mut ledger = subscribed();
        let number = ledger.published("p", "t/1", ONE, false);
        assert_eq!(ledger.settle(), Ok(()), "nothing is promised before the acknowledgement");
        ledger.acknowledged(number);
        assert!(ledger.settle().is_err());
        ledger.delivered("s", number, "t/1", ONE, false).unwrap();
        assert_eq!(ledger.settle(), Ok(()));
    }

    #[test]
    fn what_was_not_sure_is_not_owed() {
        let mut ledger = subscribed();
        ledger.subscribing("s", "u", ONE);
        let early = ledger.published("p", "u", ONE, false);
        let late = ledger.published("p", "t/1", ONE, false);
        ledger.unsubscribing("s", "t/#");
        ledger.acknowledged(early);
        ledger.acknowledged(late);
        assert_eq!(ledger.settle(), Ok(()));
        let mut ledger = subscribed();
        let number = ledger.published("p", "t/1", ONE, false);
        ledger.ended("s");
        ledger.acknowledged(number);
        assert_eq!(ledger.settle(), Ok(()));
    }

    #[test]
    fn doubles_are_found_where_they_may_not_be() {
        let mut ledger = subscribed();
        let number = ledger.published("p", "t/1", TWO, false);
        ledger.delivered("s", number, "t/1", TWO, false).unwrap();
        assert!(ledger.delivered("s", number, "t/1", TWO, false).is_err());
        let number = ledger.published("p", "t/1", ONE, false);
        ledger.delivered("s", number, "t/1", ONE, false).unwrap();
        ledger.delivered("s", number, "t/1", ONE, false).unwrap();
    }

    #[test]
    fn repetitions_from_before_a_subscription_are_no_wrong_order() {
        let mut ledger = Ledger::default();
        ledger.connected("s", true, false).unwrap();
        ledger.subscribing("s", "t/#", TWO);
        let early = ledger.published("p", "t/1", ONE, false);
        ledger.subscribed("s", "t/#");
        let late = ledger.published("p", "t/1", ONE, false);
        ledger.delivered("s", late, "t/1", ONE, false).unwrap();
        ledger.delivered("s", early, "t/1", ONE, false).unwrap();
    }

    #[test]
    fn a_wrong_order_is_found_and_repetitions_are_none() {
        let mut ledger = subscribed();
        let numbers: Vec<_> = (0..3).map(|_| ledger.published("p", "t/1", ONE, false)).collect();
        ledger.delivered("s", numbers[0], "t/1", ONE, false).unwrap();
        ledger.delivered("s", numbers[2], "t/1", ONE, false).unwrap();
        ledger.delivered("s", numbers[0], "t/1", ONE, false).unwrap();
        assert!(ledger.delivered("s", numbers[1], "t/1", ONE, false).is_err());
    }

    #[test]
    fn what_was_never_published_or_wanted_is_found() {
        let mut ledger = subscribed();
        assert!(ledger.delivered("s", 0, "t/1", ONE, false).is_err());
        let number = ledger.published("p", "t/1", ONE, false);
        assert!(ledger.delivered("s", number, "t/2", ONE, false).is_err());
        assert!(ledger.delivered("s", number, "t/1", TWO, false).is_err());
        assert!(ledger.delivered("s", number, "t/1", ONE, true).is_err());
        assert!(ledger.delivered("x", number, "t/1", ONE, false).is_err());
    }

    #[test]
    fn a_session_that_is_lost_is_found() {
        let mut ledger = subscribed();
        assert!(ledger.connected("s", true, false).is_err());
        let mut ledger = Ledger::default();
        assert!(ledger.connected("c", false, true).is_err());
    }

    #[test]
    fn payloads_name_their_message() {
        assert_eq!(Ledger::number_in(Ledger::payload(17, 30).as_bytes()), Some(17));
        assert_eq!(Ledger::number_in(b"will"), None);
    }
}
