//! Packet identifiers: never zero, back in the answer, and used for one thing at a time.

use noctule_mqtt::PacketType;

use super::{WRONG, ends};
use crate::heard::Heard;
use crate::lab::Lab;
use crate::outcome::{Verdict, ensure};
use crate::say::{field, property_block, publish, raw};

chapter! { "packet_ids":
    publish_with_0 ["MQTT3-2.3.1-1" "MQTT5-2.2.1-3"]
        "PUBLISH at QoS 1 with packet identifier 0 ends the connection.";
    publish_2_with_0 ["MQTT3-2.3.1-1" "MQTT5-2.2.1-3"]
        "PUBLISH at QoS 2 with packet identifier 0 ends the connection.";
    subscribe_with_0 ["MQTT3-2.3.1-1" "MQTT5-2.2.1-3"]
        "SUBSCRIBE with packet identifier 0 ends the connection.";
    unsubscribe_with_0 ["MQTT3-2.3.1-1" "MQTT5-2.2.1-3"]
        "UNSUBSCRIBE with packet identifier 0 ends the connection.";
    puback_and_pubrec ["MQTT3-2.3.1-6" "MQTT5-2.2.1-5"]
        "PUBACK, PUBREC and PUBCOMP carry the identifier of their PUBLISH, also 65,535.";
    suback_and_unsuback ["MQTT3-2.3.1-7" "MQTT5-2.2.1-6"]
        "SUBACK and UNSUBACK carry the identifier of their request, also 65,535.";
    of_the_server ["MQTT3-2.3.1-4" "MQTT5-2.2.1-4" "MQTT5-4.3.2-1"]
        "Five messages that are not acknowledged come with five identifiers that are not 0.";
    of_the_server_at_qos_2 ["MQTT3-2.3.1-4" "MQTT5-2.2.1-4" "MQTT5-4.3.3-1"]
        "Five messages at QoS 2 that wait for PUBCOMP come with five identifiers that are not 0.";
    none_at_qos_0 ["MQTT3-2.3.1-5" "MQTT5-2.2.1-2"]
        "A message at QoS 0 comes without identifier: its payload is what was sent.";
    both_directions ["MQTT3-2.3.1" "MQTT5-2.2.1"]
        "Client and server may use the same identifier for different messages at the same time.";
}

fn publish_with_0(lab: &Lab<'_>) -> Verdict {
    let none = property_block(lab.version(), &[]);
    ends(lab, &raw(0x32, &[&field(lab.topic("t")), &[0, 0], &none, b"m"]), WRONG)
}

fn publish_2_with_0(lab: &Lab<'_>) -> Verdict {
    let none = property_block(lab.version(), &[]);
    ends(lab, &raw(0x34, &[&field(lab.topic("t")), &[0, 0], &none, b"m"]), WRONG)
}

fn subscribe_with_0(lab: &Lab<'_>) -> Verdict {
    let none = property_block(lab.version(), &[]);
    ends(lab, &raw(0x82, &[&[0, 0], &none, &field(lab.topic("t")), &[0]]), WRONG)
}

fn unsubscribe_with_0(lab: &Lab<'_>) -> Verdict {
    let none = property_block(lab.version(), &[]);
    ends(lab, &raw(0xA2, &[&[0, 0], &none, &field(lab.topic("t"))]), WRONG)
}

fn puback_and_pubrec(lab: &Lab<'_>) -> Verdict {
    lab.need(lab.granted().maximum_qos == 2, "QoS 2")?;
    let mut peer = lab.connect("a")?;
    for id in [1, 256, 65_535] {
        peer.send_publish(&publish(&lab.topic("t"), "m").qos(1, id));
        peer.expect_ack(PacketType::Puback, id)?;
        peer.send_publish(&publish(&lab.topic("t"), "m").qos(2, id));
        peer.expect_ack(PacketType::Pubrec, id)?;
        peer.ack(PacketType::Pubrel, id);
        peer.expect_ack(PacketType::Pubcomp, id)?;
    }
    Ok(())
}

fn suback_and_unsuback(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.connect("a")?;
    for id in [1, 256, 65_535_u16] {
        peer.send_subscribe(id, &[(&lab.topic("t"), 0)], &[]);
        peer.expect_suback(id)?;
        let none = property_block(lab.version(), &[]);
        peer.send(&raw(0xA2, &[&id.to_be_bytes(), &none, &field(lab.topic("t"))]));
        match peer.next("UNSUBACK")? {
            Heard::Unsuback(answers) if answers.id == id => {}
            other => return peer.wrong(format!("UNSUBACK for packet identifier {id}"), &other),
        }
    }
    Ok(())
}

fn of_the_server(lab: &Lab<'_>) -> Verdict {
    identifiers(lab, 1)
}

fn of_the_server_at_qos_2(lab: &Lab<'_>) -> Verdict {
    identifiers(lab, 2)
}

fn identifiers(lab: &Lab<'_>, qos: u8) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, qos)?;
    let mut ids = Vec::new();
    for number in 0..5 {
        sender.publish(&topic, &number.to_string(), qos)?;
        let id = receiver.expect_message(&topic, number.to_string(), qos)?.id;
        if qos == 2 {
            receiver.ack(PacketType::Pubrec, id);
            receiver.expect_ack(PacketType::Pubrel, id)?;
        }
        ids.push(id);
    }
    let seen = ids.clone();
    ids.sort_unstable();
    ids.dedup();
    ensure(ids.len() == 5 && ids[0] != 0, "five different identifiers, none of them 0", seen)
}

fn none_at_qos_0(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 2)?;
    sender.publish(&topic, "whole", 0)?;
    receiver.expect_message(&topic, "whole", 0).map(|_| ())
}

fn both_directions(lab: &Lab<'_>) -> Verdict {
    let (to, from) = (lab.topic("to"), lab.topic("from"));
    let mut sender = lab.connect("sender")?;
    let mut peer = lab.connect("peer")?;
    peer.subscribe(&to, 1)?;
    sender.publish(&to, "m", 1)?;
    let message = peer.expect_message(&to, "m", 1)?;
    peer.send_publish(&publish(&from, "m").qos(1, message.id));
    peer.expect_ack(PacketType::Puback, message.id)?;
    peer.acknowledge(&message)?;
    peer.ping()
}
