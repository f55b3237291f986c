//! A machine in virtual time, with the test as its broker: what it writes becomes words, and what
//! the broker says is encoded here.

use std::sync::Arc;

use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    Packet, PacketId, PacketType, Properties, Property, PropertyBuffer, ProtocolVersion, QoS,
    ReasonCode, Receiver, TopicName, codec, packet,
};

use super::{Action, Machine, ReceiverId, Token};
use crate::error::Error;
use crate::event::Event;
use crate::options::ClientOptions;
use crate::publish::Publish;
use crate::reason::Reason;
use crate::subscribe::Subscribe;

pub(super) struct Bench {
    pub(super) machine: Machine,
    pub(super) now_ms: u64,
    version: ProtocolVersion,
    /// Whether the transport takes bytes.
    pub(super) writable: bool,
    wire: Vec<u8>,
    said: Vec<String>,
    authentication_data: Vec<u8>,
    client_ids: Vec<String>,
    pub(super) events: Vec<Event>,
    pub(super) answers: Vec<(u64, Result<ReasonCode, Error>)>,
    delivered: Vec<String>,
    pub(super) ended_receivers: Vec<u64>,
    pub(super) opens: usize,
    pub(super) closes: usize,
}

pub(super) fn options(version: ProtocolVersion) -> ClientOptions {
    ClientOptions::new("broker.test", 1883).version(version).client_id("me")
}

impl Bench {
    /// A machine that has started and waits for its transport.
    pub(super) fn started(options: ClientOptions) -> Self {
        let version = options.version;
        let mut bench = Self {
            machine: Machine::new(Arc::new(options), 7),
            now_ms: 1_000,
            version,
            writable: true,
            wire: Vec::new(),
            said: Vec::new(),
            authentication_data: Vec::new(),
            client_ids: Vec::new(),
            events: Vec::new(),
            answers: Vec::new(),
            delivered: Vec::new(),
            ended_receivers: Vec::new(),
            opens: 0,
            closes: 0,
        };
        bench.machine.start(bench.now_ms);
        bench.settle();
        bench
    }

    /// One with a connection and no session at the broker; what was said is forgotten.
    pub(super) fn connected(options: ClientOptions) -> Self {
        let mut bench = Self::started(options);
        bench.open();
        bench.connack(false, &[]);
        bench.said();
        bench
    }

    pub(super) fn open(&mut self) {
        self.machine.opened(self.now_ms, Vec::new());
        self.settle();
    }

    pub(super) fn connack(&mut self, session_present: bool, properties: &[Property<'_>]) {
        let properties = buffer(PacketType::Connack, properties);
        self.hear(&Packet::Connack(packet::Connack {
            session_present,
            reason: ReasonCode::Success,
            properties: properties.as_properties(),
        }));
    }

    pub(super) fn refuse(&mut self, reason: ReasonCode) {
        let properties = Properties::EMPTY;
        self.hear(&Packet::Connack(packet::Connack { session_present: false, reason, properties }));
    }

    pub(super) fn puback(&mut self, id: u16, reason: ReasonCode) {
        self.hear(&Packet::Puback(packet::Ack::new(packet_id(id), reason)));
    }

    pub(super) fn pubrec(&mut self, id: u16) {
        self.hear(&Packet::Pubrec(packet::Ack::new(packet_id(id), ReasonCode::Success)));
    }

    pub(super) fn pubrel(&mut self, id: u16) {
        self.hear(&Packet::Pubrel(packet::Ack::new(packet_id(id), ReasonCode::Success)));
    }

    pub(super) fn pubcomp(&mut self, id: u16) {
        self.hear(&Packet::Pubcomp(packet::Ack::new(packet_id(id), ReasonCode::Success)));
    }

    pub(super) fn suback(&mut self, id: u16, reason: ReasonCode) {
        let (packet_id, properties) = (packet_id(id), Properties::EMPTY);
        self.hear(&Packet::Suback(packet::Suback { packet_id, properties, reasons: vec![reason] }));
    }

    pub(super) fn unsuback(&mut self, id: u16) {
        let (packet_id, properties) = (packet_id(id), Properties::EMPTY);
        let reasons = vec![ReasonCode::Success];
        self.hear(&Packet::Unsuback(packet::Unsuback { packet_id, properties, reasons }));
    }

    pub(super) fn message(&mut self, topic: &str, payload: &str, id: u16, qos: QoS) {
        self.message_with(topic, payload, id, qos, &[]);
    }

    pub(super) fn message_with(
        &mut self,
        topic: &str,
        payload: &str,
        id: u16,
        qos: QoS,
        properties: &[Property<'_>],
    ) {
        self.publish_to_client(topic, payload, id, qos, properties, false);
    }

    /// The broker sends a message again.
    pub(super) fn repetition(&mut self, topic: &str, payload: &str, id: u16, qos: QoS) {
        self.publish_to_client(topic, payload, id, qos, &[], true);
    }

    fn publish_to_client(
        &mut self,
        topic: &str,
        payload: &str,
        id: u16,
        qos: QoS,
        properties: &[Property<'_>],
        dup: bool,
    ) {
        let properties = buffer(PacketType::Publish, properties);
        self.hear(&Packet::Publish(packet::Publish {
            dup,
            qos,
            retain: false,
            topic: (!topic.is_empty()).then(|| TopicName::new(topic).unwrap()),
            packet_id: PacketId::new(id),
            properties: properties.as_properties(),
            payload: payload.as_bytes(),
        }));
    }

    /// The broker says this.
    pub(super) fn hear(&mut self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        codec::encode(packet, self.version, &mut bytes).unwrap();
        self.hear_bytes(&bytes);
    }

    pub(super) fn hear_bytes(&mut self, bytes: &[u8]) {
        self.machine.received(self.now_ms, bytes);
        self.settle();
    }

    pub(super) fn break_off(&mut self) {
        self.machine.lost(self.now_ms, Reason::Closed);
        self.settle();
    }

    /// The connection breaks, and the next one is open and accepted.
    pub(super) fn reconnect(&mut self, session_present: bool) {
        self.break_off();
        self.wait_for_attempt();
        self.open();
        self.connack(session_present, &[]);
    }

    /// Lets time pass to the next attempt.
    pub(super) fn wait_for_attempt(&mut self) -> u64 {
        let (before, opens) = (self.now_ms, self.opens);
        self.now_ms = self.machine.next_deadline().expect("an attempt follows").max(self.now_ms);
        self.machine.tick(self.now_ms);
        self.settle();
        assert_eq!(self.opens, opens + 1);
        self.now_ms - before
    }

    /// Lets time pass, with a tick at each deadline.
    pub(super) fn pass_ms(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some(due) = self.machine.next_deadline().filter(|due| *due <= end) {
            self.now_ms = due.max(self.now_ms);
            self.machine.tick(self.now_ms);
            self.settle();
        }
        self.now_ms = end;
    }

    pub(super) fn publish(&mut self, token: u64, topic: &str, qos: QoS) {
        self.publish_message(token, Publish::new(topic.to_owned(), "x").qos(qos));
    }

    pub(super) fn publish_message(&mut self, token: u64, publish: Publish) {
        let outgoing = publish.check().unwrap();
        self.machine.publish(self.now_ms, outgoing, Some(Token(token)));
        self.settle();
    }

    pub(super) fn subscribe(&mut self, token: u64, filter: &str, receiver: u64) {
        let wanted = Subscribe::new(filter).qos(QoS::ExactlyOnce).check().unwrap();
        let receiver = Some(ReceiverId(receiver));
        self.machine.subscribe(self.now_ms, wanted, receiver, Some(Token(token)));
        self.settle();
    }

    pub(super) fn unsubscribe(&mut self, token: u64, filter: &str) {
        self.machine.unsubscribe(self.now_ms, filter.to_owned(), Some(Token(token)));
        self.settle();
    }

    pub(super) fn leave(&mut self) {
        self.machine.leave(self.now_ms);
        self.settle();
    }

    /// What the client said since it was last asked.
    pub(super) fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    /// The authentication data of the last packet that had some.
    pub(super) fn authentication_data(&self) -> Vec<u8> {
        self.authentication_data.clone()
    }

    /// The client identifiers of all CONNECTs.
    pub(super) fn client_ids(&self) -> &[String] {
        &self.client_ids
    }

    /// The messages that were delivered since then, with their receivers.
    pub(super) fn delivered(&mut self) -> Vec<String> {
        std::mem::take(&mut self.delivered)
    }

    /// The tokens that were answered with success since then.
    pub(super) fn done(&mut self) -> Vec<u64> {
        let answers = std::mem::take(&mut self.answers);
        answers.iter().map(|(token, outcome)| (*token, outcome.clone().unwrap()).0).collect()
    }

    /// The only answer since then, which must be a refusal.
    pub(super) fn refusal(&mut self) -> String {
        let answers = std::mem::take(&mut self.answers);
        let [(_, Err(error))] = answers.as_slice() else { panic!("{answers:?}") };
        error.to_string()
    }

    /// The reason of the last event that has one.
    pub(super) fn last_reason(&self) -> String {
        let reason = self.events.iter().rev().find_map(|event| match event {
            Event::Disconnected(reason)
            | Event::Ended(reason)
            | Event::Reconnecting { reason, .. } => Some(reason.to_string()),
            _ => None,
        });
        reason.expect("an event with a reason")
    }

    pub(super) fn settle(&mut self) {
        loop {
            while let Some(action) = self.machine.next_action() {
                self.carry_out(action);
            }
            let count = self.machine.output().len();
            if count == 0 || !self.writable {
                return;
            }
            self.wire.extend_from_slice(self.machine.output());
            self.machine.wrote(self.now_ms, count);
            self.read_wire();
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Open => self.opens += 1,
            Action::Close { last_words } => {
                self.closes += 1;
                self.wire.extend(last_words);
                self.read_wire();
                self.wire.clear();
                self.machine.closed(self.now_ms, self.writable);
            }
            Action::Tell(event) => self.events.push(event),
            Action::Deliver { message, to } => {
                let payload = String::from_utf8_lossy(message.payload()).into_owned();
                let to: Vec<_> = to.iter().map(|receiver| receiver.0).collect();
                self.delivered.push(format!("{}={payload} to {to:?}", message.topic()));
            }
            Action::EndReceiver(receiver) => self.ended_receivers.push(receiver.0),
            Action::Answer(token, outcome) => self.answers.push((token.0, outcome)),
            Action::End(_) => {}
        }
    }

    fn read_wire(&mut self) {
        let wire = std::mem::take(&mut self.wire);
        let mut rest = wire.as_slice();
        while let Some(frame) = codec::next_frame(rest, u32::MAX).unwrap() {
            let packet = codec::decode(&frame, self.version, Receiver::Server).unwrap();
            self.said.push(words(&packet));
            let data = match &packet {
                Packet::Connect(connect) => connect.properties.authentication_data(),
                Packet::Auth(auth) => auth.properties.authentication_data(),
                _ => None,
            };
            if let Packet::Connect(connect) = &packet {
                self.client_ids.push(connect.client_id.to_owned());
            }
            data.into_iter().for_each(|data| self.authentication_data = data.to_vec());
            rest = &rest[frame.bytes.len()..];
        }
        self.wire = rest.to_vec();
    }
}

pub(super) fn packet_id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

fn buffer(packet: PacketType, properties: &[Property<'_>]) -> PropertyBuffer {
    let mut buffer = PropertyBuffer::new(Carrier::Packet(packet));
    properties.iter().for_each(|property| buffer.push(*property).unwrap());
    buffer
}

fn words(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Connect(connect) => {
            let clean = if connect.clean_start { " clean" } else { "" };
            let expiry = connect.properties.session_expiry_interval();
            format!("CONNECT{clean} expiry {}", expiry.unwrap_or(0))
        }
        Packet::Publish(publish) => {
            let id = publish.packet_id.map_or(0, PacketId::get);
            let dup = if publish.dup { " dup" } else { "" };
            format!("PUBLISH {id} {} q{}{dup}", publish.topic.unwrap(), publish.qos.bits())
        }
        Packet::Subscribe(subscribe) => {
            let filter = subscribe.subscriptions[0].filter;
            let identifier = subscribe.properties.subscription_identifier();
            let identifier = identifier.map_or(String::new(), |number| format!(" #{number}"));
            format!("SUBSCRIBE {} {filter}{identifier}", subscribe.packet_id)
        }
        Packet::Unsubscribe(unsubscribe) => {
            format!("UNSUBSCRIBE {} {}", unsubscribe.packet_id, unsubscribe.filters[0])
        }
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            let reason = match ack.reason {
                ReasonCode::Success => String::new(),
                reason => format!(" {:#04x}", reason.byte()),
            };
            format!("{} {}{reason}", packet.packet_type(), ack.packet_id)
        }
        Packet::Disconnect(disconnect) => {
            let expiry = disconnect.properties.session_expiry_interval();
            let expiry = expiry.map_or(String::new(), |seconds| format!(" expiry {seconds}"));
            format!("DISCONNECT {:#04x}{expiry}", disconnect.reason.byte())
        }
        Packet::Auth(auth) => format!("AUTH {:#04x}", auth.reason.byte()),
        other => other.packet_type().to_string(),
    }
}
