//! Retained messages: what keeping one takes of memory, and how long all of them take to one
//! subscriber.

use std::io::Read;
use std::time::Instant;

use noctule_mqtt::packet::Publish;
use noctule_mqtt::{Packet, PacketType, Properties, QoS, TopicName, codec};

use super::Measured;
use crate::checker::Faults;
use crate::link::Opening;
use crate::packets::{self, VERSION};
use crate::target::Broker;
use crate::{LoadError, process};

pub(super) fn measure(broker: &mut Broker, messages: u32) -> Result<Measured, LoadError> {
    let pid = broker.pid.ok_or_else(|| LoadError::new("the broker's process is not known"))?;
    let mut publisher = Opening::connect(&broker.address.into(), "keeper", 0)?;
    // What taking in so many needs for a while belongs to none of them.
    send(&mut publisher, 1..messages + 1, false)?;
    set(&mut publisher, 0..1)?;
    let before = (process::resident(pid)?, process::cpu_ns(pid)?);
    set(&mut publisher, 1..messages + 1)?;
    let after = (process::resident(pid)?, process::cpu_ns(pid)?);
    let each = |before: u64, after: u64| (after as f64 - before as f64) / f64::from(messages);
    let (received, seconds, broker_s) = take(broker, pid, messages + 1)?;
    let faults = Faults { lost: u64::from(messages + 1 - received), ..Faults::default() };
    Ok(Measured {
        figures: vec![
            ("bytes", each(before.0, after.0) - PAYLOAD.len() as f64),
            ("set_us", each(before.1, after.1) / 1e3),
            ("take_s", seconds),
            ("take_cpu_s", broker_s),
        ],
        faults,
        ..Measured::default()
    })
}

/// Has messages kept, and returns when the broker has taken them all.
fn set(publisher: &mut Opening, numbers: std::ops::Range<u32>) -> Result<(), LoadError> {
    send(publisher, numbers, true)
}

fn send(
    publisher: &mut Opening,
    numbers: std::ops::Range<u32>,
    retain: bool,
) -> Result<(), LoadError> {
    let mut bytes = Vec::new();
    for number in numbers {
        let topic = format!("keep/{:03}/{number:06}/state", number % 1_000);
        let publish = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain,
            topic: TopicName::new(&topic).ok(),
            packet_id: None,
            properties: Properties::EMPTY,
            payload: PAYLOAD,
        };
        bytes.extend_from_slice(&packets::encoded(&Packet::Publish(publish), VERSION)?);
        if bytes.len() > CHUNK_BYTES {
            publisher.write(&bytes)?;
            bytes.clear();
        }
    }
    publisher.write(&bytes)?;
    publisher.ping()
}

/// Subscribes to all of them: how many came, in how many seconds, and the broker's processor time
/// for it.
fn take(broker: &Broker, pid: u32, expected: u32) -> Result<(u32, f64, f64), LoadError> {
    let failed = |error| LoadError::io("cannot read what was retained", error);
    let mut subscriber = Opening::connect(&broker.address.into(), "taker", 0)?;
    let (begin, cpu_ns) = (Instant::now(), process::cpu_ns(pid)?);
    subscriber.subscribe("keep/#", QoS::AtMostOnce)?;
    let mut stream = subscriber.into_stream();
    let (mut received, mut input) = (0, Vec::new());
    let mut scratch = vec![0; SCRATCH_BYTES];
    while received < expected {
        // The stream gives up by itself when nothing comes for long.
        let count = stream.read(&mut scratch).map_err(failed)?;
        if count == 0 {
            return Err(LoadError::new("the broker closed the connection of the subscriber"));
        }
        input.extend_from_slice(&scratch[..count]);
        let mut used = 0;
        while let Some(frame) = codec::next_frame(&input[used..], u32::MAX)
            .map_err(|violation| LoadError::new(format!("the broker sent {violation}")))?
        {
            received += u32::from(frame.type_bits() == PacketType::Publish as u8);
            used += frame.bytes.len();
        }
        input.drain(..used);
    }
    let seconds = begin.elapsed().as_secs_f64();
    Ok((received, seconds, (process::cpu_ns(pid)? - cpu_ns) as f64 / 1e9))
}

const PAYLOAD: &[u8] = &[b'x'; 64];
const CHUNK_BYTES: usize = 32 * 1024;
const SCRATCH_BYTES: usize = 256 * 1024;
