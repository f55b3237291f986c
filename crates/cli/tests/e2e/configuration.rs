//! What the command line makes of flags and of a configuration file.

use std::path::Path;

use crate::broker::noctule;
use crate::program::{Finished, Program};
use crate::room::Room;

#[test]
fn a_good_configuration_file_is_said_to_be_good() {
    let room = Room::new();
    let file = room.file("good.toml", b"port = 2883\n\n[limits]\npacket_bytes_max = \"1MiB\"\n");
    let finished = broker(&room, &["--check-config", "--config", text(&file)]).well();
    assert_eq!(finished.lines, ["configuration ok"]);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_its_nearest_neighbour() {
    let room = Room::new();
    let file = room.file("bad.toml", b"port = 2883\n\n[limits]\npacket_bytes_maxx = 5\n");
    for flags in [&["--check-config", "--config", text(&file)][..], &["--config", text(&file)]] {
        let finished = broker(&room, flags);
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        for word in ["bad.toml:4", "packet_bytes_maxx", "packet_bytes_max`"] {
            let said = finished.complaints.replace(['\'', '"'], "`");
            assert!(said.contains(word), "{word} is missing: {finished:?}");
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_one_clear_line() {
    let room = Room::new();
    let finished = broker(&room, &["--config", "missing.toml"]);
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.complaints.contains("missing.toml"), "{finished:?}");
    assert!(!finished.complaints.contains("panicked"), "{finished:?}");
}

#[test]
fn the_printed_configuration_is_one_that_can_be_read() {
    let room = Room::new();
    let printed = broker(&room, &["--print-config", "--port", "3883"]).well().lines.join("\n");
    assert!(printed.lines().any(|line| line.trim() == "port = 3883"), "{printed}");
    let file = room.file("printed.toml", printed.as_bytes());
    broker(&room, &["--check-config", "--config", text(&file)]).well();
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let room = Room::new();
    let file = room.file("file.toml", b"port = 1001\n");
    let port = |flags: &[&str], environment: Option<&str>| {
        let mut command = noctule();
        command.args(["broker", "--print-config", "--config", text(&file)]).args(flags);
        command.current_dir(room.path());
        if let Some(port) = environment {
            command.env("NOCTULE_PORT", port);
        }
        let lines = Program::start(&mut command).finish().well().lines;
        lines.iter().find_map(|line| line.trim().strip_prefix("port = ").map(str::to_owned))
    };
    assert_eq!(port(&[], None).as_deref(), Some("1001"));
    assert_eq!(port(&[], Some("1002")).as_deref(), Some("1002"));
    assert_eq!(port(&["--port", "1003"], Some("1002")).as_deref(), Some("1003"));
}

#[test]
fn an_unknown_flag_is_a_usage_error_that_names_it() {
    let room = Room::new();
    let finished = broker(&room, &["--prot", "1883"]);
    assert_eq!(finished.status.code(), Some(2), "{finished:?}");
    assert!(finished.complaints.contains("--prot"), "{finished:?}");
    assert!(finished.complaints.contains("--port"), "the nearest flag: {finished:?}");
}

#[test]
fn an_impossible_value_is_refused_before_anything_starts() {
    let room = Room::new();
    for flags in [["--port", "65536"], ["--port", "many"], ["--bind", "nowhere"]] {
        let finished = broker(&room, &flags);
        assert!(matches!(finished.status.code(), Some(1 | 2)), "{flags:?}: {finished:?}");
        assert!(finished.complaints.contains(flags[1]), "{flags:?}: {finished:?}");
        assert!(!finished.lines.iter().any(|line| line.contains("listening")), "{finished:?}");
    }
}

#[test]
fn help_and_version_are_answers_and_not_errors() {
    let room = Room::new();
    let run = |words: &[&str]| {
        let mut command = noctule();
        Program::start(command.args(words).current_dir(room.path())).finish().well()
    };
    assert_eq!(run(&["--version"]).lines, [concat!("noctule ", env!("CARGO_PKG_VERSION"))]);
    assert!(run(&["broker", "--help"]).lines.iter().any(|line| line.contains("--port")));
    assert!(run(&[]).lines.iter().any(|line| line.contains("noctule broker")));
}

fn broker(room: &Room, flags: &[&str]) -> Finished {
    let mut command = noctule();
    command.arg("broker").args(flags).current_dir(room.path());
    Program::start(&mut command).finish()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("target lies at a UTF-8 path")
}
