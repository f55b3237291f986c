//! A proxy that passes on what a broker says and meddles with some of its messages: leaves them out,
//! says them twice, or says them behind the next one.
//!
//! It counts what it did, so that who looks for it can be compared with what there was to be found.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// What it does with every [`EVERY`]th PUBLISH of a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Habit {
    Drops,
    Doubles,
    Swaps,
}

const EVERY: u64 = 9;

pub(crate) struct Meddler {
    port: u16,
    deeds: Arc<AtomicU64>,
}

impl Meddler {
    /// Stands before the broker at this port of the loopback interface, until the test ends.
    pub(crate) fn before(broker: u16, habit: Habit) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let deeds = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&deeds);
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let server =
                    TcpStream::connect(("127.0.0.1", broker)).expect("the broker is there");
                let (up, down) = (ends(&client, &server), ends(&server, &client));
                let counter = Arc::clone(&counter);
                thread::spawn(move || pass(up, None));
                thread::spawn(move || pass(down, Some((habit, &counter))));
            }
        });
        Self { port, deeds }
    }

    pub(crate) fn port(&self) -> String {
        self.port.to_string()
    }

    /// How many messages it has meddled with.
    pub(crate) fn deeds(&self) -> u64 {
        self.deeds.load(Ordering::Relaxed)
    }
}

fn ends(from: &TcpStream, to: &TcpStream) -> (TcpStream, TcpStream) {
    (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"))
}

/// Passes packets on until one side has ended.
fn pass((mut from, mut to): (TcpStream, TcpStream), meddling: Option<(Habit, &AtomicU64)>) {
    let (mut seen, mut held): (u64, Option<Vec<u8>>) = (0, None);
    while let Some(packet) = packet(&mut from) {
        let mut out = packet.clone();
        if let Some((habit, deeds)) = meddling
            && packet[0] >> 4 == PUBLISH
        {
            seen += 1;
            if let Some(late) = held.take() {
                out.extend(late);
            } else if seen.is_multiple_of(EVERY) {
                deeds.fetch_add(1, Ordering::Relaxed);
                match habit {
                    Habit::Drops => continue,
                    Habit::Doubles => out.extend(&packet),
                    Habit::Swaps => {
                        held = Some(packet);
                        continue;
                    }
                }
            }
        }
        if to.write_all(&out).is_err() {
            break;
        }
    }
    // The other side may be gone already.
    let _ = to.shutdown(Shutdown::Both);
}

const PUBLISH: u8 = 3;

/// One packet, as it is.
fn packet(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 2];
    from.read_exact(&mut bytes).ok()?;
    while bytes.last().is_some_and(|byte| byte & 0x80 != 0) {
        bytes.push(0);
        let last = bytes.len() - 1;
        from.read_exact(&mut bytes[last..]).ok()?;
    }
    let length = bytes[1..].iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7F));
    let begin = bytes.len();
    bytes.resize(begin + length, 0);
    from.read_exact(&mut bytes[begin..]).ok()?;
    Some(bytes)
}
