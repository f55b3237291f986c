//! Packets of a flood, taken in together: runs of PUBLISH, and PUBACKs one behind the other. What comes
//! alone and is like the one before is a run of one.

use super::Shard;
use super::input::Sender;
use super::mail::Foreign;
use crate::commons::ShardId;
use crate::connection::ConnectionHandle;
use crate::crowd::Publisher;
use crate::outgoing::Outgoing;
use crate::rights::Ruling;
use crate::router::CachedRoute;
use crate::run::{self, Run};
use noctule_mqtt::codec::Frame;
use noctule_mqtt::{PacketId, PacketType, QoS, TopicName};

/// What became of the front of the input.
pub(super) enum Front {
    /// So many bytes of it are dealt with.
    Taken(usize),
    /// The packets in so many bytes are to be dealt with one by one.
    Single(usize),
}

/// A PUBACK that says nothing but its identifier.
const PUBACK: [u8; 2] = [(PacketType::Puback as u8) << 4, 2];
const PUBACK_BYTES: usize = 4;

impl Shard {
    /// Deals with the run or the PUBACKs at the front of `input`, if there are any and nothing about
    /// them is out of the ordinary. `frame` is the packet at the front.
    #[inline]
    pub(super) fn take_together(
        &mut self,
        sender: &Sender,
        input: &[u8],
        frame: &Frame<'_>,
    ) -> Front {
        if run::is_begun(frame, &input[frame.bytes.len()..]) {
            return self.take_run(sender, input, None);
        }
        if let Some(cached) = self.lone(sender, frame) {
            return self.take_run(sender, input, Some(cached));
        }
        if frame.bytes.starts_with(&PUBACK) {
            return self.take_pubacks(sender, input);
        }
        Front::Single(frame.bytes.len())
    }

    /// Where a packet goes that comes alone, if that is where the last one of its sender went and nothing
    /// about its route is out of the ordinary: as a run of one it is asked for least.
    #[inline]
    fn lone(&mut self, sender: &Sender, frame: &Frame<'_>) -> Option<CachedRoute> {
        let topic = run::topic_of(frame)?;
        let last = sender.last_route.filter(|last| self.router.holds(*last, topic))?;
        self.router.at(last).is_plain().then_some(last)
    }

    #[inline(never)]
    fn take_run(&mut self, sender: &Sender, input: &[u8], cached: Option<CachedRoute>) -> Front {
        let Ok(Some(first)) = noctule_mqtt::codec::next_frame(input, u32::MAX) else {
            return Front::Single(input.len());
        };
        let packet_bytes_max = self.delivery.limits.packet_bytes_max;
        let Some(run) = Run::at_front(input, &first, sender.version, packet_bytes_max) else {
            return Front::Single(first.bytes.len());
        };
        let all = run.bytes.len();
        // The watcher wants to see each, a rate counts each, a mount is put before each topic, and the
        // offer is asked for each.
        if self.watch.is_watching()
            || self.is_metering
            || sender.mounted
            || first.flags() & self.refused_publish_flags != 0
        {
            return Front::Single(all);
        }
        let cached = cached.or_else(|| self.router.cached(run.topic(), sender.last_route));
        let Some(cached) = cached else {
            // The first of them has its route found, unless its client may not publish it. The run would be
            // gone through again for each of its messages then.
            let is_found = !self.delivery.authority.in_force;
            return Front::Single(if is_found { first.bytes.len() } else { all });
        };
        let topic = TopicName::from_checked(run.topic());
        if self.delivery.authority.in_force
            && self.rule_publishing(sender.session, topic, Some(cached)) != Ruling::Permitted
        {
            return Front::Single(all);
        }
        let route = self.router.at(cached);
        let has_receivers = !(route.targets.is_empty() && route.elsewhere.is_empty());
        if !route.is_plain()
            || !has_receivers
            || !self.delivery.may_send_run_elsewhere(&route.elsewhere, run.qos)
            || !self.delivery.takes_run(route, &run, Some(sender.session))
        {
            return Front::Single(all);
        }
        let (denied, receivers) = (route.denied, route.targets.len());
        let is_kept = run.qos == QoS::AtLeastOnce && self.delivery.keeps_run(&route.targets);
        if is_kept && !route.elsewhere.is_empty() {
            return Front::Single(all);
        }
        if is_kept {
            // All of them are unfinished until they are stored.
            let waiting =
                self.delivery.sessions.get(sender.session).map_or(0, |it| it.answers.len());
            if self.check_receive_maximum(sender, run.messages).is_err()
                || waiting + run.messages >= self.delivery.limits.acks_waiting_max
            {
                return Front::Single(all);
            }
            let from = Some(sender.session);
            self.delivery.send_run_at_least_once(&route.targets, &run, topic, from);
            self.delivery.acknowledge_run_later(sender.session, &run);
        } else if run.qos == QoS::AtLeastOnce {
            // An answer that leaves at once, and one message unfinished at a time.
            if !matches!(self.check_receive_maximum(sender, 1), Ok(true)) {
                return Front::Single(all);
            }
            self.delivery.send_run_at_least_once(&route.targets, &run, topic, None);
            self.delivery.acknowledge_run(sender.connection, &run);
        } else {
            self.delivery.send_run_at_most_once(&route.targets, &run);
        }
        self.delivery.send_run_elsewhere(self.id, &route.elsewhere, &run, sender.connection);
        if self.delivery.authority.in_force {
            self.delivery.authority.denied.read += u64::from(denied) * run.messages as u64;
        }
        if is_kept {
            self.wait_for_store(sender.connection);
        }
        if self.delivery.has_met() {
            let publisher = Publisher { shard: None, connection: sender.connection };
            self.delivery.meet_crowd(Some(publisher), receivers);
        }
        self.watch.pass(run.messages);
        self.delivery.packets.run_came(run.qos, run.messages, run.payload_bytes);
        if Some(cached) != sender.last_route
            && let Some(connection) = self.delivery.connections.get_mut(sender.connection)
        {
            connection.last_route = Some(cached);
        }
        Front::Taken(all)
    }

    /// A run of another shard's client, for the sessions here. Returns where its route is cached.
    pub(super) fn on_foreign_run(
        &mut self,
        from: ShardId,
        publisher: Option<ConnectionHandle>,
        run: &Run<'_>,
        hint: Option<CachedRoute>,
    ) -> Option<CachedRoute> {
        // It was one where it came in.
        let topic = TopicName::from_checked(run.topic());
        let mut cached = self.router.cached(run.topic(), hint);
        if cached.is_none() {
            self.router.route(topic, self.delivery.law());
            cached = self.router.cached(run.topic(), None);
        }
        let route = cached.map(|cached| self.router.at(cached)).filter(|route| {
            self.delivery.takes_run(route, run, None)
                && (run.qos == QoS::AtMostOnce || !self.delivery.keeps_run(&route.targets))
        });
        let Some(route) = route else {
            let foreign = Foreign { from, publisher, reply: None };
            for member in run.members() {
                let (view, packet) = run.parts(&member, topic);
                let mut outgoing = Outgoing::of_packet(view, packet);
                self.on_foreign(&foreign, cached, &mut outgoing);
            }
            return cached;
        };
        if self.delivery.authority.in_force {
            self.delivery.authority.denied.read += u64::from(route.denied) * run.messages as u64;
        }
        let receivers = route.targets.len();
        if run.qos == QoS::AtLeastOnce {
            self.delivery.send_run_at_least_once(&route.targets, run, topic, None);
        } else {
            self.delivery.send_run_at_most_once(&route.targets, run);
        }
        if self.delivery.has_met() {
            let publisher = publisher.map(|connection| Publisher { shard: Some(from), connection });
            self.delivery.meet_crowd(publisher, receivers);
        }
        cached
    }

    /// Takes PUBACKs as long as each is for the oldest message in flight.
    #[inline(never)]
    fn take_pubacks(&mut self, sender: &Sender, input: &[u8]) -> Front {
        let Some(session) = self.delivery.sessions.get_mut(sender.session) else {
            return Front::Single(PUBACK_BYTES);
        };
        let is_kept = session.is_persistent();
        let (mut taken, mut freed) = (0, 0);
        for packet in input.as_chunks::<PUBACK_BYTES>().0 {
            let [first, length, high, low] = *packet;
            if [first, length] != PUBACK {
                break;
            }
            let Some(packet_id) = PacketId::new(u16::from_be_bytes([high, low])) else { break };
            let Some(owed) = session.outbound.take_oldest_acknowledged(packet_id) else { break };
            freed += session.settle(&owed);
            if is_kept {
                self.delivery.journal.delivered(session.key, &owed);
            }
            self.delivery.pool.recycle(owed.message);
            taken += 1;
        }
        if taken == 0 {
            return Front::Single(PUBACK_BYTES);
        }
        let more_waits = session.has_more_to_send();
        self.delivery.memory.owed -= freed;
        self.delivery.packets.received[PacketType::Puback as usize] += taken as u64;
        if more_waits {
            self.send_more(sender.session);
        }
        Front::Taken(taken * PUBACK_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rights::{EntrancePolicy, Policies, Policy, Who, Wish, Word};
    use crate::{Action, Event, Settings, Verdict};
    use noctule_mqtt::{ProtocolVersion, codec};
    use noctule_session::Now;
    use std::sync::Arc;

    const CONNECT: &[u8] = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00";
    const NOW: Now = Now { mono_ms: 0, wall_ms: 0 };

    #[derive(Debug)]
    struct Nothing;

    impl Policy for Nothing {
        fn decide(&self, _: Who<'_>, _: Wish<'_>) -> Word {
            Word::Denied
        }

        fn explain(&self, _: Who<'_>, _: Wish<'_>) -> String {
            "nobody may do anything".to_owned()
        }
    }

    #[test]
    fn a_flood_that_may_not_be_published_is_gone_through_once() {
        let nothing = EntrancePolicy {
            policy: Some(Arc::new(Nothing)),
            shadow: false,
            ..EntrancePolicy::default()
        };
        let policies = Policies { entrances: vec![nothing], ..Policies::default() };
        let mut shard = Shard::new(Settings { policies, ..Settings::default() }, NOW);
        let connection = shard.open(NOW);
        shard.on_bytes(connection, CONNECT, NOW);
        while let Some(action) = shard.next_action() {
            if let Action::Authenticate { connection, .. } = action {
                shard.handle(Event::Authenticated { connection, verdict: Verdict::Accepted }, NOW);
            }
        }
        let flood = b"\x30\x04\x00\x01x.".repeat(1_000);
        shard.on_bytes(connection, &flood, NOW);
        assert_eq!(shard.delivery.authority.denied.publish, 1_000);
        let session = shard.delivery.connections.get(connection).and_then(|found| found.session);
        let sender = Sender {
            connection,
            session: session.expect("it is connected"),
            version: ProtocolVersion::V311,
            last_route: None,
            mounted: false,
            now: NOW,
        };
        let first = codec::next_frame(&flood, u32::MAX).ok().flatten().expect("a packet");
        let front = shard.take_together(&sender, &flood, &first);
        assert!(matches!(front, Front::Single(bytes) if bytes == flood.len()));
    }
}
