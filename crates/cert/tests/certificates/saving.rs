//! Files appear whole, private where they must be, and never over others without being asked.

use std::os::unix::fs::PermissionsExt;

use noctule_cert::{Fault, NewFile, make_private_directory, save};

use crate::room::Room;

fn file(room: &Room, name: &str, content: &'static str, secret: bool) -> NewFile<'static> {
    NewFile { path: room.path(name), content, secret }
}

fn mode(room: &Room, name: &str) -> u32 {
    room.path(name).metadata().expect("a file").permissions().mode() & 0o777
}

#[test]
fn keys_are_for_their_owner_only() {
    let room = Room::new();
    save(&[file(&room, "a.key", "k", true), file(&room, "a.pem", "c", false)], false).unwrap();
    assert_eq!(mode(&room, "a.key"), 0o600);
    // What else a umask leaves of 0644 is not ours to say.
    assert_eq!(mode(&room, "a.pem") & 0o700, 0o600);
    make_private_directory(&room.path("new/tls")).unwrap();
    assert_eq!((mode(&room, "new"), mode(&room, "new/tls")), (0o700, 0o700));
    make_private_directory(&room.path("new/tls")).unwrap();
}

#[test]
fn what_exists_stays_unless_forced_and_then_all_or_nothing_is_begun() {
    let room = Room::new();
    room.write("a.pem", "old");
    let files = [file(&room, "a.key", "k", true), file(&room, "a.pem", "new", false)];
    let error = save(&files, false).unwrap_err();
    assert!(matches!(error.fault, Fault::Exists), "{error}");
    assert!(error.to_string().contains("--force"), "{error}");
    assert_eq!(std::fs::read_to_string(room.path("a.pem")).unwrap(), "old");
    assert!(!room.path("a.key").exists(), "half of the pair was written");
    save(&files, true).unwrap();
    assert_eq!(std::fs::read_to_string(room.path("a.pem")).unwrap(), "new");
}

#[test]
fn a_forced_key_that_everybody_could_read_becomes_private() {
    let room = Room::new();
    let path = room.write("a.key", "old");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    save(&[file(&room, "a.key", "new", true)], true).unwrap();
    assert_eq!(mode(&room, "a.key"), 0o600);
}

#[test]
fn a_dangling_link_counts_as_existing() {
    let room = Room::new();
    std::os::unix::fs::symlink("nowhere", room.path("a.pem")).unwrap();
    let error = save(&[file(&room, "a.pem", "new", false)], false).unwrap_err();
    assert!(matches!(error.fault, Fault::Exists), "{error}");
}

#[test]
fn a_place_that_is_not_there_is_an_error_and_nothing_is_left_behind() {
    let room = Room::new();
    let error = save(&[file(&room, "none/a.pem", "x", false)], false).unwrap_err();
    assert!(matches!(error.fault, Fault::Unwritable(_)), "{error}");
    save(&[file(&room, "a.pem", "x", false)], false).unwrap();
    let names: Vec<_> =
        std::fs::read_dir(room.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a.pem"]);
}
