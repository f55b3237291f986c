//! A check: its name, the clauses it stands for, what it does in a sentence, and the function.
//!
//! The versions that a check is made for follow from its clauses: `MQTT3-…` is MQTT 3.1.1, `MQTT5-…`
//! is 5.0. A clause without a number is cited by its section.

use noctule_mqtt::ProtocolVersion;

use crate::checks;
use crate::lab::Lab;
use crate::outcome::Verdict;

/// A check of one behaviour.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its name, unique in its chapter.
    pub name: &'static str,
    /// The clauses that it stands for, such as `MQTT5-3.1.2-22`, or sections, such as
    /// `MQTT5-3.1.2.11.3`.
    pub clauses: &'static [&'static str],
    /// What it does and what must come of it, in one sentence.
    pub does: &'static str,
    pub(crate) run: fn(&Lab<'_>) -> Verdict,
}

/// Checks of one subject.
#[derive(Debug, Clone, Copy)]
pub struct Chapter {
    /// The subject.
    pub name: &'static str,
    /// Its checks.
    pub checks: &'static [Check],
}

/// The versions that there are checks for.
pub const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];

/// A check in one version: what is run and reported.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The name of its chapter.
    pub chapter: &'static str,
    /// The check.
    pub check: &'static Check,
    /// The version it is made in.
    pub version: ProtocolVersion,
}

impl Check {
    /// The clauses of one version.
    pub fn clauses_of(&self, version: ProtocolVersion) -> impl Iterator<Item = &'static str> {
        let prefix = prefix(version);
        self.clauses.iter().copied().filter(move |clause| clause.starts_with(prefix))
    }
}

impl Case {
    /// Chapter and name, which together name the case in its version.
    pub fn name(&self) -> String {
        format!("{}/{}", self.chapter, self.check.name)
    }

    /// Its clauses.
    pub fn clauses(&self) -> impl Iterator<Item = &'static str> {
        self.check.clauses_of(self.version)
    }

    /// Whether `filter` means this case: a clause, with or without version (`MQTT5-3.1.2-22`,
    /// `3.1.2-22`), a section (`3.3`, `MQTT3-4`), a chapter, or a name (`wills/on-loss`).
    pub fn is_meant_by(&self, filter: &str) -> bool {
        filter == self.chapter
            || filter == self.check.name
            || filter == self.name()
            || self.clauses().any(|clause| is_within(clause, filter))
    }
}

/// Whether `clause` is `filter` or lies in the section that it names.
fn is_within(clause: &str, filter: &str) -> bool {
    let number = clause.split_once('-').map_or("", |(_, number)| number);
    let begins = |whole: &str| {
        whole
            .strip_prefix(filter)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
    };
    !filter.is_empty() && (begins(clause) || begins(number))
}

fn prefix(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::V5 => "MQTT5-",
        ProtocolVersion::V311 | ProtocolVersion::V31 => "MQTT3-",
    }
}

/// All cases of these versions, in the order of the chapters.
pub fn cases(versions: &[ProtocolVersion]) -> Vec<Case> {
    let mut cases = Vec::new();
    for version in versions {
        for chapter in checks::CHAPTERS {
            let made = chapter.checks.iter().filter(|c| c.clauses_of(*version).next().is_some());
            cases.extend(made.map(|check| Case {
                chapter: chapter.name,
                check,
                version: *version,
            }));
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_section_means_what_lies_in_it_and_no_more() {
        for filter in ["MQTT5-3.1.2-22", "3.1.2-22", "3.1.2", "3.1", "3", "MQTT5-3.1"] {
            assert!(is_within("MQTT5-3.1.2-22", filter), "{filter}");
        }
        for filter in ["MQTT3-3.1.2-22", "3.1.2-2", "3.10", "", "MQTT5-3.1.20"] {
            assert!(!is_within("MQTT5-3.1.2-22", filter), "{filter}");
        }
    }

    #[test]
    fn names_are_unique_and_every_check_says_what_it_does_and_which_clauses_it_stands_for() {
        let mut names = HashSet::new();
        for case in cases(&VERSIONS) {
            assert!(names.insert((case.name(), case.version)), "{} twice", case.name());
            assert!(case.check.does.ends_with('.'), "{}: {}", case.name(), case.check.does);
        }
        for check in checks::CHAPTERS.iter().flat_map(|chapter| chapter.checks) {
            assert!(!check.clauses.is_empty(), "{} has no clause", check.name);
            for clause in check.clauses {
                let known = clause.starts_with("MQTT3-") || clause.starts_with("MQTT5-");
                assert!(known, "{}: {clause}", check.name);
            }
        }
    }

    #[test]
    fn there_are_many() {
        assert!(cases(&VERSIONS).len() >= 250, "{}", cases(&VERSIONS).len());
    }
}
