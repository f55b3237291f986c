//! Properties of messages in MQTT 5: passed on as they came; and what a client wants to be told.

use noctule_mqtt::{PacketType, Property};

use crate::heard::{Heard, Message};
use crate::lab::Lab;
use crate::outcome::{Verdict, ensure};
use crate::say::{Publishing, field, properties, property_block, publish, raw};

chapter! { "properties":
    payload_format ["MQTT5-3.3.2-4"]
        "The payload format indicator is passed on.";
    content_type ["MQTT5-3.3.2-20" "MQTT5-3.3.2-19"]
        "The content type is passed on.";
    response_topic ["MQTT5-3.3.2-15"]
        "The response topic is passed on.";
    correlation_data ["MQTT5-3.3.2-16"]
        "Correlation data of any bytes are passed on.";
    user_properties ["MQTT5-3.3.2-17" "MQTT5-3.3.2-18"]
        "User properties are passed on in their order, also equal ones and empty ones.";
    all_together_at_each_qos ["MQTT5-3.3.2-4" "MQTT5-3.3.2-15" "MQTT5-3.3.2-16" "MQTT5-3.3.2-17" "MQTT5-3.3.2-20"]
        "All properties of a message are passed on together, at QoS 0, 1 and 2.";
    none ["MQTT5-2.2.2-1"]
        "A message without properties comes without properties.";
    of_retained ["MQTT5-3.3.2-4" "MQTT5-3.3.2-15" "MQTT5-3.3.2-16" "MQTT5-3.3.2-17" "MQTT5-3.3.2-20"]
        "A retained message keeps its properties.";
    of_waiting ["MQTT5-3.3.2-4" "MQTT5-3.3.2-15" "MQTT5-3.3.2-16" "MQTT5-3.3.2-17" "MQTT5-3.3.2-20"]
        "A message that waits for a client keeps its properties.";
    request_and_response ["MQTT5-3.3.2-15" "MQTT5-3.3.2-16" "MQTT5-4.10"]
        "A request is answered on its response topic with its correlation data, and the requester gets the answer.";
    no_problem_information ["MQTT5-3.1.2-29"]
        "A client that wants no problem information gets no reason strings and user properties in answers that report failures.";
    of_subscribe_and_unsubscribe ["MQTT5-3.8.2.1.3" "MQTT5-3.10.2.1.2"]
        "SUBSCRIBE and UNSUBSCRIBE may have user properties.";
    of_acknowledgements ["MQTT5-3.4.2.2" "MQTT5-3.5.2.2" "MQTT5-3.7.2.2"]
        "PUBACK, PUBREC and PUBCOMP of a client may have a reason, a reason string and user properties.";
    of_disconnect ["MQTT5-3.14.2.2"]
        "DISCONNECT of a client may have a reason string and user properties.";
    longest_pair ["MQTT5-1.5.7" "MQTT5-3.3.2-17"]
        "A user property of 20,000 bytes is passed on.";
}

const PAIRS: [(&str, &str); 4] = [("b", "1"), ("a", "2"), ("b", "1"), ("", "")];

/// A message with every property that a client can give it.
fn rich(topic: &str) -> Publishing {
    let message = publish(topic, "m")
        .with(Property::PayloadFormatIndicator(1))
        .with(Property::ContentType("text/plain"))
        .with(Property::ResponseTopic("answers/here"))
        .with(Property::CorrelationData(&[0, 1, 255]));
    PAIRS.iter().fold(message, |message, pair| message.with(Property::UserProperty(*pair)))
}

fn is_rich(message: &Message) -> Verdict {
    let came = message.properties();
    ensure(
        came.payload_format_indicator() == Some(1)
            && came.content_type() == Some("text/plain")
            && came.response_topic() == Some("answers/here")
            && came.correlation_data() == Some(&[0, 1, 255])
            && came.user_properties().eq(PAIRS),
        "all properties as they were sent, user properties in their order",
        came.iter().collect::<Vec<_>>(),
    )
}

/// What a subscriber gets of `message`.
fn passed_on(lab: &Lab<'_>, message: &Publishing) -> Result<Message, crate::outcome::Stop> {
    let (mut sender, mut receiver) = lab.pair(&lab.topic("t"), 0)?;
    sender.send_publish(message);
    receiver.expect_message(&lab.topic("t"), "m", 0)
}

fn plain(lab: &Lab<'_>) -> Publishing {
    publish(&lab.topic("t"), "m")
}

fn payload_format(lab: &Lab<'_>) -> Verdict {
    for format in [0, 1] {
        let sent = plain(lab).with(Property::PayloadFormatIndicator(format));
        let came = passed_on(lab, &sent)?;
        let found = came.properties().payload_format_indicator();
        ensure(found == Some(format), format!("payload format {format}"), found)?;
    }
    Ok(())
}

fn content_type(lab: &Lab<'_>) -> Verdict {
    let came = passed_on(lab, &plain(lab).with(Property::ContentType("image/fledermaus é")))?;
    let found = came.properties().content_type();
    ensure(found == Some("image/fledermaus é"), "the content type that was sent", found)
}

fn response_topic(lab: &Lab<'_>) -> Verdict {
    let came = passed_on(lab, &plain(lab).with(Property::ResponseTopic("a/b")))?;
    let found = came.properties().response_topic();
    ensure(found == Some("a/b"), "response topic a/b", found)
}

fn correlation_data(lab: &Lab<'_>) -> Verdict {
    let data: Vec<u8> = (0..=255).collect();
    let came = passed_on(lab, &plain(lab).with(Property::CorrelationData(&data)))?;
    let found = came.properties().correlation_data();
    ensure(found == Some(&data[..]), "all 256 bytes", found)
}

fn user_properties(lab: &Lab<'_>) -> Verdict {
    let sent = PAIRS.iter().fold(plain(lab), |sent, pair| sent.with(Property::UserProperty(*pair)));
    let came = passed_on(lab, &sent)?;
    let found: Vec<_> = came.properties().user_properties().collect();
    ensure(found == PAIRS, format!("{PAIRS:?}"), found)
}

fn all_together_at_each_qos(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 2)?;
    for qos in 0..=lab.granted().maximum_qos {
        sender.complete(&rich(&topic), qos)?;
        is_rich(&receiver.take(&topic, "m", qos)?)?;
    }
    Ok(())
}

fn none(lab: &Lab<'_>) -> Verdict {
    let came = passed_on(lab, &plain(lab))?;
    let found: Vec<_> = came.properties().iter().collect();
    ensure(found.is_empty(), "no properties", found)
}

fn of_retained(lab: &Lab<'_>) -> Verdict {
    lab.need(lab.granted().retain_available, "retained messages")?;
    let topic = lab.topic("t");
    lab.keep(&topic);
    lab.connect("sender")?.complete(&rich(&topic).retain(), 1)?;
    let mut receiver = lab.connect("receiver")?;
    receiver.subscribe(&topic, 0)?;
    is_rich(&receiver.expect_message(&topic, "m", 0)?)
}

fn of_waiting(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    lab.away("receiver", &topic, 1)?;
    lab.connect("sender")?.complete(&rich(&topic), 1)?;
    let mut again = lab.say_hello(&lab.lasting("receiver"))?;
    again.expect_accepted(true)?;
    is_rich(&again.take(&topic, "m", 1)?)
}

fn request_and_response(lab: &Lab<'_>) -> Verdict {
    let (requests, answers) = (lab.topic("requests"), lab.topic("answers"));
    let mut responder = lab.connect("responder")?;
    responder.subscribe(&requests, 1)?;
    let mut requester = lab.connect("requester")?;
    requester.subscribe(&answers, 1)?;
    let request = publish(&requests, "question")
        .with(Property::ResponseTopic(&answers))
        .with(Property::CorrelationData(b"no. 7"));
    requester.complete(&request, 1)?;
    let asked = responder.take(&requests, "question", 1)?;
    let came = asked.properties();
    let (to, data) = (came.response_topic(), came.correlation_data());
    ensure(to == Some(&answers) && data == Some(b"no. 7"), "both properties", (to, data))?;
    let answer = publish(&answers, "answer").with(Property::CorrelationData(b"no. 7"));
    responder.complete(&answer, 1)?;
    let answered = requester.take(&answers, "answer", 1)?;
    let data = answered.properties().correlation_data();
    ensure(data == Some(b"no. 7"), "the correlation data of the request", data)
}

fn no_problem_information(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.connect_as(&lab.hello("a").with(Property::RequestProblemInformation(0)))?;
    peer.unsubscribe(&[&lab.topic("none")]).and_then(|answers| {
        let came = answers.properties();
        ensure(
            came.reason_string().is_none() && came.user_properties().next().is_none(),
            "UNSUBACK without reason string and user properties",
            came.iter().collect::<Vec<_>>(),
        )
    })?;
    peer.ack(PacketType::Pubrel, 77);
    let answer = peer.expect_ack(PacketType::Pubcomp, 77)?;
    let came: Vec<_> = answer.properties().iter().collect();
    ensure(came.is_empty(), "PUBCOMP without reason string and user properties", came)
}

fn of_subscribe_and_unsubscribe(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.connect("a")?;
    let pair = [Property::UserProperty(("a", "b")), Property::UserProperty(("a", "b"))];
    let all = properties(PacketType::Subscribe, &pair);
    peer.subscribe_to(&[(&lab.topic("t"), 0)], &all)?;
    let block = property_block(lab.version(), &all);
    peer.send(&raw(0xA2, &[&[0, 9], &block, &field(lab.topic("t"))]));
    match peer.next("UNSUBACK")? {
        Heard::Unsuback(answers) if answers.id == 9 => Ok(()),
        other => peer.wrong("UNSUBACK", &other),
    }
}

fn of_acknowledgements(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("t");
    let (mut sender, mut receiver) = lab.pair(&topic, 2)?;
    let all = [Property::ReasonString("done"), Property::UserProperty(("a", "b"))];
    let block = property_block(lab.version(), &properties(PacketType::Puback, &all));
    let say = |receiver: &mut crate::peer::Peer, first: u8, id: u16| {
        receiver.send(&raw(first, &[&id.to_be_bytes(), &[0], &block]));
    };
    sender.publish(&topic, "one", 1)?;
    let id = receiver.expect_message(&topic, "one", 1)?.id;
    say(&mut receiver, 0x40, id);
    sender.publish(&topic, "two", 2)?;
    let id = receiver.expect_message(&topic, "two", 2)?.id;
    say(&mut receiver, 0x50, id);
    receiver.expect_ack(PacketType::Pubrel, id)?;
    say(&mut receiver, 0x70, id);
    receiver.ping()
}

fn of_disconnect(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("will");
    let mut watcher = lab.connect("watcher")?;
    watcher.subscribe(&topic, 0)?;
    let will = crate::say::WillWords::new(&topic, "lost");
    let mut peer = lab.connect_as(&lab.hello("a").will(will))?;
    let all = [Property::ReasonString("done"), Property::UserProperty(("a", "b"))];
    let all = properties(PacketType::Disconnect, &all);
    peer.send(&raw(0xE0, &[&[0], &property_block(lab.version(), &all)]));
    peer.expect_closed()?;
    watcher.expect_silence()
}

fn longest_pair(lab: &Lab<'_>) -> Verdict {
    let fits = lab.granted().maximum_packet_size.is_none_or(|size| size >= 21_000);
    lab.need(fits, "room for so large a packet")?;
    let value = "x".repeat(20_000);
    let came = passed_on(lab, &plain(lab).with(Property::UserProperty(("long", &value))))?;
    let length = came.properties().user_properties().next().map(|(_, value)| value.len());
    ensure(length == Some(20_000), "a value of 20,000 bytes", length)
}
