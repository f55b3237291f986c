//! Bytes that are no MQTT, not quite MQTT, or MQTT at its limits.

use std::io::Write;
use std::net::Shutdown;

use super::{
    Bystanders, Target, connect, connect_with_will, framed, packet, ping, publish, reset, rest,
    subscribe,
};

#[test]
fn every_packet_may_come_byte_by_byte() {
    let target = Target::start(&[]);
    let mut client = target.connect();
    let conversation: [(Vec<u8>, Option<u8>); 8] = [
        (connect(4, "slow", true), Some(0x20)),
        (subscribe(&["a/+", "b/#"], 1), Some(0x90)),
        (publish("t", b"at most once", 0, 0), None),
        (publish("t", b"at least once", 1, 7), Some(0x40)),
        (publish("t", b"exactly once", 2, 8), Some(0x50)),
        (vec![0x62, 2, 0, 8], Some(0x70)),
        (framed(0xa2, b"\x00\x02\x00\x03a/+"), Some(0xb0)),
        (vec![0xc0, 0], Some(0xd0)),
    ];
    for (bytes, answer) in conversation {
        for byte in bytes {
            client.write_all(&[byte]).unwrap();
        }
        if let Some(wanted) = answer {
            assert_eq!(packet(&mut client).0, wanted);
        }
    }
    for byte in [0xe0, 0x00] {
        client.write_all(&[byte]).unwrap();
    }
    assert_eq!(rest(&mut client), b"");
    target.end();
}

#[test]
fn what_is_no_mqtt_is_closed_without_a_word() {
    let target = Target::start(&[]);
    let mut bystanders = Bystanders::of(&target);
    let strangers: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0; 64],
        &[0xff; 64],
    ];
    for bytes in strangers {
        let mut stranger = target.connect();
        stranger.write_all(bytes).unwrap();
        assert_eq!(rest(&mut stranger), b"", "{bytes:?}");
        bystanders.talk();
    }
    target.end();
}

#[test]
fn half_a_connect_is_closed_at_the_connect_timeout_and_holds_nobody_up() {
    let target = Target::start(&["--connect-timeout", "1s"]);
    let mut bystanders = Bystanders::of(&target);
    let whole = connect(4, "half", true);
    let mut halves: Vec<_> = (0..500).map(|_| target.connect()).collect();
    for (index, half) in halves.iter_mut().enumerate() {
        half.write_all(&whole[..index % whole.len()]).unwrap();
    }
    bystanders.talks(10);
    for half in &mut halves {
        assert_eq!(rest(half), b"");
    }
    bystanders.talk();
    target.end();
}

#[test]
fn claims_of_256_megabytes_cost_no_memory() {
    let target = Target::start(&[]);
    let before = target.resident_kib();
    let mut liars: Vec<_> = (0..200).map(|n| target.client(&format!("liar{n}"))).collect();
    for liar in &mut liars {
        liar.write_all(b"\x30\xff\xff\xff\x7f\x00\x01t").unwrap();
    }
    for liar in &mut liars {
        assert_eq!(rest(liar), b"");
    }
    // What is within the limit is believed, but only the bytes that came are kept.
    let mut slow: Vec<_> = (0..200).map(|n| target.client(&format!("slow{n}"))).collect();
    for client in &mut slow {
        client.write_all(b"\xc0\x00\x30\xfb\x88\x7a\x00\x01t").unwrap();
        assert_eq!(packet(client).0, 0xd0);
    }
    let grown = target.resident_kib().saturating_sub(before);
    assert!(grown < 10_000, "{grown} KiB for 200 claims");
    target.end();
}

#[test] // [MQTT5-3.2.2-15]
fn two_million_bytes_pass_and_one_more_is_packet_too_large() {
    let target = Target::start(&[]);
    let mut reader = target.subscriber("reader", "t", 0);
    let largest = publish("t", &vec![b'x'; 2_000_000 - 7], 0, 0);
    assert_eq!(largest.len(), 2_000_000);
    let mut writer = target.client("writer");
    writer.write_all(&largest).unwrap();
    assert_eq!(packet(&mut reader).1.len(), largest.len() - 4);
    for (level, wanted) in [(4, None), (5, Some(0x95))] {
        let mut writer = target.connect();
        writer.write_all(&connect(level, "writer", true)).unwrap();
        assert_eq!(packet(&mut writer).0, 0x20);
        // The claim is enough; the packet need not come.
        writer.write_all(b"\x30\xfd\x88\x7a").unwrap();
        let last_word = rest(&mut writer);
        assert_eq!(reason_of(&last_word), wanted, "level {level}: {last_word:02x?}");
    }
    ping(&mut reader);
    target.end();
}

#[test]
fn two_hundred_separators_pass_and_one_more_closes() {
    let target = Target::start(&[]);
    let deepest = format!("a{}", "/a".repeat(200));
    let mut reader = target.subscriber("reader", &deepest, 0);
    let mut writer = target.client("writer");
    writer.write_all(&publish(&deepest, b"deep", 0, 0)).unwrap();
    assert!(packet(&mut reader).1.ends_with(b"deep"));
    let too_deep = format!("{deepest}/a");
    reader.write_all(&subscribe(&[&too_deep], 0)).unwrap();
    assert_eq!(packet(&mut reader), (0x90, vec![0, 1, 0x80]));
    writer.write_all(&publish(&too_deep, b"deeper", 0, 0)).unwrap();
    assert_eq!(rest(&mut writer), b"");
    let longest = "x".repeat(65_535);
    reader.write_all(&subscribe(&[&longest], 0)).unwrap();
    assert_eq!(packet(&mut reader), (0x90, vec![0, 1, 0]));
    target.client("writer").write_all(&publish(&longest, b"long", 0, 0)).unwrap();
    assert!(packet(&mut reader).1.ends_with(b"long"));
    target.end();
}

#[test]
fn broken_packets_of_every_kind_disturb_nobody_else() {
    let target = Target::start(&[]);
    let mut bystanders = Bystanders::of(&target);
    bystanders.talk();
    let files = target.files();
    let whole = [
        connect(4, "broken", true),
        connect(5, "broken", true),
        connect_with_will("broken", "will", "w"),
        publish("t", b"x", 0, 0),
        publish("t", b"x", 1, 3),
        publish("t", b"x", 2, 4),
        subscribe(&["a/b", "#"], 2),
        framed(0xa2, b"\x00\x02\x00\x03a/b"),
        framed(0x62, &[0, 1]),
        framed(0x40, &[0, 1]),
        framed(0x50, &[0, 1]),
        framed(0x70, &[0, 1]),
        framed(0x20, &[0, 0]),
        framed(0x90, &[0, 1, 0]),
        framed(0xb0, &[0, 1]),
        framed(0xc0, &[]),
        framed(0xd0, &[]),
        framed(0xe0, &[]),
        framed(0xf0, &[0, 0]),
    ];
    let mut dice = Dice(1);
    for round in 0..1_500 {
        let mut bad = target.connect();
        if round % 3 > 0 {
            let level = 4 + (round % 2) as u8;
            bad.write_all(&connect(level, &format!("bad{}", round % 40), true)).unwrap();
        }
        let mut bytes = whole[dice.below(whole.len())].clone();
        for _ in 0..=dice.below(3) {
            let at = dice.below(bytes.len());
            match dice.below(4) {
                0 => bytes.insert(at, dice.below(256) as u8),
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes[at] = dice.below(256) as u8,
            }
        }
        // It may have been closed for its CONNECT already.
        let _ = bad.write_all(&bytes);
        if round % 3 > 0 && dice.below(2) == 0 {
            // Its CONNACK is unread.
            reset(bad);
        }
        if round % 50 == 0 {
            bystanders.talk();
        }
    }
    bystanders.talk();
    super::wait_until("all files closed", || target.files() == files);
    target.end();
}

#[test]
fn what_was_asked_before_a_half_close_is_answered() {
    let target = Target::start(&[]);
    let questions: [(Vec<u8>, &[u8]); 4] = [
        (publish("t", b"x", 1, 7), &[0x40, 2, 0, 7]),
        (publish("t", b"x", 2, 8), &[0x50, 2, 0, 8]),
        (subscribe(&["t"], 1), &[0x90, 3, 0, 1, 1]),
        (vec![0xc0, 0], &[0xd0, 0]),
    ];
    for (question, answer) in &questions {
        for _ in 0..20 {
            let mut client = target.client("half");
            client.write_all(question).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(rest(&mut client), *answer, "to {question:?}");
        }
    }
    target.end();
}

/// The reason in the one DISCONNECT that these bytes are; none if there are none.
fn reason_of(last_word: &[u8]) -> Option<u8> {
    let [0xe0, length, reason, ..] = last_word else {
        assert!(last_word.is_empty(), "no DISCONNECT: {last_word:02x?}");
        return None;
    };
    assert_eq!(last_word.len(), 2 + usize::from(*length), "{last_word:02x?}");
    Some(*reason)
}

#[test] // [MQTT5-3.1.0-2]
fn a_second_connect_is_a_protocol_error_however_broken_it_is() {
    let target = Target::start(&[]);
    let mut other_name = connect(5, "again", true);
    other_name[6..8].copy_from_slice(b"XX");
    let mut other_level = connect(5, "again", true);
    other_level[8] = 9;
    for second in [connect(5, "again", true), other_name, other_level, framed(0x10, &[])] {
        let mut client = target.connect();
        client.write_all(&connect(5, "twice", true)).unwrap();
        assert_eq!(packet(&mut client).0, 0x20);
        client.write_all(&second).unwrap();
        let last_word = rest(&mut client);
        assert_eq!(reason_of(&last_word), Some(0x82), "{second:02x?}: {last_word:02x?}");
    }
    target.end();
}

#[test] // [MQTT3-3.1.2-8]
fn a_reset_in_the_middle_of_a_packet_publishes_each_will_once() {
    let target = Target::start(&[]);
    let mut bystanders = Bystanders::of(&target);
    let mut heir = target.subscriber("heir", "wills", 0);
    for number in 0..300 {
        let mut client = target.connect();
        client.write_all(&connect_with_will("gone", "wills", &format!("{number:04}"))).unwrap();
        assert_eq!(packet(&mut client), (0x20, vec![0, 0]));
        let half = &publish("t", &[0; 1_000], 0, 0)[..500];
        client.write_all(&[&[0xc0, 0], half].concat()).unwrap();
        reset(client);
        // The next one has the same client id: this will is out before it can be taken over.
        let (first, body) = packet(&mut heir);
        assert_eq!((first, &body[7..]), (0x30, format!("{number:04}").as_bytes()));
    }
    bystanders.talk();
    ping(&mut heir);
    target.end();
}

/// A small generator of numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) as usize % end
    }
}
