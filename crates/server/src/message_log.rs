//! Published messages as records for people and programs to read.
//!
//! A record is a JSON object with its fields in one order. This runs in the thread of the log and
//! nowhere else, as it takes as long as it takes. At most so many records a second are written if
//! only a sample is wanted, whichever loop they come from; the others are counted, and a line says
//! how many there were.

use crate::json_text::{
    Layout, document, new_line, write_document, write_escaped, write_hex, write_string,
};
use crate::local_time::LocalTime;
use noctule_broker::Published;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// So many records a second make a sample.
pub(crate) const SAMPLE_PER_SECOND: u32 = 20;
/// So many bytes of text are shown.
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// So many bytes are shown in hex.
const HEX_BYTES_MAX: usize = 1_024;
/// What stands at the end of a payload that is not shown whole.
const CUT: &str = "…";
const SECOND: Duration = Duration::from_secs(1);

/// Writes records.
#[derive(Debug)]
pub(crate) struct MessageLog {
    layout: Layout,
    /// How many records a second are written; all of them if `None`.
    per_second: Option<u32>,
    time: LocalTime,
    window: Instant,
    written: u32,
    not_shown: u64,
}

impl MessageLog {
    pub(crate) fn new(layout: Layout, per_second: Option<u32>) -> Self {
        let (time, window) = (LocalTime::default(), Instant::now());
        Self { layout, per_second, time, window, written: 0, not_shown: 0 }
    }

    /// From now on so many records a second are written; all of them if `None`.
    pub(crate) fn set_per_second(&mut self, per_second: Option<u32>) {
        self.per_second = per_second;
    }

    /// A message was published: appends its record, unless there have been enough.
    pub(crate) fn show(&mut self, out: &mut String, published: &Published, at: Instant) {
        self.begin_window(out, at);
        if self.per_second.is_some_and(|most| self.written >= most) {
            self.not_shown += 1;
            return;
        }
        self.written += 1;
        self.write(out, published);
    }

    /// So many messages were published that nobody handed over.
    pub(crate) fn count(&mut self, messages: u64) {
        self.not_shown += messages;
    }

    /// When it is to be said how many were not shown, if there is something to say.
    pub(crate) fn due(&self) -> Option<Instant> {
        (self.not_shown > 0).then(|| self.window + SECOND)
    }

    /// Begins the next second if this one is over, and says what was not shown in it.
    pub(crate) fn begin_window(&mut self, out: &mut String, at: Instant) {
        if at.saturating_duration_since(self.window) >= SECOND {
            self.window = at;
            self.written = 0;
            self.say_not_shown(out);
        }
    }

    /// Says how many messages were not shown, if there were any.
    pub(crate) fn say_not_shown(&mut self, out: &mut String) {
        let messages = std::mem::take(&mut self.not_shown);
        if messages > 0 {
            out.push_str("{\"timestamp\":\"");
            self.time.write_now(out);
            out.push_str(&format!("\",\"messages_not_shown\":{messages}}}\n"));
        }
    }

    fn write(&mut self, out: &mut String, published: &Published) {
        let mut record = Record { out, layout: self.layout, first: true };
        record.out.push('{');
        record.key("timestamp");
        record.out.push('"');
        self.time.write(record.out, published.wall_ms);
        record.out.push('"');
        record.text("publisher_id", &published.publisher);
        record.text("topic", &published.topic);
        record.plain("qos", published.qos.bits());
        record.plain("retain", published.retain);
        record.plain("payload_size", published.payload_bytes);
        record.payload(published);
        new_line(record.out, self.layout, 0);
        record.out.push_str("}\n");
    }
}

/// The record that is being written.
struct Record<'a> {
    out: &'a mut String,
    layout: Layout,
    first: bool,
}

impl Record<'_> {
    fn key(&mut self, key: &str) {
        if !std::mem::replace(&mut self.first, false) {
            self.out.push(',');
        }
        new_line(self.out, self.layout, 1);
        self.out.push('"');
        self.out.push_str(key);
        self.out.push('"');
        self.out.push_str(if self.layout == Layout::Indented { ": " } else { ":" });
    }

    fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        write_string(self.out, text);
    }

    fn plain(&mut self, key: &str, value: impl std::fmt::Display) {
        self.key(key);
        // Writing to a string does not fail.
        let _ = write!(self.out, "{value}");
    }

    /// The last two fields: of which type the payload is, and the payload as that.
    fn payload(&mut self, published: &Published) {
        let is_whole = published.payload.len() == published.payload_bytes;
        if published.payload_bytes == 0 {
            self.text("payload_type", "empty");
        } else if is_whole && let Some(document) = document(&published.payload) {
            self.text("payload_type", "json");
            self.key("payload_json");
            write_document(self.out, document, self.layout, 1);
        } else if let Some(text) = readable(&published.payload, is_whole) {
            self.text("payload_type", "text");
            self.key("payload_text");
            let shown = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
            self.out.push('"');
            write_escaped(self.out, shown);
            self.end_of_shown(shown.len() < published.payload_bytes);
        } else {
            self.text("payload_type", "binary");
            self.key("payload_hex");
            self.out.push('"');
            let shown = &published.payload[..published.payload.len().min(HEX_BYTES_MAX)];
            shown.iter().for_each(|byte| write_hex(self.out, *byte));
            self.end_of_shown(shown.len() < published.payload_bytes);
        }
    }

    fn end_of_shown(&mut self, cut: bool) {
        if cut {
            self.out.push_str(CUT);
        }
        self.out.push('"');
    }
}

/// A payload as text, if it is that: UTF-8 without U+0000. One that is not whole may end amid a
/// character.
fn readable(payload: &[u8], is_whole: bool) -> Option<&str> {
    let text = match std::str::from_utf8(payload) {
        Ok(text) => text,
        Err(error) if !is_whole && error.error_len().is_none() => {
            std::str::from_utf8(&payload[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    (!text.contains('\0')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_broker::WATCHED_PAYLOAD_BYTES_MAX;
    use serde_json::Value;

    fn published(topic: &str, payload: &[u8]) -> Published {
        let shown = payload.len().min(WATCHED_PAYLOAD_BYTES_MAX);
        Published {
            wall_ms: 1_753_876_904_662,
            publisher: "sensor_simulator".into(),
            topic: topic.into(),
            qos: noctule_mqtt::QoS::AtMostOnce,
            retain: true,
            payload: payload[..shown].into(),
            payload_bytes: payload.len(),
        }
    }

    fn written(layout: Layout, published: &Published) -> String {
        let mut log = MessageLog::new(layout, None);
        log.time = LocalTime::at(jiff::tz::TimeZone::fixed(jiff::tz::offset(2)));
        let mut out = String::new();
        log.show(&mut out, published, Instant::now());
        out
    }

    fn record(payload: &[u8]) -> Value {
        let line = written(Layout::OneLine, &published("t", payload));
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let indented = written(Layout::Indented, &published("t", payload));
        let (one, other) = (serde_json::from_str(&line), serde_json::from_str::<Value>(&indented));
        let one: Value = one.unwrap();
        assert_eq!(one, other.unwrap());
        one
    }

    #[test]
    fn a_sensors_status_is_a_record_with_its_fields_in_order() {
        let payload = br#"{"timestamp":"2025-07-30 12:01:44","temp":23.50,"list":[1,2]}"#;
        let expected = r#"{
  "timestamp": "2025-07-30T14:01:44.662+02:00",
  "publisher_id": "sensor_simulator",
  "topic": "sensors/status",
  "qos": 0,
  "retain": true,
  "payload_size": 61,
  "payload_type": "json",
  "payload_json": {
    "timestamp": "2025-07-30 12:01:44",
    "temp": 23.50,
    "list": [
      1,
      2
    ]
  }
}
"#;
        assert_eq!(written(Layout::Indented, &published("sensors/status", payload)), expected);
        let expected = concat!(
            r#"{"timestamp":"2025-07-30T14:01:44.662+02:00","publisher_id":"sensor_simulator","#,
            r#""topic":"sensors/status","qos":0,"retain":true,"payload_size":61,"#,
            r#""payload_type":"json","payload_json":{"timestamp":"2025-07-30 12:01:44","#,
            r#""temp":23.50,"list":[1,2]}}"#,
            "\n"
        );
        assert_eq!(written(Layout::OneLine, &published("sensors/status", payload)), expected);
    }

    #[test]
    fn a_payload_has_one_of_four_types() {
        for text in ["23.5", "true", "\"x\"", "{broken", "ä\n\u{1b}[2J", "[1,]"] {
            let record = record(text.as_bytes());
            assert_eq!(
                (&record["payload_type"], &record["payload_text"]),
                (&"text".into(), &text.into())
            );
            assert_eq!(record["payload_size"], text.len());
        }
        for binary in [&b"\xff\x00\x10"[..], b"a\0b", b"\xc3"] {
            let record = record(binary);
            assert_eq!(record["payload_type"], "binary");
            let hex: String = binary.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(record["payload_hex"], hex);
        }
        let empty = record(b"");
        assert_eq!((&empty["payload_type"], &empty["payload_size"]), (&"empty".into(), &0.into()));
        assert_eq!(empty.as_object().unwrap().len(), 7, "and no field for nothing");
        assert_eq!(record(b" [] ")["payload_json"], serde_json::json!([]));
    }

    #[test]
    fn what_is_large_is_cut_and_its_size_is_true() {
        let binary = vec![0xA5; 5_000_000];
        let seen = record(&binary);
        assert_eq!(seen["payload_size"], 5_000_000);
        assert_eq!(seen["payload_hex"], format!("{}…", "a5".repeat(1_024)));
        // Cut amid a character, by the shard and again here.
        let text = "ä".repeat(40_000);
        let seen = record(text.as_bytes());
        assert_eq!(seen["payload_size"], 80_000);
        assert_eq!(seen["payload_text"], format!("{}…", "ä".repeat(8_192)));
        let text = format!("x{text}");
        assert_eq!(record(text.as_bytes())["payload_text"], format!("x{}…", "ä".repeat(8_191)));
        // JSON that is not there to its end is no JSON.
        let json = format!("[\"{}\"]", "x".repeat(70_000));
        assert_eq!(record(json.as_bytes())["payload_type"], "text");
        let json = format!("[\"{}\"]", "x".repeat(60_000));
        assert_eq!(record(json.as_bytes())["payload_type"], "json");
    }

    #[test]
    fn names_that_peers_chose_are_escaped() {
        let mut message = published("a\u{1b}]0;x\u{7}", b"x");
        message.publisher = "\"\u{202e}\n".into();
        let line = written(Layout::OneLine, &message);
        assert!(
            line.contains(r#""publisher_id":"\"\u202e\n","topic":"a\u001b]0;x\u0007""#),
            "{line}"
        );
    }

    #[test]
    fn of_a_flood_so_many_a_second_are_shown_and_the_others_counted() {
        let mut log = MessageLog::new(Layout::OneLine, Some(20));
        let (mut out, message) = (String::new(), published("t", b"x"));
        let begin = log.window;
        assert_eq!(log.due(), None);
        (0..100).for_each(|_| log.show(&mut out, &message, begin));
        log.count(1_000);
        assert_eq!(out.lines().count(), 20);
        assert_eq!(log.due(), Some(begin + SECOND));
        out.clear();
        log.show(&mut out, &message, begin + SECOND);
        let lines: Vec<Value> =
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["messages_not_shown"], 1_080);
        assert_eq!((lines.len(), &lines[1]["topic"]), (2, &"t".into()));
        assert_eq!(log.due(), None);
    }
}
