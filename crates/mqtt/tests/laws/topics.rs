//! Topic filters against a second definition, as naive as it can be: a recursion over levels.

use noctule_mqtt::{TopicFilter, TopicName};
use proptest::prelude::*;

/// Section 4.7 in three rules, written without looking at the first definition.
fn matches(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) | ([], []) => true,
        ([first, filter @ ..], [level, topic @ ..]) => {
            (first == level || *first == "+") && matches(filter, topic)
        }
        _ => false,
    }
}

/// Section 4.7.2: a wildcard in first place does not match a `$`-topic.
fn naive(filter: &str, topic: &str) -> bool {
    let filter: Vec<_> = filter.split('/').collect();
    let topic: Vec<_> = topic.split('/').collect();
    let hidden = topic[0].starts_with('$') && (filter[0] == "+" || filter[0] == "#");
    !hidden && matches(&filter, &topic)
}

/// Few different levels, so that filters and topics meet.
fn level() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(""), Just("a"), Just("b"), Just("ab"), Just("é"), Just("$SYS")]
}

fn filter_level() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => level(), 2 => Just("+")]
}

pub(crate) fn topic() -> impl Strategy<Value = String> {
    let levels = proptest::collection::vec(level(), 1..6);
    let text = levels.prop_map(|levels| levels.join("/"));
    text.prop_filter("a topic has a character", |text| !text.is_empty())
}

pub(crate) fn filter() -> impl Strategy<Value = String> {
    let levels = proptest::collection::vec(filter_level(), 0..6);
    let text = (levels, any::<bool>()).prop_map(|(mut levels, hash)| {
        if hash {
            levels.push("#");
        }
        levels.join("/")
    });
    text.prop_filter("a filter has a character", |text| !text.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test] // [MQTT3-4.7.1-2] [MQTT3-4.7.1-3] [MQTT3-4.7.2-1] [MQTT5-4.7.1-1] [MQTT5-4.7.2-1]
    fn matching_is_what_the_naive_definition_says(filter in filter(), topic in topic()) {
        let found = TopicFilter::new(&filter).unwrap().matches(TopicName::new(&topic).unwrap());
        prop_assert_eq!(found, naive(&filter, &topic));
    }

    #[test]
    fn a_filter_made_from_a_topic_matches_it(
        topic in topic(),
        plus in any::<u8>(),
        keep in 0..7usize,
    ) {
        let mut levels: Vec<_> = topic.split('/').collect();
        let first_stays = levels[0].starts_with('$');
        for (index, level) in levels.iter_mut().enumerate() {
            if plus >> index & 1 == 1 && !(index == 0 && first_stays) {
                *level = "+";
            }
        }
        let keeps_first = keep > 0 || !first_stays;
        if keep < levels.len() && keeps_first {
            levels.truncate(keep);
            levels.push("#");
        }
        let filter = levels.join("/");
        let found = TopicFilter::new(&filter).unwrap().matches(TopicName::new(&topic).unwrap());
        prop_assert!(found, "{} {}", filter, topic);
    }

    #[test] // [MQTT3-4.7.1-1] [MQTT5-4.7.3-1]
    fn any_text_is_a_topic_or_a_filter_or_refused_for_a_reason(
        text in proptest::collection::vec(
            prop_oneof![Just('a'), Just('/'), Just('+'), Just('#'), Just('\0'), any::<char>()],
            0..12,
        ),
    ) {
        let text: String = text.into_iter().collect();
        let is_topic = !text.is_empty() && !text.contains(['+', '#', '\0']);
        prop_assert_eq!(TopicName::new(&text).is_ok(), is_topic);
        let levels: Vec<_> = text.split('/').collect();
        let whole = |level: &&str| !level.contains(['+', '#']) || *level == "+" || *level == "#";
        let hashes = levels.iter().rev().skip(1).filter(|level| level.contains('#')).count();
        let is_filter = !text.is_empty()
            && !text.contains('\0')
            && levels.iter().all(whole)
            && hashes == 0;
        prop_assert_eq!(TopicFilter::new(&text).is_ok(), is_filter);
    }
}
