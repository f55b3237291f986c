//! The walls of the core: the Clippy lists of the core crates are the same, and they bite.
//!
//! A list whose paths no longer resolve would pass everything, so Clippy itself is run here on a
//! few lines that do what the core must not do.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::root;

const CORE: &[&str] = &["mqtt", "session", "broker"];

/// One offence per line: what Clippy must name, and the code.
const OFFENCES: &[(&str, &str)] = &[
    ("std::time::Instant::now", "let _ = std::time::Instant::now();"),
    ("std::time::SystemTime::now", "let _ = std::time::SystemTime::now();"),
    ("std::net::TcpStream", "let _ = std::net::TcpStream::connect(\"localhost:1\");"),
    ("std::net::UdpSocket", "let _ = std::net::UdpSocket::bind(\"localhost:1\");"),
    ("std::fs::read", "let _ = std::fs::read(\"file\");"),
    ("std::fs::File", "let _ = std::fs::File::open(\"file\");"),
    ("std::thread::spawn", "let _ = std::thread::spawn(|| ());"),
    ("std::thread::sleep", "std::thread::sleep(std::time::Duration::ZERO);"),
    ("std::sync::Mutex", "let _ = std::sync::Mutex::new(0);"),
    ("std::sync::RwLock", "let _ = std::sync::RwLock::new(0);"),
    ("std::sync::mpsc::channel", "let _ = std::sync::mpsc::channel::<u8>();"),
    ("std::process::Command", "let _ = std::process::Command::new(\"program\");"),
    ("std::env::var", "let _ = std::env::var(\"NAME\");"),
    ("std::println", "println!(\"words\");"),
];

#[test]
fn the_core_crates_have_the_same_wall() {
    let walls: Vec<_> = CORE
        .iter()
        .map(|name| std::fs::read_to_string(wall(name).join("clippy.toml")).expect("a wall"))
        .collect();
    assert!(walls.iter().all(|text| *text == walls[0]), "the clippy.toml of {CORE:?} differ");
}

#[test]
fn what_the_core_must_not_do_is_denied() {
    let body: String = OFFENCES.iter().map(|(_, code)| format!("    {code}\n")).collect();
    let said = clippy("offences", &format!("pub fn offences() {{\n{body}}}\n"));
    for (path, code) in OFFENCES {
        let named = ["type", "method", "macro"]
            .iter()
            .any(|kind| said.contains(&format!("use of a disallowed {kind} `{path}`")));
        assert!(
            named,
            "{code} was not found:
{said}"
        );
    }
    assert!(!said.contains("does not refer to"), "a path of the list does not resolve:\n{said}");
}

#[test]
fn what_the_core_may_do_is_not_denied() {
    let code = "pub fn fine(peer: std::net::SocketAddr, wait: std::time::Duration) -> u128 {\n    \
                u128::from(peer.port()) + wait.as_millis()\n}\n";
    assert_eq!(clippy("fine", code), "");
}

fn wall(name: &str) -> PathBuf {
    root().join("crates").join(name)
}

/// What Clippy says of `code` when it stands behind the wall.
fn clippy(name: &str, code: &str) -> String {
    let room = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = room.join(format!("{name}.rs"));
    std::fs::write(&file, code).expect("target is writable");
    let output = Command::new("clippy-driver")
        .env("CLIPPY_CONF_DIR", wall(CORE[0]))
        .args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--out-dir"])
        .arg(room)
        .args(
            ["disallowed_types", "disallowed_methods", "disallowed_macros"]
                .map(|lint| format!("-Dclippy::{lint}")),
        )
        .arg(&file)
        .output()
        .expect("clippy-driver starts; it comes with Clippy");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
