//! One client with very many subscriptions, and its leaving.

use std::time::Duration;

use noctule_mqtt::QoS;

use super::deaf::Deaf;
use super::{Scene, Trial};
use crate::LoadError;
use crate::link::Opening;
use crate::packets::{self, Mark, Template};

/// The trial.
#[derive(Debug, Clone)]
pub struct Heap {
    /// How many. The broker must allow them.
    pub subscriptions: u32,
    /// How many in a SUBSCRIBE.
    pub per_packet: u32,
}

impl Trial for Heap {
    fn name(&self) -> String {
        format!("heap of {}", self.subscriptions)
    }

    fn run(&self, scene: &mut Scene) -> Result<(), LoadError> {
        let id = format!("heap-{:08x}", scene.run);
        let mut opening = Opening::connect(&scene.address.into(), &id, 0)?;
        scene.phase("subscribes");
        let numbers: Vec<u32> = (0..self.subscriptions).collect();
        for numbers in numbers.chunks(self.per_packet.max(1) as usize) {
            let filters: Vec<_> = numbers.iter().map(|number| filter(scene.run, *number)).collect();
            let filters: Vec<_> = filters.iter().map(String::as_str).collect();
            opening.subscribe_all(&filters, QoS::AtLeastOnce)?;
        }
        scene.fact("subscriptions", f64::from(self.subscriptions));
        scene.phase("is sent to");
        let sent = self.send_some(scene)?;
        let drained = Deaf::after(opening).drain(&[sent])?;
        scene.fact("delivered", drained.delivered as f64);
        scene.faults(drained.faults);
        scene.phase("leaves");
        // Its connection was closed without a word. The same name is let in when it is gone.
        Opening::connect(&scene.address.into(), &id, 0)?;
        std::thread::sleep(AFTER);
        Ok(())
    }
}

impl Heap {
    /// One message for every hundredth subscription; how many.
    fn send_some(&self, scene: &Scene) -> Result<u64, LoadError> {
        let mut sender =
            Opening::connect(&scene.address.into(), &format!("heap-to-{:08x}", scene.run), 0)?;
        let numbers = (0..self.subscriptions).step_by(SAMPLE);
        let mut sent = 0;
        for number in numbers {
            let template = Template::new(&topic(scene.run, number), QoS::AtLeastOnce, PAYLOAD)?;
            let mut message = Vec::new();
            template.append(Mark { publisher: 0, sequence: sent }, &mut message);
            sender.publish(&message)?;
            sent += 1;
        }
        Ok(sent)
    }
}

/// Half without wildcards, half with.
fn filter(run: u32, number: u32) -> String {
    let group = number / 100;
    match number % 4 {
        0 | 1 => topic(run, number),
        2 => format!("heap/{run:08x}/{group}/{number}/#"),
        _ => format!("heap/{run:08x}/+/{number}/state"),
    }
}

/// A topic that this subscription alone matches.
fn topic(run: u32, number: u32) -> String {
    format!("heap/{run:08x}/{}/{number}/state", number / 100)
}

const SAMPLE: usize = 97;
const PAYLOAD: usize = packets::MARK_BYTES;
const AFTER: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_mqtt::{TopicFilter, TopicName};

    #[test]
    fn every_topic_matches_its_subscription_alone() {
        for number in [0, 1, 2, 3, 100, 101, 102, 103, 399] {
            let topic = topic(7, number);
            let name = TopicName::new(&topic).unwrap();
            let matching: Vec<u32> = (0..400)
                .filter(|other| TopicFilter::new(&filter(7, *other)).unwrap().matches(name))
                .collect();
            assert_eq!(matching, [number]);
        }
    }
}
