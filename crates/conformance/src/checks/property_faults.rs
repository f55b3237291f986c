//! Properties that are wrong: twice, in the wrong packet, unknown, cut short, out of range.

use super::{MALFORMED, PROTOCOL_ERROR, WRONG, ends, is_refused};
use crate::lab::Lab;
use crate::outcome::Verdict;
use crate::say::{field, property_block, publish, raw};

chapter! { "property_faults":
    session_expiry_twice ["MQTT5-3.1.2.11.2"]
        "CONNECT with two session expiry intervals is a protocol error.";
    receive_maximum_twice ["MQTT5-3.1.2.11.3"]
        "CONNECT with two receive maximums is a protocol error.";
    receive_maximum_0 ["MQTT5-3.1.2.11.3"]
        "CONNECT with the receive maximum 0 is a protocol error.";
    packet_size_twice ["MQTT5-3.1.2.11.4"]
        "CONNECT with two maximum packet sizes is a protocol error.";
    packet_size_0 ["MQTT5-3.1.2.11.4"]
        "CONNECT with the maximum packet size 0 is a protocol error.";
    alias_maximum_twice ["MQTT5-3.1.2.11.5"]
        "CONNECT with two topic alias maximums is a protocol error.";
    response_information_2 ["MQTT5-3.1.2.11.6"]
        "CONNECT with request response information 2 is a protocol error.";
    problem_information_2 ["MQTT5-3.1.2.11.7"]
        "CONNECT with request problem information 2 is a protocol error.";
    method_twice ["MQTT5-3.1.2.11.9"]
        "CONNECT with two authentication methods is a protocol error.";
    connect_with_topic_alias ["MQTT5-2.2.2.2"]
        "CONNECT with a topic alias is not accepted.";
    connect_with_assigned_id ["MQTT5-2.2.2.2"]
        "CONNECT with an assigned client identifier, which only servers send, is not accepted.";
    unknown_in_connect ["MQTT5-2.2.2.2"]
        "CONNECT with a property 0x7F, which does not exist, is not accepted.";
    longer_than_the_packet ["MQTT5-4.13.1-1"]
        "PUBLISH whose property length is beyond its end ends the connection.";
    cut_short ["MQTT5-4.13.1-1"]
        "PUBLISH whose last property ends behind its first byte ends the connection.";
    unknown_in_publish ["MQTT5-2.2.2.2"]
        "PUBLISH with a property 0x7F ends the connection.";
    publish_with_session_expiry ["MQTT5-2.2.2.2"]
        "PUBLISH with a session expiry interval ends the connection.";
    publish_with_reason_string ["MQTT5-2.2.2.2"]
        "PUBLISH with a reason string ends the connection.";
    payload_format_twice ["MQTT5-3.3.2.3.2"]
        "PUBLISH with two payload formats ends the connection.";
    payload_format_2 ["MQTT5-3.3.2.3.2"]
        "PUBLISH with the payload format 2 ends the connection.";
    message_expiry_twice ["MQTT5-3.3.2.3.3"]
        "PUBLISH with two message expiry intervals is a protocol error.";
    topic_alias_twice ["MQTT5-3.3.2.3.4"]
        "PUBLISH with two topic aliases is a protocol error.";
    response_topic_twice ["MQTT5-3.3.2.3.5"]
        "PUBLISH with two response topics is a protocol error.";
    response_topic_with_wildcard ["MQTT5-3.3.2-14"]
        "PUBLISH whose response topic has a wildcard ends the connection.";
    response_topic_ill_formed ["MQTT5-3.3.2-13"]
        "PUBLISH whose response topic is no UTF-8 ends the connection.";
    correlation_data_twice ["MQTT5-3.3.2.3.6"]
        "PUBLISH with two correlation data is a protocol error.";
    content_type_twice ["MQTT5-3.3.2.3.9"]
        "PUBLISH with two content types is a protocol error.";
    content_type_ill_formed ["MQTT5-3.3.2-19"]
        "PUBLISH whose content type is no UTF-8 ends the connection.";
    user_property_ill_formed ["MQTT5-1.5.7-1"]
        "PUBLISH with a user property whose value is no UTF-8 ends the connection.";
    user_property_without_value ["MQTT5-1.5.7-1"]
        "PUBLISH with a user property that has a name and no value ends the connection.";
    subscribe_with_content_type ["MQTT5-2.2.2.2"]
        "SUBSCRIBE with a content type ends the connection.";
    unsubscribe_with_subscription_identifier ["MQTT5-2.2.2.2"]
        "UNSUBSCRIBE with a subscription identifier ends the connection.";
    puback_with_topic_alias ["MQTT5-2.2.2.2"]
        "PUBACK with a topic alias ends the connection.";
    reason_string_twice ["MQTT5-3.4.2.2.2"]
        "PUBACK with two reason strings is a protocol error.";
    unknown_reason_of_puback ["MQTT5-3.4.2-1"]
        "PUBACK with the reason 0x7F, which does not exist, ends the connection.";
    reason_of_others_in_pubrel ["MQTT5-3.6.2-1"]
        "PUBREL with the reason 0x10, which it may not have, ends the connection.";
    disconnect_with_receive_maximum ["MQTT5-2.2.2.2"]
        "DISCONNECT with a receive maximum ends the connection, and it was no good end: the will is published.";
    disconnect_expiry_twice ["MQTT5-3.14.2.2.2"]
        "DISCONNECT with two session expiry intervals is a protocol error.";
    unknown_reason_of_disconnect ["MQTT5-3.14.2-1"]
        "DISCONNECT with the reason 0x7F, which does not exist, ends the connection, and the will is published.";
}

fn connect(lab: &Lab<'_>, properties: &[u8], codes: &[u8]) -> Verdict {
    is_refused(lab, &lab.hello("a").bytes_with_raw_properties(properties), codes)
}

fn session_expiry_twice(lab: &Lab<'_>) -> Verdict {
    connect(lab, &[0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1], PROTOCOL_ERROR)
}

fn receive_maximum_twice(lab: &Lab<'_>) -> Verdict {
    connect(lab, &[0x21, 0, 1, 0x21, 0, 1], PROTOCOL_ERROR)
}

fn receive_maximum_0(lab: &Lab<'_>) -> Verdict {
    connect(lab, &[0x21, 0, 0], PROTOCOL_ERROR)
}

fn packet_size_twice(lab: &Lab<'_>) -> Verdict {
    connect(lab, &[0x27, 0, 1, 0, 0, 0x27, 0, 1, 0, 0], PROTOCOL_ERROR)
}

fn packet_size_0(lab: &Lab<'_>) -> Verdict {
    connect(lab, &[0x27, 0, 0, 0, 0], PROTOCOL_ERROR)
}

fn alias_maximum_twice(lab: &Lab<'_>) -> Verdict {
    connect(lab, &[0x22, 0, 1, 0x22, 0, 1], PROTOCOL_ERROR)
}

fn response_information_2(lab: &Lab<'_>) -> Verdict {
    connect(lab, &[0x19, 2], PROTOCOL_ERROR)
}

fn problem_information_2(lab: &Lab<'_>) -> Verdict {
    connect(lab, &[0x17, 2], PROTOCOL_ERROR)
}

fn method_twice(lab: &Lab<'_>) -> Verdict {
    let method = [&[0x15][..], &field("X")].concat();
    connect(lab, &method.repeat(2), PROTOCOL_ERROR)
}

fn connect_with_topic_alias(lab: &Lab<'_>) -> Verdict {
    connect(lab, &[0x23, 0, 1], WRONG)
}

fn connect_with_assigned_id(lab: &Lab<'_>) -> Verdict {
    connect(lab, &[&[0x12][..], &field("me")].concat(), WRONG)
}

fn unknown_in_connect(lab: &Lab<'_>) -> Verdict {
    connect(lab, &[0x7F, 0], WRONG)
}

fn longer_than_the_packet(lab: &Lab<'_>) -> Verdict {
    ends(lab, &raw(0x30, &[&field(lab.topic("t")), &[100], b"m"]), WRONG)
}

fn cut_short(lab: &Lab<'_>) -> Verdict {
    ends(lab, &raw(0x30, &[&field(lab.topic("t")), &[2, 0x02, 0]]), MALFORMED)
}

/// PUBLISH with these properties.
fn message(lab: &Lab<'_>, properties: &[u8], codes: &[u8]) -> Verdict {
    let message = publish(&lab.topic("t"), "m").raw_properties(properties);
    ends(lab, &message.bytes(lab.version()), codes)
}

fn text(id: u8, value: &[u8]) -> Vec<u8> {
    [&[id][..], &field(value)].concat()
}

fn unknown_in_publish(lab: &Lab<'_>) -> Verdict {
    message(lab, &[0x7F, 0], WRONG)
}

fn publish_with_session_expiry(lab: &Lab<'_>) -> Verdict {
    message(lab, &[0x11, 0, 0, 0, 1], WRONG)
}

fn publish_with_reason_string(lab: &Lab<'_>) -> Verdict {
    message(lab, &text(0x1F, b"why"), WRONG)
}

fn payload_format_twice(lab: &Lab<'_>) -> Verdict {
    message(lab, &[0x01, 1, 0x01, 1], WRONG)
}

fn payload_format_2(lab: &Lab<'_>) -> Verdict {
    message(lab, &[0x01, 2], WRONG)
}

fn message_expiry_twice(lab: &Lab<'_>) -> Verdict {
    message(lab, &[0x02, 0, 0, 0, 1, 0x02, 0, 0, 0, 1], WRONG)
}

fn topic_alias_twice(lab: &Lab<'_>) -> Verdict {
    message(lab, &[0x23, 0, 1, 0x23, 0, 1], &[0x82, 0x94])
}

fn response_topic_twice(lab: &Lab<'_>) -> Verdict {
    message(lab, &text(0x08, b"a").repeat(2), WRONG)
}

fn response_topic_with_wildcard(lab: &Lab<'_>) -> Verdict {
    message(lab, &text(0x08, b"a/#"), &[0x81, 0x82, 0x90])
}

fn response_topic_ill_formed(lab: &Lab<'_>) -> Verdict {
    message(lab, &text(0x08, b"a/\xFF"), &[0x81, 0x82, 0x90])
}

fn correlation_data_twice(lab: &Lab<'_>) -> Verdict {
    message(lab, &text(0x09, b"a").repeat(2), WRONG)
}

fn content_type_twice(lab: &Lab<'_>) -> Verdict {
    message(lab, &text(0x03, b"a").repeat(2), WRONG)
}

fn content_type_ill_formed(lab: &Lab<'_>) -> Verdict {
    message(lab, &text(0x03, b"\xC3("), WRONG)
}

fn user_property_ill_formed(lab: &Lab<'_>) -> Verdict {
    message(lab, &[text(0x26, b"name"), field(b"\xFF")].concat(), WRONG)
}

fn user_property_without_value(lab: &Lab<'_>) -> Verdict {
    message(lab, &text(0x26, b"name"), WRONG)
}

fn subscribe_with_content_type(lab: &Lab<'_>) -> Verdict {
    let block = property_block(lab.version(), &text(0x03, b"a"));
    ends(lab, &raw(0x82, &[&[0, 1], &block, &field(lab.topic("t")), &[0]]), WRONG)
}

fn unsubscribe_with_subscription_identifier(lab: &Lab<'_>) -> Verdict {
    let block = property_block(lab.version(), &[0x0B, 1]);
    ends(lab, &raw(0xA2, &[&[0, 1], &block, &field(lab.topic("t"))]), WRONG)
}

fn puback(lab: &Lab<'_>, reason: u8, properties: &[u8], codes: &[u8]) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 1)?;
    sender.publish(&topic, "m", 1)?;
    let id = receiver.expect_message(&topic, "m", 1)?.id;
    let block = property_block(lab.version(), properties);
    receiver.send(&raw(0x40, &[&id.to_be_bytes(), &[reason], &block]));
    receiver.expect_end(codes)
}

fn puback_with_topic_alias(lab: &Lab<'_>) -> Verdict {
    puback(lab, 0, &[0x23, 0, 1], WRONG)
}

fn reason_string_twice(lab: &Lab<'_>) -> Verdict {
    puback(lab, 0, &text(0x1F, b"a").repeat(2), WRONG)
}

fn unknown_reason_of_puback(lab: &Lab<'_>) -> Verdict {
    puback(lab, 0x7F, &[], WRONG)
}

fn reason_of_others_in_pubrel(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.connect("a")?;
    peer.send_publish(&publish(&lab.topic("t"), "m").qos(2, 7));
    peer.expect_ack(noctule_mqtt::PacketType::Pubrec, 7)?;
    peer.ack_with(noctule_mqtt::PacketType::Pubrel, 7, 0x10);
    peer.expect_end(WRONG)
}

/// A client with a will that says this last: it must not pass for a good end.
fn last_words(lab: &Lab<'_>, bytes: &[u8], codes: &[u8]) -> Verdict {
    let topic = lab.topic("will");
    let mut watcher = lab.connect("watcher")?;
    watcher.subscribe(&topic, 0)?;
    let will = crate::say::WillWords::new(&topic, "lost");
    let mut peer = lab.connect_as(&lab.hello("a").will(will))?;
    peer.send(bytes);
    peer.expect_end(codes)?;
    watcher.expect_message(&topic, "lost", 0).map(|_| ())
}

fn disconnect_with_receive_maximum(lab: &Lab<'_>) -> Verdict {
    let block = property_block(lab.version(), &[0x21, 0, 1]);
    last_words(lab, &raw(0xE0, &[&[0], &block]), WRONG)
}

fn disconnect_expiry_twice(lab: &Lab<'_>) -> Verdict {
    let block = property_block(lab.version(), &[0x11, 0, 0, 0, 0, 0x11, 0, 0, 0, 0]);
    last_words(lab, &raw(0xE0, &[&[0], &block]), WRONG)
}

fn unknown_reason_of_disconnect(lab: &Lab<'_>) -> Verdict {
    last_words(lab, &[0xE0, 1, 0x7F], WRONG)
}
