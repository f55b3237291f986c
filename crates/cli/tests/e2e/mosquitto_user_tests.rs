//! Going on as another user than root, and a log that goes to a file. Where the tests are not run by
//! root, they see that nothing is given up.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Signal, getuid};

use crate::broker::noctule;
use crate::foreign;
use crate::mosquitto_broker::free_port;
use crate::program::{DEADLINE, Program};
use crate::room::{Room, unique};

/// A directory that another user may enter, since not everybody may enter the others.
fn open_room() -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("noctule-{}", unique()));
    fs::create_dir(&path).expect("a directory");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    path
}

#[test]
fn without_a_word_about_it_the_user_is_mosquitto_and_nothing_else_is_given_away() {
    let directory = open_room();
    let port = free_port();
    let file = directory.join("mosquitto.conf");
    fs::write(&file, format!("listener {port} localhost\nallow_anonymous true\nlog_dest none\n"))
        .expect("a file");
    let mut command = noctule();
    command.args(["mosquitto", "-c"]).arg(&file).current_dir(&directory);
    let broker = Program::start(&mut command);
    broker.expect("line that says ready", |line| line.contains("ready").then_some(()));
    assert_eq!(fs::metadata("/dev/null").expect("a device").uid(), 0);
    let users = fs::read_to_string("/etc/passwd").expect("users");
    let mosquitto = users.lines().find_map(|line| line.strip_prefix("mosquitto:"));
    let expected = match mosquitto {
        Some(line) if getuid().is_root() => line.split(':').nth(1).expect("a number").to_owned(),
        _ => getuid().as_raw().to_string(),
    };
    let expected = format!("Uid:\t{expected}\t");
    assert!(rights(broker.pid()).iter().all(|one| one.starts_with(&expected)), "{expected}");
    broker.signal(Signal::TERM);
    broker.finish().well();
    fs::remove_dir_all(&directory).expect("ours");
}

/// The text of a file, once these words are in it.
fn wait_for(file: &Path, words: &str) -> String {
    let end = Instant::now() + DEADLINE;
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        if text.contains(words) {
            return text;
        }
        assert!(Instant::now() < end, "no {words:?} in {}: {text}", file.display());
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// The real, effective and saved user and group, and the further groups, of each thread of a process.
fn rights(process: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("a process");
    let status = |task: fs::DirEntry| fs::read_to_string(task.path().join("status"));
    let wanted = |line: &&str| ["Uid:", "Gid:", "Groups:"].iter().any(|key| line.starts_with(key));
    let of = |text: String| text.lines().filter(wanted).collect::<Vec<_>>().join(" ");
    tasks.flatten().filter_map(|task| status(task).ok()).map(of).collect()
}

#[test]
fn the_broker_goes_on_as_the_user_that_the_file_names() {
    let directory = open_room();
    let port = free_port();
    let file = directory.join("mosquitto.conf");
    let config = format!(
        "listener {port} localhost\nallow_anonymous true\npersistence true\n\
         persistence_location {0}/data\nlog_dest file {0}/log\nuser nobody\n",
        directory.display()
    );
    fs::write(&file, config).expect("a file");
    let mut command = noctule();
    command.args(["mosquitto", "-c"]).arg(&file).current_dir(&directory);
    let broker = Program::start(&mut command);
    broker.expect("line that says ready", |line| line.contains("ready").then_some(()));
    let is_root = getuid().is_root();
    let owner = fs::metadata(directory.join("data")).expect("the data directory").uid();
    if is_root {
        let nobody = fs::metadata(directory.join("log")).expect("the log").uid();
        assert_ne!(nobody, 0);
        assert_eq!(owner, nobody);
        let all = rights(broker.pid());
        assert!(all.len() > 2, "{all:?}");
        let expected = format!("Uid:\t{nobody}\t{nobody}\t{nobody}\t{nobody} ");
        assert!(all.iter().all(|one| one.starts_with(&expected)), "{all:?}");
        assert!(all.iter().all(|one| !one.contains("\t0") && !one.contains(" 0 ")), "{all:?}");
    } else {
        assert_eq!(owner, getuid().as_raw());
    }
    broker.signal(Signal::HUP);
    let log = wait_for(&directory.join("log"), "configuration read again; nothing has changed");
    assert!(!log.contains("until a restart"), "{log}");
    let publish = ["-p", &port.to_string(), "-t", "a", "-m", "kept", "-r", "-q", "1"];
    Program::start(foreign::mosquitto("mosquitto_pub").args(publish)).finish().well();
    broker.signal(Signal::TERM);
    broker.finish().well();
    assert!(directory.join("data/store").exists());
    fs::remove_dir_all(&directory).expect("ours");
}

#[test]
fn who_does_not_exist_or_cannot_write_is_named() {
    if !getuid().is_root() {
        // Nobody is become then.
        return;
    }
    let directory = open_room();
    fs::create_dir(directory.join("mine")).expect("a directory");
    let failing = |flags: &[&str]| {
        let mut command = noctule();
        command.args(["broker", "--port", "0", "--no-tls"]).args(flags).current_dir(&directory);
        let finished = Program::start(&mut command).finish();
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        finished.complaints
    };
    let unknown = failing(&["--user", "no-such-user"]);
    assert!(unknown.contains("the user no-such-user: there is no such user"), "{unknown}");
    let closed = failing(&["--user", "nobody", "--data-dir", "mine"]);
    assert!(
        closed.contains("the user nobody") && closed.contains("chown -R nobody mine"),
        "{closed}"
    );
    assert_eq!(
        fs::metadata(directory.join("mine")).expect("a directory").uid(),
        0,
        "not given away"
    );
    fs::remove_dir_all(&directory).expect("ours");
}

#[test]
fn a_log_file_that_was_rotated_is_begun_anew_on_sighup() {
    let room = Room::new();
    let port = free_port();
    let config = format!(
        "listener {port} localhost\nallow_anonymous true\nlog_dest file log\nlog_type all\nuser root\n"
    );
    let config = room.file("mosquitto.conf", config.as_bytes());
    let mut command = noctule();
    command.args(["mosquitto", "-c"]).arg(config).current_dir(room.path());
    let broker = Program::start(&mut command);
    broker.expect("line that says ready", |line| line.contains("ready").then_some(()));
    let come = |id: &str| {
        let arguments = ["-p", &port.to_string(), "-t", "a", "-m", "x", "-i", id];
        Program::start(foreign::mosquitto("mosquitto_pub").args(arguments)).finish().well();
    };
    let wait_for = |file: &str, words: &str| wait_for(&room.path().join(file), words);
    come("first");
    wait_for("log", "client_id=\"first\"");
    fs::rename(room.path().join("log"), room.path().join("log.1")).expect("a log");
    broker.signal(Signal::HUP);
    wait_for("log", "configuration read again");
    come("second");
    let new = wait_for("log", "client_id=\"second\"");
    assert!(!new.contains("first"), "{new}");
    broker.signal(Signal::TERM);
    let finished = broker.finish().well();
    assert!(!finished.complaints.contains("client_id"), "{}", finished.complaints);
}
