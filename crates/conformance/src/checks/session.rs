//! Sessions: begun, gone on with, discarded, and what they hold.

use crate::lab::Lab;
use crate::outcome::Verdict;
use crate::say::publish;

chapter! { "session":
    none_at_first ["MQTT3-3.2.2-3" "MQTT5-3.2.2-3" "MQTT5-3.1.2-6"]
        "A client that wants to go on and was never there is told that there is no session.";
    present ["MQTT3-3.2.2-2" "MQTT3-3.1.2-4" "MQTT5-3.2.2-3" "MQTT5-3.1.2-5"]
        "A client that comes back is told that its session is there.";
    clean_is_never_present ["MQTT3-3.2.2-1" "MQTT5-3.2.2-2"]
        "A client with a session that begins anew is told that there is none.";
    clean_discards ["MQTT3-3.1.2-6" "MQTT3-3.1.4-3" "MQTT5-3.1.2-4" "MQTT5-3.1.4-4"]
        "Beginning anew removes subscriptions and waiting messages of the session before.";
    clean_leaves_nothing ["MQTT3-3.1.2-6" "MQTT5-4.1.0-2"]
        "After a connection with Clean Session (in 5 without expiry interval) no session is left.";
    subscriptions_are_kept ["MQTT3-3.1.2-4" "MQTT3-4.1.0-2" "MQTT5-4.1.0-1" "MQTT5-3.1.2-23"]
        "A client that comes back gets messages without subscribing again.";
    messages_wait ["MQTT3-3.1.2-5" "MQTT3-4.5.0-1" "MQTT5-4.5.0-1"]
        "Messages at QoS 1 and 2 that are published while a client is away are delivered when it returns.";
    messages_wait_in_order ["MQTT3-4.6.0-6" "MQTT5-4.6.0-5"]
        "Twenty messages that waited for a client arrive in their order.";
    connack_comes_first ["MQTT3-3.2.0-1" "MQTT5-3.2.0-1"]
        "CONNACK comes before the messages that waited.";
    lost_connection_keeps_it ["MQTT3-3.1.2-4" "MQTT5-3.1.2-23"]
        "A connection that is lost without DISCONNECT leaves its session, too.";
    delivered_is_not_kept ["MQTT3-4.3.2-1" "MQTT5-4.3.2-3"]
        "A message that was acknowledged does not come again to the client that returns.";
    retained_is_apart ["MQTT3-3.1.2-7" "MQTT5-4.1.0-2"]
        "A retained message outlives the session of the client that published it.";
    new_subscription_after_it_was_gone ["MQTT3-3.1.2-6" "MQTT5-3.1.2-4"]
        "After a discarded session the client subscribes again and gets new messages, and no old ones.";
}

fn none_at_first(lab: &Lab<'_>) -> Verdict {
    lab.say_hello(&lab.lasting("a"))?.expect_accepted(false)
}

fn present(lab: &Lab<'_>) -> Verdict {
    lab.connect_as(&lab.lasting("a"))?.leave();
    lab.say_hello(&lab.lasting("a"))?.expect_accepted(true)
}

fn clean_is_never_present(lab: &Lab<'_>) -> Verdict {
    lab.connect_as(&lab.lasting("a"))?.leave();
    lab.say_hello(&lab.hello("a"))?.expect_accepted(false)
}

fn clean_discards(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    lab.away("a", &topic, 1)?;
    let mut sender = lab.connect("sender")?;
    sender.publish(&topic, "waits", 1)?;
    let mut anew = lab.say_hello(&lab.hello("a").expiry(60))?;
    anew.expect_accepted(false)?;
    sender.publish(&topic, "late", 1)?;
    anew.expect_silence()
}

fn clean_leaves_nothing(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let mut peer = lab.connect("a")?;
    peer.subscribe(&topic, 1)?;
    peer.leave();
    lab.connect("sender")?.publish(&topic, "m", 1)?;
    let mut again = lab.say_hello(&lab.lasting("a"))?;
    again.expect_accepted(false)?;
    again.expect_silence()
}

fn subscriptions_are_kept(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    lab.away("a", &topic, 1)?;
    let mut again = lab.say_hello(&lab.lasting("a"))?;
    again.expect_accepted(true)?;
    lab.connect("sender")?.publish(&topic, "m", 1)?;
    again.take(&topic, "m", 1).map(|_| ())
}

fn messages_wait(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    lab.away("a", &topic, 2)?;
    let mut sender = lab.connect("sender")?;
    sender.publish(&topic, "one", 1)?;
    sender.publish(&topic, "two", 2)?;
    let mut again = lab.say_hello(&lab.lasting("a"))?;
    again.expect_accepted(true)?;
    // Both are acknowledged after both came: the order of their acknowledgements is free.
    let one = again.expect_message(&topic, "one", 1)?;
    let two = again.expect_message(&topic, "two", 2)?;
    again.acknowledge(&one)?;
    again.acknowledge(&two)?;
    again.expect_silence()
}

fn messages_wait_in_order(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    lab.away("a", &topic, 1)?;
    let mut sender = lab.connect("sender")?;
    for number in 0..20 {
        sender.publish(&topic, &number.to_string(), 1)?;
    }
    let mut again = lab.say_hello(&lab.lasting("a"))?;
    again.expect_accepted(true)?;
    for number in 0..20 {
        again.take(&topic, &number.to_string(), 1)?;
    }
    Ok(())
}

fn connack_comes_first(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    lab.away("a", &topic, 1)?;
    lab.connect("sender")?.publish(&topic, "m", 1)?;
    let mut again = lab.say_hello(&lab.lasting("a"))?;
    again.expect_accepted(true)?;
    again.take(&topic, "m", 1).map(|_| ())
}

fn lost_connection_keeps_it(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let mut peer = lab.connect_as(&lab.lasting("a"))?;
    peer.subscribe(&topic, 1)?;
    peer.vanish();
    let mut again = lab.say_hello(&lab.lasting("a"))?;
    again.expect_accepted(true)?;
    lab.connect("sender")?.publish(&topic, "m", 1)?;
    again.take(&topic, "m", 1).map(|_| ())
}

fn delivered_is_not_kept(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let mut peer = lab.connect_as(&lab.lasting("a"))?;
    peer.subscribe(&topic, 1)?;
    lab.connect("sender")?.publish(&topic, "m", 1)?;
    peer.take(&topic, "m", 1)?;
    // The answer proves that the acknowledgement was read.
    peer.ping()?;
    peer.leave();
    let mut again = lab.say_hello(&lab.lasting("a"))?;
    again.expect_accepted(true)?;
    again.expect_silence()
}

fn retained_is_apart(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let mut sender = lab.connect("sender")?;
    lab.retain(&mut sender, &topic, "kept")?;
    sender.leave();
    let mut receiver = lab.connect("receiver")?;
    receiver.subscribe(&topic, 0)?;
    receiver.expect_message(&topic, "kept", 0).map(|_| ())
}

fn new_subscription_after_it_was_gone(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    lab.away("a", &topic, 1)?;
    let mut sender = lab.connect("sender")?;
    sender.complete(&publish(&topic, "old"), 1)?;
    let mut anew = lab.connect("a")?;
    anew.subscribe(&topic, 1)?;
    sender.complete(&publish(&topic, "new"), 1)?;
    anew.take(&topic, "new", 1).map(|_| ())
}
