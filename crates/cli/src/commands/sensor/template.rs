//! What a reading becomes: messages by templates, and a line for people.

use noctule_client::{Publish, QoS};

use crate::client_arguments::PropertyOption;
use crate::weather::Reading;

/// What all messages have in common.
pub(super) struct Templates {
    pub(super) prefix: String,
    pub(super) topic: String,
    pub(super) payload: String,
    pub(super) qos: QoS,
    pub(super) properties: Vec<PropertyOption>,
}

/// What differs from message to message, but for the value.
pub(super) struct Occasion<'a> {
    /// The number of the device, from 1.
    pub(super) device: u32,
    pub(super) timestamp: &'a str,
    pub(super) round: u64,
}

impl Templates {
    /// The messages of one reading: each value, and the status.
    pub(super) fn messages(&self, reading: &Reading, occasion: &Occasion<'_>) -> Vec<Publish> {
        let values = [
            ("temperature", reading.temperature, "°C"),
            ("humidity", reading.humidity, "%"),
            ("pressure", reading.pressure, "hPa"),
        ];
        let mut messages: Vec<_> = values
            .iter()
            .map(|(name, value, unit)| {
                let value = format!("{value:.1}");
                let fill = |template: &str| self.fill(template, occasion, name, &value, unit);
                self.message(&fill(&self.topic), fill(&self.payload))
            })
            .collect();
        let topic = self.fill(&self.topic, occasion, "status", "", "");
        let Reading { temperature, humidity, pressure } = reading;
        let status = format!(
            "{{\"timestamp\": \"{}\", \"temp\": {temperature:.1}, \"humidity\": {humidity:.1}, \
             \"pressure\": {pressure:.1}}}",
            occasion.timestamp
        );
        messages.push(self.message(&topic, status).retain(true));
        messages
    }

    fn message(&self, topic: &str, payload: String) -> Publish {
        let message = Publish::new(topic, payload.into_bytes()).qos(self.qos);
        self.properties.iter().fold(message, |message, option| message.property(option.property()))
    }

    fn fill(
        &self,
        template: &str,
        occasion: &Occasion<'_>,
        name: &str,
        value: &str,
        unit: &str,
    ) -> String {
        template
            .replace("{prefix}", &self.prefix)
            .replace("{device}", &occasion.device.to_string())
            .replace("{name}", name)
            .replace("{value}", value)
            .replace("{unit}", unit)
            .replace("{timestamp}", occasion.timestamp)
            .replace("{number}", &occasion.round.to_string())
    }
}

/// A reading as one line.
pub(super) fn shown(reading: &Reading) -> String {
    let Reading { temperature, humidity, pressure } = reading;
    format!("T:{temperature:.1}°C H:{humidity:.1}% P:{pressure:.1}hPa")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_shown_in_one_line() {
        let reading = Reading { temperature: 23.5, humidity: 65.2, pressure: 1_011.7 };
        assert_eq!(shown(&reading), "T:23.5°C H:65.2% P:1011.7hPa");
    }
}
