//! The blocking facade: the same client for threads.

use std::time::Duration;

use noctule_client::{Error, Event, Publish, QoS, Subscribe, blocking};
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;

use crate::peer::{accept, accept_connect, listener, read_packet};

#[test]
fn threads_publish_receive_and_leave_without_async() {
    let runtime = Runtime::new().unwrap();
    let (listener, options) = runtime.block_on(listener());
    let peer = runtime.spawn(async move {
        let mut stream = accept(&listener).await;
        accept_connect(&mut stream).await;
        let publish = read_packet(&mut stream).await;
        stream.write_all(&[0x40, 2, publish[5], publish[6]]).await.unwrap();
        let subscribe = read_packet(&mut stream).await;
        stream.write_all(&[0x90, 4, subscribe[2], subscribe[3], 0, 1]).await.unwrap();
        stream.write_all(&[0x30, 5, 0, 1, b'a', 0, b'!']).await.unwrap();
        assert_eq!(read_packet(&mut stream).await[0], 0xe0, "DISCONNECT");
        listener
    });
    let client = blocking::Client::connect(options.clone()).unwrap();
    client.wait_until_connected(Duration::from_secs(20)).unwrap();
    client.publish(Publish::new("a", "x").qos(QoS::AtLeastOnce)).unwrap();
    let mut messages = client.subscribe(Subscribe::new("a").qos(QoS::AtLeastOnce)).unwrap();
    assert_eq!(messages.next().unwrap().payload().as_ref(), b"!");
    assert!(messages.try_next().is_none());
    let mut events = client.events();
    client.disconnect().unwrap();
    assert!(matches!(events.next(), Some(Event::Disconnected(_))));
    assert!(messages.next().is_none(), "the stream has ended");
    assert!(matches!(client.publish(Publish::new("a", "x")), Err(Error::Ended(_))));

    drop(runtime.block_on(peer).unwrap());
    let lonely = blocking::Client::connect(options).unwrap();
    let patience = Duration::from_millis(20);
    assert!(matches!(lonely.wait_until_connected(patience), Err(Error::TimedOut(_))));
    drop(lonely);
}
