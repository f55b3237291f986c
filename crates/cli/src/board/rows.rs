//! What is known of each topic: last value, age, rate, and the numbers before.
//!
//! A JSON object becomes a row for each of its values, so that they can be compared with plain
//! ones. Everything that grows has a bound.

use std::collections::{BTreeMap, VecDeque};

use noctule_client::Message;
use serde_json::Value;

/// The topics, by name.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    rows: BTreeMap<String, Row>,
    /// Messages so far.
    pub(crate) messages: u64,
    /// Messages on topics for which there was no room.
    pub(crate) left_out: u64,
}

/// One topic, or one value of a JSON object.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) value: String,
    pub(crate) last_ms: u64,
    pub(crate) count: u64,
    /// Messages a second, over about the last ten.
    rate: f64,
    numbers: VecDeque<f64>,
}

/// No more rows are kept.
const ROWS_MAX: usize = 200_000;
/// No longer values are kept, in characters.
const VALUE_CHARACTERS_MAX: usize = 200;
/// So many numbers are kept of each row.
const NUMBERS_MAX: usize = 24;
/// So many values of an object get a row, and so many levels deep.
const FIELDS_MAX: usize = 32;
const DEPTH_MAX: usize = 4;
/// Over which time a rate is taken, in milliseconds.
const RATE_MS: f64 = 10_000.0;

impl Rows {
    /// A message came.
    pub(crate) fn update(&mut self, message: &Message, now_ms: u64) {
        self.take(message.topic(), message.payload(), now_ms);
    }

    pub(super) fn take(&mut self, topic: &str, payload: &[u8], now_ms: u64) {
        self.messages += 1;
        let object = payload.first() == Some(&b'{');
        match object.then(|| serde_json::from_slice(payload)) {
            Some(Ok(Value::Object(fields))) => {
                let mut left = FIELDS_MAX;
                for (name, value) in &fields {
                    self.unfold(&format!("{topic} · {name}"), value, 1, &mut left, now_ms);
                }
            }
            _ => self.set(topic, &text(payload), now_ms),
        }
    }

    fn unfold(&mut self, name: &str, value: &Value, depth: usize, left: &mut usize, now_ms: u64) {
        if *left == 0 {
            return;
        }
        match value {
            Value::Object(fields) if depth < DEPTH_MAX && !fields.is_empty() => {
                for (inner, value) in fields {
                    self.unfold(&format!("{name}.{inner}"), value, depth + 1, left, now_ms);
                }
            }
            Value::String(text) => {
                *left -= 1;
                self.set(name, &self::text(text.as_bytes()), now_ms);
            }
            value => {
                *left -= 1;
                self.set(name, &text(value.to_string().as_bytes()), now_ms);
            }
        }
    }

    fn set(&mut self, name: &str, value: &str, now_ms: u64) {
        if !self.rows.contains_key(name) {
            if self.rows.len() >= ROWS_MAX {
                self.left_out += 1;
                return;
            }
            self.rows.insert(name.to_owned(), Row::new(now_ms));
        }
        if let Some(row) = self.rows.get_mut(name) {
            row.set(value, now_ms);
        }
    }

    /// All rows by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Row)> {
        self.rows.iter().map(|(name, row)| (name.as_str(), row))
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}

impl Row {
    fn new(now_ms: u64) -> Self {
        let (value, numbers) = (String::new(), VecDeque::new());
        Self { value, last_ms: now_ms, count: 0, rate: 0.0, numbers }
    }

    fn set(&mut self, value: &str, now_ms: u64) {
        self.rate = self.rate(now_ms) + 1_000.0 / RATE_MS;
        self.last_ms = now_ms;
        self.count += 1;
        value.clone_into(&mut self.value);
        if let Some(number) = value.trim().parse().ok().filter(|number: &f64| number.is_finite()) {
            if self.numbers.len() == NUMBERS_MAX {
                self.numbers.pop_front();
            }
            self.numbers.push_back(number);
        }
    }

    /// Messages a second as of now; it falls while none come.
    pub(crate) fn rate(&self, now_ms: u64) -> f64 {
        let silent_ms = now_ms.saturating_sub(self.last_ms) as f64;
        self.rate * (-silent_ms / RATE_MS).exp()
    }

    /// The last numbers as a line of small bars, from their lowest to their highest.
    pub(crate) fn sparkline(&self) -> String {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        if self.numbers.len() < 2 {
            return String::new();
        }
        let low = self.numbers.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let range = high - low;
        let bar = |number: &f64| {
            let part = if range > 0.0 { (number - low) / range } else { 0.0 };
            BARS[((part * 7.0).round() as usize).min(7)]
        };
        self.numbers.iter().map(bar).collect()
    }
}

/// A payload as one short line that a terminal may be sent.
pub(crate) fn text(payload: &[u8]) -> String {
    let whole = payload.len();
    // Four bytes make at most one character.
    let head = &payload[..whole.min(VALUE_CHARACTERS_MAX * 4)];
    let mut text = String::new();
    for letter in String::from_utf8_lossy(head).chars().take(VALUE_CHARACTERS_MAX) {
        text.push(if letter.is_control() { '·' } else { letter });
    }
    if payload.is_empty() {
        text.push_str("(empty)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(rows: &Rows) -> Vec<String> {
        rows.iter().map(|(name, row)| format!("{name}={}", row.value)).collect()
    }

    #[test]
    fn objects_are_unfolded_and_other_payloads_are_not() {
        let mut rows = Rows::default();
        rows.take("s/status", br#"{"temp": 23.5, "at": {"room": "attic"}, "e": {}}"#, 0);
        rows.take("s/list", b"[1,2]", 0);
        rows.take("s/bad", b"{\x1b[2J", 0);
        rows.take("s/none", b"", 0);
        assert_eq!(
            names(&rows),
            [
                "s/bad={·[2J",
                "s/list=[1,2]",
                "s/none=(empty)",
                "s/status · at.room=attic",
                "s/status · e={}",
                "s/status · temp=23.5"
            ]
        );
    }

    #[test]
    fn a_rate_rises_with_messages_and_falls_with_silence() {
        let mut rows = Rows::default();
        for second in 0..100u64 {
            for part in 0..5u64 {
                rows.take("t", b"1", second * 1_000 + part * 200);
            }
        }
        let row = &rows.rows["t"];
        assert!((4.0..6.0).contains(&row.rate(100_000)), "{}", row.rate(100_000));
        assert!(row.rate(130_000) < 0.5);
        assert_eq!((row.count, rows.messages), (500, 500));
    }

    #[test]
    fn numbers_become_bars() {
        let mut rows = Rows::default();
        for number in ["0", "3.5", "x", "7"] {
            rows.take("t", number.as_bytes(), 0);
        }
        assert_eq!(rows.rows["t"].sparkline(), "▁▅█");
        rows.take("one", b"1", 0);
        assert_eq!(rows.rows["one"].sparkline(), "");
        for _ in 0..100 {
            rows.take("t", b"7", 0);
        }
        assert_eq!(rows.rows["t"].sparkline(), "▁".repeat(NUMBERS_MAX));
    }

    #[test]
    fn what_a_peer_sends_cannot_make_it_grow_without_end() {
        let mut rows = Rows::default();
        let fields: Vec<_> = (0..1_000).map(|number| format!("\"f{number}\":1")).collect();
        rows.take("t", format!("{{{}}}", fields.join(",")).as_bytes(), 0);
        assert_eq!(rows.len(), FIELDS_MAX);
        rows.take("long", "é".repeat(100_000).as_bytes(), 0);
        assert_eq!(rows.rows["long"].value.chars().count(), VALUE_CHARACTERS_MAX);
        for number in 0..ROWS_MAX {
            rows.take(&number.to_string(), b"1", 0);
        }
        assert_eq!(rows.len(), ROWS_MAX);
        assert!(rows.left_out > 0);
    }
}
