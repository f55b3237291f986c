//! Tokens that clients show instead of a password: the keys in use, read again when their file has
//! changed, and what a listener asks of a token.

use super::watched::{Readable, Watched};
use crate::clock::time_of_day;
use crate::options::Config;
use crate::run::StartError;
use noctule_auth::{TokenBearer, TokenError, TokenKeys, TokenRules};
use std::path::Path;
use tracing::info;

/// What a listener knows of tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    keys: Watched<TokenKeys>,
    rules: TokenRules,
}

impl Tokens {
    /// Reads the keys of a configuration and begins to watch them.
    ///
    /// # Errors
    /// [`StartError`] if they cannot be used, or no thread can be started.
    pub(super) fn watch(path: &Path, config: &Config) -> Result<Self, StartError> {
        let text = |text: &String| (!text.is_empty()).then(|| text.clone());
        let rules = TokenRules {
            issuer: text(&config.jwt_issuer),
            audience: text(&config.jwt_audience),
            user_claim: config.jwt_user_claim.clone(),
            client_id_claim: text(&config.jwt_client_id_claim),
            rights_claim: text(&config.jwt_acl_claim),
        };
        Ok(Self { keys: Watched::watch(path)?, rules })
    }

    /// Whom a token is for, if it is good for a client with this identifier now.
    pub(super) fn verify(&self, token: &[u8], client_id: &str) -> Result<TokenBearer, TokenError> {
        let now_s = u64::try_from(time_of_day().0).unwrap_or_default();
        self.keys.current().verify(token, &self.rules, client_id, now_s)
    }
}

impl Readable for TokenKeys {
    fn read(path: &Path) -> Result<Self, StartError> {
        Self::read(path).map_err(StartError::TokenKeys)
    }

    fn say_read_again(&self) {
        info!(keys = self.len(), "keys of tokens read again");
    }
}
