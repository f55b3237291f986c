//! The findings as tables: for a terminal, and for `docs/performance.md`, where each lies between
//! two marks and is written over as a whole.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use super::findings::{Figure, Findings};
use super::goals::{
    BEARINGS, BROKERS, BURDENS, Bearing, Burden, Curves, GAINS, GOALS, GROWTH, Goal, Growth, LOOPS,
    Line, MORE,
};
use super::plot::{Series, number, svg};
use crate::shell::{self, Failure};

/// All lines, for a terminal.
pub(super) fn text_table(findings: &Findings) -> String {
    let mut text = format!(
        "{:<50} {:>12} {:>9} {:>9} {:>9} {:>9} {:>11}\n",
        "", "goal", "Noctule", "least", "most", "× relay", "Mosquitto ×"
    );
    for line in GOALS.iter().chain(MORE) {
        let Some(found) = Found::of(findings, line) else { continue };
        let title = format!("{}, {}", line.title, line.unit);
        let mark = if found.is_reached() == Some(false) { "!" } else { "" };
        let _ = writeln!(
            text,
            "{title:<50} {:>12} {:>9} {:>9} {:>9} {:>9} {:>11} {mark}",
            found.goal_text(),
            number(found.ours.median),
            number(found.ours.least),
            number(found.ours.most),
            found.times_relay.map_or("–".into(), number),
            found.mosquitto_times.map_or("–".into(), number),
        );
    }
    text.push_str(&overload_text(findings));
    text.push_str(&gain_text(findings));
    for (row, broker, words) in findings.failures() {
        let _ = writeln!(text, "{row}, {broker}: no figure: {words}");
    }
    text
}

/// The table of overload for a terminal: a line for each figure, as they are many.
fn overload_text(findings: &Findings) -> String {
    let mut text = String::new();
    for (burden, broker, name) in borne(findings) {
        let words = BEARINGS.iter().filter_map(|bearing| {
            let value = findings.figure(burden.row, broker, bearing.figure)?.median;
            let missed = bearing.bound.is_some_and(|bound| !bound.is_kept(value));
            Some(format!("{} {}{}", bearing.title, number(value), if missed { " !" } else { "" }))
        });
        let words = words.collect::<Vec<_>>().join("; ");
        let _ = writeln!(text, "twice the load, {}, {name}: {words}", burden.title);
    }
    text
}

/// What more loops gain, for a terminal.
fn gain_text(findings: &Findings) -> String {
    let mut text = String::new();
    for gain in gains(findings) {
        let Gain { title, loops, .. } = gain;
        let words = match (gain.left_out, gain.cells()) {
            (Some(why), _) => format!("not measured: {why}"),
            (None, [rate, times, ..]) => {
                format!("{rate} messages a second, {times} times one loop's")
            }
        };
        let _ = writeln!(text, "{title}, loops on rations: {loops}: {words}");
    }
    text
}

/// A row at so many loops, each with its share of a processor.
struct Gain<'a> {
    title: &'static str,
    loops: f64,
    rate: Option<Figure>,
    /// How many times the rate of one loop that is.
    times: Option<f64>,
    us: Option<f64>,
    /// How much of their shares the loops used.
    used: Option<f64>,
    generator_busy: Option<f64>,
    left_out: Option<&'a str>,
}

impl Gain<'_> {
    /// All that is known, in the order of the table.
    fn cells(&self) -> [String; 5] {
        let rate = self.rate.as_ref().map(|rate| rate.median);
        let all = [rate, self.times, self.us, self.used, self.generator_busy];
        all.map(|value| value.map_or("–".into(), number))
    }
}

/// What was to be measured of what more loops gain.
fn gains(findings: &Findings) -> impl Iterator<Item = Gain<'_>> {
    let all = GAINS.iter().flat_map(|gain| LOOPS.iter().map(move |loops| (gain, loops)));
    let all = all.filter(|((_, row), (_, broker))| findings.has(row, broker));
    all.map(|((title, row), (loops, broker))| {
        let of = |broker, name| findings.figure(row, broker, name);
        let median = |name| of(broker, name).map(|figure| figure.median);
        let (one, rate) = (of(LOOPS[0].1, "per_second"), of(broker, "per_second"));
        Gain {
            title,
            loops: *loops,
            times: rate.as_ref().and_then(|rate| rate.ratio_to(&one?)),
            rate,
            us: median("us"),
            used: median("used"),
            generator_busy: median("generator_busy"),
            left_out: findings.left_out(row, broker),
        }
    })
}

/// The lines of the table of overload that were measured: what, the broker's name, and what it is
/// called.
fn borne(
    findings: &Findings,
) -> impl Iterator<Item = (&'static Burden, &'static str, &'static str)> {
    let all = BURDENS.iter().flat_map(|burden| {
        burden.brokers.iter().map(move |(broker, name)| (burden, *broker, *name))
    });
    all.filter(|(burden, broker, _)| findings.has(burden.row, broker))
}

/// What is known about a line.
struct Found {
    ours: Figure,
    /// In the line's unit, for this machine.
    goal: Option<f64>,
    /// If the goal was set for another machine: what it was there.
    goal_set: Option<f64>,
    relay: Option<f64>,
    times_relay: Option<f64>,
    mosquitto: Option<f64>,
    mosquitto_times: Option<f64>,
}

impl Found {
    fn of(findings: &Findings, line: &Line) -> Option<Self> {
        let ours = findings.figure(line.row, "noctule", line.figure)?;
        let relay = findings.figure(line.row, "relay", line.figure);
        let mosquitto = findings.figure(line.row, "mosquitto", line.figure);
        let (goal, goal_set) = match line.goal {
            Some(Goal::AtMost(most)) => (Some(most), None),
            Some(Goal::TimesRelay(times)) => {
                (relay.as_ref().map(|relay| relay.median * times), None)
            }
            Some(Goal::Beside { most, row, relay: then }) => {
                match findings.figure(row, "relay", line.figure) {
                    Some(now) => (Some(most * now.median / then), Some(most)),
                    None => (Some(most), None),
                }
            }
            None => (None, None),
        };
        Some(Self {
            goal,
            goal_set,
            times_relay: relay.as_ref().and_then(|relay| ours.ratio_to(relay)),
            mosquitto_times: mosquitto.as_ref().and_then(|other| other.ratio_to(&ours)),
            relay: relay.map(|relay| relay.median),
            mosquitto: mosquitto.map(|mosquitto| mosquitto.median),
            ours,
        })
    }

    fn is_reached(&self) -> Option<bool> {
        self.goal.map(|goal| self.ours.median <= goal)
    }

    /// The goal, and in front of it what was set for another machine.
    fn goal_text(&self) -> String {
        match (self.goal, self.goal_set) {
            (None, _) => "–".into(),
            (Some(goal), None) => number(goal),
            (Some(goal), Some(set)) => format!("{} → {}", number(set), number(goal)),
        }
    }
}

/// Writes tables and pictures into `docs`.
pub(super) fn write(findings: &Findings, docs: &Path) -> Result<(), Failure> {
    if findings.fraction > 1 {
        return Err(Failure::new("a quick run has no figures to quote"));
    }
    let path = docs.join("performance.md");
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error| Failure(format!("{path}: {error}"))
    };
    let mut page = std::fs::read_to_string(&path).map_err(failed(&path))?;
    let date = shell::output(Command::new("date").arg("+%F"))?;
    for (mark, text) in [
        ("goals", goals_table(findings)),
        ("more", more_table(findings)),
        ("overload", overload_table(findings)),
        ("gain", gain_table(findings)),
        ("growth", growth_tables(findings)),
        ("conditions", conditions(findings, date.trim())),
    ] {
        page = replaced(&page, mark, &text)?;
    }
    std::fs::write(&path, page).map_err(failed(&path))?;
    let pictures = docs.join("performance");
    std::fs::create_dir_all(&pictures).map_err(failed(&pictures))?;
    for growth in GROWTH {
        if let Some(picture) = picture(findings, growth) {
            let path = pictures.join(format!("{}.svg", growth.name));
            std::fs::write(&path, picture).map_err(failed(&path))?;
        }
    }
    println!("written into {}", path.display());
    Ok(())
}

/// The page with what lies between the marks of this name replaced.
fn replaced(page: &str, mark: &str, text: &str) -> Result<String, Failure> {
    let (begin, end) = (format!("<!-- bench: {mark} -->"), format!("<!-- /bench: {mark} -->"));
    let missing = || Failure(format!("the page has no place '{begin}' … '{end}'"));
    let (before, rest) = page.split_once(&begin).ok_or_else(missing)?;
    let (_, behind) = rest.split_once(&end).ok_or_else(missing)?;
    Ok(format!("{before}{begin}\n\n{text}\n{end}{behind}"))
}

fn conditions(findings: &Findings, date: &str) -> String {
    let Findings { machine, rounds, seconds, .. } = findings;
    format!("Measured on {date}: {machine}; rounds of {seconds} s: {rounds}.\n")
}

fn goals_table(findings: &Findings) -> String {
    let mut text = String::from(
        "| workload | unit | goal | **Noctule** | least – most | relay | × relay | Mosquitto | Mosquitto × |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for line in GOALS {
        text.push_str(&row(findings, line, true));
    }
    text
}

fn more_table(findings: &Findings) -> String {
    let mut text = String::from(
        "| workload | unit | **Noctule** | least – most | relay | × relay | Mosquitto | Mosquitto × |\n\
         |---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for line in MORE {
        text.push_str(&row(findings, line, false));
    }
    text
}

fn overload_table(findings: &Findings) -> String {
    let titles: Vec<_> = BEARINGS.iter().map(|bearing| bearing.title).collect();
    let mut text = format!("| load | broker | {} |\n|---|---|", titles.join(" | "));
    text.push_str(&"---:|".repeat(titles.len()));
    text.push('\n');
    for (burden, broker, name) in borne(findings) {
        let cells: Vec<_> = BEARINGS
            .iter()
            .map(|bearing| borne_cell(findings, burden.row, broker, bearing))
            .collect();
        let failure = failed(findings, burden.row, broker);
        let _ = writeln!(text, "| {} | {name}{failure} | {} |", burden.title, cells.join(" | "));
    }
    text
}

fn gain_table(findings: &Findings) -> String {
    let mut text = String::from(
        "| workload | loops | messages a second | × one loop | least – most | µs a message | of the shares used | generator's processor |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for gain in gains(findings) {
        let Gain { title, loops, .. } = gain;
        let [mut rate, times, us, used, generator_busy] = gain.cells();
        if let Some(why) = gain.left_out {
            rate = format!("not measured: {}", why.replace(['|', '\n'], " "));
        }
        let ends = gain
            .rate
            .map_or("–".into(), |rate| format!("{} – {}", number(rate.least), number(rate.most)));
        let _ = writeln!(
            text,
            "| {title} | {loops} | {rate} | {times} | {ends} | {us} | {used} | {generator_busy} |"
        );
    }
    text
}

/// Bold if it has a bound and keeps it.
fn borne_cell(findings: &Findings, row: &str, broker: &str, bearing: &Bearing) -> String {
    let Some(figure) = findings.figure(row, broker, bearing.figure) else {
        return "–".into();
    };
    let text = number(figure.median);
    let is_kept = bearing.bound.is_some_and(|bound| bound.is_kept(figure.median));
    if is_kept { format!("**{text}**") } else { text }
}

/// Why something is missing, behind a name or a figure.
fn failed(findings: &Findings, row: &str, broker: &str) -> String {
    let words = findings.failure(row, broker).map(|words| words.replace(['|', '\n'], " "));
    words.map_or(String::new(), |words| format!(" (failed: {words})"))
}

fn row(findings: &Findings, line: &Line, with_goal: bool) -> String {
    let Line { title, unit, .. } = line;
    let found = Found::of(findings, line);
    let cell = |value: Option<f64>| value.map_or("–".into(), number);
    let of = |get: fn(&Found) -> Option<f64>| cell(found.as_ref().and_then(get));
    let ours = match &found {
        None => format!("–{}", failed(findings, line.row, "noctule")),
        Some(found) if found.is_reached() == Some(false) => number(found.ours.median),
        Some(found) => format!("**{}**", number(found.ours.median)),
    };
    let ends = found.as_ref().map_or("–".into(), |found| {
        format!("{} – {}", number(found.ours.least), number(found.ours.most))
    });
    let goal = found.as_ref().map_or("–".into(), Found::goal_text);
    let goal = if with_goal { format!(" {goal} |") } else { String::new() };
    let mosquitto = match findings.faults(line.row, "mosquitto") {
        Some(faults) => format!("{} ({faults})", of(|found| found.mosquitto)),
        None => of(|found| found.mosquitto),
    };
    let relay = of(|found| found.relay) + &failed(findings, line.row, "relay");
    let mosquitto = mosquitto + &failed(findings, line.row, "mosquitto");
    format!(
        "| {title} | {unit} |{goal} {ours} | {ends} | {relay} | {} | {mosquitto} | {} |\n",
        of(|found| found.times_relay),
        of(|found| found.mosquitto_times)
    )
}

fn growth_tables(findings: &Findings) -> String {
    let mut text = String::new();
    for growth in GROWTH {
        if picture(findings, growth).is_some() {
            let Growth { name, title, x, y, .. } = growth;
            let _ = writeln!(text, "![{title}: {y}, by {x}](performance/{name}.svg)\n");
        }
    }
    text
}

fn picture(findings: &Findings, growth: &Growth) -> Option<String> {
    let curve = |label: &str, points: &mut dyn Iterator<Item = (f64, &str, &str)>| {
        let point = |(x, row, broker): (f64, &str, &str)| {
            let figure = findings.figure(row, broker, growth.figure)?;
            (figure.median > 0.0).then_some((x, figure.median))
        };
        Series { label: label.into(), points: points.filter_map(point).collect() }
    };
    let series: Vec<_> = match growth.curves {
        Curves::Rows(rows) => {
            let of = |(label, broker): &(&str, &'static str)| {
                curve(label, &mut rows.iter().map(|(x, row)| (*x, *row, *broker)))
            };
            BROKERS.iter().map(of).collect()
        }
        Curves::Loops(rows) => {
            let of = |(label, row): &(&str, &'static str)| {
                curve(label, &mut LOOPS.iter().map(|(x, broker)| (*x, *row, *broker)))
            };
            rows.iter().map(of).collect()
        }
    };
    svg(growth.title, growth.x, growth.y, &series)
}

#[cfg(test)]
mod tests {
    use super::super::findings::tests::TEXT;
    use super::*;

    #[test]
    fn a_goal_that_is_missed_is_marked_and_one_that_is_reached_is_bold() {
        let findings = Findings::parse(TEXT).unwrap();
        let table = text_table(&findings);
        let line = table.lines().find(|line| line.starts_with("pair QoS 0, 64 B")).unwrap();
        let cells: Vec<_> = line.split_whitespace().collect();
        assert_eq!(cells[5..], ["µs", "0.12", "→", "0.178", "0.15", "0.1", "0.2", "4.17", "40"]);
        let missed = text_table(&Findings::parse(&TEXT.replace("0.15", "0.18")).unwrap());
        let line = missed.lines().find(|line| line.starts_with("pair QoS 0, 64 B")).unwrap();
        assert!(line.contains("0.178      0.18 ") && line.ends_with('!'), "{line}");
        let reached = Findings::parse(&TEXT.replace("0.15", "0.1")).unwrap();
        let row = goals_table(&reached).lines().nth(2).unwrap().to_owned();
        assert!(row.contains("| **0.1** | 0.1 – 0.2 | 0.04 |"), "{row}");
        assert!(row.contains("8 (3 lost)"), "{row}");
    }

    #[test]
    fn a_place_is_written_over_as_a_whole() {
        let page = "a\n<!-- bench: goals -->old<!-- /bench: goals -->\nb\n";
        let once = replaced(page, "goals", "new\n").unwrap();
        assert_eq!(once, "a\n<!-- bench: goals -->\n\nnew\n\n<!-- /bench: goals -->\nb\n");
        assert_eq!(replaced(&once, "goals", "new\n").unwrap(), once);
        assert!(replaced(page, "more", "").is_err());
    }

    #[test]
    fn a_curve_has_the_points_that_were_measured() {
        let findings = Findings::parse(TEXT).unwrap();
        let pairs = GROWTH.iter().find(|growth| growth.name == "pairs").unwrap();
        assert_eq!(picture(&findings, pairs).unwrap().matches("<circle").count(), 2);
        assert_eq!(growth_tables(&findings).matches("![").count(), 1);
    }

    #[test]
    fn what_more_loops_gain_is_beside_one_loop_or_not_measured() {
        let findings = Findings::parse(TEXT).unwrap();
        let table = gain_table(&findings);
        let lines: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| 100 pairs, QoS 0 | 1 | 15 k | 1 | 10 k – 20 k | 0.2 | 1 | 0.25 |",
                "| 100 pairs, QoS 0 | 2 | 28 k | 1.9 | 20 k – 36 k | – | – | – |",
                "| 100 pairs, QoS 1 | 1 | not measured: needs root | – | – | – | – | – |",
            ]
        );
        let text = text_table(&findings);
        assert!(text.contains("QoS 0, loops on rations: 2: 28 k messages a second, 1.9 times"));
        assert!(text.contains("QoS 1, loops on rations: 1: not measured: needs root"), "{text}");
    }

    #[test]
    fn what_was_borne_is_bold_and_who_failed_is_named() {
        let findings = Findings::parse(TEXT).unwrap();
        let table = overload_table(&findings);
        let lines: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| QoS 1 | Noctule, one loop | – | – | – | **0.95** | – | – | – | 21 | – | – | **0** | – |",
                "| QoS 1 | Mosquitto (failed: the broker ended) | – | – | – | – | – | – | – | – | – | – | – | – |",
            ]
        );
        let text = text_table(&findings);
        assert!(
            text.contains("QoS 1, Noctule, one loop: × peak 0.95; good client QoS 0, p99 ms 21 !")
        );
        assert!(text.contains("overload-q1, mosquitto: no figure: the broker ended"), "{text}");
    }
}
