//! Keys and tokens that PyJWT and Python's cryptography have made, and what is wrong with some.

use super::*;

const KEYS: &str = include_str!("../../tests/tokens/jwks.json");
const TOKENS: &str = include_str!("../../tests/tokens/tokens.json");

/// When all of them but those without an end are good: in 2026.
const NOW_S: u64 = 1_795_000_000;
const END_S: u64 = 4_102_444_800;
const BEGIN_S: u64 = 1_700_000_000;

fn keys() -> TokenKeys {
    let room = tempfile(KEYS);
    let keys = TokenKeys::read(&room).unwrap();
    std::fs::remove_file(room).unwrap();
    keys
}

fn tempfile(content: &str) -> std::path::PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("noctule-keys-{}-{number}", std::process::id()));
    std::fs::write(&path, content).unwrap();
    path
}

fn token(name: &str) -> String {
    let all: Value = serde_json::from_str(TOKENS).unwrap();
    all[name].as_str().unwrap_or_else(|| panic!("no token {name}")).to_owned()
}

fn rules() -> TokenRules {
    TokenRules {
        issuer: Some("https://issuer.example".to_owned()),
        audience: Some("noctule".to_owned()),
        user_claim: "sub".to_owned(),
        client_id_claim: None,
        rights_claim: None,
    }
}

fn bearer(token: &str, rules: &TokenRules, now_s: u64) -> Result<TokenBearer, TokenError> {
    keys().verify(token.as_bytes(), rules, "sensor-1", now_s)
}

fn verify_at(token: &str, rules: &TokenRules, now_s: u64) -> Result<String, TokenError> {
    bearer(token, rules, now_s).map(|bearer| bearer.user)
}

fn verify(name: &str) -> Result<String, TokenError> {
    verify_at(&token(name), &rules(), NOW_S)
}

#[test]
fn each_algorithm_is_known() {
    assert_eq!(keys().len(), 5, "the one for encryption is passed over");
    for name in ["RS256", "PS512", "ES256", "ES384", "EDDSA", "HS256", "NAMELESS", "ONE_AUDIENCE"] {
        assert_eq!(verify(name).as_deref(), Ok("anna"), "{name}");
        assert!(is_token(token(name).as_bytes()), "{name}");
    }
}

#[test]
fn a_key_is_used_for_nothing_but_its_own_algorithm() {
    for (name, error) in [
        ("NONE", TokenError::Unreadable),
        ("CONFUSED", TokenError::UnknownKey),
        ("OTHER_ALGORITHM", TokenError::UnknownKey),
        ("OTHER_KEY", TokenError::UnknownKey),
        ("UNKNOWN_KEY", TokenError::UnknownKey),
        ("FOR_ENCRYPTION", TokenError::UnknownKey),
    ] {
        assert_eq!(verify(name), Err(error), "{name}");
        assert!(error.is_guess());
    }
}

#[test]
fn what_a_token_says_has_to_be_what_is_asked_for() {
    for (name, error) in [
        ("NO_END", TokenError::Expired),
        ("TEXT_END", TokenError::Expired),
        ("NO_USER", TokenError::NoUser),
        ("EMPTY_USER", TokenError::NoUser),
        ("BAD_USER", TokenError::NoUser),
        ("NO_AUDIENCE", TokenError::WrongAudience),
        ("NO_ISSUER", TokenError::WrongIssuer),
    ] {
        assert_eq!(verify(name), Err(error), "{name}");
        assert!(!error.is_guess());
    }
    let token = token("ES256");
    let with = |change: fn(&mut TokenRules)| {
        let mut rules = rules();
        change(&mut rules);
        verify_at(&token, &rules, NOW_S)
    };
    assert_eq!(
        with(|rules| rules.issuer = Some("https://issuer".into())),
        Err(TokenError::WrongIssuer)
    );
    assert_eq!(with(|rules| rules.audience = Some("noct".into())), Err(TokenError::WrongAudience));
    assert_eq!(with(|rules| rules.user_claim = "dev".into()).as_deref(), Ok("sensor-1"));
    assert_eq!(with(|rules| rules.user_claim = "exp".into()), Err(TokenError::NoUser));
    assert_eq!(with(|rules| rules.client_id_claim = Some("dev".into())).as_deref(), Ok("anna"));
    assert_eq!(
        with(|rules| rules.client_id_claim = Some("sub".into())),
        Err(TokenError::OtherClient)
    );
    assert_eq!(
        with(|rules| rules.client_id_claim = Some("none".into())),
        Err(TokenError::OtherClient)
    );
}

#[test]
fn what_a_token_says_of_rights_is_given_on_if_it_is_asked_for() {
    let token = token("ES256");
    let rights = |claim: Option<&str>| {
        let rules = TokenRules { rights_claim: claim.map(Into::into), ..rules() };
        bearer(&token, &rules, NOW_S).unwrap().rights
    };
    assert_eq!(rights(None), None);
    assert_eq!(rights(Some("acl")).as_deref(), Some("{}"), "nothing is no rights");
    assert_eq!(rights(Some("dev")).as_deref(), Some("\"sensor-1\""), "as it stands there");
}

#[test]
fn a_token_has_its_time_give_or_take_a_minute() {
    let at = |now_s| verify_at(&token("HS256"), &rules(), now_s).err();
    assert_eq!(at(BEGIN_S - 61), Some(TokenError::TooEarly));
    assert_eq!(at(BEGIN_S - 60), None);
    assert_eq!(at(END_S + 59), None);
    assert_eq!(at(END_S + 60), Some(TokenError::Expired));
}

#[test]
fn a_changed_token_is_no_token() {
    let token = token("ES256");
    let dots: Vec<_> = token.match_indices('.').map(|(at, _)| at).collect();
    for place in (0..token.len()).step_by(7).filter(|place| !dots.contains(place)) {
        let mut changed = token.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        assert!(keys().verify(&changed, &rules(), "x", NOW_S).is_err(), "{place}");
    }
    for end in (0..token.len()).step_by(11) {
        assert!(keys().verify(&token.as_bytes()[..end], &rules(), "x", NOW_S).is_err(), "{end}");
    }
    assert!(keys().verify(b"\xff.\xfe.\xfd", &rules(), "x", NOW_S).is_err());
}

#[test]
fn passwords_are_not_taken_for_tokens() {
    for text in ["", "secret", "a.b.c", "eyJ", "eyJ.a", "eyJ.a.b.c", "eyJ.a b.c", "xeyJ.a.b"] {
        assert!(!is_token(text.as_bytes()), "{text}");
    }
    assert!(is_token(b"eyJhbGciOiJub25lIn0.e30."), "refused later");
}

#[test]
fn files_that_cannot_be_used_say_why() {
    for (content, words) in [
        ("", "JSON Web Key Set"),
        ("{}", "JSON Web Key Set"),
        (r#"{"keys":[]}"#, "no key for signatures"),
        (r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#, "secret of key 1"),
        (r#"{"keys":[{"kty":"OKP","crv":"X25519","x":"AAAA"}]}"#, "no key for signatures"),
    ] {
        let path = tempfile(content);
        let said = TokenKeys::read(&path).unwrap_err().to_string();
        std::fs::remove_file(path).unwrap();
        assert!(said.contains(words) && !said.contains('\n'), "{said}");
    }
    let said = TokenKeys::read("/nowhere/keys".as_ref()).unwrap_err().to_string();
    assert!(said.starts_with("/nowhere/keys: cannot be read"), "{said}");
}
