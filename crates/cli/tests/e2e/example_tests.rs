//! The programs in `examples/`, compiled into this test and run against our broker.

use std::time::Duration;

use noctule_client::ClientOptions;

use crate::broker::Broker;
use crate::program::DEADLINE;

#[allow(dead_code, unreachable_pub, reason = "a whole program, of which main is not called")]
#[path = "../../../../examples/publisher.rs"]
mod publisher;
#[allow(dead_code, unreachable_pub, reason = "a whole program, of which main is not called")]
#[path = "../../../../examples/subscriber.rs"]
mod subscriber;

#[tokio::test]
async fn the_examples_speak_with_each_other() {
    let broker = Broker::ours(&[]);
    let port = broker.port().parse().expect("a port");
    let options = || ClientOptions::new("127.0.0.1", port);
    let (lines, mut received) = tokio::sync::mpsc::unbounded_channel();
    let print = move |line| lines.send(line).expect("the test listens");
    let subscribing = tokio::spawn(subscriber::subscribe(options(), print));
    let publishing =
        tokio::spawn(publisher::publish(options(), usize::MAX, Duration::from_millis(10)));
    let line = tokio::time::timeout(DEADLINE, received.recv()).await;
    let line = line.expect("a message in time").expect("the subscriber runs");
    assert!(line.starts_with("example/temperature 2"), "{line}");
    subscribing.abort();
    publishing.abort();
    publisher::publish(options(), 2, Duration::from_millis(1)).await.expect("a good end");
}
