//! Properties of MQTT 5: one table says what each is called, how its value is written, which
//! values are allowed, which packets may carry it and how often. Decoder, encoder and accessors
//! are made from it.
//!
//! [`Properties`] is a slice of the packet that has been checked against the table once. It is read
//! by iterating and passed on by copying, never by decoding and encoding again.

use crate::codec::{
    EncodeError, REMAINING_LENGTH_MAX, Reader, write_binary, write_text,
    write_variable_byte_integer,
};
use crate::{PacketType, TopicName, Violation};
use std::ops::Range;

/// What carries properties: a packet, or the will inside CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// The variable header of a packet.
    Packet(PacketType),
    /// The will properties in the payload of CONNECT (section 3.1.3.2).
    Will,
}

/// How often a property may appear in one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occurs {
    /// At most once; a second one is a protocol error.
    Once,
    /// Any number of times, the order kept.
    Repeatedly,
    /// Repeatedly in PUBLISH, once elsewhere: the subscription identifier.
    RepeatedlyInPublish,
}

/// Which values a property may have, beyond what its type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allowed {
    Any,
    ZeroOrOne,
    NotZero,
    TopicName,
}

impl Allowed {
    fn admits_number(self, value: u32) -> bool {
        match self {
            Self::Any | Self::TopicName => true,
            Self::ZeroOrOne => value <= 1,
            Self::NotZero => value != 0,
        }
    }

    fn admits_text(self, value: &str) -> bool {
        self != Self::TopicName || TopicName::new(value).is_ok()
    }
}

/// The types of values (section 2.2.2.2): what they are in Rust, how they are read, checked and
/// written. A type is one module-like row here, so that the table can name it. Both strings of a
/// pair are text `[MQTT5-1.5.7-1]`.
macro_rules! value_type {
    (type Byte) => { u8 };
    (type TwoByte) => { u16 };
    (type FourByte) => { u32 };
    (type Variable) => { u32 };
    (type Text) => { &'a str };
    (type Binary) => { &'a [u8] };
    (type Pair) => { (&'a str, &'a str) };

    (read Byte $reader:expr, $field:expr) => { $reader.u8($field) };
    (read TwoByte $reader:expr, $field:expr) => { $reader.u16($field) };
    (read FourByte $reader:expr, $field:expr) => { $reader.u32($field) };
    (read Variable $reader:expr, $field:expr) => { $reader.variable_byte_integer($field) };
    (read Text $reader:expr, $field:expr) => { $reader.string($field) };
    (read Binary $reader:expr, $field:expr) => { $reader.binary($field) };
    (read Pair $reader:expr, $field:expr) => {
        $reader.string($field).and_then(|name| Ok((name, $reader.string($field)?)))
    };

    (admits Byte $allowed:expr, $value:expr) => { $allowed.admits_number(u32::from(*$value)) };
    (admits TwoByte $allowed:expr, $value:expr) => { $allowed.admits_number(u32::from(*$value)) };
    (admits FourByte $allowed:expr, $value:expr) => { $allowed.admits_number(*$value) };
    (admits Variable $allowed:expr, $value:expr) => {
        $allowed.admits_number(*$value) && *$value <= REMAINING_LENGTH_MAX
    };
    (admits Text $allowed:expr, $value:expr) => { $allowed.admits_text($value) };
    (admits Binary $allowed:expr, $value:expr) => {{ let _ = $value; true }};
    (admits Pair $allowed:expr, $value:expr) => {{ let _ = $value; true }};

    (write Byte $out:expr, $value:expr) => {{ $out.push($value); Ok::<(), EncodeError>(()) }};
    (write TwoByte $out:expr, $value:expr) => {{
        $out.extend_from_slice(&$value.to_be_bytes());
        Ok::<(), EncodeError>(())
    }};
    (write FourByte $out:expr, $value:expr) => {{
        $out.extend_from_slice(&$value.to_be_bytes());
        Ok::<(), EncodeError>(())
    }};
    (write Variable $out:expr, $value:expr) => { write_variable_byte_integer($out, $value) };
    (write Text $out:expr, $value:expr) => { write_text($out, $value) };
    (write Binary $out:expr, $value:expr) => { write_binary($out, $value) };
    (write Pair $out:expr, $value:expr) => {
        write_text($out, $value.0).and_then(|()| write_text($out, $value.1))
    };
}

/// The carriers of a row: packet types, and `Will`.
macro_rules! carries {
    ($carrier:expr, $($name:ident)|+) => { $(carries!(one $carrier, $name))||+ };
    (one $carrier:expr, Will) => { matches!($carrier, Carrier::Will) };
    (one $carrier:expr, $name:ident) => { matches!($carrier, Carrier::Packet(PacketType::$name)) };
}

macro_rules! property_table {
    ($($id:literal $name:ident $accessor:ident $words:literal : $type:ident, $allowed:ident,
       $occurs:ident, in $($carrier:ident)|+;)+) => {
        /// The identifier of a property (section 2.2.2.2, table 2-4).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum PropertyId {
            $(#[doc = concat!("`", stringify!($id), "`: ", $words, ".")] $name = $id,)+
        }

        impl PropertyId {
            /// Every property, in numerical order.
            pub const ALL: &'static [PropertyId] = &[$(Self::$name),+];

            /// The property with this identifier, or `None` if the specification has none.
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($id => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// The specification's name, in lower case.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)+ }
            }

            /// Whether `carrier` may have this property.
            pub const fn allowed_in(self, carrier: Carrier) -> bool {
                match self { $(Self::$name => carries!(carrier, $($carrier)|+),)+ }
            }

            const fn occurs(self) -> Occurs {
                match self { $(Self::$name => Occurs::$occurs,)+ }
            }
        }

        /// A property with its value.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Property<'a> {
            $(#[doc = concat!("See [`PropertyId::", stringify!($name), "`].")]
              $name(value_type!(type $type)),)+
        }

        impl<'a> Property<'a> {
            /// Which property this is.
            pub const fn id(&self) -> PropertyId {
                match self { $(Self::$name(_) => PropertyId::$name,)+ }
            }

            fn read(id: PropertyId, reader: &mut Reader<'a>) -> Result<Self, Violation> {
                match id {
                    $(PropertyId::$name =>
                        value_type!(read $type reader, $words).map(Self::$name),)+
                }
            }

            /// Whether the value is one the specification allows.
            fn has_allowed_value(&self) -> bool {
                match self {
                    $(Self::$name(value) => value_type!(admits $type Allowed::$allowed, value),)+
                }
            }

            /// Appends identifier and value.
            fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                out.push(self.id() as u8);
                match *self {
                    $(Self::$name(value) => value_type!(write $type out, value),)+
                }
            }
        }

        impl<'a> Properties<'a> {
            $(#[doc = concat!("The value of the (first) ", $words, ", if present.")]
            pub fn $accessor(self) -> Option<value_type!(type $type)> {
                self.iter().find_map(|property| match property {
                    Property::$name(value) => Some(value),
                    _ => None,
                })
            })+
        }
    };
}

// A content type is text [MQTT5-3.3.2-19]; a response topic is text [MQTT5-3.3.2-13] and has no
// wildcards [MQTT5-3.3.2-14].
property_table! {
    0x01 PayloadFormatIndicator payload_format_indicator "payload format indicator": Byte, ZeroOrOne, Once, in Publish | Will;
    0x02 MessageExpiryInterval message_expiry_interval "message expiry interval": FourByte, Any, Once, in Publish | Will;
    0x03 ContentType content_type "content type": Text, Any, Once, in Publish | Will;
    0x08 ResponseTopic response_topic "response topic": Text, TopicName, Once, in Publish | Will;
    0x09 CorrelationData correlation_data "correlation data": Binary, Any, Once, in Publish | Will;
    0x0B SubscriptionIdentifier subscription_identifier "subscription identifier": Variable, NotZero, RepeatedlyInPublish, in Publish | Subscribe;
    0x11 SessionExpiryInterval session_expiry_interval "session expiry interval": FourByte, Any, Once, in Connect | Connack | Disconnect;
    0x12 AssignedClientIdentifier assigned_client_identifier "assigned client identifier": Text, Any, Once, in Connack;
    0x13 ServerKeepAlive server_keep_alive "server keep alive": TwoByte, Any, Once, in Connack;
    0x15 AuthenticationMethod authentication_method "authentication method": Text, Any, Once, in Connect | Connack | Auth;
    0x16 AuthenticationData authentication_data "authentication data": Binary, Any, Once, in Connect | Connack | Auth;
    0x17 RequestProblemInformation request_problem_information "request problem information": Byte, ZeroOrOne, Once, in Connect;
    0x18 WillDelayInterval will_delay_interval "will delay interval": FourByte, Any, Once, in Will;
    0x19 RequestResponseInformation request_response_information "request response information": Byte, ZeroOrOne, Once, in Connect;
    0x1A ResponseInformation response_information "response information": Text, Any, Once, in Connack;
    0x1C ServerReference server_reference "server reference": Text, Any, Once, in Connack | Disconnect;
    0x1F ReasonString reason_string "reason string": Text, Any, Once, in Connack | Puback | Pubrec | Pubrel | Pubcomp | Suback | Unsuback | Disconnect | Auth;
    0x21 ReceiveMaximum receive_maximum "receive maximum": TwoByte, NotZero, Once, in Connect | Connack;
    0x22 TopicAliasMaximum topic_alias_maximum "topic alias maximum": TwoByte, Any, Once, in Connect | Connack;
    0x23 TopicAlias topic_alias "topic alias": TwoByte, NotZero, Once, in Publish;
    0x24 MaximumQoS maximum_qos "maximum QoS": Byte, ZeroOrOne, Once, in Connack;
    0x25 RetainAvailable retain_available "retain available": Byte, ZeroOrOne, Once, in Connack;
    0x26 UserProperty user_property "user property": Pair, Any, Repeatedly, in Connect | Connack | Publish | Will | Puback | Pubrec | Pubrel | Pubcomp | Subscribe | Suback | Unsubscribe | Unsuback | Disconnect | Auth;
    0x27 MaximumPacketSize maximum_packet_size "maximum packet size": FourByte, NotZero, Once, in Connect | Connack;
    0x28 WildcardSubscriptionAvailable wildcard_subscription_available "wildcard subscription available": Byte, ZeroOrOne, Once, in Connack;
    0x29 SubscriptionIdentifierAvailable subscription_identifier_available "subscription identifier available": Byte, ZeroOrOne, Once, in Connack;
    0x2A SharedSubscriptionAvailable shared_subscription_available "shared subscription available": Byte, ZeroOrOne, Once, in Connack;
}

impl PropertyId {
    /// Whether `carrier` may have this property more than once.
    pub const fn may_repeat_in(self, carrier: Carrier) -> bool {
        match self.occurs() {
            Occurs::Once => false,
            Occurs::Repeatedly => true,
            Occurs::RepeatedlyInPublish => matches!(carrier, Carrier::Packet(PacketType::Publish)),
        }
    }
}

/// The properties of a packet: well-formed, allowed there, and none repeated that may not be.
/// Empty for packets of MQTT 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Properties<'a> {
    bytes: &'a [u8],
}

impl<'a> Properties<'a> {
    /// No properties.
    pub const EMPTY: Properties<'static> = Properties { bytes: &[] };

    /// Reads a property length and the properties of `carrier` behind it.
    pub(crate) fn read(reader: &mut Reader<'a>, carrier: Carrier) -> Result<Self, Violation> {
        let length = reader.variable_byte_integer("property length")? as usize;
        Self::check(reader.take(length, "properties")?, carrier)
    }

    /// Checks `bytes`, the properties without their length, against the table.
    ///
    /// # Errors
    /// What is unknown, not allowed in `carrier`, repeated, or has a value out of range
    /// `[MQTT5-2.2.2]`.
    pub fn check(bytes: &'a [u8], carrier: Carrier) -> Result<Self, Violation> {
        let mut reader = Reader::new(bytes, carrier.packet_type());
        let mut seen = 0u64;
        while !reader.is_empty() {
            let number = reader.variable_byte_integer("property identifier")?;
            let id =
                PropertyId::from_number(number).ok_or(Violation::PropertyUnknown { id: number })?;
            if !id.allowed_in(carrier) {
                return Err(Violation::PropertyNotAllowed { property: id, carrier });
            }
            let bit = 1u64 << (id as u8);
            if seen & bit != 0 && !id.may_repeat_in(carrier) {
                return Err(Violation::PropertyRepeated { property: id, carrier });
            }
            seen |= bit;
            if !Property::read(id, &mut reader)?.has_allowed_value() {
                return Err(value_invalid(id));
            }
        }
        Ok(Self { bytes })
    }

    /// Takes `bytes` that [`check`](Self::check) has passed before, for instance when they were
    /// received. Nothing is checked; of bytes that were never checked, iterating yields what comes
    /// before the first fault.
    pub const fn from_checked(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The properties as they are on the wire, without their length.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// The properties in their order.
    pub fn iter(self) -> PropertyIter<'a> {
        PropertyIter { reader: Reader::new(self.bytes, PacketType::Publish) }
    }

    /// All user properties in their order `[MQTT5-3.3.2-18]`.
    pub fn user_properties(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.iter().filter_map(|property| match property {
            Property::UserProperty(pair) => Some(pair),
            _ => None,
        })
    }

    /// All subscription identifiers.
    pub fn subscription_identifiers(self) -> impl Iterator<Item = u32> {
        self.iter().filter_map(|property| match property {
            Property::SubscriptionIdentifier(id) => Some(id),
            _ => None,
        })
    }

    /// Where the (first) property with this identifier lies in [`as_bytes`](Self::as_bytes), its
    /// identifier included.
    pub fn position(self, id: PropertyId) -> Option<Range<usize>> {
        let mut properties = self.iter();
        let mut from = 0;
        while let Some(property) = properties.next() {
            let to = self.bytes.len() - properties.reader.len();
            if property.id() == id {
                return Some(from..to);
            }
            from = to;
        }
        None
    }

    /// How many bytes property length and properties take on the wire.
    pub(crate) fn wire_len(self) -> usize {
        crate::codec::variable_byte_integer_len(self.bytes.len()) + self.bytes.len()
    }

    /// Appends property length and properties; none are a length of zero `[MQTT5-2.2.2-1]`.
    pub(crate) fn write(self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        write_variable_byte_integer(out, length)?;
        out.extend_from_slice(self.bytes);
        Ok(())
    }
}

/// A topic alias of zero has a reason code of its own `[MQTT5-3.3.2-8]`.
const fn value_invalid(property: PropertyId) -> Violation {
    match property {
        PropertyId::TopicAlias => Violation::TopicAliasInvalid { alias: 0 },
        _ => Violation::PropertyValueInvalid { property },
    }
}

impl<'a> IntoIterator for Properties<'a> {
    type Item = Property<'a>;
    type IntoIter = PropertyIter<'a>;

    fn into_iter(self) -> PropertyIter<'a> {
        self.iter()
    }
}

/// Iterates over [`Properties`].
#[derive(Debug, Clone)]
pub struct PropertyIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for PropertyIter<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        if self.reader.is_empty() {
            return None;
        }
        let id = PropertyId::from_number(self.reader.variable_byte_integer("").ok()?)?;
        Property::read(id, &mut self.reader).ok()
    }
}

/// Properties that are being written.
///
/// ```
/// use noctule_mqtt::{property::Carrier, PacketType, Property, PropertyBuffer};
///
/// let mut properties = PropertyBuffer::new(Carrier::Packet(PacketType::Connack));
/// properties.push(Property::ReceiveMaximum(20))?;
/// assert_eq!(properties.as_properties().receive_maximum(), Some(20));
/// # Ok::<(), noctule_mqtt::codec::EncodeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct PropertyBuffer {
    carrier: Carrier,
    bytes: Vec<u8>,
}

impl PropertyBuffer {
    /// None yet, for `carrier`.
    pub const fn new(carrier: Carrier) -> Self {
        Self { carrier, bytes: Vec::new() }
    }

    /// Appends `property`.
    ///
    /// # Errors
    /// [`EncodeError::PropertyRefused`] if the table does not allow it here, with this value, or a
    /// second time; [`EncodeError::FieldTooLong`] for text or data over 65,535 bytes;
    /// [`EncodeError::Topic`] for text with U+0000. Nothing is appended then.
    pub fn push(&mut self, property: Property<'_>) -> Result<(), EncodeError> {
        let id = property.id();
        let repeated = || self.as_properties().iter().any(|earlier| earlier.id() == id);
        let refused = !id.allowed_in(self.carrier)
            || !property.has_allowed_value()
            || (!id.may_repeat_in(self.carrier) && repeated());
        if refused {
            return Err(EncodeError::PropertyRefused { property: id, carrier: self.carrier });
        }
        let before = self.bytes.len();
        property.write(&mut self.bytes).inspect_err(|_| self.bytes.truncate(before))
    }

    /// What has been written so far.
    pub fn as_properties(&self) -> Properties<'_> {
        Properties { bytes: &self.bytes }
    }
}

impl Carrier {
    /// The packet that carries the properties in the end.
    pub const fn packet_type(self) -> PacketType {
        match self {
            Self::Packet(packet) => packet,
            Self::Will => PacketType::Connect,
        }
    }
}

impl std::fmt::Display for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Packet(packet) => packet.fmt(f),
            Self::Will => f.write_str("the will of CONNECT"),
        }
    }
}
