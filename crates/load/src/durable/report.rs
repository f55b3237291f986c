//! The findings as tables for people and as JSON for programs.

use serde_json::{Value, json};

use super::{Findings, Round, Series};
use crate::checker::Faults;
use crate::compare::faults_json;
use crate::statistics::{median, median_ratio};
use crate::table::{Table, figure};

/// The findings as tables for people.
pub fn table(findings: &Findings) -> String {
    let headings = [
        "load",
        "subscriber",
        "messages/s",
        "per flush",
        "µs/message",
        "in memory",
        "more",
        "B/message",
        "floor/s",
        "of floor",
        "p50 ms",
        "in memory",
        "floor p50",
        "faults",
    ];
    let mut table = Table::new(&headings, 2);
    for series in &findings.series {
        let cells = series.figures().map(|(_, value)| figure(value));
        let mut row = vec![series.load.to_string(), series.subscriber.to_string()];
        row.extend(cells);
        row.push(series.faults().to_string());
        table.row(row);
    }
    let mut text = if findings.series.is_empty() { String::new() } else { table.text() };
    if let Some(one) = &findings.backlog {
        text.push_str(&format!(
            "{} messages queued in {:.1} s: {} MiB on disk, open in {:.2} s with {} MiB of memory \
             (at most {} MiB); delivered in {:.1} s, {} MiB left on disk; faults: {}\n",
            one.messages,
            one.filled.as_secs_f64(),
            one.bytes_full >> 20,
            one.opened.as_secs_f64(),
            one.resident >> 20,
            one.resident_peak >> 20,
            one.delivered.as_secs_f64(),
            one.bytes_after >> 20,
            one.faults,
        ));
    }
    if let Some(one) = &findings.crowded {
        text.push_str(&format!(
            "{} sessions made in {:.1} s: {} MiB on disk, open in {:.2} s with {} MiB of memory\n",
            one.sessions,
            one.made.as_secs_f64(),
            one.bytes >> 20,
            one.opened.as_secs_f64(),
            one.resident >> 20,
        ));
    }
    text
}

impl Series {
    /// Medians over the rounds, with their names; what is compared is compared within a round.
    fn figures(&self) -> [(&'static str, Option<f64>); 11] {
        let rate = |round: &Round| round.durable.rate();
        let more = |round: &Round| Some(round.durable.broker_us()? - round.memory.broker_us()?);
        [
            ("messages_per_second", self.median(rate)),
            ("messages_per_flush", self.median(|round| round.per_flush)),
            ("us_per_message", self.median(|round| round.durable.broker_us())),
            ("us_per_message_in_memory", self.median(|round| round.memory.broker_us())),
            ("us_per_message_more", self.median(more)),
            ("bytes_per_message", self.median(|round| round.durable.bytes_each())),
            ("floor_messages_per_second", self.median(|round| round.floor.rate())),
            (
                "share_of_floor",
                median_ratio(&self.each(rate), &self.each(|round| round.floor.rate())),
            ),
            ("p50_ms", self.median(|round| round.durable.answer.quantile_ms(0.5))),
            ("p50_ms_in_memory", self.median(|round| round.memory.answer.quantile_ms(0.5))),
            ("floor_p50_ms", self.median(|round| round.floor.times.quantile_ms(0.5))),
        ]
    }

    fn each(&self, of: impl Fn(&Round) -> Option<f64>) -> Vec<Option<f64>> {
        self.rounds.iter().map(of).collect()
    }

    fn median(&self, of: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
        median(&self.each(of).into_iter().flatten().collect::<Vec<_>>())
    }

    fn faults(&self) -> Faults {
        let mut faults = Faults::default();
        for round in &self.rounds {
            faults += round.durable.faults;
            faults += round.memory.faults;
        }
        faults
    }
}

/// The findings for programs.
pub fn json(findings: &Findings) -> Value {
    let backlog = findings.backlog.as_ref().map(|one| {
        json!({
            "messages": one.messages,
            "filled_s": one.filled.as_secs_f64(),
            "bytes_full": one.bytes_full,
            "opened_s": one.opened.as_secs_f64(),
            "resident": one.resident,
            "resident_peak": one.resident_peak,
            "delivered_s": one.delivered.as_secs_f64(),
            "bytes_after": one.bytes_after,
            "faults": faults_json(&one.faults),
        })
    });
    let crowded = findings.crowded.as_ref().map(|one| {
        json!({
            "sessions": one.sessions,
            "made_s": one.made.as_secs_f64(),
            "bytes": one.bytes,
            "opened_s": one.opened.as_secs_f64(),
            "resident": one.resident,
        })
    });
    let series: Vec<_> = findings.series.iter().map(series_json).collect();
    json!({ "series": series, "queue": backlog, "sessions": crowded })
}

fn series_json(series: &Series) -> Value {
    let mut all = json!({
        "load": series.load.to_string(),
        "subscriber": series.subscriber.to_string(),
        "rounds": series.rounds.iter().map(round_json).collect::<Vec<_>>(),
        "faults": faults_json(&series.faults()),
    });
    for (name, value) in series.figures() {
        all[name] = json!(value);
    }
    all
}

fn round_json(round: &Round) -> Value {
    json!({
        "messages": round.durable.messages,
        "messages_per_second": round.durable.rate(),
        "messages_per_second_in_memory": round.memory.rate(),
        "messages_per_flush": round.per_flush,
        "us_per_message": round.durable.broker_us(),
        "us_per_message_in_memory": round.memory.broker_us(),
        "bytes_per_message": round.durable.bytes_each(),
        "answer_ms": round.durable.answer.json(),
        "answer_ms_in_memory": round.memory.answer.json(),
        "floor_bytes": round.floor.bytes,
        "floor_ms": round.floor.times.json(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::durable::{Floor, Load, Sample, Subscriber};
    use crate::latency::Latency;

    fn sample(broker_ns: u64, lost: u64) -> Sample {
        Sample {
            messages: 1_000,
            elapsed: Duration::from_millis(10),
            broker_ns,
            bytes_written: 600_000,
            answer: Latency::new().unwrap(),
            faults: Faults { lost, ..Faults::default() },
        }
    }

    fn round(durable_ns: u64, lost: u64) -> Round {
        let mut times = Latency::new().unwrap();
        times.record(Duration::from_millis(1), 1);
        Round {
            durable: sample(durable_ns, lost),
            per_flush: Some(100.0),
            memory: sample(1_000_000, 0),
            floor: Floor { batch: 100.0, bytes: 36_800, times },
        }
    }

    fn findings(rounds: Vec<Round>) -> Findings {
        let load = Load { publishers: 64, window: 16 };
        let series = vec![Series { load, subscriber: Subscriber::Absent, rounds }];
        Findings { series, backlog: None, crowded: None }
    }

    #[test]
    fn figures_are_per_message_and_beside_the_floor() {
        let found = findings(vec![round(1_500_000, 0)]);
        assert!(found.is_clean());
        let all = json(&found)["series"][0].clone();
        assert_eq!(all["messages_per_second"], 100_000.0);
        assert_eq!(all["us_per_message_more"], 0.5);
        assert_eq!(all["bytes_per_message"], 600.0);
        let share = all["share_of_floor"].as_f64().unwrap();
        assert!((share - 1.0).abs() < 0.01, "{share}");
        let text = table(&found);
        let last: Vec<_> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(last[..5], ["64x16", "absent", "100000", "100", "1.50"]);
        assert_eq!(last.last(), Some(&"none"));
    }

    #[test]
    fn a_round_with_a_fault_has_no_figure_and_is_told() {
        let found = findings(vec![round(1_500_000, 0), round(9_000_000, 1)]);
        assert!(!found.is_clean());
        assert_eq!(json(&found)["series"][0]["us_per_message"], 1.5);
        assert!(table(&found).contains("1 lost"));
        assert!(table(&findings(vec![round(9_000_000, 1)])).contains('–'));
    }
}
