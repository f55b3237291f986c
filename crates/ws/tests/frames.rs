//! Conversations by bytes: what a server makes of frames in any pieces.
//!
//! The cases follow the sections of the Autobahn test suite that can apply, which have their numbers beside
//! them: 1.2 (binary messages), 2 (pings), 3 (reserved bits), 4 (opcodes), 5 (fragments), 7 (closing), 9 and
//! 10 (sizes and pieces). 1.1, 6, 12 and 13 are about text and compression, which are not spoken here.

mod client_frame;

use client_frame::{BINARY, CLOSE, PING, frame};
use noctule_ws::{CloseCode, Conversation, End, FrameHeader, Taken, Violation, apply_mask};

const FIRST: u8 = 0x02;
const MIDDLE: u8 = 0x00;
const LAST: u8 = 0x80;
const TEXT: u8 = 0x81;
const PONG: u8 = 0x8a;

/// What came of a conversation.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    payload: Vec<u8>,
    answers: Vec<u8>,
    end: Option<End>,
}

/// Hands bytes in, in pieces of `step`.
fn hear(bytes: &[u8], step: usize) -> Outcome {
    let mut conversation = Conversation::server(100_000);
    let mut outcome = Outcome::default();
    for piece in bytes.chunks(step) {
        let mut buffer = piece.to_vec();
        let Taken { payload, end } = conversation.take_in(&mut buffer);
        outcome.payload.extend_from_slice(&buffer[..payload]);
        if end.is_some() {
            assert_eq!(outcome.end, None, "the end is told once");
            outcome.end = end;
        }
        let answers = conversation.answers().to_vec();
        conversation.answers_sent(answers.len());
        outcome.answers.extend_from_slice(&answers);
    }
    outcome
}

/// The same in pieces of any size: they must not matter.
#[track_caller]
fn hears(frames: &[Vec<u8>], payload: &[u8], answers: &[u8], end: Option<End>) {
    let bytes = frames.concat();
    let expected = Outcome { payload: payload.to_vec(), answers: answers.to_vec(), end };
    for step in [1, 2, 3, 5, 7, 13, 64, 1_000, 65_536, usize::MAX] {
        assert_eq!(hear(&bytes, step.min(bytes.len().max(1))), expected, "in pieces of {step}");
    }
}

#[track_caller]
fn fails(frames: &[Vec<u8>], payload: &[u8], violation: Violation, code: u16) {
    let [high, low] = code.to_be_bytes();
    hears(frames, payload, &[CLOSE, 2, high, low], Some(End::Violated(violation)));
}

#[test] // [MQTT5-6.0.0-2] [MQTT3-6.0.0-2]
fn binary_frames_of_any_length_are_one_stream() {
    // 1.2
    for len in [0, 1, 125, 126, 127, 128, 65_535, 65_536] {
        let payload: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        hears(&[frame(BINARY, &payload)], &payload, &[], None);
    }
    let many: Vec<_> = (0..200u8).map(|at| frame(BINARY, &vec![at; usize::from(at)])).collect();
    let payload: Vec<_> = (0..200u8).flat_map(|at| vec![at; usize::from(at)]).collect();
    hears(&many, &payload, &[], None);
}

#[test]
fn pings_are_answered_in_their_order_and_pongs_are_not() {
    // 2.1 to 2.4, 2.7, 2.8
    hears(&[frame(PING, b"")], b"", &[0x8a, 0], None);
    hears(&[frame(PING, b"Hello")], b"", b"\x8a\x05Hello", None);
    let longest = [0xfe; 125];
    hears(&[frame(PING, &longest)], b"", &[&[0x8a, 125][..], &longest].concat(), None);
    hears(&[frame(PONG, b"unasked")], b"", &[], None);
    hears(&[frame(PONG, b""), frame(PING, b"a"), frame(PONG, b"")], b"", b"\x8a\x01a", None);
    // 2.10, 2.11
    let ten: Vec<_> = (0..10u8).map(|number| frame(PING, &[number])).collect();
    let answers: Vec<u8> = (0..10u8).flat_map(|number| [0x8a, 1, number]).collect();
    hears(&ten, b"", &answers, None);
    // 2.5
    fails(&[frame(PING, &[0xfe; 126])], b"", Violation::LongControl, 1002);
}

#[test]
fn reserved_bits_close_the_conversation() {
    // 3.1 to 3.7
    for bits in 1..8u8 {
        let bad = frame(BINARY | bits << 4, b"x");
        let frames = [frame(BINARY, b"before"), bad, frame(BINARY, b"behind")];
        fails(&frames, b"before", Violation::ReservedBits, 1002);
        fails(&[frame(PING | bits << 4, b"x")], b"", Violation::ReservedBits, 1002);
    }
}

#[test]
fn unknown_opcodes_close_the_conversation() {
    // 4.1, 4.2
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15u8] {
        let frames = [frame(BINARY, b"before"), frame(0x80 | opcode, b""), frame(PING, b"")];
        fails(&frames, b"before", Violation::UnknownOpcode(opcode), 1002);
    }
}

#[test] // [MQTT5-6.0.0-1] [MQTT3-6.0.0-1]
fn text_is_not_taken() {
    fails(&[frame(TEXT, b"hello")], b"", Violation::Text, 1003);
    fails(&[frame(TEXT & 0x7f, b"hel"), frame(LAST, b"lo")], b"", Violation::Text, 1003);
    fails(&[frame(BINARY, b"ok"), frame(TEXT, b"")], b"ok", Violation::Text, 1003);
}

#[test]
fn fragments_are_put_together_with_control_frames_between_them() {
    // 5.3 to 5.8 and 5.19, 5.20 with bytes in the place of text
    hears(&[frame(FIRST, b"one"), frame(LAST, b"two")], b"onetwo", &[], None);
    hears(
        &[
            frame(FIRST, b"a"),
            frame(PING, b"p"),
            frame(MIDDLE, b"b"),
            frame(MIDDLE, b""),
            frame(PONG, b"q"),
            frame(LAST, b"c"),
            frame(BINARY, b"d"),
        ],
        b"abcd",
        b"\x8a\x01p",
        None,
    );
    // 5.1, 5.2
    fails(&[frame(PING & 0x7f, b"a")], b"", Violation::FragmentedControl, 1002);
    fails(&[frame(PONG & 0x7f, b"a")], b"", Violation::FragmentedControl, 1002);
    fails(&[frame(CLOSE & 0x7f, b"")], b"", Violation::FragmentedControl, 1002);
    // 5.9 to 5.14
    fails(&[frame(LAST, b"a")], b"", Violation::NothingToContinue, 1002);
    fails(&[frame(MIDDLE, b"a")], b"", Violation::NothingToContinue, 1002);
    let twice = [frame(FIRST, b"a"), frame(LAST, b"b"), frame(LAST, b"c")];
    fails(&twice, b"ab", Violation::NothingToContinue, 1002);
    // 5.15 to 5.18
    fails(&[frame(FIRST, b"a"), frame(BINARY, b"b")], b"a", Violation::NotContinued, 1002);
    fails(&[frame(FIRST, b"a"), frame(FIRST, b"b")], b"a", Violation::NotContinued, 1002);
}

#[test]
fn a_close_frame_is_answered_with_its_code_and_ends_the_conversation() {
    // 7.1.1 to 7.1.6: whatever is behind it is thrown away.
    for behind in [frame(BINARY, b"x"), frame(PING, b""), frame(CLOSE, b""), vec![0xff; 300_000]] {
        hears(
            &[frame(BINARY, b"a"), frame(CLOSE, &[3, 232]), behind],
            b"a",
            &[CLOSE, 2, 3, 232],
            Some(End::Closed(Some(CloseCode::NORMAL))),
        );
    }
    // 7.3.1, 7.3.3 to 7.3.5
    hears(&[frame(CLOSE, b"")], b"", &[CLOSE, 0], Some(End::Closed(None)));
    let reason = [&[3, 232][..], &[b'*'; 123]].concat();
    hears(
        &[frame(CLOSE, &reason)],
        b"",
        &[CLOSE, 2, 3, 232],
        Some(End::Closed(Some(CloseCode::NORMAL))),
    );
    // 7.3.2, 7.3.6
    fails(&[frame(CLOSE, &[3])], b"", Violation::BadCloseCode, 1002);
    fails(&[frame(CLOSE, &[0; 126])], b"", Violation::LongControl, 1002);
    // 7.5.1
    let broken = b"\x03\xe8\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited";
    fails(&[frame(CLOSE, broken)], b"", Violation::BadCloseReason, 1007);
}

#[test]
fn only_codes_that_may_be_sent_are_taken() {
    // 7.7, 7.9, 7.13
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999u16] {
        let [high, low] = code.to_be_bytes();
        let end = Some(End::Closed(CloseCode::new(code)));
        hears(&[frame(CLOSE, &[high, low])], b"", &[CLOSE, 2, high, low], end);
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535u16] {
        fails(&[frame(CLOSE, &code.to_be_bytes())], b"", Violation::BadCloseCode, 1002);
    }
}

#[test]
fn a_frame_has_a_mask_and_a_length_that_may_be() {
    fails(&[vec![BINARY, 1, b'x']], b"", Violation::NotMasked, 1002);
    fails(&[vec![PING, 0]], b"", Violation::NotMasked, 1002);
    fails(&[vec![BINARY, 0xfe, 0, 5, 1, 2, 3, 4]], b"", Violation::LengthNotMinimal, 1002);
    let huge = [vec![BINARY, 0xff], vec![0xff; 8], vec![1, 2, 3, 4]].concat();
    fails(&[huge], b"", Violation::LengthNotMinimal, 1002);
    // 9 and 10: a frame of the limit is taken, one more byte is not, and of that nothing is read.
    let limit = vec![7; 100_000];
    hears(&[frame(BINARY, &limit)], &limit, &[], None);
    fails(&[frame(BINARY, &[7; 100_001])], b"", Violation::TooLarge(100_001), 1009);
    let claimed = [vec![BINARY, 0xff], i64::MAX.to_be_bytes().to_vec(), vec![1, 2, 3, 4]].concat();
    fails(&[claimed], b"", Violation::TooLarge(i64::MAX as u64), 1009);
    // A message of many frames has no limit: nothing of it is kept.
    let pieces: Vec<_> = std::iter::once(frame(FIRST, &[1; 60_000]))
        .chain((0..4).map(|_| frame(MIDDLE, &[1; 60_000])))
        .chain([frame(LAST, &[1; 60_000])])
        .collect();
    hears(&pieces, &[1; 360_000], &[], None);
}

#[test]
fn who_has_closed_sends_nothing_more_but_still_listens() {
    let mut conversation = Conversation::server(1_000);
    conversation.close(CloseCode::GOING_AWAY);
    conversation.close(CloseCode::NORMAL);
    assert_eq!(conversation.answers(), [CLOSE, 2, 3, 233]);
    conversation.answers_sent(4);
    let mut bytes = [frame(BINARY, b"last"), frame(PING, b""), frame(CLOSE, b"\x03\xe9")].concat();
    let taken = conversation.take_in(&mut bytes);
    assert_eq!(&bytes[..taken.payload], b"last");
    assert_eq!(taken.end, Some(End::Closed(Some(CloseCode::GOING_AWAY))));
    assert!(conversation.answers().is_empty() && conversation.has_ended());
}

#[test]
fn a_client_and_a_server_understand_each_other() {
    let (mut client, mut server) = (Conversation::client(1 << 20), Conversation::server(1 << 20));
    for len in [0, 1, 125, 126, 65_535, 65_536, 200_000] {
        let sent: Vec<u8> = (0..len).map(|at| (at % 253) as u8).collect();
        // To the server, masked.
        let key = client.next_key().unwrap();
        let mut wire = FrameHeader::binary(len, key).as_bytes().to_vec();
        let begin = wire.len();
        wire.extend_from_slice(&sent);
        apply_mask(&mut wire[begin..], key.expect("a client masks"));
        let taken = server.take_in(&mut wire);
        assert_eq!((&wire[..taken.payload], taken.end), (&sent[..], None));
        // And back, plain.
        assert_eq!(server.next_key(), Ok(None));
        let mut wire = FrameHeader::binary(len, None).as_bytes().to_vec();
        wire.extend_from_slice(&sent);
        wire.extend_from_slice(b"\x89\x02hi");
        let taken = client.take_in(&mut wire);
        assert_eq!((&wire[..taken.payload], taken.end), (&sent[..], None));
        // The client's pong has a mask, and the server takes it.
        let mut pong = client.answers().to_vec();
        assert_eq!((pong[0], pong[1]), (PONG, 0x82));
        client.answers_sent(pong.len());
        assert_eq!(server.take_in(&mut pong), Taken { payload: 0, end: None });
    }
    let masked = client.take_in(&mut frame(BINARY, b"x"));
    assert_eq!(masked.end, Some(End::Violated(Violation::Masked)));
}
