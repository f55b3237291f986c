//! Enhanced authentication: AUTH packets, to and fro, before CONNACK and again on a connection that
//! was accepted (MQTT 5.0 section 4.12).
//!
//! What the data mean is the method's business, and that of whoever decides. Here it is seen to that
//! client and decider speak in turns, and with one method.

use super::{Action, Credentials, Enhanced, Shard, Step, Verdict};
use crate::connection::{Authentication, Cause, Connection, ConnectionHandle, Phase};
use crate::principal::Principal;
use crate::session::SessionHandle;
use noctule_mqtt::codec::{self, Frame};
use noctule_mqtt::packet::{Auth, Connect};
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    Packet, PacketType, Property, PropertyBuffer, ProtocolVersion, ReasonCode, Receiver, Violation,
};
use noctule_session::Now;

/// The step that CONNECT is, if it names a method.
pub(super) fn first_step(connect: &Connect<'_>) -> Option<Enhanced> {
    let method = connect.properties.authentication_method()?;
    let data = connect.properties.authentication_data().map(Into::into);
    Some(Enhanced { method: method.into(), data, step: Step::First })
}

impl Authentication {
    /// One that begins with CONNECT.
    pub(super) fn first(step: &Enhanced) -> Self {
        let method = step.method.clone();
        Self { method, again: false, asked: true, proof: None }
    }

    /// The step that AUTH is.
    fn step(&mut self, auth: &Auth<'_>, connected: bool) -> Result<Enhanced, Violation> {
        // [MQTT5-4.12.0-5]
        if auth.properties.authentication_method() != Some(&*self.method) {
            return Err(Violation::AuthMethodDiffers);
        }
        let step = match auth.reason {
            ReasonCode::ContinueAuthentication if !self.asked && (self.again || !connected) => {
                Step::Next
            }
            ReasonCode::Reauthenticate if connected && !self.again => Step::Again,
            reason => return Err(Violation::AuthStepUnexpected { reason }),
        };
        (self.again, self.asked) = (connected, true);
        let data = auth.properties.authentication_data().map(Into::into);
        Ok(Enhanced { method: self.method.clone(), data, step })
    }

    /// The properties that say what is said in its course.
    fn properties(&self, packet: PacketType, data: Option<&[u8]>) -> PropertyBuffer {
        let mut properties = PropertyBuffer::new(Carrier::Packet(packet));
        let method = Some(Property::AuthenticationMethod(&self.method));
        let data = data.map(Property::AuthenticationData);
        for property in [method, data].into_iter().flatten() {
            let pushed = properties.push(property);
            debug_assert!(pushed.is_ok(), "{packet} may have this property: {pushed:?}");
        }
        properties
    }
}

impl Connection {
    /// The properties of CONNACK with what belongs to an authentication `[MQTT5-4.12.0-5]`, if there
    /// is one `[MQTT5-4.12.0-6]`.
    pub(super) fn connack_properties(&self, others: &[u8]) -> Box<[u8]> {
        match self.rare().and_then(|rare| rare.authentication.as_ref()) {
            None => others.into(),
            Some(authentication) => {
                let proof = authentication.proof.as_deref();
                let own = authentication.properties(PacketType::Connack, proof);
                [others, own.as_properties().as_bytes()].concat().into()
            }
        }
    }
}

impl Shard {
    /// A client is to go on with its authentication `[MQTT5-4.12.0-2]`; not one that has named no
    /// method `[MQTT5-4.12.0-6]`.
    pub(super) fn on_challenged(&mut self, handle: ConnectionHandle, data: &[u8], now: Now) {
        let Some(connection) = self.delivery.connections.get_mut(handle) else {
            return;
        };
        let Some(authentication) = connection.authentication() else {
            return;
        };
        if !std::mem::take(&mut authentication.asked) {
            return;
        }
        connection.phase = match std::mem::replace(&mut connection.phase, Phase::Closing) {
            Phase::AwaitVerdict(accepting) => Phase::AwaitAuth(accepting),
            other => other,
        };
        self.send_auth(handle, ReasonCode::ContinueAuthentication, Some(data), now);
        self.release_input(handle, now);
    }

    /// A client has proved who it is.
    pub(super) fn on_proven(
        &mut self,
        handle: ConnectionHandle,
        principal: Principal,
        data: Box<[u8]>,
        now: Now,
    ) {
        if let Some(connection) = self.delivery.connections.get_mut(handle)
            && let Some(authentication) = connection.authentication()
        {
            authentication.proof = Some(data);
        }
        self.on_verdict(handle, Verdict::AcceptedAs(principal), now);
    }

    /// A packet of a client that was asked to go on before its CONNACK.
    pub(super) fn on_auth_frame(
        &mut self,
        handle: ConnectionHandle,
        frame: &Frame<'_>,
        now: Now,
    ) -> Result<(), Violation> {
        match codec::decode(frame, ProtocolVersion::V5, Receiver::Server)? {
            Packet::Auth(auth) => {
                let Some(connection) = self.delivery.connections.get_mut(handle) else {
                    return Ok(());
                };
                let authentication = connection.authentication();
                let authentication = authentication.ok_or(Violation::AuthUnexpected)?;
                let enhanced = Some(authentication.step(&auth, false)?);
                let Phase::AwaitAuth(accepting) =
                    std::mem::replace(&mut connection.phase, Phase::Closing)
                else {
                    return Ok(());
                };
                let client_id = accepting.client_id.clone();
                connection.phase = Phase::AwaitVerdict(accepting);
                self.ask(handle, client_id, enhanced);
                Ok(())
            }
            Packet::Disconnect(_) => {
                self.close(handle, Cause::Disconnected, now);
                Ok(())
            }
            other => Err(Violation::FirstPacketUnexpected { packet: other.packet_type() }),
        }
    }

    /// AUTH of a connected client: it proves again who it is, while everything else goes on
    /// `[MQTT5-4.12.1-1]`.
    pub(super) fn on_auth(
        &mut self,
        handle: ConnectionHandle,
        session: SessionHandle,
        auth: &Auth<'_>,
    ) -> Result<(), Violation> {
        let Some(connection) = self.delivery.connections.get_mut(handle) else {
            return Ok(());
        };
        // [MQTT5-4.12.0-7]
        let authentication = connection.authentication();
        let authentication = authentication.ok_or(Violation::AuthUnexpected)?;
        let enhanced = Some(authentication.step(auth, true)?);
        if let Some(found) = self.delivery.sessions.get(session) {
            let client_id = found.client_id.as_str().into();
            self.ask(handle, client_id, enhanced);
        }
        Ok(())
    }

    fn ask(
        &mut self,
        connection: ConnectionHandle,
        client_id: Box<str>,
        enhanced: Option<Enhanced>,
    ) {
        let credentials = Credentials { client_id, user_name: None, password: None, enhanced };
        self.actions.push_back(Action::Authenticate { connection, credentials });
    }

    /// The decision on a client that was to prove again who it is.
    pub(super) fn on_verdict_again(
        &mut self,
        handle: ConnectionHandle,
        verdict: Verdict,
        now: Now,
    ) {
        let Some(connection) = self.delivery.connections.get_mut(handle) else {
            return;
        };
        let Some(authentication) = connection.authentication() else {
            return;
        };
        if !authentication.again || !authentication.asked {
            return;
        }
        (authentication.again, authentication.asked) = (false, false);
        let proof = authentication.proof.take();
        match verdict {
            // What it has been given was given to the one it was then.
            Verdict::AcceptedAs(other) if other != *connection.principal => {
                let reason = ReasonCode::NotAuthorized;
                self.close(handle, Cause::AuthenticationFailed(reason), now);
            }
            Verdict::Accepted | Verdict::AcceptedUnasked | Verdict::AcceptedAs(_) => {
                self.send_auth(handle, ReasonCode::Success, proof.as_deref(), now);
            }
            // [MQTT5-4.12.1-2]
            Verdict::Refused(reason) => {
                self.close(handle, Cause::AuthenticationFailed(reason), now);
            }
        }
    }

    fn send_auth(
        &mut self,
        handle: ConnectionHandle,
        reason: ReasonCode,
        data: Option<&[u8]>,
        now: Now,
    ) {
        let Some(connection) = self.delivery.connections.get(handle) else {
            return;
        };
        let rare = connection.rare();
        let Some(authentication) = rare.and_then(|rare| rare.authentication.as_ref()) else {
            return;
        };
        let properties = authentication.properties(PacketType::Auth, data);
        let limit = connection.packet_bytes_max;
        let auth = Auth { reason, properties: properties.as_properties() };
        if !self.delivery.send_if_accepted(handle, &Packet::Auth(auth)) {
            let bytes = properties.as_properties().as_bytes().len();
            self.close(handle, Cause::AnswerTooLarge { bytes, limit }, now);
        }
    }
}
