//! CONNECT (section 3.1): who a client is, what it wants, and its last will.

use super::PacketType;
use crate::codec::{self, EncodeError, Reader, write_binary, write_string, write_text};
use crate::property::Carrier;
use crate::{Properties, ProtocolVersion, QoS, TopicName, Violation};

/// A client's first packet `[MQTT5-3.1.0-1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The version the connection will speak.
    pub version: ProtocolVersion,
    /// Whether to forget the stored session: Clean Start in MQTT 5, Clean Session before, which
    /// also means that nothing is kept afterwards.
    pub clean_start: bool,
    /// Keep alive in seconds; 0 switches it off.
    pub keep_alive: u16,
    /// May be empty: the server chooses one then, or refuses.
    pub client_id: &'a str,
    /// What the server publishes if the client is lost.
    pub will: Option<Will<'a>>,
    /// User name.
    pub user_name: Option<&'a str>,
    /// Password, any bytes.
    pub password: Option<&'a [u8]>,
    /// Session expiry interval, receive maximum and more.
    pub properties: Properties<'a>,
}

/// A message the server publishes for a client that was lost (section 3.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Will<'a> {
    /// Where it is published.
    pub topic: TopicName<'a>,
    /// With which QoS.
    pub qos: QoS,
    /// Whether it becomes the topic's retained message.
    pub retain: bool,
    /// What it says.
    pub payload: &'a [u8],
    /// Will delay interval, and the message's own properties.
    pub properties: Properties<'a>,
}

const USER_NAME: u8 = 0x80;
const PASSWORD: u8 = 0x40;
const WILL_RETAIN: u8 = 0x20;
const WILL_QOS_SHIFT: u8 = 3;
const WILL: u8 = 0x04;
const CLEAN_START: u8 = 0x02;
const RESERVED: u8 = 0x01;

/// The version that the body of a CONNECT announces, if it is one we know: enough to choose the
/// words of a refusal when the rest cannot be read.
pub fn announced_version(body: &[u8]) -> Option<ProtocolVersion> {
    read_version(&mut Reader::new(body, PacketType::Connect)).ok()
}

fn read_version(reader: &mut Reader<'_>) -> Result<ProtocolVersion, Violation> {
    // [MQTT3-3.1.2-1] [MQTT5-3.1.2-1]
    let name = reader.binary("protocol name")?;
    if !ProtocolVersion::ALL.iter().any(|version| version.announced_as().0.as_bytes() == name) {
        return Err(Violation::ProtocolNameUnknown);
    }
    // [MQTT3-3.1.2-2] [MQTT5-3.1.2-2]
    let level = reader.u8("protocol version")?;
    ProtocolVersion::ALL
        .into_iter()
        .find(|version| {
            (version.announced_as().0.as_bytes(), version.announced_as().1) == (name, level)
        })
        .ok_or(Violation::ProtocolVersionUnsupported { level })
}

impl<'a> Connect<'a> {
    pub(super) fn read(mut reader: Reader<'a>) -> Result<Self, Violation> {
        let version = read_version(&mut reader)?;
        let flags = reader.u8("connect flags")?;
        check_flags(flags, version)?;
        let keep_alive = reader.u16("keep alive")?;
        let properties = reader.properties(version)?;
        check_authentication(properties)?;
        let client_id = reader.string("client identifier")?;
        let will =
            if flags & WILL != 0 { Some(Will::read(flags, &mut reader, version)?) } else { None };
        let missing = version.tolerates_missing_user_name() && reader.is_empty();
        let user_name =
            (flags & USER_NAME != 0 && !missing).then(|| reader.string("user name")).transpose()?;
        let missing = version.tolerates_missing_user_name() && reader.is_empty();
        let password =
            (flags & PASSWORD != 0 && !missing).then(|| reader.binary("password")).transpose()?;
        reader.finish()?;
        Ok(Self {
            version,
            clean_start: flags & CLEAN_START != 0,
            keep_alive,
            client_id,
            will,
            user_name,
            password,
            properties,
        })
    }

    /// Appends CONNECT. A field is there exactly if its flag says so `[MQTT3-3.1.2-9]`
    /// `[MQTT3-3.1.2-18]` `[MQTT3-3.1.2-19]` `[MQTT3-3.1.2-20]` `[MQTT3-3.1.2-21]` `[MQTT5-3.1.2-9]`
    /// `[MQTT5-3.1.2-16]` `[MQTT5-3.1.2-17]` `[MQTT5-3.1.2-18]` `[MQTT5-3.1.2-19]`, in their order
    /// and the client identifier first `[MQTT3-3.1.3-1]` `[MQTT3-3.1.3-3]` `[MQTT5-3.1.3-1]`
    /// `[MQTT5-3.1.3-3]`. What is text is text `[MQTT3-3.1.3-4]` `[MQTT3-3.1.3-10]`
    /// `[MQTT3-3.1.3-11]` `[MQTT5-3.1.3-4]` `[MQTT5-3.1.3-11]` `[MQTT5-3.1.3-12]`.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let (name, level) = self.version.announced_as();
        // [MQTT3-3.1.2-22]
        if self.password.is_some() && self.user_name.is_none() && !self.version.has_properties() {
            return Err(EncodeError::NotInVersion);
        }
        check_authentication(self.properties)?;
        codec::packet(out, PacketType::Connect.first_byte(), |out| {
            write_string(out, name)?;
            out.extend_from_slice(&[level, self.flags()]);
            out.extend_from_slice(&self.keep_alive.to_be_bytes());
            if self.version.has_properties() {
                self.properties.write(out)?;
            }
            write_text(out, self.client_id)?;
            if let Some(will) = &self.will {
                if self.version.has_properties() {
                    will.properties.write(out)?;
                }
                write_binary(out, will.topic.as_bytes())?;
                write_binary(out, will.payload)?;
            }
            self.user_name.map_or(Ok(()), |name| write_text(out, name))?;
            self.password.map_or(Ok(()), |password| write_binary(out, password))
        })
    }

    /// Without a will its QoS and retain flag are 0 `[MQTT3-3.1.2-11]` `[MQTT3-3.1.2-13]`
    /// `[MQTT3-3.1.2-15]` `[MQTT5-3.1.2-11]` `[MQTT5-3.1.2-13]`.
    fn flags(&self) -> u8 {
        let will = self.will.as_ref().map_or(0, |will| {
            WILL | will.qos.bits() << WILL_QOS_SHIFT | if will.retain { WILL_RETAIN } else { 0 }
        });
        let mut flags = will;
        if self.clean_start {
            flags |= CLEAN_START;
        }
        if self.user_name.is_some() {
            flags |= USER_NAME;
        }
        if self.password.is_some() {
            flags |= PASSWORD;
        }
        flags
    }
}

/// Refuses authentication data without a method (MQTT 5.0 sections 3.1.2.11.10 and 3.15.2.2).
pub(super) fn check_authentication(properties: Properties<'_>) -> Result<(), Violation> {
    if properties.authentication_data().is_some() && properties.authentication_method().is_none() {
        return Err(Violation::AuthenticationDataWithoutMethod);
    }
    Ok(())
}

/// Refuses flags that contradict each other (section 3.1.2.3 to 3.1.2.9).
fn check_flags(flags: u8, version: ProtocolVersion) -> Result<(), Violation> {
    let strict = !version.disregards_unused_connect_flags();
    // [MQTT3-3.1.2-3] [MQTT5-3.1.2-3]
    if strict && flags & RESERVED != 0 {
        return Err(Violation::ConnectFlagReserved);
    }
    if flags & WILL != 0 {
        // [MQTT3-3.1.2-14] [MQTT5-3.1.2-12]
        Reader::qos_bits(flags >> WILL_QOS_SHIFT, "will QoS")?;
    } else if strict && flags & (WILL_RETAIN | 0b11 << WILL_QOS_SHIFT) != 0 {
        return Err(Violation::WillFlagsWithoutWill);
    }
    // MQTT 5 allows a password alone (section 3.1.2.9).
    if flags & PASSWORD != 0 && flags & USER_NAME == 0 && version != ProtocolVersion::V5 {
        return Err(Violation::PasswordWithoutUserName);
    }
    Ok(())
}

impl<'a> Will<'a> {
    fn read(
        flags: u8,
        reader: &mut Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, Violation> {
        let properties = if version.has_properties() {
            Properties::read(reader, Carrier::Will)?
        } else {
            Properties::EMPTY
        };
        Ok(Self {
            properties,
            topic: TopicName::new(reader.topic_text("will topic")?)?,
            payload: reader.binary("will payload")?,
            qos: Reader::qos_bits(flags >> WILL_QOS_SHIFT, "will QoS")?,
            retain: flags & WILL_RETAIN != 0,
        })
    }
}
