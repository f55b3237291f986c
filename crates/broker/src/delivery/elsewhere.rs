//! What leaves for other shards: messages, letters, and who waits for a box that is full.

use super::Delivery;
use crate::commons::ShardId;
use crate::connection::ConnectionHandle;
use crate::holds::Hold;
use crate::limits::OnQueueFull;
use crate::mail::{Asker, Asks, Mail, ReplyTo};
use crate::message::Attribution;
use crate::outgoing::Outgoing;
use crate::postbag::Covering;
use crate::router::Elsewhere;
use crate::run::Run;
use crate::session::Session;
use noctule_mqtt::QoS;

impl Delivery {
    /// Writes a letter that is no message to another shard.
    pub(crate) fn post(&mut self, to: ShardId, letter: Mail) {
        if let Some(postbag) = self.postbags.get_mut(usize::from(to.0)) {
            postbag.push(letter);
        }
    }

    /// Sends a message to other shards. Returns how many of them were asked to reply, because they
    /// owe it durably or may refuse it, or because all are to store it together.
    pub(crate) fn send_elsewhere(
        &mut self,
        own: ShardId,
        elsewhere: &[Elsewhere],
        outgoing: &mut Outgoing<'_>,
        publisher: Option<ConnectionHandle>,
        asks: Asks,
    ) -> u32 {
        let received_ms = self.stored_now().wall_ms;
        let mut replies = 0;
        for Elsewhere { shard, durable } in elsewhere {
            let reply = self.reply_to(own, asks, outgoing.view.qos, *durable);
            replies += u32::from(reply.is_some());
            if let Some(postbag) = self.postbags.get_mut(usize::from(shard.0)) {
                let attribution = durable.then(|| {
                    let from = outgoing.from.and_then(|from| self.sessions.get(from));
                    let published_by = from.map(Session::author).or(outgoing.published_by);
                    Attribution { published_by, received_ms }
                });
                let covering = Covering { from: own, publisher, reply, attribution };
                postbag.push_message(outgoing, covering, &mut self.pool);
                if postbag.is_full() {
                    self.wait_for_mail(*shard, publisher);
                }
            }
        }
        replies
    }

    /// Whether a run may leave for other shards as one: none of them has to answer, nor to know whose it
    /// is.
    pub(crate) fn may_send_run_elsewhere(&self, elsewhere: &[Elsewhere], qos: QoS) -> bool {
        let asks_nothing =
            qos == QoS::AtMostOnce || self.limits.on_queue_full != OnQueueFull::Refuse;
        asks_nothing && elsewhere.iter().all(|one| !one.durable)
    }

    /// Sends a run to other shards, which [take it](Self::may_send_run_elsewhere).
    pub(crate) fn send_run_elsewhere(
        &mut self,
        own: ShardId,
        elsewhere: &[Elsewhere],
        run: &Run<'_>,
        publisher: ConnectionHandle,
    ) {
        for Elsewhere { shard, .. } in elsewhere {
            if let Some(postbag) = self.postbags.get_mut(usize::from(shard.0)) {
                postbag.push_run(run, own, Some(publisher));
                if postbag.is_full() {
                    self.wait_for_mail(*shard, Some(publisher));
                }
            }
        }
    }

    /// How another shard, or the member of a group, is to answer; not at all if nothing depends on it.
    pub(crate) fn reply_to(
        &self,
        own: ShardId,
        asks: Asks,
        qos: QoS,
        durable: bool,
    ) -> Option<ReplyTo> {
        if qos == QoS::AtMostOnce {
            return None;
        }
        let session = match asks {
            Asks::Nothing => return None,
            // Even where nobody was owed it durably a moment ago, somebody may be now.
            Asks::Together(together) => return Some(ReplyTo::Together(together)),
            Asks::Promised(together) => return Some(ReplyTo::Promised(together)),
            Asks::Word(session) => session,
        };
        let may_refuse = self.limits.on_queue_full == OnQueueFull::Refuse;
        if !(durable || may_refuse) {
            return None;
        }
        let number = self.sessions.get(session)?.answers.next_number();
        let stage = self.journal.stage();
        Some(ReplyTo::Answer(Asker { shard: own, session, number, stage }))
    }

    /// A box is full: whoever wrote to it is not read until it is emptier.
    #[cold]
    pub(crate) fn wait_for_mail(&mut self, to: ShardId, publisher: Option<ConnectionHandle>) {
        if let Some(publisher) = publisher
            && let Some(connection) = self.connections.get_mut(publisher)
            && connection.holds.add(Hold::Mail)
            && let Some(postbag) = self.postbags.get_mut(usize::from(to.0))
        {
            self.counters.publishers_slowed_by_mail += 1;
            postbag.waiting.push(publisher);
        }
    }

    /// Another shard has read so far; those who waited for it go on if that is enough.
    pub(crate) fn on_receipt(&mut self, from: ShardId, read: u64) {
        let waiting = match self.postbags.get_mut(usize::from(from.0)) {
            Some(postbag) => postbag.on_receipt(read),
            None => return,
        };
        for publisher in waiting {
            self.lift(publisher, Hold::Mail);
        }
    }
}
