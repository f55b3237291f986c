//! Subscription options and subscription identifiers of MQTT 5.

use noctule_mqtt::{PacketType, Property};

use super::{WRONG, ends};
use crate::heard::Message;
use crate::lab::Lab;
use crate::outcome::{Verdict, ensure};
use crate::peer::Peer;
use crate::say::{field, properties, property_block, raw};

chapter! { "subscribe_options":
    no_local ["MQTT5-3.8.3-3"]
        "With No Local a client gets the messages of others and not its own.";
    no_local_off ["MQTT5-3.8.3-3"]
        "The same subscription again without No Local gets the client's own messages.";
    no_local_by_client ["MQTT5-3.8.3-3"]
        "No Local goes by the client identifier: neither a message of its last connection comes nor one of this.";
    no_local_on_shared ["MQTT5-3.8.3-4"]
        "No Local on a shared subscription is a protocol error.";
    retain_handling_3 ["MQTT5-3.8.3.1"]
        "SUBSCRIBE with retain handling 3 ends the connection.";
    identifier ["MQTT5-3.3.4-3"]
        "A message comes with the identifier of its subscription.";
    largest_identifier ["MQTT5-3.3.4-3" "MQTT5-3.8.2.1.2"]
        "A subscription identifier of 268,435,455 comes back as it is.";
    identifiers_of_all ["MQTT5-3.3.4-4" "MQTT5-3.3.4-5"]
        "A message that matches two subscriptions comes with both identifiers, or once with each.";
    no_identifier ["MQTT5-3.3.4-3"]
        "A message for a subscription without identifier comes without one.";
    identifier_replaced ["MQTT5-3.8.4-3" "MQTT5-3.3.4-3"]
        "The same filter with another identifier replaces the identifier.";
    identifier_removed ["MQTT5-3.8.4-3" "MQTT5-3.3.4-3"]
        "The same filter without an identifier removes the identifier.";
    identifier_of_retained ["MQTT5-3.3.4-3"]
        "A retained message for a new subscription comes with its identifier.";
    identifier_waits ["MQTT5-3.3.4-3"]
        "A message that waited for a client comes with the identifier of its subscription.";
    identifier_of_several_filters ["MQTT5-3.8.2.1.2" "MQTT5-3.3.4-3"]
        "One SUBSCRIBE with an identifier gives it to all its filters.";
    identifier_0 ["MQTT5-3.8.2.1.2"]
        "SUBSCRIBE with the subscription identifier 0 is a protocol error.";
    identifier_twice ["MQTT5-3.8.2.1.2"]
        "SUBSCRIBE with two subscription identifiers is a protocol error.";
    identifier_from_client ["MQTT5-3.3.4-6"]
        "PUBLISH of a client with a subscription identifier ends the connection.";
}

const NO_LOCAL: u8 = 0x04;

fn no_local(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let mut peer = lab.connect("a")?;
    peer.subscribe_to(&[(&topic, NO_LOCAL)], &[])?;
    peer.publish(&topic, "own", 1)?;
    peer.expect_silence()?;
    lab.connect("other")?.publish(&topic, "other", 1)?;
    peer.expect_message(&topic, "other", 0).map(|_| ())
}

fn no_local_off(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let mut peer = lab.connect("a")?;
    peer.subscribe_to(&[(&topic, NO_LOCAL)], &[])?;
    peer.subscribe_to(&[(&topic, 0)], &[])?;
    peer.publish(&topic, "own", 0)?;
    peer.expect_message(&topic, "own", 0).map(|_| ())
}

fn no_local_by_client(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let mut peer = lab.connect_as(&lab.lasting("a"))?;
    peer.subscribe_to(&[(&topic, NO_LOCAL | 1)], &[])?;
    peer.publish(&topic, "own", 1)?;
    peer.leave();
    let mut again = lab.say_hello(&lab.lasting("a"))?;
    again.expect_accepted(true)?;
    again.publish(&topic, "own again", 1)?;
    again.expect_silence()
}

fn no_local_on_shared(lab: &Lab<'_>) -> Verdict {
    lab.need(lab.granted().shared_subscriptions, "shared subscriptions")?;
    with_options(lab, &format!("$share/g/{}", lab.topic("t")), NO_LOCAL)
}

fn retain_handling_3(lab: &Lab<'_>) -> Verdict {
    with_options(lab, &lab.topic("t"), 0x30)
}

fn with_options(lab: &Lab<'_>, filter: &str, options: u8) -> Verdict {
    let none = property_block(lab.version(), &[]);
    ends(lab, &raw(0x82, &[&[0, 1], &none, &field(filter), &[options]]), WRONG)
}

/// A receiver without subscriptions, if the broker has subscription identifiers.
fn receiver(lab: &Lab<'_>) -> Result<Peer, crate::outcome::Stop> {
    lab.need(lab.granted().subscription_identifiers, "subscription identifiers")?;
    lab.connect("receiver")
}

fn identified(peer: &mut Peer, filter: &str, id: u32) -> Verdict {
    let id = properties(PacketType::Subscribe, &[Property::SubscriptionIdentifier(id)]);
    let codes = peer.subscribe_to(&[(filter, 0)], &id)?.codes;
    ensure(codes == [0], "SUBACK 0x00", codes)
}

fn identifiers(message: &Message) -> Vec<u32> {
    let mut ids: Vec<_> = message.properties().subscription_identifiers().collect();
    ids.sort_unstable();
    ids
}

/// Publishes to the topic of the check, and expects these identifiers with the message.
fn expect_identifiers(lab: &Lab<'_>, receiver: &mut Peer, expected: &[u32]) -> Verdict {
    let topic = lab.topic("t");
    lab.connect("sender")?.publish(&topic, "m", 0)?;
    let came = identifiers(&receiver.expect_message(&topic, "m", 0)?);
    receiver.ensure(
        came == expected,
        format!("subscription identifiers {expected:?}"),
        format!("{came:?}"),
    )
}

fn identifier(lab: &Lab<'_>) -> Verdict {
    let mut receiver = receiver(lab)?;
    identified(&mut receiver, &lab.topic("t"), 7)?;
    expect_identifiers(lab, &mut receiver, &[7])
}

fn largest_identifier(lab: &Lab<'_>) -> Verdict {
    let mut receiver = receiver(lab)?;
    identified(&mut receiver, &lab.topic("t"), 268_435_455)?;
    expect_identifiers(lab, &mut receiver, &[268_435_455])
}

fn identifiers_of_all(lab: &Lab<'_>) -> Verdict {
    lab.need(lab.granted().wildcards, "wildcards")?;
    let mut receiver = receiver(lab)?;
    identified(&mut receiver, &lab.topic("t"), 1)?;
    identified(&mut receiver, &lab.topic("+"), 2)?;
    lab.connect("sender")?.publish(&lab.topic("t"), "m", 0)?;
    let mut came = identifiers(&receiver.expect_publish()?);
    if came.len() == 1 {
        came.extend(identifiers(&receiver.expect_publish()?));
        came.sort_unstable();
    }
    receiver.ensure(came == [1, 2], "subscription identifiers 1 and 2", format!("{came:?}"))
}

fn no_identifier(lab: &Lab<'_>) -> Verdict {
    let mut receiver = receiver(lab)?;
    receiver.subscribe(&lab.topic("t"), 0)?;
    expect_identifiers(lab, &mut receiver, &[])
}

fn identifier_replaced(lab: &Lab<'_>) -> Verdict {
    let mut receiver = receiver(lab)?;
    identified(&mut receiver, &lab.topic("t"), 7)?;
    identified(&mut receiver, &lab.topic("t"), 8)?;
    expect_identifiers(lab, &mut receiver, &[8])
}

fn identifier_removed(lab: &Lab<'_>) -> Verdict {
    let mut receiver = receiver(lab)?;
    identified(&mut receiver, &lab.topic("t"), 7)?;
    receiver.subscribe(&lab.topic("t"), 0)?;
    expect_identifiers(lab, &mut receiver, &[])
}

fn identifier_of_retained(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    lab.retain(&mut lab.connect("sender")?, &topic, "kept")?;
    let mut receiver = receiver(lab)?;
    identified(&mut receiver, &topic, 7)?;
    let came = identifiers(&receiver.expect_message(&topic, "kept", 0)?);
    receiver.ensure(came == [7], "subscription identifier 7", format!("{came:?}"))
}

fn identifier_waits(lab: &Lab<'_>) -> Verdict {
    lab.need(lab.granted().subscription_identifiers, "subscription identifiers")?;
    let topic = lab.topic("t");
    let mut receiver = lab.connect_as(&lab.lasting("receiver"))?;
    let id = properties(PacketType::Subscribe, &[Property::SubscriptionIdentifier(7)]);
    receiver.subscribe_to(&[(&topic, 1)], &id)?;
    receiver.leave();
    lab.connect("sender")?.publish(&topic, "m", 1)?;
    let mut again = lab.say_hello(&lab.lasting("receiver"))?;
    again.expect_accepted(true)?;
    let came = identifiers(&again.expect_message(&topic, "m", 1)?);
    again.ensure(came == [7], "subscription identifier 7", format!("{came:?}"))
}

fn identifier_of_several_filters(lab: &Lab<'_>) -> Verdict {
    let mut receiver = receiver(lab)?;
    let id = properties(PacketType::Subscribe, &[Property::SubscriptionIdentifier(7)]);
    let topics = [lab.topic("a"), lab.topic("b")];
    receiver.subscribe_to(&[(&topics[0], 0), (&topics[1], 0)], &id)?;
    let mut sender = lab.connect("sender")?;
    for topic in &topics {
        sender.publish(topic, "m", 0)?;
        let came = identifiers(&receiver.expect_message(topic, "m", 0)?);
        receiver.ensure(came == [7], "subscription identifier 7", format!("{came:?}"))?;
    }
    Ok(())
}

fn with_properties(lab: &Lab<'_>, properties: &[u8]) -> Verdict {
    lab.need(lab.granted().subscription_identifiers, "subscription identifiers")?;
    let block = property_block(lab.version(), properties);
    ends(lab, &raw(0x82, &[&[0, 1], &block, &field(lab.topic("t")), &[0]]), WRONG)
}

fn identifier_0(lab: &Lab<'_>) -> Verdict {
    with_properties(lab, &[0x0B, 0])
}

fn identifier_twice(lab: &Lab<'_>) -> Verdict {
    with_properties(lab, &[0x0B, 1, 0x0B, 2])
}

fn identifier_from_client(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let mut watcher = lab.connect("watcher")?;
    watcher.subscribe(&topic, 0)?;
    let message = crate::say::publish(&topic, "m").raw_properties(&[0x0B, 1]);
    ends(lab, &message.bytes(lab.version()), WRONG)?;
    watcher.expect_silence()
}
