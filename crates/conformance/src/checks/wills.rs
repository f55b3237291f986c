//! Wills: when they are published, when not, and with what.

use crate::lab::Lab;
use crate::outcome::{Stop, Verdict, ensure};
use crate::peer::Peer;
use crate::say::WillWords;

chapter! { "wills":
    on_loss ["MQTT3-3.1.2-8" "MQTT5-3.1.2-8"]
        "The will of a connection that is lost without DISCONNECT is published.";
    not_on_disconnect ["MQTT3-3.14.4-3" "MQTT3-3.1.2-10" "MQTT5-3.14.4-3" "MQTT5-3.1.2-10"]
        "The will of a client that says DISCONNECT is not published.";
    with_disconnect_0x04 ["MQTT5-3.14.2.1" "MQTT5-3.1.2-8"]
        "The will of a client that says DISCONNECT 0x04 is published.";
    on_error ["MQTT3-3.1.2-8" "MQTT5-3.1.2-8"]
        "The will of a client that is closed for a protocol error is published.";
    qos_1 ["MQTT3-3.1.2-8" "MQTT5-3.1.2-8"]
        "A will at QoS 1 comes at QoS 1.";
    qos_2 ["MQTT3-3.1.2-8" "MQTT5-3.1.2-8"]
        "A will at QoS 2 comes at QoS 2.";
    lower_qos_of_the_subscription ["MQTT3-3.8.4-6" "MQTT5-3.8.4-8"]
        "A will at QoS 2 comes at QoS 0 to a subscription at QoS 0.";
    not_retained ["MQTT3-3.1.2-16" "MQTT5-3.1.2-14"]
        "A will without the retain flag is not there for a later subscription.";
    retained ["MQTT3-3.1.2-17" "MQTT5-3.1.2-15"]
        "A will with the retain flag is there for a later subscription, with the retain flag.";
    empty ["MQTT3-3.1.3" "MQTT5-3.1.3.4"]
        "A will with an empty payload is published as an empty message.";
    empty_and_retained ["MQTT3-3.3.1-10" "MQTT3-3.1.2-17" "MQTT5-3.3.1-6" "MQTT5-3.1.2-15"]
        "An empty will with the retain flag removes the retained message of its topic.";
    once ["MQTT3-3.1.2-10" "MQTT5-3.1.2-10"]
        "A will that was published is gone: the same client, without a will now, is lost again and nothing is published.";
    replaced ["MQTT3-3.1.2-8" "MQTT5-3.1.2-7"]
        "The will of the last CONNECT is the one that is published.";
    of_a_session_that_is_kept ["MQTT3-3.1.2-8" "MQTT5-3.1.2-8"]
        "The will of a client whose session is kept is published at the end of its connection, too.";
    none ["MQTT3-3.1.2-12" "MQTT5-3.1.2-8"]
        "For a client without a will nothing is published at the loss of its connection.";
    reaches_a_session_that_is_away ["MQTT3-4.5.0-1" "MQTT5-4.5.0-1"]
        "A will at QoS 1 waits for a session whose client is away.";
}

fn watch(lab: &Lab<'_>, topic: &str, qos: u8) -> Result<Peer, Stop> {
    let mut watcher = lab.connect("watcher")?;
    watcher.subscribe(topic, qos)?;
    Ok(watcher)
}

fn lose(lab: &Lab<'_>, will: WillWords) -> Verdict {
    lab.connect_as(&lab.hello("a").will(will))?.vanish();
    Ok(())
}

fn on_loss(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("will");
    let mut watcher = watch(lab, &topic, 0)?;
    lose(lab, WillWords::new(&topic, "lost"))?;
    watcher.expect_message(&topic, "lost", 0).map(|_| ())
}

fn not_on_disconnect(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("will");
    let mut watcher = watch(lab, &topic, 0)?;
    lab.connect_as(&lab.hello("a").will(WillWords::new(&topic, "lost")))?.leave();
    watcher.expect_silence()
}

fn with_disconnect_0x04(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("will");
    let mut watcher = watch(lab, &topic, 0)?;
    let mut peer = lab.connect_as(&lab.hello("a").will(WillWords::new(&topic, "all the same")))?;
    peer.send(&[0xE0, 1, 0x04]);
    peer.expect_closed()?;
    watcher.expect_message(&topic, "all the same", 0).map(|_| ())
}

fn on_error(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("will");
    let mut watcher = watch(lab, &topic, 0)?;
    let mut peer = lab.connect_as(&lab.hello("a").will(WillWords::new(&topic, "wrong")))?;
    peer.send(&[0x00, 0]);
    peer.expect_end(&[0x81, 0x82])?;
    watcher.expect_message(&topic, "wrong", 0).map(|_| ())
}

fn qos_1(lab: &Lab<'_>) -> Verdict {
    comes_at(lab, 1, 2, 1)
}

fn qos_2(lab: &Lab<'_>) -> Verdict {
    comes_at(lab, 2, 2, 2)
}

fn lower_qos_of_the_subscription(lab: &Lab<'_>) -> Verdict {
    comes_at(lab, 2, 0, 0)
}

fn comes_at(lab: &Lab<'_>, will: u8, subscription: u8, expected: u8) -> Verdict {
    lab.need(lab.granted().maximum_qos >= will, "such a QoS")?;
    let topic = lab.topic("will");
    let mut watcher = watch(lab, &topic, subscription)?;
    lose(lab, WillWords::new(&topic, "lost").qos(will))?;
    watcher.take(&topic, "lost", expected).map(|_| ())
}

fn not_retained(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("will");
    let mut watcher = watch(lab, &topic, 0)?;
    lose(lab, WillWords::new(&topic, "lost"))?;
    watcher.expect_message(&topic, "lost", 0)?;
    let mut late = lab.connect("late")?;
    late.subscribe(&topic, 0)?;
    late.expect_silence()
}

fn retained(lab: &Lab<'_>) -> Verdict {
    lab.need(lab.granted().retain_available, "retained messages")?;
    let topic = lab.topic("will");
    lab.keep(&topic);
    let mut watcher = watch(lab, &topic, 0)?;
    lose(lab, WillWords::new(&topic, "lost").retain())?;
    let live = watcher.expect_message(&topic, "lost", 0)?;
    ensure(!live.retain, "the message of an earlier subscription without the retain flag", &live)?;
    let mut late = lab.connect("late")?;
    late.subscribe(&topic, 0)?;
    let kept = late.expect_message(&topic, "lost", 0)?;
    ensure(kept.retain, "the message of a new subscription with the retain flag", kept)
}

fn empty(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("will");
    let mut watcher = watch(lab, &topic, 0)?;
    lose(lab, WillWords::new(&topic, ""))?;
    watcher.expect_message(&topic, "", 0).map(|_| ())
}

fn once(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("will");
    let mut watcher = watch(lab, &topic, 0)?;
    lose(lab, WillWords::new(&topic, "lost"))?;
    watcher.expect_message(&topic, "lost", 0)?;
    lab.connect("a")?.vanish();
    watcher.expect_silence()
}

fn replaced(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("will");
    let mut watcher = watch(lab, &topic, 0)?;
    let with = |words: &str| lab.lasting("a").will(WillWords::new(&topic, words));
    lab.connect_as(&with("first"))?.leave();
    lab.connect_as(&with("second"))?.vanish();
    watcher.expect_message(&topic, "second", 0)?;
    watcher.expect_silence()
}

fn of_a_session_that_is_kept(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("will");
    let mut watcher = watch(lab, &topic, 0)?;
    lab.connect_as(&lab.lasting("a").will(WillWords::new(&topic, "lost")))?.vanish();
    watcher.expect_message(&topic, "lost", 0).map(|_| ())
}

fn none(lab: &Lab<'_>) -> Verdict {
    let mut watcher = watch(lab, &lab.topic("#"), 0)?;
    lab.connect("a")?.vanish();
    watcher.expect_silence()
}

fn reaches_a_session_that_is_away(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("will");
    lab.away("b", &topic, 1)?;
    let mut watcher = watch(lab, &topic, 0)?;
    lose(lab, WillWords::new(&topic, "lost").qos(1))?;
    watcher.expect_message(&topic, "lost", 0)?;
    let mut again = lab.connect_as(&lab.lasting("b"))?;
    again.take(&topic, "lost", 1).map(|_| ())
}

fn empty_and_retained(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("will");
    let mut watcher = watch(lab, &topic, 0)?;
    lab.retain(&mut lab.connect("sender")?, &topic, "kept")?;
    watcher.expect_message(&topic, "kept", 0)?;
    lose(lab, WillWords::new(&topic, "").retain())?;
    watcher.expect_message(&topic, "", 0)?;
    let mut late = lab.connect("late")?;
    late.subscribe(&topic, 0)?;
    late.expect_silence()
}
