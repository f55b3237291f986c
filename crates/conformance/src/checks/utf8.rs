//! Strings: well-formed UTF-8, no U+0000, and nothing changed on the way.

use super::{WRONG, ends, is_refused};
use crate::lab::Lab;
use crate::outcome::Verdict;
use crate::say::{WillWords, field, property_block, raw};

chapter! { "utf8":
    client_id_ill_formed ["MQTT3-1.5.3-1" "MQTT3-3.1.3-4" "MQTT5-1.5.4-1" "MQTT5-3.1.3-4"]
        "CONNECT whose client identifier has a byte FF is not accepted.";
    client_id_with_null ["MQTT3-1.5.3-2" "MQTT5-1.5.4-2"]
        "CONNECT whose client identifier has U+0000 is not accepted.";
    will_topic_ill_formed ["MQTT3-3.1.3-10" "MQTT5-3.1.3-11"]
        "CONNECT whose will topic is no UTF-8 is not accepted.";
    user_name_ill_formed ["MQTT3-3.1.3-11" "MQTT5-3.1.3-12"]
        "CONNECT whose user name is no UTF-8 is not accepted.";
    topic_ill_formed ["MQTT3-1.5.3-1" "MQTT3-3.3.2-1" "MQTT5-1.5.4-1" "MQTT5-3.3.2-1"]
        "PUBLISH to a topic that begins a character and does not end it ends the connection.";
    topic_overlong ["MQTT3-1.5.3-1" "MQTT5-1.5.4-1"]
        "PUBLISH to a topic with '/' in the overlong form C0 AF ends the connection.";
    topic_with_surrogate ["MQTT3-1.5.3-1" "MQTT5-1.5.4-1"]
        "PUBLISH to a topic with the surrogate U+D800 (ED A0 80) ends the connection.";
    topic_with_null ["MQTT3-1.5.3-2" "MQTT3-4.7.3-2" "MQTT5-1.5.4-2" "MQTT5-4.7.3-2"]
        "PUBLISH to a topic with U+0000 ends the connection.";
    filter_ill_formed ["MQTT3-3.8.3-1" "MQTT5-3.8.3-1"]
        "SUBSCRIBE to a filter that is no UTF-8 ends the connection.";
    filter_with_null ["MQTT3-4.7.3-2" "MQTT5-4.7.3-2"]
        "SUBSCRIBE to a filter with U+0000 ends the connection.";
    unsubscribe_ill_formed ["MQTT3-3.10.3-1" "MQTT5-3.10.3-1"]
        "UNSUBSCRIBE from a filter that is no UTF-8 ends the connection.";
    bom_is_kept ["MQTT3-1.5.3-3" "MQTT5-1.5.4-3"]
        "EF BB BF in a topic is U+FEFF: it is passed on, and a topic without it is another one.";
    beyond_the_plane ["MQTT3-1.5.3" "MQTT5-1.5.4"]
        "A topic with characters of one to four bytes is passed on as it is.";
}

/// CONNECT of a client with these bytes as its identifier.
fn connect_with_id(lab: &Lab<'_>, id: &[u8]) -> Vec<u8> {
    let none = property_block(lab.version(), &[]);
    let level = lab.version() as u8;
    raw(0x10, &[&field("MQTT"), &[level, 0x02, 0, 60], &none, &field(id)])
}

fn client_id_ill_formed(lab: &Lab<'_>) -> Verdict {
    is_refused(lab, &connect_with_id(lab, b"cf\xFFx"), &[0x81, 0x82, 0x85])
}

fn client_id_with_null(lab: &Lab<'_>) -> Verdict {
    is_refused(lab, &connect_with_id(lab, b"cf\0x"), &[0x81, 0x82, 0x85])
}

fn will_topic_ill_formed(lab: &Lab<'_>) -> Verdict {
    // All characters but one are right, and that one is replaced behind the codec's back.
    let hello = lab.hello("a").will(WillWords::new("will~topic", "m"));
    is_refused(lab, &replaced(hello.bytes()), &[0x81, 0x82, 0x90])
}

fn user_name_ill_formed(lab: &Lab<'_>) -> Verdict {
    let mut hello = lab.hello("a");
    hello.user_name = Some("some~body".into());
    hello.password = Some(b"secret".to_vec());
    is_refused(lab, &replaced(hello.bytes()), &[0x81, 0x82])
}

fn replaced(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().map(|byte| if byte == b'~' { 0xFF } else { byte }).collect()
}

fn publish_to(lab: &Lab<'_>, end: &[u8]) -> Verdict {
    let topic = [lab.topic("t").as_bytes(), end].concat();
    let none = property_block(lab.version(), &[]);
    ends(lab, &raw(0x30, &[&field(topic), &none, b"m"]), &[0x81, 0x82, 0x90])
}

fn topic_ill_formed(lab: &Lab<'_>) -> Verdict {
    publish_to(lab, &[0xC3])
}

fn topic_overlong(lab: &Lab<'_>) -> Verdict {
    publish_to(lab, &[0xC0, 0xAF])
}

fn topic_with_surrogate(lab: &Lab<'_>) -> Verdict {
    publish_to(lab, &[0xED, 0xA0, 0x80])
}

fn topic_with_null(lab: &Lab<'_>) -> Verdict {
    publish_to(lab, &[0])
}

fn subscribe_to(lab: &Lab<'_>, end: &[u8]) -> Verdict {
    let filter = [lab.topic("t").as_bytes(), end].concat();
    let none = property_block(lab.version(), &[]);
    ends(lab, &raw(0x82, &[&[0, 1], &none, &field(filter), &[0]]), &[0x81, 0x82, 0x8F])
}

fn filter_ill_formed(lab: &Lab<'_>) -> Verdict {
    subscribe_to(lab, &[0xFF])
}

fn filter_with_null(lab: &Lab<'_>) -> Verdict {
    subscribe_to(lab, &[0])
}

fn unsubscribe_ill_formed(lab: &Lab<'_>) -> Verdict {
    let filter = [lab.topic("t").as_bytes(), &[0xFF]].concat();
    let none = property_block(lab.version(), &[]);
    ends(lab, &raw(0xA2, &[&[0, 1], &none, &field(filter)]), WRONG)
}

fn bom_is_kept(lab: &Lab<'_>) -> Verdict {
    let (with, without) = (lab.topic("\u{FEFF}t"), lab.topic("t"));
    let (mut sender, mut receiver) = lab.pair(&with, 0)?;
    sender.publish(&without, "another", 0)?;
    sender.publish(&with, "kept", 0)?;
    receiver.expect_message(&with, "kept", 0).map(|_| ())
}

fn beyond_the_plane(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("aé€\u{1F987}\u{10FFFD}");
    let (mut sender, mut receiver) = lab.pair(&topic, 0)?;
    sender.publish(&topic, "m", 0)?;
    receiver.expect_message(&topic, "m", 0)?;
    Ok(())
}
