//! Wills of MQTT 5: their delay, and the properties that go with the message.

use noctule_mqtt::Property;
use std::time::{Duration, Instant};

use super::{PROTOCOL_ERROR, WRONG, is_refused};
use crate::lab::Lab;
use crate::outcome::{Stop, Verdict, ensure};
use crate::peer::Peer;
use crate::say::WillWords;

chapter! { "will_delay":
    waits ["MQTT5-3.1.2-8" "MQTT5-3.1.3.2.2"]
        "A will with a delay of two seconds is not published in the first, and is published then.";
    ends_with_the_session ["MQTT5-3.1.2-8" "MQTT5-3.1.3.2.2"]
        "A will with a delay of an hour is published at the end of its session, one second after the connection.";
    of_a_session_that_ends_at_once ["MQTT5-3.1.2-8" "MQTT5-3.1.3.2.2"]
        "A will with a delay is published at once if the session ends with the connection.";
    cancelled_by_return ["MQTT5-3.1.3-9"]
        "A will whose client comes back to its session before the delay is over is not published.";
    taken_over ["MQTT5-3.1.3-9" "MQTT5-3.1.2-8"]
        "A will with a delay is not published when its client takes its own connection over and goes on with the session.";
    not_cancelled_by_beginning_anew ["MQTT5-3.1.2-8" "MQTT5-3.1.2-4"]
        "A will with a delay is published when its client begins anew, as that ends the session.";
    not_on_disconnect ["MQTT5-3.14.4-3"]
        "A will with a delay whose client says DISCONNECT is not published.";
    with_0x04 ["MQTT5-3.14.2.1" "MQTT5-3.1.2-8"]
        "After DISCONNECT 0x04 a delay counts, too.";
    properties_go_with_it ["MQTT5-3.1.3.2" "MQTT5-3.3.2-4" "MQTT5-3.3.2-15" "MQTT5-3.3.2-16" "MQTT5-3.3.2-20"]
        "Payload format, content type, response topic and correlation data of a will are passed on.";
    user_properties_in_order ["MQTT5-3.1.3-10"]
        "User properties of a will are passed on in their order, equal names included.";
    delay_is_not_passed_on ["MQTT5-3.1.3.2.2"]
        "The delay itself is no property of the message.";
    expiry ["MQTT5-3.1.3.2.4" "MQTT5-3.3.2-6"]
        "The message expiry interval of a will is passed on.";
    delay_twice ["MQTT5-3.1.3.2.2"]
        "CONNECT with two will delays is a protocol error.";
    property_of_others ["MQTT5-2.2.2.2"]
        "CONNECT whose will has a topic alias is not accepted.";
    format_2 ["MQTT5-3.1.3.2.3"]
        "CONNECT whose will has the payload format 2 is not accepted.";
}

fn watch(lab: &Lab<'_>) -> Result<Peer, Stop> {
    let mut watcher = lab.connect("watcher")?;
    watcher.subscribe(&lab.topic("will"), 0)?;
    Ok(watcher)
}

fn delayed(lab: &Lab<'_>, seconds: u32) -> WillWords {
    WillWords::new(&lab.topic("will"), "delayed").with(Property::WillDelayInterval(seconds))
}

fn expect_will(lab: &Lab<'_>, watcher: &mut Peer) -> Verdict {
    watcher.expect_message(&lab.topic("will"), "delayed", 0).map(|_| ())
}

fn waits(lab: &Lab<'_>) -> Verdict {
    let mut watcher = watch(lab)?;
    let peer = lab.connect_as(&lab.lasting("a").will(delayed(lab, 2)))?;
    let early = Instant::now() + Duration::from_millis(1_500);
    peer.vanish();
    watcher.expect_silence_until(early)?;
    expect_will(lab, &mut watcher)
}

fn ends_with_the_session(lab: &Lab<'_>) -> Verdict {
    let mut watcher = watch(lab)?;
    let hello = lab.hello("a").expiry(1).will(delayed(lab, 3_600));
    lab.connect_as(&hello)?.vanish();
    expect_will(lab, &mut watcher)
}

fn of_a_session_that_ends_at_once(lab: &Lab<'_>) -> Verdict {
    let mut watcher = watch(lab)?;
    lab.connect_as(&lab.hello("a").will(delayed(lab, 3_600)))?.vanish();
    expect_will(lab, &mut watcher)
}

fn cancelled_by_return(lab: &Lab<'_>) -> Verdict {
    let mut watcher = watch(lab)?;
    lab.connect_as(&lab.lasting("a").will(delayed(lab, 3)))?.vanish();
    let mut again = lab.say_hello(&lab.lasting("a"))?;
    again.expect_accepted(true)?;
    watcher.expect_silence_for(Duration::from_millis(4_500))
}

fn not_cancelled_by_beginning_anew(lab: &Lab<'_>) -> Verdict {
    let mut watcher = watch(lab)?;
    lab.connect_as(&lab.lasting("a").will(delayed(lab, 3_600)))?.vanish();
    let _anew = lab.connect("a")?;
    expect_will(lab, &mut watcher)
}

fn not_on_disconnect(lab: &Lab<'_>) -> Verdict {
    let mut watcher = watch(lab)?;
    lab.connect_as(&lab.lasting("a").will(delayed(lab, 1)))?.leave();
    watcher.expect_silence_for(Duration::from_millis(2_500))
}

fn with_0x04(lab: &Lab<'_>) -> Verdict {
    let mut watcher = watch(lab)?;
    let mut peer = lab.connect_as(&lab.lasting("a").will(delayed(lab, 2)))?;
    let early = Instant::now() + Duration::from_millis(1_500);
    peer.send(&[0xE0, 1, 0x04]);
    peer.expect_closed()?;
    watcher.expect_silence_until(early)?;
    expect_will(lab, &mut watcher)
}

fn properties_go_with_it(lab: &Lab<'_>) -> Verdict {
    let mut watcher = watch(lab)?;
    let will = delayed(lab, 0)
        .with(Property::PayloadFormatIndicator(1))
        .with(Property::ContentType("text/plain"))
        .with(Property::ResponseTopic("answers/here"))
        .with(Property::CorrelationData(&[0, 1, 255]));
    lab.connect_as(&lab.hello("a").will(will))?.vanish();
    let message = watcher.expect_message(&lab.topic("will"), "delayed", 0)?;
    let came = message.properties();
    ensure(
        came.payload_format_indicator() == Some(1)
            && came.content_type() == Some("text/plain")
            && came.response_topic() == Some("answers/here")
            && came.correlation_data() == Some(&[0, 1, 255]),
        "the four properties of the will",
        came.iter().collect::<Vec<_>>(),
    )
}

fn user_properties_in_order(lab: &Lab<'_>) -> Verdict {
    let mut watcher = watch(lab)?;
    let pairs = [("b", "1"), ("a", "2"), ("b", "1"), ("", "")];
    let will =
        pairs.iter().fold(delayed(lab, 0), |will, pair| will.with(Property::UserProperty(*pair)));
    lab.connect_as(&lab.hello("a").will(will))?.vanish();
    let message = watcher.expect_message(&lab.topic("will"), "delayed", 0)?;
    let came: Vec<_> = message.properties().user_properties().collect();
    ensure(came == pairs, format!("user properties {pairs:?}"), came)
}

fn delay_is_not_passed_on(lab: &Lab<'_>) -> Verdict {
    let mut watcher = watch(lab)?;
    lab.connect_as(&lab.hello("a").will(delayed(lab, 0)))?.vanish();
    // With the delay in it PUBLISH would be malformed.
    expect_will(lab, &mut watcher)
}

fn expiry(lab: &Lab<'_>) -> Verdict {
    let mut watcher = watch(lab)?;
    let will = delayed(lab, 0).with(Property::MessageExpiryInterval(100));
    lab.connect_as(&lab.hello("a").will(will))?.vanish();
    let message = watcher.expect_message(&lab.topic("will"), "delayed", 0)?;
    let left = message.properties().message_expiry_interval();
    ensure(left.is_some_and(|left| (90..=100).contains(&left)), "an interval of about 100 s", left)
}

fn with_raw(lab: &Lab<'_>, properties: &[u8], codes: &[u8]) -> Verdict {
    let will = WillWords::new(&lab.topic("will"), "m").raw_properties(properties);
    is_refused(lab, &lab.hello("a").will(will).bytes(), codes)
}

fn delay_twice(lab: &Lab<'_>) -> Verdict {
    with_raw(lab, &[0x18, 0, 0, 0, 1, 0x18, 0, 0, 0, 1], PROTOCOL_ERROR)
}

fn property_of_others(lab: &Lab<'_>) -> Verdict {
    with_raw(lab, &[0x23, 0, 1], WRONG)
}

fn format_2(lab: &Lab<'_>) -> Verdict {
    with_raw(lab, &[0x01, 2], WRONG)
}

fn taken_over(lab: &Lab<'_>) -> Verdict {
    let mut watcher = watch(lab)?;
    let _first = lab.connect_as(&lab.lasting("a").will(delayed(lab, 1)))?;
    let mut second = lab.say_hello(&lab.lasting("a"))?;
    second.expect_accepted(true)?;
    watcher.expect_silence_for(Duration::from_millis(2_500))
}
