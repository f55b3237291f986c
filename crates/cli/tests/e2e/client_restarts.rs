//! Our client library and a broker that is killed and started again twenty times: the clients come
//! back, subscribe again and send what was not acknowledged.

use std::time::Duration;

use noctule_client::{
    Client, ClientOptions, Event, Events, Messages, Publish, QoS, Reconnect, Session, Subscribe,
};

use crate::broker::Broker;
use crate::program::DEADLINE;
use crate::room::unique;

const RESTARTS: usize = 20;
const BATCH: u32 = 50;

/// Whether the broker keeps what it has acknowledged across a kill: then every message that was
/// acknowledged must arrive.
const DURABLE: bool = true;

#[tokio::test]
async fn clients_survive_twenty_kills_of_the_broker() {
    let mut broker = Broker::ours(&[]);
    let port: u16 = broker.port().parse().unwrap();
    let word = unique();
    let (publisher, mut publisher_events) = client(port, &format!("{word}p"));
    let (subscriber, mut subscriber_events) = client(port, &format!("{word}s"));
    let topic = format!("{word}/numbers");
    let subscribe = Subscribe::new(topic.as_str()).qos(QoS::AtLeastOnce);
    let mut messages = soon("SUBACK", subscriber.subscribe(subscribe)).await.unwrap();
    let mut received = Vec::new();
    let mut sent = 0;
    let mut memory = Vec::new();
    for _ in 0..RESTARTS {
        served(&publisher, &topic, &mut sent, &mut messages, &mut received).await;
        let mut under_way = Vec::new();
        for _ in 0..BATCH {
            under_way.push(publish(&publisher, &topic, &mut sent).await);
        }
        let left = broker.kill();
        soon("a loss", lost(&mut publisher_events)).await;
        soon("a loss", lost(&mut subscriber_events)).await;
        broker = Broker::again(left, port);
        soon("a connection", connected(&mut publisher_events)).await;
        soon("a connection", connected(&mut subscriber_events)).await;
        for publishing in under_way {
            soon("PUBACK", publishing).await.unwrap();
        }
        memory.push(resident_kib());
    }
    served(&publisher, &topic, &mut sent, &mut messages, &mut received).await;
    let firsts = crate::client_cuts::first_occurrences(&received);
    assert!(firsts.is_sorted(), "in order");
    println!(
        "{} of {sent} messages arrived, {} twice",
        firsts.len(),
        received.len() - firsts.len()
    );
    if DURABLE {
        assert_eq!(crate::client_cuts::first_fault(&firsts, sent), None, "complete");
    }
    println!("resident after each restart, KiB: {memory:?}");
    let (early, late) = (memory[4], memory[RESTARTS - 1]);
    assert!(late < early + 8 * 1024, "memory grows: {memory:?}");
    soon("the end", publisher.disconnect()).await.unwrap();
    soon("the end", subscriber.disconnect()).await.unwrap();
}

fn client(port: u16, client_id: &str) -> (Client, Events) {
    let options = ClientOptions::new("127.0.0.1", port)
        .client_id(client_id)
        .session(Session::Persistent(Duration::from_secs(300)))
        .reconnect(Reconnect::every(Duration::from_millis(20)));
    let client = Client::prepare(options).expect("it can be");
    let events = client.events();
    client.start();
    (client, events)
}

/// Publishes until a message of now has gone all the way: the subscription is there again.
async fn served(
    publisher: &Client,
    topic: &str,
    sent: &mut u32,
    messages: &mut Messages,
    received: &mut Vec<u32>,
) {
    let first = *sent;
    loop {
        soon("PUBACK", publish(publisher, topic, sent).await).await.expect("it can be");
        while let Some(message) = messages.try_next() {
            received.push(
                std::str::from_utf8(message.payload()).expect("text").parse().expect("a number"),
            );
        }
        if received.last().is_some_and(|last| *last >= first) {
            return;
        }
    }
}

async fn publish(client: &Client, topic: &str, sent: &mut u32) -> noctule_client::Publishing {
    let publish = Publish::new(topic, sent.to_string()).qos(QoS::AtLeastOnce);
    *sent += 1;
    client.publish_later(publish).await.expect("it can be")
}

async fn lost(events: &mut Events) {
    while !matches!(events.next().await.expect("an event"), Event::Disconnected(_)) {}
}

/// The connection after a loss, with no other loss before it.
async fn connected(events: &mut Events) {
    loop {
        match events.next().await.expect("an event") {
            Event::Connected(_) => return,
            Event::Reconnecting { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, event).await {
        Ok(happened) => happened,
        Err(_) => panic!("{what} does not come"),
    }
}

/// Resident memory of this process in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("it can be");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it can be");
    line.split_whitespace().nth(1).expect("text").parse().expect("a number")
}
