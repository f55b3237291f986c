//! CONNECT as the beginning of a conversation: what comes first, what comes twice, who takes over.

use noctule_mqtt::ProtocolVersion;

use super::{PROTOCOL_ERROR, WRONG, is_refused};
use crate::heard::Heard;
use crate::lab::Lab;
use crate::outcome::{Stop, Verdict};
use crate::say::{WillWords, field, property_block, publish, raw};

chapter! { "connect":
    accepted ["MQTT3-3.1.4-4" "MQTT5-3.1.4-5" "MQTT5-3.2.2-1" "MQTT5-3.2.2-8"]
        "A CONNECT that conforms is answered with CONNACK 0x00 whose reserved flags are 0.";
    publish_first ["MQTT3-3.1.0-1" "MQTT5-3.1.0-1"]
        "A connection that begins with PUBLISH ends, and nothing is passed on.";
    subscribe_first ["MQTT3-3.1.0-1" "MQTT5-3.1.0-1"]
        "A connection that begins with SUBSCRIBE ends.";
    pingreq_first ["MQTT3-3.1.0-1" "MQTT5-3.1.0-1"]
        "A connection that begins with PINGREQ ends.";
    disconnect_first ["MQTT3-3.1.0-1" "MQTT5-3.1.0-1" "MQTT5-3.14.0-1"]
        "A connection that begins with DISCONNECT ends.";
    twice ["MQTT3-3.1.0-2" "MQTT5-3.1.0-2"]
        "A second CONNECT on a connection ends it, in MQTT 5 with 0x82 if anything.";
    one_connack ["MQTT5-3.2.0-2"]
        "A second CONNECT gets no second CONNACK.";
    protocol_name ["MQTT3-3.1.2-1" "MQTT5-3.1.2-1"]
        "CONNECT with the protocol name 'MQTX' is not accepted.";
    protocol_name_in_lower_case ["MQTT3-3.1.2-1" "MQTT5-3.1.2-1"]
        "CONNECT with the protocol name 'mqtt' is not accepted.";
    level_of_no_version ["MQTT3-3.1.2-2" "MQTT3-3.2.2-4" "MQTT3-3.2.2-5"]
        "CONNECT with level 99 is answered with CONNACK 0x01 without session, and the connection ends.";
    version_of_no_version ["MQTT5-3.1.2-2" "MQTT5-3.2.2-6" "MQTT5-3.2.2-7"]
        "CONNECT with protocol version 99 is not accepted: CONNACK 0x84 or 0x01 if anything, and the end.";
    refused_is_not_processed ["MQTT3-3.1.4-5" "MQTT5-3.1.4-6"]
        "A message right behind a CONNECT that does not conform is not passed on.";
    refused_is_closed ["MQTT3-3.1.4-1" "MQTT5-3.1.4-1"]
        "A CONNECT that is cut short by its own remaining length ends the connection.";
    take_over ["MQTT3-3.1.4-2" "MQTT5-3.1.4-3"]
        "A second connection of a client ends its first one, in MQTT 5 with DISCONNECT 0x8E.";
    take_over_keeps_the_session ["MQTT3-3.1.2-4" "MQTT3-3.1.4-2" "MQTT5-3.1.2-5" "MQTT5-3.1.4-3"]
        "A client that takes its own connection over goes on with its session and subscription.";
    take_over_begins_anew ["MQTT3-3.1.2-6" "MQTT5-3.1.2-4"]
        "A client that takes its own connection over with Clean Start has no subscription any more.";
    take_over_publishes_the_will ["MQTT3-3.1.2-8" "MQTT5-3.1.2-8"]
        "The will of a connection that is taken over is published.";
    unasked_messages ["MQTT3-3.3.2-3" "MQTT5-3.3.2-3"]
        "A client that has subscribed to nothing is sent nothing.";
    unknown_method ["MQTT5-4.12.0-1"]
        "CONNECT with an authentication method that nobody knows is refused: 0x8C or 0x87 if anything.";
    data_without_method ["MQTT5-3.1.2.11.10"]
        "CONNECT with authentication data and no method is a protocol error.";
}

fn accepted(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.say_hello(&lab.hello("a"))?;
    peer.expect_accepted(false)
}

/// A connection that begins with `bytes` ends, without DISCONNECT.
fn begins_with(lab: &Lab<'_>, bytes: &[u8]) -> Verdict {
    is_refused(lab, bytes, WRONG)
}

fn publish_first(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let mut watcher = lab.connect("watcher")?;
    watcher.subscribe(&topic, 0)?;
    begins_with(lab, &publish(&topic, "m").bytes(lab.version()))?;
    watcher.expect_silence()
}

fn subscribe_first(lab: &Lab<'_>) -> Verdict {
    let none = property_block(lab.version(), &[]);
    begins_with(lab, &raw(0x82, &[&[0, 1], &none, &field(lab.topic("t")), &[0]]))
}

fn pingreq_first(lab: &Lab<'_>) -> Verdict {
    begins_with(lab, &[0xC0, 0])
}

fn disconnect_first(lab: &Lab<'_>) -> Verdict {
    begins_with(lab, &[0xE0, 0])
}

fn twice(lab: &Lab<'_>) -> Verdict {
    let hello = lab.hello("a");
    let mut peer = lab.connect_as(&hello)?;
    peer.hello(&hello);
    peer.expect_end(PROTOCOL_ERROR)
}

fn one_connack(lab: &Lab<'_>) -> Verdict {
    let hello = lab.hello("a");
    let mut peer = lab.connect_as(&hello)?;
    peer.hello(&hello);
    loop {
        match peer.next_or_end()? {
            Some(Heard::Connack(connack)) => {
                return peer.wrong("no second CONNACK", &Heard::Connack(connack));
            }
            Some(_) => {}
            None => return Ok(()),
        }
    }
}

fn connect_named(lab: &Lab<'_>, name: &str, level: u8) -> Vec<u8> {
    let none = property_block(lab.version(), &[]);
    raw(0x10, &[&field(name), &[level, 0x02, 0, 60], &none, &field(lab.id("a"))])
}

fn protocol_name(lab: &Lab<'_>) -> Verdict {
    named(lab, "MQTX")
}

fn protocol_name_in_lower_case(lab: &Lab<'_>) -> Verdict {
    named(lab, "mqtt")
}

/// Section 3.1.2.1: the server may close; in 5 with CONNACK 0x84, in 3.1.1 with 0x01 as well, as it
/// says nothing against it.
fn named(lab: &Lab<'_>, name: &str) -> Verdict {
    let mut peer = lab.open()?;
    peer.send(&connect_named(lab, name, lab.version() as u8));
    peer.expect_refused(if lab.is_v5() { &[0x81, 0x84] } else { &[0x01] })
}

fn level_of_no_version(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.open()?;
    peer.send(&connect_named(lab, "MQTT", 99));
    let connack = peer.expect_connack()?;
    let fine = connack.code == 1 && !connack.session_present;
    peer.ensure(fine, "CONNACK 0x01 without session present", Heard::Connack(connack))?;
    peer.expect_closed()
}

fn version_of_no_version(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.open()?;
    peer.send(&connect_named(lab, "MQTT", 99));
    match peer.expect_refused(&[0x84]) {
        // The server cannot know which form a client of the future reads; the old one is as good.
        Err(Stop::Failed(failure)) if failure.came_hex == "20 02 00 01" => peer.expect_closed(),
        other => other,
    }
}

fn refused_is_not_processed(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let mut watcher = lab.connect("watcher")?;
    watcher.subscribe(&topic, 0)?;
    let mut bytes = lab.hello("a").bytes_with_flags(|flags| flags | 1);
    bytes.extend(publish(&topic, "m").bytes(lab.version()));
    is_refused(lab, &bytes, WRONG)?;
    watcher.expect_silence()
}

fn refused_is_closed(lab: &Lab<'_>) -> Verdict {
    is_refused(lab, &raw(0x10, &[&field("MQTT"), &[lab.version() as u8, 0x02]]), WRONG)
}

fn take_over(lab: &Lab<'_>) -> Verdict {
    let mut first = lab.connect("a")?;
    let mut second = lab.connect("a")?;
    match lab.version() {
        ProtocolVersion::V5 => first.expect_disconnect(0x8E)?,
        _ => first.expect_closed()?,
    }
    second.ping()
}

fn take_over_keeps_the_session(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let mut first = lab.connect_as(&lab.lasting("a"))?;
    first.subscribe(&topic, 1)?;
    let mut second = lab.say_hello(&lab.lasting("a"))?;
    second.expect_accepted(true)?;
    first.expect_end(&[0x8E])?;
    lab.connect("sender")?.publish(&topic, "m", 1)?;
    second.take(&topic, "m", 1).map(|_| ())
}

fn take_over_begins_anew(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let mut first = lab.connect_as(&lab.lasting("a"))?;
    first.subscribe(&topic, 1)?;
    let mut second = lab.say_hello(&lab.hello("a"))?;
    second.expect_accepted(false)?;
    first.expect_end(&[0x8E])?;
    lab.connect("sender")?.publish(&topic, "m", 1)?;
    second.expect_silence()
}

fn take_over_publishes_the_will(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("will");
    let mut watcher = lab.connect("watcher")?;
    watcher.subscribe(&topic, 0)?;
    let _first = lab.connect_as(&lab.hello("a").will(WillWords::new(&topic, "gone")))?;
    let _second = lab.connect("a")?;
    watcher.expect_message(&topic, "gone", 0).map(|_| ())
}

fn unasked_messages(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.connect("a")?;
    // Longer than other silences, for whoever greets after a second.
    peer.expect_silence_for(std::time::Duration::from_millis(1_500))?;
    lab.connect("sender")?.publish(&lab.topic("t"), "m", 0)?;
    peer.expect_silence()
}

fn unknown_method(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.open()?;
    let method = noctule_mqtt::Property::AuthenticationMethod("X-NO-SUCH-METHOD");
    peer.hello(&lab.hello("a").with(method));
    peer.expect_refused(&[0x8C, 0x87])
}

fn data_without_method(lab: &Lab<'_>) -> Verdict {
    let data = [&[0x16][..], &field([1, 2, 3])].concat();
    let bytes = lab.hello("a").bytes_with_raw_properties(&data);
    is_refused(lab, &bytes, PROTOCOL_ERROR)
}
