//! What must hold of a file of rules, in either language, whatever text it is. The fuzzer looks for text
//! that breaks it; the ordinary tests replay what it has found.

use noctule_acl::{AclFile, Decision, Rules, Severity, Who, Wish, Word};
use noctule_mqtt::{TopicFilter, TopicName};
use std::path::Path;

/// The first byte chooses the language, the others are the text.
pub(crate) fn rules(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(text);
    let name = if choice % 2 == 0 { MOSQUITTO } else { "rules.toml" };
    match AclFile::parse(Path::new(name), &text) {
        Ok(file) => {
            assert!(!file.rules.is_empty(), "no rules is no file of rules");
            assert!(file.warnings.iter().all(|warning| is_a_line(warning)), "{:?}", file.warnings);
            check_words(&file.rules, &text);
            if name == MOSQUITTO {
                check_denial(&file.rules, &text);
            }
        }
        Err(error) => {
            assert!(error.problems.iter().any(|one| one.severity == Severity::Error));
            assert!(error.lines().all(|line| is_a_line(&line)), "{:?}", error.problems);
            let lines = text.lines().count().max(1) + 1;
            for problem in &error.problems {
                assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem:?}");
            }
        }
    }
}

const MOSQUITTO: &str = "rules";

fn is_a_line(text: &str) -> bool {
    !text.is_empty() && !text.contains('\n')
}

const NAMES: [&str; 6] = ["anna", "a", "", "$SYS", "+", "a/b"];
const TOPICS: [&str; 7] = ["a", "a/b", "anna/x", "$SYS/x", "/", "a/anna/b", "é"];
const FILTERS: [&str; 7] = ["#", "+", "a/#", "+/b", "a", "$SYS/#", "anna/+"];

fn decide_all(rules: &Rules, mut each: impl FnMut(Who<'_>, Wish<'_>, Decision<'_>)) {
    for client_id in NAMES {
        for user_name in NAMES.map(Some).into_iter().chain([None]) {
            let who = Who { client_id, user_name };
            let mut ask = |wish| each(who, wish, rules.decide(who, wish));
            for topic in TOPICS.map(|topic| TopicName::new(topic).expect("a topic")) {
                ask(Wish::Publish(topic));
                ask(Wish::Read(topic));
            }
            for filter in FILTERS.map(|filter| TopicFilter::new(filter).expect("a filter")) {
                ask(Wish::Subscribe(filter));
            }
        }
    }
}

/// Every decision has its reason, and one that is by a rule is by one of this file.
fn check_words(rules: &Rules, text: &str) {
    let lines = text.lines().count().max(1) + 1;
    assert!(rules.iter().all(|rule| rule.line <= lines));
    decide_all(rules, |_, _, decision| {
        assert!(!decision.explain(rules).is_empty());
        assert_eq!(decision.is_allowed(), decision.word == Word::Allowed);
    });
}

/// What is added behind all others and denies a user everything does so, and to nobody else.
fn check_denial(rules: &Rules, text: &str) {
    let more = format!("{text}\nuser anna\ntopic deny #\n");
    let denied = AclFile::parse(Path::new(MOSQUITTO), &more).expect("two lines more").rules;
    decide_all(&denied, |who, wish, decision| {
        let topic = match wish {
            Wish::Publish(topic) | Wish::Read(topic) => topic.as_str(),
            Wish::Subscribe(_) => return,
        };
        if who.user_name == Some("anna") && !topic.starts_with('$') {
            assert_eq!(decision.word, Word::Denied, "{topic}");
        } else {
            assert_eq!(decision.word, rules.decide(who, wish).word, "{who:?} {topic}");
        }
    });
}
