//! One exchange by SCRAM-SHA-256 with fixed nonces, so that a script can say the right thing.

use super::script::PASSWORD;
use noctule_auth::scram::{ITERATIONS_MIN, ScramClient, ScramExchange, ScramSecret};
use std::sync::OnceLock;

pub(crate) const CLIENT_FIRST: &[u8] = b"n,,n=anna,r=client";
const SERVER_NONCE: &str = "server";

/// Takes a client's first message.
pub(crate) fn begin(said: &[u8]) -> Option<(ScramExchange, Vec<u8>)> {
    let secret_of = |user: &str| match user {
        "anna" => secret().clone(),
        _ => ScramSecret::decoy(user, b"key", None),
    };
    ScramExchange::begin(said, SERVER_NONCE, secret_of).ok()
}

/// What the client has to answer.
pub(crate) fn right_proof() -> &'static [u8] {
    static PROOF: OnceLock<Vec<u8>> = OnceLock::new();
    PROOF.get_or_init(|| {
        let (client, first) = ScramClient::begin("anna", PASSWORD, "client");
        assert_eq!(first, CLIENT_FIRST);
        let (_, challenge) = begin(&first).expect("a right beginning");
        client.answer(&challenge).expect("a right challenge").1
    })
}

fn secret() -> &'static ScramSecret {
    static SECRET: OnceLock<ScramSecret> = OnceLock::new();
    SECRET.get_or_init(|| ScramSecret::derive(PASSWORD, b"salt of a test", ITERATIONS_MIN))
}
