//! The rules of a file, and what they say to a wish.

use crate::effect::{Effect, Rights};
use crate::index::{Index, RuleId};
use crate::topic::{Topic, covers, matches, overlap};
use noctule_mqtt::rights::{Who, Wish, Word};
use std::collections::HashMap;
use std::fmt;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The line it stands in, from 1; zero if it stands in no file.
    pub line: usize,
    /// Whether it gives or takes.
    pub effect: Effect,
    /// What.
    pub rights: Rights,
    /// Where.
    pub topic: Topic,
    /// To whom, for people.
    pub whom: Box<str>,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match self.effect {
            Effect::Allow => "allow",
            Effect::Deny => "deny",
        };
        let Self { rights, topic, whom, .. } = self;
        write!(f, "{effect} {rights} on {} ({whom})", topic.as_str())
    }
}

/// For whom a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom<'a> {
    Everybody,
    Anonymous,
    User(&'a str),
    Group(&'a str),
}

/// How rules are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// The user's, then those of everybody; any subscription is taken.
    Mosquitto,
    /// All at once.
    Together,
}

/// Rules that do not change. See the crate's description.
#[derive(Debug, Clone)]
pub struct Rules {
    source: Box<str>,
    manner: Manner,
    all: Vec<Rule>,
    everybody: Set,
    anonymous: Set,
    users: HashMap<Box<str>, Set>,
    groups: HashMap<Box<str>, Set>,
    /// The groups of each user who is in one.
    members: HashMap<Box<str>, Vec<Box<str>>>,
}

/// Rules that hold for the same clients.
#[derive(Debug, Clone, Default)]
struct Set {
    index: Index,
    /// Those with names in their topics, of which there are few.
    with_names: Vec<RuleId>,
    all: Vec<RuleId>,
}

/// The answer to a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision<'a> {
    /// What the rules say.
    pub word: Word,
    /// Why they do.
    pub why: Why<'a>,
}

/// Why rules say what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why<'a> {
    /// By this rule.
    Rule(&'a Rule),
    /// No rule is about it.
    NoRule,
    /// Mosquitto's language knows no right to subscribe.
    AnySubscription,
    /// The user name or the client identifier has `+` or `#` in it, and there are patterns.
    DangerousName,
}

impl Rules {
    pub(crate) fn new(source: &str, manner: Manner) -> Self {
        Self {
            source: source.into(),
            manner,
            all: Vec::new(),
            everybody: Set::default(),
            anonymous: Set::default(),
            users: HashMap::new(),
            groups: HashMap::new(),
            members: HashMap::new(),
        }
    }

    /// Adds a rule for somebody.
    pub(crate) fn add(&mut self, whom: &[Whom<'_>], rule: Rule) {
        // A file has at most as many bytes as this number can say.
        let id = self.all.len() as RuleId;
        for one in whom {
            let set = match one {
                Whom::Everybody => &mut self.everybody,
                Whom::Anonymous => &mut self.anonymous,
                Whom::User(name) => self.users.entry((*name).into()).or_default(),
                Whom::Group(name) => self.groups.entry((*name).into()).or_default(),
            };
            set.add(id, &rule);
        }
        self.all.push(rule);
    }

    /// A user is in a group.
    pub(crate) fn join(&mut self, user: &str, group: &str) {
        let groups = self.members.entry(user.into()).or_default();
        if !groups.iter().any(|known| **known == *group) {
            groups.push(group.into());
        }
    }

    /// Whether there are rules for a group of this name.
    #[must_use]
    pub fn has_group(&self, name: &str) -> bool {
        self.groups.contains_key(name)
    }

    /// Whether there is anything in them that holds for a user's name alone.
    #[must_use]
    pub fn names_users(&self) -> bool {
        !self.users.is_empty()
            || !self.members.is_empty()
            || self.all.iter().any(|rule| rule.topic.has_user())
    }

    /// Where they come from: the name of a file.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All rules, in the order in which they were written.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.all.iter()
    }

    /// Whether they may refuse a subscription.
    #[must_use]
    pub fn judge_subscriptions(&self) -> bool {
        self.manner == Manner::Together
    }

    /// What they say to somebody's wish. Takes a look at the rules that are about it, and at those
    /// with names in their topics.
    #[must_use]
    pub fn decide(&self, who: Who<'_>, wish: Wish<'_>) -> Decision<'_> {
        self.decide_with(who, &[], wish)
    }

    /// The same, if the user were in these groups besides.
    #[must_use]
    pub fn decide_with(&self, who: Who<'_>, groups: &[&str], wish: Wish<'_>) -> Decision<'_> {
        let own = match who.user_name {
            Some(name) => self.users.get(name),
            None => Some(&self.anonymous),
        };
        match self.manner {
            Manner::Mosquitto => self.decide_in_turn(own, who, wish),
            Manner::Together => {
                let member = who.user_name.and_then(|name| self.members.get(name));
                let member = member.into_iter().flatten().map(|name| &**name);
                let groups = member.chain(groups.iter().copied());
                let groups = groups.filter_map(|name| self.groups.get(name));
                let sets = [Some(&self.everybody), own].into_iter().flatten().chain(groups);
                self.decide_together(sets, who, wish)
            }
        }
    }

    fn decide_in_turn(&self, own: Option<&Set>, who: Who<'_>, wish: Wish<'_>) -> Decision<'_> {
        if matches!(wish, Wish::Subscribe(_)) {
            return Decision { word: Word::Allowed, why: Why::AnySubscription };
        }
        let decided = self.decide_together(own, who, wish);
        if decided.word != Word::Unspoken || self.everybody.all.is_empty() {
            return decided;
        }
        let is_dangerous = |name: &str| name.contains(['+', '#']);
        if is_dangerous(who.client_id) || who.user_name.is_some_and(is_dangerous) {
            return Decision { word: Word::Denied, why: Why::DangerousName };
        }
        self.decide_together([&self.everybody], who, wish)
    }

    fn decide_together<'s>(
        &self,
        sets: impl IntoIterator<Item = &'s Set>,
        who: Who<'_>,
        wish: Wish<'_>,
    ) -> Decision<'_> {
        let (mut denied, mut allowed): (Option<RuleId>, Option<RuleId>) = (None, None);
        let first =
            |found: &mut Option<RuleId>, id| *found = Some(found.map_or(id, |old| old.min(id)));
        for set in sets {
            set.about(&self.all, who, wish, |id| match self.all[id as usize].effect {
                Effect::Deny => first(&mut denied, id),
                Effect::Allow => first(&mut allowed, id),
            });
        }
        let by = |id: RuleId| Why::Rule(&self.all[id as usize]);
        match (denied, allowed) {
            (Some(id), _) => Decision { word: Word::Denied, why: by(id) },
            (None, Some(id)) => Decision { word: Word::Allowed, why: by(id) },
            (None, None) => Decision { word: Word::Unspoken, why: Why::NoRule },
        }
    }
}

impl Set {
    fn add(&mut self, id: RuleId, rule: &Rule) {
        self.all.push(id);
        if rule.topic.has_names() {
            self.with_names.push(id);
        } else {
            self.index.insert(rule.topic.as_str(), id);
        }
    }

    /// Visits the rules of the set that say something to a wish.
    fn about(&self, rules: &[Rule], who: Who<'_>, wish: Wish<'_>, mut visit: impl FnMut(RuleId)) {
        let filter = match wish {
            Wish::Publish(topic) | Wish::Read(topic) => topic.as_str(),
            Wish::Subscribe(filter) => filter.as_str(),
        };
        self.index.covering(filter, |id| {
            if rules[id as usize].is_about(wish) {
                visit(id);
            }
        });
        for id in &self.with_names {
            let rule = &rules[*id as usize];
            let filled = || rule.topic.for_client(who, rule.effect);
            if rule.is_about(wish) && filled().is_some_and(|filter| rule.reaches(&filter, wish)) {
                visit(*id);
            }
        }
        // What denies a subscription need not cover it.
        if let Wish::Subscribe(_) = wish {
            for id in &self.all {
                let rule = &rules[*id as usize];
                if rule.effect == Effect::Deny
                    && !rule.topic.has_names()
                    && rule.is_about(wish)
                    && rule.reaches(rule.topic.as_str(), wish)
                {
                    visit(*id);
                }
            }
        }
    }
}

impl Rule {
    /// Whether its right is the one that is asked about.
    fn is_about(&self, wish: Wish<'_>) -> bool {
        match wish {
            Wish::Publish(_) => self.rights.has(Rights::PUBLISH),
            Wish::Read(_) => self.rights.has(Rights::READ),
            Wish::Subscribe(filter) => {
                self.rights.has(Rights::SUBSCRIBE)
                    || (self.rights.has(Rights::WILDCARDS) && filter.has_wildcard())
            }
        }
    }

    /// Whether `filter`, which are its topics for somebody, is what the wish is about.
    fn reaches(&self, filter: &str, wish: Wish<'_>) -> bool {
        match (wish, self.effect) {
            (Wish::Publish(topic) | Wish::Read(topic), _) => matches(filter, topic),
            (Wish::Subscribe(wanted), Effect::Allow) => covers(filter, wanted.as_str()),
            (Wish::Subscribe(wanted), Effect::Deny) => overlap(filter, wanted.as_str()),
        }
    }
}

impl Decision<'_> {
    /// Whether it is allowed, if nobody else has anything to say.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.word == Word::Allowed
    }

    /// The decision in words, with the rule and where it stands.
    #[must_use]
    pub fn explain(&self, rules: &Rules) -> String {
        let source = rules.source();
        match self.why {
            Why::Rule(rule) if rule.line == 0 => format!("by {source}: {rule}"),
            Why::Rule(rule) => format!("by {source}:{}: {rule}", rule.line),
            Why::NoRule => format!("no rule of {source} allows it"),
            Why::AnySubscription => {
                "any subscription is taken; what it brings is decided message by message".to_owned()
            }
            Why::DangerousName => format!(
                "the user name or the client identifier has + or # in it, and no topic of its own in \
                 {source} is about it: patterns do not hold for such names"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_mqtt::{TopicFilter, TopicName};
    use proptest::prelude::*;

    const FILTERS: &[&str] = &[
        "#", "+", "a", "a/#", "a/+", "+/b", "a/b", "a/+/c", "+/+/#", "$SYS/#", "$SYS/+", "b/#",
        "/#", "%u/#", "a/%c", "%u/%c", "$SYS/%u",
    ];
    const WANTED: &[&str] = &[
        "#", "+", "+/#", "a", "a/#", "a/+", "a/b", "b/c", "a/b/c", "$SYS/a", "$SYS/#", "anna/x",
        "a/c1", "anna/c1", "/", "+/b",
    ];

    fn a_rule() -> impl Strategy<Value = (u8, bool, u8, &'static str)> {
        (0u8..4, any::<bool>(), 1u8..8, prop::sample::select(FILTERS))
    }

    fn rights(bits: u8) -> Rights {
        let all = [Rights::PUBLISH, Rights::READ, Rights::SUBSCRIBE];
        let chosen = all.into_iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
        chosen.map(|(_, right)| right).reduce(Rights::and).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// Whatever index and sets do: a rule that reaches a wish is found, and a deny wins.
        #[test]
        fn decisions_are_those_of_looking_at_every_rule(
            written in prop::collection::vec(a_rule(), 0..12),
            wanted in prop::sample::select(WANTED),
            kind in 0..3,
            anonymous: bool,
        ) {
            let mut rules = Rules::new("test", Manner::Together);
            rules.join("anna", "g");
            let who = Who { client_id: "c1", user_name: (!anonymous).then_some("anna") };
            let filter = TopicFilter::new(wanted).unwrap();
            let wish = match (kind, TopicName::new(wanted)) {
                (0, Ok(topic)) => Wish::Publish(topic),
                (1, Ok(topic)) => Wish::Read(topic),
                _ => Wish::Subscribe(filter),
            };
            let mut words = Vec::new();
            for (whom, gives, bits, text) in written {
                let whom =
                    [Whom::Everybody, Whom::Anonymous, Whom::User("anna"), Whom::Group("g")][usize::from(whom)];
                let effect = if gives { Effect::Allow } else { Effect::Deny };
                let topic = Topic::with_names(text).unwrap();
                let rule = Rule { line: 1, effect, rights: rights(bits), topic, whom: "".into() };
                let holds = match whom {
                    Whom::Everybody => true,
                    Whom::Anonymous => anonymous,
                    Whom::User(_) | Whom::Group(_) => !anonymous,
                };
                let reaches = rule.topic.for_client(who, effect)
                    .is_some_and(|filter| rule.reaches(&filter, wish));
                if holds && rule.is_about(wish) && reaches {
                    words.push(effect);
                }
                rules.add(&[whom], rule);
            }
            let expected = if words.contains(&Effect::Deny) {
                Word::Denied
            } else if words.contains(&Effect::Allow) {
                Word::Allowed
            } else {
                Word::Unspoken
            };
            prop_assert_eq!(rules.decide(who, wish).word, expected);
        }
    }
}
