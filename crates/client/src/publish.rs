//! Messages to be sent: what a user builds, and what is left of it once it has been checked.

use bytes::Bytes;
use noctule_mqtt::codec::{self, EncodeError};
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    Packet, PacketId, PacketType, Properties, Property, PropertyBuffer, ProtocolVersion, QoS,
    TopicName, packet,
};

use crate::error::Error;

/// A message to be published.
///
/// Properties belong to MQTT 5 and are left out on connections of older versions.
#[derive(Clone, Debug)]
pub struct Publish {
    topic: String,
    payload: Bytes,
    qos: QoS,
    retain: bool,
    properties: PropertyBuffer,
    /// What was wrong with the first property that cannot be.
    fault: Option<EncodeError>,
}

impl Publish {
    /// `payload` on `topic`, at QoS 0, not retained.
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: PropertyBuffer::new(Carrier::Packet(PacketType::Publish)),
            fault: None,
        }
    }

    /// Sets the QoS.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Sets whether the broker keeps the message for later subscribers.
    #[must_use]
    pub fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// Adds a property. One that PUBLISH cannot have makes publishing fail.
    #[must_use]
    pub fn property(mut self, property: Property<'_>) -> Self {
        if let Err(fault) = self.properties.push(property) {
            self.fault.get_or_insert(fault);
        }
        self
    }

    /// Adds a user property.
    #[must_use]
    pub fn user_property(self, name: &str, value: &str) -> Self {
        self.property(Property::UserProperty((name, value)))
    }

    /// Says what the payload is, such as `application/json`.
    #[must_use]
    pub fn content_type(self, content_type: &str) -> Self {
        self.property(Property::ContentType(content_type))
    }

    /// After how many seconds the broker no longer delivers the message.
    #[must_use]
    pub fn message_expiry_seconds(self, seconds: u32) -> Self {
        self.property(Property::MessageExpiryInterval(seconds))
    }

    /// Where an answer is expected, and what it shall carry.
    #[must_use]
    pub fn response(self, topic: &str, correlation_data: &[u8]) -> Self {
        let with_topic = self.property(Property::ResponseTopic(topic));
        if correlation_data.is_empty() {
            return with_topic;
        }
        with_topic.property(Property::CorrelationData(correlation_data))
    }

    /// What is to be sent, if it can be.
    pub(crate) fn check(self) -> Result<Outgoing, Error> {
        if let Some(fault) = self.fault {
            return Err(fault.into());
        }
        let properties = self.properties.as_properties();
        if properties.topic_alias().is_some() {
            // An alias is known to one connection only; messages outlive connections. So none is sent,
            // whatever the broker's maximum is [MQTT5-3.2.2-17] [MQTT5-3.2.2-18] [MQTT5-3.3.2-9].
            return Err(Error::Invalid("a topic alias cannot be set for a message".into()));
        }
        if properties.subscription_identifier().is_some() {
            return Err(Error::Invalid(
                "a subscription identifier is the broker's to set, in messages to subscribers"
                    .into(),
            ));
        }
        TopicName::new(&self.topic).map_err(|violation| {
            Error::Invalid(format!("{violation}; \"{}\" cannot be published to", self.topic))
        })?;
        Ok(Outgoing {
            topic: self.topic,
            payload: self.payload,
            qos: self.qos,
            retain: self.retain,
            properties: properties.as_bytes().into(),
        })
    }
}

/// A message whose topic and properties are known to be right.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    topic: String,
    payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    properties: Box<[u8]>,
}

impl Outgoing {
    /// What it counts for in the queue's limit of bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.len()
    }

    /// Appends the PUBLISH to `out`.
    pub(crate) fn encode(
        &self,
        packet_id: Option<PacketId>,
        dup: bool,
        version: ProtocolVersion,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let publish = packet::Publish {
            dup,
            qos: self.qos,
            retain: self.retain,
            topic: Some(TopicName::from_checked(self.topic.as_bytes())),
            packet_id,
            properties: Properties::from_checked(&self.properties),
            payload: &self.payload,
        };
        codec::encode(&Packet::Publish(publish), version, out)
    }

    /// The size of the PUBLISH in bytes, at most (fixed header and packet identifier included).
    pub(crate) fn packet_bytes(&self, version: ProtocolVersion) -> usize {
        let properties = if version.has_properties() {
            self.properties.len() + codec::variable_byte_integer_len(self.properties.len())
        } else {
            0
        };
        let id = if self.qos == QoS::AtMostOnce { 0 } else { 2 };
        let remaining = 2 + self.topic.len() + id + properties + self.payload.len();
        1 + codec::variable_byte_integer_len(remaining) + remaining
    }
}

/// A message that the broker publishes if the client is lost.
#[derive(Clone, Debug)]
pub struct Will {
    topic: String,
    payload: Bytes,
    qos: QoS,
    retain: bool,
    properties: PropertyBuffer,
    fault: Option<EncodeError>,
}

impl Will {
    /// `payload` on `topic`, at QoS 0, not retained. The payload has at most 65,535 bytes.
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: PropertyBuffer::new(Carrier::Will),
            fault: None,
        }
    }

    /// Sets the QoS.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Sets whether the broker keeps the message for later subscribers.
    #[must_use]
    pub fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// Adds a property, such as the will delay interval. One that a will cannot have makes the
    /// connection options invalid.
    #[must_use]
    pub fn property(mut self, property: Property<'_>) -> Self {
        if let Err(fault) = self.properties.push(property) {
            self.fault.get_or_insert(fault);
        }
        self
    }

    /// The will as CONNECT has it.
    pub(crate) fn packet(&self) -> Result<packet::Will<'_>, Error> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone().into());
        }
        let topic = TopicName::new(&self.topic)
            .map_err(|violation| Error::Invalid(format!("the will cannot be: {violation}")))?;
        Ok(packet::Will {
            topic,
            qos: self.qos,
            retain: self.retain,
            payload: &self.payload,
            properties: self.properties.as_properties(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test] // [MQTT5-3.2.2-17] [MQTT5-3.2.2-18] [MQTT5-3.3.2-9]
    fn what_cannot_be_published_is_refused_before_it_is_sent() {
        assert!(matches!(Publish::new("a/+", "x").check(), Err(Error::Invalid(_))));
        assert!(matches!(Publish::new("", "x").check(), Err(Error::Invalid(_))));
        let twice = Publish::new("a", "x").content_type("a").content_type("b");
        assert!(matches!(twice.check(), Err(Error::Invalid(_))));
        let alias = Publish::new("a", "x").property(Property::TopicAlias(1));
        assert!(alias.check().unwrap_err().to_string().contains("alias"));
    }

    #[test]
    fn the_size_is_that_of_the_packet() {
        for version in ProtocolVersion::ALL {
            for payload in [0, 100, 130, 20_000] {
                for qos in QoS::ALL {
                    let publish = Publish::new("a/b", vec![0; payload]).qos(qos);
                    let publish = publish.user_property("n", "v").check().unwrap();
                    let id = (qos != QoS::AtMostOnce).then_some(PacketId::FIRST);
                    let mut out = Vec::new();
                    publish.encode(id, false, version, &mut out).unwrap();
                    assert_eq!(publish.packet_bytes(version), out.len());
                }
            }
        }
    }
}
