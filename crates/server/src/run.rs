//! The life of the process: what is started, in which order, and how it ends.

use crate::acl_files::{AclFiles, AclWatch};
use crate::clock::Clock;
use crate::commons::{Access, Shared};
use crate::door::Door;
use crate::durable::{self, Kept};
use crate::ending::{self, Keeper};
use crate::entrances::{Rules, stage};
use crate::event_loop::{EventLoop, Observers};
use crate::gate::Gate;
use crate::json_text::Layout;
use crate::limits;
use crate::live::{Level, LiveConfig, records_per_second};
use crate::local_time::{self, LocalTime};
use crate::log::{LogQueue, Look};
use crate::log_file::{LogFile, Reopen};
use crate::mailboxes::Mailboxes;
use crate::opening::{Opened, open};
use crate::options::{self, Config, Durability, LogFormat, Sources};
use crate::privileges::Successor;
use crate::spare_memory::{Caretaker, Spare};
use crate::statistics::{Ledger, Plan as StatisticsPlan, Statistics};
use crate::storage::Storage;
use crate::supervisor;
use crate::tls_files::TlsError;
use crate::watcher::{ReadAgain, watch};
use mio::Poll;
use noctule_acl::AclError;
use noctule_auth::{CalloutProblem, KeySetError, PasswordFileError};
use noctule_broker::{MemoryStore, Offer, Policies, Settings, Shard, ShardId, Stage};
use noctule_store::{Recovered, StoreError};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_shutdown;
use signal_hook::iterator::{Handle, Signals};
use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tracing::info;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// How long stopping may take.
const STOP_PATIENCE: Duration = Duration::from_secs(4);

/// How long the last log lines may take, if nobody reads them.
const LOG_PATIENCE: Duration = Duration::from_millis(200);

/// Why the broker could not start, or could not go on; one line.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be listened on.
    Listen {
        /// Which.
        address: SocketAddr,
        /// The flag or key that chooses another port.
        port_key: &'static str,
        /// Why not.
        error: io::Error,
    },
    /// A Unix socket cannot be listened on.
    ListenUnix {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The store cannot be opened.
    Store(StoreError),
    /// The user to go on as.
    User {
        /// Who.
        name: String,
        /// Why not.
        error: io::Error,
    },
    /// The user that the broker goes on as cannot write to the data directory.
    NotWritable {
        /// Who.
        name: String,
        /// Where.
        directory: PathBuf,
    },
    /// The file that the log goes to.
    LogFile {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Anybody in the network could come in, and nobody has said that this is meant.
    Open {
        /// An address that others reach.
        address: IpAddr,
        /// Whether it is that of a listener in the file.
        is_written: bool,
    },
    /// One of the listeners in the configuration file is at fault.
    Listener {
        /// How it is called.
        label: String,
        /// What is wrong.
        error: Box<StartError>,
    },
    /// The password file cannot be used.
    Passwords(PasswordFileError),
    /// The keys of tokens cannot be used.
    TokenKeys(KeySetError),
    /// The rules about what clients may do cannot be used.
    Rules(AclError),
    /// Nobody can be asked over HTTP as the configuration says.
    Callout(CalloutProblem),
    /// The ways to find out who clients are contradict the rest of the configuration.
    Methods(String),
    /// TLS cannot be offered.
    Tls(TlsError),
    /// The operating system refused something that is always needed.
    System {
        /// What for.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, error, port_key }
                if error.kind() == io::ErrorKind::AddrInUse =>
            {
                write!(
                    f,
                    "cannot listen on {address}: port {} is in use by another program; stop it or \
                     choose another port with {port_key}",
                    address.port()
                )
            }
            Self::Listen { address, error, .. }
                if error.kind() == io::ErrorKind::AddrNotAvailable =>
            {
                write!(
                    f,
                    "cannot listen on {address}: this machine has no such address; see --bind"
                )
            }
            Self::Listen { address, error, .. } => {
                write!(f, "cannot listen on {address}: {error}")
            }
            Self::ListenUnix { path, error } => {
                write!(f, "cannot listen on the Unix socket {}: ", path.display())?;
                match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        f.write_str("another program listens on it; stop it or choose another path")
                    }
                    io::ErrorKind::AlreadyExists => {
                        f.write_str("there is something else at that path, which is left alone")
                    }
                    _ => error.fmt(f),
                }
            }
            Self::User { name, error } => write!(f, "cannot go on as the user {name}: {error}"),
            Self::NotWritable { name, directory } => write!(
                f,
                "the user {name}, as whom the broker goes on, cannot write to {}: give the directory to \
                 that user (chown -R {name} {}), or name another one with `user`",
                directory.display(),
                directory.display()
            ),
            Self::LogFile { path, error } => {
                write!(f, "cannot write the log to {}: {error}", path.display())
            }
            Self::Listener { label, error } => write!(f, "{label}: {error}"),
            Self::Open { address, is_written: true } => write!(
                f,
                "listening on {address} would let anybody in: name a `password_file` (`noctule passwd` \
                 makes one), require certificates of clients (`transport = \"tls\"` and `client_ca`), or \
                 say `allow_anonymous = true` if that is meant"
            ),
            Self::Open { address, is_written: false } => write!(
                f,
                "listening on {address} would let anybody in: name a password file \
                 (--password-file; `noctule passwd` makes one), require certificates of clients \
                 (--client-ca), or say --allow-anonymous if that is meant"
            ),
            Self::Passwords(error) => error.fmt(f),
            Self::TokenKeys(error) => error.fmt(f),
            Self::Callout(problem) => problem.fmt(f),
            Self::Methods(problem) => f.write_str(problem),
            Self::Rules(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::System { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Listen { error, .. }
            | Self::ListenUnix { error, .. }
            | Self::User { error, .. }
            | Self::LogFile { error, .. }
            | Self::System { error, .. } => Some(error),
            Self::Store(error) => error.source(),
            Self::Open { .. } | Self::NotWritable { .. } | Self::Methods(_) => None,
            Self::Listener { error, .. } => error.source(),
            Self::Passwords(error) => Some(error),
            Self::TokenKeys(error) => Some(error),
            Self::Callout(problem) => Some(problem),
            Self::Rules(error) => Some(error),
            Self::Tls(error) => Some(error),
        }
    }
}

impl StartError {
    /// The same, with the name of the listener that it is about, if somebody has written it.
    pub(crate) fn of(self, listener: &options::Listener) -> Self {
        match listener.label() {
            Some(label) => Self::Listener { label, error: Box::new(self) },
            None => self,
        }
    }
}

fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |error| StartError::System { what, error }
}

/// Runs the broker until SIGINT (Ctrl-C) or SIGTERM ends it. A second one ends the process at once.
/// SIGHUP has it read its files again: the configuration, which `sources` say, and those of TLS.
///
/// # Errors
/// [`StartError`] if it cannot start.
pub fn run(config: Config, sources: Sources) -> Result<(), StartError> {
    let started = Instant::now();
    let reopen = Reopen::default();
    let (log, level) = start_log(&config, &reopen)?;
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(system("wait for signals"))?;
    let open_files = limits::raise_open_files();
    let shards = usize::from(config.shards.or_else(shards));
    let (polls, mailboxes) = polls(shards).map_err(system("wait for sockets"))?;
    let mailboxes = Arc::new(mailboxes);
    let successor = Successor::of(&config)?;
    let gate = Arc::new(Gate::open(&config, &mailboxes)?);
    let acl_files = Arc::new(AclFiles::open(&config, &mailboxes)?);
    let Opened { doors, socket_files, lines, mut watched } = open(&config, successor)?;
    let rules = Rules::of(&config, open_files);
    let shared = Arc::new(Shared::new(shards as u16, random_number()?));
    let mut clock = Clock::start();
    let (store, recovered) = if config.in_memory {
        (None, Recovered { next_key: 1, ..Recovered::default() })
    } else {
        let (store, recovered) =
            durable::open(&config, &mailboxes, &shared.unstored).map_err(StartError::Store)?;
        (Some(store), recovered)
    };
    let building = Building {
        offer: limits::offer(&config),
        policies: acl_files.policies(),
        rules,
        stage: stage(config.durability),
        clock,
        next_key: recovered.next_key,
        stored_wall_ms: recovered.wall_ms,
        all_given_back: Barrier::new(shards),
        shared: Arc::clone(&shared),
        mailboxes,
        gate,
        ledger: Arc::new(Ledger::new(shards)),
        log: log.clone(),
        log_raw_data: config.log_raw_data,
        caretaker: Caretaker::start().map_err(system("start a thread"))?,
    };
    let home = |client_id: &str| noctule_broker::home(&Access(Arc::clone(&shared)), client_id);
    let mut kept = durable::divide(recovered, shards, clock.now(), home).into_iter();
    let mut loops = Vec::with_capacity(shards);
    for (number, poll) in polls.into_iter().enumerate() {
        let doors: io::Result<Vec<_>> = doors.iter().map(Door::try_clone).collect();
        let doors = doors.map_err(system("listen in several threads"))?;
        let storage = match &store {
            Some(store) => Storage::Log(store.for_shard(ShardId(number as u16))),
            None => Storage::Memory(MemoryStore::default()),
        };
        let kept = kept.next().unwrap_or_default();
        loops.push(Plan { number, poll, doors, storage, kept, seed: random_seed()? });
    }
    let promise_of_store = durability(&config);
    drop(doors);
    let statistics = Statistics::start(StatisticsPlan {
        ledger: Arc::clone(&building.ledger),
        mailboxes: Arc::clone(&building.mailboxes),
        started,
        sys_interval: interval(config.sys_interval),
        stats_interval: interval(config.stats_interval),
        durability: promise(&config),
    })
    .map_err(system("start a thread"))?;
    // Before the configuration, which may name other files.
    if sources.file.is_some() || !acl_files.is_empty() {
        watched.push(Box::new(AclWatch(Arc::clone(&acl_files))));
    }
    if sources.file.is_some() {
        watched.push(Box::new(LiveConfig {
            config,
            sources,
            open_files,
            level,
            log: log.clone(),
            statistics: statistics.orders(),
            gate: Arc::clone(&building.gate),
            acl_files,
            mailboxes: Arc::clone(&building.mailboxes),
        }));
    }
    let read_again = (!watched.is_empty()).then(|| watch(watched)).transpose();
    let read_again = read_again.map_err(system("start a thread"))?;
    let keeper = Arc::new(Keeper::of(store));
    // Files that are changed from here on are noticed.
    say_hello(&lines, &promise_of_store, shards, started);
    supervisor::tell("READY=1");
    let served = serve(&building, loops, signals, (read_again.as_ref(), &reopen), &keeper);
    drop((read_again, socket_files));
    // The disk may take its time.
    let at_once = Arc::new(AtomicBool::new(true));
    for signal in [SIGINT, SIGTERM] {
        let registered = register_conditional_shutdown(signal, 128 + signal, Arc::clone(&at_once));
        registered.map_err(system("wait for signals"))?;
    }
    let closed = keeper.close().map_err(StartError::Store);
    if served.is_ok() && closed.is_ok() {
        say("goodbye");
    }
    statistics.finish();
    log.drain(LOG_PATIENCE);
    served.and(closed)
}

/// How many processors the process may use.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// As many loops as there are processors.
fn shards() -> u16 {
    u16::try_from(processors().min(SHARDS_MAX)).unwrap_or(1)
}

/// More loops than this are not started unless they are asked for.
const SHARDS_MAX: usize = 256;

/// A poll for each loop, and the mailboxes that wake them.
fn polls(shards: usize) -> io::Result<(Vec<Poll>, Mailboxes)> {
    let polls: Vec<Poll> = (0..shards).map(|_| Poll::new()).collect::<io::Result<_>>()?;
    let wakers = polls.iter().map(EventLoop::waker).collect::<io::Result<_>>()?;
    Ok((polls, Mailboxes::new(wakers)))
}

/// What all loops are built with.
struct Building {
    rules: Rules,
    policies: Policies,
    offer: Offer,
    stage: Stage,
    clock: Clock,
    next_key: u64,
    stored_wall_ms: u64,
    /// Passed when all shards have been given back what was stored.
    all_given_back: Barrier,
    shared: Arc<Shared>,
    mailboxes: Arc<Mailboxes>,
    ledger: Arc<Ledger>,
    log: LogQueue,
    log_raw_data: bool,
    gate: Arc<Gate>,
    caretaker: Caretaker,
}

/// What one loop is built with, in its own thread: a shard never leaves its thread.
struct Plan {
    number: usize,
    poll: Poll,
    doors: Vec<Door>,
    storage: Storage,
    kept: Kept,
    seed: [u8; 32],
}

impl Building {
    fn run(&self, plan: Plan) -> io::Result<()> {
        let Rules { entrances, limits, log_messages } = self.rules.clone();
        let connections_max = limits.connections_max;
        let settings = Settings {
            limits,
            offer: self.offer.clone(),
            entrances,
            policies: self.policies.clone(),
            stage: self.stage,
            seed: plan.seed,
            next_key: self.next_key,
            stored_wall_ms: self.stored_wall_ms,
        };
        let mut clock = self.clock;
        let mut shard = if self.mailboxes.loops() == 1 {
            Shard::new(settings, clock.now())
        } else {
            let access = Rc::new(Access(Arc::clone(&self.shared)));
            Shard::among(settings, ShardId(plan.number as u16), access, clock.now())
        };
        if let Some((retained, next)) = plan.kept.retained {
            shard.restore_retained(retained, next, clock.now());
        }
        for session in plan.kept.sessions {
            shard.restore(session, clock.now());
        }
        self.all_given_back.wait();
        let post = (plan.number, Arc::clone(&self.mailboxes));
        let observers = Observers::new(
            Arc::clone(&self.ledger),
            self.log.clone(),
            log_messages,
            self.log_raw_data,
            Spare::new(self.caretaker.clone()),
        );
        let gate = Arc::clone(&self.gate);
        let (poll, doors, storage) = (plan.poll, plan.doors, plan.storage);
        let services = (storage, gate, observers);
        EventLoop::new(shard, clock, poll, doors, connections_max, services, post)?.run()
    }
}

/// Ends what depends on a loop when the loop ends, however it does.
struct Watch<'a> {
    building: &'a Building,
    running: &'a AtomicUsize,
    no_more_signals: Handle,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        // A loop that ends by itself has failed, and nobody is served by half a broker.
        self.building.mailboxes.stop_all();
        if self.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.no_more_signals.close();
        }
    }
}

/// Runs the loops, each in its thread, and passes signals on, until all have ended.
fn serve(
    building: &Building,
    plans: Vec<Plan>,
    mut signals: Signals,
    again: (Option<&Sender<ReadAgain>>, &Reopen),
    keeper: &Arc<Keeper>,
) -> Result<(), StartError> {
    let running = AtomicUsize::new(plans.len());
    let signal_handle = signals.handle();
    let (_ended, end) = channel();
    thread::scope(|scope| {
        let mut threads = Vec::with_capacity(plans.len());
        for plan in plans {
            let no_more_signals = signal_handle.clone();
            let watch = Watch { building, running: &running, no_more_signals };
            let thread = thread::Builder::new()
                .name(format!("shard-{}", plan.number))
                .spawn_scoped(scope, move || {
                    let _watch = watch;
                    building.run(plan)
                })
                .map_err(system("start a thread"))?;
            threads.push(thread);
        }
        pass_on_signals(&mut signals, &building.mailboxes, (end, keeper), again)?;
        for thread in threads {
            match thread.join() {
                Ok(result) => result.map_err(system("wait for events"))?,
                Err(_) => {
                    let error = io::Error::other("a bug ended its thread; please report it");
                    return Err(StartError::System { what: "go on with the loop", error });
                }
            }
        }
        Ok(())
    })
}

/// Passes the first signal to end on to the loops, and ends the process with the second, or when the
/// loops take too long.
fn pass_on_signals(
    signals: &mut Signals,
    mailboxes: &Mailboxes,
    (ended, keeper): (Receiver<()>, &Arc<Keeper>),
    (read_again, reopen): (Option<&Sender<ReadAgain>>, &Reopen),
) -> Result<(), StartError> {
    let mut ended = Some(ended);
    let mut asked = false;
    for signal in signals.forever() {
        if signal == SIGHUP {
            reopen.ask();
            let told = read_again.is_some_and(|thread| thread.send(ReadAgain).is_ok());
            if !told {
                info!(
                    "SIGHUP: without TLS and a configuration file there is nothing to read again"
                );
            }
            continue;
        }
        if asked {
            say("stopped at once");
            std::process::exit(128 + signal);
        }
        asked = true;
        supervisor::tell("STOPPING=1");
        say("stopping: clients are told, which takes 2 seconds at most (again: at once)");
        mailboxes.stop_all();
        ended.take().map_or(Ok(()), |ended| end_in_time(ended, Arc::clone(keeper)))?;
    }
    Ok(())
}

/// The loop may be busy, for instance with the wills of thousands: sees to it that the process ends
/// in time all the same, unless the other side of `ended` is dropped before.
fn end_in_time(ended: Receiver<()>, keeper: Arc<Keeper>) -> Result<(), StartError> {
    let watch = move || {
        ending::end_in_time(&ended, STOP_PATIENCE, &keeper, |code| {
            say("goodbye; not every client could be told in time");
            std::process::exit(code);
        });
    };
    let started = thread::Builder::new().name("stop".to_owned()).spawn(watch);
    started.map(drop).map_err(system("start a thread"))
}

/// The lines on standard output by which people and programs know that it runs.
fn say_hello(lines: &[String], durability: &str, shards: usize, started: Instant) {
    say(&format!("Noctule {}", env!("CARGO_PKG_VERSION")));
    for line in lines {
        say(&format!("  {line}"));
    }
    say(&format!("  {durability}"));
    let loops = if shards == 1 { "1 loop".to_owned() } else { format!("{shards} loops") };
    let elapsed = started.elapsed().as_millis();
    say(&format!("  ready in {elapsed} ms, with {loops}; Ctrl-C stops it"));
}

/// What an acknowledgement promises.
fn durability(config: &Config) -> String {
    let place = config.data_dir.join("store").display().to_string();
    match config.durability {
        _ if config.in_memory => {
            "in memory: sessions and retained messages end with the process".to_owned()
        }
        Durability::Always => format!("acknowledged is stored, in {place}"),
        Durability::Interval => format!(
            "stored in {place}, flushed every {:?}: a failure of the machine loses what came since",
            config.durability_interval
        ),
        Durability::Never => {
            format!("stored in {place}, never flushed: a failure of the machine loses messages")
        }
    }
}

/// A line for people. That nobody may be there to read it is no reason to fail.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Logs to standard error: warnings and errors, and what is said once a minute at most; with
/// `verbose` what happens to connections too.
fn start_log(config: &Config, reopen: &Reopen) -> Result<(LogQueue, Level), StartError> {
    local_time::prepare();
    let is_terminal = config.log_file.get().is_none() && io::stderr().is_terminal();
    let json = config.log_format == LogFormat::Json;
    let look = Look {
        json,
        records: if is_terminal && !json { Layout::Indented } else { Layout::OneLine },
        records_per_second: records_per_second(config.log_messages),
    };
    let queue = match config.log_file.get() {
        Some(path) => {
            let failed = |error| StartError::LogFile { path: path.clone(), error };
            LogQueue::start(LogFile::open(path, reopen).map_err(failed)?, look)
        }
        None => LogQueue::start(io::stderr(), look),
    };
    let queue = queue.map_err(system("start a thread"))?;
    let (level, handle) = reload::Layer::new(Level::of(config.verbose));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(queue.clone())
        .with_target(false)
        .with_timer(LineTime(Mutex::default()));
    let registry = tracing_subscriber::registry().with(level);
    // A second broker in one process, as in a test, keeps the first one's log.
    let _ = if json {
        registry.with(lines.json().flatten_event(true)).try_init()
    } else {
        registry.with(lines.with_ansi(is_terminal)).try_init()
    };
    Ok((queue, Level(handle)))
}

/// The time of day in front of a line, as in the records of messages.
struct LineTime(Mutex<LocalTime>);

impl FormatTime for LineTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let mut text = String::new();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_now(&mut text);
        writer.write_str(&text)
    }
}

/// What acknowledgements promise, in the words of the option.
fn promise(config: &Config) -> &'static str {
    match config.durability {
        _ if config.in_memory => "never",
        Durability::Always => "always",
        Durability::Interval => "interval",
        Durability::Never => "never",
    }
}

/// An interval, of which zero is "never".
pub(crate) fn interval(given: Duration) -> Option<Duration> {
    (!given.is_zero()).then_some(given)
}

/// Another random number.
fn random_number() -> Result<u64, StartError> {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&random_seed()?[..8]);
    Ok(u64::from_le_bytes(bytes))
}

fn random_seed() -> Result<[u8; 32], StartError> {
    let mut seed = [0; 32];
    let read = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| system("get random bytes")(error.into()))?;
    debug_assert_eq!(read, seed.len(), "so few bytes come at once");
    Ok(seed)
}
