//! What an answer says. Invariant: only what says yes is yes.

use super::CalloutFailure;
use serde_json::Value;

/// What is said of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It may come in, as the user whose name it gives.
    Allow,
    /// It may not.
    Deny,
    /// Nothing is known of it; somebody else may be asked.
    Ignore,
}

impl Answer {
    /// Reads an answer: its status, and the body of one with status 200.
    ///
    /// | status | body | |
    /// |---|---|---|
    /// | 200 | none, `allow`, `ok`, `{"result": "allow"}`, `{"ok": true}` | allow |
    /// | 200 | `deny`, `{"result": "deny"}`, `{"ok": false}` | deny |
    /// | 200 | `ignore`, `{"result": "ignore"}` | ignore |
    /// | 204 | | allow |
    /// | 4xx but 408 and 429 | | deny |
    /// | anything else | | failure |
    pub(super) fn read(status: u16, body: &[u8]) -> Result<Self, CalloutFailure> {
        match status {
            200 => Self::of_body(body).ok_or(CalloutFailure::NoAnswer),
            204 => Ok(Self::Allow),
            408 | 429 => Err(CalloutFailure::Status(status)),
            400..=499 => Ok(Self::Deny),
            _ => Err(CalloutFailure::Status(status)),
        }
    }

    fn of_body(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?.trim();
        if !text.starts_with('{') {
            return match text {
                "" | "ok" => Some(Self::Allow),
                word => Self::of_word(word),
            };
        }
        let json: Value = serde_json::from_str(text).ok()?;
        match (json.get("result"), json.get("ok")) {
            (Some(result), None) => Self::of_word(result.as_str()?),
            (None, Some(ok)) => Some(if ok.as_bool()? { Self::Allow } else { Self::Deny }),
            // One that says two things says nothing.
            _ => None,
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        match word {
            "allow" => Some(Self::Allow),
            "deny" => Some(Self::Deny),
            "ignore" => Some(Self::Ignore),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_usual_backends_answer_is_understood() {
        let cases: &[(u16, &str, Answer)] = &[
            (200, "", Answer::Allow),
            (200, "allow\n", Answer::Allow),
            (200, "ok", Answer::Allow),
            (200, r#"{"result": "allow", "is_superuser": true}"#, Answer::Allow),
            (200, r#"{"ok": true, "error": ""}"#, Answer::Allow),
            (204, "", Answer::Allow),
            (200, "deny", Answer::Deny),
            (200, r#"{"result":"deny"}"#, Answer::Deny),
            (200, r#"{"ok": false}"#, Answer::Deny),
            (401, "", Answer::Deny),
            (403, r#"{"result":"allow"}"#, Answer::Deny),
            (404, "", Answer::Deny),
            (200, r#"{"result":"ignore"}"#, Answer::Ignore),
        ];
        for (status, body, expected) in cases {
            assert_eq!(Answer::read(*status, body.as_bytes()), Ok(*expected), "{status} {body}");
        }
    }

    #[test]
    fn what_is_not_understood_lets_nobody_in() {
        let bodies: &[&[u8]] = &[
            b"<html>please log in</html>",
            b"ALLOW",
            b"yes",
            b"{",
            b"{}",
            b"[]",
            br#"{"result": true}"#,
            br#"{"ok": "true"}"#,
            br#"{"result": "allow", "ok": false}"#,
            b"\xff",
        ];
        for body in bodies {
            let read = Answer::read(200, body);
            assert_eq!(read, Err(CalloutFailure::NoAnswer), "{}", body.escape_ascii());
        }
        for status in [100, 201, 202, 301, 302, 408, 429, 500, 503] {
            let read = Answer::read(status, b"allow");
            assert_eq!(read, Err(CalloutFailure::Status(status)));
        }
    }
}
