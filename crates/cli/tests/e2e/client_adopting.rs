//! Our client library takes up a session that another process has left with a message at QoS 2 under
//! way: that message is completed, and the first new one, which would get its identifier, arrives too.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use noctule_client::{Client, ClientOptions, ProtocolVersion, Publish, QoS, Session, Subscribe};

use crate::broker::Broker;
use crate::mosquitto_broker::Mosquitto;
use crate::program::DEADLINE;
use crate::room::unique;

#[tokio::test]
async fn a_message_under_way_in_the_session_costs_no_new_one_with_our_broker() {
    let broker = Broker::ours(&[]);
    let port = broker.port().parse().expect("it can be");
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        take_up(port, version).await;
    }
}

#[tokio::test]
async fn a_message_under_way_in_the_session_costs_no_new_one_with_mosquitto() {
    let broker = Mosquitto::start("");
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        take_up(broker.port(), version).await;
    }
}

async fn take_up(port: u16, version: ProtocolVersion) {
    let word = unique();
    let session = Session::Persistent(Duration::from_secs(300));
    let options = |client_id: &str| {
        ClientOptions::new("127.0.0.1", port).version(version).client_id(client_id)
    };
    let listener = Client::connect(options(&format!("{word}l"))).expect("it can be");
    let all = Subscribe::new(word.clone()).qos(QoS::ExactlyOnce);
    let mut messages = listener.subscribe(all).await.expect("granted");

    leave_one_under_way(port, version, &word);
    let heir = Client::connect(options(&word).session(session)).expect("it can be");
    for payload in ["new", "two"] {
        let message = Publish::new(word.clone(), payload).qos(QoS::ExactlyOnce);
        let published = tokio::time::timeout(DEADLINE, heir.publish(message)).await;
        published.expect("an answer in time").expect("taken");
    }
    let mut came = Vec::new();
    while came.len() < 3 {
        let next = tokio::time::timeout(DEADLINE, messages.next()).await;
        let message = next.unwrap_or_else(|_| panic!("only {came:?} in {version}"));
        let payload = message.expect("the client goes on").payload().to_vec();
        came.push(String::from_utf8(payload).expect("text"));
    }
    assert_eq!(came, ["old", "new", "two"], "{version}");
    heir.disconnect().await.expect("it can be");
    listener.disconnect().await.expect("it can be");
}

/// An earlier process: it publishes with identifier 1, hears PUBREC, and is gone before PUBREL.
fn leave_one_under_way(port: u16, version: ProtocolVersion, word: &str) {
    let is_5 = version == ProtocolVersion::V5;
    let mut peer = TcpStream::connect(("127.0.0.1", port)).expect("a broker");
    peer.set_read_timeout(Some(DEADLINE)).expect("it can be");
    let mut connect = b"\x00\x04MQTT".to_vec();
    connect.extend([if is_5 { 5 } else { 4 }, 0, 0, 60]);
    if is_5 {
        connect.extend([5, 0x11, 0, 0, 1, 44]);
    }
    connect.extend(text(word));
    send(&mut peer, 0x10, &connect);
    assert_eq!(hear(&mut peer)[0], 0x20);
    let mut publish = text(word);
    publish.extend([0, 1]);
    if is_5 {
        publish.push(0);
    }
    publish.extend(b"old");
    send(&mut peer, 0x34, &publish);
    assert_eq!(hear(&mut peer)[..4], [0x50, 2, 0, 1]);
}

fn text(word: &str) -> Vec<u8> {
    let mut bytes = vec![0, u8::try_from(word.len()).expect("short")];
    bytes.extend(word.as_bytes());
    bytes
}

fn send(peer: &mut TcpStream, first: u8, body: &[u8]) {
    let mut packet = vec![first, u8::try_from(body.len()).expect("short")];
    packet.extend(body);
    peer.write_all(&packet).expect("it can be");
}

fn hear(peer: &mut TcpStream) -> Vec<u8> {
    let mut packet = vec![0; 2];
    peer.read_exact(&mut packet).expect("a packet");
    let mut body = vec![0; packet[1].into()];
    peer.read_exact(&mut body).expect("its body");
    packet.extend(body);
    packet
}
