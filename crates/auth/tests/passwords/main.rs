//! Password files from outside the crate: changed, damaged, shared between processes.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use noctule_auth::{Change, Fault, PASSWORD_BYTES_MAX, PasswordFile, PasswordFileError};

/// A directory for one test, removed on drop.
struct Room(PathBuf);

impl Room {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("auth-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("target/tmp is writable");
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("passwords")
    }

    fn with(content: &str) -> Self {
        let room = Self::new();
        std::fs::write(room.file(), content).expect("the room is writable");
        room
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).expect("a file")
    }

    fn mode(&self) -> u32 {
        self.file().metadata().expect("a file").permissions().mode() & 0o777
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A hash of "password" that the reference implementation has made.
const KNOWN: &str = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
                     $CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

fn says<T: std::fmt::Debug>(result: Result<T, PasswordFileError>, words: &[&str]) -> Fault {
    let error = result.expect_err("a fault");
    let said = error.to_string();
    assert!(!said.contains('\n') && !said.contains('\u{1b}'), "{said}");
    for word in words {
        assert!(said.contains(word), "{word} is missing: {said}");
    }
    error.fault
}

#[test]
fn users_are_added_changed_and_deleted() {
    let room = Room::new();
    let file = room.file();
    PasswordFile::create(&file, false).unwrap();
    assert_eq!(room.mode(), 0o600);
    assert!(PasswordFile::read(&file).unwrap().is_empty());
    assert_eq!(PasswordFile::set(&file, "anna", b"one", None).unwrap(), Change::Added);
    assert_eq!(PasswordFile::set(&file, "bo b", "zwölf".as_bytes(), None).unwrap(), Change::Added);
    let read = PasswordFile::read(&file).unwrap();
    assert_eq!(read.len(), 2);
    assert!(read.verify("anna", b"one") && read.verify("bo b", "zwölf".as_bytes()));
    assert!(!read.verify("anna", b"zwoelf") && !read.verify("nobody", b"one"));
    assert!(!read.verify("", b"one") && !read.verify("anna", b""));
    assert_eq!(PasswordFile::set(&file, "anna", b"two", None).unwrap(), Change::Changed);
    let read = PasswordFile::read(&file).unwrap();
    assert!(read.verify("anna", b"two") && !read.verify("anna", b"one"));
    assert_eq!(PasswordFile::delete(&file, "anna").unwrap(), Change::Deleted);
    let read = PasswordFile::read(&file).unwrap();
    assert!(!read.verify("anna", b"two"));
    assert_eq!(read.len(), 1);
    says(PasswordFile::delete(&file, "an\u{1b}na"), &["no user \"an\\u{1b}na\""]);
    assert_eq!(room.mode(), 0o600);
    assert!(!room.text().contains("zwölf") && !format!("{read:?}").contains("$argon2id"));
}

#[test]
fn comments_and_order_are_kept() {
    let room = Room::with(&format!("# who\nb:{KNOWN}\n\na:{KNOWN}\n# end"));
    PasswordFile::set(&room.file(), "a", b"new", None).unwrap();
    PasswordFile::set(&room.file(), "c", b"new", None).unwrap();
    let beginnings: Vec<String> =
        room.text().lines().map(|line| line.chars().take(6).collect()).collect();
    assert_eq!(beginnings, ["# who", "b:$arg", "", "a:$arg", "# end", "c:$arg"]);
    PasswordFile::delete(&room.file(), "b").unwrap();
    let read = PasswordFile::read(&room.file()).unwrap();
    assert!(read.verify("a", b"new") && read.verify("c", b"new") && !read.verify("b", b"password"));
    assert_eq!(room.mode(), 0o600, "it was open before");
}

#[test]
fn a_file_that_exists_is_emptied_only_by_force() {
    let room = Room::with(&format!("a:{KNOWN}\n"));
    says(PasswordFile::create(&room.file(), false), &["exists", "--force"]);
    assert!(room.text().contains("a:$"));
    PasswordFile::create(&room.file(), true).unwrap();
    assert_eq!((room.text().as_str(), room.mode()), ("", 0o600));
}

#[test]
fn a_line_that_is_wrong_is_named() {
    for (content, words) in [
        (format!("a:{KNOWN}\nnonsense\n"), ":2: expected user:hash"),
        (format!(":{KNOWN}\n"), ":1: expected user:hash"),
        (format!("a\u{1b}b:{KNOWN}\n"), ":1: expected user:hash"),
        ("a:plain text\n".to_owned(), ":1: the hash is of no kind that is known"),
        ("a:$7$101$c2FsdA==$aGFzaA==\n".to_owned(), "add the user again"),
        ("a:$2b$12$abcdefghijklmnopqrstuv\n".to_owned(), "of no kind that is known"),
        (format!("a:{KNOWN}\nb:{KNOWN}\na:{KNOWN}\n"), ":3: this user stands in an earlier line"),
    ] {
        let room = Room::with(&content);
        says(PasswordFile::read(&room.file()), &[words]);
        // What cannot be read is not replaced either.
        PasswordFile::set(&room.file(), "c", b"x", None).unwrap_err();
        assert_eq!(room.text(), content);
    }
}

#[test]
fn files_that_cannot_be_read_are_named_with_a_remedy() {
    let room = Room::new();
    says(PasswordFile::read(&room.file()), &["passwords: there is no such file", "passwd create"]);
    says(PasswordFile::set(&room.file(), "a", b"x", None), &["there is no such file"]);
    says(PasswordFile::create(&room.0.join("none/file"), false), &["cannot be written"]);
    std::fs::write(room.file(), [0xff, 0xfe]).unwrap();
    says(PasswordFile::read(&room.file()), &["not text in UTF-8"]);
    std::fs::File::create(room.file()).unwrap().set_len(65 * 1024 * 1024).unwrap();
    says(PasswordFile::read(&room.file()), &["more than"]);
}

#[test]
fn names_and_passwords_have_their_bounds() {
    let room = Room::with("");
    let file = room.file();
    for name in ["", "a:b", "a\nb", "#a", "a\u{7f}", &"x".repeat(65_536)] {
        says(PasswordFile::set(&file, name, b"x", None), &["expected a user name"]);
    }
    says(PasswordFile::set(&file, "a", b"", None), &["expected a password", "found one of 0"]);
    says(
        PasswordFile::set(&file, "a", &[0; PASSWORD_BYTES_MAX + 1], None),
        &["found one of 65536"],
    );
    assert_eq!(room.text(), "");
    let longest = vec![0xff; PASSWORD_BYTES_MAX];
    PasswordFile::set(&file, &"x".repeat(65_535), &longest, None).unwrap();
    assert!(PasswordFile::read(&file).unwrap().verify(&"x".repeat(65_535), &longest));
}

#[test]
fn a_link_stays_a_link() {
    let room = Room::with("");
    let link = room.0.join("link");
    std::os::unix::fs::symlink("passwords", &link).unwrap();
    PasswordFile::set(&link, "a", b"x", None).unwrap();
    assert!(link.symlink_metadata().unwrap().file_type().is_symlink());
    assert!(PasswordFile::read(&room.file()).unwrap().verify("a", b"x"));
}

#[test]
fn changes_at_the_same_time_do_not_undo_each_other() {
    let room = Room::with("");
    let names: Vec<String> = (0..8).map(|number| format!("user{number}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| PasswordFile::set(&room.file(), name, name.as_bytes(), None).unwrap());
        }
    });
    let read = PasswordFile::read(&room.file()).unwrap();
    assert_eq!(read.len(), names.len());
    assert!(names.iter().all(|name| read.verify(name, name.as_bytes())));
    let left = std::fs::read_dir(&room.0).unwrap().count();
    assert_eq!(left, 1, "temporary files are left");
}

/// What PostgreSQL keeps of "pencil", with the salt of RFC 7677's example.
const SCRAM: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                     WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                     wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

#[test]
fn a_scram_line_of_others_is_read_kept_and_checked() {
    let room = Room::with(&format!("a:{SCRAM}\nb:{KNOWN}\n"));
    let read = PasswordFile::read(&room.file()).unwrap();
    assert!(read.verify("a", b"pencil") && !read.verify("a", b"password"));
    assert_eq!(read.scram_secret("a").to_string(), SCRAM);
    PasswordFile::set(&room.file(), "c", b"x", None).unwrap();
    assert!(room.text().starts_with(&format!("a:{SCRAM}\nb:{KNOWN}\nc:$argon2id$")));
    PasswordFile::set(&room.file(), "a", b"new", None).unwrap();
    assert!(room.text().starts_with("a:SCRAM-SHA-256$4096:"), "as before: {}", room.text());
    assert!(PasswordFile::read(&room.file()).unwrap().verify("a", b"new"));
}

#[test]
fn a_file_of_mosquittos_is_used_as_it_is() {
    // Debian's mosquitto_passwd 2.0 has made it, with -H sha512 for the second line.
    let file = "anna:$7$101$m999DcWONBC1t0gK$zkqDJ05qsOutYpq1XG4tsinqhUzI/JkN44Kk8npnObsIUbUi0Xv7OOlPoZdu\
                RkLYEiVry4dIPXTXsNK+WY8Uzg==\n\
                carl:$6$d3I3iLA6zy+uUz+g$YKHliEGavGG8xyDpxF6I0uIBMhKp+Hn7B3KXBHitdHrnO7KYAqBXgNKqxgjK1yXv\
                VDmugmxRSONaoJJN6KvY2g==\n";
    let room = Room::with(file);
    let read = PasswordFile::read(&room.file()).unwrap();
    assert!(read.verify("anna", b"secret") && read.verify("carl", b"third"));
    assert!(!read.verify("anna", b"third") && !read.verify("carl", b"secret"));
    assert!(!read.verify("nobody", b"secret"));
    PasswordFile::set(&room.file(), "dora", b"x", None).unwrap();
    assert!(room.text().starts_with(&format!("{file}dora:$argon2id$")), "{}", room.text());
    PasswordFile::set(&room.file(), "carl", b"x", None).unwrap();
    assert!(room.text().contains("carl:$argon2id$"), "a new password is kept better");
}

#[test]
fn who_cannot_prove_a_password_looks_like_who_can() {
    let room = Room::with(&format!("a:{SCRAM}\nb:{KNOWN}\n"));
    let read = PasswordFile::read(&room.file()).unwrap();
    for user in ["b", "nobody", ""] {
        let decoy = read.scram_secret(user);
        assert_eq!(decoy.iterations().get(), 4_096);
        assert!(!decoy.is_of(b"password") && !decoy.is_of(b"pencil"));
        let again = PasswordFile::read(&room.file()).unwrap();
        assert_eq!(again.scram_secret(user), decoy, "it stays across restarts");
    }
}
