//! Topic aliases of MQTT 5, in both directions.

use noctule_mqtt::Property;
use std::collections::HashMap;

use super::ends;
use crate::lab::Lab;
use crate::outcome::{Stop, Verdict, ensure};
use crate::peer::Peer;
use crate::say::{Publishing, publish};

chapter! { "alias":
    in_place_of_the_topic ["MQTT5-3.3.2-12" "MQTT5-3.3.2.3.4"]
        "A message with an alias and no topic goes to the topic that came with the alias.";
    largest ["MQTT5-3.3.2-12"]
        "The alias with the number of the server's maximum is accepted.";
    given_anew ["MQTT5-3.3.2.3.4"]
        "An alias that comes with another topic means that one from then on.";
    zero ["MQTT5-3.3.2-8"]
        "The alias 0 ends the connection.";
    over_the_maximum ["MQTT5-3.3.2-9" "MQTT5-3.2.2-17"]
        "An alias over the server's maximum ends the connection, with 0x94 if anything.";
    that_means_nothing ["MQTT5-3.3.2.3.4"]
        "An alias without a topic that was never given ends the connection.";
    ends_with_the_connection ["MQTT5-3.3.2-7"]
        "An alias of the connection before means nothing on the next one of the same session.";
    of_its_sender_alone ["MQTT5-3.3.2-7"]
        "The same alias of two clients means two topics.";
    is_not_passed_on ["MQTT5-3.1.2-27"]
        "A message that came with an alias is passed on with its topic and without alias to a client that wants none.";
    qos_1_and_2 ["MQTT5-3.3.2.3.4"]
        "Messages at QoS 1 and 2 with an alias are acknowledged and go to its topic.";
    retained ["MQTT5-3.3.2.3.4" "MQTT5-3.3.1-5"]
        "A retained message that came with an alias is kept under its topic.";
    to_clients ["MQTT5-3.1.2-26" "MQTT5-3.3.2-11" "MQTT5-3.3.2-8"]
        "To a client that allows two, aliases are 1 or 2, come with a topic first, and mean that topic afterwards.";
    sent_again_with_topic ["MQTT5-3.3.2-7" "MQTT5-4.4.0-1"]
        "A message that was sent with an alias alone comes again on the next connection with a topic, or with an alias of that connection.";
    none_to_clients_without_maximum ["MQTT5-3.1.2-27"]
        "To a client that allows none, ten messages to one topic come without alias.";
}

/// A message of the check with an alias.
fn with_alias(topic: &str, payload: &str, alias: u16) -> Publishing {
    publish(topic, payload).with(Property::TopicAlias(alias))
}

fn need_aliases(lab: &Lab<'_>, count: u16) -> Verdict {
    lab.need(lab.granted().topic_alias_maximum >= count, "room for so many topic aliases")
}

fn in_place_of_the_topic(lab: &Lab<'_>) -> Verdict {
    need_aliases(lab, 1)?;
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 0)?;
    sender.send_publish(&with_alias(&topic, "first", 1));
    sender.send_publish(&with_alias("", "second", 1));
    sender.send_publish(&with_alias("", "third", 1));
    for payload in ["first", "second", "third"] {
        receiver.expect_message(&topic, payload, 0)?;
    }
    Ok(())
}

fn largest(lab: &Lab<'_>) -> Verdict {
    need_aliases(lab, 1)?;
    let (topic, maximum) = (lab.topic("t"), lab.granted().topic_alias_maximum);
    let (mut sender, mut receiver) = lab.pair(&topic, 0)?;
    sender.send_publish(&with_alias(&topic, "first", maximum));
    sender.send_publish(&with_alias("", "second", maximum));
    receiver.expect_message(&topic, "first", 0)?;
    receiver.expect_message(&topic, "second", 0).map(|_| ())
}

fn given_anew(lab: &Lab<'_>) -> Verdict {
    need_aliases(lab, 1)?;
    let (one, two) = (lab.topic("one"), lab.topic("two"));
    let (mut sender, mut receiver) = lab.pair(&one, 0)?;
    receiver.subscribe(&two, 0)?;
    sender.send_publish(&with_alias(&one, "1", 1));
    sender.send_publish(&with_alias(&two, "2", 1));
    sender.send_publish(&with_alias("", "3", 1));
    for (topic, payload) in [(&one, "1"), (&two, "2"), (&two, "3")] {
        receiver.expect_message(topic, payload, 0)?;
    }
    Ok(())
}

fn zero(lab: &Lab<'_>) -> Verdict {
    let message = publish(&lab.topic("t"), "m").raw_properties(&[0x23, 0, 0]);
    ends(lab, &message.bytes(lab.version()), &[0x81, 0x82, 0x94])
}

fn over_the_maximum(lab: &Lab<'_>) -> Verdict {
    let maximum = lab.granted().topic_alias_maximum;
    let Some(over) = maximum.checked_add(1) else {
        return Err(Stop::not_applicable("the broker takes every alias there is"));
    };
    let message = with_alias(&lab.topic("t"), "m", over);
    ends(lab, &message.bytes(lab.version()), &[0x94])
}

fn that_means_nothing(lab: &Lab<'_>) -> Verdict {
    need_aliases(lab, 1)?;
    ends(lab, &with_alias("", "m", 1).bytes(lab.version()), &[0x82, 0x94])
}

fn ends_with_the_connection(lab: &Lab<'_>) -> Verdict {
    need_aliases(lab, 1)?;
    let mut sender = lab.connect_as(&lab.lasting("a"))?;
    sender.send_publish(&with_alias(&lab.topic("t"), "m", 1));
    sender.ping()?;
    sender.leave();
    let mut again = lab.say_hello(&lab.lasting("a"))?;
    again.expect_accepted(true)?;
    again.send_publish(&with_alias("", "m", 1));
    again.expect_end(&[0x82, 0x94])
}

fn of_its_sender_alone(lab: &Lab<'_>) -> Verdict {
    need_aliases(lab, 1)?;
    let (one, two) = (lab.topic("one"), lab.topic("two"));
    let (mut first, mut receiver) = lab.pair(&one, 0)?;
    receiver.subscribe(&two, 0)?;
    let mut second = lab.connect("second")?;
    first.send_publish(&with_alias(&one, "1", 1));
    receiver.expect_message(&one, "1", 0)?;
    second.send_publish(&with_alias(&two, "2", 1));
    receiver.expect_message(&two, "2", 0)?;
    first.send_publish(&with_alias("", "3", 1));
    receiver.expect_message(&one, "3", 0).map(|_| ())
}

fn is_not_passed_on(lab: &Lab<'_>) -> Verdict {
    need_aliases(lab, 1)?;
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 0)?;
    for (name, payload) in [(topic.as_str(), "1"), ("", "2")] {
        sender.send_publish(&with_alias(name, payload, 1));
        let alias = receiver.expect_message(&topic, payload, 0)?.properties().topic_alias();
        ensure(alias.is_none(), "no topic alias", alias)?;
    }
    Ok(())
}

fn qos_1_and_2(lab: &Lab<'_>) -> Verdict {
    need_aliases(lab, 1)?;
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 0)?;
    sender.complete(&with_alias(&topic, "0", 1), 0)?;
    receiver.expect_message(&topic, "0", 0)?;
    for qos in 1..=lab.granted().maximum_qos {
        sender.complete(&with_alias("", "m", 1), qos)?;
        receiver.expect_message(&topic, "m", 0)?;
    }
    Ok(())
}

fn retained(lab: &Lab<'_>) -> Verdict {
    need_aliases(lab, 1)?;
    lab.need(lab.granted().retain_available, "retained messages")?;
    let topic = lab.topic("t");
    lab.keep(&topic);
    let mut sender = lab.connect("sender")?;
    sender.complete(&with_alias(&topic, "live", 1), 1)?;
    sender.complete(&with_alias("", "kept", 1).retain(), 1)?;
    let mut receiver = lab.connect("receiver")?;
    receiver.subscribe(&topic, 0)?;
    receiver.expect_message(&topic, "kept", 0).map(|_| ())
}

/// The topic of the next message, whose alias is at most `maximum` and is looked up in `known`.
fn resolved(
    receiver: &mut Peer,
    known: &mut HashMap<u16, String>,
    maximum: u16,
) -> Result<String, Stop> {
    let message = receiver.expect_publish()?;
    let Some(alias) = message.properties().topic_alias() else { return Ok(message.topic) };
    receiver.ensure((1..=maximum).contains(&alias), format!("an alias up to {maximum}"), alias)?;
    if !message.topic.is_empty() {
        known.insert(alias, message.topic);
    }
    match known.get(&alias) {
        Some(topic) => Ok(topic.clone()),
        None => receiver.fail("a topic with the first use of an alias", format!("alias {alias}")),
    }
}

fn to_clients(lab: &Lab<'_>) -> Verdict {
    let mut receiver =
        lab.connect_as(&lab.hello("receiver").with(Property::TopicAliasMaximum(2)))?;
    receiver.subscribe(&lab.topic("+"), 0)?;
    let mut sender = lab.connect("sender")?;
    let mut known = HashMap::new();
    for name in ["a", "b", "c", "a", "b", "c", "a"] {
        sender.publish(&lab.topic(name), "m", 0)?;
        let topic = resolved(&mut receiver, &mut known, 2)?;
        ensure(topic == lab.topic(name), format!("a message to {}", lab.topic(name)), topic)?;
    }
    Ok(())
}

fn none_to_clients_without_maximum(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 0)?;
    for _ in 0..10 {
        sender.publish(&topic, "m", 0)?;
        let alias = receiver.expect_message(&topic, "m", 0)?.properties().topic_alias();
        ensure(alias.is_none(), "no topic alias", alias)?;
    }
    Ok(())
}

fn sent_again_with_topic(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let hello = || lab.lasting("receiver").with(Property::TopicAliasMaximum(2));
    let mut receiver = lab.connect_as(&hello())?;
    receiver.subscribe(&topic, 1)?;
    let mut sender = lab.connect("sender")?;
    let mut known = HashMap::new();
    for payload in ["1", "2", "3"] {
        sender.publish(&topic, payload, 1)?;
        resolved(&mut receiver, &mut known, 2)?;
    }
    receiver.vanish();
    // Once to a client that takes aliases, once to one that does not.
    for (hello, maximum) in [(hello(), 2), (lab.lasting("receiver"), 0)] {
        let mut again = lab.say_hello(&hello)?;
        again.expect_accepted(true)?;
        let mut known = HashMap::new();
        for _ in 0..3 {
            let came = resolved(&mut again, &mut known, maximum)?;
            ensure(came == topic, format!("a message to {topic}"), came)?;
        }
        again.vanish();
    }
    Ok(())
}
