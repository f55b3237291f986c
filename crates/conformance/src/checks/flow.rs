//! Receive maximum and maximum packet size of MQTT 5, in both directions.

use noctule_mqtt::{PacketType, Property};

use crate::heard::Message;
use crate::lab::Lab;
use crate::outcome::{Stop, Verdict, ensure};
use crate::peer::Peer;
use crate::say::publish;

chapter! { "flow":
    one_at_a_time ["MQTT5-3.3.4-9" "MQTT5-4.9.0-1" "MQTT5-4.9.0-2"]
        "A client with receive maximum 1 gets the second message at QoS 1 after its PUBACK for the first.";
    two_at_a_time ["MQTT5-3.3.4-9" "MQTT5-4.9.0-2"]
        "A client with receive maximum 2 gets the third message at QoS 2 after PUBCOMP for one of the first.";
    pubrec_frees_nothing ["MQTT5-4.9.0-2"]
        "PUBREC without an error does not make room for another message.";
    refusal_frees ["MQTT5-4.9.0-2"]
        "PUBREC with an error makes room for another message.";
    qos_0_goes_on ["MQTT5-3.3.4-10" "MQTT5-4.9.0-3"]
        "Messages at QoS 0 and PINGRESP come though there is no room at QoS 1.";
    on_resume ["MQTT5-3.3.4-9" "MQTT5-4.9.0-1"]
        "A client that comes back with receive maximum 1 to three waiting messages gets one at a time.";
    of_the_server ["MQTT5-3.3.4-7" "MQTT5-3.2.2.3.3"]
        "More messages at QoS 2 than the server's receive maximum end the connection, with 0x93 if anything.";
    up_to_the_maximum ["MQTT5-3.2.2.3.3" "MQTT5-4.9.0-3"]
        "As many messages at QoS 2 as the server's receive maximum are all answered with PUBREC.";
    too_large_for_the_client ["MQTT5-3.1.2-24" "MQTT5-3.1.2-25"]
        "A message larger than the client's maximum packet size does not come, and the next one does.";
    just_fits_the_client ["MQTT5-3.1.2-24"]
        "A message of exactly the client's maximum packet size comes.";
    too_large_and_shared ["MQTT5-3.1.2-25"]
        "A message too large for one subscriber comes to another.";
    waits_and_is_too_large ["MQTT5-3.1.2-24" "MQTT5-3.1.2-25"]
        "A waiting message that is too large for the client that comes back is left out, and the next one comes.";
    answers_fit ["MQTT5-3.4.2-2" "MQTT5-3.4.2-3" "MQTT5-3.5.2-2" "MQTT5-3.5.2-3" "MQTT5-3.7.2-2" "MQTT5-3.7.2-3" "MQTT5-3.9.2-1" "MQTT5-3.9.2-2" "MQTT5-3.11.2-1" "MQTT5-3.11.2-2" "MQTT5-3.14.2-3" "MQTT5-3.14.2-4"]
        "To a client that takes 40 bytes at most, no acknowledgement and no DISCONNECT is larger, whatever it reports.";
    just_fits_the_server ["MQTT5-3.2.2.3.6"]
        "A message of exactly the server's maximum packet size is taken and passed on.";
    too_large_for_the_server ["MQTT5-3.2.2-15" "MQTT5-3.2.2.3.6"]
        "A packet that claims to be larger than the server's maximum ends the connection, with 0x95 if anything.";
}

fn limited(lab: &Lab<'_>, maximum: u16, qos: u8) -> Result<(Peer, Peer), Stop> {
    lab.need(lab.granted().maximum_qos >= qos, "such a QoS")?;
    let mut receiver =
        lab.connect_as(&lab.hello("receiver").with(Property::ReceiveMaximum(maximum)))?;
    receiver.subscribe(&lab.topic("t"), qos)?;
    Ok((lab.connect("sender")?, receiver))
}

/// Publishes messages 0, 1, 2 at `qos`.
fn three(lab: &Lab<'_>, sender: &mut Peer, qos: u8) -> Verdict {
    for number in 0..3 {
        sender.publish(&lab.topic("t"), &number.to_string(), qos)?;
    }
    Ok(())
}

fn expect(lab: &Lab<'_>, peer: &mut Peer, number: u8, qos: u8) -> Result<Message, Stop> {
    peer.expect_message(&lab.topic("t"), number.to_string(), qos)
}

fn one_at_a_time(lab: &Lab<'_>) -> Verdict {
    let (mut sender, mut receiver) = limited(lab, 1, 1)?;
    three(lab, &mut sender, 1)?;
    for number in 0..3 {
        let message = expect(lab, &mut receiver, number, 1)?;
        receiver.expect_silence()?;
        receiver.acknowledge(&message)?;
    }
    Ok(())
}

fn two_at_a_time(lab: &Lab<'_>) -> Verdict {
    let (mut sender, mut receiver) = limited(lab, 2, 2)?;
    three(lab, &mut sender, 2)?;
    let first = expect(lab, &mut receiver, 0, 2)?;
    expect(lab, &mut receiver, 1, 2)?;
    receiver.expect_silence()?;
    receiver.acknowledge(&first)?;
    expect(lab, &mut receiver, 2, 2).map(|_| ())
}

fn pubrec_frees_nothing(lab: &Lab<'_>) -> Verdict {
    let (mut sender, mut receiver) = limited(lab, 1, 2)?;
    three(lab, &mut sender, 2)?;
    let first = expect(lab, &mut receiver, 0, 2)?;
    receiver.ack(PacketType::Pubrec, first.id);
    receiver.expect_ack(PacketType::Pubrel, first.id)?;
    receiver.expect_silence()?;
    receiver.ack(PacketType::Pubcomp, first.id);
    expect(lab, &mut receiver, 1, 2).map(|_| ())
}

fn refusal_frees(lab: &Lab<'_>) -> Verdict {
    let (mut sender, mut receiver) = limited(lab, 1, 2)?;
    three(lab, &mut sender, 2)?;
    let first = expect(lab, &mut receiver, 0, 2)?;
    receiver.ack_with(PacketType::Pubrec, first.id, 0x83);
    expect(lab, &mut receiver, 1, 2).map(|_| ())
}

fn qos_0_goes_on(lab: &Lab<'_>) -> Verdict {
    let (mut sender, mut receiver) = limited(lab, 1, 1)?;
    let other = lab.topic("other");
    receiver.subscribe(&other, 0)?;
    three(lab, &mut sender, 1)?;
    expect(lab, &mut receiver, 0, 1)?;
    sender.publish(&other, "m", 0)?;
    receiver.expect_message(&other, "m", 0)?;
    receiver.ping()
}

fn on_resume(lab: &Lab<'_>) -> Verdict {
    lab.away("receiver", &lab.topic("t"), 1)?;
    three(lab, &mut lab.connect("sender")?, 1)?;
    let hello = lab.lasting("receiver").with(Property::ReceiveMaximum(1));
    let mut again = lab.say_hello(&hello)?;
    again.expect_accepted(true)?;
    for number in 0..3 {
        let message = expect(lab, &mut again, number, 1)?;
        again.expect_silence()?;
        again.acknowledge(&message)?;
    }
    Ok(())
}

fn answers_fit(lab: &Lab<'_>) -> Verdict {
    const ROOM: usize = 40;
    let topic = lab.topic("t");
    let hello = lab.hello("a").with(Property::MaximumPacketSize(ROOM as u32));
    let mut peer = lab.say_hello(&hello)?;
    if peer.next_or_end()?.is_none() {
        return Err(Stop::not_applicable("the broker has no CONNACK so small, and closes"));
    }
    let fits =
        |peer: &Peer| ensure(peer.last_length() <= ROOM, "40 bytes at most", peer.last_length());
    fits(&peer)?;
    peer.send_publish(&publish(&topic, "m").qos(1, 1));
    peer.expect_ack(PacketType::Puback, 1)?;
    fits(&peer)?;
    peer.send_publish(&publish(&topic, "m").qos(2, 2));
    peer.expect_ack(PacketType::Pubrec, 2)?;
    fits(&peer)?;
    peer.ack(PacketType::Pubrel, 77);
    peer.expect_ack(PacketType::Pubcomp, 77)?;
    fits(&peer)?;
    peer.subscribe_to(&[(&topic, 0), (&topic, 1)], &[])?;
    fits(&peer)?;
    peer.unsubscribe(&["not/subscribed", "nor/this"])?;
    fits(&peer)?;
    // A second CONNECT.
    peer.hello(&hello);
    if peer.next_or_end()?.is_some() {
        fits(&peer)?;
    }
    Ok(())
}

/// As many messages as the server allows, unless that is too many to try.
fn fill(lab: &Lab<'_>, peer: &mut Peer) -> Result<u16, Stop> {
    let maximum = lab.granted().receive_maximum;
    if maximum > TRIED_MAX {
        return Err(Stop::not_applicable(format!(
            "the broker's receive maximum is {maximum}, more than is tried here"
        )));
    }
    for id in 1..=maximum {
        peer.send_publish(&publish(&lab.topic("t"), "m").qos(2, id));
        peer.expect_ack(PacketType::Pubrec, id)?;
    }
    Ok(maximum)
}

const TRIED_MAX: u16 = 5_000;

fn of_the_server(lab: &Lab<'_>) -> Verdict {
    lab.need(lab.granted().maximum_qos == 2, "QoS 2")?;
    let mut peer = lab.connect("a")?;
    let maximum = fill(lab, &mut peer)?;
    peer.send_publish(&publish(&lab.topic("t"), "m").qos(2, maximum + 1));
    peer.expect_end(&[0x93])
}

fn up_to_the_maximum(lab: &Lab<'_>) -> Verdict {
    lab.need(lab.granted().maximum_qos == 2, "QoS 2")?;
    let mut peer = lab.connect("a")?;
    fill(lab, &mut peer)?;
    // A full quota does not hold up anything else, and PUBREL makes room.
    peer.ping()?;
    peer.ack(PacketType::Pubrel, 1);
    peer.expect_ack(PacketType::Pubcomp, 1)?;
    peer.send_publish(&publish(&lab.topic("t"), "m").qos(2, 1));
    peer.expect_ack(PacketType::Pubrec, 1).map(|_| ())
}

const SMALL: u32 = 200;

/// A message whose packet has so many bytes at QoS 0 with its topic and no properties.
fn payload_of_packet(topic: &str, bytes: usize) -> String {
    // First byte, two bytes of length, two of the topic's length, one of the properties'.
    "x".repeat(bytes - 6 - topic.len())
}

fn small(lab: &Lab<'_>) -> Result<(Peer, Peer), Stop> {
    let hello = lab.hello("receiver").with(Property::MaximumPacketSize(SMALL));
    let mut receiver = lab.connect_as(&hello)?;
    receiver.subscribe(&lab.topic("t"), 0)?;
    Ok((lab.connect("sender")?, receiver))
}

fn too_large_for_the_client(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = small(lab)?;
    sender.publish(&topic, &payload_of_packet(&topic, SMALL as usize + 1), 0)?;
    sender.publish(&topic, "fits", 0)?;
    receiver.expect_message(&topic, "fits", 0).map(|_| ())
}

fn just_fits_the_client(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = small(lab)?;
    let payload = payload_of_packet(&topic, SMALL as usize);
    sender.publish(&topic, &payload, 0)?;
    receiver.expect_message(&topic, &payload, 0).map(|_| ())
}

fn too_large_and_shared(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = small(lab)?;
    let mut other = lab.connect("other")?;
    other.subscribe(&topic, 0)?;
    let payload = "x".repeat(1_000);
    sender.publish(&topic, &payload, 0)?;
    other.expect_message(&topic, &payload, 0)?;
    receiver.expect_silence()
}

fn waits_and_is_too_large(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    lab.away("receiver", &topic, 1)?;
    let mut sender = lab.connect("sender")?;
    sender.publish(&topic, &"x".repeat(1_000), 1)?;
    sender.publish(&topic, "fits", 1)?;
    let hello = lab.lasting("receiver").with(Property::MaximumPacketSize(SMALL));
    let mut again = lab.say_hello(&hello)?;
    again.expect_accepted(true)?;
    again.take(&topic, "fits", 1).map(|_| ())
}

fn too_large_for_the_server(lab: &Lab<'_>) -> Verdict {
    let Some(maximum) = lab.granted().maximum_packet_size else {
        return Err(Stop::not_applicable("the broker announces no maximum packet size"));
    };
    if maximum > 200_000_000 {
        return Err(Stop::not_applicable("the broker's maximum packet size is hardly a limit"));
    }
    let mut peer = lab.connect("a")?;
    let mut claim = vec![0x30];
    let mut left = maximum + 1;
    while left > 0x7F {
        claim.push((left & 0x7F) as u8 | 0x80);
        left >>= 7;
    }
    claim.push(left as u8);
    peer.send(&claim);
    peer.expect_end(&[0x95])
}

fn just_fits_the_server(lab: &Lab<'_>) -> Verdict {
    // Four bytes of length from here on, and more than is worth sending in the end.
    let fine = (2_097_160..=20_000_000, 16_400..=2_097_000);
    let maximum = lab.granted().maximum_packet_size.unwrap_or(u32::MAX);
    let header = match maximum {
        _ if fine.0.contains(&maximum) => 5,
        _ if fine.1.contains(&maximum) => 4,
        _ => return Err(Stop::not_applicable("the broker announces no such maximum packet size")),
    };
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 0)?;
    let payload = "x".repeat(maximum as usize - header - 3 - topic.len());
    sender.publish(&topic, &payload, 0)?;
    let came = receiver.expect_publish()?;
    receiver.ensure(came.payload.len() == payload.len(), "the whole payload", came)
}
