//! Debian packages: what we need, whether it is there, and how it is installed.
//!
//! A need is tested by what it provides and not by dpkg, so that a machine which has Node from
//! elsewhere is left alone. Debian starts a freshly installed mosquitto as a service on port 1883;
//! if that happens here, it is stopped again, as nobody asked for it.

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::shell::{self, Failure};

/// Something the tests need, and the package that brings it.
struct Need {
    package: &'static str,
    is_met: fn() -> bool,
}

const NEEDS: &[Need] = &[
    Need { package: "mosquitto", is_met: || shell::which("mosquitto").is_some() },
    Need {
        package: "mosquitto-clients",
        is_met: || {
            shell::which("mosquitto_sub").is_some() && shell::which("mosquitto_pub").is_some()
        },
    },
    // Counts the instructions on the way of a PUBLISH.
    Need { package: "valgrind", is_met: || shell::which("valgrind").is_some() },
    Need {
        package: "haproxy",
        is_met: || shell::which("haproxy").is_some() || Path::new("/usr/sbin/haproxy").exists(),
    },
    Need { package: "groff-base", is_met: || shell::which("groff").is_some() },
    Need { package: "openssl", is_met: || shell::which("openssl").is_some() },
    Need { package: "python3", is_met: || shell::which("python3").is_some() },
    // A Debian Python without this package has venv but not what fills a new one.
    Need {
        package: "python3-venv",
        is_met: || succeeds("python3", &["-c", "import venv, ensurepip"]),
    },
    Need { package: "gcc", is_met: || shell::which("gcc").is_some() },
    Need { package: "libc6-dev", is_met: || has_header("stdio.h") },
    // Paho's client in C, for a small program that the tests compile.
    Need { package: "libpaho-mqtt-dev", is_met: || has_header("MQTTClient.h") },
    Need { package: "nodejs", is_met: || shell::which("node").is_some() },
    Need { package: "npm", is_met: || shell::which("npm").is_some() },
    // For the page in `examples/browser`.
    Need {
        package: "chromium-headless-shell",
        is_met: || shell::which("chromium-headless-shell").is_some(),
    },
];

/// Installs the packages whose needs are not met.
pub(super) fn prepare() -> Result<(), Failure> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    println!("missing Debian packages: {names}");
    if shell::which("apt-get").is_none() {
        return Err(Failure(format!("no apt-get here; install what Debian calls: {names}")));
    }
    if shell::output(Command::new("id").arg("-u"))?.trim() != "0" {
        return Err(Failure(format!(
            "not root; please run: sudo {}",
            shell::words(&install(&missing))
        )));
    }
    let occupied = port_1883_answers();
    if missing.iter().any(|package| !has_candidate(package)) {
        announced(&mut update())?;
    }
    if announced(&mut install(&missing)).is_err() {
        // Package lists from an older image name files that the mirrors have since replaced.
        announced(&mut update())?;
        announced(&mut install(&missing))?;
    }
    if !occupied && port_1883_answers() {
        announced(Command::new("service").args(["mosquitto", "stop"]))?;
    }
    still_missing()
}

fn missing() -> Vec<&'static str> {
    NEEDS.iter().filter(|need| !(need.is_met)()).map(|need| need.package).collect()
}

fn still_missing() -> Result<(), Failure> {
    match missing().as_slice() {
        [] => Ok(()),
        left => Err(Failure(format!("installed, but still missing: {}", left.join(" ")))),
    }
}

fn install(packages: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    command
}

fn update() -> Command {
    let mut command = Command::new("apt-get");
    command.arg("update");
    command
}

fn announced(command: &mut Command) -> Result<(), Failure> {
    println!("running: {}", shell::words(command));
    shell::run(command)
}

fn has_candidate(package: &str) -> bool {
    shell::output(Command::new("apt-cache").args(["policy", package]))
        .is_ok_and(|policy| names_candidate(&policy))
}

fn names_candidate(policy: &str) -> bool {
    policy
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Candidate:"))
        .any(|candidate| candidate.trim() != "(none)")
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Whether a C program can include this.
fn has_header(header: &str) -> bool {
    Path::new("/usr/include").join(header).exists()
}

fn port_1883_answers() -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, 1883)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_candidate_asks_for_an_update() {
        assert!(names_candidate("mosquitto:\n  Installed: (none)\n  Candidate: 2.0.11-1\n"));
        assert!(!names_candidate("mosquitto:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!names_candidate(""));
    }

    #[test]
    fn the_announced_command_is_the_one_that_runs() {
        let command = install(&["mosquitto", "npm"]);
        assert_eq!(
            shell::words(&command),
            "apt-get install --yes --no-install-recommends mosquitto npm"
        );
    }
}
