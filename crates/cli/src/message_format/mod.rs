//! The language in which `-F` says how a message is printed, as mosquitto_sub has it.
//!
//! A format is read once, with every fault named, and then written for each message. Writing
//! appends bytes to the caller's buffer and decides nothing about terminals.

mod json;
mod layout;
mod moment;
mod payload;

use layout::Layout;
pub(crate) use moment::Moment;

use noctule_client::{Message, Properties, Property};

use crate::terminal::Terminal;

/// A format that was read.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    pieces: Vec<Piece>,
    /// Whether JSON is written over several lines.
    pretty: bool,
}

/// A part of a format.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Field(Field, Layout),
    /// A conversion of strftime.
    Time(char),
}

/// What of a message is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Field {
    TopicAlias,
    ContentType,
    CorrelationData,
    Double,
    Expiry,
    PayloadFormat,
    Single,
    IsoTime,
    JsonText,
    JsonRaw,
    Length,
    PacketId,
    UserProperties,
    Payload,
    Qos,
    ResponseTopic,
    Retain,
    SubscriptionId,
    Topic,
    UnixTime,
    HexLower,
    HexUpper,
}

/// Every conversion behind `%`, with what it means: also the text of the manual.
const FIELDS: &[(char, Field, &str)] = &[
    ('A', Field::TopicAlias, "topic alias"),
    ('C', Field::ContentType, "content type"),
    ('D', Field::CorrelationData, "correlation data"),
    ('d', Field::Double, "payload of 8 bytes as a floating point number"),
    ('E', Field::Expiry, "message expiry interval in seconds"),
    ('F', Field::PayloadFormat, "payload format indicator"),
    ('f', Field::Single, "payload of 4 bytes as a floating point number"),
    ('I', Field::IsoTime, "time of arrival, ISO 8601"),
    ('j', Field::JsonText, "everything as JSON, the payload as text"),
    ('J', Field::JsonRaw, "everything as JSON, the payload as the JSON that it is"),
    ('l', Field::Length, "length of the payload in bytes"),
    ('m', Field::PacketId, "packet identifier"),
    ('P', Field::UserProperties, "user properties, name:value"),
    ('p', Field::Payload, "payload"),
    ('q', Field::Qos, "QoS"),
    ('R', Field::ResponseTopic, "response topic"),
    ('r', Field::Retain, "1 if the message is a retained one, else 0"),
    ('S', Field::SubscriptionId, "subscription identifier"),
    ('t', Field::Topic, "topic"),
    ('U', Field::UnixTime, "time of arrival, seconds since 1970 with nanoseconds"),
    ('x', Field::HexLower, "payload in hex, lower case"),
    ('X', Field::HexUpper, "payload in hex, upper case"),
];

/// The language in short, for `--help`.
pub(crate) fn manual() -> String {
    let mut text = String::from("Format (-F):\n  %%  a per cent sign\n");
    for (letter, _, meaning) in FIELDS {
        text.push_str(&format!("  %{letter}  {meaning}\n"));
    }
    text.push_str(
        "  Between % and the letter: - (left), 0 (zeros), a width, and .N for at most N bytes of\n  \
         text; %.2:x writes hex in groups of two digits with : between them.\n  \
         @X  the time of arrival by strftime's %X; @N its nanoseconds; @@ an at sign\n  \
         \\0 \\a \\e \\n \\r \\t \\v \\\\  control characters and the backslash\n",
    );
    text
}

impl Format {
    /// Reads a format.
    ///
    /// # Errors
    /// What is wrong in it, and where the language is described.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut letters = text.chars().peekable();
        let mut literal = String::new();
        while let Some(letter) = letters.next() {
            let piece = match letter {
                '%' => field(&mut letters)?,
                '@' => time(&mut letters)?,
                '\\' => escape(&mut letters)?,
                other => Piece::Text(other.into()),
            };
            match piece {
                Piece::Text(text) => literal.push_str(&text),
                other => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    }
                    pieces.push(other);
                }
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self { pieces, pretty: false })
    }

    /// Sets whether JSON is written over several lines.
    pub(crate) fn pretty(mut self, pretty: bool) -> Self {
        self.pretty = pretty;
        self
    }

    /// Appends the message that came at `moment`, its values fit for this terminal.
    ///
    /// # Errors
    /// That the payload is no JSON although the format wants it as such; nothing of that conversion
    /// is written then.
    pub(crate) fn write(
        &self,
        message: &Message,
        moment: &Moment,
        terminal: Terminal,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let mut fault = Ok(());
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Time('N') => out.extend_from_slice(moment.nanoseconds().as_bytes()),
                Piece::Time(letter) => out.extend_from_slice(moment.strftime(*letter).as_bytes()),
                Piece::Field(field, layout) => {
                    let mut value = Vec::new();
                    let written = self.write_field(*field, layout, message, moment, &mut value);
                    out.extend(terminal.safe(&value));
                    fault = fault.and(written);
                }
            }
        }
        fault
    }

    fn write_field(
        &self,
        field: Field,
        layout: &Layout,
        message: &Message,
        moment: &Moment,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let properties = message.properties();
        let number = |value: Option<u32>, out: &mut Vec<u8>| layout.number(value, out);
        match field {
            Field::TopicAlias => number(properties.topic_alias().map(u32::from), out),
            Field::ContentType => match properties.content_type() {
                Some(text) => layout.text(text, out),
                None => layout.blank(out),
            },
            Field::CorrelationData => {
                out.extend_from_slice(properties.correlation_data().unwrap_or_default());
            }
            Field::Expiry => number(properties.message_expiry_interval(), out),
            Field::PayloadFormat => {
                number(properties.payload_format_indicator().map(u32::from), out);
            }
            Field::Double => layout.float(payload::double(message.payload()), out),
            Field::Single => layout.float(payload::single(message.payload()), out),
            Field::IsoTime => layout.text(&moment.iso(), out),
            Field::JsonText => json::write_text(message, moment, self.pretty, out),
            Field::JsonRaw => return json::write_raw(message, moment, self.pretty, out),
            Field::Length => {
                number(Some(u32::try_from(message.payload().len()).unwrap_or(u32::MAX)), out);
            }
            Field::PacketId => number(Some(message.packet_id().map_or(0, u32::from)), out),
            Field::UserProperties => write_user_properties(properties, out),
            Field::Payload => layout.bytes(message.payload(), out),
            Field::Qos => out.push(b'0' + message.qos().bits()),
            Field::ResponseTopic => {
                if let Some(topic) = properties.response_topic() {
                    layout.text(topic, out);
                }
            }
            Field::Retain => out.push(b'0' + u8::from(message.retain())),
            Field::SubscriptionId => number(properties.subscription_identifier(), out),
            Field::Topic => layout.text(message.topic(), out),
            Field::UnixTime => out.extend_from_slice(moment.unix().as_bytes()),
            Field::HexLower => layout.bytes(&payload::hex(message.payload(), false, layout), out),
            Field::HexUpper => layout.bytes(&payload::hex(message.payload(), true, layout), out),
        }
        Ok(())
    }
}

fn write_user_properties(properties: Properties<'_>, out: &mut Vec<u8>) {
    let mut first = true;
    for property in properties {
        let Property::UserProperty((name, value)) = property else { continue };
        if !std::mem::take(&mut first) {
            out.push(b' ');
        }
        out.extend_from_slice(format!("{name}:{value}").as_bytes());
    }
}

type Letters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// What follows `%`.
fn field(letters: &mut Letters<'_>) -> Result<Piece, String> {
    let layout = Layout::read(letters)?;
    if letters.next_if_eq(&'%').is_some() {
        // A layout means nothing to it.
        return Ok(Piece::Text("%".into()));
    }
    let letter = letters.next().ok_or_else(|| incomplete("'%'"))?;
    let known = FIELDS.iter().find(|(known, ..)| *known == letter);
    match known {
        Some((_, field, _)) => Ok(Piece::Field(*field, layout)),
        None => Err(format!("'%{letter}' means nothing in a format; {HELP}")),
    }
}

/// What follows `@`.
fn time(letters: &mut Letters<'_>) -> Result<Piece, String> {
    match letters.next() {
        None => Err(incomplete("'@'")),
        Some(letter @ ('@' | '%')) => Ok(Piece::Text(letter.into())),
        Some(letter) if moment::knows(letter) => Ok(Piece::Time(letter)),
        Some(letter) => Err(format!("'@{letter}' is no conversion of strftime; {HELP}")),
    }
}

/// What follows `\`.
fn escape(letters: &mut Letters<'_>) -> Result<Piece, String> {
    let text = match letters.next() {
        None => return Err(incomplete("'\\'")),
        Some('\\') => "\\",
        Some('0') => "\0",
        Some('a') => "\x07",
        Some('e') => "\x1b",
        Some('n') => "\n",
        Some('r') => "\r",
        Some('t') => "\t",
        Some('v') => "\x0b",
        Some(other) => return Err(format!("'\\{other}' is no escape of a format; {HELP}")),
    };
    Ok(Piece::Text(text.into()))
}

fn incomplete(what: &str) -> String {
    format!("the format ends behind {what}; {HELP}")
}

const HELP: &str = "`noctule sub --help` describes the language";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_conversion_is_read_and_described_once() {
        let manual = manual();
        for (letter, field, _) in FIELDS {
            let format = Format::read(&format!("a%{letter}b")).unwrap();
            assert_eq!(format.pieces[1], Piece::Field(*field, Layout::default()));
            assert_eq!(manual.matches(&format!("  %{letter}  ")).count(), 1);
        }
        let format = Format::read("%%@@\\\\x\\n").unwrap();
        assert_eq!(format.pieces, [Piece::Text("%@\\x\n".into())]);
    }

    #[test]
    fn what_is_wrong_in_a_format_is_named() {
        for wrong in ["%", "a%", "%z", "@", "@\u{e9}", "\\q", "a\\", "%-", "%5", "%5.", "%.:x"] {
            let error = Format::read(wrong).unwrap_err();
            assert!(error.contains("noctule sub --help"), "{wrong}: {error}");
        }
        assert!(Format::read("%99999999999t").unwrap_err().contains("at most"));
    }
}
