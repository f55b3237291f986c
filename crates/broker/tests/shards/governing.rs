//! What clients may do, when who publishes and who reads live on different shards.

use crate::{connecting, in_each_version};
use noctule_broker::{EntrancePolicy, Policies, Policy, Who, Wish, Word};
use noctule_mqtt::ReasonCode;
use noctule_testkit::packets::*;
use noctule_testkit::{Said, Shards};
use std::sync::Arc;

/// Whoever is called `closed` may read nothing below `t`, and publish nothing on `p`.
#[derive(Debug)]
struct Law;

impl Policy for Law {
    fn decide(&self, who: Who<'_>, wish: Wish<'_>) -> Word {
        let is_denied = match wish {
            Wish::Publish(topic) => topic.as_str() == "p",
            Wish::Read(topic) => topic.as_str().starts_with("t/"),
            Wish::Subscribe(_) => false,
        };
        let is_closed = who.user_name == Some("closed");
        if is_denied && is_closed { Word::Denied } else { Word::Allowed }
    }

    fn explain(&self, _: Who<'_>, _: Wish<'_>) -> String {
        "it is the law".to_owned()
    }
}

fn law() -> Policies {
    let policy: Option<Arc<dyn Policy>> = Some(Arc::new(Law));
    Policies {
        entrances: vec![EntrancePolicy { policy, ..EntrancePolicy::default() }],
        ..Policies::default()
    }
}

fn payloads(w: &mut Shards, name: &str) -> Vec<String> {
    let heard = w.all_heard(name).into_iter().filter_map(|said| match said {
        Said::Publish(publish) => Some(String::from_utf8_lossy(&publish.payload).into_owned()),
        _ => None,
    });
    heard.collect()
}

#[test]
fn a_reader_on_another_shard_is_judged_there_also_when_its_rights_change() {
    in_each_version(|version| {
        let mut w = Shards::new(2);
        let (sender, open, closed) = (w.name_at(0, 0), w.name_at(1, 0), w.name_at(1, 1));
        w.connect(&sender, 0, v5());
        w.connect(&open, 1, connecting(version).user("open"));
        w.connect(&closed, 0, connecting(version).user("closed"));
        for name in [&open, &closed] {
            w.subscribe(name, "#", 0);
        }
        let both = |w: &mut Shards, text: &str| {
            w.send(&sender, publish("t/x", text));
            (payloads(w, &open), payloads(w, &closed))
        };
        let one = |text: &str| vec![text.to_owned()];
        assert_eq!(both(&mut w, "before"), (one("before"), one("before")));
        w.govern(&law());
        assert_eq!(both(&mut w, "then"), (one("then"), Vec::new()));
        w.govern(&Policies::default());
        assert_eq!(both(&mut w, "after"), (one("after"), one("after")));
    });
}

#[test]
fn a_group_gives_what_its_member_elsewhere_may_not_read_to_another() {
    let mut w = Shards::new(2);
    let (sender, open, closed) = (w.name_at(0, 0), w.name_at(0, 1), w.name_at(1, 0));
    w.govern(&law());
    w.connect(&sender, 0, v5());
    w.connect(&open, 0, v5().user("open"));
    w.connect(&closed, 1, v5().user("closed"));
    for name in [&open, &closed] {
        w.subscribe(name, "$share/g/t/#", 0);
    }
    for number in 0..4 {
        w.send(&sender, publish("t/x", number.to_string()));
    }
    assert_eq!(payloads(&mut w, &open), ["0", "1", "2", "3"]);
    w.expect_nothing(&closed);
}

#[test]
fn a_publisher_is_judged_where_it_lives_whichever_shard_accepted_it() {
    let mut w = Shards::new(2);
    let closed = w.name_at(1, 0);
    w.govern(&law());
    w.connect(&closed, 0, v5().user("closed"));
    w.send(&closed, publish("p", "x").qos(1).id(1));
    w.expect(&closed, puback(1).because(ReasonCode::NotAuthorized));
    w.send(&closed, publish("q", "x").qos(1).id(2));
    w.expect(&closed, puback(2).because(ReasonCode::NoMatchingSubscribers));
}
