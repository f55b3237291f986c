//! The broker of one test.
//!
//! Topics and client ids carry a word of their own, so that the tests of foreign clients can share
//! one broker when `NOCTULE_TEST_BROKER` names it.

use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use crate::program::{Finished, Program};
use crate::room::{Room, unique};

/// A broker that serves; dropped, it is killed and its directory removed.
pub(crate) struct Broker {
    listeners: Vec<SocketAddr>,
    tls_listeners: Vec<SocketAddr>,
    ws_listeners: Vec<SocketAddr>,
    wss_listeners: Vec<SocketAddr>,
    word: String,
    // In this order, so that the process is gone before its directory.
    program: Option<Program>,
    room: Option<Room>,
}

impl Broker {
    /// The broker that the environment names, or else one of ours.
    pub(crate) fn start() -> Self {
        match std::env::var(EXTERNAL) {
            Ok(address) => Self::external(&address),
            Err(_) => Self::ours(&[]),
        }
    }

    /// `noctule broker` on a free port with more `flags`, whatever the environment says.
    pub(crate) fn ours(flags: &[&str]) -> Self {
        Self::on_port(0, flags)
    }

    /// `noctule broker` on this port.
    pub(crate) fn on_port(port: u16, flags: &[&str]) -> Self {
        Self::begin(Room::new(), port, flags)
    }

    /// `noctule broker` on a free port in a directory that is prepared, or where another one was.
    pub(crate) fn in_room(room: Room, flags: &[&str]) -> Self {
        Self::begin(room, 0, flags)
    }

    /// `noctule broker` in a directory where another one was, on that one's port.
    pub(crate) fn again(room: Room, port: u16) -> Self {
        Self::again_with(room, port, &[])
    }

    /// The same with these flags.
    pub(crate) fn again_with(room: Room, port: u16, flags: &[&str]) -> Self {
        Self::begin(room, port, flags)
    }

    /// `noctule broker` on a free port, started by a shell's `script` whose arguments are the command.
    pub(crate) fn through(script: &str, flags: &[&str]) -> Self {
        let ours = noctule();
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(ours.get_program());
        // What the environment would tell it is left out here as well.
        for (name, _) in ours.get_envs() {
            command.env_remove(name);
        }
        Self::launch(command, Room::new(), 0, flags)
    }

    fn begin(room: Room, port: u16, flags: &[&str]) -> Self {
        Self::launch(noctule(), room, port, flags)
    }

    fn launch(mut command: Command, room: Room, port: u16, flags: &[&str]) -> Self {
        command.args(["broker", "--port", &port.to_string(), "--tls-port", "0"]).args(flags);
        command.current_dir(room.path());
        // Many brokers are started, and each writes its files ahead.
        command.args(["--store-segment-bytes", "1MiB"]);
        if let Ok(shards) = std::env::var(SHARDS)
            && !flags.contains(&"--shards")
        {
            command.args(["--shards", &shards]);
        }
        let program = Program::start(&mut command);
        let mut all = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        while let Some((address, carrier)) =
            program.expect("line that says ready", listener_or_ready)
        {
            all[carrier as usize].push(address);
        }
        let [listeners, tls_listeners, ws_listeners, wss_listeners] = all;
        assert!(!listeners.is_empty(), "ready without a listener");
        let (word, program, room) = (unique(), Some(program), Some(room));
        Self { listeners, tls_listeners, ws_listeners, wss_listeners, word, program, room }
    }

    fn external(address: &str) -> Self {
        let found = address.to_socket_addrs().ok().and_then(|mut found| found.next());
        let listener = found.unwrap_or_else(|| panic!("{EXTERNAL}={address} is no host:port"));
        Self {
            listeners: vec![listener],
            tls_listeners: Vec::new(),
            ws_listeners: Vec::new(),
            wss_listeners: Vec::new(),
            word: unique(),
            program: None,
            room: None,
        }
    }

    /// All addresses it says that it listens on.
    pub(crate) fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// The address for clients, as text.
    pub(crate) fn host(&self) -> String {
        self.address().ip().to_string()
    }

    /// The port for clients, as text.
    pub(crate) fn port(&self) -> String {
        self.address().port().to_string()
    }

    /// The port for clients with TLS, as text.
    pub(crate) fn tls_port(&self) -> String {
        self.tls_listeners.first().expect("a TLS listener").port().to_string()
    }

    /// The port for WebSocket, as text.
    pub(crate) fn ws_port(&self) -> String {
        self.ws_listeners.first().expect("a WebSocket listener").port().to_string()
    }

    /// The port for WebSocket with TLS, as text.
    pub(crate) fn wss_port(&self) -> String {
        self.wss_listeners.first().expect("a WebSocket listener with TLS").port().to_string()
    }

    /// A file below its working directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.room.as_ref().expect("a broker that we started").path().join(name)
    }

    /// The program, to signal it and to hear what it says.
    pub(crate) fn program(&self) -> &Program {
        self.program.as_ref().expect("a broker that we started")
    }

    /// A new connection, with a deadline on reading.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).expect("the broker accepts");
        stream.set_read_timeout(Some(crate::program::DEADLINE)).expect("a socket");
        stream
    }

    /// A topic or filter of this test alone.
    pub(crate) fn topic(&self, rest: &str) -> String {
        format!("{}/{rest}", self.word)
    }

    /// A client id of this test alone; with a short `rest` at most 23 characters [MQTT3-3.1.3-5].
    pub(crate) fn id(&self, rest: &str) -> String {
        format!("{}{rest}", self.word)
    }

    /// The word that makes topics and ids of this test its own.
    pub(crate) fn word(&self) -> &str {
        &self.word
    }

    /// Sends `signal` to our broker and waits for its end.
    pub(crate) fn end_by(mut self, signal: Signal) -> Finished {
        let program = self.program.take().expect("a broker that we started");
        program.signal(signal);
        program.finish()
    }

    /// As [`end_by`](Self::end_by), leaving what it has written.
    pub(crate) fn end_in_its_room(mut self, signal: Signal) -> (Finished, Room) {
        let room = self.room.take().expect("a broker that we started");
        (self.end_by(signal), room)
    }

    /// Waits until our broker ends by itself, and leaves what it has written.
    pub(crate) fn ended(mut self) -> (Finished, Room) {
        let program = self.program.take().expect("a broker that we started");
        (program.finish(), self.room.take().expect("a broker that we started"))
    }

    /// Kills our broker with SIGKILL, and leaves what it has written.
    pub(crate) fn kill(mut self) -> Room {
        let program = self.program.take().expect("a broker that we started");
        program.signal(Signal::KILL);
        program.finish();
        self.room.take().expect("a broker that we started")
    }

    /// The directory it was started in.
    pub(crate) fn room(&self) -> &Room {
        self.room.as_ref().expect("a broker that we started")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let four = self.listeners.iter().find(|address| matches!(address.ip(), IpAddr::V4(_)));
        *four.unwrap_or(&self.listeners[0])
    }
}

/// The binary, without what the environment would tell it.
pub(crate) fn noctule() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_noctule"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("NOCTULE_") {
            command.env_remove(name);
        }
    }
    command
}

/// What carries MQTT at a listener, in the order in which a broker keeps them.
#[derive(Clone, Copy)]
enum Carrier {
    Plain,
    Tls,
    WebSocket,
    WebSocketTls,
}

/// `  listening on 127.0.0.1:41023 (MQTT)` as its address and what carries MQTT there, with the name of a
/// listener behind it or not,
/// `  ready in …` as None; other lines are not for us.
fn listener_or_ready(line: &str) -> Option<Option<(SocketAddr, Carrier)>> {
    if line.starts_with("  ready in ") {
        return Some(None);
    }
    let (address, transport) = line.strip_prefix("  listening on ")?.split_once(' ')?;
    if address.ends_with(".sock") {
        return None;
    }
    let carrier = match transport.split([',', ')']).next() {
        Some("(MQTT") => Carrier::Plain,
        Some("(MQTT over TLS") => Carrier::Tls,
        Some("(MQTT over WebSocket") => Carrier::WebSocket,
        Some("(MQTT over WebSocket with TLS") => Carrier::WebSocketTls,
        _ => panic!("an unknown transport: {line}"),
    };
    Some(Some((address.parse().unwrap_or_else(|_| panic!("no address: {line}")), carrier)))
}

const EXTERNAL: &str = "NOCTULE_TEST_BROKER";

/// With how many loops our brokers run, instead of their default.
const SHARDS: &str = "NOCTULE_TEST_SHARDS";
