//! The books of what was promised: which message was acknowledged to its publisher, who had a
//! subscription then, and what has been delivered.
//!
//! Entries are made when something is *sure*: a subscription counts from its SUBACK to the
//! UNSUBSCRIBE, a message from its PUBACK or PUBREC. What lies between may or may not have happened
//! and binds nobody. Checked is:
//!
//! - a message that was acknowledged at QoS 1 or 2 reaches everybody who was subscribed to it at
//!   QoS 1 or 2 all the time between its first PUBLISH and its acknowledgement, unless that session
//!   ends;
//! - a message delivered at QoS 2, or published at QoS 0, is delivered once; one that was published
//!   once is delivered again only with DUP;
//! - of one publisher, topic and QoS, first deliveries keep the order of publishing;
//! - nobody hears what nobody published, at a higher QoS, on a topic to which it is not subscribed
//!   or was not any more when the message was sent, or its own if it asked for no local ones; and
//!   subscription identifiers are those of its subscriptions.

use noctule_mqtt::{QoS, TopicFilter, TopicName};
use std::collections::{BTreeMap, BTreeSet};

/// See the module. Mistakes are returned as text, for the caller to fail with.
#[derive(Debug, Default)]
pub(super) struct Books {
    messages: Vec<Posted>,
    unacknowledged: BTreeSet<usize>,
    sessions: BTreeMap<String, Book>,
    /// What receivers at QoS 1 have acknowledged: nothing of it has to be stored any more.
    received: BTreeSet<(String, usize)>,
    deliveries: usize,
    promises: usize,
    /// Messages may be dropped because a queue is full.
    pub(super) lossy: bool,
}

/// A message that was published.
#[derive(Debug)]
struct Posted {
    publisher: String,
    era: u64,
    topic: String,
    qos: QoS,
    retain: bool,
    bytes: usize,
    /// It was sent more than once.
    repeated: bool,
    /// When it is acknowledged, it is in the queue of every session that is kept in the store.
    firm: bool,
    /// Who will be owed it when it is acknowledged.
    candidates: BTreeMap<String, Candidate>,
    /// Who was subscribed at QoS 1 or 2 when it was sent first, and has been until it was
    /// acknowledged: session and its life.
    subscribed: BTreeMap<String, u64>,
}

/// Somebody who will be owed a message.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    life: u64,
    /// The session's number, if it is kept in the store.
    standing: Option<u64>,
}

/// What a client wants of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) qos: QoS,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    pub(super) identifier: Option<u32>,
}

/// A message as its receiver hears it.
#[derive(Debug)]
pub(super) struct Heard<'a> {
    pub(super) number: usize,
    pub(super) topic: &'a str,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) dup: bool,
    pub(super) identifiers: Vec<u32>,
}

/// A message that is to be sent.
#[derive(Debug)]
pub(super) struct New<'a> {
    pub(super) publisher: &'a str,
    /// Of its messages, those of an era are in order.
    pub(super) era: u64,
    pub(super) topic: &'a str,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    /// See [`Posted::firm`].
    pub(super) firm: bool,
    /// It has no payload to know it by.
    pub(super) unknowable: bool,
    pub(super) bytes: usize,
}

/// One client identifier's session.
#[derive(Debug, Default)]
struct Book {
    /// Counts the sessions this client has had.
    life: u64,
    filters: BTreeMap<String, Filter>,
    /// Every filter this session may have had.
    ever: BTreeMap<String, Ever>,
    owed: BTreeSet<usize>,
    delivered: BTreeMap<usize, usize>,
    last: BTreeMap<(String, u64, String, QoS, QoS), usize>,
    /// Its number among the sessions of this client, as far as the client knows.
    number: u64,
    /// It does not take larger messages.
    bytes_max: Option<usize>,
}

/// A subscription, as far as its client can know.
#[derive(Debug, Clone, Copy)]
struct Filter {
    /// What it surely has, if it surely exists.
    sure: Option<Wish>,
    asked: Wish,
    /// It surely exists since before this message.
    since: usize,
}

/// All that a filter may have been to a session.
#[derive(Debug, Default)]
struct Ever {
    /// It ended before this message was sent.
    until: Option<usize>,
    qos: QoS,
    local: bool,
    retain_as_published: bool,
    identifiers: BTreeSet<u32>,
}

impl Books {
    /// A client sends a message for the first time. Returns its number, which its payload has to
    /// begin with; see [`number_in`]. `standing` says of a session whether it is kept in the store.
    pub(super) fn published(
        &mut self,
        new: &New<'_>,
        standing: impl Fn(&str) -> Option<u64>,
    ) -> usize {
        let number = self.messages.len();
        let mut candidates = BTreeMap::new();
        let mut subscribed = BTreeMap::new();
        for (name, book) in self.sessions.iter().filter(|_| !new.unknowable) {
            let wanted = book.sure_qos(new.topic, new.publisher == name, number);
            let Some(wanted) = wanted.map(|wanted| wanted.min(new.qos)) else {
                continue;
            };
            let fits = book.bytes_max.is_none_or(|most| new.bytes <= most);
            if wanted != QoS::AtMostOnce && fits {
                subscribed.insert(name.clone(), book.life);
                let standing = standing(name).filter(|standing| *standing == book.number);
                let candidate = Candidate { life: book.life, standing };
                candidates.insert(name.clone(), candidate);
            }
        }
        self.messages.push(Posted {
            publisher: new.publisher.into(),
            era: new.era,
            topic: new.topic.into(),
            qos: new.qos,
            retain: new.retain,
            bytes: new.bytes,
            repeated: false,
            firm: new.firm,
            candidates,
            subscribed,
        });
        if new.qos != QoS::AtMostOnce {
            self.unacknowledged.insert(number);
        }
        number
    }

    /// A client acknowledges a message that it heard at QoS 1.
    pub(super) fn receives(&mut self, name: &str, number: usize) {
        self.received.insert((name.into(), number));
    }

    /// Whether a client has acknowledged a message at QoS 1.
    pub(super) fn has_received(&self, name: &str, number: usize) -> bool {
        self.received.contains(&(name.into(), number))
    }

    /// A client sends a message again, on a connection on which it is firm or not.
    pub(super) fn repeated(&mut self, number: usize, firm: bool) {
        let posted = &mut self.messages[number];
        posted.repeated = true;
        posted.firm &= firm;
    }

    /// Whether a message was sent more than once.
    pub(super) fn is_repeated(&self, number: usize) -> bool {
        self.messages.get(number).is_some_and(|posted| posted.repeated)
    }

    /// A client has given a message up.
    pub(super) fn abandoned(&mut self, number: usize) {
        self.unacknowledged.remove(&number);
        // It may be routed whenever its old session's store is done with it.
        self.messages[number].repeated = true;
    }

    /// The broker has acknowledged a message to its publisher. Returns the sessions for which it
    /// has to have been stored, with their numbers.
    pub(super) fn acknowledged(&mut self, number: usize) -> Vec<(String, u64)> {
        if !self.unacknowledged.remove(&number) {
            return Vec::new();
        }
        let mut stored = Vec::new();
        let posted = &self.messages[number];
        for (name, candidate) in &posted.candidates {
            let book = self.sessions.get_mut(name);
            let Some(book) = book.filter(|book| book.life == candidate.life) else {
                continue;
            };
            self.promises += 1;
            if !book.delivered.contains_key(&number) {
                book.owed.insert(number);
            }
            if let Some(standing) = candidate.standing.filter(|_| posted.firm) {
                stored.push((name.clone(), standing));
            }
        }
        stored
    }

    /// A client takes no larger messages than this from now on, or any.
    pub(super) fn takes(&mut self, name: &str, bytes_max: Option<usize>) {
        let book = self.sessions.entry(name.into()).or_default();
        book.bytes_max = bytes_max;
        let Some(most) = bytes_max else {
            return;
        };
        book.owed.retain(|number| self.messages[*number].bytes <= most);
        for number in &self.unacknowledged {
            let posted = &mut self.messages[*number];
            if posted.bytes > most {
                posted.candidates.remove(name);
                posted.subscribed.remove(name);
            }
        }
    }

    /// A client knows that it has the session of this number.
    pub(super) fn finds(&mut self, name: &str, number: u64) {
        self.sessions.entry(name.into()).or_default().number = number;
    }

    /// A client finds another session than it had, in which it may have asked for something already.
    pub(super) fn replaced(&mut self, name: &str) {
        if let Some(book) = self.sessions.get_mut(name) {
            let ever = std::mem::take(&mut book.ever);
            book.end();
            book.ever = ever;
        }
    }

    /// A session is over, or may be, and with it all it was owed.
    pub(super) fn ended(&mut self, name: &str) {
        if let Some(book) = self.sessions.get_mut(name) {
            book.end();
        }
    }

    /// A client sends SUBSCRIBE.
    pub(super) fn subscribing(&mut self, name: &str, filter: &str, wish: Wish) {
        let book = self.sessions.entry(name.into()).or_default();
        let ever = book.ever.entry(filter.into()).or_default();
        ever.until = None;
        ever.qos = ever.qos.max(wish.qos);
        ever.local |= !wish.no_local;
        ever.retain_as_published |= wish.retain_as_published;
        ever.identifiers.extend(wish.identifier);
        let new = Filter { sure: None, asked: wish, since: 0 };
        let entry = book.filters.entry(filter.into()).or_insert(new);
        entry.sure = entry.sure.map(|sure| Wish {
            qos: sure.qos.min(wish.qos),
            no_local: sure.no_local || wish.no_local,
            ..wish
        });
        entry.asked = wish;
        self.reconsider(name);
    }

    /// SUBACK has granted what the last SUBSCRIBE to this filter asked for.
    pub(super) fn subscribed(&mut self, name: &str, filter: &str) {
        let entry = self.sessions.get_mut(name).and_then(|book| book.filters.get_mut(filter));
        if let Some(entry) = entry {
            if entry.sure.is_none() {
                entry.since = self.messages.len();
            }
            entry.sure = Some(entry.asked);
        }
    }

    /// A client sends UNSUBSCRIBE.
    pub(super) fn unsubscribing(&mut self, name: &str, filter: &str) {
        if let Some(book) = self.sessions.get_mut(name) {
            book.filters.remove(filter);
        }
        self.reconsider(name);
    }

    /// UNSUBACK has come, or a SUBACK that refuses a filter that was not there.
    pub(super) fn unsubscribed(&mut self, name: &str, filter: &str) {
        let messages = self.messages.len();
        if let Some(book) = self.sessions.get_mut(name) {
            book.filters.remove(filter);
            if let Some(ever) = book.ever.get_mut(filter) {
                *ever = Ever { until: Some(messages), ..std::mem::take(ever) };
            }
        }
    }

    /// How many filters a client may be subscribed to.
    pub(super) fn filters_max(&self, name: &str) -> usize {
        let ever = self.sessions.get(name).map(|book| book.ever.values());
        ever.map_or(0, |all| all.filter(|ever| ever.until.is_none()).count())
    }

    /// The filters to which a client is surely subscribed, with what it wants.
    pub(super) fn sure_filters(&self, name: &str) -> Vec<(&str, Wish)> {
        let book = self.sessions.get(name);
        let filters = book.into_iter().flat_map(|book| &book.filters);
        filters.filter_map(|(filter, entry)| Some((filter.as_str(), entry.sure?))).collect()
    }

    /// A client has received a message, for the first time by its packet identifier. Returns whether
    /// its retain flag may be the publisher's own.
    ///
    /// # Errors
    /// What is wrong with that.
    pub(super) fn delivered(&mut self, name: &str, heard: &Heard<'_>) -> Result<bool, String> {
        self.deliveries += 1;
        let Heard { number, topic, qos, retain, dup, .. } = *heard;
        let Some(posted) = self.messages.get(number) else {
            return Err(format!("{name} hears message {number}, which nobody published"));
        };
        if posted.topic != topic || qos > posted.qos || (retain && !posted.retain) {
            return Err(format!("{name} hears {heard:?}: {posted:?}"));
        }
        let book = self.sessions.entry(name.into()).or_default();
        let own = posted.publisher == name;
        let rap =
            book.allows(heard, own).map_err(|why| format!("{name} hears {heard:?}, {why}"))?;
        if retain && !rap {
            // A copy from before the subscription: may come for each, and after newer ones.
            return Ok(rap);
        }
        book.owed.remove(&number);
        let flagged = book.delivered.get(&number) == Some(&0);
        let times = book.delivered.entry(number).or_default();
        if retain {
            // It may be a copy, and the live one still to come.
            return Ok(rap);
        }
        *times += 1;
        let whole = qos != QoS::AtMostOnce && posted.subscribed.get(name) == Some(&book.life);
        if *times > 1 {
            let once = qos == QoS::ExactlyOnce
                || posted.qos == QoS::AtMostOnce
                || (!dup && (!posted.repeated || posted.qos == QoS::ExactlyOnce));
            let wrong = once && !rap;
            return if wrong {
                Err(format!("{name} hears message {number} again"))
            } else {
                Ok(rap)
            };
        }
        // Of what was sent again, a receiver may have missed the first, or have heard it with the
        // publisher's flag.
        let not_first = !whole || flagged || self.lossy;
        if posted.repeated && posted.qos == QoS::AtLeastOnce && not_first {
            return Ok(rap);
        }
        let (publisher, topic) = (posted.publisher.clone(), posted.topic.clone());
        let key = (publisher, posted.era, topic, posted.qos, qos);
        match book.last.insert(key, number) {
            Some(last) if last > number => {
                Err(format!("{name} hears message {number} after message {last}"))
            }
            _ => Ok(rap),
        }
    }

    /// Whether a client has received a message.
    pub(super) fn has(&self, name: &str, number: usize) -> bool {
        self.sessions.get(name).is_some_and(|book| book.delivered.contains_key(&number))
    }

    /// Everything has had time to arrive at a client: is it still owed something?
    ///
    /// # Errors
    /// What.
    pub(super) fn settle(&self, name: &str) -> Result<(), String> {
        match self.sessions.get(name).and_then(|book| book.owed.first()) {
            None => Ok(()),
            Some(number) => {
                let posted = &self.messages[*number];
                Err(format!(
                    "message {number} was acknowledged to {} and never came to {name}: {posted:?}",
                    posted.publisher
                ))
            }
        }
    }

    /// Messages were dropped, and whoever published them has heard an acknowledgement: nobody is owed any
    /// more what has not come.
    ///
    /// Nor will it be owed a message of QoS 2 whose PUBREC its publisher has yet to hear: its queue
    /// may have been full when that was routed, and who repeats it is answered, and it is not routed again
    /// `[MQTT3-4.3.3-2]` `[MQTT5-4.3.3-10]`. One of QoS 1 is, and may find room then.
    pub(super) fn forgive(&mut self) {
        self.sessions.values_mut().for_each(|book| book.owed.clear());
        for number in &self.unacknowledged {
            let posted = &mut self.messages[*number];
            if posted.qos == QoS::ExactlyOnce {
                posted.candidates.clear();
            }
        }
    }

    /// How many messages were published, delivered, and promised: for a test to make sure that
    /// something happened.
    pub(super) fn totals(&self) -> (usize, usize, usize) {
        (self.messages.len(), self.deliveries, self.promises)
    }

    /// A client's subscriptions have become fewer or lower: what is on its way to it is not surely
    /// owed any more, unless it is in its queue.
    ///
    /// A message that was to be retained is owed for a subscription that was there when it was sent,
    /// and for that one not after UNSUBSCRIBE `[MQTT3-3.10.4-2]` `[MQTT5-3.10.4-2]`. For one that was
    /// made later it comes as the retained message it is by then `[MQTT3-3.3.1-6]` `[MQTT5-3.3.1-9]`,
    /// unless a newer one has taken its place, and need not come a second time; whether that is so is
    /// judged by the [values](super::values). Any other message is for whatever subscription is there
    /// when it arrives.
    fn reconsider(&mut self, name: &str) {
        let Some(book) = self.sessions.get_mut(name) else {
            return;
        };
        let wants = |book: &Book, number: usize, posted: &Posted| {
            let sent = if posted.retain { number } else { usize::MAX };
            let wanted = book.sure_qos(&posted.topic, posted.publisher == name, sent);
            wanted.is_some_and(|wanted| wanted.min(posted.qos) != QoS::AtMostOnce)
        };
        for number in &self.unacknowledged {
            let posted = &mut self.messages[*number];
            if !wants(book, *number, posted) {
                posted.candidates.remove(name);
                posted.subscribed.remove(name);
            }
        }
        let owed = std::mem::take(&mut book.owed);
        let stays = |number: &usize| {
            let posted = &self.messages[*number];
            let stored = posted.candidates.get(name).is_some_and(|one| one.standing.is_some());
            (stored && posted.firm) || wants(book, *number, posted)
        };
        book.owed = owed.into_iter().filter(stays).collect();
    }
}

impl Book {
    fn end(&mut self) {
        *self = Self {
            life: self.life + 1,
            number: self.number,
            bytes_max: self.bytes_max,
            ..Self::default()
        };
    }

    /// The QoS at which messages of `topic` are surely wanted, its own ones or others', by the
    /// subscriptions that were there when message `sent` was.
    fn sure_qos(&self, topic: &str, own: bool, sent: usize) -> Option<QoS> {
        let there = self.filters.iter().filter(|(_, entry)| entry.since <= sent);
        let sure = there.filter_map(|(filter, entry)| Some((filter, entry.sure?)));
        let wanted =
            sure.filter(|(filter, sure)| !(own && sure.no_local) && matches(filter, topic));
        wanted.map(|(_, sure)| sure.qos).max()
    }

    /// Whether some subscription may have brought this message. Returns whether its retain flag may
    /// be the publisher's.
    fn allows(&self, heard: &Heard<'_>, own: bool) -> Result<bool, String> {
        let may = |(filter, ever): &(&String, &Ever)| {
            ever.until.is_none_or(|until| heard.number < until)
                && (ever.local || !own || heard.retain)
                && matches(filter, heard.topic)
        };
        let (mut any, mut rap) = (false, false);
        let mut identifiers: BTreeSet<u32> = BTreeSet::new();
        for (_, ever) in self.ever.iter().filter(may) {
            any |= ever.qos >= heard.qos;
            // Of overlapping subscriptions, one message comes with what any of them asked for.
            rap |= ever.retain_as_published;
        }
        for (filter, ever) in &self.ever {
            if matches(filter, heard.topic) {
                identifiers.extend(&ever.identifiers);
            }
        }
        if !any {
            return Err(format!("for which it has no subscription: {:?}", self.ever));
        }
        match heard.identifiers.iter().find(|one| !identifiers.contains(one)) {
            Some(unknown) => Err(format!("whose identifier {unknown} is of no subscription")),
            None => Ok(rap),
        }
    }
}

/// A payload that names message `number`, with so many bytes more.
pub(crate) fn payload(number: usize, bytes: usize) -> String {
    format!("{number}:{}", "x".repeat(bytes))
}

/// The number of the message that a payload names.
pub(crate) fn number_in(payload: &[u8]) -> Option<usize> {
    let end = payload.iter().position(|byte| *byte == b':')?;
    std::str::from_utf8(&payload[..end]).ok()?.parse().ok()
}

/// Whether a filter matches a topic, both of which are valid.
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    match (TopicFilter::new(filter), TopicName::new(topic)) {
        (Ok(filter), Ok(topic)) => filter.matches(topic),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WISH: Wish = Wish {
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        identifier: None,
    };

    /// Books in which `r` has `wish` for `t`, and two messages were published to it.
    fn books(wish: Wish) -> Books {
        let mut books = Books::default();
        books.subscribing("r", "t", wish);
        books.subscribed("r", "t");
        let new = New {
            publisher: "s",
            era: 0,
            topic: "t",
            qos: QoS::AtLeastOnce,
            retain: true,
            firm: true,
            unknowable: false,
            bytes: 10,
        };
        assert_eq!([0, 1].map(|_| books.published(&new, |_| None)), [0, 1]);
        books
    }

    fn hear(books: &mut Books, number: usize, retain: bool) -> Result<bool, String> {
        let (qos, identifiers) = (QoS::AtLeastOnce, Vec::new());
        let heard = Heard { number, topic: "t", qos, retain, dup: false, identifiers };
        books.delivered("r", &heard)
    }

    #[test]
    fn a_repetition_may_follow_what_came_after_the_first_with_the_publishers_flag() {
        let mut books = books(Wish { retain_as_published: true, ..WISH });
        assert_eq!(hear(&mut books, 0, true), Ok(true));
        books.subscribing("r", "t", WISH);
        books.subscribed("r", "t");
        assert_eq!(hear(&mut books, 1, false), Ok(true));
        books.repeated(0, true);
        assert_eq!(hear(&mut books, 0, false), Ok(true));
    }

    #[test]
    fn who_was_not_subscribed_all_the_time_may_have_missed_the_first() {
        let mut books = books(WISH);
        books.unsubscribing("r", "t");
        books.subscribing("r", "t", WISH);
        books.subscribed("r", "t");
        assert_eq!(hear(&mut books, 1, false), Ok(false));
        books.repeated(0, true);
        assert_eq!(hear(&mut books, 0, false), Ok(false));
    }

    /// Whether `r` is still owed a message that was acknowledged when it has subscribed to `#`
    /// before it was sent or after that, and then leaves `t`.
    fn is_owed_for_another(retain: bool, before: bool) -> bool {
        let mut books = books(WISH);
        let another = |books: &mut Books| {
            books.subscribing("r", "#", WISH);
            books.subscribed("r", "#");
        };
        if before {
            another(&mut books);
        }
        let new = New {
            publisher: "s",
            era: 0,
            topic: "t",
            qos: QoS::AtLeastOnce,
            retain,
            firm: true,
            unknowable: false,
            bytes: 10,
        };
        let number = books.published(&new, |_| None);
        if !before {
            another(&mut books);
        }
        books.acknowledged(number);
        assert!(books.settle("r").is_err());
        books.unsubscribing("r", "t");
        books.settle("r").is_err()
    }

    #[test] // [MQTT5-3.3.1-9] [MQTT5-3.10.4-2]
    fn a_message_to_be_retained_is_owed_for_subscriptions_from_before_it() {
        assert!(is_owed_for_another(true, true));
        assert!(!is_owed_for_another(true, false), "for the later one it is a retained message");
        assert!(is_owed_for_another(false, true));
        assert!(is_owed_for_another(false, false), "it arrives when that one is there");
    }

    /// Whether `r` is owed a message that is acknowledged when it has been sent again, and whose
    /// first may have found no room.
    fn is_owed_after_drops(qos: QoS) -> bool {
        let mut books = books(Wish { qos: QoS::ExactlyOnce, ..WISH });
        let new = New {
            publisher: "s",
            era: 0,
            topic: "t",
            qos,
            retain: false,
            firm: false,
            unknowable: false,
            bytes: 10,
        };
        let number = books.published(&new, |_| None);
        books.forgive();
        books.repeated(number, false);
        books.acknowledged(number);
        books.settle("r").is_err()
    }

    #[test] // [MQTT3-4.3.3-2] [MQTT5-4.3.3-10]
    fn what_found_no_room_is_owed_if_its_repetition_is_routed_again() {
        assert!(!is_owed_after_drops(QoS::ExactlyOnce), "it is held, and only answered");
        assert!(is_owed_after_drops(QoS::AtLeastOnce));
    }

    #[test]
    fn what_comes_for_the_first_time_comes_in_order() {
        let mut books = books(WISH);
        assert_eq!(hear(&mut books, 1, false), Ok(false));
        books.repeated(0, true);
        assert_eq!(hear(&mut books, 0, false), Err("r hears message 0 after message 1".into()));
    }
}
