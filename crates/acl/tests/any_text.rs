//! Any text as a file of rules, and any names that clients choose: nothing panics, what is wrong is
//! said, and no name makes a rule mean more.

use noctule_acl::{AclFile, Rules, Severity, Who, Wish, Word};
use noctule_mqtt::{TopicFilter, TopicName};
use proptest::prelude::*;
use std::path::Path;

/// Lines that look like rules, and some that do not.
fn a_line() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "topic",
        "pattern",
        "user",
        "read",
        "write",
        "readwrite",
        "deny",
        "a/#",
        "+/%u",
        "%c",
        "#",
        "a",
        "",
        "[[rule]]",
        "[groups]",
        "allow = \"read\"",
        "deny = \"wildcards\"",
        "topics = [\"a/#\"]",
        "g = \"a\"",
        "users = \"a\"",
        "\t",
        "é",
        "=",
        "\"",
        "a+",
        "a/#/b",
    ]);
    prop::collection::vec(words, 0..5).prop_map(|words| words.join(" "))
}

fn a_text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::collection::vec(a_line(), 0..12).prop_map(|lines| lines.join("\n")),
        any::<String>(),
    ]
}

/// Names with everything that could be special.
fn a_name() -> impl Strategy<Value = String> {
    "[ab+#/$%uc ]{0,4}"
}

fn decide_everything(rules: &Rules, name: &str) {
    for user_name in [None, Some(name)] {
        let who = Who { client_id: name, user_name };
        for text in ["a", "a/b", "$SYS/x", "/", "é"] {
            let topic = TopicName::new(text).expect("a topic");
            let filter = TopicFilter::new(text).expect("a filter");
            for wish in [Wish::Publish(topic), Wish::Read(topic), Wish::Subscribe(filter)] {
                let decision = rules.decide(who, wish);
                assert!(!decision.explain(rules).is_empty());
            }
        }
    }
}

fn allowed(rules: &Rules, who: Who<'_>, topic: &str) -> bool {
    let Ok(topic) = TopicName::new(topic) else { return false };
    rules.decide(who, Wish::Publish(topic)).word == Word::Allowed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_text_is_rules_or_says_what_is_wrong(text in a_text(), name in a_name()) {
        for file in ["rules", "rules.toml"] {
            match AclFile::parse(Path::new(file), &text) {
                Ok(file) => {
                    prop_assert!(!file.rules.is_empty(), "no rules is no file of rules");
                    decide_everything(&file.rules, &name);
                }
                Err(error) => {
                    prop_assert!(error.lines().count() > 0);
                    let lines = text.lines().count().max(1);
                    for problem in &error.problems {
                        prop_assert!(problem.line.is_none_or(|line| line >= 1 && line <= lines + 1));
                        prop_assert!(!problem.message.is_empty() && !problem.message.contains('\n'));
                    }
                    let is_error = |one: &noctule_acl::Problem| one.severity == Severity::Error;
                    prop_assert!(error.problems.iter().any(is_error));
                }
            }
        }
    }

    /// What a pattern allows lies where the name stands, as one level and unchanged.
    #[test]
    fn no_name_widens_a_pattern(user in a_name(), client in a_name(), topic in "[ab$ x/]{1,8}") {
        let who = Who { client_id: &client, user_name: Some(&user) };
        for (file, text) in [
            ("rules", "pattern p/%u/#\n"),
            ("rules.toml", "[[rule]]\nallow = \"publish\"\ntopics = \"p/%u/#\"\n"),
        ] {
            let rules = AclFile::parse(Path::new(file), text).unwrap().rules;
            let full = format!("p/{topic}");
            let own = full.split('/').nth(1) == Some(&*user) && !user.is_empty() && !user.contains('/');
            // In Mosquitto's language a client identifier may spoil it.
            let spoilt = file == "rules" && client.contains(['+', '#']);
            prop_assert_eq!(allowed(&rules, who, &full), own && !spoilt, "{} {:?}", file, user);
            prop_assert!(!allowed(&rules, who, &topic) || topic.starts_with("p/"));
        }
        for (file, text) in [
            ("rules", "pattern %c/#\n"),
            ("rules.toml", "[[rule]]\nallow = \"publish\"\ntopics = \"%c/#\"\n"),
        ] {
            let rules = AclFile::parse(Path::new(file), text).unwrap().rules;
            let own = topic.split('/').next() == Some(&*client) && !client.is_empty() && !client.starts_with('$');
            let spoilt = file == "rules" && user.contains(['+', '#']);
            prop_assert_eq!(allowed(&rules, who, &topic), own && !spoilt, "{} {:?}", file, client);
        }
    }
}
