//! WebSocket and Unix sockets, with the server's end in the test's hand: the upgrade and its refusals,
//! packets across frames and several in one, control frames in between, and how it ends.

use std::time::Duration;

use noctule_client::{
    Client, ClientOptions, Error, Event, Publish, QoS, Reason, Reconnect, Subscribe,
};
use noctule_ws::{CloseCode, Conversation, End, FrameHeader, Opcode, head_end, read_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use crate::peer::{accept, accept_connect, listener, read_packet, reconnect_reason, soon};

/// The server's end of a connection.
struct Server {
    stream: TcpStream,
    conversation: Conversation,
    /// What came in frames and was not looked at.
    said: Vec<u8>,
    end: Option<End>,
}

impl Server {
    /// The head of the request for an upgrade.
    async fn read_head(stream: &mut TcpStream) -> Vec<u8> {
        let mut head = Vec::new();
        while head_end(&head, 0).is_none() {
            head.push(soon("a request", stream.read_u8()).await.expect("the client writes"));
        }
        head
    }

    /// Accepts and upgrades, with `first` right behind the answer.
    async fn upgrade(listener: &TcpListener, first: &[u8]) -> Self {
        let mut stream = accept(listener).await;
        let head = Self::read_head(&mut stream).await;
        let request = read_request(&head).expect("a fine request");
        assert_eq!(request.target, "/mqtt");
        let answer = [&request.response(), first].concat();
        stream.write_all(&answer).await.expect("the client reads");
        let conversation = Conversation::server(1 << 20);
        Self { stream, conversation, said: Vec::new(), end: None }
    }

    /// Reads until that many bytes of payload are there, and takes them.
    async fn hear(&mut self, count: usize) -> Vec<u8> {
        while self.said.len() < count {
            assert!(self.read().await, "the client is gone");
        }
        self.said.drain(..count).collect()
    }

    /// One packet with a length below 2 MiB.
    async fn packet(&mut self) -> Vec<u8> {
        let mut packet = self.hear(2).await;
        let mut length = usize::from(packet[1] & 0x7f);
        let mut shift = 7;
        while packet[packet.len() - 1] & 0x80 != 0 {
            packet.extend(self.hear(1).await);
            length |= usize::from(packet[packet.len() - 1] & 0x7f) << shift;
            shift += 7;
        }
        packet.extend(self.hear(length).await);
        packet
    }

    /// Reads something; false at the end of the connection.
    async fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let read = soon("a frame", self.stream.read(&mut buffer)).await.unwrap_or(0);
        let taken = self.conversation.take_in(&mut buffer[..read]);
        self.said.extend_from_slice(&buffer[..taken.payload]);
        self.end = self.end.or(taken.end);
        read > 0
    }

    async fn say(&mut self, opcode: Opcode, payload: &[u8]) {
        let frame = frame(opcode, payload);
        self.stream.write_all(&frame).await.expect("the client reads");
    }
}

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader::new(opcode, payload.len() as u64, None);
    [header.as_bytes(), payload].concat()
}

const CONNACK: &[u8] = &[0x20, 3, 0, 0, 0];

#[tokio::test] // [MQTT3-6.0.0-1] [MQTT3-6.0.0-2] [MQTT3-6.0.0-3] [MQTT5-6.0.0-1] [MQTT5-6.0.0-2] [MQTT5-6.0.0-3]
async fn packets_and_frames_do_not_begin_together() {
    let (listener, options) = listener().await;
    let client = Client::connect(options.web_socket("/mqtt")).unwrap();
    // A part of CONNACK comes together with the answer to the upgrade.
    let mut server = Server::upgrade(&listener, &frame(Opcode::Binary, &CONNACK[..2])).await;
    assert_eq!(server.packet().await[0], 0x10);
    server.say(Opcode::Ping, b"well?").await;
    for byte in &CONNACK[2..] {
        server.say(Opcode::Binary, &[*byte]).await;
    }
    server.say(Opcode::Binary, b"").await;
    soon("CONNACK", client.wait_until_connected()).await.unwrap();

    let mut messages = {
        let subscribing = client.subscribe(Subscribe::new("a"));
        let answering = async {
            let subscribe = server.packet().await;
            // SUBACK and two messages in one frame, and a third that begins in it.
            let suback = [0x90, 4, subscribe[2], subscribe[3], 0, 0];
            let large = [&[0x30, 0xf4, 0x03, 0, 1, b'a', 0][..], &[b'x'; 496]].concat();
            let all =
                [&suback[..], b"\x30\x05\x00\x01a\x001\x30\x05\x00\x01a\x002", &large].concat();
            let (first, rest) = all.split_at(100);
            server.say(Opcode::Binary, first).await;
            server.say(Opcode::Pong, b"unasked").await;
            for piece in rest.chunks(7) {
                server.say(Opcode::Binary, piece).await;
            }
        };
        let (messages, ()) = tokio::join!(subscribing, answering);
        messages.unwrap()
    };
    for length in [1, 1, 496] {
        let message = soon("a message", messages.next()).await.unwrap();
        assert_eq!(message.payload().len(), length);
    }

    let large: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
    client.publish(Publish::new("b", large.clone())).await.unwrap();
    let packet = server.packet().await;
    assert!(packet.ends_with(&large) && packet[0] == 0x30);
    let last = Publish::new("c", "last").qos(QoS::AtMostOnce);
    let last = client.publish_later(last).await.unwrap();
    let (left, ()) = tokio::join!(client.disconnect(), async {
        assert!(server.packet().await.ends_with(b"last"));
        assert_eq!(server.packet().await[0], 0xe0, "DISCONNECT");
        while server.read().await && server.end.is_none() {}
        server.stream.shutdown().await.unwrap();
    });
    left.unwrap();
    last.await.unwrap();
    assert_eq!(server.end, Some(End::Closed(Some(CloseCode::NORMAL))));
}

#[tokio::test]
async fn pings_are_answered_while_nothing_else_is_said() {
    let (listener, options) = listener().await;
    let client = Client::connect(options.web_socket("/mqtt")).unwrap();
    let mut server = Server::upgrade(&listener, b"").await;
    server.packet().await;
    server.say(Opcode::Binary, CONNACK).await;
    soon("CONNACK", client.wait_until_connected()).await.unwrap();
    for word in [&b"one"[..], b"", &[7; 125]] {
        server.say(Opcode::Ping, word).await;
        // Opcode, length with a mask, key.
        let mut pong = vec![0; 6 + word.len()];
        soon("a pong", server.stream.read_exact(&mut pong)).await.unwrap();
        assert_eq!(pong[..2], [0x8a, 0x80 | word.len() as u8]);
        let unmasked: Vec<_> =
            pong[6..].iter().enumerate().map(|(at, byte)| byte ^ pong[2 + at % 4]).collect();
        assert_eq!(unmasked, word);
    }
    drop(server);
    client.disconnect().await.unwrap();
}

/// Answers a request for an upgrade with these bytes.
async fn answer(listener: &TcpListener, bytes: &[u8]) {
    let mut stream = accept(listener).await;
    Server::read_head(&mut stream).await;
    stream.write_all(bytes).await.expect("the client reads");
    stream.shutdown().await.expect("the loopback works");
    // Until the client has read it.
    let _ = soon("the end", stream.read(&mut [0])).await;
}

#[tokio::test]
async fn a_server_in_trouble_is_tried_again_with_a_clear_reason() {
    let (listener, options) = listener().await;
    let client = Client::prepare(options.web_socket("/mqtt")).unwrap();
    let mut events = client.events();
    client.start();
    for (bytes, words) in [
        (&b"HTTP/1.1 503 Service Unavailable\r\n\r\n"[..], "HTTP 503 Service Unavailable"),
        (b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n\r\n", "HTTP 429"),
        (b"", "closed the connection when WebSocket was asked for"),
        (b"HTTP/1.1 101", "closed the connection when WebSocket was asked for"),
    ] {
        answer(&listener, bytes).await;
        let reason = reconnect_reason(&mut events).await;
        assert!(reason.contains(words), "{reason}");
    }
    client.disconnect().await.unwrap();
}

#[tokio::test] // [MQTT3-6.0.0-3] [MQTT5-6.0.0-3]
async fn a_server_that_has_no_web_socket_for_us_is_left_for_good() {
    let not_ours = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: AAAA\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
    for (bytes, words) in [
        (&b"HTTP/1.1 404 Not Found\r\n\r\n"[..], "HTTP 404 Not Found"),
        (b"HTTP/1.1 301 Moved\r\nLocation: /x\r\n\r\n", "HTTP 301"),
        (not_ours.as_bytes(), "has not understood"),
        (b"\x20\x02\x00\x01", "does not answer in HTTP/1.1"),
        (&[b"HTTP/1.1 ".as_slice(), &[b'x'; 20_000]].concat(), "too large"),
    ] {
        let (listener, options) = listener().await;
        let client = Client::connect(options.web_socket("/mqtt")).unwrap();
        answer(&listener, bytes).await;
        let error = soon("the end", client.wait_until_connected()).await.unwrap_err();
        let Error::Ended(reason) = &error else { panic!("{error}") };
        assert!(matches!(**reason, Reason::Upgrade { .. }) && !reason.may_heal(), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_breaks_the_rules_is_told_so_and_left() {
    let (listener, options) = listener().await;
    let client = Client::prepare(options.web_socket("/mqtt")).unwrap();
    let mut events = client.events();
    client.start();
    for (bytes, words, code) in [
        (frame(Opcode::Text, b"hello"), "text frame", Some(CloseCode::UNSUPPORTED_DATA)),
        (vec![0xc2, 0], "reserved bits", Some(CloseCode::PROTOCOL_ERROR)),
        (vec![0x82, 0x80, 1, 2, 3, 4], "with a mask", Some(CloseCode::PROTOCOL_ERROR)),
        (frame(Opcode::Close, &1009_u16.to_be_bytes()), "code 1009", CloseCode::new(1009)),
        (
            frame(Opcode::Close, &1000_u16.to_be_bytes()),
            "closed the connection",
            CloseCode::new(1000),
        ),
        (frame(Opcode::Close, b""), "closed the connection", None),
    ] {
        let mut server = Server::upgrade(&listener, b"").await;
        server.packet().await;
        server.say(Opcode::Binary, CONNACK).await;
        server.stream.write_all(&bytes).await.unwrap();
        let reason = reconnect_reason(&mut events).await;
        assert!(reason.contains(words), "{reason}");
        while server.read().await && server.end.is_none() {}
        assert_eq!(server.end, Some(End::Closed(code)), "{words}");
    }
    client.disconnect().await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let (listener, options) = listener().await;
    let patience = Duration::from_millis(50);
    let client = Client::prepare(options.web_socket("/mqtt").connect_timeout(patience)).unwrap();
    let mut events = client.events();
    client.start();
    let _silent = accept(&listener).await;
    assert_eq!(reconnect_reason(&mut events).await, "no connection from the broker within 50ms");
    client.disconnect().await.unwrap();
}

#[tokio::test]
async fn a_unix_socket_is_a_way_in_as_any_other() {
    let path = std::env::temp_dir().join(format!("noctule-client-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let options = ClientOptions::unix(&path).reconnect(Reconnect::every(Duration::from_millis(1)));
    let client = Client::prepare(options).unwrap();
    let mut events = client.events();
    client.start();
    let reason = reconnect_reason(&mut events).await;
    let there = format!("cannot connect to unix:{}", path.display());
    assert!(reason.starts_with(&there), "{reason}");
    let listener = UnixListener::bind(&path).unwrap();
    let (mut stream, _) = soon("a connection", listener.accept()).await.unwrap();
    accept_connect(&mut stream).await;
    soon("CONNACK", client.wait_until_connected()).await.unwrap();
    client.publish(Publish::new("a", "x")).await.unwrap();
    assert_eq!(read_packet(&mut stream).await[0], 0x30);
    drop(stream);
    loop {
        match soon("an event", events.next()).await {
            Some(Event::Disconnected(reason)) => break assert_eq!(*reason, Reason::Closed),
            Some(_) => {}
            None => panic!("the events ended"),
        }
    }
    client.disconnect().await.unwrap();
    std::fs::remove_file(&path).unwrap();
}
