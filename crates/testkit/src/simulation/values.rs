//! What is retained: for each topic of its own owner, the value that was set last, as far as that
//! can be known.
//!
//! Only one client sets the value of a topic, always at the same QoS, so that the order in which it
//! does is the order of the numbers; but for what it said on a connection that it has left, and that
//! gets the session later.

use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Values {
    topics: BTreeMap<String, Topic>,
}

#[derive(Debug, Default)]
struct Topic {
    /// The message, if there is one.
    now: Option<usize>,
    /// What may have been set since, in order.
    since: Vec<Change>,
}

#[derive(Debug)]
struct Change {
    number: usize,
    clears: bool,
    at_most_once: bool,
    label: String,
    /// It is not sent again.
    lost: bool,
}

impl Values {
    /// A client sets a value, or clears it.
    pub(super) fn said(
        &mut self,
        topic: &str,
        number: usize,
        clears: bool,
        at_most_once: bool,
        label: &str,
    ) {
        let change = Change { number, clears, at_most_once, label: label.into(), lost: false };
        self.topics.entry(topic.into()).or_default().since.push(change);
    }

    /// A value that was set was acknowledged.
    pub(super) fn acknowledged(&mut self, topic: &str, number: usize) {
        let Some(topic) = self.topics.get_mut(topic) else {
            return;
        };
        if let Some(at) = topic.since.iter().position(|change| change.number == number) {
            topic.settle(at);
        }
    }

    /// A value is not sent again; whether it was set nobody knows.
    pub(super) fn abandoned(&mut self, topic: &str, number: usize) {
        let topic = self.topics.get_mut(topic);
        let mut changes = topic.into_iter().flat_map(|topic| &mut topic.since);
        if let Some(change) = changes.find(|change| change.number == number) {
            change.lost = true;
        }
    }

    /// Nobody listens to a connection any more: what was said on it at QoS 0 may be read later, or
    /// never. Returns which messages that are.
    pub(super) fn left(&mut self, label: &str) -> Vec<usize> {
        let all = self.topics.values_mut().flat_map(|topic| &mut topic.since);
        let left = all.filter(|change| change.at_most_once && change.label == label);
        left.map(|change| {
            change.lost = true;
            change.number
        })
        .collect()
    }

    /// Everything that was said on connections that are still there has been read.
    pub(super) fn read(&mut self, is_there: impl Fn(&str) -> bool) {
        for topic in self.topics.values_mut() {
            let read = |change: &Change| change.at_most_once && is_there(&change.label);
            if let Some(at) = topic.since.iter().rposition(read) {
                topic.settle(at);
            }
        }
    }

    /// What is certain: topics with their values.
    pub(super) fn certain(&self) -> impl Iterator<Item = (&str, usize)> {
        let certain = self.topics.iter().filter(|(_, topic)| topic.since.is_empty());
        certain.filter_map(|(name, topic)| Some((name.as_str(), topic.now?)))
    }

    /// Somebody has just asked for all topics, and these are there.
    ///
    /// # Errors
    /// If one may not be there, or misses.
    pub(super) fn learn(&mut self, there: &BTreeMap<String, usize>) -> Result<(), String> {
        if let Some(unknown) = there.keys().find(|name| !self.topics.contains_key(*name)) {
            return Err(format!("nobody has set {unknown}, and it is retained"));
        }
        for (name, topic) in &mut self.topics {
            let found = there.get(name).copied();
            let may_be = found == topic.now || topic.since.iter().any(|one| one.value() == found);
            if !may_be {
                return Err(format!("{name} is retained as {found:?}, and should be {topic:?}"));
            }
            topic.now = found;
            topic.forget_lost();
        }
        Ok(())
    }
}

impl Topic {
    fn settle(&mut self, at: usize) {
        self.now = self.since[at].value();
        let later = self.since.split_off(at + 1);
        self.since.retain(|change| change.lost);
        self.since.extend(later);
    }

    /// All is calm: what was lost has been set by now, or never is.
    ///
    /// One that is there may have been set after later ones, if its connection got the session from
    /// theirs. Of those that are not acknowledged a repetition at QoS 2 is answered, and sets nothing
    /// `[MQTT3-4.3.3-2]` `[MQTT5-4.3.3-10]`: so which is the last does not follow from PUBREC, and
    /// shows only when somebody asks again.
    fn forget_lost(&mut self) {
        let open = self.since.iter().rposition(|change| !change.lost).unwrap_or(0);
        let later = self.since.split_off(open);
        let now = self.now;
        self.since.retain(|change| !change.lost || change.value() == now);
        self.since.extend(later.into_iter().filter(|change| !change.lost));
    }
}

impl Change {
    fn value(&self) -> Option<usize> {
        (!self.clears).then_some(self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "r/g/2";

    /// Two values of QoS 2, the first on a connection that its client has left for that of the
    /// second, which is not acknowledged when somebody asks and has `found` one of them.
    fn left_and_asked(found: usize) -> Values {
        let mut values = Values::default();
        for number in [1, 2] {
            values.said(TOPIC, number, false, false, &format!("g#{number}"));
        }
        values.abandoned(TOPIC, 1);
        values.learn(&[(TOPIC.into(), found)].into()).expect("it may be there");
        values
    }

    fn certain(values: &Values) -> Vec<usize> {
        values.certain().map(|(_, number)| number).collect()
    }

    #[test] // [MQTT3-4.3.3-2] [MQTT5-4.3.3-10]
    fn a_value_that_is_there_may_have_come_after_one_whose_repetition_is_only_answered() {
        for last in [1, 2] {
            let mut values = left_and_asked(1);
            assert_eq!(certain(&values), []);
            values.acknowledged(TOPIC, 2);
            assert_eq!(certain(&values), [], "either may have been set last");
            values.learn(&[(TOPIC.into(), last)].into()).expect("either may be there");
            assert_eq!(certain(&values), [last]);
        }
    }

    #[test]
    fn a_value_that_was_lost_and_is_not_there_is_not_set_any_more() {
        let mut values = left_and_asked(2);
        values.acknowledged(TOPIC, 2);
        assert_eq!(certain(&values), [2]);
        assert!(values.learn(&[(TOPIC.into(), 1)].into()).is_err());
    }
}
