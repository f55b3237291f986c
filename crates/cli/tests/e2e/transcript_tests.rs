//! The transcripts in the documentation: each line with `$` is typed, and what comes must be
//! what the page says, but for times, dates and the like.
//!
//! In a block, `^C` stands where an interrupt is sent, after the line before it has come; a line `…`
//! stands for any number of lines. The words behind `console` say where and when: `alone` in a
//! directory without a broker, `afterwards` once the broker was stopped. A block
//! `text screen=NAME` is what a terminal shows at the end of the play of that name, and one
//! `text file=NAME` is a file that lies in the directory without a broker. With
//! `NOCTULE_WRITE_DOCS=1` in the environment the pages are rewritten as they should be.

use std::cell::RefCell;
use std::path::Path;

use rustix::process::Signal;

use crate::mask::{masked, masked_row};
use crate::plays;
use crate::stage::Stage;

/// The pages, each with so many lines that are typed, or more.
const PAGES: &[(&str, usize)] = &[("transcripts.md", 30), ("moving-from-mosquitto.md", 5)];
const WRITE: &str = "NOCTULE_WRITE_DOCS";
const ANY: &str = "…";
const INTERRUPT: &str = "^C";

#[test]
fn transcripts_are_what_the_program_says() {
    for (name, typed_min) in PAGES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
        let page = std::fs::read_to_string(&path).expect("the page");
        let played = play_page(&page);
        assert!(page.matches("\n$ noctule ").count() >= *typed_min, "{name} was read");
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(&path, played).expect("the page is writable");
        } else {
            compare(name, &page, &played);
        }
    }
}

fn compare(name: &str, page: &str, played: &str) {
    for (line, played) in page.lines().zip(played.lines()) {
        // Where a block was corrected, the first line that really differs is wanted.
        assert_eq!(
            masked(line),
            masked(played),
            "\n{name}: rewrite it with {WRITE}=1 cargo test -p noctule transcripts"
        );
    }
    assert!(page.lines().count() == played.lines().count(), "{name} would be\n{played}");
}

/// The page with every block as it should be.
fn play_page(page: &str) -> String {
    let mut stage = Stage::new();
    let mut out = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        out.push_str(&format!("{line}\n"));
        let Some(fence) = line.strip_prefix("```").filter(|fence| !fence.is_empty()) else {
            continue;
        };
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        let block = block.into_iter().map(str::to_owned).collect();
        for line in play_block(&mut stage, fence, block) {
            out.push_str(&format!("{line}\n"));
        }
        out.push_str("```\n");
    }
    out
}

fn play_block(stage: &mut Stage, fence: &str, block: Vec<String>) -> Vec<String> {
    let mut words = fence.split(' ');
    let (kind, words) = (words.next(), words.collect::<Vec<_>>());
    match (kind, words.first().and_then(|word| word.split_once('='))) {
        (Some("console"), _) => {
            if words.contains(&"afterwards") {
                stage.stop_broker();
            }
            let is_alone = words.contains(&"alone");
            let directory = if is_alone { stage.alone() } else { stage.directory() };
            type_all(stage, &directory, &block)
        }
        (Some("text"), Some(("screen", name))) => {
            let shown = plays::screen(name, stage);
            let same = |a: &String, b: &String| masked_row(a) == masked_row(b);
            if block.len() == shown.len() && block.iter().zip(&shown).all(|(a, b)| same(a, b)) {
                block
            } else {
                shown
            }
        }
        (Some("text"), Some(("file", name))) => {
            let text = format!("{}\n", block.join("\n"));
            let path = stage.alone().join(name);
            std::fs::write(path, stage.unusual(&text)).expect("the room is writable");
            block
        }
        (Some("text"), Some((word, _))) => panic!("neither a screen nor a file: {word}"),
        _ => block,
    }
}

/// Types every line of a block; those that say the same as before are kept as they were.
fn type_all(stage: &Stage, directory: &Path, block: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    let mut code = 0;
    let mut lines = block.iter().peekable();
    while let Some(line) = lines.next() {
        out.push(line.clone());
        let Some(command) = line.strip_prefix("$ ") else { continue };
        let mut expected = Vec::new();
        while let Some(answer) = lines.next_if(|line| !line.starts_with("$ ")) {
            expected.push(answer.clone());
        }
        let before = expected.iter().take_while(|line| *line != INTERRUPT).last();
        let found: Vec<String> = match before {
            Some(before) if expected.iter().any(|line| line == INTERRUPT) => {
                interrupt(stage, command, directory, before)
            }
            _ => {
                let typed = stage.type_line(command, directory, code);
                code = typed.code;
                typed.lines
            }
        };
        let found: Vec<_> = found.iter().map(|line| stage.usual(line)).collect();
        let found = without_sixth(&found);
        out.extend(if says(&without_sixth(&expected), &found) { expected } else { found });
    }
    out
}

/// What a line says up to an interrupt after the line `before`, and after it.
fn interrupt(stage: &Stage, command: &str, directory: &Path, before: &str) -> Vec<String> {
    let program = stage.start_line(command, directory);
    let lines = RefCell::new(Vec::new());
    program.expect(before, |line| {
        lines.borrow_mut().push(line.to_owned());
        (masked(&stage.usual(line)) == masked(before)).then_some(())
    });
    let mut lines = lines.into_inner();
    program.signal(Signal::INT);
    lines.push(INTERRUPT.to_owned());
    lines.extend(program.finish().well().lines.into_iter().filter(|line| !line.is_empty()));
    lines
}

/// Whether what was found is what was expected, in which `…` is any number of lines.
fn says(expected: &[String], found: &[String]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((first, rest)) if first == ANY => {
            (0..=found.len()).any(|skipped| says(rest, &found[skipped..]))
        }
        Some((first, rest)) => found
            .split_first()
            .is_some_and(|(line, left)| masked(first) == masked(line) && says(rest, left)),
    }
}

/// Without the line about IPv6, which not every machine has.
fn without_sixth(lines: &[String]) -> Vec<String> {
    lines.iter().filter(|line| !line.contains("listening on [::1]")).cloned().collect()
}

#[test]
fn a_page_says_what_was_found_or_is_corrected() {
    let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert!(says(&lines("a … d"), &lines("a b c d")));
    assert!(says(&lines("a …"), &lines("a")));
    assert!(!says(&lines("a … d"), &lines("a b c")));
    assert!(!says(&lines("a b"), &lines("a b c")));
}
