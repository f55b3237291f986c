//! A client of a check: one connection, bytes out and packets in; what it expects is in
//! [`expect`].
//!
//! Nothing is answered by itself: a check says each acknowledgement. Whatever comes is decoded, so
//! a malformed packet of the broker's fails every check. That nothing comes is believed after a
//! time of silence; that something comes is waited for as long as [`Patience`] says.

mod expect;

use noctule_mqtt::{PacketType, ProtocolVersion, codec};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use crate::heard::{Answers, Connack, Heard, Message};
use crate::outcome::{Failure, Stop, Verdict, hex};
use crate::say::{self, Hello, Publishing};
use crate::wire::Wire;

/// How long a check waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For what has to come.
    pub answer: Duration,
    /// For what must not come.
    pub silence: Duration,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Peer {
    wire: Wire,
    version: ProtocolVersion,
    patience: Patience,
    buffer: Vec<u8>,
    sent: Vec<u8>,
    came: Vec<u8>,
    last_id: u16,
    connack: Option<Connack>,
    /// Why what the check wanted to say was not said.
    unsaid: Option<Stop>,
}

/// What reading leads to.
enum Event {
    Packet(Vec<u8>),
    Closed,
    Silence,
}

impl Peer {
    pub(crate) fn new(wire: Wire, version: ProtocolVersion, patience: Patience) -> Self {
        Self {
            wire,
            version,
            patience,
            buffer: Vec::new(),
            sent: Vec::new(),
            came: Vec::new(),
            last_id: 100,
            connack: None,
            unsaid: None,
        }
    }

    /// What the broker granted; only after a CONNACK was expected.
    pub(crate) fn connack(&self) -> &Connack {
        self.connack.as_ref().expect("a check looks at CONNACK after it came")
    }

    /// How many bytes the last packet had that came.
    pub(crate) fn last_length(&self) -> usize {
        self.came.len()
    }

    /// Waits so long for what has to come, from now on.
    pub(crate) fn be_patient(&mut self, time: Duration) {
        self.patience.answer = time;
    }

    /// A packet identifier that this client has not used.
    pub(crate) fn new_id(&mut self) -> u16 {
        self.last_id += 1;
        self.last_id
    }

    /// Sends these bytes. That the broker has closed is noticed by reading.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.sent = bytes.into();
        let _ = self.wire.send(bytes);
    }

    pub(crate) fn hello(&mut self, hello: &Hello) {
        self.send(&hello.bytes());
    }

    /// Publishes. What the broker has announced not to take is not sent: the check ends as not
    /// applicable where it expects something next.
    pub(crate) fn send_publish(&mut self, message: &Publishing) {
        let granted = self.connack.as_ref().map(Connack::properties).unwrap_or_default();
        let qos_max = granted.maximum_qos().unwrap_or(2);
        if message.quality().0 > qos_max {
            let why = format!("the broker announces QoS {qos_max} at most");
            self.unsaid = Some(Stop::not_applicable(why));
            return;
        }
        self.send(&message.bytes(self.version));
    }

    /// Publishes, completes the exchange of its QoS, and returns the reason of PUBACK or PUBREC.
    pub(crate) fn publish(&mut self, topic: &str, payload: &str, qos: u8) -> Result<u8, Stop> {
        self.complete(&say::publish(topic, payload), qos)
    }

    /// The same for any message, whose QoS and packet identifier are set here.
    pub(crate) fn complete(&mut self, message: &Publishing, qos: u8) -> Result<u8, Stop> {
        let id = if qos == 0 { 0 } else { self.new_id() };
        let message = message.clone().qos(qos, id);
        self.send_publish(&message);
        match message.quality() {
            (0, _) => Ok(0),
            (1, id) => Ok(self.expect_ack(PacketType::Puback, id)?.code),
            (_, id) => {
                let code = self.expect_ack(PacketType::Pubrec, id)?.code;
                if code < 0x80 {
                    self.ack(PacketType::Pubrel, id);
                    self.expect_ack(PacketType::Pubcomp, id)?;
                }
                Ok(code)
            }
        }
    }

    /// Sends PUBACK, PUBREC, PUBREL or PUBCOMP in its short form.
    pub(crate) fn ack(&mut self, packet: PacketType, id: u16) {
        let flags = packet.required_flags().unwrap_or(0);
        self.send(&say::raw((packet as u8) << 4 | flags, &[&id.to_be_bytes()]));
    }

    /// The same with a reason code, which MQTT 5 has.
    pub(crate) fn ack_with(&mut self, packet: PacketType, id: u16, code: u8) {
        let flags = packet.required_flags().unwrap_or(0);
        self.send(&say::raw((packet as u8) << 4 | flags, &[&id.to_be_bytes(), &[code]]));
    }

    /// Completes the receiver's half for `message`.
    pub(crate) fn acknowledge(&mut self, message: &Message) -> Verdict {
        match message.qos {
            0 => {}
            1 => self.ack(PacketType::Puback, message.id),
            _ => {
                self.ack(PacketType::Pubrec, message.id);
                self.expect_ack(PacketType::Pubrel, message.id)?;
                self.ack(PacketType::Pubcomp, message.id);
            }
        }
        Ok(())
    }

    /// Subscribes to one filter and expects that this QoS is granted.
    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) -> Verdict {
        let codes = self.subscribe_to(&[(filter, qos)], &[])?.codes;
        if codes == [qos] {
            return Ok(());
        }
        if codes.len() == 1 && codes[0] < qos {
            return Err(Stop::not_applicable(format!(
                "the broker grants QoS {} at most",
                codes[0]
            )));
        }
        self.fail(format!("SUBACK that grants QoS {qos}"), format!("codes {codes:02X?}"))
    }

    /// Subscribes with option bytes and properties, and returns the answer.
    pub(crate) fn subscribe_to(
        &mut self,
        filters: &[(&str, u8)],
        properties: &[u8],
    ) -> Result<Answers, Stop> {
        let id = self.new_id();
        self.send_subscribe(id, filters, properties);
        self.expect_suback(id)
    }

    pub(crate) fn send_subscribe(&mut self, id: u16, filters: &[(&str, u8)], properties: &[u8]) {
        let mut body = say::property_block(self.version, properties);
        for (filter, options) in filters {
            body.extend(say::field(filter));
            body.push(*options);
        }
        self.send(&say::raw(0x82, &[&id.to_be_bytes(), &body]));
    }

    /// Unsubscribes and returns the answer.
    pub(crate) fn unsubscribe(&mut self, filters: &[&str]) -> Result<Answers, Stop> {
        let id = self.new_id();
        let mut body = say::property_block(self.version, &[]);
        filters.iter().for_each(|filter| body.extend(say::field(filter)));
        self.send(&say::raw(0xA2, &[&id.to_be_bytes(), &body]));
        match self.next("UNSUBACK")? {
            Heard::Unsuback(answers) if answers.id == id => Ok(answers),
            other => self.wrong(format!("UNSUBACK for packet identifier {id}"), &other),
        }
    }

    pub(crate) fn ping(&mut self) -> Verdict {
        self.send(&[0xC0, 0]);
        match self.next("PINGRESP")? {
            Heard::Pingresp => Ok(()),
            other => self.wrong("PINGRESP", &other),
        }
    }

    /// Says DISCONNECT and closes.
    pub(crate) fn leave(mut self) {
        self.send(&[0xE0, 0]);
        self.wire.finish();
        // Until the broker has read it: what comes next in the check relies on that.
        let _ = self.event(self.patience.answer);
    }

    /// Closes without a word.
    pub(crate) fn vanish(self) {
        drop(self.wire);
    }

    /// Passes if `holds`; else fails with the last packets of both ends.
    pub(crate) fn ensure(
        &self,
        holds: bool,
        expected: impl Into<String>,
        came: impl std::fmt::Display,
    ) -> Verdict {
        if holds { Ok(()) } else { self.fail(expected, came.to_string()) }
    }

    /// A failure with the last packets of both ends.
    pub(crate) fn fail<T>(
        &self,
        expected: impl Into<String>,
        came: impl Into<String>,
    ) -> Result<T, Stop> {
        Err(Stop::Failed(Failure {
            expected: expected.into(),
            came: came.into(),
            came_hex: hex(&self.came),
            sent_hex: hex(&self.sent),
        }))
    }

    pub(crate) fn wrong<T>(&self, expected: impl Into<String>, heard: &Heard) -> Result<T, Stop> {
        self.fail(expected, heard.to_string())
    }

    /// Whether nothing comes and the connection stays for so long. What comes is left to be read.
    pub(crate) fn is_quiet(&mut self, time: Duration) -> bool {
        if !self.buffer.is_empty() {
            return false;
        }
        self.wire.set_patience(time);
        let mut scratch = [0; 16 * 1024];
        match self.wire.read(&mut scratch) {
            Ok(count) => {
                self.buffer.extend_from_slice(&scratch[..count]);
                false
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    fn understood(&mut self, bytes: Vec<u8>) -> Result<Heard, Stop> {
        let heard = Heard::read(&bytes, self.version);
        self.came = bytes;
        if let Ok(Heard::Connack(connack)) = &heard {
            self.connack = Some(connack.clone());
        }
        heard.or_else(|violation| {
            self.fail("a well-formed packet", format!("one that is not: {violation}"))
        })
    }

    fn event(&mut self, time: Duration) -> Result<Event, Stop> {
        self.event_until(Instant::now() + time)
    }

    fn event_until(&mut self, end: Instant) -> Result<Event, Stop> {
        self.came.clear();
        if let Some(stop) = self.unsaid.take() {
            return Err(stop);
        }
        loop {
            match codec::next_frame(&self.buffer, u32::MAX) {
                Ok(Some(frame)) => {
                    let length = frame.bytes.len();
                    return Ok(Event::Packet(self.buffer.drain(..length).collect()));
                }
                Ok(None) => {}
                Err(violation) => {
                    self.came = std::mem::take(&mut self.buffer);
                    return self.fail("a packet", format!("no packet: {violation}"));
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Event::Silence);
            }
            self.wire.set_patience(left);
            let mut scratch = [0; 16 * 1024];
            match self.wire.read(&mut scratch) {
                Ok(0) => return Ok(Event::Closed),
                Ok(count) => self.buffer.extend_from_slice(&scratch[..count]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => return Ok(Event::Closed),
                },
            }
        }
    }
}
