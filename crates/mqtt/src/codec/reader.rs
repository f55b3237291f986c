//! A cursor over the body of a packet. It cannot read past the end: whatever is missing is an
//! error that names the field, what it needs and what there is.

use crate::{PacketId, PacketType, ProtocolVersion, QoS, Violation};

/// Reads fields from the front of a packet's body.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    packet: PacketType,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], packet: PacketType) -> Self {
        Self { rest: bytes, packet }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn take(
        &mut self,
        needed: usize,
        field: &'static str,
    ) -> Result<&'a [u8], Violation> {
        match self.rest.split_at_checked(needed) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(Violation::Truncated {
                packet: self.packet,
                field,
                needed,
                available: self.rest.len(),
            }),
        }
    }

    /// All that is left.
    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Violation> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, field)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, Violation> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, Violation> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, Violation> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// `[MQTT5-1.5.5-1]`: at most four bytes, and no more than the value needs.
    pub(crate) fn variable_byte_integer(&mut self, field: &'static str) -> Result<u32, Violation> {
        let mut value = 0u32;
        for index in 0..4 {
            let byte = self.u8(field)?;
            value |= u32::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                let padded = byte == 0 && index > 0;
                return if padded {
                    Err(Violation::VariableByteIntegerMalformed { field })
                } else {
                    Ok(value)
                };
            }
        }
        Err(Violation::VariableByteIntegerMalformed { field })
    }

    /// Binary data with a length of two bytes.
    pub(crate) fn binary(&mut self, field: &'static str) -> Result<&'a [u8], Violation> {
        let length = self.u16(field)?;
        self.take(usize::from(length), field)
    }

    /// A string: well-formed UTF-8 without U+0000 `[MQTT3-1.5.3-1]` `[MQTT3-1.5.3-2]`
    /// `[MQTT5-1.5.4-1]` `[MQTT5-1.5.4-2]`.
    pub(crate) fn string(&mut self, field: &'static str) -> Result<&'a str, Violation> {
        let text = self.topic_text(field)?;
        if text.contains('\0') {
            return Err(Violation::StringHasNull { field });
        }
        Ok(text)
    }

    /// Well-formed UTF-8 that is going to be a topic name or filter, which check for U+0000
    /// themselves.
    pub(crate) fn topic_text(&mut self, field: &'static str) -> Result<&'a str, Violation> {
        Self::text(self.binary(field)?, field)
    }

    /// `bytes` as text, of which nothing is skipped: a byte order mark is a character wherever it
    /// stands `[MQTT3-1.5.3-3]` `[MQTT5-1.5.4-3]`.
    pub(crate) fn text(bytes: &'a [u8], field: &'static str) -> Result<&'a str, Violation> {
        std::str::from_utf8(bytes)
            .map_err(|error| Violation::StringNotUtf8 { field, at: error.valid_up_to() })
    }

    /// A packet identifier, not zero `[MQTT3-2.3.1-1]` `[MQTT5-2.2.1-3]`.
    pub(crate) fn packet_id(&mut self) -> Result<PacketId, Violation> {
        let number = self.u16("packet identifier")?;
        PacketId::new(number).ok_or(Violation::PacketIdZero { packet: self.packet })
    }

    /// Properties, if the version has any.
    pub(crate) fn properties(
        &mut self,
        version: ProtocolVersion,
    ) -> Result<crate::Properties<'a>, Violation> {
        if !version.has_properties() {
            return Ok(crate::Properties::EMPTY);
        }
        crate::Properties::read(self, crate::property::Carrier::Packet(self.packet))
    }

    /// Two bits that must not be 3.
    pub(crate) fn qos_bits(bits: u8, field: &'static str) -> Result<QoS, Violation> {
        QoS::from_bits(bits & 0b11).ok_or(Violation::QosInvalid { field })
    }

    /// Nothing may be left.
    pub(crate) fn finish(self) -> Result<(), Violation> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Violation::TrailingBytes { packet: self.packet, extra: self.rest.len() })
        }
    }
}
