//! A message as JSON, with mosquitto_sub's keys in its order and in its dress: without blanks, or
//! over several lines with tabs.

use noctule_client::{Message, Properties, Property};
use serde_json::{Map, Value};

use super::Moment;

/// The payload as text.
pub(super) fn write_text(message: &Message, moment: &Moment, pretty: bool, out: &mut Vec<u8>) {
    let payload = if message.payload().is_empty() {
        Value::Null
    } else {
        Value::String(String::from_utf8_lossy(message.payload()).into_owned())
    };
    write(&whole(message, moment, payload), pretty, 0, out);
}

/// The payload as the JSON that it is.
pub(super) fn write_raw(
    message: &Message,
    moment: &Moment,
    pretty: bool,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let payload = if message.payload().is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(message.payload()).map_err(|error| {
            format!("the payload on topic {:?} is not valid JSON: {error}", message.topic())
        })?
    };
    write(&whole(message, moment, payload), pretty, 0, out);
    Ok(())
}

fn whole(message: &Message, moment: &Moment, payload: Value) -> Value {
    let mut all = Map::new();
    all.insert("tst".into(), moment.stamp().into());
    all.insert("topic".into(), message.topic().into());
    all.insert("qos".into(), message.qos().bits().into());
    all.insert("retain".into(), u8::from(message.retain()).into());
    all.insert("payloadlen".into(), message.payload().len().into());
    if let Some(packet_id) = message.packet_id() {
        all.insert("mid".into(), packet_id.into());
    }
    let properties = properties(message.properties());
    if !properties.is_empty() {
        all.insert("properties".into(), properties.into());
    }
    all.insert("payload".into(), payload);
    Value::Object(all)
}

/// By the specification's names with hyphens, in their order; user properties together.
fn properties(properties: Properties<'_>) -> Map<String, Value> {
    let mut all = Map::new();
    for property in properties {
        let value = match property {
            Property::UserProperty((name, value)) => {
                let users = all.entry("user-properties").or_insert_with(|| Map::new().into());
                if let Value::Object(users) = users {
                    users.insert(name.into(), value.into());
                }
                continue;
            }
            Property::ContentType(text) | Property::ResponseTopic(text) => text.into(),
            Property::CorrelationData(data) => String::from_utf8_lossy(data).into(),
            Property::PayloadFormatIndicator(number) => number.into(),
            Property::MessageExpiryInterval(number) | Property::SubscriptionIdentifier(number) => {
                number.into()
            }
            Property::TopicAlias(number) => number.into(),
            // PUBLISH has no others.
            _ => continue,
        };
        all.insert(property.id().words().replace(' ', "-"), value);
    }
    all
}

fn write(value: &Value, pretty: bool, depth: usize, out: &mut Vec<u8>) {
    match value {
        Value::Number(number) => out.extend_from_slice(number_text(number).as_bytes()),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.extend_from_slice(if pretty { b", " } else { b"," });
                }
                write(item, pretty, depth + 1, out);
            }
            out.push(b']');
        }
        Value::Object(entries) => write_object(entries, pretty, depth, out),
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
}

fn write_object(entries: &Map<String, Value>, pretty: bool, depth: usize, out: &mut Vec<u8>) {
    let line = |depth: usize, out: &mut Vec<u8>| {
        if pretty {
            out.push(b'\n');
            out.extend(std::iter::repeat_n(b'\t', depth));
        }
    };
    out.push(b'{');
    for (index, (key, value)) in entries.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        line(depth + 1, out);
        out.extend_from_slice(Value::String(key.clone()).to_string().as_bytes());
        out.extend_from_slice(if pretty { b":\t" } else { b":" });
        write(value, pretty, depth + 1, out);
    }
    line(depth, out);
    out.push(b'}');
}

/// A whole number without a point, any other as short as it can be read back.
fn number_text(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(value) if value.fract() == 0.0 && value.abs() < WHOLE_MAX => format!("{value:.0}"),
        _ => number.to_string(),
    }
}

/// Up to here floating point numbers are exact.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str, pretty: bool) -> String {
        let mut out = Vec::new();
        write(&serde_json::from_str(json).unwrap(), pretty, 0, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_is_dense_or_over_several_lines() {
        let json = r#"{"b": [1, {"c": 2.50}], "a": {}, "d": []}"#;
        assert_eq!(text(json, false), r#"{"b":[1,{"c":2.5}],"a":{},"d":[]}"#);
        assert_eq!(
            text(json, true),
            "{\n\t\"b\":\t[1, {\n\t\t\t\"c\":\t2.5\n\t\t}],\n\t\"a\":\t{\n\t},\n\t\"d\":\t[]\n}"
        );
    }

    #[test]
    fn whole_numbers_have_no_point_and_large_ones_keep_their_digits() {
        assert_eq!([text("1.0", false), text("-2", false)], ["1", "-2"]);
        assert_eq!(text("1234567890123456789", false), "1234567890123456789");
        assert_eq!(text("0.1", false), "0.1");
    }
}
