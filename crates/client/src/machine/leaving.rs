//! From the user's wish to leave to DISCONNECT and the end of the connection.

use std::sync::Arc;

use noctule_mqtt::property::Carrier;
use noctule_mqtt::{Packet, PacketType, Property, PropertyBuffer, ReasonCode, packet};

use super::{Action, Machine, Phase, milliseconds};
use crate::error::Error;
use crate::event::Event;
use crate::options::Session;
use crate::reason::Reason;

impl Machine {
    /// The user wants to leave: what is under way is finished, if it does not take too long. An
    /// attempt to connect that is under way is, too, if something waits for it; no other follows.
    pub(crate) fn leave(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        if self.leave_ms.is_some() {
            return;
        }
        match self.phase {
            Phase::Connected => {
                self.leave_ms = Some(now_ms + milliseconds(self.options.leave_timeout));
                self.finish_leaving();
            }
            Phase::Closing | Phase::Ended(_) => {}
            Phase::Idle | Phase::Waiting { .. } => self.end(Arc::new(Reason::Asked)),
            Phase::Opening { .. } | Phase::AwaitConnack { .. } => {
                self.leave_ms = Some(now_ms + milliseconds(self.options.leave_timeout));
                if self.backlog.is_empty() && self.outbound.is_empty() {
                    self.give_attempt_up();
                }
            }
        }
    }

    /// Leaves before there is a connection.
    pub(super) fn give_attempt_up(&mut self) {
        self.leave_link(&[]);
        self.actions.push_back(Action::Close { last_words: Vec::new() });
        self.end(Arc::new(Reason::Asked));
    }

    /// Says DISCONNECT if the user wants to leave and nothing is under way.
    pub(super) fn finish_leaving(&mut self) {
        let wants = self.leave_ms.is_some() && self.phase == Phase::Connected;
        if wants && self.backlog.is_empty() && self.outbound.is_empty() && self.requests.is_empty()
        {
            self.say_goodbye();
        }
    }

    /// DISCONNECT is the last word, and the connection is closed behind it `[MQTT3-3.14.4-1]`
    /// `[MQTT3-3.14.4-2]` `[MQTT5-3.14.4-1]` `[MQTT5-3.14.4-2]`.
    pub(super) fn say_goodbye(&mut self) {
        let mut properties = PropertyBuffer::new(Carrier::Packet(PacketType::Disconnect));
        if self.ends_session() {
            // Allowed once in this packet, and a number.
            let _ = properties.push(Property::SessionExpiryInterval(0));
        }
        let disconnect = Packet::Disconnect(packet::Disconnect {
            properties: properties.as_properties(),
            ..packet::Disconnect::new(ReasonCode::Success)
        });
        self.send(&disconnect);
        // Requests at QoS 0 are answered when the outcome of the last words is known.
        self.actions.push_back(Action::Close { last_words: self.output.bytes().to_vec() });
        self.phase = Phase::Closing;
    }

    /// Whether the session shall end with DISCONNECT although it outlives lost connections.
    fn ends_session(&self) -> bool {
        let kept = matches!(self.options.session, Session::Client(expiry) if !expiry.is_zero());
        kept && self.version().has_properties()
    }

    /// The last words have been written, or could not be.
    pub(crate) fn closed(&mut self, now_ms: u64, all_written: bool) {
        self.now_ms = now_ms;
        if self.phase != Phase::Closing {
            return;
        }
        let (_, waiting) = self.output.reset();
        for token in waiting {
            let outcome =
                if all_written { Ok(ReasonCode::Success) } else { Err(Error::ConnectionLost) };
            self.answer(Some(token), outcome);
        }
        let reason = Arc::new(Reason::Asked);
        self.tell(Event::Disconnected(Arc::clone(&reason)));
        self.end(reason);
    }
}
