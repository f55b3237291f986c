//! Peers that accept and then do not behave: each ends in a reconnect with a clear reason.

use std::time::Duration;

use noctule_client::{
    Client, Error, Event, Events, Hello, Publish, QoS, Reason, Status, Subscribe,
};
use tokio::io::AsyncWriteExt;

use crate::peer::{accept, accept_connect, listener, read_packet, reconnect_reason, soon};

const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_peer_that_accepts_and_never_answers() {
    let (listener, options) = listener().await;
    let client = Client::prepare(options.connect_timeout(SHORT)).unwrap();
    let mut events = client.events();
    client.start();
    for _ in 0..3 {
        let silent = accept(&listener).await;
        assert_eq!(reconnect_reason(&mut events).await, "no CONNACK from the broker within 50ms");
        drop(silent);
    }
    client.disconnect().await.unwrap();
}

#[tokio::test]
async fn a_peer_that_answers_rubbish() {
    let (listener, options) = listener().await;
    let client = Client::prepare(options).unwrap();
    let mut events = client.events();
    client.start();
    for (rubbish, words) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "web server"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "TLS"),
        (b"\x20\x03\x00\x00\x00\x37\x00", "does not speak MQTT as it should"),
        (b"\x20\x02\xff\xff", "CONNACK has flags"),
    ] {
        let mut stream = accept(&listener).await;
        read_packet(&mut stream).await;
        stream.write_all(rubbish).await.unwrap();
        let reason = reconnect_reason(&mut events).await;
        assert!(reason.contains(words), "{reason}");
    }
    client.disconnect().await.unwrap();
}

#[tokio::test]
async fn a_peer_that_stalls_is_left_and_what_it_had_not_acknowledged_is_sent_again() {
    let (listener, options) = listener().await;
    let client = Client::prepare(options.ack_timeout(SHORT)).unwrap();
    let mut events = client.events();
    client.start();
    let mut stalled = accept(&listener).await;
    accept_connect(&mut stalled).await;
    let publishing =
        client.publish_later(Publish::new("a", "x").qos(QoS::AtLeastOnce)).await.unwrap();
    let first = read_packet(&mut stalled).await;
    let reason = reconnect_reason(&mut events).await;
    assert_eq!(reason, "no acknowledgement from the broker within 50ms");

    let mut awake = accept(&listener).await;
    read_packet(&mut awake).await;
    awake.write_all(&[0x20, 3, 1, 0, 0]).await.unwrap();
    let again = read_packet(&mut awake).await;
    assert_eq!((first[0], again[0], &first[1..]), (0x32, 0x3a, &again[1..]), "with DUP");
    awake.write_all(&[0x40, 2, again[5], again[6]]).await.unwrap();
    soon("PUBACK", publishing).await.unwrap();
    client.disconnect().await.unwrap();
}

#[tokio::test]
async fn a_peer_that_goes_deaf_in_the_middle_of_a_message() {
    let (listener, options) = listener().await;
    let client = Client::prepare(options.keep_alive_seconds(1).ack_timeout(SHORT)).unwrap();
    let mut events = client.events();
    client.start();
    let mut stream = accept(&listener).await;
    accept_connect(&mut stream).await;
    // Larger than all buffers between here and there, so that it cannot leave.
    let large = Publish::new("a", vec![0; 15 << 20]).qos(QoS::AtMostOnce);
    let publishing = client.publish_later(large).await.unwrap();
    assert_eq!(reconnect_reason(&mut events).await, "no PINGRESP from the broker within 50ms");
    assert!(matches!(soon("the end", publishing).await, Err(Error::ConnectionLost)));
    client.disconnect().await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_ordinary_and_leaving_ends_it() {
    let (listener, options) = listener().await;
    drop(listener);
    let client = Client::prepare(options).unwrap();
    let mut events = client.events();
    client.start();
    let reason = reconnect_reason(&mut events).await;
    assert!(reason.starts_with("cannot connect to 127.0.0.1:"), "{reason}");
    let publishing = client.publish_later(Publish::new("a", "x")).await.unwrap();
    soon("the end", client.disconnect()).await.unwrap();
    assert!(matches!(client.status(), Status::Ended(reason) if *reason == Reason::Asked));
    assert!(matches!(publishing.await, Err(Error::Ended(_))));
    let late = client.publish(Publish::new("a", "x")).await;
    assert!(matches!(late, Err(Error::Ended(_))), "{late:?}");
    assert!(client.subscribe(Subscribe::new("a")).await.is_err());
    assert!(matches!(last_of(&mut events).await, Some(Event::Ended(_))));
}

#[tokio::test]
async fn handles_that_are_gone_end_the_client_in_good_order() {
    let (listener, options) = listener().await;
    let client = Client::connect(options).unwrap();
    let mut stream = accept(&listener).await;
    accept_connect(&mut stream).await;
    let publishing = client.publish_later(Publish::new("a", "x")).await.unwrap();
    drop(client);
    soon("the message", publishing).await.unwrap();
    assert_eq!(read_packet(&mut stream).await[0], 0x30);
    let goodbye = read_packet(&mut stream).await;
    assert_eq!(goodbye, [0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0], "DISCONNECT that ends the session");
}

#[tokio::test]
async fn a_stream_that_nobody_empties_holds_the_broker_up_and_loses_nothing() {
    let (listener, mut options) = listener().await;
    options = options.limits(noctule_client::Limits { stream_count_max: 2, ..Default::default() });
    let client = Client::connect(options.keep_alive_seconds(1).ack_timeout(SHORT)).unwrap();
    let mut stream = accept(&listener).await;
    accept_connect(&mut stream).await;
    let (mut messages, granted) = client.subscribe(Subscribe::new("a")).split();
    let subscribe = read_packet(&mut stream).await;
    stream.write_all(&[0x90, 4, subscribe[2], subscribe[3], 0, 0]).await.unwrap();
    soon("SUBACK", granted).await.unwrap();
    for number in 0..100u8 {
        stream.write_all(&[0x30, 5, 0, 1, b'a', 0, number]).await.unwrap();
    }
    // Reading is stopped, so a PINGRESP would not be heard; that must not be held against us.
    assert_eq!(read_packet(&mut stream).await, [0xc0, 0]);
    for number in 0..100u8 {
        let message = soon("a message", messages.next()).await.unwrap();
        assert_eq!(message.payload().as_ref(), [number]);
    }
    assert!(matches!(client.status(), Status::Connected(_)));
    client.disconnect().await.unwrap();
}

#[tokio::test]
async fn the_greeting_is_asked_for_and_waited_for_with_patience() {
    let (listener, options) = listener().await;
    let client = Client::connect(options).unwrap();
    let mut stream = accept(&listener).await;
    accept_connect(&mut stream).await;
    assert_eq!(client.wait_for_hello(SHORT).await.unwrap(), Hello::TimedOut);
    let subscribe = read_packet(&mut stream).await;
    let topic = b"$SYS/broker/connection/me";
    assert!(subscribe.windows(topic.len()).any(|part| part == topic));
    assert_eq!(read_packet(&mut stream).await[0], 0xa2, "UNSUBSCRIBE: a late one is not wanted");

    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.wait_for_hello(Duration::from_secs(20)).await }
    });
    let subscribe = read_packet(&mut stream).await;
    stream.write_all(&[0x90, 4, subscribe[2], subscribe[3], 0, 0]).await.unwrap();
    let mut hello = vec![0x30, 33, 0, 25];
    hello.extend_from_slice(topic);
    hello.extend_from_slice(b"\0HELLO");
    stream.write_all(&hello).await.unwrap();
    assert_eq!(soon("the greeting", waiting).await.unwrap().unwrap(), Hello::Confirmed);
}

/// The last of the events that still come.
async fn last_of(events: &mut Events) -> Option<Event> {
    let mut last = None;
    while let Some(event) = soon("the end of events", events.next()).await {
        last = Some(event);
    }
    last
}
