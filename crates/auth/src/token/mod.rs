//! Tokens (JSON Web Tokens, RFC 7519) that clients show instead of a password: who has signed them,
//! for whom, until when, and who the client is by them.
//!
//! Keys come from a file with a JSON Web Key Set. What a key is for is said by the key and never by
//! the token: a token that names another algorithm than its key's, or none, is refused. Fetching keys
//! or tokens must not happen here.

mod claims;
mod crypto;
mod keys;

use std::fmt;

use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::Value;

pub use keys::{KeySetError, KeySetFault, TokenKeys};

/// What a token has to say besides being signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRules {
    /// Who has to have issued it (`iss`); none is whoever has a key.
    pub issuer: Option<String>,
    /// Whom it has to be for (`aud`); none is anybody.
    pub audience: Option<String>,
    /// The claim that names the user.
    pub user_claim: String,
    /// A claim that has to be the client identifier, if there is to be one.
    pub client_id_claim: Option<String>,
    /// The claim that says what its bearer may do, if it is asked for.
    pub rights_claim: Option<String>,
}

/// Whom a token is for, by what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBearer {
    /// The user.
    pub user: String,
    /// The claim about what he may do, as JSON; `{}` if it is asked for and not there, none if it is
    /// not asked for. What it means is not known here.
    pub rights: Option<String>,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// It is no signed token that can be read.
    Unreadable,
    /// There is no key of its name, or none for its algorithm.
    UnknownKey,
    /// None of the keys has signed it.
    WrongSignature,
    /// It does not say until when it is good, or its time is over.
    Expired,
    /// Its time has not come.
    TooEarly,
    /// Somebody else has issued it.
    WrongIssuer,
    /// It is for somebody else.
    WrongAudience,
    /// It names no user, or one that cannot be.
    NoUser,
    /// It is for a client with another identifier.
    OtherClient,
}

impl TokenError {
    /// Whether it looks like somebody's guess, and not like a right token that is used wrongly.
    #[must_use]
    pub fn is_guess(self) -> bool {
        matches!(self, Self::Unreadable | Self::UnknownKey | Self::WrongSignature)
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "the token cannot be read",
            Self::UnknownKey => "the token names no key that is known, or not its algorithm",
            Self::WrongSignature => "the token's signature is wrong",
            Self::Expired => "the token has expired, or does not say when it does",
            Self::TooEarly => "the token is not good yet",
            Self::WrongIssuer => "the token was issued by somebody else",
            Self::WrongAudience => "the token is for somebody else",
            Self::NoUser => "the token names no user",
            Self::OtherClient => "the token is for another client identifier",
        })
    }
}

impl std::error::Error for TokenError {}

/// Whether a password has the form of a signed token.
#[must_use]
pub fn is_token(password: &[u8]) -> bool {
    let is_base64 = |part: &[u8]| {
        part.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let mut parts = password.split(|byte| *byte == b'.');
    // Every header begins with `{"`.
    let has_header = parts.next().is_some_and(|part| part.starts_with(b"eyJ") && is_base64(part));
    has_header
        && parts.next().is_some_and(is_base64)
        && parts.next().is_some_and(is_base64)
        && parts.next().is_none()
}

impl TokenKeys {
    /// Whom a token is for, if it is good at `now_s` (seconds since 1970, by the wall clock)
    /// for a client with this identifier. Takes up to some 100 µs.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn verify(
        &self,
        token: &[u8],
        rules: &TokenRules,
        client_id: &str,
        now_s: u64,
    ) -> Result<TokenBearer, TokenError> {
        crypto::install();
        let header = decode_header(token).map_err(|_| TokenError::Unreadable)?;
        let mut validation = Validation::new(header.alg);
        // What is claimed is looked at below.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let mut failed = TokenError::UnknownKey;
        for key in self.candidates(header.kid.as_deref(), header.alg) {
            match decode::<Value>(token, key, &validation) {
                Ok(read) => return claims::check(&read.claims, rules, client_id, now_s),
                Err(_) => failed = TokenError::WrongSignature,
            }
        }
        Err(failed)
    }
}

#[cfg(test)]
mod tests;
