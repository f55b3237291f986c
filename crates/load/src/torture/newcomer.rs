//! A client that subscribes to many retained messages again and again, in a session that is kept.
//!
//! It sets them itself, in the first life, at QoS 2. Whenever all of them have come it asks for them
//! anew. With every SUBSCRIBE that was granted each has to come once, however often the broker dies
//! while it hands them out: one that comes more often than was asked is **doubled**, one that does not
//! come is **lost**. If the broker dies with a SUBSCRIBE that is not answered, nobody can say what is
//! due; the client goes on under a new name then, with a session of its own.

use noctule_mqtt::packet::Publish;
use noctule_mqtt::{Packet, PacketId, PacketType, ReasonCode};
use noctule_session::{Inbound, Received};

use super::books::Books;
use super::findings::Kind;
use super::packet::Pen;
use crate::LoadError;

/// Before the number of a message, its topic.
const PREFIX: &str = "torture/library/";

/// The client's half of it.
#[derive(Debug)]
pub(crate) struct Newcomer {
    stage: Stage,
    held: Inbound,
    /// How often it has subscribed in this session.
    asks: u32,
    /// How often each message was new in this session.
    times: Vec<u32>,
    /// So many have not come since it has subscribed.
    missing: usize,
    /// Which name it has.
    number: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// So many are set for good, and so many more on their way.
    Setting { done: usize, under_way: usize },
    /// It can subscribe.
    Ready,
    /// SUBACK has not come.
    Asked,
    /// They come.
    Hearing,
}

impl Newcomer {
    /// One that is to set so many messages.
    pub(crate) fn new(messages: usize) -> Self {
        Self {
            stage: Stage::Setting { done: 0, under_way: 0 },
            held: Inbound::default(),
            asks: 0,
            times: vec![0; messages],
            missing: 0,
            number: 0,
        }
    }

    /// Its client identifier.
    pub(crate) fn client_id(&self) -> String {
        format!("torture-newcomer-{}", self.number)
    }

    /// Whether all messages are set.
    pub(crate) fn is_up(&self) -> bool {
        !matches!(self.stage, Stage::Setting { .. })
    }

    /// Whether nothing is owed to it.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.stage, Stage::Ready)
    }

    /// Connected: what was under way is set again.
    pub(crate) fn resume(&mut self) {
        if let Stage::Setting { under_way, .. } = &mut self.stage {
            *under_way = 0;
        }
    }

    /// The connection is gone. Returns whether it is to come back as somebody else.
    pub(crate) fn hang_up(&mut self) -> bool {
        let changes = self.stage == Stage::Asked;
        if changes {
            self.number += 1;
            self.start_anew();
        }
        changes
    }

    /// It has a session of which nobody knows anything.
    fn start_anew(&mut self) {
        let (messages, number) = (self.times.len(), self.number);
        *self = Self { stage: Stage::Ready, number, ..Self::new(messages) };
    }

    /// Its session is gone, and what it was owed with it.
    pub(crate) fn lose_session(&mut self, books: &mut Books) {
        self.give_up(books, "its session is gone");
        self.start_anew();
    }

    /// Appends what there is to say.
    pub(crate) fn go_on(
        &mut self,
        books: &Books,
        pen: &Pen,
        out: &mut Vec<u8>,
    ) -> Result<(), LoadError> {
        let messages = self.times.len();
        match &mut self.stage {
            Stage::Setting { done, under_way } => {
                while *under_way < WINDOW && *done + *under_way < messages {
                    let number = *done + *under_way;
                    let topic = format!("{PREFIX}{number}");
                    pen.retain(&topic, number.to_string().as_bytes(), id_of(number), out)?;
                    *under_way += 1;
                }
                if *done >= messages {
                    self.stage = Stage::Ready;
                }
            }
            Stage::Ready if books.open && messages > 0 => {
                out.extend_from_slice(&pen.subscribe(&[&format!("{PREFIX}#")])?);
                self.asks += 1;
                self.missing = messages;
                self.stage = Stage::Asked;
            }
            _ => {}
        }
        Ok(())
    }

    /// SUBACK came.
    pub(crate) fn granted(&mut self) {
        self.stage = Stage::Hearing;
    }

    /// A packet came; false if it is none for a newcomer.
    pub(crate) fn take(
        &mut self,
        packet: &Packet<'_>,
        books: &mut Books,
        pen: &Pen,
        out: &mut Vec<u8>,
    ) -> bool {
        match packet {
            Packet::Publish(publish) => self.on_publish(publish, books, pen, out),
            Packet::Pubrel(ack) => {
                self.held.on_pubrel(ack.packet_id);
                pen.answer(PacketType::Pubcomp, ack.packet_id, out);
            }
            Packet::Pubrec(ack) => pen.answer(PacketType::Pubrel, ack.packet_id, out),
            Packet::Pubcomp(ack) => {
                if let Stage::Setting { done, under_way } = &mut self.stage
                    && *under_way > 0
                    && ack.reason == ReasonCode::Success
                {
                    (*done, *under_way) = (*done + 1, *under_way - 1);
                    books.move_on();
                }
            }
            _ => return false,
        }
        true
    }

    fn on_publish(
        &mut self,
        publish: &Publish<'_>,
        books: &mut Books,
        pen: &Pen,
        out: &mut Vec<u8>,
    ) {
        let Some(id) = publish.packet_id else {
            return self.foreign(publish, books);
        };
        if publish.qos.bits() < 2 {
            pen.answer(PacketType::Puback, id, out);
            return self.foreign(publish, books);
        }
        pen.answer(PacketType::Pubrec, id, out);
        if self.held.on_publish(id, false) == Received::New {
            self.hear(publish, books);
        }
    }

    fn foreign(&self, publish: &Publish<'_>, books: &mut Books) {
        let topic = publish.topic.map_or("", |topic| topic.as_str());
        books.findings.note(Kind::Foreign, || {
            format!("{} got a message on {topic} that is none of ours", self.client_id())
        });
    }

    fn hear(&mut self, publish: &Publish<'_>, books: &mut Books) {
        let topic = publish.topic.map_or("", |topic| topic.as_str());
        let number = topic.strip_prefix(PREFIX).and_then(|number| number.parse::<usize>().ok());
        let Some(times) = number.and_then(|number| self.times.get_mut(number)) else {
            return self.foreign(publish, books);
        };
        *times += 1;
        let (times, asks) = (*times, self.asks);
        books.tally.handed_out += 1;
        books.move_on();
        if times > asks {
            let name = self.client_id();
            books.findings.note(Kind::Doubled, || {
                format!("{name} has subscribed {asks} times and got {topic} {times} times")
            });
        } else if times == asks {
            self.missing -= 1;
            if self.missing == 0 && self.stage == Stage::Hearing {
                self.stage = Stage::Ready;
            }
        }
    }

    /// Nothing comes any more: what has not come is lost.
    pub(crate) fn give_up(&mut self, books: &mut Books, why: &str) {
        if self.stage != Stage::Hearing {
            return;
        }
        let (name, asks) = (self.client_id(), self.asks);
        for (number, times) in self.times.iter_mut().enumerate().filter(|(_, one)| **one < asks) {
            *times = asks;
            books.findings.note(Kind::Lost, || {
                format!("{name} did not get {PREFIX}{number} for its subscription: {why}")
            });
        }
        (self.missing, self.stage) = (0, Stage::Ready);
    }
}

/// Messages that are set at once.
const WINDOW: usize = 64;

/// Rising, so that those under way differ.
fn id_of(number: usize) -> PacketId {
    PacketId::FIRST.after((number % 1_000) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_mqtt::{Properties, ProtocolVersion, QoS, TopicName};

    const PEN: ProtocolVersion = ProtocolVersion::V311;

    struct Run {
        newcomer: Newcomer,
        books: Books,
        next_id: u16,
    }

    impl Run {
        /// One whose messages are set.
        fn new(messages: usize) -> Self {
            let mut newcomer = Newcomer::new(messages);
            newcomer.stage = Stage::Ready;
            let mut books = Books::new(Vec::new(), 0);
            books.open = true;
            Self { newcomer, books, next_id: 0 }
        }

        fn ask(&mut self) {
            let mut out = Vec::new();
            self.newcomer.go_on(&self.books, &Pen::new(PEN, 64), &mut out).unwrap();
            assert!(!out.is_empty() && self.newcomer.stage == Stage::Asked);
        }

        /// These come, each in full.
        fn hear(&mut self, numbers: impl IntoIterator<Item = usize>) {
            let pen = Pen::new(PEN, 64);
            for number in numbers {
                self.next_id += 1;
                let topic = format!("{PREFIX}{number}");
                let id = PacketId::new(self.next_id).unwrap();
                let publish = Publish {
                    dup: false,
                    qos: QoS::ExactlyOnce,
                    retain: true,
                    topic: Some(TopicName::new(&topic).unwrap()),
                    packet_id: Some(id),
                    properties: Properties::EMPTY,
                    payload: b"x",
                };
                let mut out = Vec::new();
                let packet = Packet::Publish(publish);
                // A repetition of what is held is not new.
                for _ in 0..2 {
                    assert!(self.newcomer.take(&packet, &mut self.books, &pen, &mut out));
                }
                self.newcomer.held.on_pubrel(id);
            }
        }

        fn found(&self) -> [u64; 2] {
            [Kind::Lost, Kind::Doubled].map(|kind| self.books.findings.count(kind))
        }
    }

    #[test]
    fn each_comes_once_for_each_time_it_was_asked_for() {
        let mut run = Run::new(5);
        for _ in 0..3 {
            run.ask();
            run.newcomer.granted();
            run.hear(0..3);
            assert!(!run.newcomer.is_settled() && !run.newcomer.hang_up());
            run.hear(3..5);
            assert!(run.newcomer.is_settled());
        }
        assert_eq!((run.found(), run.books.tally.handed_out), ([0, 0], 15));
    }

    #[test]
    fn one_that_comes_again_is_doubled_and_one_that_does_not_come_is_lost() {
        let mut run = Run::new(5);
        run.ask();
        run.newcomer.granted();
        run.hear([0, 1, 0, 2]);
        assert_eq!(run.found(), [0, 1]);
        run.newcomer.give_up(&mut run.books, "nothing more came");
        assert_eq!(run.found(), [2, 1]);
        assert!(run.newcomer.is_settled());
    }

    #[test]
    fn who_has_no_answer_to_subscribe_comes_back_as_somebody_else() {
        let mut run = Run::new(2);
        run.ask();
        let before = run.newcomer.client_id();
        assert!(run.newcomer.hang_up());
        assert!(run.newcomer.client_id() != before && run.newcomer.is_settled());
        run.ask();
        run.newcomer.granted();
        run.hear([0, 1]);
        run.newcomer.lose_session(&mut run.books);
        assert_eq!(run.found(), [0, 0], "all had come");
    }
}
