//! The crew against the relay, and against brokers that acknowledge wrongly.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use noctule_mqtt::codec;

use super::*;
use crate::packets::Arrival;
use crate::relay::Relay;

const LOAD: Load = Load { publishers: 3, window: 1 };

#[test]
fn who_is_there_gets_and_acknowledges_everything() {
    let mut relay = Relay::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = relay.address().unwrap();
    thread::spawn(move || relay.serve());
    let mut crew = Crew::connect(address, LOAD, Subscriber::Present, 64).unwrap();
    for _ in 0..2 {
        let done = crew.run(Goal::MessagesEach(50)).unwrap();
        assert_eq!(done.messages, 150);
        assert!(crew.faults().is_clean(), "{}", crew.faults());
        assert_eq!(done.answer.count(), 150);
        assert!(done.answer.quantile_ms(0.5) > Some(0.0));
    }
    assert_eq!(crew.sent(), [100; 3]);
}

#[test]
fn who_is_away_needs_acknowledgements_alone() {
    let (messages, faults) = run_with(Habit::None);
    assert_eq!(messages, 150);
    assert!(faults.is_clean(), "{faults}");
}

#[test]
fn what_is_not_acknowledged_or_wrongly_is_a_fault() {
    let three = Faults { unacknowledged: 3, ..Faults::default() };
    // Each publisher waits for its second, in vain.
    assert_eq!(run_with(Habit::Forgets), (3, three));
    assert_eq!(run_with(Habit::Mistakes), (150, three));
}

/// What a broker does to the second message of each connection.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Habit {
    None,
    /// It is not acknowledged.
    Forgets,
    /// Another one is acknowledged instead.
    Mistakes,
}

fn run_with(habit: Habit) -> (u64, Faults) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || serve(stream, habit));
        }
    });
    let mut crew = Crew::connect(address, LOAD, Subscriber::Absent, 64).unwrap();
    crew.stall = Duration::from_millis(300);
    let done = crew.run(Goal::MessagesEach(50)).unwrap();
    (done.messages, crew.faults())
}

/// Until the client leaves.
fn serve(mut stream: TcpStream, habit: Habit) {
    let (mut input, mut scratch, mut messages) = (Vec::new(), [0; 4_096], 0);
    while let Ok(count @ 1..) = stream.read(&mut scratch) {
        input.extend_from_slice(&scratch[..count]);
        let (mut used, mut out) = (0, Vec::new());
        while let Some(frame) = codec::next_frame(&input[used..], 10_000).unwrap() {
            used += frame.bytes.len();
            match frame.type_bits() {
                bits if bits == PacketType::Connect as u8 => out.extend([0x20, 2, 0, 0]),
                bits if bits == PacketType::Subscribe as u8 => {
                    let id = frame.body();
                    out.extend([0x90, 3, id[0], id[1], 1]);
                }
                bits if bits == PacketType::Publish as u8 => {
                    messages += 1;
                    answer(&frame, habit, messages, &mut out);
                }
                _ => return,
            }
        }
        input.drain(..used);
        stream.write_all(&out).unwrap();
    }
}

fn answer(frame: &Frame<'_>, habit: Habit, number: u64, out: &mut Vec<u8>) {
    let Arrival::Ours { packet_id: Some([high, low]), .. } = packets::arrival(frame) else {
        panic!("not ours");
    };
    match habit {
        Habit::Forgets if number == 2 => {}
        Habit::Mistakes if number == 2 => packets::append_puback([high + 1, low], out),
        _ => packets::append_puback([high, low], out),
    }
}
