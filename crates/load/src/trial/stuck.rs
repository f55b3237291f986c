//! Much for one receiver at QoS 1 who does not take it: one that is there and does not read, or one
//! whose session is kept while it is away. Later it takes what was kept, which is checked.

use noctule_mqtt::QoS;

use super::deaf::Deaf;
use super::flood::{Flood, FloodPlan};
use super::{Scene, Trial};
use crate::LoadError;
use crate::link::Opening;

/// Who does not take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiver {
    /// Connected, and never reads.
    Deaf,
    /// Away, with a persistent session.
    Absent,
}

/// The trial.
#[derive(Debug, Clone)]
pub struct Stuck {
    /// Who does not take it.
    pub receiver: Receiver,
    /// How many bytes of payload are sent in all.
    pub bytes: u64,
    /// Size of a message, at least [`MARK_BYTES`](crate::packets::MARK_BYTES).
    pub payload_bytes: usize,
}

impl Trial for Stuck {
    fn name(&self) -> String {
        let who = if self.receiver == Receiver::Deaf { "deaf" } else { "absent" };
        format!("stuck {who} {} B", self.payload_bytes)
    }

    fn run(&self, scene: &mut Scene) -> Result<(), LoadError> {
        let topic = format!("stuck/{:08x}/{:?}", scene.run, self.receiver);
        let (id, filter) = (format!("stuck-{:08x}", scene.run), format!("{topic}/+"));
        let deaf = match self.receiver {
            Receiver::Deaf => Some(Deaf::connect(scene.address, &id, &filter, QoS::AtLeastOnce)?),
            Receiver::Absent => {
                let mut opening = Opening::resume(&scene.address.into(), &id)?;
                opening.subscribe(&filter, QoS::AtLeastOnce)?;
                None
            }
        };
        let messages = self.bytes.div_ceil(self.payload_bytes as u64);
        let flood = FloodPlan {
            topic,
            publishers: 1,
            qos: QoS::AtLeastOnce,
            payload_bytes: self.payload_bytes,
            messages_each: Some(messages),
            heard: false,
        };
        scene.phase("sent to");
        let flooded = Flood::start(scene.address, flood, scene.run)?.wait()?;
        scene.fact("sent", flooded.sent as f64);
        scene.fact("sent/s", (flooded.sent as f64 / flooded.seconds).round());
        scene.fact("thrown out", flooded.thrown_out as f64);
        scene.faults(flooded.faults);
        scene.phase("takes it");
        let deaf = match deaf {
            Some(deaf) => deaf,
            None => Deaf::resume(scene.address, &id)?,
        };
        let drained = deaf.drain(&[flooded.sent])?;
        scene.fact("delivered", drained.delivered as f64);
        scene.fact("thrown out", f64::from(u8::from(drained.thrown_out)));
        scene.faults(drained.faults);
        // A clean session of that name leaves nothing behind.
        Opening::connect(&scene.address.into(), &id, 0)?;
        Ok(())
    }
}
