//! Mosquitto's language (mosquitto.conf(5), `acl_file`; read as version 2.0 reads it).
//!
//! ```text
//! topic [read|write|readwrite|deny] TOPIC     of the user named last; before any, of clients without one
//! user NAME
//! pattern [read|write|readwrite|deny] TOPIC   of everybody, with %u and %c
//! # a comment
//! ```
//!
//! Words are separated by blanks. A name or a topic goes to the end of the line, blanks inside
//! included.

use crate::effect::{Effect, Rights};
use crate::problem::Problem;
use crate::rules::{Manner, Rule, Rules, Whom};
use crate::topic::Topic;

const ACCESS: &str = "read, write, readwrite or deny";

/// Reads rules, and says what is wrong with them.
pub(crate) fn parse(source: &str, text: &str) -> (Rules, Vec<Problem>) {
    let mut reader =
        Reader { rules: Rules::new(source, Manner::Mosquitto), user: None, problems: Vec::new() };
    for (number, line) in text.split('\n').enumerate() {
        reader.line(number + 1, line.trim_ascii_end());
    }
    if reader.rules.is_empty() && reader.problems.is_empty() {
        reader.problems.push(Problem::of_file(
            "has no rules, so nobody could do anything: expected lines such as `topic read TOPIC`",
        ));
    }
    (reader.rules, reader.problems)
}

struct Reader<'a> {
    rules: Rules,
    /// Whose the next topics are.
    user: Option<&'a str>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn line(&mut self, number: usize, line: &'a str) {
        if line.starts_with('#') {
            return;
        }
        let line = line.trim_start_matches(' ');
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim_start_matches(' ');
        let outcome = match word {
            "" => Ok(()),
            "user" if rest.is_empty() => Err("expected a user name behind `user`".to_owned()),
            "user" => {
                self.user = Some(rest);
                Ok(())
            }
            "topic" => self.rule(number, rest, false),
            "pattern" => self.rule(number, rest, true),
            other => Err(format!(
                "expected a line that begins with `topic`, `pattern`, `user` or `#`, found \"{}\"",
                other.escape_debug()
            )),
        };
        if let Err(message) = outcome {
            self.problems.push(Problem::error(number, message));
        }
    }

    fn rule(&mut self, line: usize, rest: &str, is_pattern: bool) -> Result<(), String> {
        let read_write = Rights::PUBLISH.and(Rights::READ);
        let (effect, rights, topic) = match rest.split_once(' ') {
            None => (Effect::Allow, read_write, rest),
            Some((access, topic)) => {
                let (effect, rights) = match access {
                    "read" => (Effect::Allow, Rights::READ),
                    "write" => (Effect::Allow, Rights::PUBLISH),
                    "readwrite" => (Effect::Allow, read_write),
                    "deny" => (Effect::Deny, read_write),
                    other => {
                        let found = other.escape_debug();
                        return Err(format!(
                            "expected {ACCESS} before the topic, found \"{found}\""
                        ));
                    }
                };
                (effect, rights, topic.trim_start_matches(' '))
            }
        };
        if topic.is_empty() {
            return Err(format!("expected a topic, perhaps with {ACCESS} before it"));
        }
        self.warn_of_mistakes(line, topic, is_pattern);
        let parsed = if is_pattern { Topic::with_names(topic) } else { Topic::plain(topic) };
        let parsed = parsed.map_err(|why| format!("\"{}\": {why}", topic.escape_debug()))?;
        let user = self.user;
        let (whom, text) = match (is_pattern, user) {
            (true, _) => (Whom::Everybody, "everybody".to_owned()),
            (false, None) => (Whom::Anonymous, "clients without a user name".to_owned()),
            (false, Some(name)) => (Whom::User(name), format!("user \"{}\"", name.escape_debug())),
        };
        self.rules.add(&[whom], Rule { line, effect, rights, topic: parsed, whom: text.into() });
        Ok(())
    }

    /// What Mosquitto takes, and what was hardly meant.
    fn warn_of_mistakes(&mut self, line: usize, topic: &str, is_pattern: bool) {
        let first = topic.split(char::is_whitespace).next().unwrap_or_default();
        let text = topic.escape_debug();
        let message = if matches!(first, "read" | "write" | "readwrite" | "deny") {
            format!(
                "this is the topic \"{text}\", to be read and written: expected a topic behind {first}"
            )
        } else if is_pattern && !topic.contains("%u") && !topic.contains("%c") {
            format!(
                "the pattern \"{text}\" has neither %u nor %c in it, so it is the same for everybody"
            )
        } else if !is_pattern && (topic.contains("%u") || topic.contains("%c")) {
            format!(
                "in a `topic` line %u and %c are just text: expected `pattern` before \"{text}\""
            )
        } else {
            return;
        };
        self.problems.push(Problem::warning(line, message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Severity;
    use noctule_mqtt::TopicName;
    use noctule_mqtt::rights::{Who, Wish, Word};

    fn rules(text: &str) -> Rules {
        let (rules, problems) = parse("acl", text);
        let errors: Vec<_> =
            problems.iter().filter(|one| one.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "{errors:?}");
        rules
    }

    /// Who may do what by a file: user (`-` is none), client, `r` or `w`, topic, and whether.
    fn check(text: &str, rows: &[(&str, &str, char, &str, bool)]) {
        let rules = rules(text);
        for (user, client_id, access, topic, expected) in rows {
            let who = Who { client_id, user_name: (*user != "-").then_some(*user) };
            let name = TopicName::new(topic).unwrap();
            let wish = if *access == 'r' { Wish::Read(name) } else { Wish::Publish(name) };
            let decision = rules.decide(who, wish);
            let allowed = decision.word == Word::Allowed;
            assert_eq!(
                allowed,
                *expected,
                "{user} {client_id} {wish}: {}",
                decision.explain(&rules)
            );
        }
    }

    #[test]
    fn the_manuals_example_means_what_the_manual_says() {
        check(
            "# without a name\ntopic read $SYS/#\n\nuser anna\ntopic a/b\ntopic  write  c d/#\n\n\
             user with blanks\ntopic readwrite w\n\npattern write $SYS/broker/connection/%c/state\n",
            &[
                ("-", "c", 'r', "$SYS/broker", true),
                ("-", "c", 'w', "$SYS/broker", false),
                ("anna", "c", 'r', "$SYS/broker", false),
                ("anna", "c", 'r', "a/b", true),
                ("anna", "c", 'w', "a/b", true),
                ("anna", "c", 'w', "c d/x", true),
                ("anna", "c", 'r', "c d/x", false),
                ("with blanks", "c", 'r', "w", true),
                ("otto", "c", 'r', "a/b", false),
                ("otto", "c7", 'w', "$SYS/broker/connection/c7/state", true),
                ("-", "c7", 'w', "$SYS/broker/connection/c8/state", false),
            ],
        );
    }

    #[test]
    fn a_deny_wins_among_the_topics_and_among_the_patterns_and_topics_come_first() {
        check(
            "user anna\ntopic a/#\ntopic deny a/secret\npattern readwrite p/%u/#\npattern deny p/%u/x\n\
             user otto\ntopic p/#\n",
            &[
                ("anna", "c", 'r', "a/b", true),
                ("anna", "c", 'r', "a/secret", false),
                ("anna", "c", 'w', "a/secret", false),
                ("anna", "c", 'w', "p/anna/y", true),
                ("anna", "c", 'w', "p/anna/x", false),
                ("otto", "c", 'w', "p/otto/x", true),
            ],
        );
    }

    #[test]
    fn names_with_wildcards_have_no_patterns_and_others_never_widen_them() {
        let text =
            "topic t\npattern p/%u/#\npattern c/%c\npattern %u/#\npattern all\nuser +\ntopic own\n";
        check(
            text,
            &[
                ("+", "c", 'r', "p/anna/x", false),
                ("+", "c", 'r', "all", false),
                ("+", "c", 'r', "own", true),
                ("-", "#", 'r', "c/x", false),
                ("-", "#", 'r', "t", true),
                ("anna/x", "c", 'r', "p/anna/x/y", false),
                ("anna/x", "c", 'r', "all", true),
                ("", "c", 'r', "/secret", false),
                ("$SYS", "c", 'r', "$SYS/broker", false),
                ("-", "a/b", 'r', "c/a/b", false),
                ("anna", "a", 'r', "c/a", true),
            ],
        );
    }

    #[test]
    fn any_subscription_is_taken() {
        let rules = rules("user anna\ntopic a\n");
        let who = Who { client_id: "c", user_name: None };
        let all = noctule_mqtt::TopicFilter::new("#").unwrap();
        assert_eq!(rules.decide(who, Wish::Subscribe(all)).word, Word::Allowed);
        assert!(!rules.judge_subscriptions());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_what_was_expected() {
        for (text, line, part) in [
            ("topic a\nfoo bar\n", 2, "expected a line that begins with `topic`"),
            ("\ttopic a", 1, "found \"\\ttopic\""),
            ("  # no comment", 1, "found \"#\""),
            ("topic", 1, "expected a topic"),
            ("pattern   ", 1, "expected a topic"),
            ("user", 1, "expected a user name"),
            ("user  ", 1, "expected a user name"),
            (
                "topic Read a",
                1,
                "expected read, write, readwrite or deny before the topic, found \"Read\"",
            ),
            ("topic read a/#/b", 1, "'#' must be the whole last level"),
            ("topic a+", 1, "'+' must be a whole level"),
            ("pattern %u+", 1, "'+' must be a whole level"),
        ] {
            let (_, problems) = parse("acl", text);
            let first = &problems[0];
            assert_eq!((first.line, first.severity), (Some(line), Severity::Error), "{text:?}");
            assert!(first.message.contains(part), "{text:?}: {}", first.message);
        }
        for empty in ["", "\n\n# nothing\n", "user anna\n"] {
            let (_, problems) = parse("acl", empty);
            assert!(problems[0].message.contains("has no rules"), "{empty:?}: {problems:?}");
        }
    }

    #[test]
    fn what_was_hardly_meant_is_said() {
        for (text, part) in [
            ("topic read", "this is the topic \"read\""),
            ("topic read\ta", "this is the topic \"read\\ta\""),
            ("pattern read a", "neither %u nor %c"),
            ("topic read a/%u", "just text"),
        ] {
            let (rules, problems) = parse("acl", text);
            assert_eq!((rules.len(), problems[0].severity), (1, Severity::Warning), "{text:?}");
            assert!(problems[0].message.contains(part), "{text:?}: {}", problems[0].message);
        }
    }
}
