//! Our client library on a network that breaks twenty times under a publisher and a subscriber each,
//! and on one that stalls: QoS 1 is complete, QoS 2 arrives exactly once, and order is kept.

use std::time::Duration;

use noctule_client::{
    Client, ClientOptions, Error, Event, Limits, Messages, ProtocolVersion, Publish, QoS, Reason,
    Reconnect, Session, Subscribe,
};

use crate::broker::Broker;
use crate::mosquitto_broker::Mosquitto;
use crate::program::DEADLINE;
use crate::proxy::{Fault, Proxy};
use crate::room::unique;

const CUTS: usize = 20;
const MESSAGES: u32 = 1_500;

/// What happens to the networks of publisher and subscriber, and how often.
#[derive(Clone, Copy)]
struct Trouble {
    fault: Fault,
    publisher: usize,
    subscriber: usize,
}

const CUT: Trouble = Trouble { fault: Fault::Cut, publisher: CUTS, subscriber: CUTS };
const PUBLISHER_CUT: Trouble = Trouble { subscriber: 0, ..CUT };
const STALL: Trouble = Trouble { fault: Fault::Stall, publisher: 5, subscriber: 5 };

/// No window of mosquitto's own.
const WIDE: &str = "max_inflight_messages 1000";

#[tokio::test]
async fn our_broker_mqtt_5() {
    let broker = Broker::ours(&[]);
    run(port_of(&broker), ProtocolVersion::V5, 1, CUT).await;
}

#[tokio::test]
async fn our_broker_mqtt_311() {
    let broker = Broker::ours(&[]);
    run(port_of(&broker), ProtocolVersion::V311, 2, CUT).await;
}

#[tokio::test]
async fn our_broker_through_a_network_that_stalls() {
    let broker = Broker::ours(&[]);
    run(port_of(&broker), ProtocolVersion::V5, 5, STALL).await;
    run(port_of(&broker), ProtocolVersion::V311, 6, STALL).await;
}

// Debian's mosquitto 2.0.11 loses and reorders messages of a session that it resumes (its issue
// 2349), and of one whose window is full, with its own clients too. So its subscriber has a network
// that holds, and windows are wide.

#[tokio::test]
async fn mosquitto_mqtt_5() {
    let broker = Mosquitto::start(WIDE);
    run(broker.port(), ProtocolVersion::V5, 3, PUBLISHER_CUT).await;
}

#[tokio::test]
async fn mosquitto_mqtt_311() {
    let broker = Mosquitto::start(WIDE);
    run(broker.port(), ProtocolVersion::V311, 4, PUBLISHER_CUT).await;
}

fn port_of(broker: &Broker) -> u16 {
    broker.port().parse().expect("a port")
}

/// One publisher and one subscriber, each behind a network of its own that breaks.
async fn run(port: u16, version: ProtocolVersion, seed: u64, trouble: Trouble) {
    println!("seed {seed}");
    let word = unique();
    let to_publisher = Proxy::start(port, trouble.fault, trouble.publisher, seed).await;
    let to_subscriber = Proxy::start(port, trouble.fault, trouble.subscriber, seed + 1_000).await;
    let subscriber = client(&to_subscriber, version, trouble.fault, &format!("{word}s"));
    let filter = format!("{word}/+");
    let subscribe = Subscribe::new(filter.as_str()).qos(QoS::ExactlyOnce);
    let mut messages = soon(subscriber.subscribe(subscribe)).await.expect("granted");
    let publisher = client(&to_publisher, version, trouble.fault, &format!("{word}p"));

    let publishing = tokio::spawn(publish_all(publisher.clone(), word.clone()));
    let (at_least, exactly) = soon(receive_all(&mut messages, &word)).await;
    soon(publishing).await.expect("every promise is fulfilled");

    assert_eq!(first_fault(&exactly, MESSAGES), None, "QoS 2: each once, in order");
    let firsts = first_occurrences(&at_least);
    assert_eq!(first_fault(&firsts, MESSAGES), None, "QoS 1: complete, first ones in order");
    println!("QoS 1: {} repetitions", at_least.len() - firsts.len());
    let faults = (to_publisher.faults(), to_subscriber.faults());
    assert_eq!(faults, (trouble.publisher, trouble.subscriber));
    soon(publisher.disconnect()).await.expect("a good end");
    soon(subscriber.disconnect()).await.expect("a good end");
}

fn client(proxy: &Proxy, version: ProtocolVersion, fault: Fault, client_id: &str) -> Client {
    let options = ClientOptions::new("127.0.0.1", proxy.port())
        .version(version)
        .client_id(client_id)
        .session(Session::Persistent(Duration::from_secs(300)))
        .limits(Limits { receive_maximum: u16::MAX, ..Limits::default() })
        .reconnect(Reconnect::every(Duration::from_millis(2)));
    let options = match fault {
        Fault::Cut => options,
        // A network that has stalled is noticed by these two, and said to be.
        Fault::Stall => options
            .keep_alive_seconds(1)
            .ack_timeout(Duration::from_secs(1))
            .connect_timeout(Duration::from_secs(1))
            .on_event(|event| match event {
                Event::Disconnected(reason) if **reason != Reason::Asked => {
                    let words = reason.to_string();
                    assert!(words.ends_with(" from the broker within 1s"), "{words}");
                }
                _ => {}
            }),
    };
    Client::connect(options).expect("sound options")
}

/// Publishes every number at QoS 1 and QoS 2 in turn, and waits for each promise.
async fn publish_all(client: Client, word: String) {
    let mut under_way = Vec::new();
    for number in 0..MESSAGES {
        for (topic, qos) in [("one", QoS::AtLeastOnce), ("two", QoS::ExactlyOnce)] {
            let publish = Publish::new(format!("{word}/{topic}"), number.to_string()).qos(qos);
            under_way.push(client.publish_later(publish).await.expect("it is taken"));
        }
    }
    for publishing in under_way {
        publishing.await.expect("it is taken");
    }
}

/// The numbers that came at QoS 1 and at QoS 2, until the last ones did.
async fn receive_all(messages: &mut Messages, word: &str) -> (Vec<u32>, Vec<u32>) {
    let (mut at_least, mut exactly) = (Vec::new(), Vec::new());
    while at_least.last() != Some(&(MESSAGES - 1)) || exactly.last() != Some(&(MESSAGES - 1)) {
        let message = messages.next().await.expect("the client goes on");
        let number =
            std::str::from_utf8(message.payload()).expect("text").parse().expect("a number");
        match message.topic().strip_prefix(word) {
            Some("/one") => at_least.push(number),
            Some("/two") => exactly.push(number),
            other => panic!("{other:?}"),
        }
    }
    (at_least, exactly)
}

/// The first place where the numbers are not 0, 1, 2 and so on, `count` of them.
pub(crate) fn first_fault(numbers: &[u32], count: u32) -> Option<String> {
    let expected = (0..count).map(Some).chain([None]);
    let found = numbers.iter().copied().map(Some).chain([None]);
    let mut pairs = expected.zip(found);
    let (expected, found) = pairs.find(|(expected, found)| expected != found)?;
    Some(format!("{expected:?} was expected, {found:?} came; {} in all", numbers.len()))
}

/// Without the numbers that were there before.
pub(crate) fn first_occurrences(numbers: &[u32]) -> Vec<u32> {
    let mut seen = std::collections::HashSet::new();
    numbers.iter().copied().filter(|number| seen.insert(*number)).collect()
}

async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE * 2, event).await.expect("it happens in time")
}

#[tokio::test]
async fn a_client_may_start_before_its_broker() {
    let port = crate::mosquitto_broker::free_port();
    let options = ClientOptions::new("127.0.0.1", port)
        .reconnect(Reconnect::every(Duration::from_millis(10)));
    let client = Client::prepare(options).unwrap();
    let mut events = client.events();
    client.start();
    let waiting = client.publish_later(Publish::new("a", "x").qos(QoS::AtLeastOnce)).await;
    assert!(matches!(soon(events.next()).await, Some(Event::Reconnecting { attempt: 2, .. })));
    let _broker = Broker::on_port(port, &[]);
    soon(client.wait_until_connected()).await.unwrap();
    soon(waiting.unwrap()).await.unwrap();
    soon(client.disconnect()).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_said_and_ends_the_client() {
    let room = crate::room::Room::new();
    let users = room.file("users", b"");
    let broker =
        Mosquitto::start(&format!("allow_anonymous false\npassword_file {}", users.display()));
    for (version, words) in [
        (
            ProtocolVersion::V5,
            "not allowed to connect; a user name and password may be needed (0x87)",
        ),
        (ProtocolVersion::V311, "(return code 5)"),
    ] {
        let options = ClientOptions::new("127.0.0.1", broker.port()).version(version);
        let client = Client::connect(options.user_name("me").password("wrong")).unwrap();
        let Err(Error::Ended(reason)) = soon(client.wait_until_connected()).await else {
            panic!("it is refused")
        };
        assert!(reason.to_string().contains(words), "{reason}");
    }
}
