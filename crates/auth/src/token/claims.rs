//! What a token claims, held against what is asked for.

use serde_json::Value;

use super::{TokenBearer, TokenError, TokenRules};

/// Clocks differ by so many seconds.
const LEEWAY_S: f64 = 60.0;

/// What MQTT can carry in a user name.
const NAME_BYTES_MAX: usize = 65_535;

/// Whom it is for, if everything is as it has to be.
pub(super) fn check(
    claims: &Value,
    rules: &TokenRules,
    client_id: &str,
    now_s: u64,
) -> Result<TokenBearer, TokenError> {
    let now_s = now_s as f64;
    let expires = claims.get("exp").and_then(Value::as_f64).ok_or(TokenError::Expired)?;
    if now_s >= expires + LEEWAY_S {
        return Err(TokenError::Expired);
    }
    if let Some(begins) = claims.get("nbf")
        && begins.as_f64().is_none_or(|begins| now_s + LEEWAY_S < begins)
    {
        return Err(TokenError::TooEarly);
    }
    if let Some(issuer) = &rules.issuer
        && claims.get("iss").and_then(Value::as_str) != Some(issuer)
    {
        return Err(TokenError::WrongIssuer);
    }
    if let Some(audience) = &rules.audience
        && !claims.get("aud").is_some_and(|claimed| names(claimed, audience))
    {
        return Err(TokenError::WrongAudience);
    }
    if let Some(claim) = &rules.client_id_claim
        && claims.get(claim).and_then(Value::as_str) != Some(client_id)
    {
        return Err(TokenError::OtherClient);
    }
    let user = claims.get(&rules.user_claim).and_then(Value::as_str).unwrap_or_default();
    let is_name = (1..=NAME_BYTES_MAX).contains(&user.len()) && !user.contains(char::is_control);
    if !is_name {
        return Err(TokenError::NoUser);
    }
    let rights = rules
        .rights_claim
        .as_ref()
        .map(|claim| claims.get(claim).map_or_else(|| "{}".to_owned(), Value::to_string));
    Ok(TokenBearer { user: user.to_owned(), rights })
}

/// Whether a claim is this text, or a list with it.
fn names(claimed: &Value, wanted: &str) -> bool {
    match claimed {
        Value::String(one) => one == wanted,
        Value::Array(all) => all.iter().any(|one| one.as_str() == Some(wanted)),
        _ => false,
    }
}
