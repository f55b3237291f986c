//! Shared subscriptions of MQTT 5.

use std::collections::HashSet;

use super::filter_is_refused;
use crate::heard::Heard;
use crate::lab::Lab;
use crate::outcome::{Stop, Verdict, ensure};
use crate::peer::Peer;

chapter! { "shared":
    one_of_the_group ["MQTT5-4.8.2"]
        "Of twenty messages to a group of two each comes to one member.";
    two_groups ["MQTT5-4.8.2"]
        "Two groups each get every message.";
    beside_ordinary ["MQTT5-4.8.2"]
        "An ordinary subscription of another client gets every message, too.";
    group_of_one ["MQTT5-4.8.2"]
        "A group of one gets every message, in their order.";
    qos_of_the_member ["MQTT5-4.8.2-3"]
        "A message at QoS 2 comes to a member with QoS 1 at QoS 1.";
    no_retained ["MQTT5-4.8.2"]
        "A retained message is not sent for a shared subscription.";
    member_leaves ["MQTT5-4.8.2"]
        "When a member has left, the other one gets every message.";
    unsubscribed ["MQTT5-4.8.2" "MQTT5-3.10.4-2"]
        "UNSUBSCRIBE from the shared filter ends the membership; from the plain filter it does not.";
    qos_2_stays ["MQTT5-4.8.2-4"]
        "A message at QoS 2 whose PUBREC was sent is completed with its member after a new connection.";
    qos_2_is_not_handed_on ["MQTT5-4.8.2-5"]
        "A message at QoS 2 that a member had been sent comes to nobody else when its session ends.";
    refused_by_the_member ["MQTT5-4.8.2-6"]
        "A message that a member refuses with PUBACK 0x83 comes to nobody else.";
    name_is_empty ["MQTT5-4.8.2-1"]
        "SUBSCRIBE to '$share//x' is refused: the end of the connection, or a failure in SUBACK.";
    name_with_wildcard ["MQTT5-4.8.2-2"]
        "SUBSCRIBE to '$share/a+/x' is refused: the end of the connection, or a failure in SUBACK.";
    no_filter ["MQTT5-4.8.2-2"]
        "SUBSCRIBE to '$share/a' is refused: the end of the connection, or a failure in SUBACK.";
    filter_is_empty ["MQTT5-4.8.2-2"]
        "SUBSCRIBE to '$share/a/' is refused: the end of the connection, or a failure in SUBACK.";
    wildcards ["MQTT5-4.8.2"]
        "A shared filter may have wildcards.";
}

/// The filter of a group on the topic of the check.
fn group(lab: &Lab<'_>, name: &str) -> String {
    format!("$share/{name}{}/{}", lab.word(), lab.topic("t"))
}

fn member(lab: &Lab<'_>, name: &str, filter: &str, qos: u8) -> Result<Peer, Stop> {
    lab.need(lab.granted().shared_subscriptions, "shared subscriptions")?;
    let mut member = lab.connect(name)?;
    member.subscribe(filter, qos)?;
    Ok(member)
}

/// All payloads that come until there is silence.
fn payloads(lab: &Lab<'_>, peer: &mut Peer) -> Result<Vec<String>, Stop> {
    let mut came = Vec::new();
    while let Some(heard) = peer.maybe(lab.patience().silence * 2)? {
        let Heard::Publish(message) = heard else { return peer.wrong("PUBLISH", &heard) };
        peer.acknowledge(&message)?;
        came.push(String::from_utf8_lossy(&message.payload).into_owned());
    }
    Ok(came)
}

fn publish_all(lab: &Lab<'_>, count: usize) -> Result<Vec<String>, Stop> {
    let numbers: Vec<_> = (0..count).map(|number| number.to_string()).collect();
    let mut sender = lab.connect("sender")?;
    for number in &numbers {
        sender.publish(&lab.topic("t"), number, 1)?;
    }
    Ok(numbers)
}

fn one_of_the_group(lab: &Lab<'_>) -> Verdict {
    let mut one = member(lab, "one", &group(lab, "g"), 1)?;
    let mut two = member(lab, "two", &group(lab, "g"), 1)?;
    let sent = publish_all(lab, 20)?;
    let mut came = payloads(lab, &mut one)?;
    came.extend(payloads(lab, &mut two)?);
    let different: HashSet<_> = came.iter().collect();
    let fine = different.len() == sent.len() && came.len() == sent.len();
    ensure(fine, "twenty messages, each once", came)
}

fn two_groups(lab: &Lab<'_>) -> Verdict {
    let mut one = member(lab, "one", &group(lab, "g"), 1)?;
    let mut two = member(lab, "two", &group(lab, "h"), 1)?;
    let sent = publish_all(lab, 5)?;
    for peer in [&mut one, &mut two] {
        for number in &sent {
            peer.take(&lab.topic("t"), number, 1)?;
        }
    }
    Ok(())
}

fn beside_ordinary(lab: &Lab<'_>) -> Verdict {
    let mut ordinary = lab.connect("ordinary")?;
    ordinary.subscribe(&lab.topic("t"), 1)?;
    let mut shared = member(lab, "one", &group(lab, "g"), 1)?;
    let sent = publish_all(lab, 5)?;
    for number in &sent {
        ordinary.take(&lab.topic("t"), number, 1)?;
        shared.take(&lab.topic("t"), number, 1)?;
    }
    ordinary.expect_silence()
}

fn group_of_one(lab: &Lab<'_>) -> Verdict {
    let mut shared = member(lab, "one", &group(lab, "g"), 1)?;
    let sent = publish_all(lab, 10)?;
    for number in &sent {
        shared.take(&lab.topic("t"), number, 1)?;
    }
    Ok(())
}

fn qos_of_the_member(lab: &Lab<'_>) -> Verdict {
    let mut shared = member(lab, "one", &group(lab, "g"), 1)?;
    lab.connect("sender")?.publish(&lab.topic("t"), "m", 2)?;
    shared.take(&lab.topic("t"), "m", 1).map(|_| ())
}

fn no_retained(lab: &Lab<'_>) -> Verdict {
    lab.retain(&mut lab.connect("sender")?, &lab.topic("t"), "kept")?;
    member(lab, "one", &group(lab, "g"), 1)?.expect_silence()
}

fn member_leaves(lab: &Lab<'_>) -> Verdict {
    let mut one = member(lab, "one", &group(lab, "g"), 1)?;
    member(lab, "two", &group(lab, "g"), 1)?.leave();
    let sent = publish_all(lab, 5)?;
    for number in &sent {
        one.take(&lab.topic("t"), number, 1)?;
    }
    Ok(())
}

fn unsubscribed(lab: &Lab<'_>) -> Verdict {
    let mut one = member(lab, "one", &group(lab, "g"), 1)?;
    one.unsubscribe(&[&lab.topic("t")])?;
    publish_all(lab, 1)?;
    one.take(&lab.topic("t"), "0", 1)?;
    let codes = one.unsubscribe(&[&group(lab, "g")])?.codes;
    ensure(codes == [0], "UNSUBACK 0x00", codes)?;
    publish_all(lab, 1)?;
    one.expect_silence()
}

/// A member whose session is kept and that has a message at `qos` under way.
fn busy(lab: &Lab<'_>, qos: u8) -> Result<(Peer, crate::heard::Message), Stop> {
    lab.need(lab.granted().shared_subscriptions, "shared subscriptions")?;
    lab.need(lab.granted().maximum_qos >= qos, "such a QoS")?;
    let mut one = lab.connect_as(&lab.lasting("one"))?;
    one.subscribe(&group(lab, "g"), qos)?;
    lab.connect("sender")?.publish(&lab.topic("t"), "m", qos)?;
    let message = one.expect_message(&lab.topic("t"), "m", qos)?;
    Ok((one, message))
}

fn qos_2_stays(lab: &Lab<'_>) -> Verdict {
    let (mut one, message) = busy(lab, 2)?;
    let mut two = member(lab, "two", &group(lab, "g"), 2)?;
    one.ack(noctule_mqtt::PacketType::Pubrec, message.id);
    one.expect_ack(noctule_mqtt::PacketType::Pubrel, message.id)?;
    one.vanish();
    let mut again = lab.say_hello(&lab.lasting("one"))?;
    again.expect_accepted(true)?;
    again.expect_ack(noctule_mqtt::PacketType::Pubrel, message.id)?;
    again.ack(noctule_mqtt::PacketType::Pubcomp, message.id);
    two.expect_silence()
}

fn qos_2_is_not_handed_on(lab: &Lab<'_>) -> Verdict {
    let (one, _) = busy(lab, 2)?;
    let mut two = member(lab, "two", &group(lab, "g"), 2)?;
    one.leave();
    // Beginning anew ends the session.
    lab.connect("one")?.ping()?;
    two.expect_silence()
}

fn refused_by_the_member(lab: &Lab<'_>) -> Verdict {
    let (mut one, message) = busy(lab, 1)?;
    let mut two = member(lab, "two", &group(lab, "g"), 1)?;
    one.ack_with(noctule_mqtt::PacketType::Puback, message.id, 0x83);
    one.ping()?;
    two.expect_silence()
}

fn refused(lab: &Lab<'_>, filter: &str) -> Verdict {
    lab.need(lab.granted().shared_subscriptions, "shared subscriptions")?;
    filter_is_refused(lab, filter)
}

fn name_is_empty(lab: &Lab<'_>) -> Verdict {
    refused(lab, &format!("$share//{}", lab.topic("t")))
}

fn name_with_wildcard(lab: &Lab<'_>) -> Verdict {
    refused(lab, &format!("$share/a+/{}", lab.topic("t")))
}

fn no_filter(lab: &Lab<'_>) -> Verdict {
    refused(lab, "$share/a")
}

fn filter_is_empty(lab: &Lab<'_>) -> Verdict {
    refused(lab, "$share/a/")
}

fn wildcards(lab: &Lab<'_>) -> Verdict {
    lab.need(lab.granted().wildcards, "wildcards")?;
    let filter = format!("$share/g{}/{}", lab.word(), lab.topic("#"));
    let mut shared = member(lab, "one", &filter, 0)?;
    lab.connect("sender")?.publish(&lab.topic("t"), "m", 0)?;
    shared.expect_message(&lab.topic("t"), "m", 0).map(|_| ())
}
