//! The words of a conversation, owned and easy to write down: `publish("x/y", "m").qos(1).id(7)` is
//! what a client says, and also what a test expects to hear.
//!
//! Everything goes through the codec on its way to bytes and back, in the version of its
//! connection. What a version cannot say (a reason code before MQTT 5) is therefore not expected of
//! it either.

use crate::manners::Bounds;
use noctule_mqtt::codec::{self, EncodeError};
use noctule_mqtt::packet::{
    Ack, Auth, Connack, Connect, Disconnect, Publish, RetainHandling, Suback, Subscribe,
    Subscription, SubscriptionOptions, Unsuback, Unsubscribe, Will,
};
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    Packet, PacketId, PacketType, Properties, Property, PropertyBuffer, ProtocolVersion, QoS,
    ReasonCode, Receiver, TopicFilter, TopicName,
};
use std::fmt;

/// A packet that owns what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum Said {
    Connect(Box<Connecting>),
    /// Expected without properties, any properties will do.
    Connack {
        session_present: bool,
        reason: ReasonCode,
        properties: Option<Vec<u8>>,
    },
    Publish(Publishing),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Ack {
        packet: PacketType,
        id: u16,
        reason: ReasonCode,
    },
    Subscribe(Subscribing),
    Suback {
        id: u16,
        reasons: Vec<ReasonCode>,
    },
    Unsubscribe {
        id: u16,
        filters: Vec<String>,
    },
    /// Before MQTT 5 there are no reasons.
    Unsuback {
        id: u16,
        reasons: Vec<ReasonCode>,
    },
    Pingreq,
    Pingresp,
    /// Expected without properties, any properties will do.
    Disconnect {
        reason: ReasonCode,
        properties: Vec<u8>,
    },
    Auth {
        reason: ReasonCode,
        properties: Vec<u8>,
    },
}

/// CONNECT. A clean one without keep-alive, until told otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connecting {
    version: ProtocolVersion,
    clean: bool,
    keep_alive: u16,
    client_id: Option<String>,
    will: Option<Willing>,
    user_name: Option<String>,
    password: Option<Vec<u8>>,
    properties: Vec<u8>,
}

/// The will in a CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Willing {
    topic: String,
    payload: Vec<u8>,
    qos: QoS,
    retain: bool,
    properties: Vec<u8>,
}

/// PUBLISH, at QoS 0 until told otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publishing {
    /// The topic; empty stands for a topic alias.
    pub topic: String,
    /// The message.
    pub payload: Vec<u8>,
    /// The QoS.
    pub qos: QoS,
    /// Expected without one at QoS 1 and 2, any identifier will do.
    pub id: Option<u16>,
    /// Whether it is a repetition.
    pub dup: bool,
    /// The retain flag.
    pub retain: bool,
    /// As on the wire, without their length.
    pub properties: Vec<u8>,
}

/// SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribing {
    id: u16,
    properties: Vec<u8>,
    filters: Vec<(String, SubscriptionOptions)>,
}

/// A CONNECT of MQTT 3.1.
pub fn v31() -> Connecting {
    Connecting::of(ProtocolVersion::V31)
}

/// A CONNECT of MQTT 3.1.1.
pub fn v311() -> Connecting {
    Connecting::of(ProtocolVersion::V311)
}

/// A CONNECT of MQTT 5.
pub fn v5() -> Connecting {
    Connecting::of(ProtocolVersion::V5)
}

/// A will.
pub fn will(topic: &str, payload: impl AsRef<[u8]>) -> Willing {
    Willing {
        topic: topic.into(),
        payload: payload.as_ref().into(),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: Vec::new(),
    }
}

/// A CONNACK that accepts.
pub fn connack() -> Said {
    connack_of(false, ReasonCode::Success)
}

/// A CONNACK that accepts and goes on with a session.
pub fn connack_present() -> Said {
    connack_of(true, ReasonCode::Success)
}

/// A CONNACK that refuses.
pub fn connack_refused(reason: ReasonCode) -> Said {
    connack_of(false, reason)
}

fn connack_of(session_present: bool, reason: ReasonCode) -> Said {
    Said::Connack { session_present, reason, properties: None }
}

/// A PUBLISH.
pub fn publish(topic: &str, payload: impl AsRef<[u8]>) -> Publishing {
    Publishing {
        topic: topic.into(),
        payload: payload.as_ref().into(),
        qos: QoS::AtMostOnce,
        id: None,
        dup: false,
        retain: false,
        properties: Vec::new(),
    }
}

/// A PUBACK.
pub fn puback(id: u16) -> Said {
    ack(PacketType::Puback, id)
}

/// A PUBREC.
pub fn pubrec(id: u16) -> Said {
    ack(PacketType::Pubrec, id)
}

/// A PUBREL.
pub fn pubrel(id: u16) -> Said {
    ack(PacketType::Pubrel, id)
}

/// A PUBCOMP.
pub fn pubcomp(id: u16) -> Said {
    ack(PacketType::Pubcomp, id)
}

fn ack(packet: PacketType, id: u16) -> Said {
    Said::Ack { packet, id, reason: ReasonCode::Success }
}

/// A SUBSCRIBE to one filter.
pub fn subscribe(id: u16, filter: &str, qos: u8) -> Subscribing {
    Subscribing { id, properties: Vec::new(), filters: Vec::new() }.and(filter, qos)
}

/// A SUBACK with these reason bytes.
pub fn suback(id: u16, reasons: &[u8]) -> Said {
    Said::Suback { id, reasons: reasons.iter().map(|byte| reason(*byte)).collect() }
}

/// An UNSUBSCRIBE.
pub fn unsubscribe(id: u16, filters: &[&str]) -> Said {
    Said::Unsubscribe { id, filters: filters.iter().map(|filter| (*filter).into()).collect() }
}

/// An UNSUBACK with these reason bytes, which only MQTT 5 has.
pub fn unsuback(id: u16, reasons: &[u8]) -> Said {
    Said::Unsuback { id, reasons: reasons.iter().map(|byte| reason(*byte)).collect() }
}

/// A PINGREQ.
pub fn pingreq() -> Said {
    Said::Pingreq
}

/// A PINGRESP.
pub fn pingresp() -> Said {
    Said::Pingresp
}

/// An AUTH with a method and data.
pub fn auth(reason: ReasonCode, method: &str, data: &[u8]) -> Said {
    let all = [Property::AuthenticationMethod(method), Property::AuthenticationData(data)];
    Said::Auth { reason, properties: properties(PacketType::Auth, &all) }
}

/// A DISCONNECT with nothing but a reason.
pub fn disconnect(reason: ReasonCode) -> Said {
    Said::Disconnect { reason, properties: Vec::new() }
}

/// A DISCONNECT that changes the session expiry interval.
pub fn disconnect_expiring(reason: ReasonCode, seconds: u32) -> Said {
    let properties =
        properties(PacketType::Disconnect, &[Property::SessionExpiryInterval(seconds)]);
    Said::Disconnect { reason, properties }
}

/// Properties of a packet as on the wire, without their length.
///
/// # Panics
/// If the packet may not have them.
pub fn properties(packet: PacketType, all: &[Property<'_>]) -> Vec<u8> {
    written(Carrier::Packet(packet), all)
}

fn written(carrier: Carrier, all: &[Property<'_>]) -> Vec<u8> {
    let mut buffer = PropertyBuffer::new(carrier);
    for property in all {
        if let Err(error) = buffer.push(*property) {
            panic!("the test writes a property that may not be: {error}");
        }
    }
    buffer.as_properties().as_bytes().into()
}

fn reason(byte: u8) -> ReasonCode {
    ReasonCode::from_byte(byte).unwrap_or_else(|| panic!("{byte:#04x} is no reason code"))
}

fn qos_of(number: u8) -> QoS {
    QoS::from_bits(number).unwrap_or_else(|| panic!("{number} is no QoS"))
}

impl Connecting {
    /// A CONNECT of `version`.
    pub fn of(version: ProtocolVersion) -> Self {
        Self {
            version,
            clean: true,
            keep_alive: 0,
            client_id: None,
            will: None,
            user_name: None,
            password: None,
            properties: Vec::new(),
        }
    }

    /// Sets the client identifier, which is otherwise the name of the client in the test.
    pub fn id(mut self, client_id: &str) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// Clean Session, or Clean Start.
    pub fn clean(mut self, clean: bool) -> Self {
        self.clean = clean;
        self
    }

    /// A session that is gone on with and that outlives the connection for an hour at least, in any
    /// version.
    pub fn persistent(self) -> Self {
        let expiring = self.version == ProtocolVersion::V5;
        let connect = self.clean(false);
        if expiring { connect.expiry(3_600) } else { connect }
    }

    /// Keep alive in seconds.
    pub fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive = seconds;
        self
    }

    /// The will.
    pub fn will(mut self, will: Willing) -> Self {
        self.will = Some(will);
        self
    }

    /// User name.
    pub fn user(mut self, name: &str) -> Self {
        self.user_name = Some(name.into());
        self
    }

    /// Password.
    pub fn password(mut self, password: impl AsRef<[u8]>) -> Self {
        self.password = Some(password.as_ref().into());
        self
    }

    /// Adds a property.
    pub fn property(mut self, property: Property<'_>) -> Self {
        self.properties.extend(properties(PacketType::Connect, &[property]));
        self
    }

    /// Session expiry interval in seconds.
    pub fn expiry(self, seconds: u32) -> Self {
        self.property(Property::SessionExpiryInterval(seconds))
    }

    /// Receive maximum.
    pub fn receive_maximum(self, messages: u16) -> Self {
        self.property(Property::ReceiveMaximum(messages))
    }

    /// Topic alias maximum.
    pub fn aliases(self, most: u16) -> Self {
        self.property(Property::TopicAliasMaximum(most))
    }

    /// Authentication method and data.
    pub fn method(self, method: &str, data: &[u8]) -> Self {
        self.property(Property::AuthenticationMethod(method))
            .property(Property::AuthenticationData(data))
    }

    /// Maximum packet size in bytes.
    pub fn packet_max(self, bytes: u32) -> Self {
        self.property(Property::MaximumPacketSize(bytes))
    }

    /// The version it announces.
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    pub(crate) fn named(mut self, name: &str) -> Self {
        self.client_id.get_or_insert_with(|| name.into());
        self
    }

    /// Keep alive in seconds.
    pub(crate) fn keep_alive_seconds(&self) -> u16 {
        self.keep_alive
    }

    /// The client identifier; empty if the broker is to choose one, or a test has not said any.
    pub fn client_id(&self) -> &str {
        self.client_id.as_deref().unwrap_or_default()
    }

    /// What its will says, if it has one.
    pub fn will_payload(&self) -> Option<&[u8]> {
        self.will.as_ref().map(|will| &*will.payload)
    }

    /// The limits it sets on what it is sent.
    pub(crate) fn bounds(&self) -> Bounds {
        let properties = Properties::from_checked(&self.properties);
        Bounds {
            receive_maximum: properties.receive_maximum().unwrap_or(u16::MAX),
            packet_bytes_max: properties.maximum_packet_size().unwrap_or(u32::MAX),
            topic_aliases_max: properties.topic_alias_maximum().unwrap_or(0),
        }
    }
}

impl Willing {
    /// Its QoS.
    pub fn qos(mut self, qos: u8) -> Self {
        self.qos = qos_of(qos);
        self
    }

    /// Has it retained.
    pub fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    /// Will delay interval in seconds.
    pub fn delay(self, seconds: u32) -> Self {
        self.property(Property::WillDelayInterval(seconds))
    }

    /// Adds a property.
    pub fn property(mut self, property: Property<'_>) -> Self {
        self.properties.extend(written(Carrier::Will, &[property]));
        self
    }
}

impl Publishing {
    /// The QoS.
    pub fn qos(mut self, qos: u8) -> Self {
        self.qos = qos_of(qos);
        self
    }

    /// The packet identifier.
    pub fn id(mut self, id: u16) -> Self {
        self.id = Some(id);
        self
    }

    /// Marks it as a repetition.
    pub fn dup(mut self) -> Self {
        self.dup = true;
        self
    }

    /// Sets the retain flag.
    pub fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    /// Adds a property.
    pub fn property(mut self, property: Property<'_>) -> Self {
        self.properties.extend(properties(PacketType::Publish, &[property]));
        self
    }

    /// Adds a topic alias.
    pub fn alias(self, alias: u16) -> Self {
        self.property(Property::TopicAlias(alias))
    }

    /// Adds a message expiry interval in seconds.
    pub fn expiring(self, seconds: u32) -> Self {
        self.property(Property::MessageExpiryInterval(seconds))
    }

    /// The packet identifier it has.
    ///
    /// # Panics
    /// If it has none.
    #[track_caller]
    pub fn packet_id(&self) -> u16 {
        self.id.unwrap_or_else(|| panic!("a PUBLISH at {} has no packet identifier", self.qos))
    }
}

impl Subscribing {
    /// Its packet identifier.
    pub fn packet_id(&self) -> u16 {
        self.id
    }

    /// One more filter.
    pub fn and(mut self, filter: &str, qos: u8) -> Self {
        self.filters.push((filter.into(), SubscriptionOptions::qos(qos_of(qos))));
        self
    }

    /// The subscription identifier, of all filters.
    pub fn identifier(self, identifier: u32) -> Self {
        self.property(Property::SubscriptionIdentifier(identifier))
    }

    /// One more property.
    pub fn property(mut self, property: Property<'_>) -> Self {
        self.properties.extend(properties(PacketType::Subscribe, &[property]));
        self
    }

    /// No Local, for the last filter.
    pub fn no_local(self) -> Self {
        self.change(|options| options.no_local = true)
    }

    /// Retain As Published, for the last filter.
    pub fn retain_as_published(self) -> Self {
        self.change(|options| options.retain_as_published = true)
    }

    /// Retain Handling, for the last filter.
    pub fn retain_handling(self, handling: RetainHandling) -> Self {
        self.change(|options| options.retain_handling = handling)
    }

    fn change(mut self, change: impl FnOnce(&mut SubscriptionOptions)) -> Self {
        if let Some((_, options)) = self.filters.last_mut() {
            change(options);
        }
        self
    }
}

impl From<Connecting> for Said {
    fn from(connect: Connecting) -> Self {
        Self::Connect(Box::new(connect))
    }
}

impl From<Publishing> for Said {
    fn from(publish: Publishing) -> Self {
        Self::Publish(publish)
    }
}

impl From<Subscribing> for Said {
    fn from(subscribe: Subscribing) -> Self {
        Self::Subscribe(subscribe)
    }
}

impl Said {
    /// Gives an acknowledgement or UNSUBACK-like answer another reason.
    ///
    /// # Panics
    /// If this is no acknowledgement.
    pub fn because(self, because: ReasonCode) -> Self {
        match self {
            Self::Ack { packet, id, .. } => Self::Ack { packet, id, reason: because },
            other => panic!("{other} has no reason to change"),
        }
    }

    /// The bytes of the packet in `version`.
    ///
    /// # Errors
    /// As [`codec::encode`], and for topics that cannot be.
    pub fn bytes(&self, version: ProtocolVersion) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::new();
        codec::encode(&self.packet()?, version, &mut out)?;
        Ok(out)
    }

    /// What `packet` says.
    pub fn of(packet: &Packet<'_>) -> Self {
        match packet {
            Packet::Connect(connect) => Self::Connect(Box::new(Connecting::heard(connect))),
            Packet::Connack(connack) => Self::Connack {
                session_present: connack.session_present,
                reason: connack.reason,
                properties: Some(connack.properties.as_bytes().into()),
            },
            Packet::Publish(publish) => Self::Publish(Publishing::heard(publish)),
            Packet::Puback(ack)
            | Packet::Pubrec(ack)
            | Packet::Pubrel(ack)
            | Packet::Pubcomp(ack) => Self::Ack {
                packet: packet.packet_type(),
                id: ack.packet_id.get(),
                reason: ack.reason,
            },
            Packet::Subscribe(subscribe) => Self::Subscribe(Subscribing {
                id: subscribe.packet_id.get(),
                properties: subscribe.properties.as_bytes().into(),
                filters: subscribe
                    .subscriptions
                    .iter()
                    .map(|one| (one.filter.as_str().into(), one.options))
                    .collect(),
            }),
            Packet::Suback(suback) => {
                Self::Suback { id: suback.packet_id.get(), reasons: suback.reasons.clone() }
            }
            Packet::Unsubscribe(unsubscribe) => Self::Unsubscribe {
                id: unsubscribe.packet_id.get(),
                filters: unsubscribe.filters.iter().map(|one| one.as_str().into()).collect(),
            },
            Packet::Unsuback(unsuback) => {
                Self::Unsuback { id: unsuback.packet_id.get(), reasons: unsuback.reasons.clone() }
            }
            Packet::Pingreq => Self::Pingreq,
            Packet::Pingresp => Self::Pingresp,
            Packet::Disconnect(disconnect) => Self::Disconnect {
                reason: disconnect.reason,
                properties: disconnect.properties.as_bytes().into(),
            },
            Packet::Auth(auth) => {
                Self::Auth { reason: auth.reason, properties: auth.properties.as_bytes().into() }
            }
        }
    }

    /// Whether a client of `version` that expects this may be content with `heard`.
    pub(crate) fn admits(&self, heard: &Said, version: ProtocolVersion) -> bool {
        let mut wanted = self.clone();
        match (&mut wanted, heard) {
            (Self::Publish(wanted), Self::Publish(heard)) => {
                wanted.id = wanted.id.or(heard.id);
            }
            (
                Self::Connack { properties: wanted @ None, .. },
                Self::Connack { properties: heard, .. },
            ) => wanted.clone_from(heard),
            (
                Self::Disconnect { properties: wanted, .. },
                Self::Disconnect { properties: heard, .. },
            ) if wanted.is_empty() => wanted.clone_from(heard),
            _ => {}
        }
        wanted.as_heard(version).is_some_and(|wanted| wanted == *heard)
    }

    /// What a client of `version` hears when this is said to it.
    fn as_heard(&self, version: ProtocolVersion) -> Option<Said> {
        let bytes = self.bytes(version).ok()?;
        let frame = codec::next_frame(&bytes, u32::MAX).ok()??;
        codec::decode(&frame, version, Receiver::Client).ok().map(|packet| Self::of(&packet))
    }

    fn packet(&self) -> Result<Packet<'_>, EncodeError> {
        Ok(match self {
            Self::Connect(connect) => Packet::Connect(Box::new(connect.packet()?)),
            Self::Connack { session_present, reason, properties } => Packet::Connack(Connack {
                session_present: *session_present,
                reason: *reason,
                properties: Properties::from_checked(properties.as_deref().unwrap_or(&[])),
            }),
            Self::Publish(publish) => Packet::Publish(publish.packet()?),
            Self::Ack { packet, id, reason } => {
                let ack = Ack::new(packet_id(*id), *reason);
                match packet {
                    PacketType::Puback => Packet::Puback(ack),
                    PacketType::Pubrec => Packet::Pubrec(ack),
                    PacketType::Pubrel => Packet::Pubrel(ack),
                    _ => Packet::Pubcomp(ack),
                }
            }
            Self::Subscribe(subscribe) => Packet::Subscribe(subscribe.packet()?),
            Self::Suback { id, reasons } => Packet::Suback(Suback {
                packet_id: packet_id(*id),
                properties: Properties::EMPTY,
                reasons: reasons.clone(),
            }),
            Self::Unsubscribe { id, filters } => Packet::Unsubscribe(Unsubscribe {
                packet_id: packet_id(*id),
                properties: Properties::EMPTY,
                filters: filters
                    .iter()
                    .map(|one| TopicFilter::new(one))
                    .collect::<Result<_, _>>()?,
            }),
            Self::Unsuback { id, reasons } => Packet::Unsuback(Unsuback {
                packet_id: packet_id(*id),
                properties: Properties::EMPTY,
                reasons: reasons.clone(),
            }),
            Self::Pingreq => Packet::Pingreq,
            Self::Pingresp => Packet::Pingresp,
            Self::Disconnect { reason, properties } => Packet::Disconnect(Disconnect {
                reason: *reason,
                properties: Properties::from_checked(properties),
            }),
            Self::Auth { reason, properties } => Packet::Auth(Auth {
                reason: *reason,
                properties: Properties::from_checked(properties),
            }),
        })
    }
}

impl Connecting {
    fn packet(&self) -> Result<Connect<'_>, EncodeError> {
        let will = match &self.will {
            None => None,
            Some(will) => Some(Will {
                topic: TopicName::new(&will.topic)?,
                qos: will.qos,
                retain: will.retain,
                payload: &will.payload,
                properties: Properties::from_checked(&will.properties),
            }),
        };
        Ok(Connect {
            version: self.version,
            clean_start: self.clean,
            keep_alive: self.keep_alive,
            client_id: self.client_id.as_deref().unwrap_or(""),
            will,
            user_name: self.user_name.as_deref(),
            password: self.password.as_deref(),
            properties: Properties::from_checked(&self.properties),
        })
    }

    fn heard(connect: &Connect<'_>) -> Self {
        Self {
            version: connect.version,
            clean: connect.clean_start,
            keep_alive: connect.keep_alive,
            client_id: Some(connect.client_id.into()),
            will: connect.will.map(|will| Willing {
                topic: will.topic.as_str().into(),
                payload: will.payload.into(),
                qos: will.qos,
                retain: will.retain,
                properties: will.properties.as_bytes().into(),
            }),
            user_name: connect.user_name.map(Into::into),
            password: connect.password.map(Into::into),
            properties: connect.properties.as_bytes().into(),
        }
    }
}

impl Publishing {
    fn packet(&self) -> Result<Publish<'_>, EncodeError> {
        let topic = if self.topic.is_empty() { None } else { Some(TopicName::new(&self.topic)?) };
        Ok(Publish {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic,
            packet_id: self.id.map(packet_id),
            properties: Properties::from_checked(&self.properties),
            payload: &self.payload,
        })
    }

    fn heard(publish: &Publish<'_>) -> Self {
        Self {
            topic: publish.topic.map_or_else(String::new, |topic| topic.as_str().into()),
            payload: publish.payload.into(),
            qos: publish.qos,
            id: publish.packet_id.map(PacketId::get),
            dup: publish.dup,
            retain: publish.retain,
            properties: publish.properties.as_bytes().into(),
        }
    }
}

impl Subscribing {
    fn packet(&self) -> Result<Subscribe<'_>, EncodeError> {
        let mut subscriptions = Vec::new();
        for (filter, options) in &self.filters {
            let filter = TopicFilter::new(filter)?;
            subscriptions.push(Subscription { filter, options: *options });
        }
        Ok(Subscribe {
            packet_id: packet_id(self.id),
            properties: Properties::from_checked(&self.properties),
            subscriptions,
        })
    }
}

fn packet_id(id: u16) -> PacketId {
    PacketId::new(id).unwrap_or_else(|| panic!("0 is no packet identifier"))
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(connect) => {
                let id = connect.client_id.as_deref().unwrap_or("");
                write!(f, "CONNECT {id:?} clean={}", connect.clean)?;
                connect.will.as_ref().map_or(Ok(()), |will| write!(f, " will={:?}", will.topic))
            }
            Self::Connack { session_present, reason, .. } => {
                write!(f, "CONNACK {reason}")?;
                if *session_present { f.write_str(", session present") } else { Ok(()) }
            }
            Self::Publish(publish) => publish.fmt(f),
            Self::Ack { packet, id, reason } => {
                write!(f, "{packet} {id}")?;
                if *reason == ReasonCode::Success { Ok(()) } else { write!(f, ", {reason}") }
            }
            Self::Subscribe(subscribe) => {
                write!(f, "SUBSCRIBE {}", subscribe.id)?;
                subscribe
                    .filters
                    .iter()
                    .try_for_each(|(filter, options)| write!(f, " {filter:.60} {}", options.qos))
            }
            Self::Suback { id, reasons } => write!(f, "SUBACK {id} {reasons:?}"),
            Self::Unsubscribe { id, filters } => write!(f, "UNSUBSCRIBE {id} {filters:?}"),
            Self::Unsuback { id, reasons } => write!(f, "UNSUBACK {id} {reasons:?}"),
            Self::Pingreq => f.write_str("PINGREQ"),
            Self::Pingresp => f.write_str("PINGRESP"),
            Self::Disconnect { reason, .. } => write!(f, "DISCONNECT {reason}"),
            Self::Auth { reason, .. } => write!(f, "AUTH {reason}"),
        }
    }
}

/// Of payloads, so many bytes are shown.
const PAYLOAD_SHOWN: usize = 40;

impl fmt::Display for Publishing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PUBLISH {:.60}", self.topic)?;
        if self.qos != QoS::AtMostOnce {
            write!(f, " {} id {}", self.qos, self.id.map_or("any".into(), |id| id.to_string()))?;
        }
        f.write_str(if self.dup { " dup" } else { "" })?;
        f.write_str(if self.retain { " retain" } else { "" })?;
        if !self.properties.is_empty() {
            let properties = Properties::from_checked(&self.properties);
            write!(f, " {:?}", properties.iter().collect::<Vec<_>>())?;
        }
        let shown = &self.payload[..self.payload.len().min(PAYLOAD_SHOWN)];
        write!(f, " {:?}", String::from_utf8_lossy(shown))?;
        if shown.len() < self.payload.len() {
            write!(f, "… ({} bytes)", self.payload.len())?;
        }
        Ok(())
    }
}
