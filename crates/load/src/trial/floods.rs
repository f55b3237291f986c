//! Many floods at QoS 0 at once, each to a subscriber who reads.

use std::time::Duration;

use noctule_mqtt::QoS;

use super::flood::{Flood, FloodPlan};
use super::{Scene, Trial};
use crate::LoadError;

/// The trial.
#[derive(Debug, Clone)]
pub struct Floods {
    /// How many.
    pub count: u16,
    /// Size of a message, at least [`MARK_BYTES`](crate::packets::MARK_BYTES).
    pub payload_bytes: usize,
    /// How long.
    pub duration: Duration,
}

impl Trial for Floods {
    fn name(&self) -> String {
        format!("{} floods {} B", self.count, self.payload_bytes)
    }

    fn run(&self, scene: &mut Scene) -> Result<(), LoadError> {
        let flood = FloodPlan {
            topic: format!("floods/{:08x}", scene.run),
            publishers: self.count,
            qos: QoS::AtMostOnce,
            payload_bytes: self.payload_bytes,
            messages_each: None,
            heard: true,
        };
        let flood = Flood::start(scene.address, flood, scene.run)?;
        scene.phase("flooded");
        std::thread::sleep(self.duration);
        let flooded = flood.stop()?;
        scene.fact("sent", flooded.sent as f64);
        scene.fact("sent/s", (flooded.sent as f64 / flooded.seconds).round());
        scene.fact("delivered", flooded.delivered as f64);
        scene.fact("thrown out", flooded.thrown_out as f64);
        scene.faults(flooded.faults);
        Ok(())
    }
}
