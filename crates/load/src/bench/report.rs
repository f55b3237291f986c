//! The figures of a run: as a table for people, as JSON for programs, beside the floor and an
//! earlier run.
//!
//! A figure has a name that stays, by which an earlier report is compared, and is divided by what was
//! delivered, not by what was sent. A run that lost, doubled or reordered messages says so first; its
//! figures are shown all the same, as somebody has to find out what happened.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Job, Run, Scenario};
use crate::compare::faults_json;
use crate::table::{Table, figure};
use crate::{LoadError, latency};

/// A number with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// In JSON.
    pub name: String,
    /// In the table.
    pub label: String,
    /// `None` if it is not known.
    pub value: Option<f64>,
}

/// What carried a run, beyond TCP.
#[derive(Debug, Clone, Copy, Default)]
pub struct Carried {
    /// TLS.
    pub over_tls: bool,
    /// WebSocket.
    pub over_web_socket: bool,
    /// A Unix socket, in place of TCP.
    pub over_unix: bool,
}

impl Carried {
    /// What the floor lacks, or has instead.
    fn floor_is(self) -> Vec<&'static str> {
        let all = [
            (self.over_tls, "the floor is without TLS"),
            (self.over_web_socket, "the floor is without WebSocket"),
            (self.over_unix, "the floor is over TCP"),
        ];
        all.into_iter().filter_map(|(is, words)| is.then_some(words)).collect()
    }
}

/// A run beside others.
#[derive(Debug)]
pub struct Report<'a> {
    /// What was done.
    pub job: &'a Job,
    /// Where and how, such as `localhost:1883 (MQTT 3.1.1)`.
    pub place: &'a str,
    /// What came of it.
    pub run: &'a Run,
    /// The same against the relay, which speaks plain TCP alone.
    pub floor: Option<&'a Run>,
    /// What carried this run.
    pub carried: Carried,
    /// What an earlier report says.
    pub earlier: Option<&'a Earlier>,
}

impl Report<'_> {
    /// For people.
    pub fn text(&self) -> String {
        let mut headings = vec!["", "this run"];
        if self.floor.is_some() {
            headings.extend(["floor", "× floor"]);
        }
        if self.earlier.is_some() {
            headings.extend(["earlier", "× earlier"]);
        }
        let mut table = Table::new(&headings, 1);
        let floor = self.floor.map(|floor| figures(self.job, floor));
        for (at, this) in figures(self.job, self.run).into_iter().enumerate() {
            let of_floor = floor.as_ref().map(|floor| floor[at].value);
            let earlier = self.earlier.map(|earlier| earlier.value(&this.name));
            if this.value.is_none() && earlier.flatten().is_none() {
                continue;
            }
            let mut row = vec![this.label, figure(this.value)];
            for other in [of_floor, earlier].into_iter().flatten() {
                row.extend([figure(other), figure(ratio(this.value, other))]);
            }
            table.row(row);
        }
        let mut text = format!("{}: {}\n", self.place, description(self.job));
        text.push_str(&table.text());
        for line in self.remarks() {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// What the figures alone do not say.
    fn remarks(&self) -> Vec<String> {
        let (run, counts) = (self.run, &self.run.counts);
        let mut lines = Vec::new();
        let seconds = run.elapsed.as_secs_f64();
        match &run.broke {
            Some(why) => lines.push(format!(
                "broke off after {seconds:.1} s, and what was under way counts as lost: {why}"
            )),
            None if !run.is_whole => lines.push(format!("ended early, after {seconds:.1} s")),
            None => {}
        }
        if counts.left_out > 0 {
            let left_out = counts.left_out;
            lines.push(format!("the broker is behind: {left_out} were due and could not be sent"));
        }
        if busy(run.generator_ns, run.elapsed) > BUSY {
            lines.push("the generator was at its limit: the broker may do more than this".into());
        }
        if self.job.scenario == Scenario::Connect {
            let (refused, failed) = (counts.refused, counts.failed);
            lines.push(format!("{} made, {refused} refused, {failed} failed", counts.delivered));
        } else {
            let (sent, delivered) = (counts.sent, counts.delivered);
            lines.push(format!("{sent} sent, {delivered} delivered, faults: {}", run.faults));
        }
        if self.floor.is_some() {
            lines.extend(self.carried.floor_is().into_iter().map(str::to_owned));
        }
        if self.floor.is_some_and(|floor| !floor.is_whole) {
            lines.push("the floor ended early".into());
        }
        if let Some(floor) = self.floor.filter(|floor| !floor.is_clean()) {
            lines.push(format!("faults of the floor: {}", floor.faults));
        }
        lines.extend(self.earlier.and_then(|earlier| earlier.difference(self.job)));
        lines
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let mut all = run_json(self.job, self.run);
        all["noctule"] = json!(env!("CARGO_PKG_VERSION"));
        all["place"] = json!(self.place);
        all["scenario"] = json!(self.job.scenario.name());
        all["settings"] = settings(self.job);
        all["floor"] = self.floor.map_or(Value::Null, |floor| run_json(self.job, floor));
        all
    }
}

/// All figures of a run, the same ones for every run of a job.
pub fn figures(job: &Job, run: &Run) -> Vec<Figure> {
    let (one, many) = match job.scenario {
        Scenario::Connect => ("connection", "connections"),
        _ => ("message", "messages"),
    };
    let seconds = run.elapsed.as_secs_f64();
    let count = run.counts.delivered;
    let per_second = |count: u64| (seconds > 0.0).then(|| count as f64 / seconds);
    let us_each = |ns: u64| (count > 0).then(|| ns as f64 / 1_000.0 / count as f64);
    let mut all = vec![
        named(format!("{many}_per_second"), format!("{many}/s"), per_second(count)),
        named("sent_per_second", "sent/s", per_second(run.counts.sent)),
    ];
    if job.scenario == Scenario::Connect {
        let resumed = Some(run.counts.resumed).filter(|resumed| *resumed > 0);
        all.push(named("resumed", "TLS resumed", resumed.map(|count| count as f64)));
    } else {
        let bytes = per_second(count * job.payload_bytes as u64);
        all.push(named("payload_mb_per_second", "payload MB/s", bytes.map(|b| b / 1e6)));
        let (opened, took) = run.opened;
        let opening = Some(took.as_secs_f64()).filter(|took| *took > 0.0);
        let rate = opening.map(|took| f64::from(opened) / took);
        all.push(named("connections_per_second", "connections/s while opening", rate));
    }
    for (name, share) in latency::QUANTILES {
        let value = run.latency.quantile_ms(share);
        all.push(named(format!("latency_{name}_ms"), format!("latency {name} ms"), value));
    }
    all.push(named("latency_max_ms", "latency max ms", run.latency.max_ms()));
    let late = run.lag.as_ref().and_then(|lag| lag.quantile_ms(0.99));
    all.push(named("generator_late_p99_ms", "generator late p99 ms", late));
    let mib = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64 / MIB);
    let resident = run.resident;
    all.extend([
        named("broker_us", format!("broker µs/{one}"), run.broker_ns.and_then(us_each)),
        named(
            "broker_processors",
            "broker's processors busy",
            run.broker_ns.map(|ns| busy(ns, run.elapsed)),
        ),
        named("broker_rss_mib", "broker RSS MiB", mib(resident.map(|r| r.end))),
        named("broker_rss_peak_mib", "broker RSS peak MiB", mib(resident.map(|r| r.peak))),
        named("generator_us", format!("generator µs/{one}"), us_each(run.generator_ns)),
        named(
            "generator_processors",
            "generator's processors busy",
            Some(busy(run.generator_ns, run.elapsed)),
        ),
    ]);
    all
}

fn named(name: impl Into<String>, label: impl Into<String>, value: Option<f64>) -> Figure {
    Figure { name: name.into(), label: label.into(), value }
}

fn busy(ns: u64, elapsed: Duration) -> f64 {
    ns as f64 / elapsed.as_nanos().max(1) as f64
}

fn ratio(this: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some(this? / other.filter(|other| *other > 0.0)?)
}

fn run_json(job: &Job, run: &Run) -> Value {
    let figures: Map<_, _> = figures(job, run)
        .into_iter()
        .filter(|figure| figure.value.is_some())
        .map(|figure| (figure.name, json!(figure.value)))
        .collect();
    let counts = &run.counts;
    json!({
        "whole": run.is_whole,
        "broke_off": run.broke,
        "seconds": run.elapsed.as_secs_f64(),
        "sent": counts.sent,
        "delivered": counts.delivered,
        "left_out": counts.left_out,
        "refused": counts.refused,
        "failed": counts.failed,
        "faults": faults_json(&run.faults),
        "figures": figures,
        "latency_ms": run.latency.json(),
    })
}

fn settings(job: &Job) -> Value {
    json!({
        "clients": job.clients,
        "seconds": job.duration.as_secs_f64(),
        "rate": job.rate(),
        "qos": job.qos.bits(),
        "size": job.payload_bytes,
        "window": job.window,
        "ramp": job.ramp.as_secs_f64(),
    })
}

fn description(job: &Job) -> String {
    let (name, clients) = (job.scenario.name(), job.clients);
    let pace = job.rate().map_or(format!("{} under way", job.window), |rate| format!("{rate}/s"));
    match job.scenario {
        Scenario::Connect => {
            let pace = job.rate().map_or(String::new(), |rate| format!(", {rate}/s"));
            format!("{name}, {clients} at a time{pace}")
        }
        _ => {
            let (qos, bytes) = (job.qos.bits(), job.payload_bytes);
            format!("{name}, {clients} clients, QoS {qos}, {bytes} B, {pace}")
        }
    }
}

/// What a report said that was written before.
#[derive(Debug, Clone, PartialEq)]
pub struct Earlier {
    scenario: Value,
    settings: Value,
    figures: Map<String, Value>,
}

impl Earlier {
    /// Reads the JSON of a report.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, LoadError> {
        let unfit = |what: &str| LoadError::new(format!("{what}; expected what --json printed"));
        let all: Value =
            serde_json::from_str(text).map_err(|error| unfit(&format!("not JSON: {error}")))?;
        let of = |name: &str| all.get(name).cloned().unwrap_or_default();
        let Value::Object(figures) = of("figures") else {
            return Err(unfit("no figures in it"));
        };
        Ok(Self { scenario: of("scenario"), settings: of("settings"), figures })
    }

    fn value(&self, name: &str) -> Option<f64> {
        self.figures.get(name)?.as_f64()
    }

    /// In which way that run was another one.
    fn difference(&self, job: &Job) -> Option<String> {
        let mut differences = Vec::new();
        if self.scenario != job.scenario.name() {
            differences.push(format!("scenario {}", self.scenario));
        }
        if let Value::Object(now) = settings(job) {
            for (name, value) in &now {
                let then = self.settings.get(name).unwrap_or(&Value::Null);
                // A whole number may have been written with or without a point.
                if then.as_f64() != value.as_f64() {
                    differences.push(format!("{name} {then}"));
                }
            }
        }
        let differs = !differences.is_empty();
        differs.then(|| format!("the earlier run was another one: {}", differences.join(", ")))
    }
}

const MIB: f64 = 1_048_576.0;

/// From here on a thread has no time left.
const BUSY: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Counts;
    use crate::checker::Faults;
    use crate::latency::Latency;
    use crate::process::Resident;
    use noctule_mqtt::QoS;

    fn job() -> Job {
        Job {
            scenario: Scenario::Pair,
            clients: 10,
            duration: Duration::from_secs(2),
            rate: None,
            qos: QoS::AtMostOnce,
            payload_bytes: 100,
            window: 500,
            ramp: Duration::ZERO,
        }
    }

    fn run(delivered: u64) -> Run {
        let mut latency = Latency::new().unwrap();
        latency.record(Duration::from_millis(2), delivered);
        let resident = Resident { begin: 1 << 20, peak: 3 << 20, end: 2 << 20 };
        Run {
            counts: Counts { sent: 1_000_000, delivered, ..Counts::default() },
            faults: Faults { lost: 1_000_000 - delivered, ..Faults::default() },
            elapsed: Duration::from_secs(2),
            opened: (20, Duration::from_millis(10)),
            latency,
            lag: None,
            broker_ns: Some(1_000_000_000),
            resident: Some(resident),
            generator_ns: 500_000_000,
            is_whole: true,
            broke: None,
        }
    }

    fn report<'a>(job: &'a Job, run: &'a Run) -> Report<'a> {
        Report { job, place: "here", run, floor: None, carried: Carried::default(), earlier: None }
    }

    fn cells(text: &str, label: &str) -> Vec<String> {
        let line = text.lines().find(|line| line.starts_with(label)).unwrap();
        line[label.len()..].split_whitespace().map(String::from).collect()
    }

    #[test]
    fn figures_are_per_delivered_message() {
        let (job, run) = (job(), run(1_000_000));
        let text = report(&job, &run).text();
        assert_eq!(cells(&text, "messages/s"), ["500000"]);
        assert_eq!(cells(&text, "payload MB/s"), ["50.0"]);
        assert_eq!(cells(&text, "broker µs/message"), ["1.00"]);
        assert_eq!(cells(&text, "broker's processors busy"), ["0.500"]);
        assert_eq!(cells(&text, "broker RSS peak MiB"), ["3.00"]);
        assert_eq!(cells(&text, "generator µs/message"), ["0.500"]);
        assert_eq!(cells(&text, "latency p99 ms"), ["2.00"]);
        assert!(!text.contains("generator late"), "not known without a rate\n{text}");
        assert!(text.ends_with("1000000 sent, 1000000 delivered, faults: none\n"), "{text}");
        assert!(text.starts_with("here: pair, 10 clients, QoS 0, 100 B, 500 under way\n"));
    }

    #[test]
    fn loss_is_said_and_not_clean() {
        let (job, run) = (job(), run(999_999));
        assert!(!run.is_clean());
        assert!(report(&job, &run).text().contains("faults: 1 lost"));
        assert_eq!(report(&job, &run).json()["faults"]["lost"], 1);
    }

    #[test]
    fn the_floor_and_an_earlier_report_stand_beside_the_figures() {
        let (job, now, floor) = (job(), run(1_000_000), run(500_000));
        let written = report(&job, &floor).json().to_string();
        let earlier = Earlier::parse(&written).unwrap();
        let beside = Report { floor: Some(&floor), earlier: Some(&earlier), ..report(&job, &now) };
        let text = beside.text();
        let row = ["500000", "250000", "2.00", "250000", "2.00"];
        assert_eq!(cells(&text, "messages/s"), row, "{text}");
        assert!(!text.contains("was another one"), "{text}");
        assert_eq!(beside.json()["floor"]["figures"]["messages_per_second"], 250_000.0);

        let other = Job { clients: 11, scenario: Scenario::FanIn, ..job };
        let beside = Report { earlier: Some(&earlier), ..report(&other, &now) };
        let text = beside.text();
        assert!(text.contains(r#"another one: scenario "pair", clients 10"#), "{text}");
    }

    #[test]
    fn what_is_no_report_is_refused() {
        for text in ["", "[]", "{}", r#"{"figures": 3}"#] {
            let error = Earlier::parse(text).unwrap_err().to_string();
            assert!(error.contains("--json"), "{text}: {error}");
        }
    }

    #[test]
    fn what_limits_the_figures_is_said() {
        let job = job();
        let mut run = run(1_000_000);
        run.generator_ns = 1_900_000_000;
        run.counts.left_out = 7;
        run.is_whole = false;
        let text = report(&job, &run).text();
        for words in ["generator was at its limit", "7 were due", "ended early"] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn a_run_that_broke_off_is_told_with_what_was_seen_and_is_not_clean() {
        let (job, mut run) = (job(), run(1_000_000));
        run.is_whole = false;
        run.broke = Some("the connection of x was closed by the broker".into());
        let text = report(&job, &run).text();
        for words in ["broke off after 2.0 s", "closed by the broker", "500000"] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("ended early") && !run.is_clean(), "{text}");
        assert_eq!(report(&job, &run).json()["broke_off"], run.broke.clone().unwrap());
    }
}
