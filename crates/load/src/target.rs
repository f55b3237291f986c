//! The brokers under test: how each is named on the command line, started, found and ended.
//!
//! A broker that we start lives in an empty directory of its own and is ended when the value is
//! dropped. The invariant: the process that is measured is the one that answers at the address, as
//! its port was free before.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::LoadError;
use crate::endpoint::{Endpoint, TlsClient, WebSocketClient};

/// A broker that could be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What the tables call it.
    pub name: String,
    /// How it comes to life.
    pub how: How,
    /// Whether it is met by WebSocket.
    pub by_websocket: bool,
}

/// How a broker comes to life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// A command. `{port}` in it stands for a free port and `{dir}` for an empty directory; without
    /// `{port}` the broker must say `listening on ADDRESS:PORT (MQTT)` on its standard output.
    Command {
        /// Program and arguments.
        words: Vec<String>,
        /// The text of `{dir}/broker.conf`, in which `{port}` and `{dir}` stand for the same.
        config: Option<String>,
        /// A command to be run to its end first, in the same directory.
        before: Option<Vec<String>>,
        /// The text of `{dir}/passwords`.
        passwords: Option<String>,
    },
    /// It runs already. Without the process id its processor time and memory are not known.
    Running(SocketAddr, Option<u32>),
}

impl Target {
    /// Noctule in its default configuration.
    pub fn noctule(program: &Path) -> Self {
        let words = [&program.to_string_lossy(), "broker", "--port", "0", NO_TLS].map(String::from);
        Self::command("noctule", words.into(), None)
    }

    /// Noctule with so many loops, which its name says.
    pub fn noctule_with_loops(program: &Path, loops: u16) -> Self {
        let target = Self::noctule(program);
        let name = format!("{}/{loops}", target.name);
        Self { name, ..target.with_options(&["--shards".into(), loops.to_string()]) }
    }

    /// The same, with more words on its command line. A broker that runs already keeps its own.
    #[must_use]
    pub fn with_options(mut self, options: &[String]) -> Self {
        if let How::Command { words, .. } = &mut self.how {
            words.extend_from_slice(options);
        }
        self
    }

    /// Mosquitto in its default configuration, open on the loopback interface.
    pub fn mosquitto(program: &Path) -> Self {
        let words = [&program.to_string_lossy(), "-c", "{dir}/broker.conf"].map(String::from);
        let config = "listener {port} 127.0.0.1\nallow_anonymous true\n";
        Self::command("mosquitto", words.into(), Some(config.into()))
    }

    /// The same with one more line in its configuration file, if it has one.
    #[must_use]
    pub fn with_line(mut self, line: &str) -> Self {
        if let How::Command { config: Some(text), .. } = &mut self.how {
            text.push_str(line);
            text.push('\n');
        }
        self
    }

    /// Noctule in its default configuration, met by WebSocket.
    pub fn noctule_by_websocket(program: &Path) -> Self {
        let target = Self::noctule(program).with_options(&["--ws-port", "0"].map(String::from));
        Self { name: "noctule-ws".into(), by_websocket: true, ..target }
    }

    /// Mosquitto in its default configuration, met by WebSocket.
    pub fn mosquitto_by_websocket(program: &Path) -> Self {
        let Self { how, .. } = Self::mosquitto(program);
        let mut target = Self { name: "mosquitto-ws".into(), how, by_websocket: true };
        if let How::Command { config: Some(config), .. } = &mut target.how {
            config.push_str("protocol websockets\n");
        }
        target
    }

    /// Our relay, run by `program` when it is given these words.
    pub fn relay(program: &Path, words: &[&str]) -> Self {
        let program = program.to_string_lossy();
        let words = [&*program].into_iter().chain(words.iter().copied());
        Self::command("relay", words.map(String::from).collect(), None)
    }

    /// The same with a second listener for TLS, and with the certificate that `noctule` makes, so that
    /// brokers are compared over the same keys.
    ///
    /// # Errors
    /// If this target has no TLS that we know how to turn on.
    pub fn with_tls(mut self, noctule: &Path) -> Result<Self, LoadError> {
        let Self { name, how, .. } = &mut self;
        let How::Command { words, config, before, .. } = how else {
            return Err(LoadError::new(format!("it is not known where {name} speaks TLS")));
        };
        match config {
            None if words.iter().any(|word| word == NO_TLS) => {
                words.retain(|word| word != NO_TLS);
                words.extend(["--tls-port", "0"].map(String::from));
            }
            Some(text) if text.starts_with("listener ") => {
                let files = "certfile {dir}/tls/server.pem\nkeyfile {dir}/tls/server.key\n";
                // Started by root it would become somebody who may not read the key.
                text.push_str(&format!("user root\nlistener {TLS_PORT} 127.0.0.1\n{files}"));
            }
            _ => return Err(LoadError::new(format!("{name} speaks no TLS"))),
        }
        let make = [&noctule.to_string_lossy(), "cert", "--hostname", "localhost", "--out"];
        let place = if config.is_some() { "{dir}/tls" } else { "{dir}/noctule-data/tls" };
        *before = Some(make.into_iter().chain([place]).map(String::from).collect());
        Ok(self)
    }

    /// The same with the users of this password file, beside clients without a name. A broker that runs
    /// already keeps its own.
    #[must_use]
    pub fn with_passwords(mut self, text: String) -> Self {
        if let How::Command { words, passwords, .. } = &mut self.how {
            let options = ["--password-file", "{dir}/passwords", "--allow-anonymous"];
            words.extend(options.map(String::from));
            *passwords = Some(text);
        }
        self
    }

    fn command(name: &str, words: Vec<String>, config: Option<String>) -> Self {
        let (before, passwords) = (None, None);
        let how = How::Command { words, config, before, passwords };
        Self { name: name.into(), how, by_websocket: false }
    }

    /// Reads `NAME=COMMAND`, `NAME=ADDRESS:PORT` or `NAME=ADDRESS:PORT,PID`. Words of the command
    /// are separated by spaces; there are no quotes.
    ///
    /// # Errors
    /// If the text is none of these.
    pub fn parse(text: &str) -> Result<Self, LoadError> {
        let wrong = || {
            LoadError::new(format!("'{text}' is neither NAME=COMMAND nor NAME=ADDRESS:PORT[,PID]"))
        };
        let (name, what) = text.split_once('=').ok_or_else(wrong)?;
        let (address, pid) = match what.split_once(',') {
            Some((address, pid)) => (address, pid.parse().ok()),
            None => (what, None),
        };
        if let Ok(address) = address.parse() {
            if what.contains(',') && pid.is_none() {
                return Err(wrong());
            }
            let how = How::Running(address, pid);
            return Ok(Self { name: name.into(), how, by_websocket: false });
        }
        let words: Vec<_> = what.split_whitespace().map(String::from).collect();
        if name.is_empty() || words.is_empty() {
            return Err(wrong());
        }
        Ok(Self::command(name, words, None))
    }

    /// Starts the broker and returns when it can be connected to.
    ///
    /// # Errors
    /// If it cannot be started, ends, or does not listen within ten seconds.
    pub fn start(&self) -> Result<Broker, LoadError> {
        match &self.how {
            How::Running(address, pid) => {
                let (name, address) = (self.name.clone(), *address);
                Ok(Broker { name, address, tls: None, web: None, pid: *pid, process: None })
            }
            How::Command { words, config, before, passwords } => {
                let files = (config.as_deref(), passwords.as_deref());
                self.launch(words, files, before.as_deref())
            }
        }
    }

    fn launch(
        &self,
        words: &[String],
        (config, passwords): (Option<&str>, Option<&str>),
        before: Option<&[String]>,
    ) -> Result<Broker, LoadError> {
        let directory = Directory::new()?;
        let mentioned = |what: &str| {
            words.iter().any(|word| word.contains(what))
                || config.is_some_and(|text| text.contains(what))
        };
        let port_is_ours = mentioned(PORT);
        let port = if port_is_ours { free_port()? } else { 0 };
        let tls_port = if mentioned(TLS_PORT) { free_port()? } else { 0 };
        let filled = |text: &str| {
            text.replace(PORT, &port.to_string())
                .replace(TLS_PORT, &tls_port.to_string())
                .replace(DIRECTORY, &directory.path.to_string_lossy())
        };
        let filled_words =
            |words: &[String]| words.iter().map(|word| filled(word)).collect::<Vec<_>>();
        if let Some(config) = config {
            directory.write("broker.conf", &filled(config))?;
        }
        if let Some(passwords) = passwords {
            directory.write("passwords", passwords)?;
        }
        let ca = match before {
            None => None,
            Some(before) => Some(directory.make_certificate(&filled_words(before))?),
        };
        let mut process = Process::spawn(&filled_words(words), directory)?;
        let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (address, tls_address) = if port_is_ours {
            process.wait_until_connectable(local(port))?;
            (local(port), (tls_port != 0).then(|| local(tls_port)))
        } else {
            let plain = process.wait_until_announced(PLAIN)?;
            (plain, ca.as_ref().map(|_| process.wait_until_announced(OVER_TLS)).transpose()?)
        };
        let tls = match tls_address.zip(ca) {
            None => None,
            Some((address, ca)) => {
                let tls = Some(TlsClient::trusting(&ca, "localhost")?);
                Some(Endpoint { tls, ..Endpoint::from(address) })
            }
        };
        let web = if self.by_websocket {
            // Mosquitto has no other listener.
            let address =
                if port_is_ours { address } else { process.wait_until_announced(BY_WEBSOCKET)? };
            let client = WebSocketClient { host: address.to_string(), path: "/mqtt".into() };
            Some(Endpoint { web_socket: Some(client), ..Endpoint::from(address) })
        } else {
            None
        };
        let (name, pid) = (self.name.clone(), Some(process.child.id()));
        Ok(Broker { name, address, tls, web, pid, process: Some(process) })
    }
}

/// A broker that listens. Dropping it ends the process, if we started it.
#[derive(Debug)]
pub struct Broker {
    /// What the tables call it.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// How to meet it over TLS, if that is known.
    pub tls: Option<Endpoint>,
    /// How to meet it by WebSocket, if it is to be met so.
    pub web: Option<Endpoint>,
    /// Its process, if known.
    pub pid: Option<u32>,
    process: Option<Process>,
}

impl Broker {
    /// How to meet it, with or without encryption.
    ///
    /// # Errors
    /// If it speaks no TLS that we know of.
    pub fn endpoint(&self, over_tls: bool) -> Result<Endpoint, LoadError> {
        if !over_tls {
            return Ok(self.web.clone().unwrap_or_else(|| self.address.into()));
        }
        let unknown = || LoadError::new(format!("{} was not started with TLS", self.name));
        self.tls.clone().ok_or_else(unknown)
    }

    /// An error if a process we started has ended, with what it said last.
    ///
    /// # Errors
    /// As said.
    pub fn check_alive(&mut self) -> Result<(), LoadError> {
        self.process.as_mut().map_or(Ok(()), Process::check_alive)
    }
}

#[derive(Debug)]
struct Process {
    child: Child,
    /// The addresses that were announced, and what for; closed when the standard output is.
    announced: mpsc::Receiver<(String, SocketAddr)>,
    directory: Directory,
}

impl Process {
    fn spawn(words: &[String], directory: Directory) -> Result<Self, LoadError> {
        let line = words.join(" ");
        let failed = |error| LoadError::io(format!("cannot start `{line}`"), error);
        let complaints = fs::File::create(directory.path.join(COMPLAINTS)).map_err(failed)?;
        let (program, arguments) =
            words.split_first().ok_or_else(|| LoadError::new("a broker's command is empty"))?;
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(&directory.path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .spawn()
            .map_err(failed)?;
        let (sender, announced) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            thread::spawn(move || read_output(output, &sender));
        }
        Ok(Self { child, announced, directory })
    }

    fn wait_until_announced(&mut self, what: &str) -> Result<SocketAddr, LoadError> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.announced.recv_timeout(left) {
                Ok((of, address)) if of == what => return Ok(address),
                Ok(_) => {}
                Err(_) => {
                    let silent =
                        format!("the broker did not say `listening on ADDRESS:PORT ({what})`");
                    return Err(LoadError::new(format!("{silent}{}", self.last_words())));
                }
            }
        }
    }

    fn wait_until_connectable(&mut self, address: SocketAddr) -> Result<(), LoadError> {
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(address).is_err() {
            self.check_alive()?;
            if Instant::now() > deadline {
                let words = self.last_words();
                return Err(LoadError::new(format!(
                    "the broker does not listen on {address}{words}"
                )));
            }
            thread::sleep(POLL);
        }
        self.check_alive()
    }

    fn check_alive(&mut self) -> Result<(), LoadError> {
        match self.child.try_wait() {
            Ok(Some(status)) => {
                let words = self.last_words();
                Err(LoadError::new(format!("the broker ended ({status}){words}")))
            }
            Ok(None) => Ok(()),
            Err(error) => Err(LoadError::io("cannot look after the broker", error)),
        }
    }

    /// The last line of the broker's standard error, as the end of a sentence.
    fn last_words(&self) -> String {
        let text = fs::read_to_string(self.directory.path.join(COMPLAINTS)).unwrap_or_default();
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        last.map_or(String::new(), |line| format!("; it said: {line}"))
    }

    fn end(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok()) {
            let deadline = Instant::now() + END_TIMEOUT;
            while Instant::now() < deadline {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                thread::sleep(POLL);
            }
        }
        // Nothing is left to do if even this fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Tells the addresses and goes on reading, as a full pipe would stop the broker.
fn read_output(output: ChildStdout, announced: &mpsc::Sender<(String, SocketAddr)>) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(count) if count > 0) {
        if let Some(found) = announcement(&String::from_utf8_lossy(&line)) {
            // Nobody listens any more once all is known.
            let _ = announced.send(found);
        }
        line.clear();
    }
}

/// The address in `listening on 127.0.0.1:1883 (MQTT)`, and what is spoken there.
pub(crate) fn announcement(line: &str) -> Option<(String, SocketAddr)> {
    let rest = line.split_once("listening on ")?.1.trim_end();
    let (address, what) = rest.split_once(" (")?;
    Some((what.strip_suffix(')')?.into(), address.parse().ok()?))
}

/// A directory that goes with its owner.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
}

impl Directory {
    fn new() -> Result<Self, LoadError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("noctule-load-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path)
            .map_err(|error| LoadError::io(format!("cannot make {}", path.display()), error))?;
        Ok(Self { path })
    }

    /// Runs a command that makes a certificate; the CA to trust.
    fn make_certificate(&self, words: &[String]) -> Result<Vec<u8>, LoadError> {
        let line = words.join(" ");
        let failed = |error| LoadError::io(format!("cannot run `{line}`"), error);
        let (program, arguments) =
            words.split_first().ok_or_else(|| LoadError::new("a command is empty"))?;
        let mut command = Command::new(program);
        let output = command.args(arguments).current_dir(&self.path).output().map_err(failed)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(LoadError::new(format!("`{line}` failed: {}", said.trim())));
        }
        let place = words.last().map_or("", String::as_str);
        fs::read(Path::new(place).join("ca.pem"))
            .map_err(|error| LoadError::io(format!("no CA certificate in {place}"), error))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), LoadError> {
        let path = self.path.join(name);
        fs::write(&path, text)
            .map_err(|error| LoadError::io(format!("cannot write {}", path.display()), error))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed is left in the temporary directory.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A port of the loopback interface that nobody listens on.
pub(crate) fn free_port() -> Result<u16, LoadError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| LoadError::io("there is no free port", error))
}

const NO_TLS: &str = "--no-tls";
/// What a listener without anything over it is announced as.
pub(crate) const PLAIN: &str = "MQTT";
const BY_WEBSOCKET: &str = "MQTT over WebSocket";
/// What one with TLS is.
pub(crate) const OVER_TLS: &str = "MQTT over TLS";
const PORT: &str = "{port}";
const TLS_PORT: &str = "{tls-port}";
const DIRECTORY: &str = "{dir}";
const COMPLAINTS: &str = "stderr.txt";
const START_TIMEOUT: Duration = Duration::from_secs(10);
const END_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_command_or_an_address() {
        let words = |text: &str| match Target::parse(text).unwrap().how {
            How::Command { words, .. } => words,
            How::Running(..) => panic!("{text}"),
        };
        assert_eq!(words("a=prog -p {port}"), ["prog", "-p", "{port}"]);
        assert_eq!(words("a=prog --x=1,2"), ["prog", "--x=1,2"]);
        let address = "127.0.0.1:1883".parse().unwrap();
        let how = |text: &str| Target::parse(text).unwrap().how;
        assert_eq!(how("a=127.0.0.1:1883"), How::Running(address, None));
        assert_eq!(how("a=127.0.0.1:1883,77"), How::Running(address, Some(77)));
        for wrong in ["a", "a=", "=b", "a=127.0.0.1:1883,x"] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_listener_is_found_among_the_lines() {
        let found =
            |line: &str| announcement(line).map(|(what, address)| format!("{what} at {address}"));
        let plain = found("  listening on 127.0.0.1:40001 (MQTT)\n");
        assert_eq!(plain.as_deref(), Some("MQTT at 127.0.0.1:40001"));
        let plain = found("  listening on [::1]:1883 (MQTT)");
        assert_eq!(plain.as_deref(), Some("MQTT at [::1]:1883"));
        let tls = found("  listening on 127.0.0.1:8883 (MQTT over TLS)");
        assert_eq!(tls.as_deref(), Some("MQTT over TLS at 127.0.0.1:8883"));
        assert_eq!(found("listening on port 1883"), None);
    }

    #[test]
    fn a_command_that_announces_itself_is_found_and_ended() {
        let script = "echo '  listening on 127.0.0.1:9 (MQTT)'; exec sleep 1000";
        let words = ["sh", "-c", script].map(String::from);
        let broker = Target::command("sleeper", words.into(), None).start().unwrap();
        assert_eq!(broker.address.port(), 9);
        let pid = broker.pid.unwrap();
        let directory = broker.process.as_ref().unwrap().directory.path.clone();
        assert!(directory.is_dir() && Path::new(&format!("/proc/{pid}")).exists());
        drop(broker);
        assert!(!directory.exists() && !Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_command_that_ends_is_quoted() {
        let words = ["sh", "-c", "echo no such option >&2; exit 3"].map(String::from);
        let error = Target::command("failing", words.into(), None).start().unwrap_err().to_string();
        assert!(error.ends_with("it said: no such option"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let target = Target::parse("a=noctule-no-such-program {port}").unwrap();
        let error = target.start().unwrap_err().to_string();
        assert!(error.contains("noctule-no-such-program"), "{error}");
    }
}
