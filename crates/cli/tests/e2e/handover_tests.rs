//! Connections on their way to the loop where their sessions live, with more behind CONNECT in the same
//! segment.

use std::io::{Read, Write};

use crate::announced_tests::line;
use crate::broker::Broker;
use crate::login::connect;
use crate::tls_client::TlsClient;

/// SUBSCRIBE and PUBLISH at QoS 1, as they stand behind CONNECT, and all that is answered.
fn at_once(topic: &str) -> (Vec<u8>, Vec<u8>) {
    let text = [&[0, topic.len() as u8], topic.as_bytes()].concat();
    let packet = |first: u8, parts: &[&[u8]]| {
        let body = parts.concat();
        [&[first, body.len() as u8][..], &body].concat()
    };
    let subscribe = packet(0x82, &[&[0, 1], &text, &[1]]);
    let publish = packet(0x32, &[&text, &[0, 2], b"early"]);
    let heard = packet(0x32, &[&text, &[0, 1], b"early"]);
    let answers = [&[0x20, 2, 0, 0, 0x90, 3, 0, 1, 1][..], &heard, &[0x40, 2, 0, 2]].concat();
    ([subscribe, publish].concat(), answers)
}

/// In which order the message and its PUBACK come is not said.
fn check(answers: &[u8], expected: &[u8]) {
    let mut answers = answers.to_vec();
    if answers[9] == 0x40 {
        answers[9..].rotate_left(4);
    }
    assert_eq!(answers, expected);
}

#[test]
fn what_stands_behind_connect_comes_along_to_another_loop() {
    for loops in ["2", "8"] {
        let proxies = ["--proxies", "127.0.0.0/8,::1", "--allow-anonymous"];
        let plain = Broker::ours(&["--shards", loops, "--hello", "never"]);
        let announced = Broker::ours(&[&proxies[..], &["--shards", loops]].concat());
        let ca = plain.path("noctule-data/tls/ca.pem");
        // Some of so many live on another loop than the one that accepts them.
        for number in 0..12 {
            let topic = format!("early/{number}");
            let (behind, expected) = at_once(&topic);
            let id = format!("early-{number}");
            let all = [connect(4, &id, None, None), behind].concat();

            let mut answers = vec![0; expected.len()];
            let mut stream = plain.connect();
            stream.write_all(&all).expect("an open connection");
            stream.read_exact(&mut answers).expect("all answers");
            check(&answers, &expected);

            let mut tls = TlsClient::new(&plain, &ca);
            tls.send(&all);
            check(&tls.receive(expected.len()), &expected);

            let mut stream = announced.connect();
            stream.write_all(&[line("192.0.2.1"), all].concat()).expect("an open connection");
            stream.read_exact(&mut answers).expect("all answers");
            check(&answers, &expected);
        }
    }
}
