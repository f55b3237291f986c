//! `noctule torture` as a user runs it: on our broker, which keeps what it acknowledges; on brokers
//! that do not, which it must find out; and what is left when it is ended itself.

use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::process::Signal;

use crate::broker::noctule;
use crate::program::{DEADLINE, Finished, Program};
use crate::room::Room;

/// `noctule torture` with its directory in this room.
fn torture(room: &Room, flags: &[&str], broker: &[&str]) -> Program {
    let mut command = noctule();
    command.arg("torture").arg("--directory").arg(room.path()).args(flags).arg("--").args(broker);
    Program::start(&mut command)
}

/// Our broker's command with more flags, behind what a profile does not say already.
fn ours(flags: &[&str]) -> Vec<String> {
    let program = env!("CARGO_BIN_EXE_noctule");
    let words = [program, "broker", "--port", "0", "--no-tls", "--data-dir", "{data}"];
    let small = ["--store-segment-bytes", "1MiB"];
    let mut words: Vec<_> =
        words.iter().chain(&small).chain(flags).copied().map(String::from).collect();
    if let Ok(shards) = std::env::var("NOCTULE_TEST_SHARDS") {
        words.extend(["--shards".into(), shards]);
    }
    words
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn code(finished: &Finished) -> i32 {
    finished.status.code().expect("an exit code")
}

/// What tortures have left in a room.
fn left(room: &Room) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(room.path()).expect("a room");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// The line of the report that begins so.
fn figure(report: &Finished, name: &str) -> u64 {
    let line = report.lines.iter().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {report:?}"));
    line.rsplit(' ').next().expect("a word").parse().expect("a number")
}

#[test]
fn our_broker_keeps_what_it_acknowledges_whatever_is_spoken() {
    for version in ["mqttv311", "mqttv5"] {
        let room = Room::new();
        let flags = ["--rounds", "3", "--up", "50ms..600ms", "-V", version, "--json"];
        let report = torture(&room, &flags, &words(&ours(&[]))).finish().well();
        let json = report.lines.join("\n");
        for key in ["lost", "doubled", "reordered", "retained_stale", "sessions_gone"] {
            assert!(json.contains(&format!("\"{key}\": 0")), "{json}");
        }
        assert!(json.contains("\"verdict\": \"kept\"") && json.contains("\"rounds\": 3"), "{json}");
        assert_eq!(report.complaints.matches(": nothing wrong").count(), 3, "{report:?}");
        assert!(left(&room).is_empty(), "nothing was wrong, so nothing is kept");
    }
}

#[test]
fn our_broker_keeps_it_over_tls_and_with_another_number_of_loops_in_each_life() {
    let room = Room::new();
    let mut command = noctule();
    command.arg("torture").arg("--directory").arg(room.path());
    command.args(["--profile", "noctule", "--tls", "--shards", "1,2,3", "--seed", "5"]);
    command.args(["--rounds", "4", "--up", "50ms..600ms", "--keep", "--json"]);
    command.args(["--", "--store-segment-bytes", "1MiB"]);
    let report = Program::start(&mut command).finish().well();
    let json = report.lines.join("\n");
    for key in ["lost", "doubled", "reordered", "retained_stale", "sessions_gone"] {
        assert!(json.contains(&format!("\"{key}\": 0")), "{json}");
    }
    assert!(!json.contains("\"retained_deleted\": 0"), "some were deleted meanwhile: {json}");
    let said = std::fs::read_to_string(left(&room)[0].join("output.txt")).expect("its words");
    assert!(said.contains("(MQTT over TLS)"));
    assert!(left(&room)[0].join("data/tls/ca.pem").exists());
    // What the seed has chosen; the store of each was read by the next.
    let loops = ["with 1 loop;", "with 2 loops;", "with 3 loops;"].map(|one| said.contains(one));
    assert!(loops.iter().filter(|one| **one).count() > 1, "{loops:?}");
}

#[test]
fn our_broker_keeps_it_when_it_is_asked_to_end() {
    let room = Room::new();
    let flags = ["--rounds", "2", "--up", "50ms..400ms", "--signal", "TERM"];
    let report = torture(&room, &flags, &words(&ours(&[]))).finish().well();
    let last = report.lines.last().expect("a verdict");
    assert!(last.starts_with("kept: everything acknowledged was there after "), "{report:?}");
}

#[test]
fn a_broker_that_forgets_is_found_out_and_its_files_are_kept() {
    let room = Room::new();
    // Who subscribes again and again may or may not have a session to lose. The seed decides who is
    // there when the broker is killed: with some it is everybody, and nothing need be lost.
    let flags = ["--rounds", "1", "--up", "300ms..400ms", "--patience", "2s"];
    let flags = [&flags[..], &["--retained", "0", "--seed", "7"]].concat();
    let report = torture(&room, &flags, &words(&ours(&["--in-memory"]))).finish();
    assert_eq!(code(&report), 1, "{report:?}");
    assert!(figure(&report, "messages lost") > 0, "{report:?}");
    assert_eq!(figure(&report, "sessions gone"), 10, "each client has lost its own");
    assert!(figure(&report, "retained stale") > 0, "{report:?}");
    assert_eq!(figure(&report, "reordered"), 0, "{report:?}");
    let text = report.lines.join("\n");
    assert!(text.contains(" did not get message ") && text.contains("acknowledged at "), "{text}");
    let kept = left(&room);
    let last = report.lines.last().expect("a verdict");
    assert_eq!(kept.len(), 1);
    assert!(last.starts_with("BROKEN: ") && last.contains(kept[0].to_str().expect("text")));
}

#[test]
fn a_broker_that_ends_by_itself_is_a_finding_and_one_that_never_runs_an_error() {
    let room = Room::new();
    // Well at first, it does not start on what it finds the second time.
    let script = format!(
        "if test -e {{data}}/here; then echo cannot read my files >&2; exit 7; fi; \
         touch {{data}}/here; exec {}",
        ours(&[]).join(" ")
    );
    let flags = ["--rounds", "3", "--up", "50ms..100ms"];
    let report = torture(&room, &flags, &["sh", "-c", &script]).finish();
    assert_eq!(code(&report), 1, "{report:?}");
    assert_eq!(figure(&report, "ended by itself"), 1, "{report:?}");
    let text = report.lines.join("\n");
    assert!(text.contains("exit status: 7") && text.contains("it said: cannot read my"), "{text}");

    let room = Room::new();
    let report = torture(&room, &[], &["sh", "-c", "echo no such option >&2; exit 1"]).finish();
    assert_eq!(code(&report), 1, "{report:?}");
    assert!(report.complaints.contains("it said: no such option"), "{report:?}");
}

/// A torture whose broker says its process id, under load.
fn under_way(room: &Room) -> (Program, String) {
    let script = format!("echo $$ > {{data}}/pid; exec {}", ours(&[]).join(" "));
    let flags = ["--rounds", "100", "--up", "100ms..200ms", "--keep"];
    let program = torture(room, &flags, &["sh", "-c", &script]);
    program.expect_complaint(&["round 2 of 100"]);
    let pid = broker_pid(&left(room)[0]);
    (program, pid)
}

/// The process that is the broker now: it is written at each start.
fn broker_pid(directory: &Path) -> String {
    let end = Instant::now() + DEADLINE;
    loop {
        let pid = std::fs::read_to_string(directory.join("data/pid")).unwrap_or_default();
        if pid.ends_with('\n') && is_alive(pid.trim()) {
            return pid.trim().into();
        }
        assert!(Instant::now() < end, "no broker");
        std::thread::yield_now();
    }
}

fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// No process has this directory on its command line any more.
fn none_left(directory: &Path) {
    let directory = directory.to_str().expect("text");
    let end = Instant::now() + DEADLINE;
    while processes_with(directory) {
        assert!(Instant::now() < end, "a broker is left");
        std::thread::yield_now();
    }
}

fn processes_with(word: &str) -> bool {
    let processes = std::fs::read_dir("/proc").expect("a list of processes");
    let lines = processes.filter_map(|entry| {
        let path = entry.ok()?.path();
        let line = std::fs::read(path.join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).into_owned())
    });
    // The torture itself names only the room.
    lines.into_iter().any(|line| line.contains(word))
}

#[test]
fn ctrl_c_and_sigterm_end_it_in_order_and_no_broker_is_left() {
    for signal in [Signal::INT, Signal::TERM] {
        let room = Room::new();
        let (program, pid) = under_way(&room);
        let directory = left(&room).remove(0);
        program.signal(signal);
        let report = program.finish();
        assert_eq!(code(&report), 3, "{report:?}");
        assert!(report.lines.join("\n").contains("\nstopped in round "), "{report:?}");
        assert!(!is_alive(&pid));
        none_left(&directory);
    }
}

#[test]
fn the_broker_dies_with_a_torture_that_is_killed() {
    let room = Room::new();
    let (program, _) = under_way(&room);
    let directory = left(&room).remove(0);
    program.signal(Signal::KILL);
    drop(program.finish());
    none_left(&directory);
}
