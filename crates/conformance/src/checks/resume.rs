//! What was under way when a connection was lost, in both directions and at every step.

use noctule_mqtt::PacketType;

use crate::heard::Message;
use crate::lab::Lab;
use crate::outcome::{Stop, Verdict};
use crate::peer::Peer;
use crate::say::publish;

chapter! { "resume":
    qos_1_to_client ["MQTT3-4.4.0-1" "MQTT3-3.3.1-1" "MQTT5-4.4.0-1" "MQTT5-3.3.1-1"]
        "A message at QoS 1 without PUBACK comes again with DUP and the same packet identifier.";
    qos_2_before_pubrec ["MQTT3-4.4.0-1" "MQTT3-3.3.1-1" "MQTT5-4.4.0-1" "MQTT5-4.3.3-3"]
        "A message at QoS 2 without PUBREC comes again with DUP and the same packet identifier.";
    qos_2_before_pubrel ["MQTT3-4.4.0-1" "MQTT5-4.4.0-1" "MQTT5-4.3.3-5"]
        "After PUBREC, with the connection lost before or after PUBREL, PUBREL comes again and PUBLISH does not.";
    qos_2_before_pubcomp ["MQTT3-4.4.0-1" "MQTT5-4.4.0-1" "MQTT5-4.3.3-5" "MQTT5-4.3.3-6"]
        "A message whose PUBREL came and whose PUBCOMP did not gets its PUBREL again, and no PUBLISH.";
    qos_2_after_pubcomp ["MQTT3-4.3.3-1" "MQTT5-4.3.3-5"]
        "After PUBCOMP nothing comes again.";
    qos_2_twice_lost ["MQTT3-4.4.0-1" "MQTT5-4.4.0-1"]
        "A message at QoS 2 survives the loss of two connections at different steps and is completed.";
    order ["MQTT3-4.6.0-1" "MQTT5-4.6.0-1"]
        "Three messages that were not acknowledged come again in their order.";
    before_new_messages ["MQTT3-4.6.0-1" "MQTT5-4.6.0-1" "MQTT5-4.6.0-5"]
        "What comes again comes before what was published meanwhile.";
    qos_1_from_client ["MQTT3-4.3.2-2" "MQTT5-4.3.2-4"]
        "A message at QoS 1 that is sent again on a new connection is acknowledged.";
    qos_2_from_client_before_pubrel ["MQTT3-4.3.3-2" "MQTT5-4.3.3-10"]
        "A message at QoS 2 whose PUBREC came is sent again on a new connection: PUBREC comes, and the message is delivered once.";
    qos_2_from_client_pubrel ["MQTT3-4.3.3-2" "MQTT5-4.3.3-11"]
        "PUBREL on a new connection for a message of the one before is answered with PUBCOMP, and the message is delivered once.";
    qos_2_from_client_begun_anew ["MQTT3-3.1.2-6" "MQTT5-3.1.2-4"]
        "A client that begins anew uses the packet identifier of an unfinished message for a new one.";
    taken_over ["MQTT3-4.4.0-1" "MQTT3-3.1.4-2" "MQTT5-4.4.0-1" "MQTT5-3.1.4-3"]
        "A message that was not acknowledged comes again to a connection that takes its own over.";
    nothing_if_begun_anew ["MQTT3-3.1.2-6" "MQTT5-3.1.2-4"]
        "A client that begins anew gets nothing that was under way.";
    unsubscribed_meanwhile ["MQTT3-3.10.4-3" "MQTT5-3.10.4-3"]
        "A message at QoS 2 that is under way is completed after UNSUBSCRIBE.";
    qos_1_unsubscribed_and_lost ["MQTT3-3.10.4-3" "MQTT5-3.10.4-3"]
        "A message at QoS 1 that is under way comes again on a new connection, though its client has unsubscribed.";
}

/// A receiver with a session, and a message at `qos` that has come to it.
fn under_way(lab: &Lab<'_>, qos: u8) -> Result<(Peer, Message), Stop> {
    lab.need(lab.granted().maximum_qos >= qos, "such a QoS")?;
    let topic = lab.topic("t");
    let mut receiver = lab.connect_as(&lab.lasting("receiver"))?;
    receiver.subscribe(&topic, qos)?;
    lab.connect("sender")?.publish(&topic, "m", qos)?;
    let message = receiver.expect_message(&topic, "m", qos)?;
    Ok((receiver, message))
}

/// The receiver on its next connection.
fn back(lab: &Lab<'_>, receiver: Peer) -> Result<Peer, Stop> {
    receiver.vanish();
    let mut again = lab.say_hello(&lab.lasting("receiver"))?;
    again.expect_accepted(true)?;
    Ok(again)
}

fn expect_again(peer: &mut Peer, message: &Message) -> Verdict {
    let came = peer.expect_publish()?;
    let same = came.id == message.id && came.topic == message.topic && came.qos == message.qos;
    peer.ensure(
        same && came.dup && came.payload == message.payload,
        format!("{message} again, with DUP and packet identifier {}", message.id),
        format!("{came} with packet identifier {}", came.id),
    )
}

fn qos_1_to_client(lab: &Lab<'_>) -> Verdict {
    let (receiver, message) = under_way(lab, 1)?;
    let mut again = back(lab, receiver)?;
    expect_again(&mut again, &message)?;
    again.acknowledge(&message)?;
    again.expect_silence()
}

fn qos_2_before_pubrec(lab: &Lab<'_>) -> Verdict {
    let (receiver, message) = under_way(lab, 2)?;
    let mut again = back(lab, receiver)?;
    expect_again(&mut again, &message)?;
    again.acknowledge(&message)?;
    again.expect_silence()
}

fn qos_2_before_pubrel(lab: &Lab<'_>) -> Verdict {
    let (mut receiver, message) = under_way(lab, 2)?;
    receiver.ack(PacketType::Pubrec, message.id);
    // That PUBREC was read is known by its PUBREL alone; the client acts as if it had missed it.
    receiver.expect_ack(PacketType::Pubrel, message.id)?;
    let mut again = back(lab, receiver)?;
    again.expect_ack(PacketType::Pubrel, message.id)?;
    again.ack(PacketType::Pubcomp, message.id);
    again.expect_silence()
}

fn qos_2_before_pubcomp(lab: &Lab<'_>) -> Verdict {
    let (mut receiver, message) = under_way(lab, 2)?;
    receiver.ack(PacketType::Pubrec, message.id);
    receiver.expect_ack(PacketType::Pubrel, message.id)?;
    receiver.ping()?;
    receiver.leave();
    let mut again = lab.say_hello(&lab.lasting("receiver"))?;
    again.expect_accepted(true)?;
    again.expect_ack(PacketType::Pubrel, message.id)?;
    again.ack(PacketType::Pubcomp, message.id);
    again.expect_silence()
}

fn qos_2_after_pubcomp(lab: &Lab<'_>) -> Verdict {
    let (mut receiver, message) = under_way(lab, 2)?;
    receiver.acknowledge(&message)?;
    receiver.ping()?;
    back(lab, receiver)?.expect_silence()
}

fn qos_2_twice_lost(lab: &Lab<'_>) -> Verdict {
    let (receiver, message) = under_way(lab, 2)?;
    let mut second = back(lab, receiver)?;
    expect_again(&mut second, &message)?;
    second.ack(PacketType::Pubrec, message.id);
    second.expect_ack(PacketType::Pubrel, message.id)?;
    let mut third = back(lab, second)?;
    third.expect_ack(PacketType::Pubrel, message.id)?;
    third.ack(PacketType::Pubcomp, message.id);
    third.ping()?;
    back(lab, third)?.expect_silence()
}

/// Three messages that came and were not acknowledged.
fn three(lab: &Lab<'_>) -> Result<(Peer, Vec<Message>), Stop> {
    let topic = lab.topic("t");
    let mut receiver = lab.connect_as(&lab.lasting("receiver"))?;
    receiver.subscribe(&topic, 1)?;
    let mut sender = lab.connect("sender")?;
    let mut messages = Vec::new();
    for payload in ["one", "two", "three"] {
        sender.publish(&topic, payload, 1)?;
        messages.push(receiver.expect_message(&topic, payload, 1)?);
    }
    Ok((receiver, messages))
}

fn order(lab: &Lab<'_>) -> Verdict {
    let (receiver, messages) = three(lab)?;
    let mut again = back(lab, receiver)?;
    messages.iter().try_for_each(|message| expect_again(&mut again, message))
}

fn before_new_messages(lab: &Lab<'_>) -> Verdict {
    let (receiver, messages) = three(lab)?;
    receiver.leave();
    lab.connect("sender")?.publish(&lab.topic("t"), "four", 1)?;
    let mut again = lab.say_hello(&lab.lasting("receiver"))?;
    again.expect_accepted(true)?;
    for message in &messages {
        expect_again(&mut again, message)?;
        again.acknowledge(message)?;
    }
    again.take(&lab.topic("t"), "four", 1).map(|_| ())
}

/// A sender with a session, and a receiver of its messages at QoS 0.
fn sender_and_receiver(lab: &Lab<'_>) -> Result<(Peer, Peer), Stop> {
    let mut receiver = lab.connect("watcher")?;
    receiver.subscribe(&lab.topic("t"), 0)?;
    Ok((lab.connect_as(&lab.lasting("receiver"))?, receiver))
}

fn qos_1_from_client(lab: &Lab<'_>) -> Verdict {
    let (mut sender, _receiver) = sender_and_receiver(lab)?;
    let message = publish(&lab.topic("t"), "m").qos(1, 7);
    sender.send_publish(&message);
    let mut again = back(lab, sender)?;
    again.send_publish(&message.dup());
    again.expect_ack(PacketType::Puback, 7).map(|_| ())
}

fn qos_2_from_client_before_pubrel(lab: &Lab<'_>) -> Verdict {
    let (mut sender, mut receiver) = sender_and_receiver(lab)?;
    let message = publish(&lab.topic("t"), "once").qos(2, 7);
    sender.send_publish(&message);
    sender.expect_ack(PacketType::Pubrec, 7)?;
    let mut again = back(lab, sender)?;
    again.send_publish(&message.dup());
    again.expect_ack(PacketType::Pubrec, 7)?;
    again.ack(PacketType::Pubrel, 7);
    again.expect_ack(PacketType::Pubcomp, 7)?;
    receiver.expect_message(&lab.topic("t"), "once", 0)?;
    receiver.expect_silence()
}

fn qos_2_from_client_pubrel(lab: &Lab<'_>) -> Verdict {
    let (mut sender, mut receiver) = sender_and_receiver(lab)?;
    sender.send_publish(&publish(&lab.topic("t"), "once").qos(2, 7));
    sender.expect_ack(PacketType::Pubrec, 7)?;
    let mut again = back(lab, sender)?;
    again.ack(PacketType::Pubrel, 7);
    let code = again.expect_ack(PacketType::Pubcomp, 7)?.code;
    again.ensure(code == 0, "PUBCOMP 0x00", format!("0x{code:02X}"))?;
    receiver.expect_message(&lab.topic("t"), "once", 0)?;
    receiver.expect_silence()
}

fn qos_2_from_client_begun_anew(lab: &Lab<'_>) -> Verdict {
    let (mut sender, mut receiver) = sender_and_receiver(lab)?;
    let topic = lab.topic("t");
    sender.send_publish(&publish(&topic, "old").qos(2, 7));
    sender.expect_ack(PacketType::Pubrec, 7)?;
    sender.vanish();
    let mut anew = lab.connect("receiver")?;
    anew.send_publish(&publish(&topic, "new").qos(2, 7));
    anew.expect_ack(PacketType::Pubrec, 7)?;
    anew.ack(PacketType::Pubrel, 7);
    anew.expect_ack(PacketType::Pubcomp, 7)?;
    // Whether the old one was delivered before PUBREL is the server's choice (section 4.3.3).
    let first = receiver.expect_publish()?;
    if first.payload == b"old" {
        receiver.expect_message(&topic, "new", 0)?;
    } else {
        receiver.ensure(first.payload == b"new", "the new message", first)?;
    }
    receiver.expect_silence()
}

fn nothing_if_begun_anew(lab: &Lab<'_>) -> Verdict {
    let (receiver, _) = under_way(lab, 1)?;
    receiver.vanish();
    lab.connect("receiver")?.expect_silence()
}

fn unsubscribed_meanwhile(lab: &Lab<'_>) -> Verdict {
    let (mut receiver, message) = under_way(lab, 2)?;
    receiver.unsubscribe(&[&lab.topic("t")])?;
    receiver.acknowledge(&message)?;
    receiver.ping()
}

fn qos_1_unsubscribed_and_lost(lab: &Lab<'_>) -> Verdict {
    let (mut receiver, message) = under_way(lab, 1)?;
    receiver.unsubscribe(&[&lab.topic("t")])?;
    let mut again = back(lab, receiver)?;
    expect_again(&mut again, &message)
}

fn taken_over(lab: &Lab<'_>) -> Verdict {
    let (mut receiver, message) = under_way(lab, 1)?;
    let mut second = lab.say_hello(&lab.lasting("receiver"))?;
    second.expect_accepted(true)?;
    receiver.expect_end(&[0x8E])?;
    expect_again(&mut second, &message)?;
    second.acknowledge(&message)?;
    second.expect_silence()
}
