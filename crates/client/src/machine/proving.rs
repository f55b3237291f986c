//! Proving who we are without saying the password, and having the broker prove that it knows us: with
//! CONNECT, and again when the user wishes (MQTT 5.0 section 4.12).
//!
//! One exchange is under way at most. Answering a challenge takes as many hashes as the broker asks
//! for, some milliseconds.

use noctule_mqtt::packet::{Auth, Connack};
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{Packet, PacketType, Property, PropertyBuffer, ReasonCode, Violation};
use noctule_scram::{SCRAM_SHA_256, ScramAnswered, ScramClient, ScramError};
use ring::rand::{SecureRandom, SystemRandom};

use super::{Machine, Phase, Token};
use crate::error::Error;
use crate::options::{Authentication, ClientOptions};
use crate::reason::Reason;

/// How far an exchange has come.
#[derive(Debug, Default)]
pub(super) enum Proving {
    #[default]
    No,
    /// We have said who we are.
    Begun(ScramClient),
    /// We have proved it.
    Answered(ScramAnswered),
}

impl Machine {
    /// Begins the exchange that CONNECT carries, if one was asked for; what it says first.
    pub(super) fn begin_proving(&mut self) -> Result<Option<Vec<u8>>, Reason> {
        let Some(Authentication::ScramSha256) = self.options.authentication else {
            return Ok(None);
        };
        let no_chance = |_| Reason::Network("there are no random numbers".to_owned());
        let nonce = nonce().map_err(no_chance)?;
        let user = self.options.user_name.as_deref().unwrap_or_default();
        let password = self.options.password.as_deref().unwrap_or_default();
        let (client, first) = ScramClient::begin(user, password, &nonce);
        self.link.proving = Proving::Begun(client);
        Ok(Some(first))
    }

    /// Proves again who we are, on the present connection, by the method of CONNECT: AUTH 0x19 says so
    /// first `[MQTT5-4.12.1-1]`. Without a method there is no AUTH `[MQTT5-4.12.0-7]`.
    pub(crate) fn prove_again(&mut self, now_ms: u64, token: Token) {
        self.now_ms = now_ms;
        let fault = match (&self.phase, &self.link.proving) {
            _ if self.options.authentication.is_none() => {
                Some(Error::Invalid("the client has no authentication method".to_owned()))
            }
            (Phase::Connected, Proving::No) => None,
            (Phase::Connected, _) => {
                Some(Error::Invalid("the client is proving who it is already".to_owned()))
            }
            (Phase::Ended(reason), _) => Some(Error::Ended(reason.clone())),
            _ => Some(Error::ConnectionLost),
        };
        if let Some(fault) = fault {
            return self.answer(Some(token), Err(fault));
        }
        match self.begin_proving() {
            Ok(first) => {
                self.link.proving_for = Some(token);
                self.send_auth(ReasonCode::Reauthenticate, &first.unwrap_or_default());
                self.note_waiting(false);
            }
            Err(reason) => self.lose(reason),
        }
    }

    /// AUTH came: a challenge, which AUTH 0x18 answers `[MQTT5-4.12.0-3]`, or the end of an exchange on
    /// an accepted connection. One that fails ends the connection `[MQTT5-4.12.1-2]`.
    pub(super) fn on_auth(&mut self, auth: &Auth<'_>) -> Result<(), Violation> {
        // [MQTT5-4.12.0-5]
        if auth.properties.authentication_method() != Some(SCRAM_SHA_256) {
            return Err(Violation::AuthMethodDiffers);
        }
        let data = auth.properties.authentication_data().unwrap_or_default();
        let proving = std::mem::take(&mut self.link.proving);
        let done = match (auth.reason, proving) {
            (ReasonCode::ContinueAuthentication, Proving::Begun(client)) => {
                client.answer(data).map(|(answered, proof)| {
                    self.link.proving = Proving::Answered(answered);
                    self.send_auth(ReasonCode::ContinueAuthentication, &proof);
                })
            }
            (ReasonCode::Success, Proving::Answered(answered))
                if self.phase == Phase::Connected =>
            {
                answered.verify(data).map(|()| {
                    let token = self.link.proving_for.take();
                    self.answer(token, Ok(ReasonCode::Success));
                    self.note_waiting(true);
                })
            }
            (reason, _) => return Err(Violation::AuthStepUnexpected { reason }),
        };
        if let Err(error) = done {
            self.lose(Reason::Authentication(error));
        }
        Ok(())
    }

    /// Whether a CONNACK that accepts us comes from a broker that has proved itself, if it had to.
    pub(super) fn is_proved_by(&mut self, connack: &Connack<'_>) -> Result<(), Reason> {
        let data = connack.properties.authentication_data().unwrap_or_default();
        match (std::mem::take(&mut self.link.proving), self.options.authentication) {
            (_, None) => Ok(()),
            (Proving::Answered(answered), _) => {
                answered.verify(data).map_err(Reason::Authentication)
            }
            // It lets us in without having asked for a proof, and gives none.
            (_, Some(_)) => Err(Reason::Authentication(ScramError::WrongServer)),
        }
    }

    fn send_auth(&mut self, reason: ReasonCode, data: &[u8]) {
        match auth_properties(PacketType::Auth, data) {
            Ok(properties) => {
                let auth = Auth { reason, properties: properties.as_properties() };
                self.send(&Packet::Auth(auth));
            }
            Err(error) => self.lose(Reason::Network(format!("AUTH cannot be sent: {error}"))),
        }
    }
}

/// Adds the method, and what is said first, to the properties of CONNECT.
pub(super) fn introduce(properties: &mut PropertyBuffer, first: &[u8]) -> Result<(), Error> {
    properties.push(Property::AuthenticationMethod(SCRAM_SHA_256))?;
    properties.push(Property::AuthenticationData(first))?;
    Ok(())
}

/// Name and password as CONNECT says them: not at all, if they are proved instead.
pub(super) fn said(options: &ClientOptions) -> (Option<&str>, Option<&[u8]>) {
    match options.authentication {
        Some(Authentication::ScramSha256) => (None, None),
        None => (options.user_name.as_deref(), options.password.as_deref()),
    }
}

fn auth_properties(packet: PacketType, data: &[u8]) -> Result<PropertyBuffer, Error> {
    let mut properties = PropertyBuffer::new(Carrier::Packet(packet));
    introduce(&mut properties, data)?;
    Ok(properties)
}

/// Printable text that nobody can foresee.
fn nonce() -> Result<String, ring::error::Unspecified> {
    let mut bytes = [0; 18];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| char::from(PRINTABLE[usize::from(byte % 64)])).collect())
}

const PRINTABLE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use super::super::bench::{Bench, options};
    use super::*;
    use noctule_mqtt::ProtocolVersion;
    use noctule_scram::{ITERATIONS_MIN, ScramExchange, ScramSecret};

    const SALT: &[u8] = &[7; 16];

    fn started() -> Bench {
        let options = options(ProtocolVersion::V5).user_name("user").password("pencil");
        let mut bench = Bench::started(options.authentication(Authentication::ScramSha256));
        bench.open();
        bench
    }

    /// The broker's side of an exchange, with what is kept of this password: its last word.
    fn challenge(bench: &mut Bench, password: &[u8]) -> Vec<u8> {
        let kept = ScramSecret::derive(password, SALT, ITERATIONS_MIN);
        let first = bench.authentication_data();
        let (exchange, challenge) = ScramExchange::begin(&first, "nonce", |user| {
            assert_eq!(user, "user");
            kept
        })
        .unwrap();
        hear(bench, ReasonCode::ContinueAuthentication, &challenge);
        exchange.finish(&bench.authentication_data()).unwrap_or(b"v=AAAA".to_vec())
    }

    fn hear(bench: &mut Bench, reason: ReasonCode, data: &[u8]) {
        let properties = auth_properties(PacketType::Auth, data).unwrap();
        bench.hear(&Packet::Auth(Auth { reason, properties: properties.as_properties() }));
    }

    fn accept(bench: &mut Bench, word: &[u8]) {
        let method = Property::AuthenticationMethod(SCRAM_SHA_256);
        bench.connack(false, &[method, Property::AuthenticationData(word)]);
    }

    fn connected() -> Bench {
        let mut bench = started();
        let word = challenge(&mut bench, b"pencil");
        accept(&mut bench, &word);
        assert_eq!(bench.said(), ["CONNECT clean expiry 3600", "AUTH 0x18"]);
        bench
    }

    #[test] // [MQTT5-4.12.0-3] [MQTT5-4.12.0-5] [MQTT5-4.12.1-1]
    fn who_knows_the_password_proves_it_and_proves_it_again() {
        let mut bench = connected();
        bench.machine.prove_again(bench.now_ms, Token(1));
        bench.settle();
        bench.machine.prove_again(bench.now_ms, Token(2));
        bench.settle();
        assert!(bench.refusal().contains("already"));
        let word = challenge(&mut bench, b"pencil");
        hear(&mut bench, ReasonCode::Success, &word);
        assert_eq!(
            (bench.said(), bench.done()),
            (vec!["AUTH 0x19".into(), "AUTH 0x18".into()], vec![1])
        );
        assert_eq!(bench.closes, 0);
    }

    #[test] // [MQTT5-4.12.1-2]
    fn a_broker_that_does_not_know_the_password_is_left_and_not_tried_again() {
        let mut bench = connected();
        bench.machine.prove_again(bench.now_ms, Token(1));
        bench.settle();
        let word = challenge(&mut bench, b"other");
        hear(&mut bench, ReasonCode::Success, &word);
        assert!(bench.last_reason().contains("poses"), "{}", bench.last_reason());
        assert_eq!((bench.closes, bench.opens, bench.machine.next_deadline()), (1, 1, None));
        let mut bench = started();
        let word = challenge(&mut bench, b"other");
        accept(&mut bench, &word);
        assert!(bench.last_reason().contains("poses"), "{}", bench.last_reason());
        assert_eq!((bench.closes, bench.opens, bench.machine.next_deadline()), (1, 1, None));
        let mut bench = started();
        bench.connack(false, &[]);
        assert!(bench.last_reason().contains("poses"), "it did not even ask");
        let mut bench = started();
        hear(&mut bench, ReasonCode::ContinueAuthentication, b"r=another,s=AAAA,i=4096");
        assert!(bench.last_reason().contains("nonce"), "{}", bench.last_reason());
    }

    #[test] // [MQTT5-3.1.2-30]
    fn nothing_else_is_said_before_the_broker_has_accepted_us() {
        let mut bench = started();
        bench.publish(1, "a", noctule_mqtt::QoS::AtMostOnce);
        bench.subscribe(2, "b", 1);
        let word = challenge(&mut bench, b"pencil");
        bench.pass_ms(9_000);
        assert_eq!(bench.said(), ["CONNECT clean expiry 3600", "AUTH 0x18"]);
        accept(&mut bench, &word);
        assert_eq!(bench.said(), ["SUBSCRIBE 1 b #1", "PUBLISH 0 a q0"]);
    }

    #[test] // [MQTT5-4.12.0-7]
    fn without_a_method_there_is_no_auth() {
        let mut bench = Bench::connected(options(ProtocolVersion::V5).user_name("user"));
        bench.machine.prove_again(bench.now_ms, Token(1));
        bench.settle();
        assert!(bench.refusal().contains("no authentication method"));
        assert_eq!(bench.said(), [""; 0]);
    }

    #[test]
    fn steps_out_of_order_and_other_methods_end_the_connection() {
        let mut bench = started();
        hear(&mut bench, ReasonCode::Success, b"v=AAAA");
        assert_eq!(bench.closes, 1);
        let mut bench = connected();
        hear(&mut bench, ReasonCode::ContinueAuthentication, b"");
        assert_eq!(bench.closes, 1);
        let mut bench = started();
        let mut properties = PropertyBuffer::new(Carrier::Packet(PacketType::Auth));
        properties.push(Property::AuthenticationMethod("OTHER")).unwrap();
        let (reason, properties) = (ReasonCode::ContinueAuthentication, properties.as_properties());
        bench.hear(&Packet::Auth(Auth { reason, properties }));
        assert_eq!(bench.closes, 1);
    }

    #[test]
    fn a_proof_that_is_under_way_fails_with_its_connection_or_when_nobody_answers() {
        let mut bench = connected();
        bench.machine.prove_again(bench.now_ms, Token(1));
        bench.break_off();
        assert!(bench.refusal().contains("connection was lost"));
        bench.machine.prove_again(bench.now_ms, Token(2));
        bench.settle();
        assert!(bench.refusal().contains("connection was lost"));
        let mut bench = connected();
        bench.machine.prove_again(bench.now_ms, Token(3));
        bench.pass_ms(20_000);
        assert!(bench.refusal().contains("connection was lost"));
    }
}
