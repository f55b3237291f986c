//! A broker that does one thing wrong: a proxy in front of a good one that changes what passes.
//!
//! It reads packets only as far as it must, byte by byte; it knows no property but by its number.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// What comes again comes without DUP.
    DupForgotten,
    /// CONNACK never speaks of a session.
    SessionPresentForgotten,
    /// PINGREQ is not answered.
    PingIgnored,
    /// PUBACK names another packet.
    PubackOfAnother,
    /// A message at QoS 0 comes twice.
    TwiceAtQos0,
    /// Retained messages come without their flag.
    RetainFlagForgotten,
    /// The codes of SUBACK come from the last filter to the first.
    SubackReversed,
    /// Wrong flags of a client are put right.
    FlagsForgiven,
    /// A connection never ends by the broker's will.
    NeverCloses,
    /// UNSUBACK always says that there was a subscription.
    UnsubackAlwaysFine,
    /// Messages lose their properties.
    PropertiesLost,
    /// A connection that is taken over ends without a word.
    TakenOverInSilence,
    /// Who is lost is taken for one who has said goodbye.
    LossIsGoodbye,
    /// PUBREC is not answered.
    PubrelForgotten,
    /// No Local is not asked for.
    NoLocalForgotten,
    /// The client's receive maximum is not looked at.
    ReceiveMaximumForgotten,
    /// Topics of messages are in lower case.
    TopicsInLowerCase,
    /// A DISCONNECT with an error is one without.
    GoodEndings,
}

/// A running proxy; its threads end with its connections.
pub(crate) struct FaultyProxy {
    port: u16,
}

impl FaultyProxy {
    /// One in front of the broker at `port`.
    pub(crate) fn start(port: u16, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let own = listener.local_addr().expect("bound").port();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(broker) = TcpStream::connect(("127.0.0.1", port)) else { return };
                std::thread::spawn(move || pass(&client, broker, fault));
            }
        });
        Self { port: own }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// Passes packets on in both directions until both ends are closed.
fn pass(client: &TcpStream, broker: TcpStream, fault: Fault) {
    let level = Arc::new(AtomicU8::new(0));
    let [mut from_client, mut to_client] =
        [client, client].map(|s| s.try_clone().expect("a socket"));
    let (mut from_broker, to_broker) = (broker.try_clone().expect("a socket"), Mutex::new(broker));
    let back = {
        let level = Arc::clone(&level);
        std::thread::spawn(move || {
            while let Some(packet) = next_packet(&mut from_broker) {
                let changed = to_the_client(fault, packet, level.load(Ordering::Relaxed));
                if to_client.write_all(&changed).is_err() {
                    break;
                }
            }
            if fault != Fault::NeverCloses {
                let _ = to_client.shutdown(Shutdown::Both);
            }
        })
    };
    while let Some(packet) = next_packet(&mut from_client) {
        if packet[0] == 0x10 && packet.len() > 8 {
            level.store(packet[8], Ordering::Relaxed);
        }
        let changed = to_the_broker(fault, packet);
        if to_broker.lock().expect("one thread").write_all(&changed).is_err() {
            break;
        }
    }
    let mut to_broker = to_broker.into_inner().expect("one thread");
    if fault == Fault::LossIsGoodbye {
        let _ = to_broker.write_all(&[0xE0, 0]);
    }
    let _ = to_broker.shutdown(Shutdown::Write);
    let _ = back.join();
}

/// What the client gets instead of `packet`.
fn to_the_client(fault: Fault, mut packet: Vec<u8>, level: u8) -> Vec<u8> {
    let kind = packet[0] >> 4;
    match (fault, kind) {
        (Fault::DupForgotten, PUBLISH) => packet[0] &= !0x08,
        (Fault::RetainFlagForgotten, PUBLISH) => packet[0] &= !0x01,
        (Fault::TwiceAtQos0, PUBLISH) if packet[0] & 0x06 == 0 => return packet.repeat(2),
        (Fault::PropertiesLost, PUBLISH) if level == 5 => return without_properties(&packet),
        (Fault::SessionPresentForgotten, CONNACK) => packet[2] = 0,
        (Fault::PubackOfAnother, PUBACK) => packet[3] ^= 1,
        (Fault::SubackReversed, SUBACK) => {
            let begin = if level == 5 { 5 } else { 4 };
            packet[begin..].reverse();
        }
        (Fault::UnsubackAlwaysFine, UNSUBACK) if level == 5 => {
            packet[5..].iter_mut().for_each(|code| *code = 0);
        }
        (Fault::PingIgnored, PINGRESP)
        | (Fault::PubrelForgotten, PUBREL)
        | (Fault::TakenOverInSilence | Fault::NeverCloses, DISCONNECT) => return Vec::new(),
        _ => {}
    }
    packet
}

/// What the broker gets instead of `packet`.
fn to_the_broker(fault: Fault, mut packet: Vec<u8>) -> Vec<u8> {
    let kind = packet[0] >> 4;
    match (fault, kind) {
        (Fault::FlagsForgiven, PUBLISH) => {}
        (Fault::FlagsForgiven, PUBREL | SUBSCRIBE | UNSUBSCRIBE) => packet[0] = kind << 4 | 2,
        (Fault::FlagsForgiven, _) => packet[0] = kind << 4,
        (Fault::NoLocalForgotten, SUBSCRIBE) => {
            // The options of the last filter end the packet.
            if let Some(options) = packet.last_mut() {
                *options &= !0x04;
            }
        }
        (Fault::ReceiveMaximumForgotten, CONNECT) => {
            if let Some(at) = packet.windows(3).position(|three| three[0] == 0x21 && three[1] == 0)
            {
                packet[at + 1] = 0xFF;
            }
        }
        (Fault::TopicsInLowerCase, PUBLISH) => {
            let begin = header(&packet) + 2;
            let end = begin + usize::from(packet[begin - 2]) * 256 + usize::from(packet[begin - 1]);
            packet[begin..end].make_ascii_lowercase();
        }
        (Fault::GoodEndings, DISCONNECT) => return vec![0xE0, 0],
        _ => {}
    }
    packet
}

/// A short PUBLISH of MQTT 5 with no properties instead of those it has.
fn without_properties(packet: &[u8]) -> Vec<u8> {
    let begin = header(packet);
    let topic = usize::from(packet[begin]) * 256 + usize::from(packet[begin + 1]);
    let id = if packet[0] & 0x06 == 0 { 0 } else { 2 };
    let at = begin + 2 + topic + id;
    let length = usize::from(packet[at]);
    if length > 0x7F || packet.len() > 0x7F {
        return packet.to_vec();
    }
    let body = [&packet[begin..at], &[0], &packet[at + 1 + length..]].concat();
    [&[packet[0], body.len() as u8][..], &body].concat()
}

/// How many bytes the fixed header has.
fn header(packet: &[u8]) -> usize {
    2 + packet[1..].iter().take_while(|byte| **byte & 0x80 != 0).count()
}

/// The next packet, whole; None at the end of the connection.
fn next_packet(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut packet = vec![0];
    from.read_exact(&mut packet).ok()?;
    let (mut length, mut shift) = (0usize, 0);
    loop {
        let mut byte = [0];
        from.read_exact(&mut byte).ok()?;
        packet.push(byte[0]);
        length |= usize::from(byte[0] & 0x7F) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 || shift > 21 {
            break;
        }
    }
    let begin = packet.len();
    packet.resize(begin + length, 0);
    from.read_exact(&mut packet[begin..]).ok()?;
    Some(packet)
}

const CONNECT: u8 = 1;
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const PUBREL: u8 = 6;
const SUBSCRIBE: u8 = 8;
const SUBACK: u8 = 9;
const UNSUBSCRIBE: u8 = 10;
const UNSUBACK: u8 = 11;
const PINGRESP: u8 = 13;
const DISCONNECT: u8 = 14;
