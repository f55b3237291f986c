//! `-D PACKET PROPERTY VALUE`: properties of MQTT 5 on a command line, by mosquitto's names, which
//! are the specification's with hyphens.

use clap::{Arg, ArgAction};
use noctule_client::{Carrier, PacketType, Property, PropertyBuffer, PropertyId};

/// Between the parts of a `-D` once the line has been prepared. No shell passes it by accident.
pub(super) const SEPARATOR: char = '\u{1f}';

/// A property and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PropertyOption {
    carrier: Carrier,
    id: PropertyId,
    value: String,
    /// The value of a user property, whose name is `value`.
    second: Option<String>,
}

impl PropertyOption {
    /// Where it goes.
    pub(crate) fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// The property itself.
    pub(crate) fn property(&self) -> Property<'_> {
        let (text, second) = (self.value.as_str(), self.second.as_deref());
        // Checked when it was read.
        read_value(self.id, text, second).unwrap_or_else(|_| words(self.id, text, second))
    }
}

/// `-D`, as it is shown; [`prepared`](super::prepared) joins what it takes.
pub(crate) fn property_argument(packets: &'static str) -> Arg {
    Arg::new(PROPERTY)
        .short('D')
        .long("property")
        .value_name("PACKET PROPERTY VALUE")
        .action(ArgAction::Append)
        .value_parser(read)
        .help(format!("Set a property of MQTT 5, for instance `{packets}`"))
}

/// The identifier of the argument.
pub(crate) const PROPERTY: &str = "property";

/// How many values follow `-D PACKET PROPERTY`.
pub(super) fn value_count(property: &str) -> usize {
    if property == "user-property" { 2 } else { 1 }
}

fn read(text: &str) -> Result<PropertyOption, String> {
    let mut parts = text.split(SEPARATOR);
    let (Some(packet), Some(name), Some(value)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("expected a packet, a property and its value, such as \
                    `-D publish content-type text/plain`"
            .into());
    };
    let carrier = carrier(packet)?;
    let id = PropertyId::ALL.iter().find(|id| id.words().replace(' ', "-") == name);
    let id = *id.ok_or_else(|| unknown(name, carrier))?;
    let second = parts.next().map(str::to_owned);
    read_value(id, value, second.as_deref())?;
    let option = PropertyOption { carrier, id, value: value.to_owned(), second };
    PropertyBuffer::new(carrier).push(option.property()).map_err(|error| error.to_string())?;
    Ok(option)
}

fn carrier(packet: &str) -> Result<Carrier, String> {
    Ok(Carrier::Packet(match packet {
        "connect" => PacketType::Connect,
        "publish" => PacketType::Publish,
        "subscribe" => PacketType::Subscribe,
        "unsubscribe" => PacketType::Unsubscribe,
        "disconnect" => PacketType::Disconnect,
        "will" => return Ok(Carrier::Will),
        _ => {
            return Err(format!(
                "\"{packet}\" is no packet that takes properties here; expected connect, publish, \
                 subscribe, unsubscribe, disconnect or will"
            ));
        }
    }))
}

fn unknown(name: &str, carrier: Carrier) -> String {
    let known: Vec<_> = PropertyId::ALL
        .iter()
        .filter(|id| id.allowed_in(carrier))
        .map(|id| id.words().replace(' ', "-"))
        .collect();
    format!("\"{name}\" is no property; {carrier} may have: {}", known.join(", "))
}

/// The property with its value, a number or text.
fn read_value<'a>(
    id: PropertyId,
    text: &'a str,
    second: Option<&'a str>,
) -> Result<Property<'a>, String> {
    let wrong = |_| format!("{} needs a whole number, found \"{text}\"", id.words());
    Ok(match id {
        PropertyId::PayloadFormatIndicator => {
            Property::PayloadFormatIndicator(text.parse().map_err(wrong)?)
        }
        PropertyId::MessageExpiryInterval => {
            Property::MessageExpiryInterval(text.parse().map_err(wrong)?)
        }
        PropertyId::SubscriptionIdentifier => {
            Property::SubscriptionIdentifier(text.parse().map_err(wrong)?)
        }
        PropertyId::SessionExpiryInterval => {
            Property::SessionExpiryInterval(text.parse().map_err(wrong)?)
        }
        PropertyId::RequestProblemInformation => {
            Property::RequestProblemInformation(text.parse().map_err(wrong)?)
        }
        PropertyId::WillDelayInterval => Property::WillDelayInterval(text.parse().map_err(wrong)?),
        PropertyId::RequestResponseInformation => {
            Property::RequestResponseInformation(text.parse().map_err(wrong)?)
        }
        PropertyId::ReceiveMaximum => Property::ReceiveMaximum(text.parse().map_err(wrong)?),
        PropertyId::TopicAliasMaximum => Property::TopicAliasMaximum(text.parse().map_err(wrong)?),
        PropertyId::TopicAlias => Property::TopicAlias(text.parse().map_err(wrong)?),
        PropertyId::MaximumPacketSize => Property::MaximumPacketSize(text.parse().map_err(wrong)?),
        _ => words(id, text, second),
    })
}

/// The property whose value is text or data.
fn words<'a>(id: PropertyId, text: &'a str, second: Option<&'a str>) -> Property<'a> {
    match id {
        PropertyId::ContentType => Property::ContentType(text),
        PropertyId::ResponseTopic => Property::ResponseTopic(text),
        PropertyId::CorrelationData => Property::CorrelationData(text.as_bytes()),
        PropertyId::AuthenticationMethod => Property::AuthenticationMethod(text),
        PropertyId::AuthenticationData => Property::AuthenticationData(text.as_bytes()),
        PropertyId::ReasonString => Property::ReasonString(text),
        PropertyId::AssignedClientIdentifier => Property::AssignedClientIdentifier(text),
        PropertyId::ResponseInformation => Property::ResponseInformation(text),
        PropertyId::ServerReference => Property::ServerReference(text),
        _ => Property::UserProperty((text, second.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(parts: &[&str]) -> Result<PropertyOption, String> {
        read(&parts.join("\u{1f}"))
    }

    #[test]
    fn names_are_those_of_the_specification_with_hyphens() {
        let expiry = option(&["publish", "message-expiry-interval", "30"]).unwrap();
        assert_eq!(expiry.property(), Property::MessageExpiryInterval(30));
        let user = option(&["connect", "user-property", "a", "b c"]).unwrap();
        assert_eq!(user.property(), Property::UserProperty(("a", "b c")));
        let text = option(&["publish", "content-type", "12"]).unwrap();
        assert_eq!(text.property(), Property::ContentType("12"));
        let will = option(&["will", "will-delay-interval", "5"]).unwrap();
        assert_eq!(will.carrier(), Carrier::Will);
        let data = option(&["publish", "correlation-data", "x"]).unwrap();
        assert_eq!(data.property(), Property::CorrelationData(b"x"));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_was_expected() {
        let wrong = |parts: &[&str]| option(parts).unwrap_err();
        assert!(wrong(&["publish", "content"]).contains("a property and its value"));
        assert!(wrong(&["puback", "content-type", "x"]).contains("expected connect, publish"));
        assert!(wrong(&["publish", "colour", "x"]).contains("content-type"));
        assert!(wrong(&["connect", "receive-maximum", "many"]).contains("whole number"));
        assert!(wrong(&["connect", "receive-maximum", "0"]).contains("not allowed"));
        assert!(wrong(&["connect", "content-type", "x"]).contains("not allowed in CONNECT"));
    }
}
