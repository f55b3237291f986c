//! From bytes to packets: what is whole is dealt with where it was read, what is not is collected,
//! and what has to wait is held back.

use super::runs::Front;
use super::{Action, Shard};
use crate::connection::{ConnectionHandle, Phase, Transport};
use crate::router::CachedRoute;
use crate::session::SessionHandle;
use noctule_mqtt::codec::{self, Frame};
use noctule_mqtt::packet::Ack;
use noctule_mqtt::{Packet, PacketType, ProtocolVersion, ReasonCode, Receiver, Violation};
use noctule_session::Now;

/// The attached connection whose packet is being dealt with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sender {
    pub(super) connection: ConnectionHandle,
    pub(super) session: SessionHandle,
    pub(super) version: ProtocolVersion,
    /// Where the route of the topic it published to last is cached.
    pub(super) last_route: Option<CachedRoute>,
    /// Whether its topics have something before them that it does not know of.
    pub(super) mounted: bool,
    pub(super) now: Now,
}

impl Shard {
    /// Processes input, of which the messages count for the connection's transport.
    pub(super) fn take_in_counted(&mut self, handle: ConnectionHandle, input: &[u8], now: Now) {
        let Some(connection) = self.delivery.connections.get(handle) else {
            return;
        };
        let over_tls = connection.transport == Transport::Tls;
        self.delivery.journal.enter(connection.stage);
        let before = over_tls.then(|| self.delivery.packets.messages_received());
        self.take_in(handle, input, now);
        self.router.end_input();
        self.delivery.journal.leave();
        if let Some(before) = before {
            self.delivery.tls.publish_received +=
                self.delivery.packets.messages_received() - before;
        }
    }

    /// Processes input from its front until it is used up or something has to be waited for.
    pub(super) fn take_in(&mut self, handle: ConnectionHandle, mut input: &[u8], now: Now) {
        // So many bytes at its front are known to be dealt with packet by packet.
        let mut single = 0;
        while !input.is_empty() {
            let Some(connection) = self.delivery.connections.get_mut(handle) else {
                return;
            };
            // Nearly always: an attached client, and packets that are whole.
            if let (Phase::Attached, Some(session), true, true) = (
                &connection.phase,
                connection.session,
                connection.holds.is_free(),
                connection.partial.is_empty(),
            ) && let Ok(Some(frame)) =
                codec::next_frame(input, self.delivery.limits.packet_bytes_max)
            {
                let sender = Sender {
                    connection: handle,
                    session,
                    version: connection.version,
                    last_route: connection.last_route,
                    mounted: connection.mounted,
                    now,
                };
                if single == 0 {
                    match self.take_together(&sender, input, &frame) {
                        Front::Taken(bytes) => {
                            input = &input[bytes..];
                            continue;
                        }
                        Front::Single(bytes) => single = bytes,
                    }
                }
                single = single.saturating_sub(frame.bytes.len());
                input = &input[frame.bytes.len()..];
                if let Err(violation) = self.on_frame(&sender, &frame) {
                    return self.violate_with(handle, violation, frame.bytes, now);
                }
                if self.router.has_missed() && !input.is_empty() {
                    self.look_ahead(&sender, input);
                }
                continue;
            }
            match self.take_in_piece(handle, input, now) {
                Ok(Some(rest)) => input = rest,
                Ok(None) => return,
                Err(violation) => {
                    let connection = self.delivery.connections.get_mut(handle);
                    let front = connection.map(|found| found.partial.take()).unwrap_or_default();
                    return self.violate_with(handle, violation, &front, now);
                }
            }
        }
    }

    /// The last packet's topic had no route, so those to come may have none either.
    #[inline(never)]
    fn look_ahead(&mut self, sender: &Sender, input: &[u8]) {
        let limits = &self.delivery.limits;
        // Where topics go that are below a mount is known when the mount is put before them.
        let input = if sender.mounted { &[] } else { input };
        let (most, law) = (limits.packet_bytes_max, self.delivery.law());
        self.router.look_ahead(input, most, sender.session, law);
    }

    /// Deals with input that is not a whole packet of an attached client. Returns the rest if
    /// there is more to be done now.
    fn take_in_piece<'a>(
        &mut self,
        handle: ConnectionHandle,
        input: &'a [u8],
        now: Now,
    ) -> Result<Option<&'a [u8]>, Violation> {
        let Some(connection) = self.delivery.connections.get_mut(handle) else {
            return Ok(None);
        };
        let limit = match connection.phase {
            Phase::Attached => self.delivery.limits.packet_bytes_max,
            Phase::AwaitConnect | Phase::AwaitAuth(_) => self.delivery.limits.connect_bytes_max,
            Phase::Closing => return Ok(None),
            // [MQTT3-3.1.4-5] [MQTT5-3.1.4-6]: not before it is certain that CONNECT is accepted.
            Phase::AwaitVerdict(_) | Phase::AwaitStore(_) => {
                connection.hold(input);
                return Ok(None);
            }
        };
        if !connection.holds.is_free() {
            connection.hold(input);
            return Ok(None);
        }
        let used = connection.partial.fill(input, limit)?;
        let first = connection.partial.first_byte().map(|byte| byte >> 4);
        if let (Phase::AwaitConnect, Some(first)) = (&connection.phase, first)
            && first != PacketType::Connect as u8
        {
            return Err(not_connect(first));
        }
        if connection.partial.frame(limit)?.is_none() {
            return Ok(None);
        }
        let attached = connection.session;
        let authenticating = matches!(connection.phase, Phase::AwaitAuth(_));
        let (version, last_route) = (connection.version, connection.last_route);
        let mounted = connection.mounted;
        let bytes = connection.partial.take();
        if let Some(frame) = codec::next_frame(&bytes, limit)? {
            match attached {
                Some(session) => {
                    let connection = handle;
                    let sender = Sender { connection, session, version, last_route, mounted, now };
                    if let Err(violation) = self.on_late_frame(&sender, &frame) {
                        self.violate_with(handle, violation, frame.bytes, now);
                        return Ok(None);
                    }
                }
                None if authenticating => self.on_auth_frame(handle, &frame, now)?,
                None => self.on_first_frame(handle, &frame, now),
            }
        }
        Ok(Some(&input[used..]))
    }

    /// A packet that came in pieces.
    #[inline(never)]
    fn on_late_frame(&mut self, sender: &Sender, frame: &Frame<'_>) -> Result<(), Violation> {
        self.on_frame(sender, frame)
    }

    /// A packet of an attached client. Those of the traffic have ways of their own, and the way here
    /// is part of the loop: a call costs as much as a look-up.
    #[inline(always)]
    fn on_frame(&mut self, sender: &Sender, frame: &Frame<'_>) -> Result<(), Violation> {
        if frame.type_bits() == PacketType::Publish as u8 {
            return self.on_publish(sender, frame);
        }
        self.delivery.packets.came(frame.type_bits());
        if let Some((packet, packet_id)) = Ack::short_form(frame) {
            self.on_ack(sender, packet, &Ack::new(packet_id, ReasonCode::Success))
        } else {
            self.on_other(sender, frame)
        }
    }

    #[inline(never)]
    fn on_other(&mut self, sender: &Sender, frame: &Frame<'_>) -> Result<(), Violation> {
        let Sender { connection: handle, session, version, now, .. } = *sender;
        // Whatever else is wrong with it [MQTT3-3.1.0-2] [MQTT5-3.1.0-2]; and what can be wrong with
        // a CONNECT has reasons that a DISCONNECT cannot give.
        if frame.type_bits() == PacketType::Connect as u8 {
            return Err(Violation::SecondConnect);
        }
        let packet = codec::decode(frame, version, Receiver::Server)?;
        match &packet {
            Packet::Puback(ack)
            | Packet::Pubrec(ack)
            | Packet::Pubrel(ack)
            | Packet::Pubcomp(ack) => self.on_ack(sender, packet.packet_type(), ack),
            Packet::Subscribe(subscribe) if sender.mounted => {
                self.check_user_properties(subscribe.properties)?;
                self.on_mounted_subscribe(sender, subscribe);
                Ok(())
            }
            Packet::Unsubscribe(unsubscribe) if sender.mounted => {
                self.check_user_properties(unsubscribe.properties)?;
                self.on_mounted_unsubscribe(sender, unsubscribe);
                Ok(())
            }
            Packet::Subscribe(subscribe) => {
                self.check_user_properties(subscribe.properties)?;
                self.on_subscribe(sender, subscribe);
                Ok(())
            }
            Packet::Unsubscribe(unsubscribe) => {
                self.check_user_properties(unsubscribe.properties)?;
                self.on_unsubscribe(sender, unsubscribe);
                Ok(())
            }
            // [MQTT3-3.12.4-1] [MQTT5-3.12.4-1]
            Packet::Pingreq => {
                self.delivery.send(handle, &Packet::Pingresp);
                Ok(())
            }
            Packet::Disconnect(disconnect) => self.on_disconnect(handle, session, disconnect, now),
            Packet::Connect(_) => Err(Violation::SecondConnect),
            Packet::Auth(auth) => self.on_auth(handle, session, auth),
            // PUBLISH does not come this way; the others flow to clients only.
            Packet::Publish(_)
            | Packet::Connack(_)
            | Packet::Suback(_)
            | Packet::Unsuback(_)
            | Packet::Pingresp => Err(Violation::WrongDirection { packet: packet.packet_type() }),
        }
    }

    /// Goes on with input that was held back, and has the connection read again.
    pub(super) fn release_input(&mut self, handle: ConnectionHandle, now: Now) {
        let Some(connection) = self.delivery.connections.get_mut(handle) else {
            return;
        };
        let held = connection.take_held();
        self.take_in_counted(handle, &held, now);
        self.look_after_input(handle, false);
        let free = self.wants_input(handle);
        if free {
            self.actions.push_back(Action::Resume(handle));
        }
    }
}

/// What is wrong with a first packet of this type.
pub(super) fn not_connect(type_bits: u8) -> Violation {
    match PacketType::from_bits(type_bits) {
        Some(packet) => Violation::FirstPacketUnexpected { packet },
        None => Violation::PacketTypeReserved { bits: type_bits },
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Settings, Shard};
    use crate::holds::Hold;
    use crate::rights::{EntrancePolicy, Policies, Policy, Who, Wish, Word};
    use crate::{Action, Event, Verdict};
    use noctule_session::Now;
    use std::sync::Arc;

    /// Whatever is not secret may be published, and nothing may be read.
    #[derive(Debug)]
    struct Open;

    impl Policy for Open {
        fn decide(&self, _: Who<'_>, wish: Wish<'_>) -> Word {
            match wish {
                Wish::Publish(topic) if topic.as_str() == "secret" => Word::Denied,
                Wish::Read(_) => Word::Denied,
                _ => Word::Allowed,
            }
        }

        fn explain(&self, _: Who<'_>, _: Wish<'_>) -> String {
            "nothing is read".to_owned()
        }
    }

    #[test]
    fn nobody_is_said_to_have_wanted_what_could_not_be_published() {
        const CONNECT: &[u8] = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00";
        let now = Now { mono_ms: 0, wall_ms: 0 };
        let open = EntrancePolicy {
            policy: Some(Arc::new(Open)),
            shadow: false,
            ..EntrancePolicy::default()
        };
        let policies = Policies { entrances: vec![open], ..Policies::default() };
        let mut shard = Shard::new(Settings { policies, ..Settings::default() }, now);
        let handle = shard.open(now);
        shard.on_bytes(handle, CONNECT, now);
        while let Some(action) = shard.next_action() {
            if let Action::Authenticate { connection, .. } = action {
                shard.handle(Event::Authenticated { connection, verdict: Verdict::Accepted }, now);
            }
        }
        shard.on_bytes(handle, b"\x82\x06\0\x01\0\x01#\0", now);
        // The first one's topic is not known, so those behind it are looked at.
        let input = b"\x30\x03\0\x01x\x30\x08\0\x06secret\x30\x03\0\x01y".repeat(3);
        shard.on_bytes(handle, &input, now);
        assert_eq!(shard.delivery.authority.denied.publish, 3);
        let withheld = shard.router.take_withheld();
        let topics: Vec<_> = withheld.iter().map(|one| &*one.topic).collect();
        assert_eq!(topics, ["x", "y"]);
    }

    #[test]
    fn a_connection_is_not_read_before_what_it_sent_is_dealt_with() {
        let now = Now { mono_ms: 0, wall_ms: 0 };
        let mut shard = Shard::new(Settings::default(), now);
        let handle = shard.open(now);
        shard.delivery.connections.get_mut(handle).unwrap().holds.add(Hold::Crowd);
        shard.on_bytes(handle, &[0xC0, 0], now);
        assert!(!shard.wants_input(handle), "it is held");
        shard.delivery.lift(handle, Hold::Crowd);
        assert!(!shard.wants_input(handle), "its turn has not come");
        shard.work(now);
        assert!(shard.delivery.connections.get(handle).unwrap().held() == 0);
    }
}
