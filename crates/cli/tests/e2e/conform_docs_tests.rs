//! docs/conformance.md says what the checks find at Debian's mosquitto.
//!
//! With `NOCTULE_WRITE_DOCS` the page is written. Otherwise it is compared, if it was written for the
//! mosquitto that is installed here; of another one only the run itself is looked at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use noctule_conformance::{Finding, Outcome, Patience, Selection, Tally, Target, VERSIONS, run};

use crate::foreign;
use crate::mosquitto_broker::Mosquitto;

#[test]
fn the_table_of_differences_is_what_comes_out() {
    if std::env::var_os("NOCTULE_TEST_SHARDS").is_some() {
        // How many loops ours has makes no difference to mosquitto, which was looked at already.
        return;
    }
    let mosquitto = Mosquitto::start("");
    let version = version();
    let findings = examined(mosquitto.port());
    assert!(findings.len() > 500, "{}", findings.len());
    let block = block(&version, &findings);
    let path = page();
    let text = std::fs::read_to_string(&path).expect("the page");
    let begin = text.find(BEGIN).expect("the beginning of what is generated") + BEGIN.len();
    let end = text.find(END).expect("the end of what is generated");
    if std::env::var_os("NOCTULE_WRITE_DOCS").is_some() {
        let page = format!("{}\n{block}{}", &text[..begin], &text[end..]);
        std::fs::write(&path, page).expect("the page is writable");
        return;
    }
    let there = text[begin..end].trim_start();
    if there.starts_with(&format!("**{version}**")) {
        assert!(there == block, "it says\n{there}\nand what comes out is\n{block}");
    }
}

const BEGIN: &str = "<!-- begin: generated -->";
const END: &str = "<!-- end: generated -->";

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/conformance.md")
}

/// All findings; what failed was given a second chance, alone and with more time.
fn examined(port: u16) -> Vec<Finding> {
    let with = |seconds, filters: Vec<String>, jobs| {
        let patience =
            Patience { answer: Duration::from_secs(seconds), silence: Duration::from_millis(300) };
        let target = Target::new("127.0.0.1", port, patience).expect("an address");
        let selection = Selection { versions: VERSIONS.to_vec(), filters, jobs };
        run(&target, &selection, |_| {}).expect("a broker that can be tested")
    };
    let mut findings = with(5, Vec::new(), 16);
    let failed: Vec<_> =
        findings.iter().filter(|one| is_failed(one)).map(|one| one.case.name()).collect();
    for again in with(10, failed, 8) {
        let same = |one: &&mut Finding| {
            one.case.name() == again.case.name() && one.case.version == again.case.version
        };
        if let Some(first) = findings.iter_mut().find(same) {
            *first = again;
        }
    }
    findings
}

fn is_failed(finding: &Finding) -> bool {
    matches!(finding.outcome, Outcome::Failed(_))
}

/// `mosquitto 2.0.11`, from the first line of its help.
fn version() -> String {
    let mut command: Command = foreign::mosquitto_broker();
    let output = command.arg("-h").output().expect("mosquitto starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = text.lines().next().unwrap_or_default().to_owned();
    let number = first.split_whitespace().last().unwrap_or_default();
    assert!(number.starts_with(|c: char| c.is_ascii_digit()), "{first}");
    format!("mosquitto {number}")
}

fn block(version: &str, findings: &[Finding]) -> String {
    let mut out =
        format!("**{version}**\n\n| | passed | failed | not applicable |\n|---|---|---|---|\n");
    for mqtt in VERSIONS {
        let Tally { passed, failed, not_applicable } =
            Tally::of(findings.iter().filter(|finding| finding.case.version == mqtt));
        out.push_str(&format!("| MQTT {mqtt} | {passed} | {failed} | {not_applicable} |\n"));
    }
    out.push_str("\n| check | clauses | what it does | what comes | |\n|---|---|---|---|---|\n");
    for row in rows(findings) {
        out.push_str(&row);
    }
    out.push_str("\n*: good clients can notice it.\n\n");
    for (name, words) in REMARKS {
        out.push_str(&format!("- `{name}`: {words}\n"));
    }
    out
}

/// A row for each check that fails, of both versions together.
fn rows(findings: &[Finding]) -> Vec<String> {
    let mut by_name: BTreeMap<usize, (&Finding, Vec<String>)> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    for finding in findings.iter().filter(|finding| is_failed(finding)) {
        let name = finding.case.name();
        let at = order.iter().position(|one| *one == name).unwrap_or_else(|| {
            order.push(name);
            order.len() - 1
        });
        let clauses = finding.case.clauses().map(str::to_owned);
        by_name.entry(at).or_insert((finding, Vec::new())).1.extend(clauses);
    }
    by_name.into_values().map(|(finding, clauses)| row(finding, &clauses)).collect()
}

fn row(finding: &Finding, clauses: &[String]) -> String {
    let Outcome::Failed(failure) = &finding.outcome else {
        unreachable!("only failures have rows")
    };
    let name = finding.case.name();
    let mark = if NOTICED.contains(&name.as_str()) { "*" } else { "" };
    format!(
        "| `{name}` | {} | {} | {} | {mark} |\n",
        clauses.join(" "),
        finding.case.check.does,
        without_words(&failure.came),
    )
}

/// Topics carry a word of the run, which is left out; long payloads are cut.
fn without_words(came: &str) -> String {
    let mut out = came.to_owned();
    while let Some(at) = out.find("conform/").filter(|at| out[*at..].len() > 17) {
        out.replace_range(at..at + 17, "…/");
    }
    while out.contains("xxxx") {
        out = out.replace("xxxx", "x");
    }
    // Which one it was depends on what came first.
    match out.find("nothing within") {
        Some(at) => out[..at].to_owned() + "nothing",
        None => out,
    }
}

/// What a client that keeps to the rules can notice.
const NOTICED: &[&str] = &[
    "connect/take_over",
    "will_delay/of_a_session_that_ends_at_once",
    "will_delay/not_cancelled_by_beginning_anew",
    "subscribe/overlapping_the_other_way",
    "subscribe_options/no_local_off",
    "shared/no_retained",
    "expiry/behind_a_full_window",
    "flow/too_large_for_the_client",
    "disconnect/with_an_error",
];

/// Where a clause can be read otherwise, or what is behind a finding.
const REMARKS: &[(&str, &str)] = &[
    (
        "header/…",
        "the reserved flags and packets that only servers send are protocol violations, and both versions say that they \
         end the connection; a broker that ignores them harms nobody but the client that sends them.",
    ),
    (
        "connect/take_over",
        "section 3.1.4 says that the server sends DISCONNECT 0x8E to the earlier connection; its MUST is about \
         closing.",
    ),
    (
        "flow/of_the_server",
        "section 3.3.4 names DISCONNECT 0x93; to refuse the message with PUBREC 0x97 is milder, and the connection goes on.",
    ),
    (
        "property_faults/unknown_reason_of_puback and reason_of_others_in_pubrel",
        "that an acknowledgement with a reason that does not exist is a protocol error follows from *MUST be one of the values* \
         and is nowhere said of the receiver.",
    ),
    (
        "qos/dup_at_qos_0",
        "the clause binds the sender; that its violation ends the connection is section 4.8 (3.1.1) and 4.13 (5).",
    ),
];
