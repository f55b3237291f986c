//! The broker under torture: a command with its directory, started, killed and started again.
//!
//! The broker runs in a process group of its own, so that Ctrl-C on the terminal reaches only us,
//! and whatever it has started dies with it. Dropping a `Victim` kills it. If this process is
//! killed before it can, the kernel kills the broker: it is started through `keep_to`, by the same
//! program in another role, because a process can only ask this for itself.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getppid, kill_process_group, set_parent_process_death_signal};

use crate::LoadError;
use crate::endpoint::{Endpoint, TlsClient};
use crate::target::{OVER_TLS, PLAIN, announcement, free_port};

/// How a broker is started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Launch {
    /// Program and arguments. `{port}` stands for a free port of 127.0.0.1, `{data}` for a directory
    /// that is there and empty at the first start, `{config}` for the file below, `{shards}` for the
    /// number that its life has. Without `{port}`, also in that file, the broker must say `listening on
    /// ADDRESS:PORT (MQTT)`, or `(MQTT over TLS)`, on its standard output.
    pub words: Vec<String>,
    /// The file with the certificates that clients trust, with the same placeholders, if they come over
    /// TLS. It is read once, when the broker listens for the first time: what it proves itself with
    /// has to outlive it as well.
    pub trusted: Option<String>,
    /// Text of a configuration file with the same placeholders.
    pub config: Option<String>,
    /// Words to put before the command: a program that calls [`keep_to`]. `{pid}` stands for our
    /// process id.
    pub keeper: Vec<String>,
}

impl Launch {
    /// Whether a placeholder is in its command or its configuration.
    pub(super) fn mentions(&self, placeholder: &str) -> bool {
        self.words.iter().chain(&self.config).any(|text| text.contains(placeholder))
    }
}

/// How a broker's life is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// SIGKILL: it cannot do anything any more.
    Kill,
    /// SIGTERM: it may put its things in order, for at most [`ORDER_TIMEOUT`].
    Terminate,
}

/// How long an orderly end may take before it is not waited for any more.
pub const ORDER_TIMEOUT: Duration = Duration::from_secs(60);

/// A broker that is, or is not, running.
#[derive(Debug)]
pub(crate) struct Victim {
    launch: Launch,
    directory: PathBuf,
    life: Option<Child>,
    /// How its clients do TLS, once that is known.
    tls: Option<TlsClient>,
    /// What `{shards}` stands for in the next life.
    shards: u16,
}

impl Victim {
    /// One that was never started, with a new directory below `parent`.
    pub(crate) fn new(launch: Launch, parent: &Path) -> Result<Self, LoadError> {
        let parent = parent.canonicalize().map_err(|error| {
            LoadError::io(format!("cannot use the directory {}", parent.display()), error)
        })?;
        let failed =
            |path: &Path, error| LoadError::io(format!("cannot make {}", path.display()), error);
        let mut number = 0;
        loop {
            let name = format!("noctule-torture-{}-{number}", std::process::id());
            let directory = parent.join(name);
            match fs::create_dir(&directory) {
                Ok(()) => {
                    let data = directory.join(DATA);
                    fs::create_dir(&data).map_err(|error| failed(&data, error))?;
                    return Ok(Self { launch, directory, life: None, tls: None, shards: 1 });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(failed(&directory, error)),
            }
        }
    }

    /// Where its files are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// What `{shards}` stands for from the next start on.
    pub(crate) fn set_shards(&mut self, shards: u16) {
        self.shards = shards;
    }

    /// Starts it and waits until it takes connections; how clients meet it then.
    ///
    /// # Errors
    /// If it ends or takes longer than `patience`, with what it said last; if there is no file to
    /// trust.
    pub(crate) fn start(&mut self, patience: Duration) -> Result<Endpoint, LoadError> {
        let address = self.start_listening(patience)?;
        if let Some(trusted) = &self.launch.trusted
            && self.tls.is_none()
        {
            let path = self.filled(trusted, None);
            let text = fs::read(&path)
                .map_err(|error| LoadError::io(format!("cannot read {path}"), error))?;
            self.tls = Some(TlsClient::trusting(&text, SERVER_NAME)?);
        }
        Ok(Endpoint { tls: self.tls.clone(), ..Endpoint::from(address) })
    }

    fn start_listening(&mut self, patience: Duration) -> Result<SocketAddr, LoadError> {
        let (port, announced) = self.spawn()?;
        let deadline = Instant::now() + patience;
        loop {
            let found = match port {
                Some(port) => {
                    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                    TcpStream::connect(address).ok().map(|_| address)
                }
                None => announced.recv_timeout(POLL).ok(),
            };
            if let Some(status) = self.ended()? {
                let words = self.last_words();
                return Err(LoadError::new(format!("the broker ended ({status}){words}")));
            }
            if let Some(address) = found {
                return Ok(address);
            }
            if Instant::now() > deadline {
                let (seconds, words) = (patience.as_secs(), self.last_words());
                let text = format!("the broker does not listen after {seconds} s{words}");
                return Err(LoadError::new(text));
            }
            thread::sleep(POLL);
        }
    }

    /// Starts it and kills it so much later, whatever it was doing then.
    pub(crate) fn start_and_kill(&mut self, later: Duration) -> Result<(), LoadError> {
        self.spawn()?;
        thread::sleep(later);
        self.end(Ending::Kill).map(drop)
    }

    fn spawn(&mut self) -> Result<(Option<u16>, mpsc::Receiver<SocketAddr>), LoadError> {
        let Launch { words, config, keeper, trusted } = self.launch.clone();
        let port = if self.launch.mentions(PORT) { Some(free_port()?) } else { None };
        if let Some(config) = config {
            let path = self.directory.join(CONFIG_FILE);
            fs::write(&path, self.filled(&config, port)).map_err(|error| {
                LoadError::io(format!("cannot write {}", path.display()), error)
            })?;
        }
        let words = keeper.iter().chain(&words).map(|word| self.filled(word, port));
        let words: Vec<_> = words.collect();
        let line = words.join(" ");
        let failed = |error| LoadError::io(format!("cannot start `{line}`"), error);
        let output = self.output().map_err(failed)?;
        let (program, arguments) =
            words.split_first().ok_or_else(|| LoadError::new("a broker's command is empty"))?;
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(&self.directory)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(output.try_clone().map_err(failed)?)
            .spawn()
            .map_err(failed)?;
        let (sender, announced) = mpsc::channel();
        let wanted = if trusted.is_some() { OVER_TLS } else { PLAIN };
        if let Some(pipe) = child.stdout.take() {
            thread::spawn(move || copy_output(pipe, output, wanted, &sender));
        }
        self.life = Some(child);
        Ok((port, announced))
    }

    /// Everything it says is appended here.
    fn output(&self) -> std::io::Result<File> {
        OpenOptions::new().create(true).append(true).open(self.directory.join(OUTPUT_FILE))
    }

    fn filled(&self, text: &str, port: Option<u16>) -> String {
        let path = |name| self.directory.join(name).to_string_lossy().into_owned();
        text.replace(PORT, &port.unwrap_or(0).to_string())
            .replace("{data}", &path(DATA))
            .replace("{config}", &path(CONFIG_FILE))
            .replace(SHARDS, &self.shards.to_string())
            .replace("{pid}", &std::process::id().to_string())
    }

    /// Ends its life; returns its exit status.
    ///
    /// # Errors
    /// If it does not end in order within [`ORDER_TIMEOUT`]; it is killed then.
    pub(crate) fn end(&mut self, how: Ending) -> Result<ExitStatus, LoadError> {
        if how == Ending::Terminate {
            self.signal(Signal::TERM);
            let deadline = Instant::now() + ORDER_TIMEOUT;
            while self.ended()?.is_none() && Instant::now() < deadline {
                thread::sleep(POLL);
            }
            if self.ended()?.is_none() {
                self.destroy();
                let text =
                    format!("the broker did not end {} s after SIGTERM", ORDER_TIMEOUT.as_secs());
                return Err(LoadError::new(text));
            }
        }
        self.signal(Signal::KILL);
        let life = self.life.take();
        let status = life.map(|mut child| child.wait());
        status
            .unwrap_or_else(|| Ok(ExitStatus::default()))
            .map_err(|error| LoadError::io("cannot look after the broker", error))
    }

    /// Its exit status, if it has ended by itself.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, LoadError> {
        let status = self.life.as_mut().map_or(Ok(None), Child::try_wait);
        status.map_err(|error| LoadError::io("cannot look after the broker", error))
    }

    /// The last line that it said, as the end of a sentence.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read(self.directory.join(OUTPUT_FILE)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        last.map_or(String::new(), |line| format!("; it said: {line}"))
    }

    fn signal(&self, signal: Signal) {
        let pid = self.life.as_ref().and_then(|child| i32::try_from(child.id()).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            // That it is gone already is what is wanted. The process is not waited for yet, so
            // its id is still its own.
            let _ = kill_process_group(pid, signal);
        }
    }

    fn destroy(&mut self) {
        self.signal(Signal::KILL);
        if let Some(mut child) = self.life.take() {
            let _ = child.wait();
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.destroy();
    }
}

/// Turns this process into `words`, to be killed by the kernel when process `parent`, which has
/// started it, is gone, however that ends. Returns only what went wrong.
pub fn keep_to(parent: u32, words: &[String]) -> LoadError {
    let Some((program, arguments)) = words.split_first() else {
        return LoadError::new("there is no command to run");
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return LoadError::io("cannot be tied to the process that started it", error.into());
    }
    let ours = getppid().map(|pid| pid.as_raw_pid() as u32);
    if ours != Some(parent) {
        return LoadError::new(format!("process {parent}, which is to be the parent, is gone"));
    }
    let error = Command::new(program).args(arguments).exec();
    LoadError::io(format!("cannot start `{}`", words.join(" ")), error)
}

/// Keeps what the broker says, and tells the first address that it announces for what is wanted.
fn copy_output(
    pipe: ChildStdout,
    mut output: File,
    wanted: &str,
    announced: &mpsc::Sender<SocketAddr>,
) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(count) if count > 0) {
        // On a full disk its words are lost, and it must not wait for us.
        let _ = output.write_all(&line);
        let announced_here = announcement(&String::from_utf8_lossy(&line));
        if let Some((_, address)) = announced_here.filter(|(what, _)| what == wanted) {
            // Nobody listens any more after the first one.
            let _ = announced.send(address);
        }
        line.clear();
    }
}

const PORT: &str = "{port}";
/// Stands for the number of loops that a life has.
pub(super) const SHARDS: &str = "{shards}";
/// What a certificate has to be for.
const SERVER_NAME: &str = "localhost";
const DATA: &str = "data";
const CONFIG_FILE: &str = "broker.conf";
const OUTPUT_FILE: &str = "output.txt";
const POLL: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Place;

    fn victim(script: &str) -> Victim {
        let words = ["sh", "-c", script].map(String::from).into();
        let config = Some("at {port} in {data}\n".into());
        let launch = Launch { words, config, ..Launch::default() };
        Victim::new(launch, &std::env::temp_dir()).unwrap()
    }

    fn gone(victim: Victim) {
        let directory = victim.directory.clone();
        drop(victim);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn it_is_started_killed_and_started_again_in_the_same_directory() {
        // A shell that listens for nobody, and another process that must die with it.
        let mut victim = victim(
            "echo life >> {data}/lives; sleep 1000 & echo $! > {data}/other; \
             cat {config}; echo '  listening on 127.0.0.1:9 (MQTT)'; wait",
        );
        victim.launch.config = Some("in {data}\n".into());
        for life in 1..=2 {
            let endpoint = victim.start(Duration::from_secs(10)).unwrap();
            assert!(matches!(endpoint.place, Place::Tcp(address) if address.port() == 9));
            let lives = fs::read_to_string(victim.directory.join("data/lives")).unwrap();
            assert_eq!(lives.lines().count(), life);
            let other = fs::read_to_string(victim.directory.join("data/other")).unwrap();
            assert!(!victim.end(Ending::Kill).unwrap().success());
            assert!(is_dead(other.trim()), "{other}");
        }
        let said = fs::read_to_string(victim.directory.join(OUTPUT_FILE)).unwrap();
        assert!(said.starts_with("in /") && said.contains("/data\n"), "{said}");
        gone(victim);
    }

    /// A zombie, which somebody else has to bury, is dead as well.
    fn is_dead(pid: &str) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(POLL);
        }
    }

    #[test]
    fn one_that_ends_is_quoted() {
        let mut victim = victim("echo no such option >&2; exit 3");
        let error = victim.start(Duration::from_secs(10)).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("it said: no such option"));
        gone(victim);
    }

    #[test]
    fn over_tls_another_announcement_counts_and_there_must_be_somebody_to_trust() {
        let mut victim = victim("echo ' listening on 127.0.0.1:9 (MQTT)'; exec sleep 1000");
        victim.launch.config = None;
        victim.launch.trusted = Some("{data}/ca.pem".into());
        let error = victim.start(Duration::from_millis(300)).unwrap_err().to_string();
        assert!(error.contains("does not listen"), "{error}");
        victim.end(Ending::Kill).unwrap();
        let line = "echo ' listening on 127.0.0.1:9 (MQTT over TLS)'; exec sleep 1000";
        victim.launch.words[2] = line.into();
        let error = victim.start(Duration::from_secs(10)).unwrap_err().to_string();
        assert!(error.contains("cannot read") && error.contains("/data/ca.pem"), "{error}");
        victim.end(Ending::Kill).unwrap();
        fs::write(victim.directory.join(DATA).join("ca.pem"), "nothing").unwrap();
        let error = victim.start(Duration::from_secs(10)).unwrap_err().to_string();
        assert!(error.contains("no CA to trust"), "{error}");
        gone(victim);
    }

    #[test]
    fn each_life_may_have_another_number_of_loops() {
        let mut victim = victim("echo {shards} >> {data}/shards; cat {config}; exec sleep 1000");
        victim.launch.config = Some(" listening on 127.0.0.1:9{shards} (MQTT)\n".into());
        for shards in [3, 1] {
            victim.set_shards(shards);
            let endpoint = victim.start(Duration::from_secs(10)).unwrap();
            let expected = SocketAddr::from((Ipv4Addr::LOCALHOST, 90 + shards));
            assert!(matches!(endpoint.place, Place::Tcp(address) if address == expected));
            victim.end(Ending::Kill).unwrap();
        }
        let lives = fs::read_to_string(victim.directory.join("data/shards")).unwrap();
        assert_eq!(lives, "3\n1\n");
        gone(victim);
    }

    #[test]
    fn an_orderly_end_lets_it_put_its_things_in_order() {
        let mut victim = victim(
            "trap 'echo saved > {data}/saved; exit 0' TERM; \
             echo ' listening on 127.0.0.1:9 (MQTT)'; while :; do sleep 0.01; done",
        );
        victim.launch.config = None;
        victim.start(Duration::from_secs(10)).unwrap();
        assert!(victim.end(Ending::Terminate).unwrap().success());
        assert!(victim.directory.join("data/saved").exists());
        gone(victim);
    }
}
