//! Round trips with rumqttc, another MQTT 5 client in Rust: properties, aliases, shared
//! subscriptions, expiry, flow control. Its event loop is polled by a task of its own.

use std::collections::HashMap;
use std::time::Duration;

use noctule_client::Bytes;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnectProperties, Packet, Publish, PublishProperties};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::broker::Broker;
use crate::program::DEADLINE;

/// A client that is connected, and what has come to it.
struct Peer {
    client: AsyncClient,
    incoming: UnboundedReceiver<Packet>,
    had_session: bool,
    /// What the broker's aliases mean; the client's events leave that to us.
    aliases: HashMap<u16, Bytes>,
    polling: JoinHandle<()>,
}

impl Peer {
    async fn connect(broker: &Broker, name: &str, change: impl FnOnce(&mut MqttOptions)) -> Self {
        let port = broker.port().parse().expect("a port");
        let mut options = MqttOptions::new(broker.id(name), broker.host(), port);
        options.set_keep_alive(Duration::from_secs(60));
        change(&mut options);
        let (client, mut event_loop) = AsyncClient::new(options, 1_000);
        let (sender, incoming) = unbounded_channel();
        let polling = tokio::spawn(async move {
            // An error is the end: a test says when it wants another connection.
            while let Ok(event) = event_loop.poll().await {
                if let Event::Incoming(packet) = event
                    && sender.send(packet).is_err()
                {
                    return;
                }
            }
        });
        let mut peer =
            Self { client, incoming, had_session: false, aliases: HashMap::new(), polling };
        peer.had_session = peer
            .wait("CONNACK", |packet| match packet {
                Packet::ConnAck(connack) => Some(connack.session_present),
                _ => None,
            })
            .await;
        peer
    }

    /// The next packet for which `wanted` has an answer; others are passed over.
    async fn wait<T>(&mut self, what: &str, wanted: impl Fn(Packet) -> Option<T>) -> T {
        loop {
            let packet = timeout(DEADLINE, self.incoming.recv()).await;
            let packet = packet.unwrap_or_else(|_| panic!("no {what} in time"));
            let packet = packet.unwrap_or_else(|| panic!("the connection ended before {what}"));
            if let Some(found) = wanted(packet) {
                return found;
            }
        }
    }

    async fn subscribe(&mut self, filter: &str, qos: QoS) {
        self.client.subscribe(filter, qos).await.expect("room for a request");
        self.wait("SUBACK", |packet| matches!(packet, Packet::SubAck(_)).then_some(())).await;
    }

    async fn publish(&self, topic: &str, payload: &str, qos: QoS, properties: PublishProperties) {
        let payload = payload.to_owned();
        let sent = self.client.publish_with_properties(topic, qos, false, payload, properties);
        sent.await.expect("room for a request");
    }

    async fn receive(&mut self) -> Publish {
        let found = |packet| match packet {
            Packet::Publish(publish) => Some(publish),
            _ => None,
        };
        let mut publish = self.wait("PUBLISH", found).await;
        let alias = publish.properties.as_ref().and_then(|properties| properties.topic_alias);
        match alias {
            Some(alias) if publish.topic.is_empty() => {
                publish.topic.clone_from(&self.aliases[&alias]);
            }
            Some(alias) => drop(self.aliases.insert(alias, publish.topic.clone())),
            None => {}
        }
        publish
    }

    async fn expect(&mut self, topic: &str, payload: &str, qos: QoS) -> PublishProperties {
        let came = self.receive().await;
        let seen = (&came.topic[..], &came.payload[..], came.qos);
        assert_eq!(seen, (topic.as_bytes(), payload.as_bytes(), qos), "{came:?}");
        came.properties.unwrap_or_default()
    }

    /// Says DISCONNECT and waits until the connection is closed.
    async fn leave(mut self) {
        self.client.disconnect().await.expect("room for a request");
        timeout(DEADLINE, &mut self.polling).await.expect("an end in time").expect("no panic");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.polling.abort();
    }
}

fn none() -> PublishProperties {
    PublishProperties::default()
}

#[tokio::test]
async fn properties() {
    let broker = Broker::start();
    let (mut receiver, sender) = pair(&broker, |_| {}).await;
    let topic = broker.topic("t");
    receiver.subscribe(&topic, QoS::ExactlyOnce).await;
    let given = PublishProperties {
        payload_format_indicator: Some(1),
        content_type: Some("text/plain".into()),
        response_topic: Some(broker.topic("answer")),
        correlation_data: Some((0..=255).collect::<Vec<u8>>().into()),
        user_properties: [("a", "1"), ("b", ""), ("a", "2"), ("ä", "日本")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..none()
    };
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        sender.publish(&topic, "words", qos, given.clone()).await;
        assert_eq!(receiver.expect(&topic, "words", qos).await, given);
    }
}

/// In both directions, with more topics than the receiver has aliases for.
#[tokio::test]
async fn aliases() {
    let broker = Broker::start();
    let (mut receiver, sender) = pair(&broker, |options| {
        options.set_topic_alias_max(Some(2));
    })
    .await;
    receiver.subscribe(&broker.topic("+"), QoS::AtLeastOnce).await;
    let aliased = |alias| PublishProperties { topic_alias: Some(alias), ..none() };
    for alias in 1..=4 {
        let topic = broker.topic(&alias.to_string());
        sender.publish(&topic, "given", QoS::AtLeastOnce, aliased(alias)).await;
        receiver.expect(&topic, "given", QoS::AtLeastOnce).await;
    }
    // The first topics got those that there are.
    assert_eq!(receiver.aliases.len(), 2, "{:?}", receiver.aliases);
    for alias in [1, 4, 2, 3, 1] {
        sender.publish("", "used", QoS::AtLeastOnce, aliased(alias)).await;
        let topic = broker.topic(&alias.to_string());
        receiver.expect(&topic, "used", QoS::AtLeastOnce).await;
    }
}

#[tokio::test]
async fn shared_subscriptions() {
    let broker = Broker::start();
    let (mut one, sender) = pair(&broker, |_| {}).await;
    let mut two = Peer::connect(&broker, "two", |_| {}).await;
    let (topic, end) = (broker.topic("t"), broker.topic("end"));
    for member in [&mut one, &mut two] {
        member.subscribe(&format!("$share/{}/{topic}", broker.word()), QoS::AtLeastOnce).await;
        member.subscribe(&end, QoS::AtLeastOnce).await;
    }
    for number in 0..100 {
        sender.publish(&topic, &number.to_string(), QoS::AtLeastOnce, none()).await;
    }
    sender.publish(&end, "end", QoS::AtLeastOnce, none()).await;
    let (mut all, share) = (numbers(&mut one).await, numbers(&mut two).await);
    assert!(!all.is_empty() && !share.is_empty(), "one member got everything");
    all.extend(share);
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<u32>>());
}

/// The numbers that came before the end.
async fn numbers(member: &mut Peer) -> Vec<u32> {
    let mut numbers = Vec::new();
    loop {
        let text = String::from_utf8(member.receive().await.payload.to_vec()).expect("UTF-8");
        match text.parse() {
            Ok(number) => numbers.push(number),
            Err(_) => return numbers,
        }
    }
}

#[tokio::test]
async fn expiry() {
    let broker = Broker::start();
    let lasting = |options: &mut MqttOptions| {
        options.set_clean_start(false);
        let properties =
            ConnectProperties { session_expiry_interval: Some(3_600), ..ConnectProperties::new() };
        options.set_connect_properties(properties);
    };
    let topic = broker.topic("t");
    let mut away = Peer::connect(&broker, "p", lasting).await;
    assert!(!away.had_session, "a session that nobody made");
    away.subscribe(&topic, QoS::AtLeastOnce).await;
    away.leave().await;
    let mut sender = Peer::connect(&broker, "s", |_| {}).await;
    for (payload, seconds) in [("short", 1), ("long", 600)] {
        let expiring = PublishProperties { message_expiry_interval: Some(seconds), ..none() };
        sender.publish(&topic, payload, QoS::AtLeastOnce, expiring).await;
        sender.wait("PUBACK", |packet| matches!(packet, Packet::PubAck(_)).then_some(())).await;
    }
    // Time is what is tested here.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let mut back = Peer::connect(&broker, "p", lasting).await;
    assert!(back.had_session, "the session is gone");
    let left = back.expect(&topic, "long", QoS::AtLeastOnce).await.message_expiry_interval;
    assert!(left.is_some_and(|left| (500..600).contains(&left)), "{left:?}");
}

#[tokio::test]
async fn flow_control() {
    let broker = Broker::start();
    let (mut receiver, sender) = pair(&broker, |options| {
        options.set_receive_maximum(Some(3));
    })
    .await;
    let topic = broker.topic("t");
    receiver.subscribe(&topic, QoS::ExactlyOnce).await;
    for number in 0..300 {
        sender.publish(&topic, &number.to_string(), QoS::ExactlyOnce, none()).await;
    }
    for number in 0..300 {
        receiver.expect(&topic, &number.to_string(), QoS::ExactlyOnce).await;
    }
}

/// A receiver with options of its own, and a sender.
async fn pair(broker: &Broker, change: impl FnOnce(&mut MqttOptions)) -> (Peer, Peer) {
    (Peer::connect(broker, "r", change).await, Peer::connect(broker, "s", |_| {}).await)
}
