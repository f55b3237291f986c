//! What a client of a check expects: the next packet, silence, or the end, each with the words for a
//! report if something else comes. Nothing is sent here.

use noctule_mqtt::PacketType;
use std::time::{Duration, Instant};

use super::{Event, Peer};
use crate::heard::{Answer, Answers, Connack, Heard, Message};
use crate::outcome::{Stop, Verdict};

impl Peer {
    /// The next packet; `expected` is what the check hopes for.
    pub(crate) fn next(&mut self, expected: &str) -> Result<Heard, Stop> {
        match self.event(self.patience.answer)? {
            Event::Packet(bytes) => self.understood(bytes),
            Event::Closed => self.fail(expected, "the end of the connection"),
            Event::Silence => {
                let waited = self.patience.answer;
                self.fail(expected, format!("nothing within {waited:?}"))
            }
        }
    }

    pub(crate) fn expect_connack(&mut self) -> Result<Connack, Stop> {
        match self.next("CONNACK")? {
            Heard::Connack(connack) => Ok(connack),
            other => self.wrong("CONNACK", &other),
        }
    }

    /// A CONNACK that accepts, with or without a session.
    pub(crate) fn expect_accepted(&mut self, session_present: bool) -> Verdict {
        let connack = self.expect_connack()?;
        let session = if session_present { "with" } else { "without" };
        self.ensure(
            connack.code == 0 && connack.session_present == session_present,
            format!("CONNACK 0x00 {session} session present"),
            Heard::Connack(connack),
        )
    }

    pub(crate) fn expect_suback(&mut self, id: u16) -> Result<Answers, Stop> {
        match self.next("SUBACK")? {
            Heard::Suback(answers) if answers.id == id => Ok(answers),
            other => self.wrong(format!("SUBACK for packet identifier {id}"), &other),
        }
    }

    pub(crate) fn expect_ack(&mut self, packet: PacketType, id: u16) -> Result<Answer, Stop> {
        let expected = format!("{packet} for packet identifier {id}");
        match self.next(&expected)? {
            Heard::Ack(ack) if ack.packet == packet && ack.id == id => Ok(ack),
            other => self.wrong(expected, &other),
        }
    }

    pub(crate) fn expect_publish(&mut self) -> Result<Message, Stop> {
        match self.next("PUBLISH")? {
            Heard::Publish(message) => Ok(message),
            other => self.wrong("PUBLISH", &other),
        }
    }

    /// A message with this topic, payload and QoS that is no repetition.
    pub(crate) fn expect_message(
        &mut self,
        topic: &str,
        payload: impl AsRef<[u8]>,
        qos: u8,
    ) -> Result<Message, Stop> {
        let payload = payload.as_ref();
        let words = String::from_utf8_lossy(payload).escape_debug().to_string();
        let expected = format!("PUBLISH '{words}' to '{topic}' at QoS {qos} without DUP");
        match self.next(&expected)? {
            Heard::Publish(message)
                if message.topic == topic
                    && message.payload == payload
                    && message.qos == qos
                    && !message.dup =>
            {
                Ok(message)
            }
            other => self.wrong(expected, &other),
        }
    }

    /// As [`expect_message`](Self::expect_message), acknowledged at once.
    pub(crate) fn take(&mut self, topic: &str, payload: &str, qos: u8) -> Result<Message, Stop> {
        let message = self.expect_message(topic, payload, qos)?;
        self.acknowledge(&message)?;
        Ok(message)
    }

    /// Nothing comes, and the connection stays.
    pub(crate) fn expect_silence(&mut self) -> Verdict {
        self.expect_silence_for(self.patience.silence)
    }

    pub(crate) fn expect_silence_for(&mut self, time: Duration) -> Verdict {
        self.expect_silence_until(Instant::now() + time)
    }

    /// Nothing comes before that time; what comes on a machine that is late is not read.
    pub(crate) fn expect_silence_until(&mut self, end: Instant) -> Verdict {
        match self.event_until(end)? {
            Event::Silence => Ok(()),
            Event::Closed => self.fail("nothing", "the end of the connection"),
            Event::Packet(bytes) => {
                let heard = self.understood(bytes)?;
                self.wrong("nothing", &heard)
            }
        }
    }

    /// The end of the connection. In MQTT 5 a DISCONNECT with one of `codes` may come before it.
    pub(crate) fn expect_end(&mut self, codes: &[u8]) -> Verdict {
        let expected = self.end_words(codes);
        match self.event(self.patience.answer)? {
            Event::Closed => Ok(()),
            Event::Silence => self.fail(expected, "a connection that stays open"),
            Event::Packet(bytes) => match self.understood(bytes)? {
                Heard::Disconnect(end) if codes.contains(&end.code) => self.expect_closed(),
                other => self.wrong(expected, &other),
            },
        }
    }

    /// A DISCONNECT with exactly this code, and the end.
    pub(crate) fn expect_disconnect(&mut self, code: u8) -> Verdict {
        let expected = format!("DISCONNECT 0x{code:02X}");
        match self.next(&expected)? {
            Heard::Disconnect(end) if end.code == code => self.expect_closed(),
            other => self.wrong(expected, &other),
        }
    }

    /// The end of the connection without a packet before it.
    pub(crate) fn expect_closed(&mut self) -> Verdict {
        match self.event(self.patience.answer)? {
            Event::Closed => Ok(()),
            Event::Silence => self.fail("the end of the connection", "it stays open"),
            Event::Packet(bytes) => {
                let heard = self.understood(bytes)?;
                self.wrong("the end of the connection", &heard)
            }
        }
    }

    /// CONNECT is not accepted: the connection ends, and a CONNACK before it has one of `codes`
    /// (return codes in 3.1.1, reason codes in 5) and no session.
    pub(crate) fn expect_refused(&mut self, codes: &[u8]) -> Verdict {
        let expected = format!(
            "the end of the connection, CONNACK with one of {codes:02X?} before it at most"
        );
        match self.event(self.patience.answer)? {
            Event::Closed => Ok(()),
            Event::Silence => self.fail(expected, "a connection that stays open"),
            Event::Packet(bytes) => match self.understood(bytes)? {
                Heard::Connack(connack) if codes.contains(&connack.code) => {
                    let session = connack.session_present;
                    self.ensure(
                        !session,
                        "a refusal without session present",
                        Heard::Connack(connack),
                    )?;
                    self.expect_closed()
                }
                other => self.wrong(expected, &other),
            },
        }
    }

    /// The next packet, whole or not at all, or that there is none.
    pub(crate) fn maybe(&mut self, time: Duration) -> Result<Option<Heard>, Stop> {
        match self.event(time)? {
            Event::Packet(bytes) => Ok(Some(self.understood(bytes)?)),
            Event::Closed | Event::Silence => Ok(None),
        }
    }

    /// The next packet if it comes before the end of the connection, for as long as answers take.
    pub(crate) fn next_or_end(&mut self) -> Result<Option<Heard>, Stop> {
        match self.event(self.patience.answer)? {
            Event::Packet(bytes) => Ok(Some(self.understood(bytes)?)),
            Event::Closed => Ok(None),
            Event::Silence => self.fail("a packet or the end of the connection", "nothing"),
        }
    }

    fn end_words(&self, codes: &[u8]) -> String {
        if self.version.server_may_disconnect() {
            format!(
                "the end of the connection, DISCONNECT with one of {codes:02X?} before it at most"
            )
        } else {
            "the end of the connection".into()
        }
    }
}
