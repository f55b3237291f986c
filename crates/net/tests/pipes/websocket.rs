//! WebSocket as a pipe: what a loop sees of it, over plain sockets and over TLS.

#[path = "../../../ws/tests/client_frame/mod.rs"]
mod client_frame;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;

use noctule_net::{Origins, Peer, Pipe, Source, WebSocketFailure, WebSocketRules};
use noctule_ws::{Refusal, Violation};

use crate::peers::{House, Served};
use client_frame::{BINARY, CLOSE, PING, frame};

const LIMIT: u64 = 100_000;
const PROXY: Source = Source::Address(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));

fn rules() -> Arc<WebSocketRules> {
    Arc::new(WebSocketRules {
        frame_bytes_max: LIMIT,
        stranger_bytes_max: 12_000,
        origins: Origins::Listed(vec!["https://example.org".to_owned()]),
        is_proxy: Box::new(|peer| peer.source() == PROXY),
    })
}

/// A raw client, and a pipe that waits for its request.
fn connect() -> (TcpStream, Served) {
    let (client, pipe) = House::new().plain();
    (client, Served::new(pipe.into_websocket(rules())))
}

fn request(fields: &str) -> String {
    format!(
        "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: mqtt\r\n{fields}\r\n"
    )
}

/// Reads the head of the answer.
fn read_head(client: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

/// Reads a frame of the server: its first byte and its payload.
fn read_frame(client: &mut impl Read) -> (u8, Vec<u8>) {
    let mut start = [0; 2];
    client.read_exact(&mut start).expect("a frame");
    let mut long = [0; 8];
    let length = match start[1] {
        126 => {
            client.read_exact(&mut long[6..]).expect("a length");
            u64::from_be_bytes(long)
        }
        127 => {
            client.read_exact(&mut long).expect("a length");
            u64::from_be_bytes(long)
        }
        short => short.into(),
    };
    let mut payload = vec![0; length as usize];
    client.read_exact(&mut payload).expect("payload");
    (start[0], payload)
}

/// Upgrades, and reads payload that came right behind the request.
fn upgraded() -> (TcpStream, Served) {
    let (mut client, mut served) = connect();
    client.write_all(&[request("").as_bytes(), &frame(BINARY, b"!")].concat()).expect("it can be");
    assert_eq!(served.read_exactly(1, 100), b"!");
    assert!(read_head(&mut client).starts_with("HTTP/1.1 101 "));
    (client, served)
}

#[track_caller]
fn failure(served: &mut Served) -> WebSocketFailure {
    loop {
        match served.read(65_536) {
            Ok(bytes) => assert!(!bytes.is_empty(), "an end, and no failure"),
            Err(error) => return *WebSocketFailure::of(&error).expect("one of WebSocket"),
        }
    }
}

#[test]
fn a_request_in_any_pieces_is_an_upgrade_and_what_is_behind_it_is_payload() {
    let bytes = [request("").as_bytes(), &frame(BINARY, b"hello"), &frame(BINARY, b"you")].concat();
    for step in [1, 7, 100, bytes.len() - 3, bytes.len()] {
        let (mut client, mut served) = connect();
        let bytes = bytes.clone();
        let talking = thread::spawn(move || {
            bytes.chunks(step).for_each(|piece| client.write_all(piece).unwrap());
            let head = read_head(&mut client);
            (client, head)
        });
        assert_eq!(served.read_exactly(8, 65_536), b"helloyou");
        let (_client, head) = talking.join().unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(served.pipe.is_websocket() && !served.pipe.is_encrypted());
    }
}

#[test]
fn frames_in_any_pieces_and_reads_of_any_size_are_one_stream() {
    let sent: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    for (frame_bytes, read_bytes) in [(1, 65_536), (100, 7), (1_000, 65_536), (90_000, 4_096)] {
        let (mut client, mut served) = upgraded();
        let payload = sent[..(frame_bytes * 3_000).min(sent.len())].to_vec();
        let expected = payload.clone();
        let talking = thread::spawn(move || {
            for (number, piece) in payload.chunks(frame_bytes).enumerate() {
                client.write_all(&frame(BINARY, piece)).unwrap();
                if number % 100 == 0 {
                    client.write_all(&frame(PING, b"still there")).unwrap();
                    assert_eq!(read_frame(&mut client), (0x8a, b"still there".to_vec()));
                }
            }
            client
        });
        assert_eq!(served.read_exactly(expected.len(), read_bytes), expected);
        talking.join().unwrap();
    }
}

#[test]
fn what_is_written_at_once_is_one_frame_whatever_it_is_made_of() {
    let (mut client, mut served) = upgraded();
    served.write_all(b"one piece");
    assert_eq!(read_frame(&mut client), (BINARY, b"one piece".to_vec()));
    assert_eq!(served.write_slices(&[b"many ", b"", b"pieces"]), 11);
    assert_eq!(read_frame(&mut client), (BINARY, b"many pieces".to_vec()));
    let many: Vec<&[u8]> = (0..300).map(|_| &b"ab"[..]).collect();
    assert_eq!(served.write_slices(&many), 600);
    assert_eq!(read_frame(&mut client), (BINARY, b"ab".repeat(300)));
}

#[test]
fn a_frame_that_does_not_fit_goes_on_and_answers_wait_for_its_end() {
    let (mut client, mut served) = upgraded();
    let sent: Vec<u8> = (0..30_000_000_u32).map(|at| (at % 249) as u8).collect();
    let taken = served.write_now(&sent);
    assert!(taken < sent.len(), "the socket takes it all");
    // A ping in the middle of a frame: its answer comes behind it.
    client.write_all(&[frame(PING, b"p"), frame(BINARY, b"x")].concat()).unwrap();
    assert_eq!(served.read_exactly(1, 100), b"x");
    let expected = sent.clone();
    let talking = thread::spawn(move || {
        let (mut all, mut pongs, mut frames) = (Vec::new(), 0, 0);
        while all.len() < expected.len() || pongs == 0 {
            match read_frame(&mut client) {
                (BINARY, payload) => all.extend(payload),
                other => {
                    assert_eq!(other, (0x8a, b"p".to_vec()));
                    pongs += 1;
                }
            }
            frames += 1;
        }
        assert!(all == expected, "the bytes are others");
        (pongs, frames)
    });
    served.write_all(&sent[taken..]);
    assert_eq!(talking.join().unwrap(), (1, 2), "a frame and a pong");
}

#[test]
fn a_pipe_can_move_to_another_loop_in_the_middle_of_a_frame() {
    let (mut client, mut served) = upgraded();
    let bytes = [frame(BINARY, b"abcdefgh"), frame(BINARY, b"ijkl")].concat();
    for split in 1..bytes.len() {
        client.write_all(&bytes[..split]).unwrap();
        // The headers have six bytes each.
        let payload_here = split.saturating_sub(6).min(8) + split.saturating_sub(20);
        if payload_here == 0 {
            served.look();
        }
        let mut all = served.read_exactly(payload_here, 100);
        served = Served::new(served.leave());
        client.write_all(&bytes[split..]).unwrap();
        all.extend(served.read_exactly(12 - payload_here, 100));
        assert_eq!(all, b"abcdefghijkl", "split at {split}");
    }
}

#[test]
fn a_refused_request_has_an_answer_and_is_told_apart() {
    let rows = [
        (request("Origin: https://evil.example\r\n"), Refusal::Origin),
        (request("Content-Length: 3\r\n"), Refusal::Body),
        (request(&format!("Cookie: {}\r\n", "a".repeat(9_000))), Refusal::HeadTooLarge),
        (request("").replace("mqtt\r\n", "chat\r\n"), Refusal::Subprotocol),
        (request("").replace("GET", "POST"), Refusal::Method),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Refusal::NotWebSocket),
        // Never whole: it is refused when it is too long.
        (format!("GET /{}", "a".repeat(10_000)), Refusal::HeadTooLarge),
    ];
    for (request, refusal) in rows {
        let (mut client, mut served) = connect();
        client.write_all(request.as_bytes()).unwrap();
        assert_eq!(failure(&mut served), WebSocketFailure::Refused(refusal));
        let head = read_head(&mut client);
        assert!(head.starts_with(&format!("HTTP/1.1 {} ", refusal.status())), "{head}");
        assert!(served.pipe.held() == 0, "a head is kept for nobody");
        // What is written to it goes nowhere, and nothing stops.
        assert_eq!(served.write_now(b"never seen"), 10);
        served.pipe.finish_writing();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        assert!(!rest.windows(5).any(|window| window == b"never"));
    }
}

#[test]
fn who_speaks_something_else_is_recognised_at_once_and_not_answered() {
    for first in [&b"\x10\x0e\0\x04MQTT"[..], b"\x16\x03\x01\x02\0", b"\0", b"get / "] {
        let (mut client, mut served) = connect();
        client.write_all(first).unwrap();
        let WebSocketFailure::NotHttp(bytes) = failure(&mut served) else {
            panic!("{first:?} was taken for HTTP");
        };
        assert_eq!(bytes.as_slice(), &first[..first.len().min(8)]);
        served.pipe.finish_writing();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert!(answer.is_empty());
    }
}

#[test]
fn pages_of_an_allowed_origin_and_programs_without_one_may_connect() {
    for field in ["", "Origin: https://example.org\r\n", "Origin: HTTPS://Example.org\r\n"] {
        let (mut client, mut served) = connect();
        client.write_all(request(field).as_bytes()).unwrap();
        client.write_all(&frame(BINARY, b"x")).unwrap();
        assert_eq!(served.read_exactly(1, 10), b"x", "{field}");
    }
}

#[test]
fn a_proxy_of_ours_says_whose_a_connection_is_and_others_say_that_it_is_not_theirs() {
    let address = |text: &str| Peer::Address(SocketAddr::new(text.parse().unwrap(), 0));
    let (proxy, other) = (address("10.0.0.1"), address("127.0.0.1"));
    let (hidden, other_hidden) = (Peer::Behind(PROXY), Peer::Behind(other.source()));
    for (fields, from_proxy, from_other) in [
        ("X-Forwarded-For: 6.6.6.6, 192.0.2.9, 10.0.0.1\r\n", address("192.0.2.9"), other_hidden),
        ("X-Forwarded-For: 127.0.0.1\r\n", hidden, other_hidden),
        ("", hidden, other),
    ] {
        let (mut client, mut served) = connect();
        client.write_all(request(fields).as_bytes()).unwrap();
        client.write_all(&frame(BINARY, b"x")).unwrap();
        assert_eq!(served.read_exactly(1, 10), b"x");
        assert_eq!(served.pipe.forwarded(proxy), from_proxy);
        assert_eq!(served.pipe.forwarded(other), from_other);
    }
}

#[test]
fn payload_from_before_a_violation_is_read_and_the_peer_is_told_why() {
    let (mut client, mut served) = upgraded();
    client.write_all(&[frame(BINARY, b"good"), frame(0x81, b"bad")].concat()).unwrap();
    assert_eq!(served.read_exactly(4, 100), b"good");
    assert_eq!(failure(&mut served), WebSocketFailure::Violated(Violation::Text));
    assert_eq!(read_frame(&mut client), (CLOSE, 1003_u16.to_be_bytes().to_vec()));
    served.pipe.finish_writing();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "one close frame is enough");
    drop(client);
    assert_eq!(served.read(100).unwrap(), b"", "and the end is the end");
}

#[test]
fn a_close_frame_is_answered_and_is_the_end() {
    let (mut client, mut served) = upgraded();
    client.write_all(&[frame(BINARY, b"x"), frame(CLOSE, &[3, 232])].concat()).unwrap();
    assert_eq!(served.read_exactly(1, 100), b"x");
    assert_eq!(served.read(100).unwrap(), b"");
    assert_eq!(read_frame(&mut client), (CLOSE, vec![3, 232]));
}

#[test]
fn a_goodbye_is_a_close_frame() {
    let (mut client, mut served) = upgraded();
    served.write_all(b"last words");
    served.pipe.finish_writing();
    assert_eq!(read_frame(&mut client), (BINARY, b"last words".to_vec()));
    assert_eq!(read_frame(&mut client), (CLOSE, vec![3, 232]));
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    client.write_all(&frame(CLOSE, &[3, 232])).unwrap();
    assert_eq!(served.read(100).unwrap(), b"", "its answer is the end");
}

#[test]
fn a_peer_that_ends_behind_a_frame_without_payload_is_noticed() {
    for last in [frame(PING, b""), frame(BINARY, b""), frame(0x8a, b"unasked")] {
        let (mut client, mut served) = upgraded();
        client.write_all(&last).unwrap();
        drop(client);
        assert_eq!(served.read(100).unwrap(), b"");
    }
}

#[test]
fn a_stranger_may_send_so_much_that_is_no_payload_and_somebody_known_more() {
    let pings: Vec<u8> = (0..300).flat_map(|_| frame(PING, &[0; 100])).collect();
    let (mut client, mut served) = upgraded();
    let flood = pings.clone();
    let sending = thread::spawn(move || {
        // It is closed in the middle of this.
        let _ = client.write_all(&flood);
        client
    });
    assert_eq!(failure(&mut served), WebSocketFailure::TooMuch);
    sending.join().unwrap();

    let (mut client, mut served) = upgraded();
    served.pipe.acquaint();
    let sending = thread::spawn(move || {
        client.write_all(&pings).unwrap();
        client.write_all(&frame(BINARY, b"x")).unwrap();
        client
    });
    assert_eq!(served.read_exactly(1, 1_000), b"x");
    assert!(served.pipe.held() < 4_096, "answers that nobody takes have an end");
    sending.join().unwrap();
}

#[test]
fn a_flood_without_payload_does_not_keep_a_loop_busy_for_ever() {
    let (mut client, mut served) = upgraded();
    served.pipe.acquaint();
    let mut bytes: Vec<u8> = (0..10_000).flat_map(|_| frame(BINARY, b"")).collect();
    bytes.extend(frame(BINARY, b"x"));
    let sending = thread::spawn(move || {
        client.write_all(&bytes).unwrap();
        client
    });
    // A read looks at no more than its buffer has room for, and says that there is more.
    let mut buffer = [0; 100];
    let mut returned = 0;
    loop {
        match served.pipe.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                returned += usize::from(served.pipe.holds_input());
            }
            other => {
                assert_eq!(other.unwrap(), 1);
                break;
            }
        }
    }
    // 60,000 bytes are 600 buffers; of some there was less.
    assert!(returned > 100, "it returned {returned} times");
    sending.join().unwrap();
}

#[test]
fn over_tls_it_is_the_same() {
    let house = House::new();
    let (mut client, served) = house.connect(&house.config());
    let pipe: Pipe = served.leave().into_websocket(rules());
    assert!(pipe.is_encrypted());
    let mut served = Served::new(pipe);
    let sent: Vec<u8> = (0..500_000_u32).map(|at| (at % 241) as u8).collect();
    let expected = sent.clone();
    let talking = thread::spawn(move || {
        client.write_all(request("").as_bytes()).unwrap();
        client.flush().unwrap();
        assert!(read_head(&mut client).starts_with("HTTP/1.1 101 "));
        for (number, piece) in sent.chunks(50_000).enumerate() {
            if number == 5 {
                client.write_all(&frame(PING, b"p")).unwrap();
            }
            client.write_all(&frame(BINARY, piece)).unwrap();
        }
        client.flush().unwrap();
        assert_eq!(read_frame(&mut client), (0x8a, b"p".to_vec()));
        let mut all = Vec::new();
        while all.len() < sent.len() {
            let (first, payload) = read_frame(&mut client);
            assert_eq!(first, BINARY);
            all.extend(payload);
        }
        assert!(all == sent, "the bytes are others");
        assert_eq!(read_frame(&mut client), (CLOSE, vec![3, 232]));
    });
    assert!(served.read_exactly(expected.len(), 65_536) == expected, "the bytes are others");
    assert!(served.pipe.tls_facts().is_some());
    served.write_all(&expected);
    served.pipe.finish_writing();
    talking.join().unwrap();
}
