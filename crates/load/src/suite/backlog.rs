//! Very many messages that wait for clients who are away, until they come and take them: what they
//! take of memory, and how much of it stays with the broker when they are gone.

use std::io::{Read, Write};

use noctule_mqtt::{PacketType, QoS, codec};

use super::Measured;
use super::holding::{calmed, settled};
use crate::LoadError;
use crate::checker::{Faults, Sequence};
use crate::link::Opening;
use crate::packets::{self, Arrival, Mark, Template};
use crate::target::Broker;

pub(super) fn measure(broker: &mut Broker, clients: u16, each: u32) -> Result<Measured, LoadError> {
    // One of each shows the broker its way.
    round(broker, 0, SHOWN)?;
    let before = calmed(broker)?;
    for client in 0..clients {
        subscribe(broker, client)?;
        publish(broker, client, each)?;
    }
    let full = settled(broker)?;
    let mut faults = Faults::default();
    for client in 0..clients {
        faults += take(broker, client, each)?;
        forget(broker, client)?;
    }
    let left = calmed(broker)?;
    let messages = f64::from(clients) * f64::from(each);
    let figures = vec![
        ("bytes", (full as f64 - before as f64) / messages),
        ("left_bytes", left as f64 - before as f64),
    ];
    Ok(Measured { figures, faults, ..Measured::default() })
}

/// What is done with one client: all of it.
fn round(broker: &Broker, client: u16, each: u32) -> Result<(), LoadError> {
    subscribe(broker, client)?;
    publish(broker, client, each)?;
    take(broker, client, each)?;
    forget(broker, client)
}

fn name(client: u16) -> String {
    format!("backlog-{client:05}")
}

fn topic(client: u16) -> String {
    format!("backlog/{client:05}")
}

/// Makes a session that outlives its connection.
fn subscribe(broker: &Broker, client: u16) -> Result<(), LoadError> {
    let mut opening = Opening::resume(&broker.address.into(), &name(client))?;
    opening.subscribe(&topic(client), QoS::AtLeastOnce)
}

/// Publishes, and returns when all is acknowledged.
fn publish(broker: &Broker, client: u16, count: u32) -> Result<(), LoadError> {
    let failed = |error| LoadError::io("cannot publish", error);
    let template = Template::new(&topic(client), QoS::AtLeastOnce, PAYLOAD_BYTES)?;
    let opening = Opening::connect(&broker.address.into(), "backlog-publisher", 0)?;
    let mut stream = opening.into_stream();
    let (mut out, mut acks) = (Vec::new(), Vec::new());
    for first in (0..count).step_by(TOGETHER as usize) {
        let numbers = first..count.min(first + TOGETHER);
        out.clear();
        for number in numbers.clone() {
            let mark = Mark { publisher: client, sequence: number.into() };
            template.append(mark, &mut out);
        }
        stream.write_all(&out).map_err(failed)?;
        acks.resize(numbers.len() * PUBACK_BYTES, 0);
        stream.read_exact(&mut acks).map_err(failed)?;
    }
    Ok(())
}

/// Comes back and takes what is owed.
fn take(broker: &Broker, client: u16, count: u32) -> Result<Faults, LoadError> {
    let failed = |error| LoadError::io("cannot take what was queued", error);
    let mut stream = Opening::resume(&broker.address.into(), &name(client))?.into_stream();
    let mut sequence = Sequence::default();
    let (mut input, mut out) = (Vec::new(), Vec::new());
    let mut scratch = vec![0; SCRATCH_BYTES];
    while sequence.delivered() < count.into() {
        // The stream gives up by itself when nothing comes for long.
        let read = stream.read(&mut scratch).map_err(failed)?;
        if read == 0 {
            return Err(LoadError::new("the broker closed the connection of a client"));
        }
        input.extend_from_slice(&scratch[..read]);
        let mut used = 0;
        while let Some(frame) = codec::next_frame(&input[used..], u32::MAX)
            .map_err(|violation| LoadError::new(format!("the broker sent {violation}")))?
        {
            used += frame.bytes.len();
            if frame.type_bits() != PacketType::Publish as u8 {
                continue;
            }
            if let Arrival::Ours { mark, packet_id: Some(packet_id), .. } = packets::arrival(&frame)
            {
                sequence.arrived(mark.sequence, count.into());
                packets::append_puback(packet_id, &mut out);
            }
        }
        input.drain(..used);
        stream.write_all(&out).map_err(failed)?;
        out.clear();
    }
    Ok(sequence.faults(count.into()))
}

/// Ends the session.
fn forget(broker: &Broker, client: u16) -> Result<(), LoadError> {
    Opening::connect(&broker.address.into(), &name(client), 0)?.ping()
}

const PAYLOAD_BYTES: usize = 64;
/// Under way at once.
const TOGETHER: u32 = 500;
/// Before MQTT 5.
const PUBACK_BYTES: usize = 4;
/// Messages of the round that is not counted.
const SHOWN: u32 = 1_000;
const SCRATCH_BYTES: usize = 256 * 1024;
