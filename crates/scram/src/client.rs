//! The client's half.

use crate::error::ScramError;
use crate::keys::{Key, client_key, hash, hmac, is_same, salted_password, server_key, xor};
use crate::message::{escape, field, text};
use crate::secret::{ITERATIONS_MAX, ITERATIONS_MIN};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::fmt;
use std::num::NonZeroU32;

/// A client that has said who it is.
pub struct ScramClient {
    password: Box<[u8]>,
    nonce: String,
    /// The first message without its header, which is part of the proof.
    bare: String,
}

/// A client that has proved who it is, and waits for the server to do so.
pub struct ScramAnswered {
    verifier: Key,
}

impl ScramClient {
    /// Begins, and returns the first message. `nonce` is printable text without commas that was
    /// never used before.
    #[must_use]
    pub fn begin(user: &str, password: &[u8], nonce: &str) -> (Self, Vec<u8>) {
        let bare = format!("n={},r={nonce}", escape(user));
        let first = format!("{HEADER}{bare}").into_bytes();
        (Self { password: password.into(), nonce: nonce.to_owned(), bare }, first)
    }

    /// Takes the server's challenge and returns the proof. This takes as many hashes as the server
    /// asks for, [`ITERATIONS_MAX`] at most.
    ///
    /// # Errors
    /// What is wrong with the challenge; one with too few iterations would give the password away.
    pub fn answer(self, server_first: &[u8]) -> Result<(ScramAnswered, Vec<u8>), ScramError> {
        let challenge = text(server_first)?;
        let mut fields = challenge.split(',');
        let first = fields.next();
        if field(first, 'm').is_some() {
            return Err(ScramError::NotSupported("an extension"));
        }
        let nonce = field(first, 'r').filter(|nonce| {
            nonce.strip_prefix(&self.nonce).is_some_and(|servers| !servers.is_empty())
        });
        let nonce = nonce.ok_or(ScramError::Malformed("the nonce of this exchange"))?;
        let salt = field(fields.next(), 's').and_then(|salt| BASE64.decode(salt).ok());
        let salt = salt.filter(|salt| !salt.is_empty()).ok_or(ScramError::Malformed("a salt"))?;
        let iterations = field(fields.next(), 'i').and_then(|count| count.parse().ok());
        let iterations: NonZeroU32 =
            iterations.ok_or(ScramError::Malformed("a number of iterations"))?;
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(ScramError::NotSupported("so few or so many iterations"));
        }
        let salted = salted_password(&self.password, &salt, iterations);
        let without_proof = format!("c={},r={nonce}", BASE64.encode(HEADER));
        let said = [self.bare.as_bytes(), b",", server_first, b",", without_proof.as_bytes()];
        let mut proof = client_key(&salted);
        let signature = hmac(&hash(&proof), &said);
        xor(&mut proof, &signature);
        let verifier = hmac(&server_key(&salted), &said);
        let proof = format!("{without_proof},p={}", BASE64.encode(proof));
        Ok((ScramAnswered { verifier }, proof.into_bytes()))
    }
}

impl ScramAnswered {
    /// Takes the server's last word.
    ///
    /// # Errors
    /// [`ScramError::WrongServer`] if it does not prove that the server knows the password's secret;
    /// [`ScramError::Refused`], [`ScramError::Malformed`].
    pub fn verify(&self, server_final: &[u8]) -> Result<(), ScramError> {
        let word = text(server_final)?;
        let first = word.split(',').next();
        if field(first, 'e').is_some() {
            return Err(ScramError::Refused);
        }
        let said = field(first, 'v').and_then(|verifier| BASE64.decode(verifier).ok());
        let said = said.ok_or(ScramError::Malformed("the server's proof"))?;
        if is_same(&said, &self.verifier) { Ok(()) } else { Err(ScramError::WrongServer) }
    }
}

/// Without channel binding, for oneself.
const HEADER: &str = "n,,";

/// Without the password.
impl fmt::Debug for ScramClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramClient")
    }
}

impl fmt::Debug for ScramAnswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramAnswered")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &[u8] = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn begun() -> ScramClient {
        ScramClient::begin("user", b"pencil", NONCE).0
    }

    #[test]
    fn the_example_of_rfc_7677_is_spoken() {
        let (client, first) = ScramClient::begin("user", b"pencil", NONCE);
        assert_eq!(first, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let (client, proof) = client.answer(SERVER_FIRST).unwrap();
        assert_eq!(
            String::from_utf8(proof).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        let verify = |word: &[u8]| client.verify(word);
        assert_eq!(verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
        assert_eq!(
            verify(b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
            Err(ScramError::WrongServer)
        );
        assert_eq!(verify(b"v="), Err(ScramError::WrongServer));
        assert_eq!(verify(b"e=invalid-proof"), Err(ScramError::Refused));
        assert!(matches!(verify(b""), Err(ScramError::Malformed(_))));
    }

    #[test]
    fn a_challenge_that_would_give_the_password_away_or_is_another_s_is_refused() {
        let refused = |message: &str| begun().answer(message.as_bytes()).unwrap_err();
        for (message, word) in [
            ("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=1", "iterations"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=100000000", "iterations"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=0", "iterations"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=,i=4096", "salt"),
            ("r=rOprNGfwEbeRWgbNEkqOx,i=4096", "salt"),
            ("r=rOprNGfwEbeRWgbNEkqO,s=AAAA,i=4096", "nonce"),
            ("r=another,s=AAAA,i=4096", "nonce"),
            ("m=x,r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=4096", "extension"),
            ("", "nonce"),
        ] {
            assert!(refused(message).to_string().contains(word), "{message}");
        }
    }

    #[test]
    fn nothing_is_shown_of_a_password() {
        assert_eq!(format!("{:?}", begun()), "ScramClient");
        let (answered, _) = begun().answer(SERVER_FIRST).unwrap();
        assert_eq!(format!("{answered:?}"), "ScramAnswered");
    }
}
