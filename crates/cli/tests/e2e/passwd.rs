//! `noctule passwd` as a user runs it: by pipe, by file, and at a terminal.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::broker::noctule;
use crate::foreign::script;
use crate::program::{Finished, Program};
use crate::room::Room;

#[test]
fn users_are_added_verified_changed_and_deleted() {
    let room = Room::new();
    assert_eq!(
        passwd(&room, &["create", "p"], "").well().lines,
        ["made p; `noctule passwd add` adds users"]
    );
    assert_eq!(room.path().join("p").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let add = ["add", "p", "anna", "--password-stdin"];
    assert_eq!(passwd(&room, &add, "one\n").well().lines, ["added anna"]);
    let verify = ["verify", "p", "anna", "--password-stdin"];
    assert_eq!(passwd(&room, &verify, "one").well().lines, ["right"]);
    refused(&passwd(&room, &verify, "two"), "wrong: no such user, or another password");
    assert_eq!(passwd(&room, &add, "two\r\n").well().lines, ["changed the password of anna"]);
    passwd(&room, &verify, "two").well();
    refused(&passwd(&room, &verify, "one"), "wrong");
    assert_eq!(passwd(&room, &["delete", "p", "anna"], "").well().lines, ["deleted anna"]);
    refused(&passwd(&room, &verify, "two"), "wrong");
    refused(&passwd(&room, &["delete", "p", "anna"], ""), "no user \"anna\"");
}

#[test]
fn a_password_comes_from_a_file_without_its_line_break() {
    let room = Room::new();
    passwd(&room, &["create", "p"], "").well();
    room.file("secret", b"with spaces \n");
    passwd(&room, &["add", "p", "s", "--password-from", "secret"], "").well();
    passwd(&room, &["verify", "p", "s", "--password-stdin"], "with spaces ").well();
    let missing = passwd(&room, &["add", "p", "s", "--password-from", "none"], "");
    refused(&missing, "none: cannot be read");
}

#[test]
fn faults_are_one_clear_line() {
    let room = Room::new();
    let add = ["add", "p", "anna", "--password-stdin"];
    refused(&passwd(&room, &add, "x"), "p: there is no such file");
    room.file("p", b"anna:plain\n");
    refused(&passwd(&room, &add, "x"), "p:1: the hash is of no kind that is known");
    refused(&passwd(&room, &["create", "p"], ""), "--force");
    passwd(&room, &["create", "p", "--force"], "").well();
    refused(&passwd(&room, &add, ""), "found one of 0");
    refused(&passwd(&room, &add, &"x".repeat(70_000)), "1 to 65535 bytes");
    refused(&passwd(&room, &["add", "p", "a:b", "--password-stdin"], "x"), "expected a user name");
    let usage = passwd(&room, &["add", "p"], "");
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
    // There is no flag for a password: the command line is for everybody to see.
    let usage = passwd(&room, &["add", "p", "anna", "--password", "x"], "");
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
}

#[test]
fn at_a_terminal_it_asks_twice_and_shows_nothing() {
    let room = Room::new();
    passwd(&room, &["create", "p"], "").well();
    let shown = typed(&room, &["hidden-word", "hidden-word"], &["add", "p", "anna"]).well();
    let text = shown.lines.join("\n");
    assert!(text.contains("New password of anna: ") && text.contains("added anna"), "{text}");
    assert!(!text.contains("hidden-word"), "{text}");
    let shown = typed(&room, &["hidden-word"], &["verify", "p", "anna"]).well().lines.join("\n");
    assert!(shown.contains("right") && !shown.contains("hidden-word"), "{shown}");
    let differ = typed(&room, &["one-word", "other-word"], &["add", "p", "anna"]);
    assert_eq!(differ.status.code(), Some(1), "{differ:?}");
    assert!(differ.lines.join("\n").contains("the two passwords differ"), "{differ:?}");
    passwd(&room, &["verify", "p", "anna", "--password-stdin"], "hidden-word").well();
}

#[test]
fn without_a_terminal_it_says_what_to_do_instead() {
    let room = Room::new();
    passwd(&room, &["create", "p"], "").well();
    // A session of its own has no terminal, wherever the tests run.
    let mut command = Command::new("setsid");
    command.args(["--wait", env!("CARGO_BIN_EXE_noctule"), "passwd", "add", "p", "anna"]);
    let finished = Program::start(command.current_dir(room.path())).finish();
    refused(&finished, "--password-stdin");
}

fn refused(finished: &Finished, words: &str) {
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert_eq!(finished.complaints.lines().count(), 1, "{finished:?}");
    assert!(finished.complaints.contains(words), "{words} is missing: {finished:?}");
}

fn passwd(room: &Room, arguments: &[&str], input: &str) -> Finished {
    let mut command = noctule();
    command.arg("passwd").args(arguments).current_dir(room.path());
    Program::start_with(&mut command, input.as_bytes().to_vec()).finish()
}

fn typed(room: &Room, passwords: &[&str], arguments: &[&str]) -> Finished {
    let mut command = Command::new("python3");
    command
        .arg(script("type_passwords.py"))
        .args(passwords)
        .arg("--")
        .arg(env!("CARGO_BIN_EXE_noctule"));
    command.arg("passwd").args(arguments).current_dir(room.path());
    Program::start(&mut command).finish()
}
