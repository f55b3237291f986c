//! The topics of a rule: a topic filter, in which `%u` and `%c` may stand for the user name and the
//! client identifier.
//!
//! Names are put in as text, never as wildcards, and where they could widen what a rule *allows*,
//! the rule does not hold: a name that is empty (`a%u/#` would become `a/#`), has a `/` (`%u/#` of a user
//! `anna/x` lies in anna's topics) or would make a topic of the broker's own (`%u/#` of a user
//! `$SYS`). A rule that *denies* holds for such names by the letter. A name with `+` or `#` is in no
//! topic at all, as topics cannot have these characters.

use crate::effect::Effect;
use noctule_mqtt::rights::Who;
use noctule_mqtt::topic::LEVEL_SEPARATOR;
use noctule_mqtt::{TopicFilter, TopicName};
use std::borrow::Cow;

/// The topics of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    text: Box<str>,
    has_names: bool,
}

/// Stands for the user name.
const USER: &str = "%u";
/// Stands for the client identifier.
const CLIENT: &str = "%c";

impl Topic {
    /// Topics without names in them; `%` is nothing special.
    ///
    /// # Errors
    /// Why this is no topic filter.
    pub fn plain(text: &str) -> Result<Self, String> {
        check(text)?;
        Ok(Self { text: text.into(), has_names: false })
    }

    /// Topics in which names may stand.
    ///
    /// # Errors
    /// Why this would be no topic filter.
    pub fn with_names(text: &str) -> Result<Self, String> {
        check(&text.replace(USER, "x").replace(CLIENT, "x"))?;
        Ok(Self { text: text.into(), has_names: text.contains(USER) || text.contains(CLIENT) })
    }

    /// The text, names not put in.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a name is to be put in.
    #[must_use]
    pub fn has_names(&self) -> bool {
        self.has_names
    }

    /// Whether a user name is to be put in.
    #[must_use]
    pub fn has_user(&self) -> bool {
        self.has_names && self.text.contains(USER)
    }

    /// The filter for somebody, if there is one.
    pub(crate) fn for_client(&self, who: Who<'_>, effect: Effect) -> Option<Cow<'_, str>> {
        if !self.has_names {
            return Some(Cow::Borrowed(&self.text));
        }
        let mut filled = String::with_capacity(self.text.len() + 32);
        let mut rest = &*self.text;
        while let Some(at) = rest.find('%') {
            let (before, name_on) = rest.split_at(at);
            filled.push_str(before);
            let name = match name_on.get(..2) {
                Some(USER) => Some(who.user_name?),
                Some(CLIENT) => Some(who.client_id),
                _ => None,
            };
            let Some(name) = name else {
                filled.push('%');
                rest = &name_on[1..];
                continue;
            };
            let is_first = filled.is_empty();
            if name.contains(['+', '#', '\0'])
                || (effect == Effect::Allow && could_widen(name, is_first))
            {
                return None;
            }
            filled.push_str(name);
            rest = &name_on[2..];
        }
        filled.push_str(rest);
        Some(Cow::Owned(filled))
    }
}

/// Whether a name in a rule could make it mean more than it was written to.
fn could_widen(name: &str, is_first: bool) -> bool {
    name.is_empty() || name.contains(LEVEL_SEPARATOR) || (is_first && name.starts_with('$'))
}

fn check(text: &str) -> Result<(), String> {
    TopicFilter::new(text).map(|_| ()).map_err(|violation| violation.to_string())
}

/// Whether a filter, of which nothing but its wildcards has to be in place, matches a topic.
pub(crate) fn matches(filter: &str, topic: TopicName<'_>) -> bool {
    // A name that was put in is text without wildcards, so this is a filter, unless it is too long.
    TopicFilter::new(filter).is_ok_and(|filter| filter.matches(topic))
}

/// Whether every topic that `inner` matches is matched by `outer`, too.
pub(crate) fn covers(outer: &str, inner: &str) -> bool {
    if inner.starts_with('$') && outer.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = with_first_level(inner).split(LEVEL_SEPARATOR);
    for wanted in outer.split(LEVEL_SEPARATOR) {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some("#") | None => return false,
            Some(level) if wanted == "+" || wanted == level => {}
            Some(_) => return false,
        }
    }
    levels.next().is_none()
}

/// `#`, said in a way that shows that every topic has a first level.
pub(crate) fn with_first_level(filter: &str) -> &str {
    if filter == "#" { "+/#" } else { filter }
}

/// Whether there is a topic that both match.
pub(crate) fn overlap(one: &str, other: &str) -> bool {
    let is_reserved = |text: &str| text.starts_with('$');
    let is_wild = |text: &str| text.starts_with(['+', '#']);
    if (is_reserved(one) && is_wild(other)) || (is_reserved(other) && is_wild(one)) {
        return false;
    }
    let (mut ones, mut others) = (one.split(LEVEL_SEPARATOR), other.split(LEVEL_SEPARATOR));
    loop {
        match (ones.next(), others.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(text: &str, user: Option<&str>, client: &str, effect: Effect) -> Option<String> {
        let topic = Topic::with_names(text).unwrap();
        let who = Who { client_id: client, user_name: user };
        topic.for_client(who, effect).map(Cow::into_owned)
    }

    #[test]
    fn names_are_put_in_as_text_and_never_widen_what_is_allowed() {
        let allow = |text, user, client| filled(text, user, client, Effect::Allow);
        let deny = |text, user, client| filled(text, user, client, Effect::Deny);
        assert_eq!(allow("%u/%c/x", Some("anna"), "c1").as_deref(), Some("anna/c1/x"));
        assert_eq!(allow("a%u/100%/%x", Some("b"), "c").as_deref(), Some("ab/100%/%x"));
        assert_eq!(allow("%u", None, "c"), None, "there is no user");
        for bad in ["+", "#", "a+", "x/#", "a/b", "", "$SYS"] {
            assert_eq!(allow("%u/#", Some(bad), "c"), None, "{bad}");
            assert_eq!(allow("%c/#", None, bad), None, "{bad}");
        }
        assert_eq!(allow("a/%u", Some("$x"), "c").as_deref(), Some("a/$x"), "no first level");
        assert_eq!(deny("%u/#", Some("a/b"), "c").as_deref(), Some("a/b/#"));
        assert_eq!(deny("a%u/#", Some(""), "c").as_deref(), Some("a/#"));
        assert_eq!(deny("%u/#", Some("+"), "c"), None, "no topic has it");
    }

    #[test]
    fn what_is_no_filter_is_refused_also_with_names() {
        for bad in ["", "a/#/b", "a+", "%u+", "#%c", "a#"] {
            assert!(Topic::with_names(bad).is_err(), "{bad}");
        }
        assert!(!Topic::plain("%u/a").unwrap().has_names());
    }

    const LEVELS: &[&str] = &["a", "b", "", "+", "$x"];

    fn a_filter() -> impl Strategy<Value = String> {
        let levels = prop::collection::vec(prop::sample::select(LEVELS), 1..4);
        (levels, any::<bool>()).prop_filter_map("not empty", |(levels, wild)| {
            let mut text = levels.join("/");
            if wild {
                text = if text.is_empty() { "#".into() } else { format!("{text}/#") };
            }
            (!text.is_empty()).then_some(text)
        })
    }

    /// All topics of up to five levels; `z` is in no filter.
    fn topics() -> Vec<String> {
        let levels = ["a", "b", "", "$x", "z"];
        let mut all: Vec<String> = levels.iter().map(|level| (*level).to_owned()).collect();
        let mut from = 0;
        for _ in 0..4 {
            let until = all.len();
            for at in from..until {
                all.extend(
                    levels.iter().map(|level| format!("{}/{level}", all[at])).collect::<Vec<_>>(),
                );
            }
            from = until;
        }
        all.retain(|topic| !topic.is_empty());
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// By their definitions, topic by topic.
        #[test]
        fn covering_and_overlapping_are_what_the_topics_say(one in a_filter(), other in a_filter()) {
            let is_in = |filter: &str, topic: &str| matches(filter, TopicName::new(topic).unwrap());
            let topics = topics();
            let inside = |t: &&String| is_in(&other, t);
            prop_assert_eq!(
                covers(&one, &other),
                topics.iter().filter(inside).all(|topic| is_in(&one, topic)),
                "{} covers {}", one, other
            );
            prop_assert_eq!(
                overlap(&one, &other),
                topics.iter().any(|topic| is_in(&one, topic) && is_in(&other, topic)),
                "{} overlaps {}", one, other
            );
        }
    }
}
