//! The rights that a token claims for whoever shows it.
//!
//! ```json
//! { "publish": ["plant/%u/#"], "subscribe": ["plant/#"], "all": ["own/%c/#"], "deny": { "publish": [] } }
//! ```
//!
//! `pub` and `sub` are short for `publish` and `subscribe`. `subscribe` is to ask for messages and to be
//! given them, `read` is another word for it.

use crate::effect::{Effect, Rights};
use crate::rules::{Manner, Rule, Rules, Whom};
use crate::tables;
use crate::topic::Topic;
use serde_json::Value;

/// What a token is called where rules are named.
const SOURCE: &str = "the token";

/// As many topics as this one token may name.
const TOPICS_MAX: usize = 1_000;

impl Rules {
    /// The rules that the claim of a token makes, given as JSON.
    ///
    /// # Errors
    /// Why it makes none.
    pub fn of_claim(json: &str) -> Result<Self, String> {
        let claim = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let Value::Object(entries) = claim else {
            return Err(format!(
                "expected an object such as {{\"publish\": [\"a/#\"]}}, found {claim}"
            ));
        };
        let mut rules = Self::new(SOURCE, Manner::Together);
        for (key, value) in &entries {
            if key == "deny" {
                let denied = value.as_object().ok_or("`deny`: expected an object")?;
                for (key, value) in denied {
                    rules.claim(Effect::Deny, key, value)?;
                }
            } else {
                rules.claim(Effect::Allow, key, value)?;
            }
        }
        Ok(rules)
    }

    fn claim(&mut self, effect: Effect, key: &str, value: &Value) -> Result<(), String> {
        let rights = match (key, effect) {
            ("pub", _) => Rights::PUBLISH,
            ("sub" | "subscribe", Effect::Allow) => Rights::READ.and(Rights::SUBSCRIBE),
            ("sub", Effect::Deny) => Rights::SUBSCRIBE,
            (other, effect) => tables::rights(other, effect)?,
        };
        let not_topics = || format!("`{key}`: expected a list of topics");
        for topic in value.as_array().ok_or_else(not_topics)? {
            let text = topic.as_str().ok_or_else(not_topics)?;
            let topic = Topic::with_names(text).map_err(|why| format!("{text:?}: {why}"))?;
            if self.len() >= TOPICS_MAX {
                return Err(format!("more than {TOPICS_MAX} topics"));
            }
            let whom = "whoever shows it".into();
            self.add(&[Whom::Everybody], Rule { line: 0, effect, rights, topic, whom });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_mqtt::rights::{Who, Wish, Word};
    use noctule_mqtt::{TopicFilter, TopicName};

    #[test]
    fn a_claim_gives_what_it_names_and_nothing_else() {
        let json = r#"{"pub": ["a/%u"], "subscribe": ["b/#"], "all": ["c/%c/#"],
                       "deny": {"read": ["b/secret"]}}"#;
        let rules = Rules::of_claim(json).unwrap();
        let who = Who { client_id: "c1", user_name: Some("anna") };
        let publish = |text| rules.decide(who, Wish::Publish(TopicName::new(text).unwrap())).word;
        let read = |text| rules.decide(who, Wish::Read(TopicName::new(text).unwrap())).word;
        let subscribe =
            |text| rules.decide(who, Wish::Subscribe(TopicFilter::new(text).unwrap())).word;
        assert_eq!(publish("a/anna"), Word::Allowed);
        assert_eq!(publish("a/otto"), Word::Unspoken);
        assert_eq!(publish("b/x"), Word::Unspoken);
        assert_eq!(read("b/x"), Word::Allowed);
        assert_eq!(read("b/secret"), Word::Denied);
        assert_eq!((subscribe("b/#"), subscribe("#")), (Word::Allowed, Word::Unspoken));
        assert_eq!((publish("c/c1/x"), read("c/c1")), (Word::Allowed, Word::Allowed));
        assert!(Rules::of_claim("{}").unwrap().is_empty(), "nothing is nothing");
    }

    #[test]
    fn what_is_no_such_claim_is_refused() {
        for bad in [
            "",
            "[]",
            "null",
            r#""a""#,
            r#"{"write": ["a"]}"#,
            r#"{"pub": "a"}"#,
            r#"{"pub": [1]}"#,
            r#"{"pub": ["a#"]}"#,
            r#"{"deny": []}"#,
            r#"{"wildcards": ["a"]}"#,
        ] {
            assert!(Rules::of_claim(bad).is_err(), "{bad}");
        }
    }
}
