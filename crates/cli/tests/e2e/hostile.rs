//! Peers that mean no good: what they need to make trouble, and a broker that can be looked at from
//! outside.
//!
//! Everything is bytes on a socket, made here and not by our own codec. Each test has a broker of
//! its own and, where others must not notice, a [`Bystanders`] pair that goes on talking. What is
//! claimed of memory is read from `/proc`, with room for the noise of an allocator.

#[path = "hostile_bytes.rs"]
mod bytes;
#[path = "hostile_endings.rs"]
mod endings;
#[path = "hostile_floods.rs"]
mod floods;
#[path = "hostile_websocket.rs"]
mod websocket;

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::broker::noctule;
use crate::program::{DEADLINE, Finished, Program};
use crate::room::Room;

/// A broker whose process can be measured.
struct Target {
    address: SocketAddr,
    /// Where it speaks WebSocket, if it does.
    web: Option<SocketAddr>,
    pid: u32,
    // In this order, so that the process is gone before its directory.
    program: Program,
    _room: Room,
}

impl Target {
    fn start(flags: &[&str]) -> Self {
        Self::start_after("", flags)
    }

    /// Starts it from a shell that has run `first`, for instance `ulimit -n 150`.
    fn start_after(first: &str, flags: &[&str]) -> Self {
        let room = Room::new();
        let broker = noctule();
        let mut command = Command::new("sh");
        // The shell replaces itself, so its process id is the broker's.
        command.args(["-c", &format!("{first}\necho \"pid $$\"; exec \"$0\" \"$@\"")]);
        command.arg(broker.get_program());
        command.args(["broker", "--port", "0", "--no-tls", "--hello", "never"]).args(flags);
        for (name, _) in broker.get_envs() {
            command.env_remove(name);
        }
        let program = Program::start(command.current_dir(room.path()));
        let pid = program.expect("process id", |line| line.strip_prefix("pid ")?.parse().ok());
        let (address, web) = (Cell::new(None), Cell::new(None));
        let listener = |line: &str, suffix: &str| {
            line.strip_prefix("  listening on ")?.strip_suffix(suffix)?.parse().ok()
        };
        program.expect("line that says ready", |line| {
            // The first of each kind.
            address.set(address.get().or_else(|| listener(line, " (MQTT)")));
            web.set(web.get().or_else(|| listener(line, " (MQTT over WebSocket)")));
            line.starts_with("  ready in ").then_some(())
        });
        let (address, web) = (address.get().expect("a listener"), web.get());
        Self { address, web, pid, program, _room: room }
    }

    /// The port for WebSocket, as text.
    fn web(&self) -> String {
        self.web.expect("a WebSocket listener").port().to_string()
    }

    /// A connection that has said nothing.
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the broker accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        stream.set_write_timeout(Some(DEADLINE)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        stream
    }

    /// A client of 3.1.1 whose CONNECT was accepted.
    fn client(&self, id: &str) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(&connect(4, id, true)).expect("an open connection");
        assert_eq!(packet(&mut stream), (0x20, vec![0, 0]), "{id}");
        stream
    }

    /// A client that is subscribed to `filter`.
    fn subscriber(&self, id: &str, filter: &str, qos: u8) -> TcpStream {
        let mut stream = self.client(id);
        stream.write_all(&subscribe(&[filter], qos)).expect("an open connection");
        assert_eq!(packet(&mut stream), (0x90, vec![0, 1, qos]), "{id}");
        stream
    }

    /// Resident memory in KiB.
    fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid);
        let status = std::fs::read_to_string(path).expect("a running process");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
        line.split_whitespace().nth(1).and_then(|size| size.parse().ok()).expect("a number")
    }

    /// Processor time in ticks, which are hundredths of a second.
    fn ticks(&self) -> u64 {
        let path = format!("/proc/{}/stat", self.pid);
        let stat = std::fs::read_to_string(path).expect("a running process");
        let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
        let number = |field: &str| field.parse::<u64>().expect("a number");
        fields.split(' ').skip(11).take(2).map(number).sum()
    }

    /// Open sockets. The store opens and closes files whenever it likes.
    fn files(&self) -> usize {
        let path = format!("/proc/{}/fd", self.pid);
        let files = std::fs::read_dir(path).expect("a running process").flatten();
        let links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    }

    /// Ends it politely, which must take less than five seconds.
    fn end(self) -> Finished {
        let begin = Instant::now();
        self.program.signal(Signal::TERM);
        let finished = self.program.finish().well();
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        assert!(!finished.complaints.contains("panicked"), "{finished:?}");
        finished
    }
}

/// Two clients who exchange messages at QoS 1 and see everything that goes wrong with them.
struct Bystanders {
    writer: TcpStream,
    reader: TcpStream,
    said: u16,
}

impl Bystanders {
    fn of(target: &Target) -> Self {
        // Ids that no test gives to anybody else, who would take them over.
        let reader = target.subscriber("bystander-reads", "bystanders", 1);
        Self { writer: target.client("bystander-writes"), reader, said: 0 }
    }

    /// One message there and its acknowledgement back. Returns how long that took.
    fn talk(&mut self) -> Duration {
        self.said += 1;
        let [high, low] = self.said.to_be_bytes();
        let begin = Instant::now();
        self.writer
            .write_all(&publish("bystanders", &[high, low], 1, self.said))
            .expect("an open connection");
        let (first, body) = packet(&mut self.reader);
        let id_at = 2 + "bystanders".len();
        assert_eq!((first, &body[id_at + 2..]), (0x32, &[high, low][..]));
        let id = [0x40, 2, body[id_at], body[id_at + 1]];
        self.reader.write_all(&id).expect("an open connection");
        assert_eq!(packet(&mut self.writer), (0x40, vec![high, low]));
        begin.elapsed()
    }

    /// The longest of so many talks.
    fn talks(&mut self, times: usize) -> Duration {
        (0..times).map(|_| self.talk()).max().unwrap_or_default()
    }
}

/// CONNECT of protocol level 4 or 5 without keep-alive.
fn connect(level: u8, id: &str, clean: bool) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', level, u8::from(clean) << 1, 0, 0];
    if level == 5 {
        body.push(0);
    }
    push_text(&mut body, id);
    framed(0x10, &body)
}

/// CONNECT of 3.1.1 with a will at QoS 0.
fn connect_with_will(id: &str, topic: &str, message: &str) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0x06, 0, 0];
    for text in [id, topic, message] {
        push_text(&mut body, text);
    }
    framed(0x10, &body)
}

/// PUBLISH of 3.1.1; the packet identifier is left out at QoS 0.
fn publish(topic: &str, payload: &[u8], qos: u8, id: u16) -> Vec<u8> {
    let mut body = Vec::with_capacity(topic.len() + payload.len() + 4);
    push_text(&mut body, topic);
    if qos > 0 {
        body.extend(id.to_be_bytes());
    }
    body.extend_from_slice(payload);
    framed(0x30 | qos << 1, &body)
}

/// SUBSCRIBE of 3.1.1 with packet identifier 1.
fn subscribe<T: AsRef<str>>(filters: &[T], qos: u8) -> Vec<u8> {
    let mut body = vec![0, 1];
    for filter in filters {
        push_text(&mut body, filter.as_ref());
        body.push(qos);
    }
    framed(0x82, &body)
}

fn push_text(body: &mut Vec<u8>, text: &str) {
    body.extend(u16::try_from(text.len()).expect("a short text").to_be_bytes());
    body.extend_from_slice(text.as_bytes());
}

/// A packet with this first byte.
fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let more = length >= 128;
        packet.push((length % 128) as u8 | u8::from(more) << 7);
        length /= 128;
        if !more {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

/// The next packet: its first byte and what follows its length.
fn packet(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let (mut byte, mut length, mut shift) = ([0], 0, 0);
    stream.read_exact(&mut byte).expect("a packet");
    let first = byte[0];
    loop {
        stream.read_exact(&mut byte).expect("a length");
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] < 0x80 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body");
    (first, body)
}

/// Everything until the connection is closed, which it must be within the deadline.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => bytes,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => bytes,
        Err(error) => panic!("not closed: {error}"),
    }
}

/// PINGREQ and its answer: whatever was sent before has been dealt with.
fn ping(stream: &mut TcpStream) {
    stream.write_all(&[0xc0, 0]).expect("an open connection");
    assert_eq!(packet(stream), (0xd0, vec![]));
}

/// Closes with RST, as a crash or a cut cable does in the end. The kernel sends one when a socket is
/// closed with unread input, so an answer must be on its way.
fn reset(stream: TcpStream) {
    assert_eq!(stream.peek(&mut [0]).expect("an answer"), 1);
    drop(stream);
}

/// Waits until `reached` says so.
fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !reached() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
