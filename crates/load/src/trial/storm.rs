//! Strangers in great numbers: connections that begin and do not go on, at each of the places where one
//! can stop, and logins in great numbers, known ones and such as have to be checked.
//!
//! What a stranger can cost is bytes, until the broker gives up on it, and the time that takes. Both
//! are found out: how much memory there is for each while all of them are there, and when the last
//! of them was closed.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::crowd::Throng;
use super::{Scene, Trial};
use crate::dialer::{Dialing, dial};
use crate::endpoint::{Endpoint, Place};
use crate::schedule::Schedule;
use crate::watcher::Nobody;
use crate::{LoadError, process};

/// The trial. The broker has to have its [users](password_file), and to let in the good
/// clients, who say no name.
#[derive(Debug, Clone, Copy)]
pub struct Storm {
    /// How many strangers at once.
    pub strangers: u32,
    /// How many logins a second of a user who was let in before.
    pub rate: u32,
    /// How many users come who were not.
    pub users: u32,
    /// How long users come who were.
    pub duration: Duration,
}

/// What the names of users begin with; a number follows.
const USER: &str = "user-";
/// The password of each of them.
const PASSWORD: &str = "storm and stress";

/// [`PASSWORD`] as `noctule passwd add` has written it.
const SECRET: &str = "$argon2id$v=19$m=19456,t=2,p=1$2x/xEz8SFjnDaqhyGnBxgA$hf/qoswsAMcU9n+CWkzCyoiHK6kItb7nkMwW1zRZU5U";

/// A file with so many users. All have one password and one salt, which spares hashing each; the broker
/// cannot know that.
#[must_use]
pub fn password_file(users: u32) -> String {
    (0..users).map(|user| format!("{USER}{user}:{SECRET}\n")).collect()
}

impl Trial for Storm {
    fn name(&self) -> String {
        format!("storm of {}", self.strangers)
    }

    fn run(&self, scene: &mut Scene) -> Result<(), LoadError> {
        let tls = scene.tls.clone().ok_or_else(|| LoadError::new("the broker speaks no TLS"))?;
        let mut hello = Vec::new();
        if let Some(trust) = &tls.tls {
            trust
                .session()?
                .write_tls(&mut hello)
                .map_err(|error| LoadError::io("cannot begin TLS", error))?;
        }
        let part = part_of_connect();
        let plain = scene.address;
        let Place::Tcp(encrypted) = tls.place else {
            return Err(LoadError::new("TLS is not spoken over TCP"));
        };
        let stops: [(&str, SocketAddr, &[u8]); 5] = [
            ("silent", plain, b""),
            ("silent, TLS", encrypted, b""),
            ("half a handshake", encrypted, &hello),
            ("first byte of CONNECT", plain, &part[..1]),
            ("90 kB of CONNECT", plain, &part),
        ];
        for (name, address, says) in stops {
            self.strangers_who_stop(scene, name, address, says)?;
        }
        self.known_logins(scene)?;
        self.unknown_logins(scene)
    }
}

impl Storm {
    fn strangers_who_stop(
        &self,
        scene: &mut Scene,
        name: &str,
        address: SocketAddr,
        says: &[u8],
    ) -> Result<(), LoadError> {
        let resident = |pid: Option<u32>| pid.map(process::resident).transpose();
        let before = resident(scene.pid)?;
        scene.phase(format!("{name}, come"));
        let begin = Instant::now();
        let mut strangers = Strangers::default();
        for _ in 0..self.strangers {
            strangers.come(address, says)?;
        }
        scene.fact("seconds to come", begin.elapsed().as_secs_f64());
        scene.fact("connected", strangers.streams.len() as f64);
        scene.phase(format!("{name}, stay"));
        std::thread::sleep(STAY);
        scene.fact("there", strangers.present() as f64);
        if let (Some(before), Some(after)) = (before, resident(scene.pid)?) {
            let each = after.saturating_sub(before) as f64 / f64::from(self.strangers.max(1));
            scene.fact("bytes each", each.round());
        }
        scene.phase(format!("{name}, are closed"));
        strangers.wait_for_the_end()?;
        scene.fact("s until the last was closed", begin.elapsed().as_secs_f64());
        Ok(())
    }

    fn known_logins(&self, scene: &mut Scene) -> Result<(), LoadError> {
        let endpoint = user(scene.address, 0);
        let first = Dialing { at_once: 1, schedule: None, duration: Duration::from_millis(1) };
        let made = dial(&endpoint, first, scene.run, &mut Nobody)?.made;
        if made == 0 {
            return Err(LoadError::new(format!("the broker does not let {USER}0 in")));
        }
        let at_rate = Schedule::new(f64::from(self.rate), Duration::ZERO);
        let phases = [
            (format!("known logins, {}/s", self.rate), Some(at_rate)),
            ("known logins, all that go".to_owned(), None),
        ];
        for (name, schedule) in phases {
            scene.phase(name);
            let dialing = Dialing { at_once: AT_ONCE, schedule, duration: self.duration };
            let dialed = dial(&endpoint, dialing, scene.run, &mut Nobody)?;
            scene.fact("let in", dialed.made as f64);
            scene.fact("per second", dialed.made as f64 / dialed.elapsed.as_secs_f64());
            scene.fact("refused", dialed.refused as f64);
            scene.fact("failed", dialed.failed as f64);
            scene.fact("left out", dialed.left_out as f64);
            scene.fact("p99 ms", dialed.latency.quantile_ms(0.99).unwrap_or(0.0));
        }
        Ok(())
    }

    /// Each user comes once, the first of them having been there already.
    fn unknown_logins(&self, scene: &mut Scene) -> Result<(), LoadError> {
        let address = scene.address;
        let endpoint_of = move |number: usize| user(address, number + 1);
        let mut throng = Throng::of(endpoint_of, scene.run, self.users.saturating_sub(1))?;
        scene.phase("unknown logins");
        let begin = Instant::now();
        throng.come(u32::from(AT_ONCE))?;
        let seconds = begin.elapsed().as_secs_f64();
        scene.fact("let in", throng.inside() as f64);
        scene.fact("per second", throng.inside() as f64 / seconds);
        scene.fact("not let in", throng.refused as f64);
        Ok(())
    }
}

/// As the user of this number.
fn user(address: SocketAddr, number: usize) -> Endpoint {
    let user_name = Some(format!("{USER}{number}"));
    Endpoint { user_name, password: Some(PASSWORD.into()), ..address.into() }
}

/// The front of a CONNECT that says it has 99,995 bytes behind its length: a will of that size.
fn part_of_connect() -> Vec<u8> {
    let mut part = vec![0x10, 0x9b, 0x8d, 0x06];
    part.extend_from_slice(b"\x00\x04MQTT\x05\x04\x00\x00\x00\x00\x01x");
    part.resize(PART_BYTES, b'.');
    part
}

/// Connections whose other end waits for more.
#[derive(Default)]
struct Strangers {
    streams: Vec<TcpStream>,
}

impl Strangers {
    fn come(&mut self, address: SocketAddr, says: &[u8]) -> Result<(), LoadError> {
        let failed = |error| LoadError::io("a stranger cannot come", error);
        let mut stream = TcpStream::connect(address).map_err(failed)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        // Who is closed meanwhile is counted as not there.
        let _ = stream.write_all(says);
        stream.set_nonblocking(true).map_err(failed)?;
        self.streams.push(stream);
        Ok(())
    }

    /// How many have not been closed. What they are told is thrown away.
    fn present(&mut self) -> usize {
        self.streams.retain_mut(|stream| !is_closed(stream));
        self.streams.len()
    }

    fn wait_for_the_end(&mut self) -> Result<(), LoadError> {
        let deadline = Instant::now() + PATIENCE;
        while self.present() > 0 {
            if Instant::now() > deadline {
                let left = self.streams.len();
                return Err(LoadError::new(format!("{left} strangers are never closed")));
            }
            std::thread::sleep(STEP);
        }
        Ok(())
    }
}

fn is_closed(stream: &mut TcpStream) -> bool {
    let mut scratch = [0; 4_096];
    loop {
        match stream.read(&mut scratch) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

const PART_BYTES: usize = 90_000;
/// How long the good clients are watched while all strangers are there.
const STAY: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);
const AT_ONCE: u16 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_has_the_same_secret() {
        let file = password_file(2);
        assert_eq!(file, format!("user-0:{SECRET}\nuser-1:{SECRET}\n"));
    }

    #[test]
    fn the_connect_that_stops_says_that_more_comes_and_not_too_much() {
        let part = part_of_connect();
        let rest = usize::from(part[1] & 127)
            + (usize::from(part[2] & 127) << 7)
            + (usize::from(part[3]) << 14);
        assert_eq!(rest, 99_995);
        assert!(part.len() < rest && rest + 4 <= 100_000);
    }
}
