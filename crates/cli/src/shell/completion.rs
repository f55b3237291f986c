//! Completion: orders in first place, topics that were seen behind it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use super::orders::names;

/// Topics that were seen or typed; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Completion {
    topics: Arc<Mutex<BTreeSet<String>>>,
}

/// No more topics are remembered than a person could want.
const TOPICS_MAX: usize = 10_000;

impl Completion {
    /// Remembers a topic, unless it could not be typed: with a blank it would be two words, and
    /// control characters of a stranger's must not get into a line.
    pub(crate) fn learn(&self, topic: &str) {
        if topic.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
            return;
        }
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if topics.len() < TOPICS_MAX && !topics.contains(topic) {
            topics.insert(topic.to_owned());
        }
    }

    /// Where the word at the end of `line` begins, and what it may become.
    fn candidates(&self, line: &str) -> (usize, Vec<String>) {
        let start = line.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let word = &line[start..];
        let begins = |text: &&str| text.starts_with(word);
        if line[..start].trim().is_empty() {
            return (start, names().filter(begins).map(str::to_owned).collect());
        }
        let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let known = topics.iter().map(String::as_str).filter(begins);
        (start, known.map(str::to_owned).collect())
    }
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, words) = self.candidates(&line[..at]);
        let pairs = words.into_iter().map(|word| Pair { display: word.clone(), replacement: word });
        Ok((start, pairs.collect()))
    }
}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}

impl Validator for Completion {}

impl Helper for Completion {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_come_first_and_known_topics_behind() {
        let completion = Completion::default();
        for topic in ["site/a", "site/b", "other", "site/\u{1b}[2J", "site/two words"] {
            completion.learn(topic);
        }
        assert_eq!(completion.candidates("s"), (0, vec!["sub".into(), "status".into()]));
        let found = completion.candidates("sub -q 1 si");
        assert_eq!(found, (9, vec!["site/a".into(), "site/b".into()]));
        assert!(completion.candidates("pub nothing").1.is_empty());
    }
}
