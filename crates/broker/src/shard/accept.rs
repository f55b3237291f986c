//! From CONNECT to CONNACK: reading what a client wants, having it decided upon, finding its
//! session, and attaching the connection to it.
//!
//! The invariant: nothing is put into a connection's output before its CONNACK. A session learns of
//! its connection only in [`Shard::attach`], in the same step that writes it.

use super::authenticate::first_step;
use super::connack::{Granted, connack_bytes};
use super::input::not_connect;
use super::mounted::with_will;
use super::{Action, BRAKE_MS, Credentials, Report, Shard, Timer, Verdict};
use crate::connection::{
    Accepting, Authentication, Cause, ConnectionHandle, Dialect, Output, Phase,
};
use crate::delivery::{Continuation, explanation};
use crate::faults::{Fault, fault};
use crate::holds::Hold;
use crate::mail::Departure;
use crate::memory::{Pressure, session_bytes};
use crate::message::Attribution;
use crate::message::Message;
use crate::persist::SessionKey;
use crate::principal::Principal;
use crate::rights::{Denial, Standing, Subject, Wish};
use crate::session::{Expiry, Session, SessionHandle, Will};
use noctule_mqtt::codec::{self, Frame};
use noctule_mqtt::packet::{self, Connack, Connect, announced_version};
use noctule_mqtt::{
    Packet, PacketType, Properties, ProtocolVersion, ReasonCode, Receiver, Violation,
};
use noctule_session::{AliasesOut, KeepAlive, Now};
use rand_chacha::rand_core::Rng;
use std::sync::atomic::Ordering;

impl Shard {
    pub(super) fn on_first_frame(&mut self, handle: ConnectionHandle, frame: &Frame<'_>, now: Now) {
        self.delivery.packets.came(frame.type_bits());
        if frame.type_bits() != PacketType::Connect as u8 {
            let violation = not_connect(frame.type_bits());
            return self.violate_with(handle, violation, frame.bytes, now);
        }
        if let (Some(version), Some(connection)) =
            (announced_version(frame.body()), self.delivery.connections.get_mut(handle))
        {
            connection.version = version;
            connection.announced = true;
            let id = connection.entrance;
            if self.entrance(id).is_some_and(|rules| !rules.versions.has(version)) {
                return self.refuse(handle, ReasonCode::UnsupportedProtocolVersion, now);
            }
        }
        match codec::decode(frame, ProtocolVersion::V311, Receiver::Server) {
            Ok(Packet::Connect(connect)) => self.on_connect(handle, &connect, now),
            Ok(other) => {
                let packet = other.packet_type();
                let violation = Violation::FirstPacketUnexpected { packet };
                self.violate_with(handle, violation, frame.bytes, now);
            }
            Err(violation) => self.violate_with(handle, violation, frame.bytes, now),
        }
    }

    fn on_connect(&mut self, handle: ConnectionHandle, connect: &Connect<'_>, now: Now) {
        // What is said from here on is said on its terms.
        if let Some(connection) = self.delivery.connections.get_mut(handle) {
            let properties = connect.properties;
            connection.packet_bytes_max = properties.maximum_packet_size().unwrap_or(u32::MAX);
            connection.problem_information = properties.request_problem_information() != Some(0);
        }
        let topic = self.mounted_will(handle, connect);
        let mounted = topic.as_deref().map_or(Ok(*connect), |topic| with_will(connect, topic));
        let connect = match mounted {
            Ok(mounted) => &{ mounted },
            Err(reason) => return self.refuse(handle, reason, now),
        };
        if let Err(reason) = self.check_connect(handle, connect) {
            return self.refuse(handle, reason, now);
        }
        let assigned = connect.client_id.is_empty();
        let client_id: Box<str> =
            if assigned { self.new_client_id(handle) } else { connect.client_id.into() };
        let limits = &self.delivery.limits;
        let asked = session_expiry_asked(connect);
        let expiry = Expiry::granted(asked, limits.session_expiry_max);
        let keep_alive = match connect.version {
            ProtocolVersion::V5 => self.offer.keep_alive(connect.keep_alive),
            // They cannot be told.
            ProtocolVersion::V31 | ProtocolVersion::V311 => connect.keep_alive,
        };
        let granted = Granted {
            expiry: (expiry != Expiry::granted(asked, None)).then_some(expiry),
            client_id: assigned.then_some(&*client_id),
            keep_alive: (keep_alive != connect.keep_alive).then_some(keep_alive),
            response_information: connect.properties.request_response_information() == Some(1),
            room: connect.properties.maximum_packet_size().unwrap_or(u32::MAX),
            hello: self.greeting_rule(handle),
        };
        let accepting = Accepting {
            client_id: client_id.clone(),
            properties: self.connack_properties(connect.version, &granted),
            clean_start: connect.clean_start,
            expiry,
            will: connect.will.as_ref().map(|will| {
                let delay = will.properties.will_delay_interval().unwrap_or(0);
                (Message::of_will(will, &self.delivery.pool), delay)
            }),
            session_present: false,
        };
        let properties = connect.properties;
        let receive_maximum = properties.receive_maximum().unwrap_or(u16::MAX);
        // [MQTT5-4.9.0-1]
        let window = receive_maximum.min(limits.inflight_out_max);
        let dialect = if connect.version.has_properties() {
            Dialect::WithProperties
        } else {
            Dialect::WithoutProperties
        };
        let connack_bytes = connack_bytes(&accepting.properties, connect.version);
        let Some(connection) = self.delivery.connections.get_mut(handle) else {
            return;
        };
        connection.keep_alive = KeepAlive::new(keep_alive);
        connection.window = window;
        connection.dialect = dialect;
        // [MQTT5-3.1.2-27]: who says nothing takes none.
        let aliases = properties.topic_alias_maximum().unwrap_or(0);
        let aliases = aliases.min(limits.topic_aliases_out_max);
        if connect.version.has_properties() && aliases > 0 {
            connection.dialect = Dialect::OfItsOwn;
            connection.add_rare().aliases_out = Some(AliasesOut::new(aliases));
        }
        if connection.mounted {
            connection.dialect = Dialect::OfItsOwn;
        }
        if connack_bytes > connection.packet_bytes_max as usize {
            // [MQTT5-3.1.2-24]: it does not take the one packet that comes first.
            let limit = connection.packet_bytes_max;
            return self.close(handle, Cause::AnswerTooLarge { bytes: connack_bytes, limit }, now);
        }
        connection.phase = Phase::AwaitVerdict(Box::new(accepting));
        connection.principal = Principal::claiming(connect.user_name).into();
        let credentials = Credentials {
            client_id,
            user_name: connect.user_name.map(Into::into),
            password: connect.password.map(Into::into),
            enhanced: first_step(connect),
        };
        if let Some(step) = &credentials.enhanced {
            connection.add_rare().authentication = Some(Authentication::first(step));
        }
        self.actions.push_back(Action::Authenticate { connection: handle, credentials });
    }

    /// What can be refused without asking anybody.
    fn check_connect(
        &self,
        handle: ConnectionHandle,
        connect: &Connect<'_>,
    ) -> Result<(), ReasonCode> {
        let Some(connection) = self.delivery.connections.get(handle) else {
            return Err(ReasonCode::UnspecifiedError);
        };
        if let Some(reason) = connection.turned_away {
            return Err(reason);
        }
        let user_properties = [connect.properties]
            .into_iter()
            .chain(connect.will.as_ref().map(|will| will.properties));
        for properties in user_properties {
            self.check_user_properties(properties).map_err(|_| ReasonCode::QuotaExceeded)?;
        }
        // Any name is taken, and so those of 1 to 23 letters and digits [MQTT3-3.1.3-5]
        // [MQTT5-3.1.3-5]. [MQTT3-3.1.3-8] [MQTT3-3.1.3-9]: without a name there is no session to
        // come back to. MQTT 3.1 wants a name in any case (section 3.1, "Client Identifier").
        let nameless = connect.client_id.is_empty();
        let may_be_nameless = match connect.version {
            ProtocolVersion::V31 => false,
            ProtocolVersion::V311 => connect.clean_start,
            ProtocolVersion::V5 => true,
        };
        // They cannot be told a shorter one.
        if self.offer.keep_alive_strict
            && connect.version != ProtocolVersion::V5
            && self.offer.keep_alive(connect.keep_alive) != connect.keep_alive
        {
            return Err(ReasonCode::ClientIdentifierNotValid);
        }
        let rules = self.rules_for(handle);
        let has_to_have_one = rules.is_some_and(|rules| rules.requires_client_id);
        if nameless && (!may_be_nameless || has_to_have_one) {
            return Err(ReasonCode::ClientIdentifierNotValid);
        }
        if let Some(rules) = rules
            && !nameless
            && !connect.client_id.starts_with(&*rules.client_id_prefix)
        {
            return Err(ReasonCode::NotAuthorized);
        }
        if let Some(method) = connect.properties.authentication_method()
            && !self.offer.authentication_methods.iter().any(|known| **known == *method)
        {
            return Err(ReasonCode::BadAuthenticationMethod);
        }
        if let Some(will) = &connect.will {
            self.check_will(will)?;
        }
        let limits = &self.delivery.limits;
        let will_fits = connect.will.as_ref().is_none_or(|will| {
            will.topic.as_str().len() <= limits.topic_bytes_max
                && will.topic.level_count() <= limits.topic_separators_max + 1
                && !will.topic.as_str().starts_with("$SYS/")
        });
        if will_fits { Ok(()) } else { Err(ReasonCode::TopicNameInvalid) }
    }

    /// Whether a will is one that is offered to be published.
    fn check_will(&self, will: &packet::Will<'_>) -> Result<(), ReasonCode> {
        let claims_text = will.properties.payload_format_indicator() == Some(1);
        if will.qos > self.offer.qos_max {
            return Err(ReasonCode::QosNotSupported); // [MQTT5-3.2.2-12]
        }
        if will.retain && !self.offer.retain {
            return Err(ReasonCode::RetainNotSupported); // [MQTT5-3.2.2-13]
        }
        if self.offer.payload_format_checked
            && claims_text
            && std::str::from_utf8(will.payload).is_err()
        {
            return Err(ReasonCode::PayloadFormatInvalid);
        }
        Ok(())
    }

    /// A client identifier that nobody can guess `[MQTT3-3.1.3-6]` `[MQTT5-3.1.3-6]`.
    fn new_client_id(&mut self, handle: ConnectionHandle) -> Box<str> {
        let rules = self.rules_for(handle);
        let prefix = rules.map(|rules| rules.assigned_prefix.clone()).unwrap_or_default().0;
        loop {
            let (high, low) = (self.random.next_u64(), self.random.next_u64());
            let client_id: Box<str> = format!("{prefix}{high:016x}{low:016x}").into();
            // One that lives here spares the way; of n shards every nth does.
            if self.placement.home(&client_id, self.commons.shards()) == self.id {
                return client_id;
            }
        }
    }

    /// The answer to [`Action::Authenticate`].
    pub(super) fn on_verdict(&mut self, handle: ConnectionHandle, verdict: Verdict, now: Now) {
        let Some(connection) = self.delivery.connections.get_mut(handle) else {
            return;
        };
        if matches!(connection.phase, Phase::Attached) {
            return self.on_verdict_again(handle, verdict, now);
        }
        if !matches!(connection.phase, Phase::AwaitVerdict(_)) {
            return;
        }
        match verdict {
            Verdict::Refused(reason) => return self.refuse(handle, reason, now),
            Verdict::Accepted => connection.principal.verify(),
            Verdict::AcceptedUnasked => {}
            Verdict::AcceptedAs(principal) => connection.principal = principal.into(),
        }
        self.bring_home(handle, now);
    }

    /// An accepted connection comes to the shard of its session: a session lives on one shard for
    /// life.
    fn bring_home(&mut self, handle: ConnectionHandle, now: Now) {
        let home = self.delivery.connections.get(handle).and_then(|connection| {
            let Phase::AwaitVerdict(accepting) = &connection.phase else { return None };
            Some(self.placement.home(&accepting.client_id, self.commons.shards()))
        });
        match home {
            Some(home) if home != self.id => {
                if let Some(mut connection) = self.delivery.connections.remove(handle) {
                    self.delivery.forget_weight(&mut connection);
                    let departure = Departure(Box::new(connection));
                    let action = Action::HandOver { connection: handle, to: home, departure };
                    self.actions.push_back(action);
                }
            }
            _ => self.claim(handle, now),
        }
    }

    /// A connection that was to be handed over is lost on the way.
    pub fn give_up(&mut self, departure: Departure) {
        drop(departure);
        self.commons.connections().fetch_sub(1, Ordering::Relaxed);
    }

    /// A connection has come from the shard that accepted it. What it brought with it, sent behind
    /// its CONNECT, is dealt with at once when its CONNACK is written.
    pub fn arrive(&mut self, departure: Departure, now: Now) -> ConnectionHandle {
        self.delivery.now = now;
        let mut connection = *departure.0;
        connection.output = Output::Clean;
        if fault(Fault::RestForgotten) {
            connection.take_held();
        }
        connection.last_route = None;
        connection.permits = None;
        connection.last_heard_ms = now.mono_ms;
        let braked = connection.holds.has(Hold::Memory);
        let handle = self.delivery.connections.insert(connection);
        self.delivery.weigh(handle);
        let deadline = now.mono_ms + self.delivery.limits.connect_timeout_ms;
        self.timers.insert(deadline, Timer::Connect(handle));
        // The timer that would release the brake names a connection of the other shard.
        if braked {
            self.timers.insert(now.mono_ms + BRAKE_MS, Timer::Memory(handle));
        }
        self.claim(handle, now);
        handle
    }

    /// Refuses a client that wants the session of somebody else, which is left as it is
    /// `[MQTT3-3.1.3-9]` `[MQTT5-3.1.3-8]`.
    fn refuse_foreign(&mut self, handle: ConnectionHandle, now: Now) {
        let reason = ReasonCode::ClientIdentifierNotValid;
        self.delivery.refused.foreign_session += 1;
        self.delivery.count_refused_connect(handle);
        self.send_refusal(handle, reason, "the client identifier belongs to another user");
        self.close(handle, Cause::Refused(reason), now);
    }

    /// Whether the session of its client identifier belongs to somebody else. One that belongs to
    /// nobody, as it was begun without a user name or with one that was not verified, is for whoever
    /// comes; and who only claims a name has nothing of his who has proved it.
    fn wants_a_foreign_session(&self, handle: ConnectionHandle) -> bool {
        let Some(connection) = self.delivery.connections.get(handle) else {
            return false;
        };
        let Phase::AwaitVerdict(accepting) = &connection.phase else {
            return false;
        };
        let sessions = &self.delivery.sessions;
        let session = self.clients.find(&accepting.client_id, sessions);
        let owner = session
            .and_then(|session| sessions.get(session))
            .and_then(|session| session.principal.owner());
        owner.is_some() && owner != connection.principal.owner()
    }

    /// Who is refused hears why, and is closed `[MQTT3-3.1.3-9]` `[MQTT3-3.2.2-5]` `[MQTT5-3.1.3-8]`
    /// `[MQTT5-3.1.4-2]` `[MQTT5-3.2.2-7]` `[MQTT5-4.12.0-4]`.
    pub(super) fn refuse(&mut self, handle: ConnectionHandle, reason: ReasonCode, now: Now) {
        self.delivery.count_refusal(handle, reason);
        self.send_refusal(handle, reason, explanation(reason));
        self.close(handle, Cause::Refused(reason), now);
    }

    /// Gives the session of its client identifier to an accepted connection: a stored one, taken
    /// over from its present connection if there is one, or a new one.
    pub(super) fn claim(&mut self, handle: ConnectionHandle, now: Now) {
        if let Some(connection) = self.delivery.connections.get(handle) {
            self.delivery.journal.enter(connection.stage);
        }
        self.claim_session(handle, now, false);
        self.delivery.journal.leave();
    }

    /// As [`claim`](Self::claim), of one that has waited for its turn.
    pub(super) fn claim_in_turn(&mut self, handle: ConnectionHandle, now: Now) {
        if let Some(connection) = self.delivery.connections.get(handle) {
            self.delivery.journal.enter(connection.stage);
        }
        self.claim_session(handle, now, true);
        self.delivery.journal.leave();
    }

    fn claim_session(&mut self, handle: ConnectionHandle, now: Now, in_turn: bool) {
        if self.offer.sessions_belong_to_users && self.wants_a_foreign_session(handle) {
            return self.refuse_foreign(handle, now);
        }
        let Some(connection) = self.delivery.connections.get_mut(handle) else {
            return;
        };
        if self.delivery.pressure >= Pressure::NewWork
            && let Phase::AwaitVerdict(accepting) = &connection.phase
            && self.clients.find(&accepting.client_id, &self.delivery.sessions).is_none()
        {
            self.delivery.dropped.memory_sessions += 1;
            return self.refuse(handle, ReasonCode::QuotaExceeded, now);
        }
        let authority = &self.delivery.authority;
        let standing = authority.standing(connection.entrance, &connection.principal);
        if self.delivery.authority.in_force && !self.may_have_its_will(handle, &standing) {
            return self.refuse(handle, ReasonCode::NotAuthorized, now);
        }
        if !in_turn && self.waits_for_its_turn(handle, now) {
            return;
        }
        let Some(connection) = self.delivery.connections.get_mut(handle) else {
            return;
        };
        let Phase::AwaitVerdict(mut accepting) =
            std::mem::replace(&mut connection.phase, Phase::Closing)
        else {
            return;
        };
        let session = self.session_for(&accepting, now);
        // [MQTT3-3.2.2-1] [MQTT3-3.2.2-2] [MQTT3-3.2.2-3] [MQTT5-3.2.2-2] [MQTT5-3.2.2-3]
        accepting.session_present = session.is_some();
        // [MQTT5-3.1.2-6]
        let session = session.unwrap_or_else(|| self.new_session(&accepting.client_id));
        let (Some(connection), Some(found)) =
            (self.delivery.connections.get_mut(handle), self.delivery.sessions.get_mut(session))
        else {
            return;
        };
        found.rare_mut().claimant = Some(handle);
        let before = found.owner_bytes();
        let is_same_user = found.principal.is_same_user(&connection.principal);
        found.principal = connection.principal.clone();
        let sessions = &mut self.delivery.memory.sessions;
        *sessions = (*sessions + found.owner_bytes()).saturating_sub(before);
        found.is_there_again();
        let was_persistent = found.is_persistent();
        found.set_expiry(accepting.expiry);
        let renew = was_persistent != found.is_persistent();
        // [MQTT5-3.1.3-9]: a will that was waiting is not published, its client is back.
        let waiting = found.will.take().filter(|_| fault(Fault::WillNotCancelled));
        let waiting = waiting.map(|will| (found.client_id.clone(), will));
        // It is kept with the session [MQTT5-3.1.2-7]; without one there is none to be published, of
        // an earlier connection neither [MQTT3-3.1.2-12].
        let will = accepting.will.take().map(|(message, delay)| {
            // Of whom authentication has found out, which was not known when it came.
            let published_by = Some(found.principal.author(&found.client_id, &standing));
            let attribution = Attribution { published_by, received_ms: 0 };
            let message = self.delivery.pool.attributed(&message.view(), &attribution);
            Box::new(Will { message, delay, due_ms: None, standing: standing.clone() })
        });
        found.will = will;
        connection.session = Some(session);
        connection.phase = Phase::AwaitStore(accepting);
        self.set_standing(session, standing, is_same_user);
        if renew {
            self.renew_subscriptions(session);
        }
        if let Some((client_id, will)) = waiting {
            self.publish_will(&client_id, &will);
        }
        let Some(found) = self.delivery.sessions.get_mut(session) else {
            return;
        };
        if !found.is_persistent() {
            if found.stored {
                // After a crash it must not last as long as it was to before.
                self.delivery.journal.push(found.record());
            }
            return self.attach(handle, now);
        }
        if fault(Fault::ConnackBeforeTicket) {
            return self.attach(handle, now);
        }
        found.stored = true;
        let ticket = self.delivery.journal.push(found.record());
        let next = Continuation::Attach { connection: handle };
        let stage = self.delivery.journal.stage();
        self.delivery.wait_for(ticket, stage, next);
    }

    /// Whether a client may publish its will, now that it is known who it is. One that may not is to be
    /// refused, or has no will.
    fn may_have_its_will(&mut self, handle: ConnectionHandle, standing: &Standing) -> bool {
        let delivery = &mut self.delivery;
        let Some(connection) = delivery.connections.get_mut(handle) else {
            return true;
        };
        let Phase::AwaitVerdict(accepting) = &mut connection.phase else {
            return true;
        };
        let Some((message, _)) = &accepting.will else {
            return true;
        };
        let by = connection.principal.author(&accepting.client_id, standing);
        let (author, wish) = (Subject::author(by, standing), Wish::Publish(message.view().topic));
        let ruling = delivery.authority.rule(author, wish);
        if delivery.authority.heed(ruling, Denial::Will, author, wish) {
            return true;
        }
        accepting.will = None;
        !delivery.authority.refuses_denied_wills()
    }

    /// The stored session a client goes on with, free of any earlier connection; none if there is
    /// none or the client starts clean `[MQTT3-3.1.2-4]` `[MQTT3-3.1.2-6]` `[MQTT3-3.1.4-3]`
    /// `[MQTT5-3.1.2-4]` `[MQTT5-3.1.2-5]` `[MQTT5-3.1.4-4]`. It is found by its client identifier
    /// and by nothing else `[MQTT3-3.1.3-2]` `[MQTT5-3.1.3-2]`.
    fn session_for(&mut self, accepting: &Accepting, now: Now) -> Option<SessionHandle> {
        let found = self.clients.find(&accepting.client_id, &self.delivery.sessions)?;
        if let Some(holder) = self.delivery.sessions.get(found)?.holder()
            && !fault(Fault::TakeoverKeepsOld)
        {
            // [MQTT3-3.1.4-2] [MQTT5-3.1.4-3]
            self.close(holder, Cause::TakenOver, now);
        }
        // Closing has ended the session if it was not to outlive its connection.
        let found = self.clients.find(&accepting.client_id, &self.delivery.sessions)?;
        // The timer that ends one whose time is over may not have come yet, as of one that was given
        // back and was not to outlive its connection [MQTT5-4.1.0-2].
        let expired = self.delivery.sessions.get(found)?.has_expired(now);
        self.delivery.counters.sessions_expired += u64::from(expired);
        if accepting.clean_start || expired {
            self.end_session(found);
            return None;
        }
        Some(found)
    }

    fn new_session(&mut self, client_id: &str) -> SessionHandle {
        let key = SessionKey(self.next_key);
        self.next_key += u64::from(self.commons.shards());
        self.adopt(Session::new(client_id, key))
    }

    /// Takes a session in.
    pub(crate) fn adopt(&mut self, session: Session) -> SessionHandle {
        self.delivery.memory.sessions += session_bytes(&session.client_id) + session.owner_bytes();
        self.delivery.memory.spilled += self.delivery.spilled_weight(session.queue.spilled_bytes());
        let handle = self.delivery.sessions.insert(session);
        self.clients.insert(handle, &self.delivery.sessions);
        handle
    }

    /// Writes CONNACK `[MQTT3-3.1.4-4]` `[MQTT5-3.1.4-5]`, once `[MQTT5-3.2.0-2]`, and only then lets
    /// the session see its connection `[MQTT3-3.2.0-1]` `[MQTT5-3.2.0-1]`: from now on messages flow.
    pub(super) fn attach(&mut self, handle: ConnectionHandle, now: Now) {
        let Some(connection) = self.delivery.connections.get_mut(handle) else {
            return;
        };
        let Phase::AwaitStore(accepting) = &connection.phase else {
            return;
        };
        let connack_properties = connection.connack_properties(&accepting.properties);
        let bytes = connack_bytes(&connack_properties, connection.version);
        let limit = connection.packet_bytes_max;
        if bytes > limit as usize {
            return self.close(handle, Cause::AnswerTooLarge { bytes, limit }, now);
        }
        let Phase::AwaitStore(accepting) =
            std::mem::replace(&mut connection.phase, Phase::Attached)
        else {
            return;
        };
        let (version, keep_alive) = (connection.version, connection.keep_alive);
        let heard = connection.held() > 0;
        let Some(session_handle) = connection.session else {
            return;
        };
        let connack = Connack {
            session_present: accepting.session_present,
            reason: ReasonCode::Success,
            properties: Properties::from_checked(&connack_properties),
        };
        if let Some(connection) = self.delivery.connections.get_mut(handle)
            && let Some(authentication) = connection.authentication()
        {
            (authentication.asked, authentication.proof) = (false, None);
        }
        self.delivery.counters.connects_accepted += 1;
        self.delivery.send(handle, &Packet::Connack(connack));
        if let Some(session) = self.delivery.sessions.get_mut(session_handle) {
            session.forget_claimant();
            session.connection = Some(handle);
            session.shed_rare();
            self.delivery.connected += 1;
            if !fault(Fault::CursorNotRewound) {
                session.outbound.resume();
            }
            // Of what is subscribed to, no SUBACK comes any more.
            session.replays.open_all();
        }
        if let Some(patience) = keep_alive.patience_ms() {
            // The timer by which its CONNECT had to come does for both, unless it comes too late.
            if patience < self.connect_timeout_most_ms {
                if let Some(connection) = self.delivery.connections.get_mut(handle) {
                    connection.keep_alive_timed = true;
                }
                self.set_timer(now.mono_ms + patience, Timer::KeepAlive(handle), now);
            }
        }
        self.prepare_greeting(handle, heard, now);
        self.actions.push_back(Action::Report(Report::Connected {
            connection: handle,
            client_id: accepting.client_id,
            version,
            session_present: accepting.session_present,
            keep_alive: keep_alive.seconds(),
        }));
        self.delivery.pump(session_handle);
        self.revive_replays(session_handle);
        self.release_input(handle, now);
    }
}

/// The session expiry interval a CONNECT asks for, in seconds. Before MQTT 5, Clean Session means
/// none and its absence for ever.
fn session_expiry_asked(connect: &Connect<'_>) -> u32 {
    match connect.version {
        ProtocolVersion::V5 => connect.properties.session_expiry_interval().unwrap_or(0),
        ProtocolVersion::V31 | ProtocolVersion::V311 if connect.clean_start => 0,
        ProtocolVersion::V31 | ProtocolVersion::V311 => u32::MAX,
    }
}
