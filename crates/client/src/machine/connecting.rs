//! From no connection to an accepted one and back: attempts, CONNACK, loss, the end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use noctule_mqtt::{Packet, PacketType, ProtocolVersion, ReasonCode, Violation, codec, packet};

use super::adopting::Adopted;
use super::introduction::{Who, connect_packet};
use super::requests::Kind;
use super::{Action, Link, Machine, Phase, milliseconds};
use crate::connected::Connected;
use crate::error::Error;
use crate::event::Event;
use crate::options::Session;
use crate::reason::{Reason, Refusal};

impl Machine {
    /// Begins with the first attempt.
    pub(crate) fn start(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        if self.phase == Phase::Idle {
            self.open();
        }
    }

    pub(super) fn open(&mut self) {
        let until_ms = self.now_ms + milliseconds(self.options.connect_timeout);
        self.phase = Phase::Opening { until_ms };
        self.actions.push_back(Action::Open);
    }

    /// The connection is open, and the peer has shown these certificates: CONNECT goes first
    /// `[MQTT3-3.1.0-1]` `[MQTT5-3.1.0-1]`.
    pub(crate) fn opened(&mut self, now_ms: u64, certificates: Vec<Bytes>) {
        self.now_ms = now_ms;
        let Phase::Opening { until_ms } = self.phase else { return };
        self.link = Link { certificates, sent_ms: now_ms, received_ms: now_ms, ..Link::default() };
        let clean_start = self.clean_start();
        let first = match self.begin_proving() {
            Ok(first) => first,
            Err(reason) => return self.lose(reason),
        };
        let who = Who { client_id: &self.client_id, clean_start, first: first.as_deref() };
        match connect_packet(&self.options, &who, self.output.buffer()) {
            Ok(()) => self.phase = Phase::AwaitConnack { until_ms },
            Err(error) => self.lose(Reason::Network(format!("CONNECT cannot be sent: {error}"))),
        }
    }

    /// The attempt failed, or the connection broke.
    pub(crate) fn lost(&mut self, now_ms: u64, reason: Reason) {
        self.now_ms = now_ms;
        match self.phase {
            Phase::Opening { .. } | Phase::AwaitConnack { .. } | Phase::Connected => {
                self.lose(reason);
            }
            Phase::Closing => self.closed(now_ms, false),
            Phase::Idle | Phase::Waiting { .. } | Phase::Ended(_) => {}
        }
    }

    /// Whether the broker shall forget what it knows: what we know ourselves decides
    /// `[MQTT3-3.1.2-4]` `[MQTT3-3.1.2-6]`.
    fn clean_start(&self) -> bool {
        match self.options.session {
            Session::Connection => true,
            Session::Client(_) | Session::Fresh(_) if self.version() < ProtocolVersion::V5 => true,
            Session::Client(_) | Session::Fresh(_) => !self.has_session,
            Session::Persistent(_) => false,
        }
    }

    /// CONNACK came.
    pub(super) fn on_connack(&mut self, connack: &packet::Connack<'_>) {
        if connack.reason.is_error() {
            let text = |text: Option<&str>| text.map(str::to_owned);
            return self.refused(
                connack.reason,
                text(connack.properties.reason_string()),
                text(connack.properties.server_reference()),
            );
        }
        if let Err(reason) = self.is_proved_by(connack) {
            return self.lose(reason);
        }
        if connack.session_present && self.clean_start() {
            return self.refuse_session();
        }
        let options = &self.options;
        let mut granted =
            Connected::new(connack, options.version, &self.client_id, options.keep_alive_seconds);
        granted.peer_certificates = std::mem::take(&mut self.link.certificates);
        let granted = Arc::new(granted);
        self.phase = Phase::Connected;
        self.failed = 0;
        let knew_session = std::mem::replace(&mut self.has_session, true);
        self.client_id.clone_from(&granted.client_id);
        self.link.connected_ms = self.now_ms;
        self.link.granted = Some(Arc::clone(&granted));
        match (granted.session_present, knew_session) {
            (true, true) => self.resume_session(),
            (true, false) => self.adopted = Adopted::unknown(),
            (false, _) => self.begin_session(),
        }
        self.tell(Event::Connected(granted));
        self.send_requests();
        self.pump();
        self.finish_leaving();
    }

    /// A session goes on that we did not want: its messages and packet identifiers could be mistaken for
    /// ours, so the broker is left `[MQTT5-3.2.2-4]`; before MQTT 5 that is a client's choice (MQTT
    /// 3.1.1 section 3.2.2.2). [`Session::Persistent`] wants whatever session there is, and begins
    /// with what is known of it: nothing (see `adopting`).
    fn refuse_session(&mut self) {
        let last_words = self.words_of_leaving(ReasonCode::ProtocolError);
        self.lose_saying(Reason::SessionUnexpected, &last_words);
    }

    /// The broker goes on where we are.
    fn resume_session(&mut self) {
        for packet_id in self.adopted.freeing().collect::<Vec<_>>() {
            self.send(&Packet::Pubrel(packet::Ack::new(packet_id, ReasonCode::Success)));
        }
        self.outbound.resume();
    }

    /// The broker knows nothing of us: what was received is forgotten `[MQTT5-3.2.2-5]`, and everything
    /// that it ought to know is told again.
    fn begin_session(&mut self) {
        self.inbound = noctule_session::Inbound::default();
        self.adopted = Adopted::default();
        for done in self.outbound.start_anew() {
            // It had said PUBREC: the message is its own since.
            self.answer(done.token, Ok(ReasonCode::Success));
        }
        let lost: Vec<_> = self.subscriptions.granted().map(str::to_owned).collect();
        for filter in lost {
            if !self.requests.asks_for(&filter) {
                self.requests.push_restoring(filter);
            }
        }
    }

    pub(super) fn refused(
        &mut self,
        code: ReasonCode,
        words: Option<String>,
        server_reference: Option<String>,
    ) {
        let version = self.version();
        self.lose(Reason::Refused(Refusal { version, code, words, server_reference }));
    }

    pub(super) fn no_answer(&mut self, expected: &'static str, waited: Duration) {
        self.lose(Reason::NoAnswer { expected, waited });
    }

    /// The peer broke a rule: it is told, where MQTT has words for it, and left `[MQTT3-4.8.0-1]`.
    pub(super) fn violated(&mut self, violation: Violation) {
        let code = match violation.reason_code() {
            code if code.allowed_in(PacketType::Disconnect) => code,
            _ => ReasonCode::ProtocolError,
        };
        let is_connected = self.phase == Phase::Connected;
        let last_words = if is_connected { self.words_of_leaving(code) } else { Vec::new() };
        self.lose_saying(Reason::Violation(violation), &last_words);
    }

    /// DISCONNECT with a reason, where MQTT has reasons: the connection is closed behind it
    /// `[MQTT5-4.13.2-1]`.
    fn words_of_leaving(&self, code: ReasonCode) -> Vec<u8> {
        let mut words = Vec::new();
        if self.version().has_reason_codes() {
            let disconnect = Packet::Disconnect(packet::Disconnect::new(code));
            // A DISCONNECT with nothing but a reason can be written.
            let _ = codec::encode(&disconnect, self.version(), &mut words);
        }
        words
    }

    pub(super) fn lose(&mut self, reason: Reason) {
        self.lose_saying(reason, &[]);
    }

    /// There is no connection any more; what follows depends on why. The session stays, whatever
    /// CONNACK will say about the broker's `[MQTT3-4.1.0-1]` `[MQTT5-3.1.2-23]` `[MQTT5-4.1.0-1]`.
    fn lose_saying(&mut self, reason: Reason, disconnect: &[u8]) {
        let was_connected = self.phase == Phase::Connected;
        let lasted_ms = self.now_ms.saturating_sub(self.link.connected_ms);
        let last_words = self.leave_link(disconnect);
        self.actions.push_back(Action::Close { last_words });
        let reason = Arc::new(reason);
        if was_connected {
            self.count_short_lived(lasted_ms);
            self.tell(Event::Disconnected(Arc::clone(&reason)));
        } else {
            self.failed = self.failed.saturating_add(1);
        }
        if self.leave_ms.is_some() {
            return self.end(Arc::new(Reason::Asked));
        }
        if !reason.may_heal() && !self.options.reconnect.even_if_refused {
            return self.end(reason);
        }
        let attempts = self.failed;
        match self.options.reconnect.attempts_max {
            Some(max) if attempts >= max && attempts > 1 => {
                let last = Box::new(Reason::clone(&reason));
                self.end(Arc::new(Reason::GaveUp { attempts, last }));
            }
            Some(max) if attempts >= max => self.end(reason),
            _ => self.wait_for_next_attempt(reason),
        }
    }

    /// Forgets the connection; returns what was still to be written if there is something to say
    /// after it.
    pub(super) fn leave_link(&mut self, disconnect: &[u8]) -> Vec<u8> {
        let link = std::mem::take(&mut self.link);
        self.answer(link.proving_for, Err(Error::ConnectionLost));
        self.requests.forget_sent();
        let (mut unsent, lost) = self.output.reset();
        for token in lost {
            self.answer(Some(token), Err(Error::ConnectionLost));
        }
        if disconnect.is_empty() {
            return Vec::new();
        }
        unsent.extend_from_slice(disconnect);
        unsent
    }

    fn count_short_lived(&mut self, lasted_ms: u64) {
        let is_short = lasted_ms < milliseconds(self.options.reconnect.stable_after);
        self.short_lived = if is_short { self.short_lived.saturating_add(1) } else { 0 };
    }

    fn wait_for_next_attempt(&mut self, reason: Arc<Reason>) {
        let attempt = self.failed.saturating_add(1);
        let penalty = self.short_lived.saturating_sub(SHORT_LIVED_FORGIVEN);
        let chance = self.chance.f64();
        let step = attempt.saturating_add(penalty);
        let delay_ms = self.options.reconnect.delay_ms(step, chance);
        self.phase = Phase::Waiting { until_ms: self.now_ms + delay_ms };
        if !self.options.queue_at_most_once {
            self.drop_at_most_once();
        }
        let delay = Duration::from_millis(delay_ms);
        self.tell(Event::Reconnecting { attempt, delay, reason });
    }

    /// Nothing follows; whoever waits is told why.
    pub(super) fn end(&mut self, reason: Arc<Reason>) {
        self.phase = Phase::Ended(Arc::clone(&reason));
        let mut waiting: Vec<_> = self.outbound.iter().map(|sent| sent.message.token).collect();
        while let Some(sent) = self.backlog.pop() {
            waiting.push(sent.token);
        }
        waiting.extend(self.requests.take_all().map(|request| request.token));
        for token in waiting {
            self.answer(token, Err(Error::Ended(Arc::clone(&reason))));
        }
        self.tell(Event::Ended(Arc::clone(&reason)));
        self.actions.push_back(Action::End(reason));
    }

    /// Sends what has been asked for, as far as identifiers reach, and however many messages are in
    /// flight `[MQTT5-3.3.4-8]` `[MQTT5-4.9.0-3]`, but not before CONNACK `[MQTT5-3.1.2-30]`.
    pub(super) fn send_requests(&mut self) {
        while self.phase == Phase::Connected && self.outbound.has_room(u16::MAX) {
            let Some(request) = self.requests.first_unsent() else { break };
            let (kind, filter) = (request.kind, request.filter.clone());
            let packet_id = self.free_packet_id();
            let encoded = match kind {
                Kind::Subscribe => self.encode_subscribe(packet_id, &filter),
                Kind::Unsubscribe => self.encode_unsubscribe(packet_id, &filter),
            };
            match encoded {
                Ok(()) => {
                    self.requests.mark_sent(packet_id);
                    self.link.sent_ms = self.now_ms;
                }
                Err(error) => {
                    let request = self.requests.take_unsent();
                    self.forget_refused(&filter);
                    self.answer(request.and_then(|request| request.token), Err(error));
                }
            }
        }
        self.note_waiting(false);
    }

    /// An identifier that no message in flight and no request has `[MQTT3-2.3.1-2]` `[MQTT5-2.2.1-3]`.
    fn free_packet_id(&mut self) -> noctule_mqtt::PacketId {
        loop {
            let packet_id = self.outbound.pass_over();
            if !self.requests.uses(packet_id) && !self.adopted.is_freeing(packet_id) {
                return packet_id;
            }
        }
    }
}

/// So many connections in a row may be lost soon before waits get longer.
const SHORT_LIVED_FORGIVEN: u32 = 2;
