//! A directory for one test, and openssl in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use noctule_cert::{Authority, Made, Name, Purpose, UnixTime, Validity, make_authority};

/// The moment at which all certificates of these tests are made.
pub(crate) fn now() -> UnixTime {
    UnixTime::from(std::time::SystemTime::now())
}

/// An empty directory, removed on drop.
pub(crate) struct Room(PathBuf);

impl Room {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cert-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("target/tmp is writable");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("the room is writable");
        path
    }

    /// Writes `stem.pem` and `stem.key`.
    pub(crate) fn keep(&self, stem: &str, made: &Made) -> (PathBuf, PathBuf) {
        (
            self.write(&format!("{stem}.pem"), &made.certificate_pem),
            self.write(&format!("{stem}.key"), &made.key_pem),
        )
    }

    /// A new CA, kept as `ca.pem` and `ca.key`.
    pub(crate) fn authority(&self) -> Authority {
        let made = make_authority("Test CA", Validity::for_days(now(), 100)).expect("a CA");
        let (certificate, key) = self.keep("ca", &made);
        Authority::read(&certificate, &key, now()).expect("our own CA")
    }

    /// Runs openssl in this directory; it must succeed. Returns what it prints.
    pub(crate) fn openssl(&self, arguments: &str) -> String {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(&self.0)
            .stdin(Stdio::null())
            .output()
            .expect("openssl is missing: run `cargo xtask prepare`");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server that is reached by these names.
pub(crate) fn server(names: &[&str]) -> Purpose {
    Purpose::Server(names.iter().map(|name| Name::parse(name).expect("a name")).collect())
}
