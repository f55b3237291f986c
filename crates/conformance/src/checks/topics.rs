//! Topic names: what may be one, and that none is changed or taken for another.

use super::ends;
use crate::lab::Lab;
use crate::outcome::Verdict;
use crate::say::{field, property_block, publish, raw};

chapter! { "topics":
    with_plus ["MQTT3-3.3.2-2" "MQTT3-4.7.1-1" "MQTT5-3.3.2-2" "MQTT5-4.7.0-1"]
        "PUBLISH to a topic with '+' ends the connection.";
    with_hash ["MQTT3-3.3.2-2" "MQTT3-4.7.1-1" "MQTT5-3.3.2-2" "MQTT5-4.7.0-1"]
        "PUBLISH to a topic that ends with '#' ends the connection.";
    empty ["MQTT3-4.7.3-1" "MQTT5-4.7.3-1"]
        "PUBLISH to an empty topic, without an alias in 5, ends the connection.";
    will_with_wildcard ["MQTT3-4.7.1-1" "MQTT5-4.7.0-1"]
        "CONNECT with a wildcard in its will topic is not accepted, or its connection ends.";
    case ["MQTT3-4.7.3-4" "MQTT5-4.7.3-4"]
        "Topics that differ by the case of a letter are two topics.";
    spaces ["MQTT3-4.7.3-4" "MQTT5-4.7.3-4"]
        "Topics that differ by a blank are two topics.";
    leading_slash ["MQTT3-4.7.1.1" "MQTT5-4.7.1.1"]
        "Topics that differ by a '/' at the beginning or the end are different topics.";
    not_normalized ["MQTT3-4.7.3-4" "MQTT5-4.7.3-4"]
        "Å as one character and as two are different topics.";
    one_slash ["MQTT3-4.7.3" "MQTT5-4.7.3"]
        "A topic whose levels are empty, 'x//', is one like any other.";
    thousand_bytes ["MQTT3-4.7.3-3" "MQTT5-4.7.3-3"]
        "A topic of 1,000 bytes is passed on whole.";
}

fn publish_to(lab: &Lab<'_>, topic: &str) -> Verdict {
    let none = property_block(lab.version(), &[]);
    ends(lab, &raw(0x30, &[&field(topic), &none, b"m"]), &[0x81, 0x82, 0x90])
}

fn with_plus(lab: &Lab<'_>) -> Verdict {
    publish_to(lab, &lab.topic("+/t"))
}

fn with_hash(lab: &Lab<'_>) -> Verdict {
    publish_to(lab, &lab.topic("#"))
}

fn empty(lab: &Lab<'_>) -> Verdict {
    publish_to(lab, "")
}

fn will_with_wildcard(lab: &Lab<'_>) -> Verdict {
    let will = crate::say::WillWords::new("will~", "m");
    let bytes: Vec<u8> = lab.hello("a").will(will).bytes();
    let bytes: Vec<_> =
        bytes.into_iter().map(|byte| if byte == b'~' { b'#' } else { byte }).collect();
    let mut peer = lab.open()?;
    peer.send(&bytes);
    let codes: &[u8] = if lab.is_v5() { &[0x81, 0x82, 0x90] } else { &[] };
    peer.expect_refused(codes)
}

/// A message to each of `others` does not come to a subscriber of `topic`, and one to `topic` does.
fn are_apart(lab: &Lab<'_>, topic: &str, others: &[&str]) -> Verdict {
    let (mut sender, mut receiver) = lab.pair(topic, 0)?;
    for other in others {
        sender.publish(other, "another", 0)?;
    }
    sender.publish(topic, "this", 0)?;
    receiver.expect_message(topic, "this", 0)?;
    receiver.expect_silence()
}

fn case(lab: &Lab<'_>) -> Verdict {
    are_apart(lab, &lab.topic("accounts"), &[&lab.topic("ACCOUNTS"), &lab.topic("Accounts")])
}

fn spaces(lab: &Lab<'_>) -> Verdict {
    are_apart(lab, &lab.topic("a b"), &[&lab.topic("ab"), &lab.topic("a b "), &lab.topic(" a b")])
}

fn leading_slash(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    are_apart(lab, &topic, &[&format!("/{topic}"), &format!("{topic}/")])
}

fn not_normalized(lab: &Lab<'_>) -> Verdict {
    are_apart(lab, &lab.topic("\u{C5}"), &[&lab.topic("A\u{30A}"), &lab.topic("\u{212B}")])
}

fn one_slash(lab: &Lab<'_>) -> Verdict {
    are_apart(lab, &lab.topic("//"), &[&lab.topic("/"), &lab.topic("")])
}

fn thousand_bytes(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic(&"x".repeat(1_000));
    let (mut sender, mut receiver) = lab.pair(&topic, 0)?;
    sender.send_publish(&publish(&topic, "m"));
    receiver.expect_message(&topic, "m", 0).map(|_| ())
}
