//! SCRAM-SHA-256 in AUTH packets of MQTT 5, between a client of the testkit and a broker: the
//! messages are those of RFC 7677.

use noctule_mqtt::ReasonCode;
use noctule_scram::{ITERATIONS_MIN, SCRAM_SHA_256, ScramExchange, ScramSecret};
use noctule_testkit::packets::*;
use noctule_testkit::{Said, World};

const SALT: &[u8] = b"\x5b\x6d\x99\x68\x9d\x12\x35\x8e\xec\xa0\x4b\x14\x12\x36\xfa\x81";
const CLIENT_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const CLIENT_FINAL: &[u8] = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &[u8] = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
const CONTINUE: ReasonCode = ReasonCode::ContinueAuthentication;

/// Knows one user.
fn decide(w: &mut World, password: &[u8], nonce: &str) -> ScramExchange {
    let known = ScramSecret::derive(password, SALT, ITERATIONS_MIN);
    let first = w.authentication_data();
    let (exchange, server_first) =
        ScramExchange::begin(&first, nonce, |_| known).expect("the message is well-formed");
    w.challenge(&server_first);
    w.expect("a", auth(CONTINUE, SCRAM_SHA_256, &server_first));
    exchange
}

#[test] // [MQTT5-4.12.0-2] [MQTT5-4.12.0-3] [MQTT5-4.12.1-1]
fn a_client_that_knows_its_password_is_accepted_and_can_prove_it_again() {
    let mut w = World::authenticating(&[SCRAM_SHA_256]);
    w.start("a", v5().method(SCRAM_SHA_256, CLIENT_FIRST));
    let exchange = decide(&mut w, b"pencil", SERVER_NONCE);
    w.send("a", auth(CONTINUE, SCRAM_SHA_256, CLIENT_FINAL));
    let proof = exchange.finish(&w.authentication_data()).expect("the password is right");
    assert_eq!(proof, SERVER_FINAL);
    w.prove(&proof);
    let Some(Said::Connack { reason: ReasonCode::Success, properties: Some(properties), .. }) =
        w.next_heard("a")
    else {
        panic!("it is accepted")
    };
    let properties = noctule_mqtt::Properties::from_checked(&properties);
    assert_eq!(properties.authentication_data(), Some(SERVER_FINAL));
    w.send("a", auth(ReasonCode::Reauthenticate, SCRAM_SHA_256, CLIENT_FIRST));
    let exchange = decide(&mut w, b"pencil", SERVER_NONCE);
    w.send("a", auth(CONTINUE, SCRAM_SHA_256, CLIENT_FINAL));
    let proof = exchange.finish(&w.authentication_data()).expect("the password is right");
    w.prove(&proof);
    w.expect("a", auth(ReasonCode::Success, SCRAM_SHA_256, SERVER_FINAL));
}

#[test] // [MQTT5-4.12.0-4]
fn a_client_with_another_password_is_refused() {
    let mut w = World::authenticating(&[SCRAM_SHA_256]);
    w.start("a", v5().method(SCRAM_SHA_256, CLIENT_FIRST));
    let exchange = decide(&mut w, b"pen", SERVER_NONCE);
    w.send("a", auth(CONTINUE, SCRAM_SHA_256, CLIENT_FINAL));
    assert!(exchange.finish(&w.authentication_data()).is_err());
    w.refuse(ReasonCode::NotAuthorized);
    w.expect("a", connack_refused(ReasonCode::NotAuthorized));
    w.expect_closed("a");
}
