//! A subscriber that never reads while others flood it.

use std::time::Duration;

use noctule_mqtt::QoS;

use super::deaf::Deaf;
use super::flood::{Flood, FloodPlan};
use super::{Scene, Trial};
use crate::LoadError;

/// The trial.
#[derive(Debug, Clone)]
pub struct Slow {
    /// Of the messages and the subscription.
    pub qos: QoS,
    /// How many flood it.
    pub publishers: u16,
    /// Size of a message, at least [`MARK_BYTES`](crate::packets::MARK_BYTES).
    pub payload_bytes: usize,
    /// How long.
    pub duration: Duration,
}

impl Trial for Slow {
    fn name(&self) -> String {
        format!("slow q{} {} B", self.qos.bits(), self.payload_bytes)
    }

    fn run(&self, scene: &mut Scene) -> Result<(), LoadError> {
        let topic = format!("slow/{:08x}/{}", scene.run, self.qos.bits());
        let id = format!("deaf-{:08x}-{}", scene.run, self.qos.bits());
        let deaf = Deaf::connect(scene.address, &id, &format!("{topic}/+"), self.qos)?;
        let flood = FloodPlan {
            topic,
            publishers: self.publishers,
            qos: self.qos,
            payload_bytes: self.payload_bytes,
            messages_each: None,
            heard: false,
        };
        let flood = Flood::start(scene.address, flood, scene.run)?;
        scene.phase("flooded");
        std::thread::sleep(self.duration);
        let flooded = flood.stop()?;
        scene.fact("sent", flooded.sent as f64);
        scene.fact("sent/s", (flooded.sent as f64 / flooded.seconds).round());
        scene.fact("thrown out", flooded.thrown_out as f64);
        scene.faults(flooded.faults);
        scene.phase("leaves");
        drop(deaf);
        std::thread::sleep(AFTER);
        Ok(())
    }
}

const AFTER: Duration = Duration::from_secs(1);
