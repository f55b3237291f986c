//! The format language of `noctule sub` against the real mosquitto_sub: the same message, the same
//! format, the same bytes.

use std::process::Command;

use crate::broker::{Broker, noctule};
use crate::foreign::mosquitto;
use crate::program::Program;

/// Formats whose output does not depend on when a message comes.
const FORMATS: &[&str] = &[
    "%t|%p|%q|%r|%l|%m|%%|",
    "%20t|%-20t|%020t|%.1t|%20.1t|%-20.1t|%.0t|%.t|%3.10t|",
    "%x|%X|",
    // Wider than the payload: mosquitto_sub 2.0.11 also cuts it to its width, which loses data.
    "%50p|%-50p|%.1p|%50.2p|",
    "%A|%C|%D|%E|%F|%P|%R|%S|",
    "%5q|%5r|%5l|%-5l|%05l|%-07l|%-7.2l|%5m|",
    "%10C|%-10C|%.2C|%10D|%10P|%.1P|%5F|%10R|",
    "%5A|%05A|%5S|%05S|",
    "@@|@Y|",
    "a\\tb\\n\\\\c\\0\\e\\a\\r\\v",
];

/// Formats with a time of arrival in JSON, which is left out of the comparison.
const JSON_FORMATS: &[(&str, &[&str])] =
    &[("%j", &[]), ("%J", &[]), ("%j", &["--pretty"]), ("%J", &["--pretty"])];

#[test]
fn a_message_with_properties_is_printed_as_mosquitto_sub_prints_it() {
    let broker = Broker::start();
    let topic = format!("{}/full", broker.word());
    publish(
        &broker,
        &topic,
        &["-V", "5", "-q", "1", "-m", r#"{"a": [1, 2.50, {"b": "é"}]}"#],
        PROPERTIES,
    );
    compare(&broker, &topic, "5");
}

#[test]
fn a_message_with_nothing_but_text_is_printed_as_mosquitto_sub_prints_it() {
    let broker = Broker::start();
    for (number, payload) in
        ["-12.50", "\"x\"", "[]", "not json", "a\"\\b\u{1}/"].iter().enumerate()
    {
        let topic = format!("{}/{number}", broker.word());
        publish(&broker, &topic, &["-m", payload], &[]);
        compare(&broker, &topic, "311");
    }
}

const PROPERTIES: &[&str] = &[
    "content-type te/xt",
    "user-property a b",
    "user-property c d",
    "correlation-data co",
    "response-topic r/t",
    "payload-format-indicator 1",
];

/// Leaves a retained message, so that whoever subscribes has it.
fn publish(broker: &Broker, topic: &str, flags: &[&str], properties: &[&str]) {
    let mut command = client(noctule(), broker, "pub");
    command.args(["-t", topic, "-r"]).args(flags);
    for property in properties {
        command.args(["-D", "publish"]).args(property.split(' '));
    }
    Program::start(&mut command).finish().well();
}

fn client(mut command: Command, broker: &Broker, name: &str) -> Command {
    command.arg(name).args(["-h", &broker.host(), "-p", &broker.port()]);
    command
}

fn compare(broker: &Broker, topic: &str, version: &str) {
    for format in FORMATS {
        let flags = ["-t", topic, "-V", version, "-F", format];
        let (theirs, ours) = both(broker, &flags);
        assert_eq!(ours, theirs, "{format}");
    }
    for (format, more) in JSON_FORMATS {
        let flags = [&["-t", topic, "-V", version, "-F", format][..], more].concat();
        let (theirs, ours) = both(broker, &flags);
        assert_eq!(without_time(&ours), without_time(&theirs), "{format} {more:?}");
    }
    for flags in [&["-v"][..], &["-N"], &["-N", "-v"], &[]] {
        let flags = [&["-t", topic, "-V", version], flags].concat();
        let (theirs, ours) = both(broker, &flags);
        assert_eq!(ours, theirs, "{flags:?}");
    }
}

/// What mosquitto_sub and `noctule sub` print of one message.
fn both(broker: &Broker, flags: &[&str]) -> (Vec<String>, Vec<String>) {
    let mut theirs = mosquitto("mosquitto_sub");
    theirs.args(["-h", &broker.host(), "-p", &broker.port()]);
    let mut ours = client(noctule(), broker, "sub");
    let programs = [&mut theirs, &mut ours].map(|command| {
        Program::start(command.args(["-q", "2", "-C", "1", "-W", "20"]).args(flags))
    });
    let [theirs, ours] = programs.map(|program| program.finish().well().lines);
    (theirs, ours)
}

/// The lines with the value of `tst` replaced.
fn without_time(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| mask(line)).collect()
}

fn mask(line: &str) -> String {
    let Some(begin) = line.find("\"tst\":").map(|at| at + "\"tst\":".len()) else {
        return line.to_owned();
    };
    let (head, rest) = line.split_at(begin);
    let value = rest.trim_start_matches('\t');
    let parts: Vec<_> = value.splitn(3, '"').collect();
    // `2026-11-26T10:54:27.843847Z+0000`: the same length and the same signs.
    let shape: String =
        parts[1].chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    format!("{head}{shape}{}", parts[2])
}
