//! Our own language: TOML with groups and rules.
//!
//! ```toml
//! [groups]
//! operators = ["anna", "otto"]
//!
//! [[rule]]
//! groups = "operators"             # or users = …, or anonymous = true; without any, everybody
//! allow = ["publish", "read"]      # or deny = …
//! topics = ["plant/#", "devices/%c/#"]
//! ```
//!
//! All faults of a file are found in one go.

use crate::effect::{Effect, Rights};
use crate::problem::Problem;
use crate::rules::{Manner, Rule, Rules, Whom};
use crate::topic::Topic;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// Reads rules, and says what is wrong with them.
pub(crate) fn parse(source: &str, text: &str) -> (Rules, Vec<Problem>) {
    let mut reader = Reader {
        text,
        rules: Rules::new(source, Manner::Together),
        groups: Vec::new(),
        problems: Vec::new(),
    };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let message = error.message().trim().replace('\n', "; ");
        reader.note(error.span().unwrap_or(0..0), message);
    }
    if errors.is_empty() {
        reader.document(document.get_ref());
    }
    reader.problems.sort_by_key(|problem| problem.line);
    if reader.rules.is_empty() && reader.problems.is_empty() {
        reader.problems.push(Problem::of_file(
            "has no rules, so nobody could do anything: expected tables `[[rule]]`",
        ));
    }
    (reader.rules, reader.problems)
}

/// The words of `allow` and `deny`.
pub(crate) fn rights(word: &str, effect: Effect) -> Result<Rights, String> {
    let all = Rights::PUBLISH.and(Rights::READ).and(Rights::SUBSCRIBE);
    match (word, effect) {
        ("publish", _) => Ok(Rights::PUBLISH),
        // Whoever may read something may ask for it.
        ("read", Effect::Allow) => Ok(Rights::READ.and(Rights::SUBSCRIBE)),
        ("read", Effect::Deny) => Ok(Rights::READ),
        ("subscribe", _) => Ok(Rights::SUBSCRIBE),
        ("all", _) => Ok(all),
        ("wildcards", Effect::Deny) => Ok(Rights::WILDCARDS),
        ("wildcards", Effect::Allow) => Err(
            "`wildcards` can only be denied: they are allowed where `read` or `subscribe` covers \
                 the whole filter"
                .to_owned(),
        ),
        (other, effect) => {
            let more = if effect == Effect::Deny { ", `wildcards`" } else { "" };
            let found = other.escape_debug();
            Err(format!(
                "expected `publish`, `read`, `subscribe`{more} or `all`, found \"{found}\""
            ))
        }
    }
}

type Value<'a> = Spanned<DeValue<'a>>;

/// A string and where it stands.
struct Word<'a> {
    text: &'a str,
    span: Range<usize>,
}

struct Reader<'a> {
    text: &'a str,
    rules: Rules,
    groups: Vec<String>,
    problems: Vec<Problem>,
}

/// What a table `[[rule]]` says.
#[derive(Default)]
struct Entry<'a> {
    rights: Option<(Effect, Rights)>,
    topics: Vec<Word<'a>>,
    users: Vec<Word<'a>>,
    groups: Vec<Word<'a>>,
    anonymous: bool,
    is_faulty: bool,
}

impl Reader<'_> {
    fn document(&mut self, document: &DeTable<'_>) {
        // The groups first, wherever they stand.
        for (key, value) in document {
            if key.get_ref() == "groups" {
                self.groups(value);
            }
        }
        for (key, value) in document {
            match &**key.get_ref() {
                "groups" => {}
                "rule" => self.rules(value),
                other => {
                    let found = other.escape_debug();
                    self.note(
                        key.span(),
                        format!("expected `[groups]` or `[[rule]]`, found `{found}`"),
                    );
                }
            }
        }
    }

    fn groups(&mut self, value: &Value<'_>) {
        let DeValue::Table(table) = value.get_ref() else {
            let message = "`groups` is a table: expected `[groups]` with lines `name = [\"user\"]`";
            return self.note(value.span(), message);
        };
        for (name, users) in table {
            self.groups.push(name.get_ref().to_string());
            for user in self.words(name, users) {
                self.rules.join(user.text, name.get_ref());
            }
        }
    }

    fn rules(&mut self, value: &Value<'_>) {
        let DeValue::Array(tables) = value.get_ref() else {
            let message = "rules are tables of their own: expected `[[rule]]`, with its keys below";
            return self.note(value.span(), message);
        };
        for table in tables {
            match table.get_ref() {
                DeValue::Table(entries) => self.rule(table.span(), entries),
                _ => self.note(table.span(), "expected a table `[[rule]]`"),
            }
        }
    }

    fn rule(&mut self, span: Range<usize>, entries: &DeTable<'_>) {
        let before = self.problems.len();
        let mut entry = Entry::default();
        for (key, value) in entries {
            match &**key.get_ref() {
                "allow" => self.rights(&mut entry, Effect::Allow, key, value),
                "deny" => self.rights(&mut entry, Effect::Deny, key, value),
                "topics" | "topic" => entry.topics.extend(self.words(key, value)),
                "users" | "user" => entry.users.extend(self.words(key, value)),
                "groups" | "group" => entry.groups.extend(self.words(key, value)),
                "anonymous" => match value.get_ref() {
                    DeValue::Boolean(true) => entry.anonymous = true,
                    _ => self.note(value.span(), "`anonymous`: expected true, or no such line"),
                },
                other => {
                    let found = other.escape_debug();
                    let expected = "`allow`, `deny`, `topics`, `users`, `groups` or `anonymous`";
                    self.note(key.span(), format!("expected {expected}, found `{found}`"));
                }
            }
        }
        for group in &entry.groups {
            if !self.groups.iter().any(|known| known == group.text) {
                let found = group.text.escape_debug();
                self.note(
                    group.span.clone(),
                    format!("there is no group \"{found}\" in `[groups]`"),
                );
            }
        }
        entry.is_faulty = self.problems.len() > before;
        if !entry.is_faulty && entry.rights.is_none() {
            self.note(span.clone(), "a rule says `allow` or `deny`, such as `allow = \"read\"`");
        }
        if !entry.is_faulty && entry.topics.is_empty() {
            self.note(span, "a rule says its `topics`, such as `topics = [\"a/#\"]`");
        }
        self.take(&entry);
    }

    fn rights(
        &mut self,
        entry: &mut Entry<'_>,
        effect: Effect,
        key: &Spanned<DeString<'_>>,
        value: &Value<'_>,
    ) {
        if entry.rights.is_some() {
            let message = "a rule either allows or denies: write two";
            return self.note(key.span(), message);
        }
        let mut all: Option<Rights> = None;
        for word in self.words(key, value) {
            match rights(word.text, effect) {
                Ok(right) => all = Some(all.map_or(right, |all| all.and(right))),
                Err(message) => self.note(word.span, message),
            }
        }
        entry.rights = all.map(|all| (effect, all));
    }

    fn take(&mut self, entry: &Entry<'_>) {
        let Some((effect, rights)) = entry.rights else {
            return;
        };
        let mut whom: Vec<Whom<'_>> = Vec::new();
        whom.extend(entry.users.iter().map(|user| Whom::User(user.text)));
        whom.extend(entry.groups.iter().map(|group| Whom::Group(group.text)));
        whom.extend(entry.anonymous.then_some(Whom::Anonymous));
        if whom.is_empty() {
            whom.push(Whom::Everybody);
        }
        let text = described(&whom);
        for word in &entry.topics {
            let line = self.line_of(word.span.start);
            match Topic::with_names(word.text) {
                Ok(topic) => {
                    let whom_text = text.as_str().into();
                    self.rules.add(&whom, Rule { line, effect, rights, topic, whom: whom_text });
                }
                Err(why) => {
                    let found = word.text.escape_debug();
                    self.note(word.span.clone(), format!("\"{found}\": {why}"));
                }
            }
        }
    }

    /// A string, or a list of at least one.
    fn words<'v>(&mut self, key: &Spanned<DeString<'_>>, value: &'v Value<'_>) -> Vec<Word<'v>> {
        let one = |value: &'v Value<'_>| match value.get_ref() {
            DeValue::String(text) if !text.is_empty() => Some(Word { text, span: value.span() }),
            _ => None,
        };
        let words: Option<Vec<_>> = match value.get_ref() {
            DeValue::Array(all) if !all.is_empty() => all.iter().map(one).collect(),
            _ => one(value).map(|word| vec![word]),
        };
        words.unwrap_or_else(|| {
            let name = key.get_ref().escape_debug();
            self.note(
                value.span(),
                format!("`{name}`: expected a string that is not empty, or a list of some"),
            );
            Vec::new()
        })
    }

    fn line_of(&self, at: usize) -> usize {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    fn note(&mut self, span: Range<usize>, message: impl Into<String>) {
        let line = self.line_of(span.start);
        self.problems.push(Problem::error(line, message));
    }
}

fn described(whom: &[Whom<'_>]) -> String {
    let one = |whom: &Whom<'_>| match whom {
        Whom::Everybody => "everybody".to_owned(),
        Whom::Anonymous => "clients without a user name".to_owned(),
        Whom::User(name) => format!("user \"{}\"", name.escape_debug()),
        Whom::Group(name) => format!("group \"{}\"", name.escape_debug()),
    };
    let shown: Vec<_> = whom.iter().take(SHOWN_MAX).map(one).collect();
    let more = if whom.len() > SHOWN_MAX { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// So many of those whom a rule is for are named.
const SHOWN_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_mqtt::rights::{Who, Wish, Word as Said};
    use noctule_mqtt::{TopicFilter, TopicName};

    const EXAMPLE: &str = r##"
[groups]
operators = ["anna", "otto"]

[[rule]]
groups = "operators"
allow = "read"
topics = [
    "plant/#",
    "$SYS/#",
]

[[rule]]
users = "anna"
allow = "publish"
topics = ["plant/+/set"]

[[rule]]
deny = ["publish", "read"]
topics = "plant/secret/#"

[[rule]]
allow = "all"
topics = "devices/%c/#"

[[rule]]
anonymous = true
allow = "subscribe"
topics = "#"

[[rule]]
deny = "wildcards"
topics = ["devices/#"]
"##;

    #[test]
    fn the_example_means_what_it_says() {
        let (rules, problems) = parse("acl.toml", EXAMPLE);
        assert!(problems.is_empty(), "{problems:?}");
        let check = |user: &str, kind: char, text: &str, expected: Said| {
            let who = Who { client_id: "c1", user_name: (user != "-").then_some(user) };
            let wish = match kind {
                's' => Wish::Subscribe(TopicFilter::new(text).unwrap()),
                'r' => Wish::Read(TopicName::new(text).unwrap()),
                _ => Wish::Publish(TopicName::new(text).unwrap()),
            };
            let decision = rules.decide(who, wish);
            assert_eq!(decision.word, expected, "{user} {wish}: {}", decision.explain(&rules));
        };
        use Said::{Allowed, Denied, Unspoken};
        check("anna", 'r', "plant/1/temperature", Allowed);
        check("anna", 'r', "$SYS/broker/uptime", Allowed);
        check("anna", 's', "plant/+/temperature", Allowed);
        check("anna", 's', "plant/#", Allowed);
        check("anna", 's', "#", Denied);
        check("otto", 's', "plant2/#", Unspoken);
        check("anna", 'p', "plant/1/set", Allowed);
        check("otto", 'p', "plant/1/set", Unspoken);
        check("otto", 'r', "plant/secret/x", Denied);
        check("eve", 'r', "plant/1", Unspoken);
        check("eve", 'p', "devices/c1/x", Allowed);
        check("eve", 'p', "devices/c2/x", Unspoken);
        check("eve", 's', "devices/c1/x", Allowed);
        check("eve", 's', "devices/c1/#", Denied);
        check("-", 's', "other/+", Allowed);
        check("-", 's', "+/c1", Denied);
        check("-", 'r', "other/x", Unspoken);
    }

    #[test]
    fn an_explanation_names_the_line_of_the_topic() {
        let (rules, _) = parse("acl.toml", EXAMPLE);
        let who = Who { client_id: "c", user_name: Some("otto") };
        let said = rules.decide(who, Wish::Read(TopicName::new("$SYS/a").unwrap())).explain(&rules);
        assert_eq!(said, "by acl.toml:10: allow read, subscribe on $SYS/# (group \"operators\")");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_what_was_expected() {
        for (text, line, part) in [
            ("[[rule]]\nallow = \"write\"\ntopics = \"a\"", 2, "expected `publish`, `read`"),
            ("[[rule]]\nallow = \"wildcards\"\ntopics = \"a\"", 2, "can only be denied"),
            (
                "[[rule]]\nallow = \"read\"\ndeny = \"read\"\ntopics = \"a\"",
                3,
                "either allows or denies",
            ),
            ("[[rule]]\ntopics = \"a\"", 1, "says `allow` or `deny`"),
            ("[[rule]]\nallow = \"read\"", 1, "says its `topics`"),
            ("[[rule]]\nallow = \"read\"\ntopics = []", 3, "`topics`: expected a string"),
            ("[[rule]]\nallow = \"read\"\ntopics = \"a\"\nusers = []", 4, "`users`: expected"),
            ("[[rule]]\nallow = \"read\"\ntopics = \"a\"\nuser = \"\"", 4, "`user`: expected"),
            ("[[rule]]\nallow = \"read\"\ntopics = \"a\"\ngroups = \"g\"", 4, "no group \"g\""),
            ("[[rule]]\nallow = \"read\"\ntopics = \"a#\"", 3, "'#' must be the whole last level"),
            ("[[rule]]\nallow = \"read\"\ntopics = \"a\"\nanonymous = false", 4, "expected true"),
            ("[[rule]]\nallow = \"read\"\ntopics = \"a\"\nhost = 1", 4, "found `host`"),
            ("[rule]\nallow = \"read\"", 1, "`[[rule]]`"),
            ("\n[roles]\n", 2, "expected `[groups]` or `[[rule]]`"),
            ("groups = 1", 1, "`groups` is a table"),
            ("a = ", 1, ""),
        ] {
            let (_, problems) = parse("acl.toml", text);
            assert!(!problems.is_empty(), "{text}");
            let first = &problems[0];
            assert_eq!(first.line, Some(line), "{text}: {first:?}");
            assert!(first.message.contains(part), "{text}: {}", first.message);
        }
        let (_, problems) = parse("acl.toml", "# nothing\n");
        assert!(problems[0].message.contains("has no rules"), "{problems:?}");
    }
}
