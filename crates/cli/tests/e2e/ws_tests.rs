//! MQTT over WebSocket, as a raw client sees it byte for byte.

use std::io::{Read, Write};

use rustix::process::Signal;

use crate::broker::Broker;
use crate::mosquitto::{Subscriber, message, publish};
use crate::ws_client::{BINARY, CLOSE, PING, PONG, WsClient, frame, request};

const WS: [&str; 2] = ["--ws-port", "0"];

fn broker(flags: &[&str]) -> Broker {
    Broker::ours(&[&WS, flags].concat())
}

/// A client whose CONNECT was accepted.
fn client(broker: &Broker, id: &str) -> WsClient {
    let mut client = WsClient::new(&broker.ws_port());
    client.send(&connect(4, &broker.id(id)));
    assert_eq!(client.receive(4), CONNACK);
    client
}

#[test] // [MQTT5-6.0.0-2] [MQTT3-6.0.0-2]
fn packets_and_frames_need_not_begin_together() {
    let broker = broker(&[]);
    let topic = broker.topic("t");
    let packets =
        [connect(4, &broker.id("a")), subscribe(&topic), publish_once(&topic, b"x")].concat();
    let answers = [&CONNACK[..], &SUBACK, &publish_once(&topic, b"x")].concat();
    for frame_bytes in [1, 2, 5, 13, packets.len()] {
        let mut client = WsClient::new(&broker.ws_port());
        for piece in packets.chunks(frame_bytes) {
            client.send(piece);
        }
        assert_eq!(client.receive(answers.len()), answers, "frames of {frame_bytes}");
    }
    // As one message in many frames, with a ping in the middle.
    let mut client = WsClient::new(&broker.ws_port());
    let (first, rest) = packets.split_at(20);
    client.send_raw(&frame(0x02, first));
    client.send_raw(&frame(PING, b"between"));
    assert_eq!(client.receive_frame(), (PONG, b"between".to_vec()));
    client.send_raw(&frame(0x80, rest));
    assert_eq!(client.receive(answers.len()), answers);
}

#[test]
fn a_connection_moves_to_its_session_in_the_middle_of_a_frame() {
    for loops in ["1", "2", "8"] {
        let broker = broker(&["--shards", loops]);
        let topic = broker.topic("t");
        // Whatever the number of loops, some of these sessions live on another one.
        for number in 0..12 {
            let packets = [connect(4, &broker.id(&number.to_string())), subscribe(&topic)].concat();
            let connect_bytes = packets.len() - subscribe(&topic).len();
            let bytes = frame(BINARY, &packets);
            // In the header of the frame behind, or in this one behind CONNECT.
            let (first, rest) = if number % 2 == 0 {
                bytes.split_at(6 + connect_bytes + 3)
            } else {
                bytes.split_at(bytes.len())
            };
            let behind = frame(BINARY, &publish_once(&topic, &[number; 200]));
            let mut client = WsClient::new(&broker.ws_port());
            client.send_raw(first);
            if number % 2 == 1 {
                client.send_raw(&behind[..5]);
            }
            assert_eq!(client.receive(4), CONNACK, "client {number} of {loops}");
            // It has moved by now, or is about to.
            client.send_raw(rest);
            client.send_raw(if number % 2 == 1 { &behind[5..] } else { &behind });
            assert_eq!(client.receive(5), SUBACK);
            let expected = publish_once(&topic, &[number; 200]);
            assert!(client.receive(expected.len()) == expected, "client {number} of {loops}");
        }
    }
}

#[test]
fn clients_by_websocket_and_without_talk_to_each_other() {
    let broker = broker(&[]);
    let topic = broker.topic("t");
    let plain = Subscriber::start(&broker, "mqttv5", &["-q", "1", "-t", &topic]);
    let mut web = client(&broker, "web");
    web.send(&subscribe(&topic));
    assert_eq!(web.receive(5), SUBACK);
    publish(&broker, "mqttv311", &["-q", "1", "-t", &topic, "-m", "from plain"]);
    let expected = publish_once(&topic, b"from plain");
    assert_eq!(web.receive(expected.len()), expected);
    assert_eq!(plain.next(), message(&topic, 1, false, "from plain"));
    web.send(&publish_once(&topic, b"from the web"));
    assert_eq!(plain.next(), message(&topic, 0, false, "from the web"));
}

#[test]
fn what_leaves_together_is_one_frame() {
    let broker = broker(&["--shards", "1"]);
    let topic = broker.topic("t");
    let mut subscriber = client(&broker, "s");
    subscriber.send(&subscribe(&topic));
    subscriber.receive(5);
    let mut publisher = client(&broker, "p");
    let eight: Vec<u8> = (0..8).flat_map(|number| publish_once(&topic, &[number; 10])).collect();
    publisher.send(&eight);
    assert_eq!(subscriber.receive_frame(), (BINARY, eight));
    // A large payload leaves from where it lies, in the frame of its header.
    let large = publish_once(&topic, &[7; 100_000]);
    publisher.send(&large);
    let mut received = Vec::new();
    let mut frames = 0;
    while received.len() < large.len() {
        received.extend(subscriber.receive_frame().1);
        frames += 1;
    }
    assert!(received == large && frames <= 2, "{frames} frames");
}

#[test]
fn a_reader_that_stalls_gets_everything_in_order_and_its_pings_answered() {
    let broker = broker(&[]);
    let topic = broker.topic("slow");
    let mut subscriber = client(&broker, "s");
    let mut subscribing = subscribe(&topic);
    *subscribing.last_mut().unwrap() = 1;
    subscriber.send(&subscribing);
    subscriber.receive(5);
    let mut publisher = client(&broker, "p");
    let payload = |number: u32| [&number.to_be_bytes()[..], &[b'x'; 10_000]].concat();
    for number in 0..300 {
        publisher.send(&publish_acknowledged(&topic, &payload(number)));
        assert_eq!(publisher.receive(4), [0x40, 2, 0, 2]);
    }
    subscriber.send_raw(&frame(PING, b"in the middle"));
    let (mut bytes, mut pongs) = (Vec::new(), 0);
    let expected = publish_acknowledged(&topic, &payload(0)).len();
    while bytes.len() < 300 * expected || pongs == 0 {
        match subscriber.receive_frame() {
            (BINARY, payload) => bytes.extend(payload),
            other => {
                assert_eq!(other, (PONG, b"in the middle".to_vec()));
                pongs += 1;
            }
        }
    }
    for (number, packet) in bytes.chunks(expected).enumerate() {
        assert_eq!(packet[0] & 0xf6, 0x32);
        assert!(packet[expected - 10_004..] == payload(number as u32), "number {number}");
    }
}

#[test]
fn a_greeting_comes_by_websocket_as_it_does_without() {
    let broker = broker(&["--hello", "always"]);
    let id = broker.id("greeted");
    let mut client = client(&broker, "greeted");
    let hello = publish_once(&format!("$SYS/broker/connection/{id}"), b"HELLO");
    assert_eq!(client.receive(hello.len()), hello);
}

#[test]
fn a_will_is_sent_when_the_frames_end_and_not_when_mqtt_did() {
    let broker = broker(&[]);
    let topic = broker.topic("will");
    let subscriber = Subscriber::start(&broker, "mqttv311", &["-t", &topic]);
    let with_will = |id: &str, words: &str| {
        let mut client = WsClient::new(&broker.ws_port());
        client.send(&connect_with_will(&broker.id(id), &topic, words));
        assert_eq!(client.receive(4), CONNACK);
        client
    };
    let mut polite = with_will("a", "never");
    polite.send(&[0xe0, 0]);
    // Who has said DISCONNECT is told goodbye.
    assert_eq!(polite.receive_frame(), (CLOSE, vec![3, 232]));
    let mut closing = with_will("b", "closed");
    closing.send_raw(&frame(CLOSE, &[3, 233]));
    assert_eq!(closing.receive_frame(), (CLOSE, vec![3, 233]));
    assert_eq!(subscriber.next(), message(&topic, 0, false, "closed"));
    let mut wrong = with_will("c", "wrong");
    wrong.send_raw(&frame(0x81, b"text"));
    assert_eq!(wrong.closed(), 1003);
    assert_eq!(subscriber.next(), message(&topic, 0, false, "wrong"));
    drop(with_will("d", "gone"));
    assert_eq!(subscriber.next(), message(&topic, 0, false, "gone"));
}

#[test]
fn a_broker_that_stops_says_so_in_mqtt_and_in_websocket() {
    let broker = broker(&[]);
    let mut client = WsClient::new(&broker.ws_port());
    client.send(&connect(5, &broker.id("a")));
    let connack = client.receive_frame().1;
    assert_eq!(connack[0], 0x20);
    broker.program().signal(Signal::TERM);
    let (first, goodbye) = client.receive_frame();
    assert_eq!((first, goodbye[0], goodbye[2]), (BINARY, 0xe0, 0x8b), "Server shutting down");
    assert_eq!(client.receive_frame(), (CLOSE, vec![3, 232]));
    drop(client);
    broker.ended().0.well();
}

#[test]
fn the_log_and_the_statistics_name_websocket() {
    let broker = broker(&["--verbose", "--sys-interval", "1s"]);
    let mut client = client(&broker, "named");
    let words = ["connected", "transport=\"WebSocket\"", &broker.id("named")];
    broker.program().expect_complaint(&words);
    let topic = "$SYS/broker/transport/websocket/connections/now";
    client.send(&subscribe(topic));
    client.receive(5);
    let one = publish_once(topic, b"1");
    // What was before is retained; it is brought up to date every second.
    while client.receive(one.len())[1..] != one[1..] {}
}

#[test]
fn pages_of_this_machine_may_connect_and_others_if_they_are_listed() {
    let status = |broker: &Broker, origin: &str| {
        let mut client = WsClient::silent(&broker.ws_port());
        client.send_raw(request(&format!("Origin: {origin}\r\n")).as_bytes());
        client.answer().0
    };
    let local = broker(&[]);
    assert_eq!(status(&local, "http://localhost:3000"), 101);
    assert_eq!(status(&local, "http://127.0.0.1"), 101);
    assert_eq!(status(&local, "https://evil.example"), 403);
    assert_eq!(status(&local, "null"), 403);
    local.program().expect_complaint(&["refused an upgrade", "(403)", "see `ws_origins`"]);
    let listed = broker(&["--ws-origins", "https://a.example,null"]);
    assert_eq!(status(&listed, "https://a.example"), 101);
    assert_eq!(status(&listed, "null"), 101);
    assert_eq!(status(&listed, "http://localhost:3000"), 403);
    let any = broker(&["--ws-origins", "any"]);
    assert_eq!(status(&any, "https://evil.example"), 101);
    let open = broker(&["--bind", "0.0.0.0", "--allow-anonymous"]);
    assert_eq!(status(&open, "https://evil.example"), 101);
}

#[test]
fn a_proxy_is_believed_if_it_is_listed() {
    let forwarded = "X-Forwarded-For: 6.6.6.6, 192.0.2.9\r\n";
    let connack = |broker: &Broker, fields: &str| {
        let mut client = WsClient::asking(&broker.ws_port(), &request(fields));
        client.send(&connect(4, &broker.id("a")));
        client.receive(4)
    };
    let trusting = broker(&["--verbose", "--ws-proxies", "127.0.0.1", "--allow-anonymous"]);
    assert_eq!(connack(&trusting, forwarded), CONNACK);
    trusting.program().expect_complaint(&["connected", "peer=\"192.0.2.9:0\""]);
    assert_eq!(connack(&trusting, ""), CONNACK);
    trusting.program().expect_complaint(&["connected", "peer=\"unknown,behind=127.0.0.1\""]);
    // Who does not say who it is may connect from this machine: not if it comes from elsewhere, be that
    // believed or not.
    let refused = [0x20, 2, 0, 5];
    let closed = broker(&["--verbose"]);
    assert_eq!(connack(&closed, ""), CONNACK);
    assert_eq!(connack(&closed, forwarded), refused);
    closed.program().expect_complaint(&["disconnected", "peer=\"unknown,behind=127.0.0.1\""]);
    let proxied = broker(&["--ws-proxies", "127.0.0.0/8"]);
    assert_eq!(connack(&proxied, forwarded), refused);
    assert_eq!(connack(&proxied, ""), refused);
    assert_eq!(
        connack(&proxied, "X-Forwarded-For: 127.0.0.2\r\n"),
        refused,
        "a loopback address of somebody's"
    );
}

#[test]
fn connections_count_for_the_address_that_a_proxy_says() {
    let flags = ["--ws-proxies", "127.0.0.1", "--allow-anonymous", "--verbose"];
    let broker = broker(&[&flags[..], &["--connections-per-address-max", "1"]].concat());
    let come = |from: u8| {
        let fields = format!("X-Forwarded-For: 192.0.2.{from}\r\n");
        let mut client = WsClient::asking(&broker.ws_port(), &request(&fields));
        client.send(&connect(4, &broker.id(&from.to_string())));
        (client.receive(4)[3], client)
    };
    let (first, held) = come(1);
    let (second, _other) = come(2);
    assert_eq!((first, second), (0, 0), "two addresses behind one proxy");
    assert_eq!(come(1).0, 3, "one address twice");
    drop(held);
    broker.program().expect_complaint(&["disconnected", "peer=\"192.0.2.1:0\"", "client_id"]);
    assert_eq!(come(1).0, 0, "it has left");
}

#[test]
fn a_listener_of_the_file_may_be_websocket_on_a_unix_socket_too() {
    let room = crate::room::Room::new();
    let file = room.path().join("n.toml");
    let text = "[[listener]]\nport = 0\n[[listener]]\nname = \"web\"\ntransport = \"ws\"\nport = 0\n\
                [[listener]]\ntransport = \"ws\"\nunix = \"web.sock\"\n";
    std::fs::write(&file, text).unwrap();
    let broker = Broker::through("exec \"$0\" \"$@\"", &["--config", file.to_str().unwrap()]);
    let mut client = client(&broker, "a");
    let topic = broker.topic("t");
    client.send(&subscribe(&topic));
    client.receive(5);
    let mut local = std::os::unix::net::UnixStream::connect(broker.path("web.sock")).unwrap();
    local.set_read_timeout(Some(crate::program::DEADLINE)).unwrap();
    let packets = [connect(4, &broker.id("b")), publish_once(&topic, b"x")].concat();
    local.write_all(&[request("").as_bytes(), &frame(BINARY, &packets)].concat()).unwrap();
    let mut answer = [0; 12];
    local.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    let expected = publish_once(&topic, b"x");
    assert_eq!(client.receive(expected.len()), expected);
}

const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
const SUBACK: [u8; 5] = [0x90, 3, 0, 1, 0];

/// CONNECT of this level with a clean session and no keep-alive.
fn connect(level: u8, id: &str) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', level, 2, 0, 0];
    if level == 5 {
        body.push(0);
    }
    push_text(&mut body, id.as_bytes());
    packet(0x10, &body)
}

fn connect_with_will(id: &str, topic: &str, words: &str) -> Vec<u8> {
    let mut body = b"\0\x04MQTT\x04\x06\0\0".to_vec();
    for text in [id, topic, words] {
        push_text(&mut body, text.as_bytes());
    }
    packet(0x10, &body)
}

/// SUBSCRIBE with packet id 1, QoS 0.
fn subscribe(filter: &str) -> Vec<u8> {
    let mut body = vec![0, 1];
    push_text(&mut body, filter.as_bytes());
    body.push(0);
    packet(0x82, &body)
}

/// PUBLISH at QoS 0.
fn publish_once(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    push_text(&mut body, topic.as_bytes());
    body.extend_from_slice(payload);
    packet(0x30, &body)
}

/// PUBLISH at QoS 1 with packet id 2.
fn publish_acknowledged(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    push_text(&mut body, topic.as_bytes());
    body.extend([0, 2]);
    body.extend_from_slice(payload);
    packet(0x32, &body)
}

fn push_text(body: &mut Vec<u8>, text: &[u8]) {
    body.extend((text.len() as u16).to_be_bytes());
    body.extend_from_slice(text);
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut left = body.len();
    loop {
        let more = if left > 127 { 0x80 } else { 0 };
        bytes.push((left % 128) as u8 | more);
        left /= 128;
        if left == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}
