//! The exchanges of QoS 0, 1 and 2, and the order of messages and acknowledgements.

use noctule_mqtt::PacketType;

use super::{WRONG, ends};
use crate::heard::Heard;
use crate::lab::Lab;
use crate::outcome::{Verdict, ensure};
use crate::say::{field, property_block, publish, raw};

chapter! { "qos":
    qos_0 ["MQTT3-4.3.1-1" "MQTT3-3.3.4-1" "MQTT5-4.3.1-1" "MQTT5-3.3.4-1"]
        "A message at QoS 0 comes once, without DUP, and its sender gets no answer.";
    qos_1 ["MQTT3-4.3.2-1" "MQTT3-4.3.2-2" "MQTT5-4.3.2-2" "MQTT5-4.3.2-4" "MQTT5-3.3.4-1"]
        "A message at QoS 1 is answered with PUBACK and comes at QoS 1 without DUP.";
    qos_2 ["MQTT3-4.3.3-1" "MQTT3-4.3.3-2" "MQTT5-4.3.3-2" "MQTT5-4.3.3-8" "MQTT5-4.3.3-11" "MQTT5-4.3.3-4"]
        "A message at QoS 2 goes through PUBREC, PUBREL and PUBCOMP on both sides and comes once.";
    any_bytes ["MQTT3-3.3.3" "MQTT5-3.3.3"]
        "A payload of all 256 bytes and an empty one are passed on as they are.";
    lower_of_both ["MQTT3-3.8.4-6" "MQTT5-3.8.4-8"]
        "In all nine combinations, a message comes at the lower QoS of publication and subscription.";
    qos_3 ["MQTT3-3.3.1-4" "MQTT5-3.3.1-4"]
        "PUBLISH at QoS 3 ends the connection.";
    dup_at_qos_0 ["MQTT3-3.3.1-2" "MQTT5-3.3.1-2"]
        "PUBLISH at QoS 0 with DUP ends the connection.";
    dup_is_not_passed_on ["MQTT3-3.3.1-3" "MQTT5-3.3.1-3"]
        "A message that came with DUP is passed on without it.";
    repeated_before_pubrel ["MQTT3-4.3.3-2" "MQTT5-4.3.3-10"]
        "A message at QoS 2 that is sent again before PUBREL is answered again and comes once.";
    id_again_after_pubcomp ["MQTT3-4.3.3-2" "MQTT5-4.3.3-12"]
        "After PUBCOMP the same packet identifier means a new message.";
    id_again_after_puback ["MQTT3-4.3.2-2" "MQTT5-4.3.2-5"]
        "After PUBACK the same packet identifier means a new message, DUP or not.";
    delivered_before_or_after_pubrel ["MQTT3-4.3.3-2" "MQTT5-4.3.3-11"]
        "Between two messages at QoS 2 with PUBREL only for the second, the second is completed.";
    pubrel_of_nothing ["MQTT3-4.3.3-2" "MQTT5-4.3.3-11"]
        "PUBREL for a message that is not there is answered with PUBCOMP, in 5 with 0x92 or 0x00.";
    puback_of_nothing ["MQTT3-3.4" "MQTT5-3.4"]
        "PUBACK for a message that was never sent ends the connection or is ignored.";
    not_repeated_meanwhile ["MQTT5-4.4.0-1"]
        "A message that is not acknowledged is not sent again on the same connection for two seconds.";
    no_publish_after_pubrec ["MQTT3-4.3.3-1" "MQTT5-4.3.3-6"]
        "PUBREC twice is answered with PUBREL twice or once, and PUBLISH does not come again.";
    order_of_pubacks ["MQTT3-4.6.0-2" "MQTT5-4.6.0-2"]
        "Ten messages at QoS 1 in one piece get ten PUBACKs in their order.";
    order_of_pubrecs ["MQTT3-4.6.0-3" "MQTT5-4.6.0-3"]
        "Ten messages at QoS 2 in one piece get ten PUBRECs in their order.";
    order_of_pubrels ["MQTT3-4.6.0-4" "MQTT5-4.6.0-4"]
        "Three PUBRECs are answered with PUBRELs in their order.";
    order_of_messages ["MQTT3-4.6.0-5" "MQTT3-4.6.0-6" "MQTT5-4.6.0-5" "MQTT5-4.6.0-6"]
        "Fifty messages of each QoS on a topic arrive in their order.";
    own_messages ["MQTT3-3.3.5" "MQTT5-3.3.4"]
        "A client that has subscribed gets its own messages.";
    everybody ["MQTT3-4.5.0-1" "MQTT5-4.5.0-1"]
        "Ten subscribers of a topic each get a message once.";
    codes_of_puback_and_pubrec ["MQTT5-3.4.2-1" "MQTT5-3.5.2-1" "MQTT5-3.7.2-1"]
        "PUBACK and PUBREC for a message that nobody wants say 0x00 or 0x10, and PUBCOMP says 0x00.";
    refused_by_pubrec ["MQTT5-4.3.3-4" "MQTT5-4.3.3" "MQTT5-4.4.0-2"]
        "PUBREC 0x83 of a receiver ends the exchange: no PUBREL comes, and nothing on its next connection.";
    refused_by_puback ["MQTT5-4.4.0-2"]
        "PUBACK 0x83 of a receiver ends the exchange: nothing comes on its next connection.";
}

fn qos_0(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 2)?;
    sender.publish(&topic, "m", 0)?;
    receiver.expect_message(&topic, "m", 0)?;
    receiver.expect_silence()?;
    sender.expect_silence()
}

fn qos_1(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 1)?;
    sender.publish(&topic, "m", 1)?;
    receiver.take(&topic, "m", 1)?;
    receiver.expect_silence()
}

fn qos_2(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 2)?;
    sender.publish(&topic, "m", 2)?;
    receiver.take(&topic, "m", 2)?;
    receiver.expect_silence()
}

fn any_bytes(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 0)?;
    let all: Vec<u8> = (0..=255).collect();
    for payload in [&all[..], &[]] {
        sender.send_publish(&publish(&topic, payload));
        receiver.expect_message(&topic, payload, 0)?;
    }
    Ok(())
}

fn lower_of_both(lab: &Lab<'_>) -> Verdict {
    lab.need(lab.granted().maximum_qos == 2, "QoS 2")?;
    let mut sender = lab.connect("sender")?;
    let mut receiver = lab.connect("receiver")?;
    for subscribed in 0..=2 {
        let topic = lab.topic(&subscribed.to_string());
        receiver.subscribe(&topic, subscribed)?;
        for published in 0..=2 {
            sender.publish(&topic, "m", published)?;
            receiver.take(&topic, "m", published.min(subscribed))?;
        }
    }
    Ok(())
}

fn qos_3(lab: &Lab<'_>) -> Verdict {
    let none = property_block(lab.version(), &[]);
    ends(lab, &raw(0x36, &[&field(lab.topic("t")), &[0, 1], &none, b"m"]), WRONG)
}

fn dup_at_qos_0(lab: &Lab<'_>) -> Verdict {
    let none = property_block(lab.version(), &[]);
    ends(lab, &raw(0x38, &[&field(lab.topic("t")), &none, b"m"]), WRONG)
}

fn dup_is_not_passed_on(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 1)?;
    sender.send_publish(&publish(&topic, "m").qos(1, 7).dup());
    sender.expect_ack(PacketType::Puback, 7)?;
    receiver.take(&topic, "m", 1).map(|_| ())
}

fn repeated_before_pubrel(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 0)?;
    let message = publish(&topic, "once").qos(2, 7);
    sender.send_publish(&message);
    sender.expect_ack(PacketType::Pubrec, 7)?;
    sender.send_publish(&message.dup());
    sender.expect_ack(PacketType::Pubrec, 7)?;
    sender.ack(PacketType::Pubrel, 7);
    sender.expect_ack(PacketType::Pubcomp, 7)?;
    receiver.expect_message(&topic, "once", 0)?;
    receiver.expect_silence()
}

fn id_again_after_pubcomp(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 0)?;
    for payload in ["one", "two"] {
        sender.send_publish(&publish(&topic, payload).qos(2, 7));
        sender.expect_ack(PacketType::Pubrec, 7)?;
        sender.ack(PacketType::Pubrel, 7);
        sender.expect_ack(PacketType::Pubcomp, 7)?;
        receiver.expect_message(&topic, payload, 0)?;
    }
    Ok(())
}

fn id_again_after_puback(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 0)?;
    let message = publish(&topic, "same").qos(1, 7);
    for message in [message.clone(), message.clone(), message.dup()] {
        sender.send_publish(&message);
        sender.expect_ack(PacketType::Puback, 7)?;
        receiver.expect_message(&topic, "same", 0)?;
    }
    Ok(())
}

fn delivered_before_or_after_pubrel(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let mut sender = lab.connect("sender")?;
    for id in [7, 8] {
        sender.send_publish(&publish(&topic, "m").qos(2, id));
        sender.expect_ack(PacketType::Pubrec, id)?;
    }
    for id in [8, 7] {
        sender.ack(PacketType::Pubrel, id);
        sender.expect_ack(PacketType::Pubcomp, id)?;
    }
    Ok(())
}

fn pubrel_of_nothing(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.connect("a")?;
    peer.ack(PacketType::Pubrel, 77);
    let code = peer.expect_ack(PacketType::Pubcomp, 77)?.code;
    ensure(matches!(code, 0x00 | 0x92), "PUBCOMP 0x92 or 0x00", code)
}

fn puback_of_nothing(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.connect("a")?;
    peer.ack(PacketType::Puback, 77);
    peer.send(&[0xC0, 0]);
    match peer.next_or_end()? {
        None | Some(Heard::Pingresp | Heard::Disconnect(_)) => Ok(()),
        Some(other) => peer.wrong("PINGRESP or the end of the connection", &other),
    }
}

fn not_repeated_meanwhile(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 1)?;
    sender.publish(&topic, "m", 1)?;
    receiver.expect_message(&topic, "m", 1)?;
    receiver.expect_silence_for(std::time::Duration::from_secs(2))
}

fn no_publish_after_pubrec(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 2)?;
    sender.publish(&topic, "m", 2)?;
    let id = receiver.expect_message(&topic, "m", 2)?.id;
    receiver.ack(PacketType::Pubrec, id);
    receiver.expect_ack(PacketType::Pubrel, id)?;
    receiver.ack(PacketType::Pubrec, id);
    match receiver.maybe(lab.patience().silence)? {
        None => Ok(()),
        Some(Heard::Ack(ack)) if ack.packet == PacketType::Pubrel && ack.id == id => Ok(()),
        Some(other) => receiver.wrong("PUBREL or nothing", &other),
    }
}

fn order_of_acks(lab: &Lab<'_>, qos: u8, packet: PacketType) -> Verdict {
    let (topic, mut peer) = (lab.topic("t"), lab.connect("a")?);
    let all: Vec<u8> = (1..=10)
        .flat_map(|id| publish(&topic, id.to_string()).qos(qos, id).bytes(lab.version()))
        .collect();
    lab.need(lab.granted().receive_maximum >= 10, "room for ten messages in flight")?;
    peer.send(&all);
    for id in 1..=10 {
        peer.expect_ack(packet, id)?;
    }
    Ok(())
}

fn order_of_pubacks(lab: &Lab<'_>) -> Verdict {
    order_of_acks(lab, 1, PacketType::Puback)
}

fn order_of_pubrecs(lab: &Lab<'_>) -> Verdict {
    order_of_acks(lab, 2, PacketType::Pubrec)
}

fn order_of_pubrels(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 2)?;
    let mut ids = Vec::new();
    for number in 0..3 {
        sender.publish(&topic, &number.to_string(), 2)?;
        ids.push(receiver.expect_message(&topic, number.to_string(), 2)?.id);
    }
    ids.reverse();
    for id in &ids {
        receiver.ack(PacketType::Pubrec, *id);
    }
    for id in ids {
        receiver.expect_ack(PacketType::Pubrel, id)?;
    }
    Ok(())
}

fn order_of_messages(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 2)?;
    for qos in 0..=2 {
        for number in 0..50 {
            sender.publish(&topic, &number.to_string(), qos)?;
            if number % 10 == 9 {
                let mut ten = Vec::new();
                for past in number - 9..=number {
                    ten.push(receiver.expect_message(&topic, past.to_string(), qos)?);
                }
                ten.iter().try_for_each(|message| receiver.acknowledge(message))?;
            }
        }
    }
    Ok(())
}

fn own_messages(lab: &Lab<'_>) -> Verdict {
    let (topic, mut peer) = (lab.topic("t"), lab.connect("a")?);
    peer.subscribe(&topic, 0)?;
    peer.publish(&topic, "m", 0)?;
    peer.expect_message(&topic, "m", 0).map(|_| ())
}

fn everybody(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let mut receivers = Vec::new();
    for number in 0..10 {
        let mut receiver = lab.connect(&format!("r{number}"))?;
        receiver.subscribe(&topic, 1)?;
        receivers.push(receiver);
    }
    lab.connect("sender")?.publish(&topic, "m", 1)?;
    for receiver in &mut receivers {
        receiver.take(&topic, "m", 1)?;
    }
    receivers.iter_mut().try_for_each(crate::peer::Peer::ping)
}

fn codes_of_puback_and_pubrec(lab: &Lab<'_>) -> Verdict {
    let (topic, mut peer) = (lab.topic("t"), lab.connect("a")?);
    for qos in [1, 2] {
        let code = peer.publish(&topic, "m", qos)?;
        ensure(matches!(code, 0x00 | 0x10), "0x00 or 0x10", code)?;
    }
    Ok(())
}

fn refused(lab: &Lab<'_>, qos: u8) -> Verdict {
    let topic = lab.topic("t");
    let mut receiver = lab.connect_as(&lab.lasting("receiver"))?;
    receiver.subscribe(&topic, qos)?;
    lab.connect("sender")?.publish(&topic, "m", qos)?;
    let id = receiver.expect_message(&topic, "m", qos)?.id;
    let answer = if qos == 2 { PacketType::Pubrec } else { PacketType::Puback };
    receiver.ack_with(answer, id, 0x83);
    receiver.expect_silence()?;
    receiver.leave();
    let mut again = lab.say_hello(&lab.lasting("receiver"))?;
    again.expect_accepted(true)?;
    again.expect_silence()
}

fn refused_by_pubrec(lab: &Lab<'_>) -> Verdict {
    lab.need(lab.granted().maximum_qos == 2, "QoS 2")?;
    refused(lab, 2)
}

fn refused_by_puback(lab: &Lab<'_>) -> Verdict {
    refused(lab, 1)
}
