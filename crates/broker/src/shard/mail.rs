//! Mail between shards: what comes from others, and what leaves for them.

use super::Shard;
use super::asking::RoomFound;
use crate::commons::ShardId;
use crate::connection::ConnectionHandle;
use crate::crowd::Publisher;
use crate::delivery::Continuation;
use crate::mail::{Asker, Mail, ReplyTo};
use crate::outgoing::Outgoing;
use crate::parcel::{Content, Parcel};
use crate::persist::Record;
use crate::router::CachedRoute;
use noctule_session::Now;

/// A message of another shard's client.
pub(super) struct Foreign {
    pub(super) from: ShardId,
    pub(super) publisher: Option<ConnectionHandle>,
    pub(super) reply: Option<ReplyTo>,
}

impl Shard {
    /// Mail came from another shard.
    pub fn on_mail(&mut self, mail: Mail, now: Now) {
        self.delivery.now = now;
        match mail {
            Mail::Packets { from, parcel, receipt } => self.on_parcel(from, parcel, receipt),
            Mail::Publish { from, message, publisher, reply, retained, receipt } => {
                let foreign = Foreign { from, publisher, reply };
                let mut outgoing = Outgoing::of_message(&message);
                outgoing.retained = retained;
                self.on_foreign(&foreign, None, &mut outgoing);
                self.delivery.pool.recycle(message);
                self.give_receipt(from, receipt);
            }
            Mail::Shared { from, letter, receipt } => {
                self.on_shared_letter(*letter);
                self.give_receipt(from, receipt);
            }
            Mail::Receipt { from, read } => self.delivery.on_receipt(from, read),
            Mail::SlowDown { publisher } => self.delivery.slow_down(publisher),
            Mail::SpeedUp { publisher } => self.delivery.speed_up(publisher),
            Mail::RetainedStored => self.delivery.replay_stored(),
            Mail::Settled { asker, refused } => {
                self.complete_answer(asker.session, asker.number, refused, now);
            }
            Mail::RoomWanted(wanted) => self.on_room_wanted(&wanted),
            Mail::Room { from, question, has_room, groups, is_kept } => {
                let answer = RoomFound { from, has_room, groups: &groups, is_kept };
                self.on_room(question, &answer, now);
            }
            Mail::RoomReturned { question } => self.on_room_returned(question),
        }
    }

    /// Takes the letters written to another shard since the last call, in order.
    pub fn take_mail(&mut self, to: ShardId, into: &mut Vec<Mail>) {
        if let Some(postbag) = self.delivery.postbags.get_mut(usize::from(to.0)) {
            postbag.take(into);
        }
    }

    /// Takes the parcels of another shard that have been emptied, for that shard to
    /// [use again](Self::supply_parcel). Who does not carry them back has them allocated anew.
    pub fn take_emptied(&mut self, from: ShardId, into: &mut Vec<Parcel>) {
        if let Some(emptied) = self.emptied.get_mut(usize::from(from.0)) {
            into.append(emptied);
        }
    }

    /// A parcel for another shard to be filled again.
    pub fn supply_parcel(&mut self, to: ShardId, parcel: Parcel) {
        if let Some(postbag) = self.delivery.postbags.get_mut(usize::from(to.0)) {
            postbag.supply(parcel);
        }
    }

    fn on_parcel(&mut self, from: ShardId, mut parcel: Parcel, receipt: Option<u64>) {
        let mut hint = None;
        for content in parcel.iter() {
            let packed = match content {
                Content::One(packed) => packed,
                Content::Run(run, publisher) => {
                    hint = self.on_foreign_run(from, publisher, &run, hint);
                    continue;
                }
            };
            hint = self.router.cached(packed.view.topic.as_bytes(), hint);
            let foreign = Foreign { from, publisher: packed.publisher, reply: packed.reply };
            let mut outgoing = Outgoing::of_packet(packed.view, packed.packet);
            outgoing.retained = packed.retained;
            outgoing.published_by = packed.published_by;
            self.on_foreign(&foreign, hint, &mut outgoing);
        }
        self.give_receipt(from, receipt);
        parcel.clear();
        if let Some(emptied) = self.emptied.get_mut(usize::from(from.0)) {
            emptied.push(parcel);
        }
    }

    /// A message of a client of another shard, for the sessions here. Its route is `cached` if it
    /// has been found already.
    #[inline]
    pub(super) fn on_foreign(
        &mut self,
        foreign: &Foreign,
        cached: Option<CachedRoute>,
        outgoing: &mut Outgoing<'_>,
    ) {
        if let Some(stage) = foreign.reply.and_then(ReplyTo::stage) {
            self.delivery.journal.enter(stage);
        }
        let route = match cached {
            Some(found) => self.router.at(found),
            None => self.router.route(outgoing.view.topic, self.delivery.law()),
        };
        let publisher =
            foreign.publisher.map(|connection| Publisher { shard: Some(foreign.from), connection });
        outgoing.paced = foreign.reply.is_some_and(ReplyTo::is_promised);
        if outgoing.view.expires.has_passed(self.delivery.now) {
            self.delivery.dropped.expired += route.targets.len() as u64;
        } else {
            self.delivery.route_foreign(route, outgoing, publisher);
        }
        self.delivery.journal.leave();
        if let Some(reply) = foreign.reply {
            self.reply(reply, outgoing.durable, outgoing.refused);
        }
    }

    /// Tells the shard of the publisher that a message is settled here, now or once it is stored; or
    /// has what was recorded for it stored together with what is recorded there.
    pub(super) fn reply(&mut self, reply: ReplyTo, durable: bool, refused: bool) {
        let asker = match reply {
            ReplyTo::Answer(asker) => asker,
            ReplyTo::Together(together) | ReplyTo::Promised(together) => {
                // Also if there is nothing: the others wait for this batch.
                self.delivery.journal.push(Record::Together { together, batches: None });
                return;
            }
        };
        if durable {
            let ticket = self.delivery.journal.ticket();
            let next = Continuation::Reply { asker, refused };
            self.delivery.wait_for(ticket, asker.stage, next);
        } else {
            self.settle(asker, refused);
        }
    }

    /// Says that a message is settled here. What was handed on may have come round to where it began.
    pub(super) fn settle(&mut self, asker: Asker, refused: bool) {
        if asker.shard == self.id {
            let now = self.delivery.now;
            self.complete_answer(asker.session, asker.number, refused, now);
        } else {
            self.delivery.post(asker.shard, Mail::Settled { asker, refused });
        }
    }

    fn give_receipt(&mut self, to: ShardId, receipt: Option<u64>) {
        if let Some(read) = receipt {
            self.delivery.post(to, Mail::Receipt { from: self.id, read });
        }
    }
}
