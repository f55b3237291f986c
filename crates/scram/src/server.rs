//! The server's half.

use crate::error::ScramError;
use crate::keys::{Key, hash, hmac, is_same, xor};
use crate::message::{field, split_binding, text, unescape};
use crate::secret::ScramSecret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// An exchange that has begun.
#[derive(Debug)]
pub struct ScramExchange {
    user: String,
    secret: ScramSecret,
    /// Client's and server's, one behind the other.
    nonce: String,
    /// What the client says of channel binding, which it has to say again.
    binding: String,
    /// The first messages of both, which are part of every proof.
    begun: String,
}

impl ScramExchange {
    /// Takes the client's first message and returns what to answer. `server_nonce` is printable text
    /// that was never used before; `secret_of` finds what is kept of a user's password, or a
    /// [decoy](ScramSecret::decoy).
    ///
    /// # Errors
    /// What is wrong with the message. That a user does not exist is no error yet.
    pub fn begin(
        client_first: &[u8],
        server_nonce: &str,
        secret_of: impl FnOnce(&str) -> ScramSecret,
    ) -> Result<(Self, Vec<u8>), ScramError> {
        let message = text(client_first)?;
        let (binding, bare) = split_binding(message)?;
        let mut fields = bare.split(',');
        let name = field(fields.next(), 'n').ok_or(ScramError::Malformed("a user name"))?;
        let user = unescape(name)?;
        let client_nonce = field(fields.next(), 'r').filter(|nonce| !nonce.is_empty());
        let client_nonce = client_nonce.ok_or(ScramError::Malformed("a nonce"))?;
        let secret = secret_of(&user);
        let nonce = format!("{client_nonce}{server_nonce}");
        let salt = BASE64.encode(&secret.salt);
        let server_first = format!("r={nonce},s={salt},i={}", secret.iterations);
        let begun = format!("{bare},{server_first}");
        let exchange = Self { user, secret, nonce, binding: BASE64.encode(binding), begun };
        Ok((exchange, server_first.into_bytes()))
    }

    /// Who the client says it is.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Takes the client's final message. If it proves that the client knows the password, returns
    /// the answer, by which the server proves that it is the right one.
    ///
    /// # Errors
    /// [`ScramError::WrongProof`], or what is wrong with the message.
    pub fn finish(self, client_final: &[u8]) -> Result<Vec<u8>, ScramError> {
        let message = text(client_final)?;
        let (without_proof, proof) =
            message.rsplit_once(",p=").ok_or(ScramError::Malformed("a proof"))?;
        let mut fields = without_proof.split(',');
        if field(fields.next(), 'c') != Some(&self.binding) {
            return Err(ScramError::Malformed("the channel binding of its first message"));
        }
        if field(fields.next(), 'r') != Some(&self.nonce) {
            return Err(ScramError::Malformed("the nonce of this exchange"));
        }
        let proof = BASE64.decode(proof).map_err(|_| ScramError::Malformed("a proof in base64"))?;
        let mut client_key = Key::try_from(proof.as_slice())
            .map_err(|_| ScramError::Malformed("a proof of 32 bytes"))?;
        let said = [self.begun.as_bytes(), b",", without_proof.as_bytes()];
        xor(&mut client_key, &hmac(&self.secret.stored_key, &said));
        if !is_same(&hash(&client_key), &self.secret.stored_key) {
            return Err(ScramError::WrongProof);
        }
        let verifier = hmac(&self.secret.server_key, &said);
        Ok(format!("v={}", BASE64.encode(verifier)).into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::ITERATIONS_MIN;

    const CLIENT_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const CLIENT_FINAL: &[u8] = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn secret() -> ScramSecret {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        ScramSecret::derive(b"pencil", &salt, ITERATIONS_MIN)
    }

    fn begun() -> ScramExchange {
        ScramExchange::begin(CLIENT_FIRST, SERVER_NONCE, |_| secret()).unwrap().0
    }

    #[test]
    fn the_example_of_rfc_7677_is_understood() {
        let (exchange, server_first) = ScramExchange::begin(CLIENT_FIRST, SERVER_NONCE, |user| {
            assert_eq!(user, "user");
            secret()
        })
        .unwrap();
        assert_eq!(
            String::from_utf8(server_first).unwrap(),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let server_final = exchange.finish(CLIENT_FINAL).unwrap();
        assert_eq!(server_final, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_proof_of_anything_else_is_wrong() {
        let other = ScramSecret::derive(b"pencils", &secret().salt, ITERATIONS_MIN);
        let exchange = ScramExchange::begin(CLIENT_FIRST, SERVER_NONCE, |_| other).unwrap().0;
        assert_eq!(exchange.finish(CLIENT_FINAL), Err(ScramError::WrongProof));
        let mut changed = CLIENT_FINAL.to_vec();
        changed[62] ^= 1;
        assert!(begun().finish(&changed).is_err());
        // Another exchange has another nonce: an old proof proves nothing.
        let replayed = ScramExchange::begin(CLIENT_FIRST, "another", |_| secret()).unwrap().0;
        assert!(matches!(replayed.finish(CLIENT_FINAL), Err(ScramError::Malformed(_))));
    }

    #[test]
    fn a_decoy_is_proved_by_nobody() {
        let nobody = |user: &str| ScramSecret::decoy(user, b"key", None);
        let begun = ScramExchange::begin(CLIENT_FIRST, SERVER_NONCE, nobody).unwrap().0;
        assert_eq!(begun.finish(CLIENT_FINAL), Err(ScramError::WrongProof));
    }

    #[test]
    fn first_messages_are_read_as_the_rfc_says() {
        let user = |message: &str| {
            ScramExchange::begin(message.as_bytes(), "n", |_| secret())
                .map(|(exchange, _)| exchange.user)
        };
        assert_eq!(user("y,,n=a=2Cb=3Dc,r=x,ext=1"), Ok("a,b=c".into()));
        for malformed in [
            "",
            "n",
            "n,",
            "x,,n=a,r=x",
            "n,,r=x",
            "n,,n=,r=x",
            "n,,n=a=2,r=x",
            "n,,n=a",
            "n,,n=a,r=",
        ] {
            assert!(matches!(user(malformed), Err(ScramError::Malformed(_))), "{malformed}");
        }
        for refused in ["p=tls-exporter,,n=a,r=x", "n,a=admin,n=a,r=x", "n,,m=1,n=a,r=x"] {
            assert!(matches!(user(refused), Err(ScramError::NotSupported(_))), "{refused}");
        }
        assert!(user(&format!("n,,n=a,r={}", "x".repeat(5_000))).is_err());
        assert!(ScramExchange::begin(b"n,,n=\xff,r=x", "n", |_| secret()).is_err());
    }

    #[test]
    fn final_messages_of_another_form_are_refused() {
        for malformed in ["", "c=biws", "c=biws,r=x,p=", "c=eSws,r=x,p=AAAA", "p=,p="] {
            let refused = begun().finish(malformed.as_bytes());
            assert!(matches!(refused, Err(ScramError::Malformed(_))), "{malformed}");
        }
    }
}
