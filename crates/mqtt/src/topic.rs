//! Topic names and topic filters (MQTT 3.1.1 and 5.0, section 4.7).
//!
//! A value of these types is well-formed; nobody checks it again. How long or how deep a topic may
//! be is a limit of the broker's and not decided here. Matching two strings lives here as well, as
//! the plain definition which faster indexes are tested against.

use crate::Violation;
use std::fmt;

/// Separates the levels of a topic.
pub const LEVEL_SEPARATOR: char = '/';

/// The longest topic name or filter in bytes, as its length has two bytes on the wire.
pub const TOPIC_BYTES_MAX: usize = u16::MAX as usize;

/// A topic name: at least one character, no wildcards, no U+0000.
///
/// It holds bytes that are known to be UTF-8, so that whoever has seen a topic before need not
/// check it again to have it as one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName<'a>(&'a [u8]);

impl<'a> TopicName<'a> {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`Violation::TopicEmpty`] `[MQTT3-4.7.3-1]` `[MQTT5-4.7.3-1]`,
    /// [`Violation::TopicHasWildcard`] `[MQTT3-3.3.2-2]` `[MQTT3-4.7.1-1]` `[MQTT5-3.3.2-2]`
    /// `[MQTT5-4.7.0-1]`, [`Violation::StringHasNull`] `[MQTT3-4.7.3-2]` `[MQTT5-4.7.3-2]`,
    /// [`Violation::TopicTooLong`] `[MQTT3-4.7.3-3]` `[MQTT5-4.7.3-3]`.
    pub fn new(text: &'a str) -> Result<Self, Violation> {
        if text.is_empty() {
            return Err(Violation::TopicEmpty);
        }
        if text.len() > TOPIC_BYTES_MAX {
            return Err(Violation::TopicTooLong { bytes: text.len() });
        }
        // One pass over the bytes without an early exit, which the compiler turns into vector
        // instructions; all three bytes looked for are single characters in UTF-8.
        let suspicious = text
            .bytes()
            .fold(false, |bad, byte| bad | (byte == b'+') | (byte == b'#') | (byte == 0));
        if suspicious {
            return Err(if text.contains('\0') {
                Violation::StringHasNull { field: "topic name" }
            } else {
                Violation::TopicHasWildcard
            });
        }
        Ok(Self(text.as_bytes()))
    }

    /// Takes bytes that are equal to those of an earlier topic name. Nothing is checked.
    pub const fn from_checked(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The text as bytes.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The text.
    ///
    /// # Panics
    /// If [`from_checked`](Self::from_checked) was given bytes that are no topic name.
    pub fn as_str(self) -> &'a str {
        std::str::from_utf8(self.0).expect("a topic name was checked to be UTF-8")
    }

    /// Whether this is a `$`-topic, which filters that begin with a wildcard do not match
    /// `[MQTT5-4.7.2-1]`.
    pub fn is_reserved(self) -> bool {
        self.0.first() == Some(&b'$')
    }

    /// How many levels the topic has; `"/"` has two.
    pub fn level_count(self) -> usize {
        level_count(self.0)
    }
}

impl fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TopicName").field(&self.as_str()).finish()
    }
}

/// A topic filter: a topic name whose levels may be the wildcard `+`, and whose last may be `#`.
///
/// It knows where its first wildcard is, as whoever has to do with filters asks for that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter<'a> {
    text: &'a str,
    /// How many bytes are in front of the first wildcard: all if there is none.
    literal_bytes: u16,
}

impl<'a> TopicFilter<'a> {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`Violation::TopicEmpty`] `[MQTT3-4.7.3-1]` `[MQTT5-4.7.3-1]`,
    /// [`Violation::FilterInvalid`] for a misplaced wildcard `[MQTT3-4.7.1-2]` `[MQTT3-4.7.1-3]`
    /// `[MQTT5-4.7.1-1]` `[MQTT5-4.7.1-2]`, [`Violation::StringHasNull`] `[MQTT3-4.7.3-2]`
    /// `[MQTT5-4.7.3-2]`, [`Violation::TopicTooLong`] `[MQTT3-4.7.3-3]` `[MQTT5-4.7.3-3]`.
    pub fn new(text: &'a str) -> Result<Self, Violation> {
        if text.is_empty() {
            return Err(Violation::TopicEmpty);
        }
        if text.len() > TOPIC_BYTES_MAX {
            return Err(Violation::TopicTooLong { bytes: text.len() });
        }
        let bytes = text.as_bytes();
        // Few filters have more than two bytes to be looked at.
        let mut suspicious = memchr::memchr3_iter(b'+', b'#', 0, bytes);
        let first = suspicious.next();
        for at in first.into_iter().chain(suspicious) {
            check_suspicious(bytes, at)?;
        }
        Ok(Self { text, literal_bytes: first.unwrap_or(bytes.len()) as u16 })
    }

    /// The text.
    pub const fn as_str(self) -> &'a str {
        self.text
    }

    /// Whether the filter contains `+` or `#`.
    pub fn has_wildcard(self) -> bool {
        usize::from(self.literal_bytes) < self.text.len()
    }

    /// How many levels the filter has, a final `#` included.
    pub fn level_count(self) -> usize {
        level_count(self.text.as_bytes())
    }

    /// The text up to the first level that is a wildcard, its separator included: what every
    /// matching topic begins with (but for the parent of `prefix/#`, which lacks the separator).
    pub fn literal_prefix(self) -> &'a str {
        &self.text[..usize::from(self.literal_bytes)]
    }

    /// The share name and inner filter of `$share/NAME/FILTER`, or `None` if this is no shared
    /// subscription.
    ///
    /// # Errors
    /// [`Violation::SharedFilterInvalid`] if it begins with `$share/` but lacks a name or a filter,
    /// or the name holds a wildcard `[MQTT5-4.8.2-1]` `[MQTT5-4.8.2-2]`.
    pub fn shared(self) -> Result<Option<SharedFilter<'a>>, Violation> {
        let Some(rest) = self.text.strip_prefix("$share/") else {
            return Ok(None);
        };
        let (name, filter) = rest.split_once(LEVEL_SEPARATOR).unwrap_or((rest, ""));
        if name.is_empty() || name.contains(['+', '#']) || filter.is_empty() {
            return Err(Violation::SharedFilterInvalid);
        }
        // The name has no wildcard.
        let in_front = (self.text.len() - filter.len()) as u16;
        let literal_bytes = self.literal_bytes - in_front;
        Ok(Some(SharedFilter { name, filter: TopicFilter { text: filter, literal_bytes } }))
    }

    /// Whether `topic` matches, by the letter of section 4.7: `+` is one level, `#` any number
    /// including none, and a wildcard in first place does not match `$`-topics `[MQTT5-4.7.2-1]`.
    pub fn matches(self, topic: TopicName<'_>) -> bool {
        if topic.is_reserved() && self.text.starts_with(['+', '#']) {
            return false;
        }
        let mut levels = topic.as_str().split(LEVEL_SEPARATOR);
        for wanted in self.text.split(LEVEL_SEPARATOR) {
            if wanted == "#" {
                return true;
            }
            match levels.next() {
                Some(level) if wanted == "+" || wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }
}

impl fmt::Display for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl fmt::Debug for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TopicFilter").field(&self.text).finish()
    }
}

/// The parts of a shared subscription's filter (MQTT 5.0 section 4.8.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedFilter<'a> {
    /// The share name, without separators and wildcards.
    pub name: &'a str,
    /// The filter that messages are matched against.
    pub filter: TopicFilter<'a>,
}

/// Whether a wildcard of a filter is where it may be. U+0000 may be nowhere.
fn check_suspicious(filter: &[u8], at: usize) -> Result<(), Violation> {
    let begins = at == 0 || filter[at - 1] == b'/';
    let behind = filter.get(at + 1);
    let why = match filter[at] {
        b'#' if begins && behind.is_none() => return Ok(()),
        b'+' if begins && behind.is_none_or(|next| *next == b'/') => return Ok(()),
        // Said first, whatever else is wrong.
        _ if memchr::memchr(0, filter).is_some() => {
            return Err(Violation::StringHasNull { field: "topic filter" });
        }
        b'#' => "'#' must be the whole last level",
        _ => "'+' must be a whole level",
    };
    Err(Violation::FilterInvalid { why })
}

fn level_count(text: &[u8]) -> usize {
    memchr::memchr_iter(b'/', text).count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row: filter, topics it matches, topics it does not (MQTT 3.1.1 and 5.0, section 4.7,
    /// whose own examples are among them).
    const MATCHES: &[(&str, &[&str], &[&str])] = &[
        (
            "sport/tennis/player1/#",
            &[
                "sport/tennis/player1",
                "sport/tennis/player1/ranking",
                "sport/tennis/player1/score/wimbledon",
            ],
            &["sport/tennis/player2", "sport/tennis"],
        ),
        ("sport/#", &["sport", "sport/", "sport/a/b"], &["sports", "/sport"]),
        ("#", &["a", "/", "a/b", "/a"], &["$SYS", "$SYS/a"]),
        (
            "sport/tennis/+",
            &["sport/tennis/player1", "sport/tennis/"],
            &["sport/tennis/player1/ranking", "sport/tennis"],
        ),
        ("sport/+", &["sport/", "sport/a"], &["sport"]),
        ("+", &["a", "finance"], &["/finance", "$SYS"]),
        ("+/+", &["/finance", "a/b"], &["a", "$SYS/a"]),
        ("/+", &["/finance", "/"], &["finance", "/a/b"]),
        ("+/monitor/Clients", &["a/monitor/Clients"], &["$SYS/monitor/Clients"]),
        ("$SYS/#", &["$SYS", "$SYS/broker"], &["SYS", "a"]),
        ("$SYS/monitor/+", &["$SYS/monitor/Clients"], &["$SYS/monitor"]),
        ("a//b", &["a//b"], &["a/b", "a/x/b"]),
        ("a/+/b", &["a//b", "a/x/b"], &["a/b"]),
        ("+/", &["a/", "/"], &["a", "a/b"]),
        ("ACCOUNTS", &["ACCOUNTS"], &["Accounts"]),
    ];

    #[test] // [MQTT3-4.7.1-2] [MQTT3-4.7.1-3] [MQTT3-4.7.2-1] [MQTT5-4.7.1-1] [MQTT5-4.7.2-1]
    fn filters_match_as_the_specification_says() {
        for (filter, matching, others) in MATCHES {
            let filter = TopicFilter::new(filter).unwrap();
            for topic in *matching {
                assert!(filter.matches(TopicName::new(topic).unwrap()), "{filter} {topic}");
            }
            for topic in *others {
                assert!(!filter.matches(TopicName::new(topic).unwrap()), "{filter} {topic}");
            }
        }
    }

    #[test] // [MQTT3-4.7.1-2] [MQTT3-4.7.1-3] [MQTT5-4.7.1-1] [MQTT5-4.7.1-2]
    fn misplaced_wildcards_are_refused() {
        for bad in ["sport/tennis#", "sport/#/ranking", "#/", "sport+", "+a", "a/+b/c", "a/b+"] {
            let refused = TopicFilter::new(bad);
            assert!(matches!(refused, Err(Violation::FilterInvalid { .. })), "{bad}: {refused:?}");
        }
    }

    #[test]
    fn a_filter_knows_where_its_first_wildcard_is() {
        for (filter, literal) in [
            ("a/b", "a/b"),
            ("#", ""),
            ("+/b/+", ""),
            ("a/+/b/#", "a/"),
            ("$share/g/a/b", "$share/g/a/b"),
            ("$share/g/a/+/#", "$share/g/a/"),
        ] {
            let parsed = TopicFilter::new(filter).unwrap();
            assert_eq!(parsed.literal_prefix(), literal);
            assert_eq!(parsed.has_wildcard(), literal != filter);
            if let Some(shared) = parsed.shared().unwrap() {
                assert_eq!(TopicFilter::new(shared.filter.as_str()), Ok(shared.filter), "{filter}");
            }
        }
        let longest = format!("{}/#", "x".repeat(TOPIC_BYTES_MAX - 2));
        assert_eq!(TopicFilter::new(&longest).unwrap().literal_prefix(), &longest[..65_534]);
    }

    #[test]
    fn a_null_is_what_is_said_first() {
        let refused = Err(Violation::StringHasNull { field: "topic filter" });
        for bad in ["a\0", "a+\0", "\0a+", "a/#/\0"] {
            assert_eq!(TopicFilter::new(bad), refused, "{bad:?}");
        }
    }

    #[test] // [MQTT5-4.8.2-1] [MQTT5-4.8.2-2]
    fn shared_filters_need_a_name_and_a_filter() {
        let shared = TopicFilter::new("$share/g/a/+").unwrap().shared().unwrap().unwrap();
        assert_eq!((shared.name, shared.filter.as_str()), ("g", "a/+"));
        assert_eq!(TopicFilter::new("$shared/g").unwrap().shared(), Ok(None));
        for bad in ["$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a"] {
            let filter = TopicFilter::new(bad).unwrap();
            assert_eq!(filter.shared(), Err(Violation::SharedFilterInvalid), "{bad}");
        }
    }

    // [MQTT3-3.3.2-2] [MQTT3-4.7.1-1] [MQTT3-4.7.3-1] [MQTT3-4.7.3-2] [MQTT3-4.7.3-3]
    // [MQTT5-3.3.2-2] [MQTT5-4.7.0-1] [MQTT5-4.7.3-1] [MQTT5-4.7.3-2] [MQTT5-4.7.3-3]
    #[test]
    fn topic_names_are_checked() {
        let long = "x".repeat(TOPIC_BYTES_MAX + 1);
        assert_eq!(TopicName::new(""), Err(Violation::TopicEmpty));
        assert_eq!(TopicName::new("a/+"), Err(Violation::TopicHasWildcard));
        assert_eq!(TopicName::new("a#"), Err(Violation::TopicHasWildcard));
        assert!(matches!(TopicName::new("a\0"), Err(Violation::StringHasNull { .. })));
        assert!(matches!(TopicName::new(&long), Err(Violation::TopicTooLong { .. })));
        assert!(TopicName::new(&long[1..]).is_ok());
        assert_eq!(TopicName::new("/").unwrap().level_count(), 2);
    }
}
