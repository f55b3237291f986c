//! What the documentation offers for production: configuration files that are right, and a unit that
//! systemd understands.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::broker::noctule;
use crate::program::{DEADLINE, Program};
use crate::room::Room;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What stands in blocks of a kind on a page.
fn blocks(page: &str, kind: &str) -> Vec<String> {
    let fence = format!("```{kind}\n");
    let parts = page.split(&*fence).skip(1);
    parts.filter_map(|part| Some(part.split_once("\n```")?.0.to_owned())).collect()
}

fn check(name: &str, configuration: &str) {
    let room = Room::new();
    room.file("n.toml", configuration.as_bytes());
    let mut command = noctule();
    command.args(["broker", "--check-config", "--config", "n.toml"]).current_dir(room.path());
    let finished = Program::start(&mut command).finish();
    assert!(finished.status.success(), "{name}: {finished:?}\n{configuration}");
}

#[test]
fn the_example_configuration_is_right_and_the_page_shows_it() {
    let example = text("packaging/noctule.toml");
    check("packaging/noctule.toml", &example);
    let is_setting = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let settings =
        |text: &str| text.lines().filter(is_setting).map(str::to_owned).collect::<Vec<_>>();
    let shown = blocks(&text("docs/production.md"), "toml");
    assert_eq!(shown.len(), 1);
    assert_eq!(settings(&shown[0]), settings(&example));
}

#[test]
fn every_configuration_on_a_page_of_the_manual_is_right() {
    let pages = std::fs::read_dir(file("docs")).expect("the manual");
    let mut checked = 0;
    for page in pages.map(|page| page.expect("a page").path()) {
        if page.extension().is_some_and(|extension| extension == "md") {
            let text = std::fs::read_to_string(&page).expect("a page");
            for block in
                blocks(&text, "toml").iter().filter(|block| !block.contains("[dependencies]"))
            {
                check(&page.display().to_string(), block);
                checked += 1;
            }
        }
    }
    assert!(checked >= 2, "only {checked}");
}

#[test]
fn the_unit_is_one_that_systemd_understands() {
    let mut analyze = Command::new("systemd-analyze");
    if analyze.arg("--version").output().is_err() {
        // Not every machine that tests has systemd; those that run the service do.
        return;
    }
    let room = Room::new();
    let unit = text("packaging/systemd/noctule.service");
    // The program and the user of an installation are not on this machine.
    let program = noctule().get_program().to_string_lossy().into_owned();
    let unit = unit
        .replace("/usr/bin/noctule", &program)
        .replace("User=noctule\nGroup=noctule\n", "User=root\n");
    let path = room.file("noctule.service", unit.as_bytes());
    let mut command = Command::new("systemd-analyze");
    let finished = Program::start(command.arg("verify").arg(&path)).finish();
    let ours = |line: &&str| line.contains("noctule.service");
    let said: Vec<_> = finished.complaints.lines().filter(ours).collect();
    assert!(said.is_empty(), "{said:#?}");
}

#[test]
fn a_supervisor_is_told_when_it_serves_and_when_it_stops() {
    let room = Room::new();
    let path = room.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let heard = || {
        let mut buffer = [0; 100];
        let read = socket.recv(&mut buffer).expect("a word in time");
        String::from_utf8_lossy(&buffer[..read]).into_owned()
    };
    let mut command = noctule();
    command.args(["broker", "--port", "0", "--no-tls", "--in-memory"]).current_dir(room.path());
    let broker = Program::start(command.env("NOTIFY_SOCKET", &path));
    assert_eq!(heard(), "READY=1");
    broker.signal(Signal::TERM);
    assert_eq!(heard(), "STOPPING=1");
    broker.finish().well();
}
