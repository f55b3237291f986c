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

/// Formats of the time of arrival, of which only the shape can be the same.
const TIMES: &[&str] = &[
    "%I|%U|@N|",
    "@Y-@m-@dT@H:@M:@S@z|",
    "@a|@A|@b|@B|@C|@D|@e|@F|@g|@G|@h|@I|@j|@p|@R|@T|@u|@U|@V|@w|@W|@x|@X|@y|@Z|",
    "@c|@r|@s|@n@t|@%|%5%|",
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

#[test]
fn times_of_arrival_have_the_shape_that_mosquitto_sub_gives_them() {
    let broker = Broker::start();
    let topic = broker.topic("time");
    publish(&broker, &topic, &["-m", "x"], &[]);
    for format in TIMES {
        let (theirs, ours) = both(&broker, &["-t", &topic, "-F", format]);
        let shapes = |lines: &[String]| lines.iter().map(|line| shape(line)).collect::<Vec<_>>();
        assert_eq!(shapes(&ours), shapes(&theirs), "{format}: {ours:?} {theirs:?}");
    }
}

/// Digits as 9.
fn shape(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect()
}

/// Payloads that may be taken for text, numbers, JSON or neither. `%j` of what is not UTF-8 is left
/// out: mosquitto_sub 2.0.11 then writes something that is no JSON.
const PAYLOADS: &[&[u8]] = &[
    b"a\tb\nc\x1b[1m",
    "é€𝄞".as_bytes(),
    b"12345678901234567890123456789",
    b"-0.0",
    b"1e5",
    b"true",
    b"null",
    b"[1,2,{\"x\":null}]",
    b"{\"a\":1} ",
    b"{\"a\":1",
    b"\"\\u00e9\"",
    b"{\"x\":1.10,\"\xc3\xa9\":{}}",
    b"\x7f",
];

/// Payloads that are not text.
const BINARY: &[&[u8]] = &[b"\xff\x00\x80", b"nul\x00mid", b"\xed\xa0\x80"];

#[test]
fn payloads_of_every_kind_are_printed_as_mosquitto_sub_prints_them() {
    let broker = Broker::start();
    for (number, payload) in PAYLOADS.iter().chain(BINARY).enumerate() {
        let topic = broker.topic(&number.to_string());
        let mut command = client(noctule(), &broker, "pub");
        command.args(["-t", &topic, "-r", "-q", "1", "-s"]);
        Program::start_with(&mut command, payload.to_vec()).finish().well();
        for flags in [&["-F", "%p|%l|%t"][..], &["-F", "%x|%X|"], &["-v"], &["-N"]] {
            let (theirs, ours) = both(&broker, &[&["-t", &topic], flags].concat());
            assert_eq!(ours, theirs, "{flags:?}");
        }
        for format in ["%j", "%J"] {
            if BINARY.contains(payload) {
                continue;
            }
            let (theirs, ours) = both(&broker, &["-t", &topic, "-F", format, "-V", "5"]);
            assert_eq!(without_time(&ours), without_time(&theirs), "{format}");
        }
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
    format!("{head}{}{}", shape(parts[1]), parts[2])
}
