//! Subscriptions to be made: what a user builds, and what is left of it once it has been checked.

use noctule_mqtt::codec::EncodeError;
use noctule_mqtt::packet::{RetainHandling, SubscriptionOptions};
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{PacketType, Property, PropertyBuffer, QoS, TopicFilter};

use crate::error::Error;

/// A subscription to be made.
///
/// All but the QoS belongs to MQTT 5 and is left out on connections of older versions.
#[derive(Clone, Debug)]
pub struct Subscribe {
    filter: String,
    options: SubscriptionOptions,
    properties: PropertyBuffer,
    fault: Option<EncodeError>,
}

impl Subscribe {
    /// Messages that match `filter`, at most at QoS 0.
    pub fn new(filter: impl Into<String>) -> Self {
        Self {
            filter: filter.into(),
            options: SubscriptionOptions::default(),
            properties: PropertyBuffer::new(Carrier::Packet(PacketType::Subscribe)),
            fault: None,
        }
    }

    /// Sets the highest QoS at which messages are wanted.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.options.qos = qos;
        self
    }

    /// Sets whether own messages are left out.
    #[must_use]
    pub fn no_local(mut self, no_local: bool) -> Self {
        self.options.no_local = no_local;
        self
    }

    /// Sets whether messages keep the retain flag that they were published with.
    #[must_use]
    pub fn retain_as_published(mut self, keep: bool) -> Self {
        self.options.retain_as_published = keep;
        self
    }

    /// Sets when retained messages are sent.
    #[must_use]
    pub fn retain_handling(mut self, handling: RetainHandling) -> Self {
        self.options.retain_handling = handling;
        self
    }

    /// Adds a property: a subscription identifier, user properties.
    #[must_use]
    pub fn property(mut self, property: Property<'_>) -> Self {
        if let Err(fault) = self.properties.push(property) {
            self.fault.get_or_insert(fault);
        }
        self
    }

    /// What is to be subscribed to, if it can be.
    pub(crate) fn check(self) -> Result<Wanted, Error> {
        if let Some(fault) = self.fault {
            return Err(fault.into());
        }
        checked_filter(&self.filter)?;
        if self.options.no_local && self.filter.starts_with("$share/") {
            return Err(Error::Invalid(
                "a shared subscription cannot leave out own messages (no local)".into(),
            ));
        }
        Ok(Wanted {
            filter: self.filter,
            options: self.options,
            properties: self.properties.as_properties().as_bytes().into(),
        })
    }
}

/// Checks a filter, shared ones included.
pub(crate) fn checked_filter(text: &str) -> Result<TopicFilter<'_>, Error> {
    let filter = TopicFilter::new(text).and_then(|filter| filter.shared().map(|_| filter));
    filter.map_err(|violation| {
        Error::Invalid(format!("\"{text}\" cannot be subscribed to: {violation}"))
    })
}

/// A subscription whose filter and properties are known to be right.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) filter: String,
    pub(crate) options: SubscriptionOptions,
    pub(crate) properties: Box<[u8]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_subscribed_to_is_refused_before_it_is_sent() {
        for filter in ["", "a/#/b", "a+", "$share/g", "$share/+/a"] {
            let error = Subscribe::new(filter).check().unwrap_err().to_string();
            assert!(error.contains("cannot be subscribed to"), "{error}");
        }
        assert!(Subscribe::new("$share/g/a").no_local(true).check().is_err());
        assert!(Subscribe::new("$share/g/a/#").check().is_ok());
        let twice = Property::SubscriptionIdentifier(1);
        assert!(Subscribe::new("a").property(twice).property(twice).check().is_err());
    }
}
