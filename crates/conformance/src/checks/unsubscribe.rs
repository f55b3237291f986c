//! UNSUBSCRIBE and UNSUBACK.

use super::{WRONG, ends};
use crate::lab::Lab;
use crate::outcome::{Verdict, ensure};
use crate::say::{property_block, raw};

chapter! { "unsubscribe":
    unsuback ["MQTT3-3.10.4-4" "MQTT5-3.10.4-4" "MQTT5-3.11.3-2"]
        "UNSUBSCRIBE is answered with UNSUBACK of its packet identifier, in 5 with 0x00.";
    of_nothing ["MQTT3-3.10.4-5" "MQTT5-3.10.4-5"]
        "UNSUBSCRIBE from a filter that was not subscribed to is answered with UNSUBACK, in 5 with 0x11.";
    nothing_more_comes ["MQTT3-3.10.4-2" "MQTT5-3.10.4-2"]
        "After UNSUBACK no new message comes.";
    character_by_character ["MQTT3-3.10.4-1" "MQTT5-3.10.4-1"]
        "UNSUBSCRIBE from a filter that matches the same topics and is written otherwise ends no subscription.";
    several ["MQTT3-3.10.4-6" "MQTT5-3.10.4-6" "MQTT5-3.11.3-1"]
        "UNSUBSCRIBE from three filters, the second of which was none, ends the others; codes come in their order.";
    no_filter ["MQTT3-3.10.3-2" "MQTT5-3.10.3-2"]
        "UNSUBSCRIBE without a filter ends the connection.";
    one_of_two ["MQTT3-3.10.4-2" "MQTT5-3.10.4-2"]
        "Of two overlapping subscriptions the other one goes on to deliver.";
    gone_for_good ["MQTT3-3.10.4-2" "MQTT5-3.10.4-2"]
        "A subscription that was ended is not back when its client returns to its session.";
    twice ["MQTT3-3.10.4-5" "MQTT5-3.10.4-5"]
        "UNSUBSCRIBE from the same filter again is answered, too.";
}

fn unsuback(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.connect("a")?;
    peer.subscribe(&lab.topic("t"), 0)?;
    let codes = peer.unsubscribe(&[&lab.topic("t")])?.codes;
    ensure(!lab.is_v5() || codes == [0], "one code of 0x00", codes)
}

fn of_nothing(lab: &Lab<'_>) -> Verdict {
    let codes = lab.connect("a")?.unsubscribe(&[&lab.topic("t")])?.codes;
    ensure(!lab.is_v5() || codes == [0x11], "one code of 0x11", codes)
}

fn nothing_more_comes(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 0)?;
    sender.publish(&topic, "before", 0)?;
    receiver.expect_message(&topic, "before", 0)?;
    receiver.unsubscribe(&[&topic])?;
    sender.publish(&topic, "after", 0)?;
    receiver.expect_silence()
}

fn character_by_character(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 0)?;
    receiver.unsubscribe(&[
        &lab.topic("+"),
        &lab.topic("T"),
        &lab.topic("t/#"),
        &lab.topic("t/"),
    ])?;
    sender.publish(&topic, "m", 0)?;
    receiver.expect_message(&topic, "m", 0).map(|_| ())
}

fn several(lab: &Lab<'_>) -> Verdict {
    let topics = ["a", "b", "c"].map(|name| lab.topic(name));
    let mut receiver = lab.connect("receiver")?;
    receiver.subscribe(&topics[0], 0)?;
    receiver.subscribe(&topics[2], 0)?;
    let codes = receiver.unsubscribe(&topics.each_ref().map(String::as_str))?.codes;
    ensure(!lab.is_v5() || codes == [0, 0x11, 0], "codes 0x00, 0x11, 0x00", codes)?;
    let mut sender = lab.connect("sender")?;
    for topic in &topics {
        sender.publish(topic, "m", 0)?;
    }
    receiver.expect_silence()
}

fn no_filter(lab: &Lab<'_>) -> Verdict {
    ends(lab, &raw(0xA2, &[&[0, 1], &property_block(lab.version(), &[])]), WRONG)
}

fn one_of_two(lab: &Lab<'_>) -> Verdict {
    lab.need(lab.granted().wildcards, "wildcards")?;
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 0)?;
    receiver.subscribe(&lab.topic("+"), 0)?;
    receiver.unsubscribe(&[&topic])?;
    sender.publish(&topic, "m", 0)?;
    receiver.expect_message(&topic, "m", 0)?;
    receiver.expect_silence()
}

fn gone_for_good(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let mut receiver = lab.connect_as(&lab.lasting("a"))?;
    receiver.subscribe(&topic, 1)?;
    receiver.unsubscribe(&[&topic])?;
    receiver.leave();
    lab.connect("sender")?.publish(&topic, "m", 1)?;
    let mut again = lab.say_hello(&lab.lasting("a"))?;
    again.expect_accepted(true)?;
    again.expect_silence()
}

fn twice(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.connect("a")?;
    peer.subscribe(&lab.topic("t"), 0)?;
    for _ in 0..3 {
        peer.unsubscribe(&[&lab.topic("t")])?;
    }
    Ok(())
}
