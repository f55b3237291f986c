//! DISCONNECT of a client, and what a server does behind it.

use crate::lab::Lab;
use crate::outcome::Verdict;
use crate::say::{WillWords, publish};

chapter! { "disconnect":
    closes ["MQTT3-3.14.4" "MQTT5-3.14.4"]
        "After DISCONNECT the server closes the connection, without a word.";
    nothing_behind_it ["MQTT3-3.14.4-2" "MQTT5-3.14.4-1"]
        "A message right behind DISCONNECT is not passed on.";
    what_came_before_counts ["MQTT3-3.14.4" "MQTT5-3.14.4"]
        "A message right before DISCONNECT is passed on.";
    with_reason_0 ["MQTT5-3.14.4-3" "MQTT5-3.14.2-1"]
        "DISCONNECT 0x00 in its long form deletes the will, too.";
    with_an_error ["MQTT5-3.14.2.1" "MQTT5-3.1.2-8"]
        "DISCONNECT 0x80 does not delete the will: it is published.";
    every_reason_of_a_client ["MQTT5-3.14.2-1"]
        "DISCONNECT with each reason that a client may give ends the connection without an answer.";
    no_answer_before_connack ["MQTT5-3.14.0-1"]
        "A CONNECT that is malformed is not answered with DISCONNECT.";
    by_the_server_is_the_last_word ["MQTT5-3.14.4-1" "MQTT5-3.14.4-2" "MQTT5-4.13.2-1"]
        "After a protocol error of the client nothing comes behind the server's DISCONNECT, and it closes.";
    no_expiry_from_the_server ["MQTT5-3.14.2-2"]
        "The DISCONNECT of a server that takes a session over has no session expiry interval.";
}

fn closes(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.connect("a")?;
    peer.send(&[0xE0, 0]);
    peer.expect_closed()
}

fn nothing_behind_it(lab: &Lab<'_>) -> Verdict {
    let (mut sender, mut receiver) = lab.pair(&lab.topic("t"), 0)?;
    let behind = publish(&lab.topic("t"), "m").bytes(lab.version());
    sender.send(&[&[0xE0, 0][..], &behind].concat());
    sender.expect_closed()?;
    receiver.expect_silence()
}

fn what_came_before_counts(lab: &Lab<'_>) -> Verdict {
    let (mut sender, mut receiver) = lab.pair(&lab.topic("t"), 0)?;
    let before = publish(&lab.topic("t"), "m").bytes(lab.version());
    sender.send(&[&before[..], &[0xE0, 0]].concat());
    sender.expect_closed()?;
    receiver.expect_message(&lab.topic("t"), "m", 0).map(|_| ())
}

/// A client with a will says `bytes`; the watcher gets the will or not.
fn says(lab: &Lab<'_>, bytes: &[u8], will_is_published: bool) -> Verdict {
    let topic = lab.topic("will");
    let mut watcher = lab.connect("watcher")?;
    watcher.subscribe(&topic, 0)?;
    let mut peer = lab.connect_as(&lab.hello("a").will(WillWords::new(&topic, "lost")))?;
    peer.send(bytes);
    peer.expect_closed()?;
    if will_is_published {
        watcher.expect_message(&topic, "lost", 0)?;
    }
    watcher.expect_silence()
}

fn with_reason_0(lab: &Lab<'_>) -> Verdict {
    says(lab, &[0xE0, 2, 0, 0], false)
}

fn with_an_error(lab: &Lab<'_>) -> Verdict {
    says(lab, &[0xE0, 1, 0x80], true)
}

fn every_reason_of_a_client(lab: &Lab<'_>) -> Verdict {
    // Table 3-10, "sent by" client.
    let reasons =
        [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
    for reason in reasons {
        let mut peer = lab.connect("a")?;
        peer.send(&[0xE0, 1, reason]);
        peer.expect_closed()?;
    }
    Ok(())
}

fn no_answer_before_connack(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.open()?;
    peer.send(&lab.hello("a").bytes_with_flags(|flags| flags | 0x01));
    peer.expect_refused(&[0x81, 0x82])
}

fn by_the_server_is_the_last_word(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 0)?;
    receiver.send(&[0x00, 0]);
    sender.publish(&topic, "m", 0)?;
    // What was on its way may come before DISCONNECT; nothing may behind it.
    while let Some(heard) = receiver.next_or_end()? {
        match heard {
            crate::heard::Heard::Publish(_) => {}
            crate::heard::Heard::Disconnect(end) if matches!(end.code, 0x81 | 0x82) => {
                return receiver.expect_closed();
            }
            other => return receiver.wrong("DISCONNECT or the end", &other),
        }
    }
    Ok(())
}

fn no_expiry_from_the_server(lab: &Lab<'_>) -> Verdict {
    let mut first = lab.connect_as(&lab.lasting("a"))?;
    let _second = lab.connect_as(&lab.lasting("a"))?;
    // With the property in it the packet would be malformed.
    first.expect_end(&[0x8E])
}
