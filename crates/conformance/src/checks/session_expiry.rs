//! The session expiry interval of MQTT 5: how long, and how it is changed.

use noctule_mqtt::{PacketType, Property};
use std::time::Duration;

use super::PROTOCOL_ERROR;
use crate::lab::Lab;
use crate::outcome::Verdict;
use crate::say::{Hello, properties, property_block, raw};

chapter! { "session_expiry":
    over ["MQTT5-4.1.0-2"]
        "A session whose interval of one second is over is gone.";
    not_over ["MQTT5-3.1.2-23" "MQTT5-4.1.0-1"]
        "A session with an interval of a minute is there after a second.";
    counted_from_the_end ["MQTT5-4.1.0-2" "MQTT5-3.1.2-23"]
        "The interval begins with the end of the connection: a connection of two seconds with an interval of one keeps its session.";
    none ["MQTT5-3.1.2.11.2" "MQTT5-4.1.0-2"]
        "Without an interval the session ends with the connection, Clean Start or not.";
    for_ever ["MQTT5-3.1.2.11.2"]
        "An interval of 0xFFFFFFFF is accepted or replaced in CONNACK, and the session is there after the connection.";
    set_at_disconnect ["MQTT5-3.14.2.2.2"]
        "DISCONNECT with an interval of 0 ends a session that was to be kept.";
    prolonged_at_disconnect ["MQTT5-3.14.2.2.2" "MQTT5-3.1.2-23"]
        "DISCONNECT with an interval of a minute keeps a session that was to end after a second.";
    from_0_at_disconnect ["MQTT5-3.14.2.2.2"]
        "DISCONNECT with an interval, when CONNECT had none, is a protocol error, and no session is kept.";
    expired_and_its_messages ["MQTT5-4.1.0-2"]
        "A message that waited for a session that has expired is not delivered to the next one.";
    clean_with_interval ["MQTT5-3.1.2-4" "MQTT5-3.1.2-23"]
        "A session that was begun with Clean Start and an interval is there when the client returns.";
    replaced_by_connect ["MQTT5-3.1.2.11.2" "MQTT5-4.1.0-2"]
        "The interval of the last CONNECT counts: a client that returns without one has no session afterwards.";
}

fn kept(lab: &Lab<'_>, seconds: u32) -> Hello {
    lab.hello("a").clean(false).expiry(seconds)
}

fn over(lab: &Lab<'_>) -> Verdict {
    lab.connect_as(&kept(lab, 1))?.leave();
    lab.pass(MORE_THAN_A_SECOND);
    lab.say_hello(&kept(lab, 1))?.expect_accepted(false)
}

fn not_over(lab: &Lab<'_>) -> Verdict {
    lab.connect_as(&kept(lab, 60))?.leave();
    lab.pass(Duration::from_secs(1));
    lab.say_hello(&kept(lab, 60))?.expect_accepted(true)
}

fn counted_from_the_end(lab: &Lab<'_>) -> Verdict {
    // Ten seconds, so that a slow machine finds it in time.
    let mut peer = lab.connect_as(&kept(lab, 10))?;
    lab.pass(Duration::from_secs(2));
    peer.ping()?;
    peer.leave();
    lab.say_hello(&kept(lab, 10))?.expect_accepted(true)
}

fn none(lab: &Lab<'_>) -> Verdict {
    lab.connect_as(&lab.hello("a").clean(false))?.leave();
    lab.say_hello(&lab.hello("a").clean(false))?.expect_accepted(false)
}

fn for_ever(lab: &Lab<'_>) -> Verdict {
    lab.connect_as(&kept(lab, u32::MAX))?.leave();
    lab.say_hello(&kept(lab, u32::MAX))?.expect_accepted(true)
}

/// DISCONNECT with this session expiry interval.
fn disconnect(lab: &Lab<'_>, seconds: u32) -> Vec<u8> {
    let all = properties(PacketType::Disconnect, &[Property::SessionExpiryInterval(seconds)]);
    raw(0xE0, &[&[0], &property_block(lab.version(), &all)])
}

fn set_at_disconnect(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.connect_as(&kept(lab, 60))?;
    peer.send(&disconnect(lab, 0));
    peer.expect_closed()?;
    lab.say_hello(&kept(lab, 60))?.expect_accepted(false)
}

fn prolonged_at_disconnect(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.connect_as(&kept(lab, 1))?;
    peer.send(&disconnect(lab, 60));
    peer.expect_closed()?;
    lab.pass(MORE_THAN_A_SECOND);
    lab.say_hello(&kept(lab, 60))?.expect_accepted(true)
}

fn from_0_at_disconnect(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.connect("a")?;
    peer.send(&disconnect(lab, 60));
    peer.expect_end(PROTOCOL_ERROR)?;
    lab.say_hello(&kept(lab, 60))?.expect_accepted(false)
}

fn expired_and_its_messages(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let mut peer = lab.connect_as(&kept(lab, 1))?;
    peer.subscribe(&topic, 1)?;
    peer.leave();
    let mut sender = lab.connect("sender")?;
    sender.publish(&topic, "waits", 1)?;
    lab.pass(MORE_THAN_A_SECOND);
    let mut again = lab.say_hello(&kept(lab, 60))?;
    again.expect_accepted(false)?;
    sender.publish(&topic, "late", 1)?;
    again.expect_silence()
}

fn clean_with_interval(lab: &Lab<'_>) -> Verdict {
    lab.connect_as(&lab.hello("a").expiry(60))?.leave();
    lab.say_hello(&kept(lab, 60))?.expect_accepted(true)
}

fn replaced_by_connect(lab: &Lab<'_>) -> Verdict {
    lab.connect_as(&kept(lab, 60))?.leave();
    let mut again = lab.say_hello(&lab.hello("a").clean(false))?;
    again.expect_accepted(true)?;
    again.leave();
    lab.say_hello(&kept(lab, 60))?.expect_accepted(false)
}

/// Servers may look once a second.
const MORE_THAN_A_SECOND: Duration = Duration::from_millis(3_000);
