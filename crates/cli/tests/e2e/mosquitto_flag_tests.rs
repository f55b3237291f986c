//! The flags of mosquitto's own commands, as their help names them: each is known to ours, or refused
//! with a reason.

use std::collections::BTreeSet;

use crate::broker::noctule;
use crate::command_tests::code;
use crate::foreign;
use crate::program::Program;

/// Every flag that a help of mosquitto's names.
fn flags_in(help: &str) -> BTreeSet<String> {
    let words = help.split(|letter: char| letter.is_whitespace() || "[]{}|,'\"()".contains(letter));
    let is_flag = |word: &&str| {
        let short =
            word.len() == 2 && word.starts_with('-') && word.as_bytes()[1].is_ascii_alphabetic();
        let long = word.starts_with("--") && word.len() > 3;
        short || (long && word[2..].bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
    };
    words.filter(is_flag).map(str::to_owned).collect()
}

#[test]
fn every_flag_of_mosquittos_commands_is_known_or_refused_with_a_reason() {
    for (theirs, ours) in
        [("mosquitto_pub", "pub"), ("mosquitto_sub", "sub"), ("mosquitto_rr", "request")]
    {
        let help = Program::start(foreign::mosquitto(theirs).arg("--help")).finish();
        let flags = flags_in(&help.lines.join("\n"));
        assert!(flags.len() > 40, "{theirs}: {flags:?}");
        for flag in flags {
            let finished =
                Program::start(noctule().args([ours, "-t", "a", "-p", "1", &flag])).finish();
            let said = finished.complaints;
            assert!(!said.contains("unexpected argument"), "{ours} does not know {flag}: {said}");
        }
    }
    for (flag, why) in [
        ("--ciphers", "safe"),
        ("--psk", "certificates"),
        ("--proxy", "not supported"),
        ("-S", "--host"),
    ] {
        let finished = Program::start(noctule().args(["sub", "-t", "a", flag, "x"])).finish();
        let said = &finished.complaints;
        assert_eq!((code(&finished), said.lines().count()), (2, 1), "{said}");
        assert!(said.contains(&format!("{flag} is not offered: ")) && said.contains(why), "{said}");
    }
}
