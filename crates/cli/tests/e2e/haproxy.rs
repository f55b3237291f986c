//! HAProxy as the proxy of one test, in front of a broker.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::mosquitto_broker::free_port;
use crate::program::{DEADLINE, Program};
use crate::room::Room;

/// A HAProxy that serves; dropped, it is killed.
pub(crate) struct Haproxy {
    port: u16,
    _program: Program,
    _room: Room,
}

impl Haproxy {
    /// One on a free port, with more words about it, in front of `server`, an address with more words.
    pub(crate) fn start(bind: &str, server: &str) -> Self {
        let program = Path::new("/usr/sbin/haproxy");
        assert!(program.exists(), "haproxy is missing: run `cargo xtask prepare`");
        let port = free_port();
        let room = Room::new();
        let config = format!(
            "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n\
             frontend clients\n  bind 127.0.0.1:{port} {bind}\n  default_backend broker\n\
             backend broker\n  server one {server}\n"
        );
        let config = room.file("haproxy.cfg", config.as_bytes());
        // In the foreground and as one process, so that it ends by its id.
        let program = Program::start(Command::new(program).arg("-db").arg("-f").arg(config));
        let end = Instant::now() + DEADLINE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "haproxy does not serve");
            std::thread::park_timeout(Duration::from_millis(10));
        }
        Self { port, _program: program, _room: room }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}
