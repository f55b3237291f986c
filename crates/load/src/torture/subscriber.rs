//! A client that subscribes: what it has heard of each lane, and the QoS 2 messages it holds, kept
//! over connections and the broker's deaths.

use noctule_mqtt::packet::Publish;
use noctule_mqtt::{Packet, QoS};

use super::books::Books;
use super::findings::Kind;
use super::hearing::Hearing;
use super::inbox::{Inbox, Mail};
use super::packet::{Pen, mark};
use crate::LoadError;

/// What subscribers subscribe to: a filter for each QoS, so that one can be lost without the other.
pub(crate) const FILTERS: [&str; 2] = ["torture/q1/#", "torture/q2/#"];

/// The subscribing half of a client.
#[derive(Debug)]
pub(crate) struct Subscriber {
    name: String,
    hearings: Vec<Hearing>,
    inbox: Inbox,
    subscribed: bool,
    /// Whether SUBSCRIBE was sent on this connection.
    asked: bool,
}

impl Subscriber {
    /// One that hears so many lanes.
    pub(crate) fn new(name: &str, lanes: usize) -> Self {
        let hearings = (0..lanes).map(|_| Hearing::default()).collect();
        Self {
            name: name.into(),
            hearings,
            inbox: Inbox::default(),
            subscribed: false,
            asked: false,
        }
    }

    /// Whether its subscriptions are granted.
    pub(crate) fn is_subscribed(&self) -> bool {
        self.subscribed
    }

    /// Connected.
    pub(crate) fn resume(&mut self) {
        self.asked = false;
    }

    /// Appends SUBSCRIBE if it has no subscriptions and did not ask yet.
    pub(crate) fn ask(&mut self, pen: &Pen, out: &mut Vec<u8>) -> Result<(), LoadError> {
        if !self.subscribed && !self.asked {
            self.asked = true;
            out.extend_from_slice(&pen.subscribe(&FILTERS)?);
        }
        Ok(())
    }

    /// SUBACK came: everything from now on is owed.
    pub(crate) fn granted(&mut self, books: &Books) {
        self.subscribed = true;
        self.hearings
            .iter_mut()
            .zip(&books.lanes)
            .for_each(|(hearing, lane)| hearing.forgive(lane));
    }

    /// Its session is gone: what it was owed is lost, and what it holds is of no use.
    pub(crate) fn start_anew(&mut self, books: &mut Books) {
        self.settle(books, "its session is gone");
        self.inbox = Inbox::default();
        self.subscribed = false;
    }

    /// A packet came; false if it is none for a subscriber.
    pub(crate) fn take(
        &mut self,
        packet: &Packet<'_>,
        books: &mut Books,
        pen: &Pen,
        out: &mut Vec<u8>,
    ) -> bool {
        match self.inbox.take(packet, pen, out) {
            Mail::New(publish) => self.hear(publish, books),
            Mail::Done => {}
            Mail::Foreign => return false,
        }
        true
    }

    fn hear(&mut self, publish: &Publish<'_>, books: &mut Books) {
        let topic = publish.topic.map_or("", |topic| topic.as_str());
        let heard = mark(publish.payload).filter(|mark| {
            books.lanes[..books.spoken]
                .get(usize::from(mark.publisher))
                .is_some_and(|lane| lane.topic() == topic && lane.qos() == publish.qos)
        });
        let Some(mark) = heard else {
            let name = &self.name;
            books.findings.note(Kind::Foreign, || {
                format!("{name} got a message on {topic} at {} that is none of ours", publish.qos)
            });
            return;
        };
        let index = usize::from(mark.publisher);
        let lane = &books.lanes[index];
        self.hearings[index].arrived(mark.sequence, lane, &self.name, &mut books.findings);
        books.move_on();
    }

    /// How many messages may be on their way to it.
    pub(crate) fn behind(&self, books: &Books) -> u64 {
        self.hearings.iter().zip(&books.lanes).map(|(hearing, lane)| hearing.behind(lane)).sum()
    }

    /// Whether it has heard everything that was acknowledged.
    pub(crate) fn is_settled(&self, books: &Books) -> bool {
        self.hearings.iter().zip(&books.lanes).all(|(hearing, lane)| hearing.is_settled(lane))
    }

    /// What was acknowledged and not heard is lost.
    pub(crate) fn settle(&mut self, books: &mut Books, why: &str) {
        for (hearing, lane) in self.hearings.iter_mut().zip(&books.lanes) {
            hearing.settle(lane, &self.name, why, &mut books.findings);
        }
    }

    /// Nothing comes any more: what was acknowledged is lost, and where nothing at all came of what
    /// was sent and acknowledged in this life, the subscription is gone. True if one is.
    pub(crate) fn give_up(&mut self, books: &mut Books) -> bool {
        let mut gone = false;
        for (filter, qos) in FILTERS.iter().zip([QoS::AtLeastOnce, QoS::ExactlyOnce]) {
            let lanes = || books.lanes.iter().zip(&self.hearings).filter(|(l, _)| l.qos() == qos);
            let spoken = lanes().any(|(lane, _)| {
                lane.reached().checked_sub(1).is_some_and(|last| {
                    lane.is_acknowledged(last) && lane.first_sent_in(last) == lane.life()
                })
            });
            let heard = lanes().any(|(lane, hearing)| hearing.heard_of_this_life(lane));
            if spoken && !heard {
                gone = true;
                let name = &self.name;
                books.findings.note(Kind::SubscriptionGone, || {
                    format!("{name} has its session, and nothing comes for its filter {filter}")
                });
            }
        }
        self.settle(books, "nothing more came");
        gone
    }

    /// Its subscriptions are to be made again.
    pub(crate) fn forget_subscriptions(&mut self) {
        self.subscribed = false;
    }

    /// First deliveries, repetitions, and first deliveries that were overtaken.
    pub(crate) fn figures(&self) -> [u64; 3] {
        let sum = |figure: fn(&Hearing) -> u64| self.hearings.iter().map(figure).sum();
        [sum(Hearing::heard), sum(Hearing::repeated), sum(Hearing::overtaken)]
    }
}
