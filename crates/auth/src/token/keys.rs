//! A file with a JSON Web Key Set (RFC 7517): which keys may have signed a token, by which algorithms.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};

/// Far more than any issuer has.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A token that names no key is tried with each.
const KEYS_MAX: usize = 64;

/// RFC 7518 wants a secret as long as the hash.
const SECRET_BYTES_MIN: usize = 32;

/// Keys that may have signed a token.
#[derive(Debug, Clone, Default)]
pub struct TokenKeys {
    keys: Vec<TokenKey>,
}

#[derive(Debug, Clone)]
struct TokenKey {
    name: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// A file of keys that cannot be used, and why; one line.
#[derive(Debug)]
pub struct KeySetError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub fault: KeySetFault,
}

/// What is wrong with a file of keys.
#[derive(Debug)]
pub enum KeySetFault {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It has more than this many bytes.
    TooLarge(u64),
    /// It is no JSON Web Key Set: what the reader says.
    NoKeySet(String),
    /// It has more keys than this that sign.
    TooMany(usize),
    /// It has no key that signs in a way that is known.
    NoKeys,
    /// The secret of this key, from 1, has fewer bytes than 32.
    ShortSecret(usize),
}

impl TokenKeys {
    /// Reads a file. Keys that are not for signatures, and of kinds that are not known, are passed
    /// over.
    ///
    /// # Errors
    /// [`KeySetError`]: it cannot be used.
    pub fn read(path: &Path) -> Result<Self, KeySetError> {
        let error = |fault| KeySetError { path: path.to_owned(), fault };
        let text = read_text(path).map_err(error)?;
        Self::parse(&text).map_err(error)
    }

    fn parse(text: &str) -> Result<Self, KeySetFault> {
        let set: JwkSet =
            serde_json::from_str(text).map_err(|error| KeySetFault::NoKeySet(error.to_string()))?;
        let mut keys = Vec::new();
        for (number, jwk) in (1..).zip(&set.keys) {
            let algorithms = algorithms(jwk);
            let Ok(key) = DecodingKey::from_jwk(jwk) else {
                continue;
            };
            if algorithms.is_empty() || !signs(jwk) {
                continue;
            }
            let is_secret = matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_));
            let is_short = key.try_get_as_bytes().is_ok_and(|key| key.len() < SECRET_BYTES_MIN);
            if is_secret && is_short {
                return Err(KeySetFault::ShortSecret(number));
            }
            keys.push(TokenKey { name: jwk.common.key_id.clone(), algorithms, key });
        }
        match keys.len() {
            0 => Err(KeySetFault::NoKeys),
            1..=KEYS_MAX => Ok(Self { keys }),
            _ => Err(KeySetFault::TooMany(KEYS_MAX)),
        }
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that may have signed a token that names this key, if it names one, and this algorithm.
    pub(super) fn candidates(
        &self,
        name: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &DecodingKey> {
        let is_it = move |key: &&TokenKey| {
            key.algorithms.contains(&algorithm) && (name.is_none() || key.name.as_deref() == name)
        };
        self.keys.iter().filter(is_it).map(|key| &key.key)
    }
}

fn read_text(path: &Path) -> Result<String, KeySetFault> {
    let mut text = String::new();
    let file = File::open(path).map_err(KeySetFault::Unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(KeySetFault::Unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(KeySetFault::TooLarge(FILE_BYTES_MAX));
    }
    Ok(text)
}

fn signs(jwk: &Jwk) -> bool {
    matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature))
}

/// What a key is for: what it says, as far as its kind can do that, or else what its kind can.
fn algorithms(jwk: &Jwk) -> Vec<Algorithm> {
    let able: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(key) => match key.curve {
            EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
            _ => &[],
        },
        AlgorithmParameters::OctetKey(_) => &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512],
        _ => &[],
    };
    let Some(said) = jwk.common.key_algorithm else {
        return able.to_vec();
    };
    let said = Algorithm::from_str(&said.to_string()).ok();
    able.iter().copied().filter(|one| Some(*one) == said).collect()
}

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.fault {
            KeySetFault::Unreadable(error) => {
                write!(f, "{path}: cannot be read ({error}): check the path and its owner")
            }
            KeySetFault::TooLarge(max) => {
                write!(f, "{path}: has more than {max} bytes: name the file with the keys itself")
            }
            KeySetFault::NoKeySet(what) => write!(
                f,
                "{path}: expected a JSON Web Key Set, {{\"keys\": […]}}, as issuers of tokens publish \
                 it: {what}"
            ),
            KeySetFault::TooMany(max) => write!(f, "{path}: has more than {max} keys: name fewer"),
            KeySetFault::NoKeys => write!(
                f,
                "{path}: has no key for signatures by HS, RS, PS, ES256, ES384 or EdDSA (Ed25519)"
            ),
            KeySetFault::ShortSecret(number) => write!(
                f,
                "{path}: the secret of key {number} has fewer than {SECRET_BYTES_MIN} bytes: make a \
                 longer one"
            ),
        }
    }
}

impl std::error::Error for KeySetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            KeySetFault::Unreadable(error) => Some(error),
            _ => None,
        }
    }
}
