//! Our client library and a broker that is killed and started again twenty times: the clients come
//! back, subscribe again and send what was not acknowledged. What was published at QoS 1 arrives,
//! and at QoS 2 once.

use std::time::Duration;

use noctule_client::{
    Client, ClientOptions, Event, Events, Message, Messages, ProtocolVersion, Publish, Publishing,
    QoS, Reconnect, Session, Subscribe,
};

use crate::broker::Broker;
use crate::client_cuts::{first_fault, first_occurrences};
use crate::program::DEADLINE;
use crate::room::unique;

const RESTARTS: usize = 20;
/// So many messages at each QoS are under way when the broker is killed.
const BATCH: u32 = 25;

#[tokio::test]
async fn clients_survive_twenty_kills_of_the_broker_mqtt_5() {
    survive(ProtocolVersion::V5).await;
}

#[tokio::test]
async fn clients_survive_twenty_kills_of_the_broker_mqtt_311() {
    survive(ProtocolVersion::V311).await;
}

async fn survive(version: ProtocolVersion) {
    let mut broker = Broker::ours(&[]);
    let port: u16 = broker.port().parse().expect("it can be");
    let word = unique();
    let (publisher, mut publisher_events) = client(port, version, &format!("{word}p"));
    let (subscriber, mut subscriber_events) = client(port, version, &format!("{word}s"));
    let subscribe = Subscribe::new(format!("{word}/+")).qos(QoS::ExactlyOnce);
    let messages = soon("SUBACK", subscriber.subscribe(subscribe)).await.expect("it can be");
    let mut trial = Trial { publisher, word, sent: 0, messages, received: [vec![], vec![]] };
    let mut memory = Vec::new();
    for round in 0..RESTARTS {
        trial.serve().await;
        let mut under_way = Vec::new();
        for _ in 0..BATCH {
            under_way.extend(trial.publish().await);
        }
        // The kill comes at another stage of the conversation each time.
        for publishing in under_way.drain(..round * under_way.len() / RESTARTS) {
            soon("an acknowledgement", publishing).await.expect("it can be");
        }
        let left = broker.kill();
        soon("a loss", lost(&mut publisher_events)).await;
        soon("a loss", lost(&mut subscriber_events)).await;
        broker = Broker::again(left, port);
        soon("a connection", connected(&mut publisher_events)).await;
        soon("a connection", connected(&mut subscriber_events)).await;
        for publishing in under_way {
            soon("an acknowledgement", publishing).await.expect("it can be");
        }
        memory.push(resident_kib());
    }
    trial.serve().await;
    trial.judge().await;
    println!("resident after each restart, KiB: {memory:?}");
    let (early, late) = (memory[4], memory[RESTARTS - 1]);
    assert!(late < early + 8 * 1024, "memory grows: {memory:?}");
    soon("the end", trial.publisher.disconnect()).await.expect("it can be");
    soon("the end", subscriber.disconnect()).await.expect("it can be");
}

/// What is published, and what came of it.
struct Trial {
    publisher: Client,
    word: String,
    /// So many numbers were published, each at QoS 1 and at QoS 2.
    sent: u32,
    messages: Messages,
    /// The numbers that came at QoS 1, and those at QoS 2.
    received: [Vec<u32>; 2],
}

impl Trial {
    /// Publishes until messages of now have gone all the way: the subscription is there again.
    async fn serve(&mut self) {
        let first = self.sent;
        loop {
            for publishing in self.publish().await {
                soon("an acknowledgement", publishing).await.expect("it can be");
            }
            while let Some(message) = self.messages.try_next() {
                self.note(&message);
            }
            if self.received.iter().all(|numbers| numbers.last().is_some_and(|last| *last >= first))
            {
                return;
            }
        }
    }

    /// The next number, at QoS 1 and at QoS 2.
    async fn publish(&mut self) -> [Publishing; 2] {
        let number = self.sent.to_string();
        self.sent += 1;
        let message = |topic: &str, qos| {
            Publish::new(format!("{}/{topic}", self.word), number.clone()).qos(qos)
        };
        let one = self.publisher.publish_later(message("one", QoS::AtLeastOnce)).await;
        let two = self.publisher.publish_later(message("two", QoS::ExactlyOnce)).await;
        [one.expect("it can be"), two.expect("it can be")]
    }

    fn note(&mut self, message: &Message) {
        let number = std::str::from_utf8(message.payload()).expect("text");
        let at = usize::from(message.topic().ends_with("two"));
        self.received[at].push(number.parse().expect("a number"));
    }

    /// Complete, in order, and at QoS 2 each once.
    async fn judge(&mut self) {
        let last = Some(self.sent - 1);
        while self.received.iter().any(|numbers| numbers.last().copied() != last) {
            let message = soon("the last message", self.messages.next()).await;
            self.note(&message.expect("the client goes on"));
        }
        let [one, two] = &self.received;
        let firsts = first_occurrences(one);
        println!(
            "{} numbers: QoS 1 {} arrived, {} of them twice; QoS 2 {} arrived",
            self.sent,
            firsts.len(),
            one.len() - firsts.len(),
            two.len()
        );
        assert_eq!(first_fault(&firsts, self.sent), None, "QoS 1: complete, first ones in order");
        assert_eq!(first_fault(two, self.sent), None, "QoS 2: each once, in order");
    }
}

fn client(port: u16, version: ProtocolVersion, client_id: &str) -> (Client, Events) {
    let options = ClientOptions::new("127.0.0.1", port)
        .version(version)
        .client_id(client_id)
        .session(Session::Persistent(Duration::from_secs(300)))
        .reconnect(Reconnect::every(Duration::from_millis(20)));
    let client = Client::prepare(options).expect("it can be");
    let events = client.events();
    client.start();
    (client, events)
}

async fn lost(events: &mut Events) {
    while !matches!(events.next().await.expect("an event"), Event::Disconnected(_)) {}
}

/// The connection after a loss, with no other loss before it.
async fn connected(events: &mut Events) {
    loop {
        match events.next().await.expect("an event") {
            Event::Connected(granted) => {
                assert!(granted.session_present, "the session survives the kill");
                return;
            }
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
