//! A client that subscribes to many retained messages again and again, in a session that is kept, and
//! deletes some of them while they are handed out to it.
//!
//! It sets them itself, in the first life, at QoS 2. Whenever all of them have come it asks for them
//! anew. With every SUBSCRIBE that was granted each has to come once, however often the broker dies
//! while it hands them out: one that comes more often than was asked is **doubled**, one that does not
//! come is **lost**. If the broker dies with a SUBSCRIBE that is not answered, nobody can say what is
//! due; the client goes on under a new name then, with a session of its own.
//!
//! What is deleted meanwhile may still come for this SUBSCRIBE or not, and must not for one after the
//! next, else it is **stale**; what is set again has a new [`Volume::edition`], and comes as the others
//! do. Nothing is asked for while a change is under way, so of each it is known whether it is there.

use std::collections::VecDeque;

use fastrand::Rng;
use noctule_mqtt::packet::Publish;
use noctule_mqtt::{Packet, QoS};

use super::books::Books;
use super::findings::Kind;
use super::inbox::{Inbox, Mail};
use super::outbox::{Answer, Outbox};
use super::packet::Pen;
use crate::LoadError;

/// Before the number of a message, its topic.
const PREFIX: &str = "torture/library/";

/// The client's half of it.
#[derive(Debug)]
pub(crate) struct Newcomer {
    stage: Stage,
    inbox: Inbox,
    outbox: Outbox<Change>,
    /// To be sent, in this order.
    due: VecDeque<Change>,
    volumes: Vec<Volume>,
    /// Whether all of them have been set once.
    is_set_up: bool,
    /// So many have to come and did not.
    missing: usize,
    /// So many came since it has subscribed.
    heard: usize,
    /// Whether some were deleted since then.
    has_deleted: bool,
    dice: Rng,
    /// Which name it has.
    number: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It can subscribe, when nothing is under way.
    Ready,
    /// SUBACK has not come.
    Asked,
    /// They come.
    Hearing,
}

/// A retained message that is to be set or deleted.
#[derive(Debug, Clone, Copy)]
struct Change {
    volume: usize,
    /// Nothing for a deletion.
    edition: Option<u32>,
}

/// What is known of a retained message.
#[derive(Debug, Clone, Copy, Default)]
struct Volume {
    /// Which text it has, or had last.
    edition: u32,
    /// Whether it is retained; what is under way is not.
    is_there: bool,
    /// How often this session has asked for this edition.
    asks: u32,
    /// So often it has to have come.
    owed: u32,
    /// How often it was new in this session.
    times: u32,
    /// How often earlier editions may still come.
    late: u32,
    /// How often this session has asked since it was deleted.
    absences: u32,
}

impl Volume {
    fn ask(&mut self) {
        if self.is_there {
            (self.asks, self.owed) = (self.asks + 1, self.owed + 1);
            return;
        }
        self.absences += 1;
        if self.absences > 1 {
            // What was on its way when it was deleted has come by now.
            (self.asks, self.late) = (self.times, 0);
        }
    }

    fn is_missing(&self) -> bool {
        self.times < self.owed
    }

    fn revise(&mut self) -> u32 {
        let late = self.late + self.asks - self.times;
        *self = Self { edition: self.edition + 1, late, ..Self::default() };
        self.edition
    }

    /// The same in another session.
    fn forget_session(&mut self) {
        *self = Self { edition: self.edition, is_there: self.is_there, ..Self::default() };
    }

    /// Whether a copy of this edition may come now; it is counted.
    fn count(&mut self, edition: u32) -> bool {
        let older = edition < self.edition;
        let room = if older { self.late > 0 } else { self.times < self.asks };
        match (room, older) {
            (true, true) => self.late -= 1,
            (true, false) => self.times += 1,
            (false, _) => {}
        }
        room
    }
}

impl Newcomer {
    /// One that is to set so many messages, and chooses by `seed` which are deleted.
    pub(crate) fn new(messages: usize, seed: u64) -> Self {
        let set = |volume| Change { volume, edition: Some(0) };
        Self {
            stage: Stage::Ready,
            inbox: Inbox::default(),
            outbox: Outbox::new(WINDOW),
            due: (0..messages).map(set).collect(),
            volumes: vec![Volume::default(); messages],
            is_set_up: false,
            missing: 0,
            heard: 0,
            has_deleted: false,
            dice: Rng::with_seed(seed),
            number: 0,
        }
    }

    /// Its client identifier.
    pub(crate) fn client_id(&self) -> String {
        format!("torture-newcomer-{}", self.number)
    }

    /// Whether all messages are set.
    pub(crate) fn is_up(&self) -> bool {
        self.is_set_up
    }

    /// Whether nothing is owed to it, nor by it.
    pub(crate) fn is_settled(&self) -> bool {
        self.stage == Stage::Ready && self.is_idle()
    }

    fn is_idle(&self) -> bool {
        self.due.is_empty() && self.outbox.is_empty()
    }

    /// Connected: what was under way is sent again.
    pub(crate) fn resume(&mut self, receive_maximum: u16) {
        self.outbox.resume(receive_maximum);
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
        let under_way = self.outbox.start_anew().into_iter().chain(self.due.drain(..));
        for Change { volume, .. } in under_way.collect::<Vec<_>>() {
            self.set_again(volume);
        }
        self.volumes.iter_mut().for_each(Volume::forget_session);
        self.inbox = Inbox::default();
        (self.stage, self.missing) = (Stage::Ready, 0);
    }

    fn set_again(&mut self, volume: usize) {
        let edition = Some(self.volumes[volume].revise());
        self.due.push_back(Change { volume, edition });
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
        pen: &mut Pen,
        out: &mut Vec<u8>,
    ) -> Result<(), LoadError> {
        if books.open && self.stage == Stage::Hearing && self.heard > 0 && !self.has_deleted {
            self.delete_some();
        }
        loop {
            if self.outbox.has_room()
                && let Some(change) = self.due.pop_front()
            {
                self.outbox.push(QoS::ExactlyOnce, change);
            }
            let sent = self.outbox.send_next(pen, out, |pen, change, (id, dup), out| {
                let Change { volume, edition } = change;
                let text = edition.map_or(String::new(), |edition| format!("{volume}.{edition}"));
                pen.retain(&format!("{PREFIX}{volume}"), text.as_bytes(), (id, dup), out)
            })?;
            if !sent {
                break;
            }
        }
        self.is_set_up |= self.is_idle();
        if self.is_settled() && books.open && !self.volumes.is_empty() {
            self.ask(pen, out)?;
        }
        Ok(())
    }

    fn ask(&mut self, pen: &Pen, out: &mut Vec<u8>) -> Result<(), LoadError> {
        out.extend_from_slice(&pen.subscribe(&[&format!("{PREFIX}#")])?);
        self.volumes.iter_mut().for_each(Volume::ask);
        self.missing = self.volumes.iter().filter(|volume| volume.is_missing()).count();
        (self.heard, self.has_deleted, self.stage) = (0, false, Stage::Asked);
        Ok(())
    }

    /// Deletes some of those that are handed out just now and have not come.
    fn delete_some(&mut self) {
        self.has_deleted = true;
        for _ in 0..DELETED_AT_ONCE.min(self.volumes.len() / 4) {
            let volume = self.dice.usize(..self.volumes.len());
            let chosen = &mut self.volumes[volume];
            if chosen.is_missing() && chosen.is_there {
                (chosen.is_there, chosen.owed) = (false, chosen.times);
                self.missing -= 1;
                self.due.push_back(Change { volume, edition: None });
            }
        }
        self.end_if_all_came();
    }

    /// SUBACK came.
    pub(crate) fn granted(&mut self) {
        self.stage = Stage::Hearing;
        self.end_if_all_came();
    }

    /// When all have come, of those that were deleted some are set again before it asks anew.
    fn end_if_all_came(&mut self) {
        if self.stage != Stage::Hearing || self.missing > 0 {
            return;
        }
        self.stage = Stage::Ready;
        for volume in 0..self.volumes.len() {
            if !self.volumes[volume].is_there && self.dice.bool() {
                self.set_again(volume);
            }
        }
    }

    /// A packet came; false if it is none for a newcomer.
    pub(crate) fn take(
        &mut self,
        packet: &Packet<'_>,
        books: &mut Books,
        pen: &Pen,
        out: &mut Vec<u8>,
    ) -> Result<bool, LoadError> {
        match self.inbox.take(packet, pen, out) {
            Mail::New(publish) => {
                self.hear(publish, books);
                return Ok(true);
            }
            Mail::Done => return Ok(true),
            Mail::Foreign => {}
        }
        match self.outbox.take(packet, pen, out)? {
            Answer::Completed(Change { volume, edition }) => {
                match edition {
                    Some(_) => self.volumes[volume].is_there = true,
                    None => books.tally.deleted += 1,
                }
                books.move_on();
            }
            Answer::Refused(Change { volume, .. }) => {
                books.tally.refused += 1;
                self.set_again(volume);
            }
            Answer::Acknowledged(_) | Answer::Received(_) | Answer::Done => {}
            Answer::Foreign => return Ok(false),
        }
        Ok(true)
    }

    fn foreign(&self, publish: &Publish<'_>, books: &mut Books) {
        let topic = publish.topic.map_or("", |topic| topic.as_str());
        books.findings.note(Kind::Foreign, || {
            format!("{} got a message on {topic} that is none of ours", self.client_id())
        });
    }

    fn hear(&mut self, publish: &Publish<'_>, books: &mut Books) {
        let is_of_us = |(volume, edition): (usize, Option<u32>)| {
            self.volumes.get(volume).is_some_and(|one| edition <= Some(one.edition))
        };
        match read(publish).filter(|found| is_of_us(*found)) {
            // Of a change that it has made itself it hears as every subscriber does.
            Some(_) if !publish.retain && publish.qos == QoS::ExactlyOnce => books.move_on(),
            Some((volume, Some(edition))) if publish.qos == QoS::ExactlyOnce => {
                self.hear_one(volume, edition, books);
            }
            _ => self.foreign(publish, books),
        }
    }

    fn hear_one(&mut self, index: usize, edition: u32, books: &mut Books) {
        self.heard += 1;
        books.tally.handed_out += 1;
        books.move_on();
        let volume = &mut self.volumes[index];
        let was_missing = volume.is_missing();
        if volume.count(edition) {
            if was_missing && !volume.is_missing() {
                self.missing -= 1;
                self.end_if_all_came();
            }
            return;
        }
        let Volume { asks, is_there, .. } = *volume;
        let is_old = !is_there || edition < volume.edition;
        let (kind, why) =
            if is_old { (Kind::Stale, "it was deleted before") } else { (Kind::Doubled, "twice") };
        let name = self.client_id();
        books.findings.note(kind, || {
            format!(
                "{name} got edition {edition} of {PREFIX}{index}, for which it has asked {asks} \
                 times in this session, once more: {why}"
            )
        });
    }

    /// Nothing comes any more: what has not come is lost.
    pub(crate) fn give_up(&mut self, books: &mut Books, why: &str) {
        if self.stage != Stage::Hearing {
            return;
        }
        let name = self.client_id();
        for (number, volume) in self.volumes.iter_mut().enumerate().filter(|(_, v)| v.is_missing())
        {
            volume.owed = volume.times;
            books.findings.note(Kind::Lost, || {
                format!("{name} did not get {PREFIX}{number} for its subscription: {why}")
            });
        }
        (self.missing, self.stage) = (0, Stage::Ready);
    }
}

/// Which volume a message is about and which edition of it, nothing for a deletion.
fn read(publish: &Publish<'_>) -> Option<(usize, Option<u32>)> {
    let number = publish.topic?.as_str().strip_prefix(PREFIX)?;
    let volume = number.parse().ok()?;
    if publish.payload.is_empty() {
        return Some((volume, None));
    }
    let (said, edition) = std::str::from_utf8(publish.payload).ok()?.split_once('.')?;
    (said == number).then_some((volume, Some(edition.parse().ok()?)))
}

/// Messages that are set at once.
const WINDOW: u16 = 64;

/// So many are deleted, at most, for each SUBSCRIBE.
const DELETED_AT_ONCE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_mqtt::packet::Ack;
    use noctule_mqtt::{PacketId, Properties, ProtocolVersion, ReasonCode, TopicName};

    const PEN: ProtocolVersion = ProtocolVersion::V311;

    struct Run {
        newcomer: Newcomer,
        books: Books,
        next_id: u16,
    }

    impl Run {
        /// One whose messages are set.
        fn new(messages: usize) -> Self {
            let mut books = Books::new(Vec::new(), 0);
            books.open = false;
            let mut run = Self { newcomer: Newcomer::new(messages, 1), books, next_id: 0 };
            run.change_all();
            assert!(run.newcomer.is_up() && run.newcomer.is_settled());
            run.books.open = true;
            run
        }

        /// It says what it has to say; all its changes are answered.
        fn change_all(&mut self) {
            let mut pen = Pen::new(PEN, 64);
            while !self.newcomer.is_idle() {
                let mut out = Vec::new();
                self.newcomer.go_on(&self.books, &mut pen, &mut out).unwrap();
                let mut rest = &out[..];
                while let Some(frame) = noctule_mqtt::codec::next_frame(rest, 1 << 20).unwrap() {
                    let receiver = noctule_mqtt::Receiver::Server;
                    let sent = noctule_mqtt::codec::decode(&frame, PEN, receiver).unwrap();
                    rest = &rest[frame.bytes.len()..];
                    if let Packet::Publish(publish) = sent {
                        let ack = Ack::new(publish.packet_id.unwrap(), ReasonCode::Success);
                        self.take(&Packet::Pubrec(ack));
                        self.take(&Packet::Pubcomp(ack));
                    }
                }
            }
            self.newcomer.go_on(&self.books, &mut pen, &mut Vec::new()).unwrap();
        }

        fn take(&mut self, packet: &Packet<'_>) {
            let (pen, mut out) = (Pen::new(PEN, 64), Vec::new());
            assert!(self.newcomer.take(packet, &mut self.books, &pen, &mut out).unwrap());
        }

        fn ask(&mut self) {
            let mut out = Vec::new();
            self.newcomer.go_on(&self.books, &mut Pen::new(PEN, 64), &mut out).unwrap();
            assert!(!out.is_empty() && self.newcomer.stage == Stage::Asked);
        }

        /// These come, each in full, in the edition that they have.
        fn hear(&mut self, numbers: impl IntoIterator<Item = usize>) {
            for number in numbers {
                self.hear_edition(number, self.newcomer.volumes[number].edition);
            }
        }

        fn hear_edition(&mut self, number: usize, edition: u32) {
            self.next_id += 1;
            let topic = format!("{PREFIX}{number}");
            let payload = format!("{number}.{edition}");
            let id = PacketId::new(self.next_id).unwrap();
            let publish = Publish {
                dup: false,
                qos: QoS::ExactlyOnce,
                retain: true,
                topic: Some(TopicName::new(&topic).unwrap()),
                packet_id: Some(id),
                properties: Properties::EMPTY,
                payload: payload.as_bytes(),
            };
            // A repetition of what is held is not new.
            let packet = Packet::Publish(publish);
            self.take(&packet);
            self.take(&packet);
            self.take(&Packet::Pubrel(Ack::new(id, ReasonCode::Success)));
        }

        /// Those that are there and have not come.
        fn missing(&self) -> Vec<usize> {
            let volumes = &self.newcomer.volumes;
            (0..volumes.len()).filter(|index| volumes[*index].is_missing()).collect()
        }

        fn deleted(&self) -> Vec<usize> {
            let volumes = &self.newcomer.volumes;
            (0..volumes.len()).filter(|index| !volumes[*index].is_there).collect()
        }

        /// A whole round in which some are deleted; which.
        fn ask_and_delete(&mut self) -> Vec<usize> {
            self.ask();
            self.newcomer.granted();
            let first = self.missing()[0];
            self.hear([first]);
            self.newcomer.delete_some();
            let deleted = self.newcomer.due.iter().map(|change| change.volume).collect();
            self.books.open = false;
            self.change_all();
            self.hear(self.missing());
            self.change_all();
            self.books.open = true;
            assert!(self.newcomer.is_settled());
            deleted
        }

        /// Lost, doubled, stale.
        fn found(&self) -> [u64; 3] {
            let kinds = [Kind::Lost, Kind::Doubled, Kind::Stale];
            kinds.map(|kind| self.books.findings.count(kind))
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
        assert_eq!((run.found(), run.books.tally.handed_out), ([0, 0, 0], 15));
    }

    #[test]
    fn one_that_comes_again_is_doubled_and_one_that_does_not_come_is_lost() {
        let mut run = Run::new(5);
        run.ask();
        run.newcomer.granted();
        run.hear([0, 1, 0, 2]);
        assert_eq!(run.found(), [0, 1, 0]);
        run.newcomer.give_up(&mut run.books, "nothing more came");
        assert_eq!(run.found(), [2, 1, 0]);
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
        assert_eq!(run.found(), [0, 0, 0], "all had come");
    }

    #[test]
    fn what_is_deleted_meanwhile_may_come_or_not_and_what_is_set_again_has_to() {
        let mut run = Run::new(40);
        let mut deleted = 0;
        for _ in 0..20 {
            let gone = run.ask_and_delete();
            deleted += gone.len();
            // Whatever of these was on its way still comes, before or after it was set again.
            for volume in gone.into_iter().filter(|volume| volume % 2 == 0) {
                let Volume { is_there, edition, .. } = run.newcomer.volumes[volume];
                run.hear_edition(volume, edition - u32::from(is_there));
            }
        }
        assert_eq!((run.found(), run.books.tally.deleted), ([0, 0, 0], deleted as u64));
        assert!(deleted > 50 && run.newcomer.volumes.iter().any(|volume| volume.edition > 1));
        run.ask();
        run.newcomer.granted();
        run.newcomer.give_up(&mut run.books, "nothing more came");
        let there = 40 - run.deleted().len();
        assert_eq!(run.found(), [there as u64, 0, 0], "those that were set again are owed as well");
    }

    #[test]
    fn what_was_deleted_and_comes_for_a_later_subscription_is_stale() {
        let mut run = Run::new(40);
        let gone = (0..20).find_map(|_| {
            run.ask_and_delete();
            run.ask_and_delete();
            let absent = |volume: &usize| run.newcomer.volumes[*volume].absences > 0;
            run.deleted().into_iter().find(absent)
        });
        let gone = gone.expect("not all are set again");
        while run.newcomer.volumes[gone].absences < 2 && !run.newcomer.volumes[gone].is_there {
            run.ask_and_delete();
        }
        assert!(
            !run.newcomer.volumes[gone].is_there,
            "with this seed it is not set again so early"
        );
        run.hear([gone]);
        assert_eq!(run.found(), [0, 0, 1]);
    }

    #[test]
    fn an_edition_that_was_replaced_is_stale_once_it_has_come() {
        let mut run = Run::new(40);
        let again = loop {
            let deleted = run.ask_and_delete();
            let volumes = &run.newcomer.volumes;
            if let Some(volume) = deleted.into_iter().find(|volume| volumes[*volume].is_there) {
                break volume;
            }
        };
        let edition = run.newcomer.volumes[again].edition;
        run.hear_edition(again, edition - 1);
        assert_eq!(run.found(), [0, 0, 0], "it may have been on its way");
        run.hear_edition(again, edition - 1);
        assert_eq!(run.found(), [0, 0, 1]);
    }
}
