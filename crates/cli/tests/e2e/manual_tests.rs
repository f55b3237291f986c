//! What is made from the description of the commands: completions in a real shell, manual pages
//! through the formatter that `man` uses.

use std::process::Command;

use crate::broker::noctule;
use crate::program::Program;
use crate::room::Room;

/// What bash offers for the last of these words.
fn completed(words: &[&str]) -> Vec<String> {
    let program = env!("CARGO_BIN_EXE_noctule");
    let (last, count) = (words[words.len() - 1], words.len() - 1);
    let script = format!(
        "source <('{program}' completions bash) && COMP_WORDS=({}) COMP_CWORD={count} && \
         {{ _noctule noctule '{last}' '{}' || true; }} && printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.join(" "),
        words[count - 1],
    );
    Program::start(Command::new("bash").args(["-c", &script])).finish().well().lines
}

#[test]
fn bash_completes_commands_flags_and_values() {
    assert_eq!(completed(&["noctule", "da"]), ["dashboard"]);
    let flags = ["--retain-as-published", "--retain-handling", "--retained-only"];
    assert_eq!(completed(&["noctule", "sub", "--retain"]), flags);
    assert_eq!(completed(&["noctule", "sub", "--retain-handling", "n"]), ["new", "never"]);
    assert_eq!(completed(&["noctule", "completions", "f"]), ["fish"]);
    assert!(completed(&["noctule", "passwd", "--"]).contains(&"--help".to_owned()));
}

#[test]
fn every_manual_page_is_understood_by_the_formatter_without_a_warning() {
    let room = Room::new();
    let out = room.path().join("man1");
    Program::start(noctule().args(["man", "--out"]).arg(&out)).finish().well();
    let pages: Vec<_> =
        out.read_dir().expect("pages").map(|page| page.expect("a page").path()).collect();
    assert!(pages.len() > 20, "{pages:?}");
    for page in &pages {
        let mut groff = Command::new("groff");
        // What is wrong with a page, and not what a formatter's own macros could do better.
        groff.args(["-wsyntax", "-wescape", "-wmissing", "-wfont", "-wrange"]);
        groff.args(["-man", "-Tutf8", "-P-cbou"]).arg(page);
        let formatted = Program::start(&mut groff).finish().well();
        assert_eq!(formatted.complaints, "", "{}", page.display());
        let text = formatted.lines.join("\n");
        let name = page.file_stem().expect("a name").to_string_lossy().into_owned();
        for part in [
            &format!("{name}(1)"),
            "NAME",
            "SYNOPSIS",
            concat!("noctule ", env!("CARGO_PKG_VERSION")),
        ] {
            assert!(text.contains(part), "{part} is not in {}:\n{text}", page.display());
        }
    }
}

#[test]
fn a_page_is_printed_for_whoever_asks_and_a_wrong_name_is_said() {
    let page = Program::start(noctule().args(["man", "store", "queue"])).finish().well();
    assert!(
        page.lines.iter().any(|line| line.starts_with(".TH noctule-store-queue 1")),
        "{page:?}"
    );
    let wrong = Program::start(noctule().args(["man", "stor"])).finish();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(wrong.complaints.contains("there is no command \"stor\""), "{wrong:?}");
    let room = Room::new();
    let file = room.file("file", b"");
    let wrong = Program::start(noctule().args(["man", "--out"]).arg(&file)).finish();
    assert!(wrong.complaints.contains("cannot write manual pages into "), "{wrong:?}");
}
