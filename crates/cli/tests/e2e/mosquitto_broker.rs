//! Debian's mosquitto as the broker of one test, for our clients to prove themselves against.

use std::net::TcpListener;

use crate::foreign;
use crate::program::Program;
use crate::room::Room;

/// A mosquitto that serves; dropped, it is killed.
pub(crate) struct Mosquitto {
    port: u16,
    _program: Program,
    _room: Room,
}

impl Mosquitto {
    /// One on a free port, with more lines of configuration.
    pub(crate) fn start(more: &str) -> Self {
        let port = free_port();
        let room = Room::new();
        // A limit of 0 does not mean "none" in all versions, but "no message".
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 100000\n\
             log_dest stdout\n{more}\n"
        );
        let config = room.file("mosquitto.conf", config.as_bytes());
        let program = Program::start(foreign::mosquitto_broker().arg("-c").arg(config));
        program.expect("line that says running", |line| line.contains(" running").then_some(()));
        Self { port, _program: program, _room: room }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// A port that was free a moment ago: mosquitto cannot choose one itself.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}
