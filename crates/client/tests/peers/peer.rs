//! A peer of the test's own hand, and waiting with a deadline.

use std::future::Future;
use std::time::Duration;

use noctule_client::{ClientOptions, Event, Events, Reconnect};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How long an event may take on a busy machine before the test says that it does not come.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for `event`, but not for ever.
pub(crate) async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, event).await {
        Ok(happened) => happened,
        Err(_) => panic!("{what} does not come"),
    }
}

/// A listener on a free port of the loopback, and options for a client of it that reconnects at
/// once.
pub(crate) async fn listener() -> (TcpListener, ClientOptions) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let options = ClientOptions::new("127.0.0.1", port)
        .client_id("me")
        .reconnect(Reconnect::every(Duration::from_millis(1)))
        .connect_timeout(Duration::from_secs(5));
    (listener, options)
}

/// The next connection.
pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    soon("a connection", listener.accept()).await.expect("the loopback works").0
}

/// Reads CONNECT and accepts it as a broker of MQTT 5 would; the rest is left to the test.
pub(crate) async fn accept_connect(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    read_packet(stream).await;
    stream.write_all(&[0x20, 3, 0, 0, 0]).await.expect("the client reads");
}

/// One whole packet with a short length.
pub(crate) async fn read_packet(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut packet = vec![0; 2];
    soon("a packet", stream.read_exact(&mut packet)).await.expect("the client writes");
    let length = usize::from(packet[1]);
    assert!(length < 0x80, "a short packet");
    packet.resize(2 + length, 0);
    soon("its body", stream.read_exact(&mut packet[2..])).await.expect("the client writes");
    packet
}

/// The reason of the next reconnect.
pub(crate) async fn reconnect_reason(events: &mut Events) -> String {
    loop {
        match soon("an event", events.next()).await {
            Some(Event::Reconnecting { reason, .. }) => return reason.to_string(),
            Some(Event::Ended(reason)) => panic!("the client ended: {reason}"),
            Some(_) => {}
            None => panic!("the events ended"),
        }
    }
}
