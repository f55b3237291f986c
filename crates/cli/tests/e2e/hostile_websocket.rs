//! Strangers by WebSocket: requests and frames that are none, and those that come and say nothing.

use std::io::Write;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Bystanders, Target, connect, publish, wait_until};
use crate::program::DEADLINE;
use crate::ws_client::{BINARY, CLOSE, PING, TEXT, WsClient, frame, request};

const WS: [&str; 2] = ["--ws-port", "0"];

#[test]
fn frames_against_the_rules_are_answered_with_their_code_and_others_do_not_notice() {
    let target = Target::start(&[&WS[..], &["--packet-bytes-max", "1000"]].concat());
    let mut bystanders = Bystanders::of(&target);
    let unmasked = vec![BINARY, 1, b'x'];
    let rows: &[(&str, Vec<u8>, u16)] = &[
        ("text", frame(TEXT, b"hello"), 1003),
        ("text in pieces", frame(0x01, b"hello"), 1003),
        ("reserved bit 1", frame(BINARY | 0x40, b"x"), 1002),
        ("reserved bit 2", frame(BINARY | 0x20, b"x"), 1002),
        ("reserved bit 3", frame(BINARY | 0x10, b"x"), 1002),
        ("opcode 3", frame(0x83, b"x"), 1002),
        ("opcode 15", frame(0x8f, b""), 1002),
        ("no mask", unmasked, 1002),
        ("a ping in pieces", frame(0x09, b"x"), 1002),
        ("a close frame in pieces", frame(0x08, &[3, 232]), 1002),
        ("a long ping", frame(PING, &[0; 126]), 1002),
        ("nothing to continue", frame(0x80, b"x"), 1002),
        ("a message in a message", [frame(0x02, b""), frame(BINARY, b"x")].concat(), 1002),
        ("a length in too many bytes", vec![BINARY, 0xfe, 0, 5, 0, 0, 0, 0], 1002),
        ("half a close code", frame(CLOSE, &[3]), 1002),
        ("a close code that is not for frames", frame(CLOSE, &1006_u16.to_be_bytes()), 1002),
        ("a reason that is no text", frame(CLOSE, b"\x03\xe8\xff"), 1007),
        ("a frame over the limit", frame(BINARY, &[0; 1_001]), 1009),
        (
            "a frame that claims everything",
            vec![BINARY, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
            1009,
        ),
    ];
    for (what, bytes, code) in rows {
        // At once, and by a client that was accepted.
        for accepted in [false, true] {
            let mut client = WsClient::new(&target.web());
            if accepted {
                client.send(&connect(4, "wrong", true));
                assert_eq!(client.receive(4), [0x20, 2, 0, 0]);
            }
            client.send_raw(bytes);
            assert_eq!(client.closed(), *code, "{what}, accepted: {accepted}");
        }
        bystanders.talk();
    }
    target.end();
}

#[test]
fn requests_that_are_none_are_answered_with_their_status() {
    let target = Target::start(&WS);
    let mut bystanders = Bystanders::of(&target);
    let rows: &[(&str, String, u16)] = &[
        ("no upgrade", "GET / HTTP/1.1\r\nHost: a\r\n\r\n".into(), 426),
        ("an old version", request("").replace(": 13", ": 8"), 426),
        ("no subprotocol", request("").replace("Sec-WebSocket-Protocol: mqtt\r\n", ""), 400),
        ("a wrong subprotocol", request("").replace(": mqtt", ": chat"), 400),
        ("no key", request("").replace("dGhlIHNhbXBsZSBub25jZQ==", "?"), 400),
        ("no host", request("").replace("Host: localhost\r\n", ""), 400),
        ("HTTP/1.0", request("").replace("HTTP/1.1", "HTTP/1.0"), 400),
        ("POST", request("").replace("GET", "POST"), 405),
        ("a body", request("Content-Length: 10\r\n"), 413),
        ("a body in chunks", request("Transfer-Encoding: chunked\r\n"), 413),
        ("a large head", request(&format!("Cookie: {}\r\n", "a".repeat(9_000))), 431),
        (
            "many fields",
            request(&(0..70).map(|n| format!("X-{n}: a\r\n")).collect::<String>()),
            431,
        ),
        ("a head without an end", format!("GET /{}", "a".repeat(9_000)), 431),
        ("a folded field", request("A: b\r\n c\r\n"), 400),
        ("a line end that is half", request("A: b\nC: d\r\n"), 400),
    ];
    for (what, bytes, status) in rows {
        let mut client = WsClient::silent(&target.web());
        client.send_raw(bytes.as_bytes());
        assert_eq!(client.answer().0, *status, "{what}");
        // The rest is the body of the answer, and the end.
        assert!(client.rest().len() < 200, "{what}");
        bystanders.talk();
    }
    target.end();
}

#[test]
fn who_speaks_something_else_is_closed_and_told_of_in_the_log() {
    let target = Target::start(&WS);
    let said = |first: &[u8]| {
        let mut client = WsClient::silent(&target.web());
        client.send_raw(first);
        client.finish_writing();
        assert!(client.rest().is_empty(), "an answer to {first:?}");
    };
    said(&connect(4, "plain", true));
    target.program.expect_complaint(&["MQTT without WebSocket", "peer=127.0.0.1"]);
    let mut web = target.connect();
    web.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    target.program.expect_complaint(&["HTTP on the port for MQTT", "ws_port"]);
    // A line of a kind a second.
    wait_until("a line about TLS", || {
        said(&[0x16, 3, 1, 0, 5, 1]);
        target.program.complaints().contains("TLS on the port for WebSocket without it")
    });
    target.end();
}

#[test]
fn who_does_not_come_to_mqtt_in_time_is_closed() {
    let target = Target::start(&[&WS[..], &["--connect-timeout", "300ms"]].concat());
    let mut silent = WsClient::silent(&target.web());
    let mut half = WsClient::silent(&target.web());
    half.send_raw(&request("").as_bytes()[..40]);
    let mut upgraded = WsClient::new(&target.web());
    let mut pinging = WsClient::new(&target.web());
    let mut in_a_frame = WsClient::new(&target.web());
    in_a_frame.send_raw(&frame(BINARY, &connect(4, "a", true))[..12]);
    let begin = Instant::now();
    while begin.elapsed().as_millis() < 200 {
        pinging.send_raw(&frame(PING, b"?"));
        assert_eq!(pinging.receive_frame().0, 0x8a);
    }
    assert!(silent.rest().is_empty() && half.rest().is_empty());
    assert_eq!((upgraded.closed(), in_a_frame.closed()), (1000, 1000));
    while pinging.receive_frame().0 != CLOSE {}
    target.end();
}

#[test]
fn who_sends_much_that_is_not_mqtt_before_connect_is_closed() {
    let target = Target::start(&[&WS[..], &["--connect-bytes-max", "10000"]].concat());
    let mut client = WsClient::new(&target.web());
    let pings: Vec<u8> = (0..200).flat_map(|_| frame(PING, &[0; 100])).collect();
    client.send_raw(&pings);
    let last = loop {
        match client.receive_frame() {
            (0x8a, _) => {}
            last => break last,
        }
    };
    assert_eq!(last, (CLOSE, 1008_u16.to_be_bytes().to_vec()));
    // Who was accepted may.
    let mut client = WsClient::new(&target.web());
    client.send(&connect(4, "known", true));
    client.receive(4);
    for ping in pings.chunks(106) {
        client.send_raw(ping);
        assert_eq!(client.receive_frame().0, 0x8a);
    }
    // What is MQTT, but no CONNECT, has the limit that it has without WebSocket.
    let mut client = WsClient::new(&target.web());
    client.send(&connect(4, &"x".repeat(10_001), true)[..5]);
    assert!(client.closed() == 1000);
    target.end();
}

#[test]
fn three_thousand_who_do_not_upgrade_or_do_not_connect_cost_little() {
    const EACH: usize = 1_000;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let target = Target::start(&[&WS[..], &["--connect-timeout", "60s"]].concat());
    let mut bystanders = Bystanders::of(&target);
    bystanders.talks(10);
    let (before, files) = (target.resident_kib(), target.files());
    let long_head = &request(&format!("Cookie: {}\r\n", "a".repeat(4_000)));
    let mut strangers = Vec::new();
    for _ in 0..EACH {
        strangers.push(WsClient::silent(&target.web()));
        let mut half = WsClient::silent(&target.web());
        half.send_raw(&long_head.as_bytes()[..4_000]);
        strangers.push(half);
        strangers.push(WsClient::new(&target.web()));
    }
    wait_until("all sockets", || target.files() == files + 3 * EACH);
    assert!(bystanders.talks(10) < DEADLINE);
    let grown = target.resident_kib().saturating_sub(before);
    // A thousand heads of 4 KiB, and 1.5 KB for each connection.
    assert!(grown < 4_000 + 3 * 1_500 + 2_000, "{grown} KiB more");
    drop(strangers);
    wait_until("the end of all", || target.files() == files);
    bystanders.talks(10);
    target.end();
}

#[test]
fn who_never_reads_the_answers_to_its_pings_costs_a_kilobyte() {
    let target = Target::start(&[&WS[..], &["--shards", "1"]].concat());
    let mut bystanders = Bystanders::of(&target);
    let mut client = WsClient::new(&target.web());
    client.send(&connect(4, "deaf", true));
    client.receive(4);
    bystanders.talks(10);
    let before = target.resident_kib();
    let pings: Vec<u8> = (0..1_000).flat_map(|_| frame(PING, &[0; 125])).collect();
    for _ in 0..150 {
        client.send_raw(&pings);
    }
    bystanders.talks(10);
    let grown = target.resident_kib().saturating_sub(before);
    assert!(grown < 3_000, "{grown} KiB more");
    // It is read all the same, and what it publishes arrives.
    client.send(&publish("bystanders-not", b"x", 1, 7));
    let answered = loop {
        match client.receive_frame() {
            (0x8a, _) => {}
            other => break other,
        }
    };
    assert_eq!(answered, (BINARY, vec![0x40, 2, 0, 7]));
    target.end();
}
