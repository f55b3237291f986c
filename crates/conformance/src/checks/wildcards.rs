//! Wildcards in filters: where they may stand, and what they match.

use super::filter_is_refused;
use crate::heard::Heard;
use crate::lab::Lab;
use crate::outcome::{Stop, Verdict};

chapter! { "wildcards":
    hash_before_the_end ["MQTT3-4.7.1-2" "MQTT5-4.7.1-1"]
        "SUBSCRIBE to 'a/#/b' is refused: the end of the connection, or a failure in SUBACK.";
    hash_in_a_level ["MQTT3-4.7.1-2" "MQTT5-4.7.1-1"]
        "SUBSCRIBE to 'a/b#' is refused: the end of the connection, or a failure in SUBACK.";
    plus_in_a_level ["MQTT3-4.7.1-3" "MQTT5-4.7.1-2"]
        "SUBSCRIBE to 'a/b+' is refused: the end of the connection, or a failure in SUBACK.";
    plus_before_a_level ["MQTT3-4.7.1-3" "MQTT5-4.7.1-2"]
        "SUBSCRIBE to '+a/b' is refused: the end of the connection, or a failure in SUBACK.";
    empty_filter ["MQTT3-4.7.3-1" "MQTT5-4.7.3-1"]
        "SUBSCRIBE to an empty filter is refused: the end of the connection, or a failure in SUBACK.";
    hash ["MQTT3-4.7.1.2" "MQTT5-4.7.1.2"]
        "'x/#' matches what is below 'x' at any depth, and not 'y'.";
    hash_matches_the_parent ["MQTT3-4.7.1.2" "MQTT5-4.7.1.2"]
        "'x/#' matches 'x' itself.";
    plus ["MQTT3-4.7.1.3" "MQTT5-4.7.1.3"]
        "'x/+' matches one level, also an empty one, and neither none nor two.";
    plus_in_the_middle ["MQTT3-4.7.1.3" "MQTT5-4.7.1.3"]
        "'x/+/z' matches any middle level.";
    plus_and_hash ["MQTT3-4.7.1.3" "MQTT5-4.7.1.3"]
        "'+/WORD/+/z/#' matches what it says, with wildcards at the beginning, middle and end.";
    plus_and_a_leading_slash ["MQTT3-4.7.1.3" "MQTT5-4.7.1.3"]
        "'+/WORD' does not match '/x/WORD', and '/+/WORD' does.";
    deep ["MQTT3-4.7.1.2" "MQTT5-4.7.1.2"]
        "'x/#' matches a topic of forty levels.";
    hash_and_dollar ["MQTT3-4.7.2-1" "MQTT5-4.7.2-1"]
        "'#' matches no topic that begins with '$'.";
    plus_and_dollar ["MQTT3-4.7.2-1" "MQTT5-4.7.2-1"]
        "'+/WORD/#' does not match '$conform/WORD/x', and '$conform/WORD/#' does.";
}

fn hash_before_the_end(lab: &Lab<'_>) -> Verdict {
    filter_is_refused(lab, &lab.topic("a/#/b"))
}

fn hash_in_a_level(lab: &Lab<'_>) -> Verdict {
    filter_is_refused(lab, &lab.topic("a/b#"))
}

fn plus_in_a_level(lab: &Lab<'_>) -> Verdict {
    filter_is_refused(lab, &lab.topic("a/b+"))
}

fn plus_before_a_level(lab: &Lab<'_>) -> Verdict {
    filter_is_refused(lab, &lab.topic("+a/b"))
}

fn empty_filter(lab: &Lab<'_>) -> Verdict {
    filter_is_refused(lab, "")
}

/// A subscriber of `filter` gets the message to each topic of `yes`, in order, and none to a topic of
/// `no`.
fn matches(lab: &Lab<'_>, filter: &str, yes: &[String], no: &[String]) -> Verdict {
    lab.need(lab.granted().wildcards, "wildcards")?;
    let (mut sender, mut receiver) = lab.pair(filter, 0)?;
    for topic in no {
        sender.publish(topic, "no", 0)?;
    }
    for topic in yes {
        sender.publish(topic, "yes", 0)?;
        receiver.expect_message(topic, "yes", 0)?;
    }
    receiver.expect_silence()
}

fn hash(lab: &Lab<'_>) -> Verdict {
    let yes = ["x/a", "x/a/b", "x/a/b/c", "x/"].map(|rest| lab.topic(rest));
    let no = ["y", "y/x", "xx", "xx/a"].map(|rest| lab.topic(rest));
    matches(lab, &lab.topic("x/#"), &yes, &no)
}

fn hash_matches_the_parent(lab: &Lab<'_>) -> Verdict {
    matches(lab, &lab.topic("x/#"), &[lab.topic("x")], &[lab.topic("")])
}

fn plus(lab: &Lab<'_>) -> Verdict {
    let yes = ["x/a", "x/", "x/$"].map(|rest| lab.topic(rest));
    let no = ["x", "x/a/b", "x//", "y/a"].map(|rest| lab.topic(rest));
    matches(lab, &lab.topic("x/+"), &yes, &no)
}

fn plus_in_the_middle(lab: &Lab<'_>) -> Verdict {
    let yes = ["x/a/z", "x//z"].map(|rest| lab.topic(rest));
    let no = ["x/z", "x/a/b/z", "x/a/y"].map(|rest| lab.topic(rest));
    matches(lab, &lab.topic("x/+/z"), &yes, &no)
}

fn plus_and_hash(lab: &Lab<'_>) -> Verdict {
    let word = lab.word();
    let yes = [format!("conform/{word}/a/z"), format!("conform/{word}//z/y")];
    let no = [format!("conform/{word}/z"), format!("conform/{word}/a/b/z")];
    matches(lab, &format!("+/{word}/+/z/#"), &yes, &no)
}

fn plus_and_a_leading_slash(lab: &Lab<'_>) -> Verdict {
    let word = lab.word();
    let (plain, slash) = (format!("conform/{word}"), format!("/conform/{word}"));
    matches(lab, &format!("+/{word}"), std::slice::from_ref(&plain), std::slice::from_ref(&slash))?;
    matches(lab, &format!("/+/{word}"), &[slash], &[plain])
}

fn deep(lab: &Lab<'_>) -> Verdict {
    matches(lab, &lab.topic("x/#"), &[lab.topic(&format!("x{}", "/y".repeat(40)))], &[])
}

/// Publishes to a topic with a `$` and makes sure that it can be subscribed to by name.
fn dollar(lab: &Lab<'_>) -> Result<String, Stop> {
    let topic = format!("$conform/{}/x", lab.word());
    let mut control = lab.connect("control")?;
    control.subscribe(&topic, 0)?;
    lab.connect("sender")?.publish(&topic, "m", 0)?;
    match control.maybe(lab.patience().silence * 4)? {
        Some(Heard::Publish(message)) if message.topic == topic => Ok(topic),
        _ => Err(Stop::not_applicable("the broker passes nothing on to topics with a $")),
    }
}

fn hash_and_dollar(lab: &Lab<'_>) -> Verdict {
    lab.need(lab.granted().wildcards, "wildcards")?;
    let mut receiver = lab.connect("receiver")?;
    receiver.subscribe("#", 0)?;
    dollar(lab)?;
    // Others publish as well; the last message of this check comes behind the one in question.
    let end = lab.topic("end");
    lab.connect("sender")?.publish(&end, "m", 0)?;
    loop {
        let message = receiver.expect_publish()?;
        receiver.ensure(!message.topic.starts_with('$'), "no topic with a $", &message)?;
        if message.topic == end {
            return Ok(());
        }
    }
}

fn plus_and_dollar(lab: &Lab<'_>) -> Verdict {
    lab.need(lab.granted().wildcards, "wildcards")?;
    let mut receiver = lab.connect("receiver")?;
    receiver.subscribe(&format!("+/{}/#", lab.word()), 0)?;
    let mut named = lab.connect("named")?;
    named.subscribe(&format!("$conform/{}/#", lab.word()), 0)?;
    let topic = dollar(lab)?;
    named.expect_message(&topic, "m", 0)?;
    receiver.expect_silence()
}
