//! SCRAM-SHA-256 (RFC 5802 and RFC 7677), the server's half: a client proves that it knows its
//! password without saying it, and the server that it knows what is derived from it.
//!
//! Nothing here knows of packets or connections, where secrets are kept, or randomness: nonces and
//! salts are given. Channel binding is not offered. User names and passwords are taken as they are,
//! without the normalization of RFC 4013, which leaves ASCII as it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fmt;
use std::num::NonZeroU32;

/// What the method is called in MQTT's authentication method.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";

/// As often is hashed for somebody who does not exist; RFC 7677 wants 4,096 at least.
pub const ITERATIONS_DEFAULT: NonZeroU32 = NonZeroU32::new(4_096).unwrap();

/// Messages of clients are not longer than this.
const MESSAGE_BYTES_MAX: usize = 4_096;

const KEY_BYTES: usize = 32;
type Key = [u8; KEY_BYTES];

/// What a server keeps of a password: enough to check a proof, not enough to make one.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramSecret {
    salt: Box<[u8]>,
    iterations: NonZeroU32,
    stored_key: Key,
    server_key: Key,
}

impl fmt::Debug for ScramSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramSecret").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl ScramSecret {
    /// What is kept of a password. This takes `iterations` hashes.
    pub fn derive(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Self {
        let salted = salted_password(password, salt, iterations);
        let client_key = hmac(&salted, &[b"Client Key"]);
        let stored_key = Sha256::digest(client_key).into();
        let server_key = hmac(&salted, &[b"Server Key"]);
        Self { salt: salt.into(), iterations, stored_key, server_key }
    }

    /// A secret that nobody has a password for, always the same for a name: so nobody can tell by
    /// it who exists.
    fn decoy(user: &str, key: &[u8]) -> Self {
        let salt = hmac(key, &[b"salt", user.as_bytes()]);
        Self {
            salt: salt[..16].into(),
            iterations: ITERATIONS_DEFAULT,
            stored_key: hmac(key, &[b"stored", user.as_bytes()]),
            server_key: hmac(key, &[b"server", user.as_bytes()]),
        }
    }
}

/// Why a client is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScramError {
    /// A message is not of the form that RFC 5802 describes.
    Malformed(&'static str),
    /// The client insists on something that is not offered.
    NotSupported(&'static str),
    /// The proof is wrong, or the user does not exist: which of them is not said.
    WrongProof,
}

impl fmt::Display for ScramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "SCRAM: the client's message lacks {what}"),
            Self::NotSupported(what) => write!(f, "SCRAM: {what} is not supported"),
            Self::WrongProof => f.write_str("SCRAM: the proof is wrong"),
        }
    }
}

impl std::error::Error for ScramError {}

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
    /// that was never used before; `decoy_key` are secret random bytes, always the same;
    /// `secret_of` finds what is kept of a user's password.
    ///
    /// # Errors
    /// What is wrong with the message. That a user does not exist is no error yet.
    pub fn begin(
        client_first: &[u8],
        server_nonce: &str,
        decoy_key: &[u8],
        secret_of: impl FnOnce(&str) -> Option<ScramSecret>,
    ) -> Result<(Self, Vec<u8>), ScramError> {
        let message = text(client_first)?;
        let (binding, bare) = split_binding(message)?;
        let mut fields = bare.split(',');
        let name = field(fields.next(), 'n').ok_or(ScramError::Malformed("a user name"))?;
        let user = unescape(name)?;
        let client_nonce = field(fields.next(), 'r').filter(|nonce| !nonce.is_empty());
        let client_nonce = client_nonce.ok_or(ScramError::Malformed("a nonce"))?;
        let secret = secret_of(&user).unwrap_or_else(|| ScramSecret::decoy(&user, decoy_key));
        let nonce = format!("{client_nonce}{server_nonce}");
        let salt = BASE64.encode(&secret.salt);
        let server_first = format!("r={nonce},s={salt},i={}", secret.iterations);
        let begun = format!("{bare},{server_first}");
        let exchange = Self { user, secret, nonce, binding: BASE64.encode(binding), begun };
        Ok((exchange, server_first.into_bytes()))
    }

    /// Who the client says it is.
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
        let said = [self.begun.as_bytes(), b",", without_proof.as_bytes()];
        let signature = hmac(&self.secret.stored_key, &said);
        if proof.len() != KEY_BYTES {
            return Err(ScramError::Malformed("a proof of 32 bytes"));
        }
        let client_key: Vec<u8> =
            proof.iter().zip(signature).map(|(proof, signed)| proof ^ signed).collect();
        if !is_same(&Sha256::digest(client_key), &self.secret.stored_key) {
            return Err(ScramError::WrongProof);
        }
        let verifier = hmac(&self.secret.server_key, &said);
        Ok(format!("v={}", BASE64.encode(verifier)).into_bytes())
    }
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(ScramError::NotSupported("a message so long"));
    }
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed("UTF-8"))
}

/// What a first message says of channel binding, and the rest.
fn split_binding(message: &str) -> Result<(&str, &str), ScramError> {
    let (flag, rest) = message.split_once(',').ok_or(ScramError::Malformed("a header"))?;
    let (identity, bare) = rest.split_once(',').ok_or(ScramError::Malformed("a header"))?;
    if flag.starts_with("p=") {
        return Err(ScramError::NotSupported("channel binding"));
    }
    if !matches!(flag, "n" | "y") {
        return Err(ScramError::Malformed("a header"));
    }
    if !identity.is_empty() {
        return Err(ScramError::NotSupported("acting for somebody else"));
    }
    if bare.starts_with("m=") {
        return Err(ScramError::NotSupported("an extension"));
    }
    Ok((&message[..message.len() - bare.len()], bare))
}

/// The value of a field with this name.
fn field(field: Option<&str>, name: char) -> Option<&str> {
    field?.strip_prefix(name)?.strip_prefix('=')
}

/// A user name, in which commas and equals signs are written otherwise.
fn unescape(name: &str) -> Result<String, ScramError> {
    let mut user = String::with_capacity(name.len());
    let mut parts = name.split('=');
    user.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (sign, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            (None, None) => return Err(ScramError::Malformed("a user name that is well-formed")),
        };
        user.push(sign);
        user.push_str(rest);
    }
    if user.is_empty() { Err(ScramError::Malformed("a user name")) } else { Ok(user) }
}

/// `Hi` of RFC 5802, which is PBKDF2 of one block.
fn salted_password(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Key {
    let mut last = hmac(password, &[salt, &1u32.to_be_bytes()]);
    let mut all = last;
    for _ in 1..iterations.get() {
        last = hmac(password, &[&last]);
        all.iter_mut().zip(last).for_each(|(all, last)| *all ^= last);
    }
    all
}

fn hmac(key: &[u8], message: &[&[u8]]) -> Key {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key)
        .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    message.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Compares without telling by the time it takes where the difference is.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).fold(0, |found, (one, other)| found | (one ^ other)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const CLIENT_FINAL: &[u8] = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn secret() -> ScramSecret {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        ScramSecret::derive(b"pencil", &salt, ITERATIONS_DEFAULT)
    }

    fn begun() -> ScramExchange {
        ScramExchange::begin(CLIENT_FIRST, SERVER_NONCE, b"", |_| Some(secret())).unwrap().0
    }

    #[test]
    fn the_example_of_rfc_7677_is_understood() {
        let (exchange, server_first) =
            ScramExchange::begin(CLIENT_FIRST, SERVER_NONCE, b"", |user| {
                (user == "user").then(secret)
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
        let other = ScramSecret::derive(b"pencils", &secret().salt, ITERATIONS_DEFAULT);
        let exchange =
            ScramExchange::begin(CLIENT_FIRST, SERVER_NONCE, b"", |_| Some(other)).unwrap().0;
        assert_eq!(exchange.finish(CLIENT_FINAL), Err(ScramError::WrongProof));
        let mut changed = CLIENT_FINAL.to_vec();
        changed[62] ^= 1;
        assert!(begun().finish(&changed).is_err());
        // Another exchange has another nonce: an old proof proves nothing.
        let replayed =
            ScramExchange::begin(CLIENT_FIRST, "another", b"", |_| Some(secret())).unwrap().0;
        assert!(matches!(replayed.finish(CLIENT_FINAL), Err(ScramError::Malformed(_))));
    }

    #[test]
    fn who_does_not_exist_looks_like_somebody_who_does() {
        let first = |key: &[u8], nonce| {
            let begun = ScramExchange::begin(CLIENT_FIRST, nonce, key, |_| None);
            String::from_utf8(begun.unwrap().1).unwrap()
        };
        assert_eq!(first(b"key", "n"), first(b"key", "n"), "the salt of a name stays");
        assert_ne!(first(b"key", "n"), first(b"other", "n"));
        assert!(first(b"key", "n").ends_with(",i=4096"));
        let nobody = ScramExchange::begin(CLIENT_FIRST, SERVER_NONCE, b"key", |_| None).unwrap().0;
        assert_eq!(nobody.finish(CLIENT_FINAL), Err(ScramError::WrongProof));
    }

    #[test]
    fn first_messages_are_read_as_the_rfc_says() {
        let user = |message: &str| {
            ScramExchange::begin(message.as_bytes(), "n", b"", |_| Some(secret()))
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
        assert!(ScramExchange::begin(b"n,,n=\xff,r=x", "n", b"", |_| None).is_err());
    }

    #[test]
    fn final_messages_of_another_form_are_refused() {
        for malformed in ["", "c=biws", "c=biws,r=x,p=", "c=eSws,r=x,p=AAAA", "p=,p="] {
            let refused = begun().finish(malformed.as_bytes());
            assert!(matches!(refused, Err(ScramError::Malformed(_))), "{malformed}");
        }
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", secret()), "ScramSecret { iterations: 4096, .. }");
    }
}
