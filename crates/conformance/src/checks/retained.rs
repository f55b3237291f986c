//! Retained messages: kept, replaced, removed, and sent for new subscriptions.

use crate::heard::Message;
use crate::lab::Lab;
use crate::outcome::{Stop, Verdict, ensure};
use crate::peer::Peer;
use crate::say::publish;

chapter! { "retained":
    kept ["MQTT3-3.3.1-5" "MQTT3-3.3.1-6" "MQTT3-3.3.1-8" "MQTT5-3.3.1-5" "MQTT5-3.3.1-9"]
        "A retained message is sent for a new subscription, with the retain flag.";
    live ["MQTT3-3.3.1-9" "MQTT5-3.3.1-12"]
        "A retained message is passed on to a subscription that is there without the retain flag.";
    replaced ["MQTT3-3.3.1-5" "MQTT5-3.3.1-5"]
        "The last retained message of a topic is the one that is kept.";
    replaced_at_qos_0 ["MQTT3-3.3.1-7" "MQTT5-3.3.1-5"]
        "A retained message at QoS 0 replaces one at QoS 1; a server may also keep neither.";
    removed ["MQTT3-3.3.1-10" "MQTT3-3.3.1-11" "MQTT5-3.3.1-6" "MQTT5-3.3.1-7"]
        "An empty message with the retain flag removes the retained message and is not kept.";
    removal_is_passed_on ["MQTT3-3.3.1-10" "MQTT5-3.3.1-6"]
        "The empty message itself is passed on like any other.";
    untouched ["MQTT3-3.3.1-12" "MQTT5-3.3.1-8"]
        "A message without the retain flag, empty or not, leaves the retained one as it is.";
    wildcard ["MQTT3-3.3.1-6" "MQTT5-3.3.1-9"]
        "A new subscription with a wildcard gets the retained messages of all topics that match, and no others.";
    again ["MQTT3-3.8.4-3" "MQTT5-3.8.4-4" "MQTT5-3.3.1-9"]
        "A repeated subscription gets the retained message again.";
    other_filter ["MQTT3-3.3.1-6" "MQTT5-3.3.1-9"]
        "A second, overlapping subscription of a client gets the retained message, too.";
    lower_qos ["MQTT3-3.8.4-6" "MQTT5-3.8.4-8"]
        "A retained message of QoS 1 comes at QoS 0 to a subscription at QoS 0.";
    several_filters ["MQTT3-3.8.4-4" "MQTT5-3.8.4-5"]
        "SUBSCRIBE with two filters gets the retained messages of both.";
    handling_1 ["MQTT5-3.3.1-10"]
        "With retain handling 1 a new subscription gets the retained message, and the same again does not.";
    handling_1_after_unsubscribe ["MQTT5-3.3.1-10"]
        "With retain handling 1 a subscription that was ended and is made again gets the retained message.";
    handling_2 ["MQTT5-3.3.1-11"]
        "With retain handling 2 a new subscription gets no retained message, and gets live ones.";
    as_published ["MQTT5-3.3.1-13"]
        "With retain as published a live message has the retain flag that its sender gave it, either way.";
    resumed_session ["MQTT3-3.3.1-6" "MQTT5-3.3.1-9"]
        "A client that returns to its session gets no retained message for the subscription that it had.";
    waiting_message ["MQTT3-3.3.1-9" "MQTT5-3.3.1-12"]
        "A retained message that waited for a client that is away comes without the retain flag.";
}

/// A client that has retained "kept" on the topic of the check.
fn sender(lab: &Lab<'_>) -> Result<Peer, Stop> {
    let mut sender = lab.connect("sender")?;
    lab.retain(&mut sender, &lab.topic("t"), "kept")?;
    Ok(sender)
}

/// What a new subscription gets, which must be one message and have the retain flag.
fn found(lab: &Lab<'_>, payload: &str, qos: u8) -> Result<Message, Stop> {
    let topic = lab.topic("t");
    let mut receiver = lab.connect("late")?;
    receiver.subscribe(&topic, qos)?;
    let message = receiver.expect_message(&topic, payload, qos.min(1))?;
    receiver.ensure(message.retain, "the retain flag", &message)?;
    receiver.acknowledge(&message)?;
    receiver.expect_silence()?;
    Ok(message)
}

fn nothing_found(lab: &Lab<'_>) -> Verdict {
    let mut receiver = lab.connect("late")?;
    receiver.subscribe(&lab.topic("t"), 0)?;
    receiver.expect_silence()
}

fn kept(lab: &Lab<'_>) -> Verdict {
    sender(lab)?;
    found(lab, "kept", 1).map(|_| ())
}

fn live(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 1)?;
    lab.retain(&mut sender, &topic, "live")?;
    let message = receiver.expect_message(&topic, "live", 1)?;
    receiver.ensure(!message.retain, "no retain flag", message)
}

fn replaced(lab: &Lab<'_>) -> Verdict {
    let mut sender = sender(lab)?;
    lab.retain(&mut sender, &lab.topic("t"), "newer")?;
    found(lab, "newer", 1).map(|_| ())
}

fn replaced_at_qos_0(lab: &Lab<'_>) -> Verdict {
    let mut sender = sender(lab)?;
    let topic = lab.topic("t");
    sender.send_publish(&publish(&topic, "newer").retain());
    sender.ping()?;
    let mut receiver = lab.connect("late")?;
    receiver.subscribe(&topic, 1)?;
    match receiver.maybe(lab.patience().silence)? {
        None => Ok(()),
        Some(crate::heard::Heard::Publish(message)) if message.payload == b"newer" => Ok(()),
        Some(other) => receiver.wrong("'newer' or nothing", &other),
    }
}

fn removed(lab: &Lab<'_>) -> Verdict {
    let mut sender = sender(lab)?;
    lab.retain(&mut sender, &lab.topic("t"), "")?;
    nothing_found(lab)
}

fn removal_is_passed_on(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 1)?;
    lab.retain(&mut sender, &topic, "kept")?;
    receiver.take(&topic, "kept", 1)?;
    lab.retain(&mut sender, &topic, "")?;
    let message = receiver.take(&topic, "", 1)?;
    receiver.ensure(!message.retain, "no retain flag", message)
}

fn untouched(lab: &Lab<'_>) -> Verdict {
    let mut sender = sender(lab)?;
    sender.publish(&lab.topic("t"), "other", 1)?;
    sender.publish(&lab.topic("t"), "", 1)?;
    found(lab, "kept", 1).map(|_| ())
}

fn wildcard(lab: &Lab<'_>) -> Verdict {
    lab.need(lab.granted().wildcards, "wildcards")?;
    let mut sender = lab.connect("sender")?;
    for topic in ["a/1", "a/2", "b/1"] {
        lab.retain(&mut sender, &lab.topic(topic), topic)?;
    }
    let mut receiver = lab.connect("late")?;
    receiver.subscribe(&lab.topic("a/+"), 0)?;
    let mut came = vec![receiver.expect_publish()?.topic, receiver.expect_publish()?.topic];
    came.sort();
    ensure(came == [lab.topic("a/1"), lab.topic("a/2")], "the messages of a/1 and a/2", came)?;
    receiver.expect_silence()
}

fn again(lab: &Lab<'_>) -> Verdict {
    sender(lab)?;
    let topic = lab.topic("t");
    let mut receiver = lab.connect("late")?;
    for _ in 0..2 {
        receiver.subscribe(&topic, 1)?;
        let message = receiver.take(&topic, "kept", 1)?;
        receiver.ensure(message.retain, "the retain flag", message)?;
    }
    receiver.expect_silence()
}

fn other_filter(lab: &Lab<'_>) -> Verdict {
    lab.need(lab.granted().wildcards, "wildcards")?;
    sender(lab)?;
    let topic = lab.topic("t");
    let mut receiver = lab.connect("late")?;
    for filter in [&topic, &lab.topic("+")] {
        receiver.subscribe(filter, 0)?;
        receiver.expect_message(&topic, "kept", 0)?;
    }
    receiver.expect_silence()
}

fn lower_qos(lab: &Lab<'_>) -> Verdict {
    sender(lab)?;
    found(lab, "kept", 0).map(|_| ())
}

fn several_filters(lab: &Lab<'_>) -> Verdict {
    let mut sender = lab.connect("sender")?;
    let topics = [lab.topic("a"), lab.topic("b")];
    for topic in &topics {
        lab.retain(&mut sender, topic, "kept")?;
    }
    let mut receiver = lab.connect("late")?;
    receiver.subscribe_to(&[(&topics[0], 0), (&topics[1], 0)], &[])?;
    let mut came = vec![receiver.expect_publish()?.topic, receiver.expect_publish()?.topic];
    came.sort();
    ensure(came == topics, "one message of each", came)
}

/// Subscription options: retain handling in bits 4 and 5.
const IF_NEW: u8 = 0x10;
const NEVER: u8 = 0x20;
/// Retain as published.
const AS_PUBLISHED: u8 = 0x08;

fn handling_1(lab: &Lab<'_>) -> Verdict {
    sender(lab)?;
    let topic = lab.topic("t");
    let mut receiver = lab.connect("late")?;
    receiver.subscribe_to(&[(&topic, IF_NEW)], &[])?;
    receiver.expect_message(&topic, "kept", 0)?;
    receiver.subscribe_to(&[(&topic, IF_NEW)], &[])?;
    receiver.expect_silence()
}

fn handling_1_after_unsubscribe(lab: &Lab<'_>) -> Verdict {
    sender(lab)?;
    let topic = lab.topic("t");
    let mut receiver = lab.connect("late")?;
    for _ in 0..2 {
        receiver.subscribe_to(&[(&topic, IF_NEW)], &[])?;
        receiver.expect_message(&topic, "kept", 0)?;
        receiver.unsubscribe(&[&topic])?;
    }
    Ok(())
}

fn handling_2(lab: &Lab<'_>) -> Verdict {
    let mut sender = sender(lab)?;
    let topic = lab.topic("t");
    let mut receiver = lab.connect("late")?;
    receiver.subscribe_to(&[(&topic, NEVER)], &[])?;
    receiver.expect_silence()?;
    sender.publish(&topic, "live", 0)?;
    receiver.expect_message(&topic, "live", 0).map(|_| ())
}

fn as_published(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let mut receiver = lab.connect("receiver")?;
    receiver.subscribe_to(&[(&topic, AS_PUBLISHED)], &[])?;
    let mut sender = lab.connect("sender")?;
    lab.retain(&mut sender, &topic, "with")?;
    let with = receiver.expect_message(&topic, "with", 0)?;
    receiver.ensure(with.retain, "the retain flag", with)?;
    sender.publish(&topic, "without", 1)?;
    let without = receiver.expect_message(&topic, "without", 0)?;
    receiver.ensure(!without.retain, "no retain flag", without)
}

fn resumed_session(lab: &Lab<'_>) -> Verdict {
    sender(lab)?;
    let topic = lab.topic("t");
    let mut receiver = lab.connect_as(&lab.lasting("receiver"))?;
    receiver.subscribe(&topic, 0)?;
    receiver.expect_message(&topic, "kept", 0)?;
    receiver.leave();
    let mut again = lab.say_hello(&lab.lasting("receiver"))?;
    again.expect_accepted(true)?;
    again.expect_silence()
}

fn waiting_message(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    lab.away("receiver", &topic, 1)?;
    sender(lab)?;
    let mut again = lab.say_hello(&lab.lasting("receiver"))?;
    again.expect_accepted(true)?;
    let message = again.take(&topic, "kept", 1)?;
    again.ensure(!message.retain, "no retain flag", message)
}
