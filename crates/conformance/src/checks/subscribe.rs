//! SUBSCRIBE and SUBACK in both versions.

use super::{WRONG, ends};
use crate::lab::Lab;
use crate::outcome::{Verdict, ensure};
use crate::say::{field, property_block, raw};

chapter! { "subscribe":
    suback ["MQTT3-3.8.4-1" "MQTT3-3.8.4-2" "MQTT5-3.8.4-1" "MQTT5-3.8.4-2"]
        "SUBSCRIBE is answered with SUBACK of the same packet identifier.";
    a_code_for_each ["MQTT3-3.8.4-5" "MQTT3-3.9.3-1" "MQTT5-3.8.4-6" "MQTT5-3.9.3-1"]
        "SUBACK has a code for each of five filters, in their order.";
    granted_qos ["MQTT3-3.9.3-2" "MQTT5-3.8.4-7" "MQTT5-3.9.3-2" "MQTT5-3.2.2-10"]
        "The codes for filters at QoS 0, 1 and 2 are at most what was asked for, and no failure.";
    fifty_filters ["MQTT3-3.8.4-4" "MQTT5-3.8.4-5"]
        "SUBSCRIBE with fifty filters subscribes to each.";
    no_filter ["MQTT3-3.8.3-3" "MQTT5-3.8.3-2"]
        "SUBSCRIBE without a filter ends the connection.";
    no_options ["MQTT3-3.8.3" "MQTT5-3.8.3"]
        "SUBSCRIBE whose filter has no options byte behind it ends the connection.";
    reserved_bits ["MQTT3-3.8.3-4" "MQTT5-3.8.3-5"]
        "SUBSCRIBE with the two upper bits of an options byte set ends the connection.";
    option_bits ["MQTT3-3.8.3-4"]
        "SUBSCRIBE of 3.1.1 with bit 2 of the QoS byte, which is No Local in 5, ends the connection.";
    qos_3 ["MQTT3-3.8.3-4" "MQTT5-3.8.3.1"]
        "SUBSCRIBE at QoS 3 ends the connection.";
    replaced ["MQTT3-3.8.4-3" "MQTT5-3.8.4-3"]
        "The same filter at another QoS replaces the subscription: a message comes once, at the new QoS.";
    twice_in_one ["MQTT3-3.8.4-4" "MQTT5-3.8.4-5" "MQTT5-3.8.4-3"]
        "The same filter twice in one SUBSCRIBE gets two codes and is one subscription.";
    overlapping ["MQTT3-3.3.5-1" "MQTT5-3.3.4-2"]
        "Two overlapping subscriptions at QoS 0 and 1 deliver a message at QoS 1; a second copy may come.";
    overlapping_the_other_way ["MQTT3-3.3.5-1" "MQTT5-3.3.4-2"]
        "A subscription with a wildcard at QoS 1 and one to the plain topic at QoS 0 deliver a message at QoS 1; a second copy may come.";
    only_what_matches ["MQTT3-3.3.2-3" "MQTT5-3.3.2-3"]
        "A subscriber gets no message of a topic that its filter does not match.";
    by_session ["MQTT3-3.8.4" "MQTT5-3.8.4"]
        "A subscription of one client does nothing for another.";
    published_right_behind ["MQTT3-3.8.4" "MQTT5-3.8.4"]
        "A client that subscribes and publishes in one piece gets SUBACK and its own message.";
}

fn suback(lab: &Lab<'_>) -> Verdict {
    lab.connect("a")?.subscribe(&lab.topic("t"), 0)
}

fn a_code_for_each(lab: &Lab<'_>) -> Verdict {
    let topics: Vec<_> = (0..5).map(|number| lab.topic(&number.to_string())).collect();
    let filters: Vec<_> = topics.iter().map(String::as_str).zip([1, 0, 0, 1, 1]).collect();
    let codes = lab.connect("a")?.subscribe_to(&filters, &[])?.codes;
    ensure(codes == [1, 0, 0, 1, 1], "codes 1, 0, 0, 1, 1", codes)
}

fn granted_qos(lab: &Lab<'_>) -> Verdict {
    let topics: Vec<_> = (0..3).map(|number| lab.topic(&number.to_string())).collect();
    let filters: Vec<_> = topics.iter().map(String::as_str).zip([0, 1, 2]).collect();
    let codes = lab.connect("a")?.subscribe_to(&filters, &[])?.codes;
    let fine = codes.len() == 3 && codes.iter().zip([0, 1, 2]).all(|(code, qos)| *code <= qos);
    ensure(fine, "codes of 0, 1 and 2 at most", codes)
}

fn fifty_filters(lab: &Lab<'_>) -> Verdict {
    let topics: Vec<_> = (0..50).map(|number| lab.topic(&number.to_string())).collect();
    let filters: Vec<_> = topics.iter().map(|topic| (topic.as_str(), 0)).collect();
    let mut receiver = lab.connect("a")?;
    let codes = receiver.subscribe_to(&filters, &[])?.codes;
    ensure(codes == [0; 50], "fifty codes of 0", codes)?;
    let mut sender = lab.connect("sender")?;
    for topic in &topics {
        sender.publish(topic, "m", 0)?;
        receiver.expect_message(topic, "m", 0)?;
    }
    Ok(())
}

fn no_filter(lab: &Lab<'_>) -> Verdict {
    ends(lab, &raw(0x82, &[&[0, 1], &property_block(lab.version(), &[])]), WRONG)
}

fn no_options(lab: &Lab<'_>) -> Verdict {
    let none = property_block(lab.version(), &[]);
    ends(lab, &raw(0x82, &[&[0, 1], &none, &field(lab.topic("t"))]), WRONG)
}

fn with_options(lab: &Lab<'_>, options: u8) -> Verdict {
    let none = property_block(lab.version(), &[]);
    ends(lab, &raw(0x82, &[&[0, 1], &none, &field(lab.topic("t")), &[options]]), WRONG)
}

fn reserved_bits(lab: &Lab<'_>) -> Verdict {
    with_options(lab, 0x40)?;
    with_options(lab, 0x80)
}

fn option_bits(lab: &Lab<'_>) -> Verdict {
    with_options(lab, 0x04)
}

fn qos_3(lab: &Lab<'_>) -> Verdict {
    with_options(lab, 0x03)
}

fn replaced(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 0)?;
    for qos in [1, 0] {
        receiver.subscribe(&topic, qos)?;
        sender.publish(&topic, "m", 1)?;
        receiver.take(&topic, "m", qos)?;
        receiver.expect_silence()?;
    }
    Ok(())
}

fn twice_in_one(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let mut receiver = lab.connect("a")?;
    let codes = receiver.subscribe_to(&[(&topic, 0), (&topic, 1)], &[])?.codes;
    ensure(codes == [0, 1], "codes 0 and 1", codes)?;
    lab.connect("sender")?.publish(&topic, "m", 1)?;
    receiver.take(&topic, "m", 1)?;
    receiver.expect_silence()
}

fn overlap(lab: &Lab<'_>, wildcard: u8, plain: u8) -> Verdict {
    lab.need(lab.granted().wildcards, "wildcards")?;
    let topic = lab.topic("t");
    let mut receiver = lab.connect("receiver")?;
    receiver.subscribe(&lab.topic("+"), wildcard)?;
    receiver.subscribe(&topic, plain)?;
    let mut sender = lab.connect("sender")?;
    sender.publish(&topic, "m", 1)?;
    let first = receiver.expect_publish()?;
    receiver.acknowledge(&first)?;
    let mut highest = first.qos;
    while let Some(heard) = receiver.maybe(lab.patience().silence)? {
        let crate::heard::Heard::Publish(message) = heard else {
            return receiver.wrong("PUBLISH", &heard);
        };
        receiver.acknowledge(&message)?;
        highest = highest.max(message.qos);
    }
    receiver.ensure(
        highest == 1,
        "a message at QoS 1",
        format!("messages at QoS {highest} at most"),
    )
}

fn overlapping(lab: &Lab<'_>) -> Verdict {
    overlap(lab, 0, 1)
}

fn overlapping_the_other_way(lab: &Lab<'_>) -> Verdict {
    overlap(lab, 1, 0)
}

fn only_what_matches(lab: &Lab<'_>) -> Verdict {
    let (mut sender, mut receiver) = lab.pair(&lab.topic("mine"), 0)?;
    sender.publish(&lab.topic("other"), "m", 0)?;
    receiver.expect_silence()
}

fn by_session(lab: &Lab<'_>) -> Verdict {
    let (mut sender, _receiver) = lab.pair(&lab.topic("t"), 0)?;
    let mut other = lab.connect("other")?;
    sender.publish(&lab.topic("t"), "m", 0)?;
    other.expect_silence()
}

fn published_right_behind(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let none = property_block(lab.version(), &[]);
    let subscribe = raw(0x82, &[&[0, 9], &none, &field(&topic), &[0]]);
    let message = crate::say::publish(&topic, "m").bytes(lab.version());
    let mut peer = lab.connect("a")?;
    peer.send(&[subscribe, message].concat());
    peer.expect_suback(9)?;
    peer.expect_message(&topic, "m", 0).map(|_| ())
}
