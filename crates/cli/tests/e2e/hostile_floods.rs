//! Too much of everything: messages, questions, connections, subscriptions, work per byte.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{
    Bystanders, Target, connect, packet, ping, publish, reset, rest, subscribe, wait_until,
};

/// How long bystanders may wait in a debug build on a busy machine. What is tested here made them
/// wait for half a minute and more.
const NOT_HELD_UP: Duration = Duration::from_secs(5);

#[test]
fn a_client_that_never_reads_costs_its_limits_and_nobody_else_anything() {
    // At QoS 0 about 1 MiB of output, at QoS 1 the session's queue of 64 MiB with it.
    for (qos, most_kib) in [(0, 16_000), (1, 100_000)] {
        let target = Target::start(&[]);
        let mut bystanders = Bystanders::of(&target);
        let before = target.resident_kib();
        let _deaf = target.subscriber("deaf", "flood", qos);
        let mut writer = target.client("loud");
        for number in 1..=1_500 {
            writer.write_all(&publish("flood", &[b'x'; 100_000], qos, number)).unwrap();
            if qos == 1 {
                assert_eq!(packet(&mut writer), (0x40, number.to_be_bytes().to_vec()));
            }
            if number % 100 == 0 {
                let took = bystanders.talk();
                assert!(took < NOT_HELD_UP, "{took:?}");
            }
        }
        ping(&mut writer);
        let grown = target.resident_kib().saturating_sub(before);
        assert!(grown < most_kib, "QoS {qos}: {grown} KiB for 150 MB offered");
        target.end();
    }
}

#[test]
fn who_asks_and_never_reads_is_not_read_any_more() {
    for question in [vec![0xc0, 0], subscribe(&["a/b"], 0)] {
        let target = Target::start(&[]);
        let mut bystanders = Bystanders::of(&target);
        let before = target.resident_kib();
        let mut deaf = target.client("deaf");
        deaf.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let block = question.repeat(100_000 / question.len());
        let mut sent = 0;
        let error = loop {
            match deaf.write(&block[sent % question.len()..]) {
                Ok(written) => sent += written,
                Err(error) => break error,
            }
            assert!(sent < 100_000_000, "read without end");
        };
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        assert!(bystanders.talks(10) < NOT_HELD_UP);
        let grown = target.resident_kib().saturating_sub(before);
        assert!(grown < 20_000, "{grown} KiB after {sent} bytes");
        target.end();
    }
}

#[test]
fn many_searches_of_the_retained_messages_at_once_hold_nobody_up() {
    let target = Target::start(&[]);
    let mut writer = target.client("writer");
    let mut all = Vec::new();
    for number in 0..20_000 {
        let mut message = publish(&format!("r/{number}"), b"x", 0, 0);
        message[0] |= 0x01;
        all.extend(message);
    }
    writer.write_all(&all).unwrap();
    ping(&mut writer);
    let mut bystanders = Bystanders::of(&target);
    let before = target.resident_kib();
    let mut searcher = target.client("searcher");
    // Each looks at every topic and finds nothing.
    let mut filters = vec!["+/nothing".to_owned(); 100_000];
    filters.extend((0..1_000).map(|number| format!("+/nothing/{number}")));
    searcher.write_all(&subscribe(&filters, 0)).unwrap();
    assert_eq!(packet(&mut searcher).0, 0x90);
    let took = bystanders.talks(20);
    assert!(took < NOT_HELD_UP, "{took:?}");
    let grown = target.resident_kib().saturating_sub(before);
    assert!(grown < 40_000, "{grown} KiB for 101,000 searches");
    target.end();
}

#[test]
fn all_retained_messages_come_and_nobody_waits_for_them() {
    let target = Target::start(&[]);
    let mut writer = target.client("writer");
    let mut all = Vec::new();
    for number in 0..30_000 {
        let mut message = publish(&format!("r/{number}"), format!("{number}").as_bytes(), 0, 0);
        message[0] |= 0x01;
        all.extend(message);
    }
    writer.write_all(&all).unwrap();
    ping(&mut writer);
    let mut bystanders = Bystanders::of(&target);
    let mut reader = target.subscriber("all", "r/#", 1);
    let mut seen = BTreeSet::new();
    while seen.len() < 30_000 {
        let (first, body) = packet(&mut reader);
        assert_eq!(first, 0x31, "published at QoS 0, retained");
        assert!(seen.insert(body), "twice");
        if seen.len() % 1_000 == 0 {
            assert!(bystanders.talk() < NOT_HELD_UP);
        }
    }
    target.end();
}

#[test]
fn messages_that_cost_much_to_route_hold_nobody_up() {
    let target = Target::start(&[]);
    let mut bystanders = Bystanders::of(&target);
    let mut reader = target.client("filters");
    let filters: Vec<_> = (0..1 << 12)
        .map(|bits| (0..12).map(|at| if bits >> at & 1 == 0 { "a/" } else { "+/" }).collect())
        .map(|filter: String| filter + "x")
        .collect();
    reader.write_all(&subscribe(&filters, 0)).unwrap();
    assert_eq!(packet(&mut reader).0, 0x90);
    let mut writer = target.client("writer");
    let prefix = "a/".repeat(12);
    let costly: Vec<u8> =
        (0..6_000).flat_map(|number| publish(&format!("{prefix}{number}"), b"", 0, 0)).collect();
    // It takes the broker a while to read this; the rest waits in the socket.
    writer.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while let Ok(written) = writer.write(&costly[sent..])
        && written > 0
    {
        sent += written;
    }
    assert!(sent > 100_000, "{sent}");
    let took = bystanders.talks(5);
    assert!(took < NOT_HELD_UP, "{took:?}");
    target.end();
}

#[test]
fn two_hundred_clients_with_one_id_leave_one() {
    let target = Target::start(&["--takeovers-max", "unlimited"]);
    let mut bystanders = Bystanders::of(&target);
    let files = target.files();
    let mut fighters: Vec<_> = (0..200).map(|_| target.connect()).collect();
    for fighter in &mut fighters {
        fighter.write_all(&connect(4, "same", true)).unwrap();
    }
    // Which one is the last is the broker's business; each was accepted, and all but one are gone.
    for fighter in &mut fighters {
        assert_eq!(packet(fighter), (0x20, vec![0, 0]));
    }
    let mut alive = 0;
    for fighter in &mut fighters {
        let _ = fighter.write_all(&[0xc0, 0]);
        let mut answer = [0; 2];
        alive += usize::from(fighter.read_exact(&mut answer).is_ok());
    }
    assert_eq!(alive, 1);
    bystanders.talk();
    drop(fighters);
    wait_until("all files closed", || target.files() == files);
    target.end();
}

#[test]
fn two_hundred_who_fight_for_one_id_are_slowed_named_and_nobody_else_notices() {
    let target = Target::start(&["--takeovers-max", "3"]);
    let mut bystanders = Bystanders::of(&target);
    let mut fighters = vec![target.client("same")];
    for _ in 0..200 {
        let mut fighter = target.connect();
        fighter.write_all(&connect(4, "same", true)).unwrap();
        fighters.push(fighter);
    }
    bystanders.talk();
    // Three took over at once and one has waited for it; of those who waited with it none has its place.
    let mut codes = Vec::new();
    for fighter in &mut fighters[1..] {
        codes.push(packet(fighter).1[1]);
    }
    let let_in = codes.iter().filter(|code| **code == 0).count();
    assert!((4..=6).contains(&let_in), "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 3).count(), 200 - let_in);
    let names = ["holder=\"127.0.0.1:", "challenger=\"127.0.0.1:", "client_id=\"same\""];
    let line = target.program.expect_complaint(&names);
    assert!(line.contains("these two take the same client identifier"), "{line}");
    bystanders.talk();
    target.end();
}

#[test]
fn strangers_who_say_nothing_or_half_of_it_are_gone_in_time_and_leave_nothing() {
    let target = Target::start(&["--connect-timeout", "1s"]);
    let mut bystanders = Bystanders::of(&target);
    let files = target.files();
    let part = [&[0x10, 0x9b, 0x8d, 0x06][..], b"\x00\x04MQTT\x05", &[b'.'; 20_000]].concat();
    let words: [&[u8]; 3] = [b"", &part[..1], &part];
    let before = target.resident_kib();
    for says in words {
        let mut strangers: Vec<_> = (0..300).map(|_| target.connect()).collect();
        for stranger in &mut strangers {
            // Who came first may have been closed by now.
            let _ = stranger.write_all(says);
        }
        assert!(bystanders.talk() < NOT_HELD_UP);
        for stranger in &mut strangers {
            assert_eq!(rest(stranger), b"", "no word to who has said nothing");
        }
        wait_until("all files closed", || target.files() == files);
    }
    let grown = target.resident_kib().saturating_sub(before);
    assert!(grown < 20_000, "{grown} KiB");
    bystanders.talk();
    target.end();
}

#[test]
fn taking_over_again_and_again_loses_no_message_in_flight() {
    const MESSAGES: u16 = 500;
    let target = Target::start(&["--takeovers-max", "unlimited"]);
    let resume = || {
        let mut stream = target.connect();
        stream.write_all(&connect(4, "victim", false)).unwrap();
        let (first, body) = packet(&mut stream);
        assert_eq!((first, body[1]), (0x20, 0));
        (stream, body[0])
    };
    let (mut victim, _) = resume();
    victim.write_all(&subscribe(&["q"], 1)).unwrap();
    assert_eq!(packet(&mut victim).0, 0x90);
    let mut writer = target.client("writer");
    for number in 1..=MESSAGES {
        writer.write_all(&publish("q", &number.to_be_bytes(), 1, number)).unwrap();
        assert_eq!(packet(&mut writer).0, 0x40);
    }
    let mut missing: BTreeSet<_> = (1..=MESSAGES).collect();
    let mut round: u16 = 0;
    while !missing.is_empty() {
        let (new, present) = resume();
        assert_eq!(present, 1, "the session is still there");
        victim = new;
        round += 1;
        let mut last = 0;
        for _ in 0..missing.len().min(23) {
            let (first, body) = packet(&mut victim);
            assert_eq!(first & 0xf6, 0x32);
            let number = u16::from_be_bytes([body[5], body[6]]);
            assert!(number > last, "{number} after {last} on one connection");
            last = number;
            // What is not acknowledged comes again on the next connection.
            if !(number + round).is_multiple_of(3) {
                victim.write_all(&[0x40, 2, body[3], body[4]]).unwrap();
                assert!(missing.remove(&number), "{number} again after its acknowledgement");
            }
        }
        ping_between_messages(&mut victim);
    }
    target.end();
}

/// Has every acknowledgement read before the connection is taken over.
fn ping_between_messages(stream: &mut TcpStream) {
    stream.write_all(&[0xc0, 0]).expect("an open connection");
    while packet(stream).0 != 0xd0 {}
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    let target = Target::start(&[]);
    let mut bystanders = Bystanders::of(&target);
    let storm = |rounds: usize| {
        for round in 0..rounds {
            let mut client = target.client(&format!("c{}", round % 100));
            match round % 3 {
                0 => {
                    client.write_all(&[0xe0, 0]).unwrap();
                    assert_eq!(rest(&mut client), b"");
                }
                1 => {
                    client.write_all(&[0xc0, 0]).unwrap();
                    reset(client);
                }
                _ => drop(client),
            }
        }
    };
    let files = target.files();
    storm(1_000);
    let before = target.resident_kib();
    storm(4_000);
    wait_until("all files closed", || target.files() == files);
    let grown = target.resident_kib().saturating_sub(before);
    assert!(grown < 2_000, "{grown} KiB after 4,000 connections");
    bystanders.talk();
    target.end();
}

#[test]
fn ten_thousand_subscriptions_are_granted_one_more_is_not_and_all_go_with_their_client() {
    let target = Target::start(&[]);
    let mut bystanders = Bystanders::of(&target);
    let filters: Vec<_> = (0..10_001).map(|number| format!("s/{number}/+/x")).collect();
    for _ in 0..2 {
        let mut client = target.client("many");
        client.write_all(&subscribe(&filters, 0)).unwrap();
        let (first, body) = packet(&mut client);
        assert_eq!((first, body.len()), (0x90, 2 + 10_001));
        assert!(body[2..10_002].iter().all(|granted| *granted == 0));
        assert_eq!(body[10_002], 0x80);
        drop(client);
        assert!(bystanders.talks(5) < NOT_HELD_UP);
    }
    target.end();
}

#[test]
fn a_session_flooded_while_its_client_is_away_keeps_its_limit_in_order() {
    let target = Target::start(&["--queue-messages-max", "700"]);
    let mut client = target.connect();
    client.write_all(&connect(4, "away", false)).unwrap();
    assert_eq!(packet(&mut client), (0x20, vec![0, 0]));
    client.write_all(&subscribe(&["q"], 1)).unwrap();
    assert_eq!(packet(&mut client).0, 0x90);
    client.write_all(&[0xe0, 0]).unwrap();
    assert_eq!(rest(&mut client), b"");
    let mut writer = target.client("writer");
    // More than what is kept at hand, so that a part of it goes through the store.
    let padding = [b'x'; 4_000];
    for number in 1..=1_000_u16 {
        let payload = [&number.to_be_bytes()[..], &padding[..]].concat();
        writer.write_all(&publish("q", &payload, 1, number)).unwrap();
        assert_eq!(packet(&mut writer).0, 0x40);
    }
    let mut client = target.connect();
    client.write_all(&connect(4, "away", false)).unwrap();
    assert_eq!(packet(&mut client), (0x20, vec![1, 0]));
    for number in 1..=700_u16 {
        let (first, body) = packet(&mut client);
        assert_eq!((first, &body[5..7]), (0x32, &number.to_be_bytes()[..]));
        client.write_all(&[0x40, 2, body[3], body[4]]).unwrap();
    }
    ping(&mut client);
    target.end();
}
