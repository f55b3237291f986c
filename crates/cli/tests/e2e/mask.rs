//! What differs from run to run in a line that a program has said: times, dates, hashes, identifiers.
//!
//! Two lines say the same if they are equal once all that is masked.

/// The line with everything masked that no two runs have in common.
pub(crate) fn masked(line: &str) -> String {
    if let Some(name) = FIGURES.iter().find(|name| is_figure(line, name)) {
        return format!("{name}  FIGURE");
    }
    let words: Vec<_> = line.split(' ').collect();
    let next = |index: usize| words.get(index + 1).map_or("", |word| core(word));
    let masked = words.iter().enumerate().map(|(index, word)| mask(word, next(index)));
    masked.collect::<Vec<_>>().join(" ")
}

/// As [`masked`], for a row of a table whose columns are as wide as what is in them.
pub(crate) fn masked_row(line: &str) -> String {
    masked(line).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The rows of a report whose figures differ from run to run.
const FIGURES: &[&str] = &[
    "seconds",
    "slowest start",
    "acknowledged",
    "delivered",
    "repeated at QoS 1, overtaken",
    "sessions found again",
    "retained values looked at",
    "retained messages handed out",
    "deleted meanwhile",
];

/// Whether a line is the row of this name, with figures behind a gap.
fn is_figure(line: &str, name: &str) -> bool {
    let rest = line.strip_prefix(name).and_then(|rest| rest.strip_prefix("  "));
    rest.is_some_and(|rest| rest.trim_start().starts_with(|letter: char| letter.is_ascii_digit()))
}

fn mask(word: &str, next: &str) -> String {
    let core = core(word);
    if core.is_empty() {
        return word.to_owned();
    }
    let counted = core.bytes().all(|byte| byte.is_ascii_digit()) && COUNTED.contains(&next);
    let changed = if is_duration(core) || core == "now" {
        "TIME"
    } else if core == "loop" {
        "loops"
    } else if counted {
        "N"
    } else if is_rate(core) {
        "RATE"
    } else if is_hash(core) {
        "HASH"
    } else if is_chosen_id(core) {
        "ID"
    } else if is_moment(core) {
        "MOMENT"
    } else {
        return without_date(word);
    };
    word.replace(core, changed)
}

/// What is counted differently from run to run.
const COUNTED: &[&str] = &["ms", "s", "loop", "loops", "bytes", "days"];

/// The word without the punctuation around it.
fn core(word: &str) -> &str {
    word.trim_matches(|letter: char| "()[]{},;\"'".contains(letter)).trim_end_matches('.')
}

/// `5.4ms`, `120µs`, `2s`.
fn is_duration(word: &str) -> bool {
    let number = word.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    ["ns", "µs", "ms", "s"].contains(&&word[number.len()..]) && number.parse::<f64>().is_ok()
}

/// `0.4/s`.
fn is_rate(word: &str) -> bool {
    word.strip_suffix("/s").is_some_and(|number| number.parse::<f64>().is_ok())
}

/// Many hexadecimal digits, in pairs or not.
fn is_hash(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_hexdigit).count();
    digits >= 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':')
}

/// A client identifier that the client or the broker has chosen.
fn is_chosen_id(word: &str) -> bool {
    let rest = word.strip_prefix("noctule").or_else(|| word.strip_prefix("sensor_"));
    rest.is_some_and(|rest| rest.len() >= 6 && rest.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// A word with dates and times of day in the middle of it, masked.
fn without_date(word: &str) -> String {
    let shape: Vec<u8> =
        word.bytes().map(|byte| if byte.is_ascii_digit() { b'9' } else { byte }).collect();
    let find = |part: &[u8]| shape.windows(part.len()).position(|found| found == part);
    let (date, time) = (find(b"9999-99-99"), find(b"99:99:99"));
    let Some(begin) = date.into_iter().chain(time).min() else { return word.to_owned() };
    let is_part = |letter: char| letter.is_ascii_digit() || "-:.+TZ".contains(letter);
    let rest = word[begin..].trim_start_matches(is_part);
    format!("{}MOMENT{}", &word[..begin], without_date(rest))
}

/// A date, a time of day, or both in one word.
fn is_moment(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let only = word.bytes().all(|byte| byte.is_ascii_digit() || b"-:.+TZ".contains(&byte));
    digits >= 6 && only && (word.matches('-').count() >= 2 || word.matches(':').count() == 2)
}

#[test]
fn what_no_two_runs_have_in_common_is_masked_and_nothing_else() {
    for (line, wanted) in [
        ("pass  QoS 1   arrived in 1.1ms", "pass  QoS 1   arrived in TIME"),
        ("  ready in 43 ms, with 2 loops; Ctrl-C", "  ready in N ms, with N loops; Ctrl-C"),
        ("  until  2029-02-28 13:35:20 UTC", "  until  MOMENT MOMENT UTC"),
        ("{\"tst\":\"2026-11-26T10:54:27.843847Z+0000\"}", "{\"tst\":\"MOMENT\"}"),
        ("as \"noctuleaeEK4ohAisxCax\", MQTT 5.0", "as \"ID\", MQTT 5.0"),
        ("sensors/roof 23.5", "sensors/roof 23.5"),
        ("noctule: timed out", "noctule: timed out"),
        ("a-b-c 1 10:20", "a-b-c 1 10:20"),
        ("slowest start              25 ms", "slowest start  FIGURE"),
        ("acknowledged               none", "acknowledged               none"),
        ("messages lost                  0", "messages lost                  0"),
    ] {
        assert_eq!(masked(line), wanted);
    }
    let hash = "99:3F:38:11:97:92:FC:2E:7A:B1:CB:0A:79:55:42:E6:F6:5D:BC:C9";
    assert_eq!(masked(&format!("SHA-256  {hash}")), "SHA-256  HASH");
    assert_eq!(masked_row("a   30 s  0.4/s"), "a N s RATE");
}
