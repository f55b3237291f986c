//! What the broker sends: frames out of the bytes, and what each packet does.

use noctule_mqtt::codec::{self, Frame};
use noctule_mqtt::packet::{Ack, Publish, Suback, Unsuback};
use noctule_mqtt::{Packet, PacketId, PacketType, QoS, ReasonCode, Receiver, TopicName, Violation};
use noctule_session::{Acknowledged, PubrecAnswer, Received};

use super::requests::Kind;
use super::{Action, Machine, Phase, Sent};
use crate::error::Error;
use crate::event::Event;
use crate::message::Message;
use crate::reason::Reason;

impl Machine {
    /// Bytes came.
    pub(crate) fn received(&mut self, now_ms: u64, mut input: &[u8]) {
        self.now_ms = now_ms;
        self.link.received_ms = now_ms;
        self.link.ping_ms = None;
        if let Phase::AwaitConnack { .. } = self.phase
            && self.link.frames.is_empty()
            && input.first().is_some_and(|first| !self.may_be_first(*first))
        {
            let first = input[..input.len().min(FIRST_BYTES_SHOWN)].to_vec();
            return self.lose(Reason::NotMqtt(first));
        }
        while !input.is_empty() && self.is_listening() {
            match self.take_frame(input) {
                Ok(rest) => input = rest,
                Err(violation) => return self.violated(violation),
            }
        }
        self.finish_leaving();
    }

    /// Whether a broker's first packet may begin with this byte.
    fn may_be_first(&self, byte: u8) -> bool {
        byte == CONNACK || (byte == AUTH && self.options.authentication.is_some())
    }

    fn is_listening(&self) -> bool {
        matches!(self.phase, Phase::AwaitConnack { .. } | Phase::Connected)
    }

    /// Handles the first packet in `input`, or keeps what there is of it; returns what is behind.
    fn take_frame<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], Violation> {
        let bytes_max = self.options.limits.packet_bytes_max;
        if self.link.frames.is_empty() {
            if let Some(frame) = codec::next_frame(input, bytes_max)? {
                self.on_frame(&frame)?;
                return Ok(&input[frame.bytes.len()..]);
            }
            self.link.frames.fill(input, bytes_max)?;
            return Ok(&[]);
        }
        let used = self.link.frames.fill(input, bytes_max)?;
        if self.link.frames.frame(bytes_max)?.is_some() {
            let bytes = self.link.frames.take();
            if let Some(frame) = codec::next_frame(&bytes, bytes_max)? {
                self.on_frame(&frame)?;
            }
        }
        Ok(&input[used..])
    }

    fn on_frame(&mut self, frame: &Frame<'_>) -> Result<(), Violation> {
        if let Phase::AwaitConnack { .. } = self.phase {
            return self.on_first_frame(frame);
        }
        match codec::decode(frame, self.version(), Receiver::Client)? {
            Packet::Publish(publish) => self.on_publish(&publish)?,
            Packet::Puback(ack) => self.on_puback(&ack)?,
            Packet::Pubrec(ack) => self.on_pubrec(&ack)?,
            Packet::Pubrel(ack) => self.on_pubrel(ack.packet_id),
            Packet::Pubcomp(ack) => self.on_pubcomp(&ack)?,
            Packet::Suback(suback) => self.on_suback(&suback),
            Packet::Unsuback(unsuback) => self.on_unsuback(&unsuback),
            Packet::Pingresp => {}
            Packet::Disconnect(disconnect) => self.lose(Reason::Dismissed {
                code: disconnect.reason,
                words: disconnect.properties.reason_string().map(str::to_owned),
            }),
            Packet::Auth(auth) if self.options.authentication.is_some() => self.on_auth(&auth)?,
            Packet::Auth(_) => return Err(Violation::AuthUnexpected),
            // Decoding refuses the packets that flow to servers only; CONNACK comes once.
            other => self.lose(Reason::OutOfPlace(other.packet_type())),
        }
        Ok(())
    }

    /// CONNACK is the first packet `[MQTT5-3.2.0-1]`, but for AUTH if we prove who we are.
    fn on_first_frame(&mut self, frame: &Frame<'_>) -> Result<(), Violation> {
        if self.version().has_properties()
            && let [CONNACK, 2, _, code @ 1..=5] = *frame.bytes
            && let Some(reason) = ReasonCode::from_connect_return_code(code)
        {
            // A broker that knows no MQTT 5 answers in the form of 3.1.1.
            self.refused(reason, None, None);
            return Ok(());
        }
        match codec::decode(frame, self.version(), Receiver::Client)? {
            Packet::Connack(connack) => self.on_connack(&connack),
            Packet::Auth(auth) if self.options.authentication.is_some() => self.on_auth(&auth)?,
            other => self.lose(Reason::OutOfPlace(other.packet_type())),
        }
        Ok(())
    }

    /// Acknowledges a message as its QoS says `[MQTT3-3.3.4-1]` `[MQTT5-3.3.4-1]`, with its identifier
    /// `[MQTT3-2.3.1-6]` `[MQTT5-2.2.1-5]`, at once and so in the order in which messages come
    /// `[MQTT3-4.6.0-2]` `[MQTT3-4.6.0-3]` `[MQTT5-4.6.0-2]` `[MQTT5-4.6.0-3]`, whether anybody takes it
    /// or not `[MQTT3-4.5.0-2]` `[MQTT5-4.5.0-2]`.
    fn on_publish(&mut self, publish: &Publish<'_>) -> Result<(), Violation> {
        let topic = self.topic_of(publish)?;
        match (publish.qos, publish.packet_id) {
            (QoS::ExactlyOnce, Some(packet_id)) => {
                return self.on_exactly_once(topic, publish, packet_id);
            }
            (QoS::AtLeastOnce, Some(packet_id)) => {
                // As new, with DUP or without it [MQTT5-4.3.2-5].
                self.deliver(topic, publish);
                // [MQTT3-4.3.2-2] [MQTT5-4.3.2-4]
                self.send(&Packet::Puback(Ack::new(packet_id, ReasonCode::Success)));
            }
            _ => self.deliver(topic, publish),
        }
        Ok(())
    }

    fn on_exactly_once(
        &mut self,
        topic: String,
        publish: &Publish<'_>,
        packet_id: PacketId,
    ) -> Result<(), Violation> {
        let held = self.inbound.held();
        let received = self.inbound.on_publish(packet_id, false);
        let limit = self.options.limits.receive_maximum;
        if received == Received::New {
            // [MQTT5-3.3.4-9]; before MQTT 5 only the identifiers themselves are a limit.
            if self.version().has_properties() && held >= usize::from(limit) {
                return Err(Violation::ReceiveMaximumExceeded { limit });
            }
            self.deliver(topic, publish);
        }
        // [MQTT3-4.3.3-2] [MQTT5-4.3.3-8] [MQTT5-4.3.3-10]
        self.send(&Packet::Pubrec(Ack::new(packet_id, ReasonCode::Success)));
        Ok(())
    }

    fn deliver(&mut self, topic: String, publish: &Publish<'_>) {
        let to = match TopicName::new(&topic) {
            Ok(name) => self.subscriptions.route(name, publish.properties),
            Err(_) => return,
        };
        let message = Message::new(topic, publish);
        self.actions.push_back(Action::Deliver { message, to });
    }

    /// The topic, by name or by an alias that was set before `[MQTT5-3.3.2-7]`: any up to our maximum
    /// `[MQTT5-3.3.2-10]`.
    fn topic_of(&mut self, publish: &Publish<'_>) -> Result<String, Violation> {
        let Some(alias) = publish.properties.topic_alias() else {
            return publish.topic.map(|name| name.as_str().to_owned()).ok_or(Violation::TopicEmpty);
        };
        let maximum = self.topic_alias_maximum();
        let invalid = Violation::TopicAliasInvalid { alias };
        if alias == 0 || alias > maximum {
            return Err(invalid);
        }
        let aliases = &mut self.link.aliases;
        aliases.resize(usize::from(maximum), None);
        let place = aliases.get_mut(usize::from(alias) - 1).ok_or(invalid.clone())?;
        match publish.topic {
            Some(name) => Ok(place.insert(name.as_str().to_owned()).clone()),
            None => place.clone().ok_or(invalid),
        }
    }

    fn topic_alias_maximum(&self) -> u16 {
        let own = self.options.properties.as_properties().topic_alias_maximum();
        own.unwrap_or(self.options.limits.topic_alias_maximum)
    }

    fn on_puback(&mut self, ack: &Ack<'_>) -> Result<(), Violation> {
        if let Acknowledged::Done(sent) = self.outbound.on_puback(ack.packet_id)? {
            self.acknowledged(&sent, ack);
        }
        Ok(())
    }

    fn on_pubrec(&mut self, ack: &Ack<'_>) -> Result<(), Violation> {
        if ack.reason.is_error() {
            if let Acknowledged::Done(sent) = self.outbound.on_pubrec_refusal(ack.packet_id)? {
                self.acknowledged(&sent, ack);
            }
            return Ok(());
        }
        let answer = self.outbound.on_pubrec(ack.packet_id)?;
        let reason = match answer {
            PubrecAnswer::Unknown if self.version().has_reason_codes() => {
                ReasonCode::PacketIdentifierNotFound
            }
            _ => ReasonCode::Success,
        };
        // Nothing is stored, so what came is released at once, and PUBRELs leave in the order in
        // which PUBRECs come [MQTT3-4.6.0-4] [MQTT5-4.6.0-4].
        self.outbound.release(ack.packet_id);
        self.send(&Packet::Pubrel(Ack::new(ack.packet_id, reason)));
        self.note_waiting(true);
        Ok(())
    }

    fn on_pubrel(&mut self, packet_id: PacketId) {
        let known = self.inbound.on_pubrel(packet_id);
        let reason = if known || !self.version().has_reason_codes() {
            ReasonCode::Success
        } else {
            ReasonCode::PacketIdentifierNotFound
        };
        self.send(&Packet::Pubcomp(Ack::new(packet_id, reason)));
    }

    fn on_pubcomp(&mut self, ack: &Ack<'_>) -> Result<(), Violation> {
        if self.adopted.freed(ack.packet_id) {
            self.note_waiting(true);
            self.pump();
            return Ok(());
        }
        if let Acknowledged::Done(sent) = self.outbound.on_pubcomp(ack.packet_id)? {
            self.acknowledged(&sent, ack);
        }
        Ok(())
    }

    /// A message has its last acknowledgement; there is room for others.
    fn acknowledged(&mut self, sent: &Sent, ack: &Ack<'_>) {
        // "Not found" in PUBCOMP: the broker had finished it before.
        let refused = ack.reason.is_error() && ack.reason != ReasonCode::PacketIdentifierNotFound;
        let outcome = if refused {
            Err(refusal(ack.reason, ack.properties.reason_string()))
        } else {
            Ok(ack.reason)
        };
        self.answer(sent.token, outcome);
        self.note_waiting(true);
        self.pump();
    }

    fn on_suback(&mut self, suback: &Suback<'_>) {
        let Some(request) = self.requests.take(suback.packet_id, Kind::Subscribe) else { return };
        let code = suback.reasons.first().copied().unwrap_or(ReasonCode::UnspecifiedError);
        if code.is_error() {
            let words = suback.properties.reason_string();
            match request.token {
                Some(token) => {
                    self.forget_refused(&request.filter);
                    self.answer(Some(token), Err(refusal(code, words)));
                }
                None => self.subscription_lost(request.filter, code),
            }
        } else {
            self.subscriptions.mark_granted(&request.filter);
            self.answer(request.token, Ok(code));
        }
        self.note_waiting(true);
        self.send_requests();
    }

    fn subscription_lost(&mut self, filter: String, code: ReasonCode) {
        let gone = self.subscriptions.remove(&filter);
        self.actions.extend(gone.into_iter().map(Action::EndReceiver));
        self.tell(Event::SubscriptionLost { filter, code });
    }

    fn on_unsuback(&mut self, unsuback: &Unsuback<'_>) {
        let Some(request) = self.requests.take(unsuback.packet_id, Kind::Unsubscribe) else {
            return;
        };
        let code = unsuback.reasons.first().copied().unwrap_or(ReasonCode::Success);
        if code.is_error() {
            let words = unsuback.properties.reason_string();
            self.answer(request.token, Err(refusal(code, words)));
        } else {
            // The user may have subscribed again in between.
            if !self.requests.asks_for(&request.filter) {
                let gone = self.subscriptions.remove(&request.filter);
                self.actions.extend(gone.into_iter().map(Action::EndReceiver));
            }
            self.answer(request.token, Ok(code));
        }
        self.note_waiting(true);
        self.send_requests();
    }
}

fn refusal(code: ReasonCode, words: Option<&str>) -> Error {
    Error::Refused { code, words: words.map(str::to_owned) }
}

/// The first byte of AUTH.
const AUTH: u8 = (PacketType::Auth as u8) << 4;

/// The first byte of CONNACK.
const CONNACK: u8 = (PacketType::Connack as u8) << 4;

/// How much of what is no MQTT is shown.
const FIRST_BYTES_SHOWN: usize = 8;
