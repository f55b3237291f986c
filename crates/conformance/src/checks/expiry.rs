//! The message expiry interval of MQTT 5.

use noctule_mqtt::Property;
use std::time::Duration;

use crate::heard::Message;
use crate::lab::Lab;
use crate::outcome::{Stop, Verdict, ensure};
use crate::peer::Peer;
use crate::say::publish;

chapter! { "expiry":
    passed_on ["MQTT5-3.3.2-6"]
        "A message that is passed on at once has the interval that it came with, less a few seconds at most.";
    none ["MQTT5-3.3.2.3.3"]
        "A message without an interval comes without one.";
    reduced ["MQTT5-3.3.2-6"]
        "A message that waited two seconds for a client comes with an interval that is at least one smaller.";
    over ["MQTT5-3.3.2-5"]
        "A message whose interval of one second is over is not delivered to the client that comes back, and the next one is.";
    not_over ["MQTT5-3.3.2-6"]
        "A message whose interval is not over is delivered to the client that comes back.";
    behind_a_full_window ["MQTT5-3.3.2-5"]
        "A message whose interval is over while it waits for the PUBACK of another one is not sent.";
    retained_over ["MQTT5-3.3.2-5"]
        "A retained message whose interval of one second is over is not sent for a new subscription.";
    retained_reduced ["MQTT5-3.3.2-6"]
        "A retained message comes with an interval that is smaller by the time it was kept.";
    begun_is_completed ["MQTT5-4.3.3-7" "MQTT5-4.3.3-13"]
        "A message at QoS 2 that was sent before its interval was over is completed afterwards.";
    largest ["MQTT5-3.3.2.3.3"]
        "An interval of 0xFFFFFFFF is passed on, less a few seconds at most.";
}

fn expiring(lab: &Lab<'_>, payload: &str, seconds: u32) -> crate::say::Publishing {
    publish(&lab.topic("t"), payload).with(Property::MessageExpiryInterval(seconds))
}

fn left(message: &Message, fine: std::ops::RangeInclusive<u32>) -> Verdict {
    let left = message.properties().message_expiry_interval();
    let expected = format!("a message expiry interval of {} to {}", fine.start(), fine.end());
    ensure(left.is_some_and(|left| fine.contains(&left)), expected, left)
}

fn live(lab: &Lab<'_>, seconds: u32) -> Result<Message, Stop> {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 1)?;
    sender.complete(&expiring(lab, "m", seconds), 1)?;
    receiver.take(&topic, "m", 1)
}

fn passed_on(lab: &Lab<'_>) -> Verdict {
    left(&live(lab, 100)?, 90..=100)
}

fn largest(lab: &Lab<'_>) -> Verdict {
    left(&live(lab, u32::MAX)?, u32::MAX - 10..=u32::MAX)
}

fn none(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 0)?;
    sender.publish(&topic, "m", 0)?;
    let message = receiver.expect_message(&topic, "m", 0)?;
    let left = message.properties().message_expiry_interval();
    ensure(left.is_none(), "no message expiry interval", left)
}

/// A client that was away while messages with these intervals were published, and time passed.
fn back(lab: &Lab<'_>, messages: &[(&str, u32)], time: Duration) -> Result<Peer, Stop> {
    lab.away("receiver", &lab.topic("t"), 1)?;
    let mut sender = lab.connect("sender")?;
    for (payload, seconds) in messages {
        sender.complete(&expiring(lab, payload, *seconds), 1)?;
    }
    lab.pass(time);
    let mut again = lab.say_hello(&lab.lasting("receiver"))?;
    again.expect_accepted(true)?;
    Ok(again)
}

fn reduced(lab: &Lab<'_>) -> Verdict {
    let mut again = back(lab, &[("m", 100)], Duration::from_millis(2_100))?;
    left(&again.take(&lab.topic("t"), "m", 1)?, 88..=99)
}

fn over(lab: &Lab<'_>) -> Verdict {
    let mut again = back(lab, &[("short", 1), ("long", 100)], Duration::from_millis(2_500))?;
    again.take(&lab.topic("t"), "long", 1)?;
    again.expect_silence()
}

fn not_over(lab: &Lab<'_>) -> Verdict {
    let mut again = back(lab, &[("m", 60)], Duration::ZERO)?;
    left(&again.take(&lab.topic("t"), "m", 1)?, 50..=60)
}

fn keep(lab: &Lab<'_>, seconds: u32, time: Duration) -> Result<Peer, Stop> {
    lab.need(lab.granted().retain_available, "retained messages")?;
    lab.keep(&lab.topic("t"));
    lab.connect("sender")?.complete(&expiring(lab, "kept", seconds).retain(), 1)?;
    lab.pass(time);
    let mut receiver = lab.connect("receiver")?;
    receiver.subscribe(&lab.topic("t"), 0)?;
    Ok(receiver)
}

fn retained_over(lab: &Lab<'_>) -> Verdict {
    keep(lab, 1, Duration::from_millis(2_500))?.expect_silence()
}

fn retained_reduced(lab: &Lab<'_>) -> Verdict {
    let mut receiver = keep(lab, 100, Duration::from_millis(2_100))?;
    left(&receiver.expect_message(&lab.topic("t"), "kept", 0)?, 88..=99)
}

fn begun_is_completed(lab: &Lab<'_>) -> Verdict {
    lab.need(lab.granted().maximum_qos == 2, "QoS 2")?;
    let topic = lab.topic("t");
    let mut receiver = lab.connect_as(&lab.lasting("receiver"))?;
    receiver.subscribe(&topic, 2)?;
    lab.connect("sender")?.complete(&expiring(lab, "m", 1), 2)?;
    let message = receiver.expect_message(&topic, "m", 2)?;
    lab.pass(Duration::from_millis(2_500));
    receiver.acknowledge(&message)?;
    receiver.ping()
}

fn behind_a_full_window(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let mut receiver = lab.connect_as(&lab.hello("receiver").with(Property::ReceiveMaximum(1)))?;
    receiver.subscribe(&topic, 1)?;
    let mut sender = lab.connect("sender")?;
    for (payload, seconds) in [("first", 100), ("short", 1), ("last", 100)] {
        sender.complete(&expiring(lab, payload, seconds), 1)?;
    }
    let first = receiver.expect_message(&topic, "first", 1)?;
    lab.pass(Duration::from_millis(2_500));
    receiver.acknowledge(&first)?;
    receiver.take(&topic, "last", 1).map(|_| ())
}
