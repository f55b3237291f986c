//! A client that looks at the retained messages, as somebody does who comes new.

use noctule_mqtt::packet::Publish;
use noctule_mqtt::{Packet, codec};

use super::books::Books;
use super::inbox::{Inbox, Mail};
use super::packet::{Pen, mark};
use super::shelf;
use crate::LoadError;

/// What it subscribes to.
pub(crate) const FILTER: &str = "torture/kept/#";

/// One look.
#[derive(Debug)]
pub(crate) struct Looker {
    /// The numbers of the values found, by lane.
    found: Vec<Option<u64>>,
    inbox: Inbox,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Subscribing,
    Waiting,
    /// Nothing is wrong; a PINGREQ asks whether there is more.
    Asking,
    Done,
}

impl Looker {
    /// One that has seen nothing, of so many lanes.
    pub(crate) fn new(lanes: usize) -> Self {
        Self { found: vec![None; lanes], inbox: Inbox::default(), stage: Stage::Subscribing }
    }

    /// Connected, to a session that begins with the connection.
    pub(crate) fn resume(&mut self) {
        self.inbox = Inbox::default();
    }

    /// SUBACK came.
    pub(crate) fn granted(&mut self) {
        self.stage = Stage::Waiting;
    }

    /// A packet came; false if it is none for a looker.
    pub(crate) fn take(
        &mut self,
        packet: &Packet<'_>,
        books: &mut Books,
        pen: &Pen,
        out: &mut Vec<u8>,
    ) -> bool {
        match self.inbox.take(packet, pen, out) {
            Mail::New(publish) => self.find(publish, books),
            Mail::Done => {}
            Mail::Foreign if matches!(packet, Packet::Pingresp) => self.stage = Stage::Done,
            Mail::Foreign => return false,
        }
        true
    }

    /// A value, or a deletion, is found: one that was retained, or one that is applied just now. Nobody
    /// writes any, but a broker may have received some that it passes on a little later.
    fn find(&mut self, publish: &Publish<'_>, books: &mut Books) {
        let topic = publish.topic.map_or("", |topic| topic.as_str());
        let lane = books.lanes.iter().position(|lane| lane.topic() == topic);
        if let Some(found) = lane.and_then(|lane| self.found.get_mut(lane)) {
            *found = mark(publish.payload).map(|mark| mark.sequence);
            books.move_on();
        }
    }

    /// Asks whether there is more, once nothing is wrong with what is there.
    pub(crate) fn go_on(
        &mut self,
        books: &Books,
        pen: &Pen,
        out: &mut Vec<u8>,
    ) -> Result<(), LoadError> {
        let mut lanes = books.lanes.iter().zip(&self.found).skip(books.spoken);
        if self.stage == Stage::Waiting && lanes.all(|(lane, found)| shelf::may_be(lane, *found)) {
            self.stage = Stage::Asking;
            codec::encode(&Packet::Pingreq, pen.version, out)
                .map_err(|error| LoadError::new(format!("cannot write a packet: {error}")))?;
        }
        Ok(())
    }

    /// Whether it has seen everything.
    pub(crate) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Notes what may not be.
    pub(crate) fn judge(&self, books: &mut Books) {
        let Books { lanes, findings, tally, spoken, .. } = books;
        for (lane, found) in lanes.iter().zip(&self.found).skip(*spoken) {
            tally.looked_at += 1;
            shelf::check(lane, *found, findings);
        }
    }
}
