//! Fixed header: packet types, flags, remaining length, and who may send what.

use noctule_mqtt::PacketType;

use super::{MALFORMED, WRONG, ends, first_byte, is_refused};
use crate::lab::Lab;
use crate::outcome::Verdict;
use crate::peer::Peer;
use crate::say::{self, field, property_block, raw};

chapter! { "header":
    flags_of_connect ["MQTT3-2.2.2-1" "MQTT3-2.2.2-2" "MQTT5-2.1.3-1"]
        "CONNECT with flags 0001 in its fixed header is not accepted.";
    flags_of_puback ["MQTT3-2.2.2-1" "MQTT3-2.2.2-2" "MQTT5-2.1.3-1"]
        "PUBACK with flags 0010 ends the connection.";
    flags_of_pubrec ["MQTT3-2.2.2-1" "MQTT3-2.2.2-2" "MQTT5-2.1.3-1"]
        "PUBREC with flags 1000 ends the connection.";
    flags_of_pubrel ["MQTT3-3.6.1-1" "MQTT3-2.2.2-2" "MQTT5-3.6.1-1"]
        "PUBREL with flags 0000 instead of 0010 ends the connection.";
    flags_of_pubcomp ["MQTT3-2.2.2-1" "MQTT3-2.2.2-2" "MQTT5-2.1.3-1"]
        "PUBCOMP with flags 0001 ends the connection.";
    flags_of_subscribe ["MQTT3-3.8.1-1" "MQTT5-3.8.1-1"]
        "SUBSCRIBE with flags 0000 instead of 0010 ends the connection.";
    flags_of_unsubscribe ["MQTT3-3.10.1-1" "MQTT5-3.10.1-1"]
        "UNSUBSCRIBE with flags 0000 instead of 0010 ends the connection.";
    flags_of_pingreq ["MQTT3-2.2.2-1" "MQTT3-2.2.2-2" "MQTT5-2.1.3-1"]
        "PINGREQ with flags 0001 ends the connection.";
    flags_of_disconnect ["MQTT3-3.14.1-1" "MQTT5-3.14.1-1"]
        "DISCONNECT with flags 0001 is malformed: the connection ends, and a will is published.";
    flags_of_auth ["MQTT5-3.15.1-1"]
        "AUTH with flags 0001 ends the connection.";
    type_0 ["MQTT3-4.8.0-1" "MQTT5-4.13.1-1"]
        "A packet of the reserved type 0 ends the connection.";
    type_15 ["MQTT3-4.8.0-1"]
        "A packet of type 15, which 3.1.1 reserves, ends the connection.";
    connack_from_client ["MQTT3-4.8.0-1" "MQTT5-4.13.1-1"]
        "CONNACK, which only servers send, ends the connection.";
    suback_from_client ["MQTT3-4.8.0-1" "MQTT5-4.13.1-1"]
        "SUBACK, which only servers send, ends the connection.";
    unsuback_from_client ["MQTT3-4.8.0-1" "MQTT5-4.13.1-1"]
        "UNSUBACK, which only servers send, ends the connection.";
    pingresp_from_client ["MQTT3-4.8.0-1" "MQTT5-4.13.1-1"]
        "PINGRESP, which only servers send, ends the connection.";
    auth_without_method ["MQTT5-4.12.0-7" "MQTT5-4.13.1-1"]
        "AUTH of a client that named no authentication method ends the connection.";
    body_on_pingreq ["MQTT3-3.12" "MQTT3-4.8.0-1" "MQTT5-3.12" "MQTT5-4.13.1-1"]
        "PINGREQ with a byte behind its fixed header ends the connection.";
    length_of_five_bytes ["MQTT3-2.2.3" "MQTT3-4.8.0-1" "MQTT5-1.5.5" "MQTT5-4.13.1-1"]
        "A remaining length that goes on behind its fourth byte ends the connection, at its fifth at the latest.";
    length_of_five_bytes_in_connect ["MQTT3-2.2.3" "MQTT5-1.5.5"]
        "A remaining length that goes on behind its fourth byte ends the connection in its first packet, too.";
    length_with_padding ["MQTT5-1.5.5-1"]
        "A remaining length of 0 in two bytes ends the connection.";
    property_length_with_padding ["MQTT5-1.5.5-1"]
        "A property length of 0 in two bytes ends the connection.";
    length_in_two_bytes ["MQTT3-2.2.3" "MQTT5-1.5.5"]
        "A message of 300 bytes, whose length takes two bytes, is read and passed on.";
    length_in_three_bytes ["MQTT3-2.2.3" "MQTT5-1.5.5"]
        "A message of 20,000 bytes, whose length takes three bytes, is read and passed on.";
    topic_beyond_the_packet ["MQTT3-4.8.0-1" "MQTT5-4.13.1-1"]
        "PUBLISH whose topic is said to be longer than the packet ends the connection.";
    puback_of_one_byte ["MQTT3-4.8.0-1" "MQTT5-4.13.1-1"]
        "PUBACK with half a packet identifier ends the connection.";
    packets_in_pieces ["MQTT3-4.2.0-1" "MQTT5-4.2.0-1"]
        "CONNECT, SUBSCRIBE and PINGREQ that come byte by byte are understood.";
    packets_at_once ["MQTT3-3.1.4" "MQTT5-3.1.4"]
        "CONNECT, SUBSCRIBE and PINGREQ in one piece, sent before CONNACK, are answered in turn.";
}

fn flags_of_connect(lab: &Lab<'_>) -> Verdict {
    let mut bytes = lab.hello("a").bytes();
    bytes[0] |= 1;
    is_refused(lab, &bytes, WRONG)
}

fn flags_of_puback(lab: &Lab<'_>) -> Verdict {
    ends(lab, &raw(first_byte(PacketType::Puback, 0b0010), &[&[0, 1]]), MALFORMED)
}

fn flags_of_pubrec(lab: &Lab<'_>) -> Verdict {
    ends(lab, &raw(first_byte(PacketType::Pubrec, 0b1000), &[&[0, 1]]), MALFORMED)
}

fn flags_of_pubrel(lab: &Lab<'_>) -> Verdict {
    ends(lab, &raw(first_byte(PacketType::Pubrel, 0), &[&[0, 1]]), MALFORMED)
}

fn flags_of_pubcomp(lab: &Lab<'_>) -> Verdict {
    ends(lab, &raw(first_byte(PacketType::Pubcomp, 0b0001), &[&[0, 1]]), MALFORMED)
}

fn flags_of_subscribe(lab: &Lab<'_>) -> Verdict {
    let (filter, none) = (field(lab.topic("t")), property_block(lab.version(), &[]));
    let first = first_byte(PacketType::Subscribe, 0);
    ends(lab, &raw(first, &[&[0, 1], &none, &filter, &[0]]), MALFORMED)
}

fn flags_of_unsubscribe(lab: &Lab<'_>) -> Verdict {
    let (filter, none) = (field(lab.topic("t")), property_block(lab.version(), &[]));
    let first = first_byte(PacketType::Unsubscribe, 0);
    ends(lab, &raw(first, &[&[0, 1], &none, &filter]), MALFORMED)
}

fn flags_of_pingreq(lab: &Lab<'_>) -> Verdict {
    ends(lab, &[0xC1, 0], MALFORMED)
}

fn flags_of_disconnect(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("will");
    let mut watcher = lab.connect("watcher")?;
    watcher.subscribe(&topic, 0)?;
    let hello = lab.hello("a").will(say::WillWords::new(&topic, "malformed"));
    let mut peer = lab.connect_as(&hello)?;
    peer.send(&[0xE1, 0]);
    peer.expect_end(MALFORMED)?;
    watcher.expect_message(&topic, "malformed", 0).map(|_| ())
}

fn flags_of_auth(lab: &Lab<'_>) -> Verdict {
    ends(lab, &raw(first_byte(PacketType::Auth, 1), &[&[0x18, 0]]), WRONG)
}

fn type_0(lab: &Lab<'_>) -> Verdict {
    ends(lab, &[0x00, 0], WRONG)
}

fn type_15(lab: &Lab<'_>) -> Verdict {
    ends(lab, &[0xF0, 0], WRONG)
}

fn connack_from_client(lab: &Lab<'_>) -> Verdict {
    let none = property_block(lab.version(), &[]);
    ends(lab, &raw(0x20, &[&[0, 0], &none]), WRONG)
}

fn suback_from_client(lab: &Lab<'_>) -> Verdict {
    let none = property_block(lab.version(), &[]);
    ends(lab, &raw(0x90, &[&[0, 1], &none, &[0]]), WRONG)
}

fn unsuback_from_client(lab: &Lab<'_>) -> Verdict {
    let bytes: &[u8] = if lab.is_v5() { &[0xB0, 4, 0, 1, 0, 0] } else { &[0xB0, 2, 0, 1] };
    ends(lab, bytes, WRONG)
}

fn pingresp_from_client(lab: &Lab<'_>) -> Verdict {
    ends(lab, &[0xD0, 0], WRONG)
}

fn auth_without_method(lab: &Lab<'_>) -> Verdict {
    ends(lab, &[0xF0, 2, 0x18, 0], WRONG)
}

fn body_on_pingreq(lab: &Lab<'_>) -> Verdict {
    ends(lab, &[0xC0, 1, 0], WRONG)
}

fn length_of_five_bytes(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.connect("a")?;
    send_length(lab, &mut peer, 0x30);
    peer.expect_end(MALFORMED)
}

fn length_of_five_bytes_in_connect(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.open()?;
    send_length(lab, &mut peer, 0x10);
    peer.expect_refused(if lab.is_v5() { MALFORMED } else { &[] })
}

/// A packet begins with `first` and a remaining length of too many bytes. The fourth says that it is
/// too long; the algorithm of the specification (section 1.5.5, in 3.1.1 2.2.3) reads a fifth.
fn send_length(lab: &Lab<'_>, peer: &mut Peer, first: u8) {
    peer.send(&[first, 0xFF, 0xFF, 0xFF, 0xFF]);
    if peer.is_quiet(lab.patience().silence) {
        peer.send(&[0xFF]);
    }
}

fn length_with_padding(lab: &Lab<'_>) -> Verdict {
    ends(lab, &[0xC0, 0x80, 0x00], WRONG)
}

fn property_length_with_padding(lab: &Lab<'_>) -> Verdict {
    ends(lab, &raw(0x30, &[&field(lab.topic("t")), &[0x80, 0x00], b"m"]), WRONG)
}

fn length_in_two_bytes(lab: &Lab<'_>) -> Verdict {
    passes_on(lab, 300)
}

fn length_in_three_bytes(lab: &Lab<'_>) -> Verdict {
    let fits = lab.granted().maximum_packet_size.is_none_or(|size| size >= 21_000);
    lab.need(fits, "room for so large a packet")?;
    passes_on(lab, 20_000)
}

fn passes_on(lab: &Lab<'_>, bytes: usize) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 1)?;
    let payload = "x".repeat(bytes);
    sender.publish(&topic, &payload, 1)?;
    receiver.take(&topic, &payload, 1)?;
    Ok(())
}

fn topic_beyond_the_packet(lab: &Lab<'_>) -> Verdict {
    ends(lab, &[0x30, 4, 0xFF, 0xFF, b'a', b'b'], WRONG)
}

fn puback_of_one_byte(lab: &Lab<'_>) -> Verdict {
    ends(lab, &[0x40, 1, 0], WRONG)
}

/// The packets of the two checks below.
fn three_packets(lab: &Lab<'_>) -> Vec<u8> {
    let (filter, none) = (field(lab.topic("t")), property_block(lab.version(), &[]));
    let subscribe = raw(0x82, &[&[0, 9], &none, &filter, &[1]]);
    [lab.hello("a").bytes(), subscribe, vec![0xC0, 0]].concat()
}

fn packets_in_pieces(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.open()?;
    for byte in three_packets(lab) {
        peer.send(&[byte]);
    }
    peer.expect_accepted(false)?;
    peer.expect_suback(9)?;
    peer.ping()
}

fn packets_at_once(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.open()?;
    peer.send(&three_packets(lab));
    peer.expect_accepted(false)?;
    peer.expect_suback(9)?;
    peer.ping()
}
