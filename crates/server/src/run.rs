//! The life of the process: what is started, in which order, and how it ends.

use crate::clock::Clock;
use crate::commons::{Access, Shared};
use crate::event_loop::EventLoop;
use crate::limits;
use crate::log::LogQueue;
use crate::mailboxes::Mailboxes;
use crate::options::Config;
use mio::Poll;
use noctule_broker::{Limits, Offer, Settings, Shard, ShardId};
use noctule_net::{Listener, bind_all};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};
use tracing::level_filters::LevelFilter;

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
        /// Why not.
        error: io::Error,
    },
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
            Self::Listen { address, error } if error.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "cannot listen on {address}: port {} is in use by another program; stop it or \
                 choose another port with --port",
                address.port()
            ),
            Self::Listen { address, error } if error.kind() == io::ErrorKind::AddrNotAvailable => {
                write!(
                    f,
                    "cannot listen on {address}: this machine has no such address; see --bind"
                )
            }
            Self::Listen { address, error } => write!(f, "cannot listen on {address}: {error}"),
            Self::System { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Listen { error, .. } | Self::System { error, .. } => Some(error),
        }
    }
}

fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |error| StartError::System { what, error }
}

/// Runs the broker until SIGINT (Ctrl-C) or SIGTERM ends it. A second one ends the process at once.
///
/// # Errors
/// [`StartError`] if it cannot start.
#[allow(clippy::needless_pass_by_value, reason = "the broker owns its configuration")]
pub fn run(config: Config) -> Result<(), StartError> {
    let started = Instant::now();
    let log = start_log(config.verbose).map_err(system("start a thread"))?;
    let signals = Signals::new([SIGINT, SIGTERM]).map_err(system("wait for signals"))?;
    let open_files = limits::raise_open_files();
    let listeners = bind_all(&config.bind, config.port)
        .map_err(|(address, error)| StartError::Listen { address, error })?;
    let limits = limits::limits(&config, open_files);
    let shards = usize::from(config.shards.or_else(processors));
    let (polls, mailboxes) = polls(shards).map_err(system("wait for sockets"))?;
    let building = Building {
        offer: limits::offer(&config),
        limits,
        clock: Clock::start(),
        shared: Arc::new(Shared::new(shards as u16, random_number()?)),
        mailboxes: Arc::new(mailboxes),
    };
    let mut loops = Vec::with_capacity(shards);
    for (number, poll) in polls.into_iter().enumerate() {
        let listeners: io::Result<Vec<_>> = listeners.iter().map(Listener::try_clone).collect();
        let listeners = listeners.map_err(system("listen in several threads"))?;
        loops.push(Plan { number, poll, listeners, seed: random_seed()? });
    }
    say_hello(&listeners, shards, started);
    drop(listeners);
    let served = serve(&building, loops, signals);
    log.drain(LOG_PATIENCE);
    served
}

/// As many loops as the process may use processors.
fn processors() -> u16 {
    let count = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u16::try_from(count.min(SHARDS_MAX)).unwrap_or(1)
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
    limits: Limits,
    offer: Offer,
    clock: Clock,
    shared: Arc<Shared>,
    mailboxes: Arc<Mailboxes>,
}

/// What one loop is built with, in its own thread: a shard never leaves its thread.
struct Plan {
    number: usize,
    poll: Poll,
    listeners: Vec<Listener>,
    seed: [u8; 32],
}

impl Building {
    fn run(&self, plan: Plan) -> io::Result<()> {
        let (limits, offer) = (self.limits.clone(), self.offer.clone());
        let settings = Settings { limits, offer, seed: plan.seed, next_key: 1 };
        let mut clock = self.clock;
        let shard = if self.mailboxes.loops() == 1 {
            Shard::new(settings, clock.now())
        } else {
            let access = Rc::new(Access(Arc::clone(&self.shared)));
            Shard::among(settings, ShardId(plan.number as u16), access, clock.now())
        };
        let post = (plan.number, Arc::clone(&self.mailboxes));
        let connections_max = self.limits.connections_max;
        EventLoop::new(shard, clock, plan.poll, plan.listeners, connections_max, post)?.run()
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
fn serve(building: &Building, plans: Vec<Plan>, mut signals: Signals) -> Result<(), StartError> {
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
        pass_on_signals(&mut signals, &building.mailboxes, end)?;
        for thread in threads {
            match thread.join() {
                Ok(result) => result.map_err(system("wait for events"))?,
                Err(_) => {
                    let error = io::Error::other("a bug ended its thread; please report it");
                    return Err(StartError::System { what: "go on with the loop", error });
                }
            }
        }
        say("goodbye");
        Ok(())
    })
}

/// Passes the first signal on to the loops, and ends the process with the second, or when the loops
/// take too long.
fn pass_on_signals(
    signals: &mut Signals,
    mailboxes: &Mailboxes,
    ended: Receiver<()>,
) -> Result<(), StartError> {
    let mut ended = Some(ended);
    let mut asked = false;
    for signal in signals.forever() {
        if asked {
            say("stopped at once");
            std::process::exit(128 + signal);
        }
        asked = true;
        say("stopping: clients are told, which takes 2 seconds at most (again: at once)");
        mailboxes.stop_all();
        ended.take().map_or(Ok(()), end_in_time)?;
    }
    Ok(())
}

/// The loop may be busy, for instance with the wills of thousands: sees to it that the process ends
/// in time all the same, unless the other side of `ended` is dropped before. Nothing is lost by it
/// that the end of the process would not lose in any case.
fn end_in_time(ended: Receiver<()>) -> Result<(), StartError> {
    let watch = move || {
        if ended.recv_timeout(STOP_PATIENCE) == Err(RecvTimeoutError::Timeout) {
            say("goodbye; not every client could be told in time");
            std::process::exit(0);
        }
    };
    let started = thread::Builder::new().name("stop".to_owned()).spawn(watch);
    started.map(drop).map_err(system("start a thread"))
}

/// The lines on standard output by which people and programs know that it runs.
fn say_hello(listeners: &[Listener], shards: usize, started: Instant) {
    say(&format!("Noctule {}", env!("CARGO_PKG_VERSION")));
    for listener in listeners {
        say(&format!("  listening on {} (MQTT)", listener.address()));
    }
    let loops = if shards == 1 { "1 loop".to_owned() } else { format!("{shards} loops") };
    let elapsed = started.elapsed().as_millis();
    say(&format!("  ready in {elapsed} ms, with {loops}; Ctrl-C stops it"));
}

/// A line for people. That nobody may be there to read it is no reason to fail.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Logs to standard error: warnings and errors, with `verbose` what happens to connections too.
fn start_log(verbose: bool) -> io::Result<LogQueue> {
    let queue = LogQueue::start(io::stderr())?;
    let level = if verbose { LevelFilter::DEBUG } else { LevelFilter::INFO };
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(queue.clone())
        .with_ansi(io::stderr().is_terminal());
    // A second broker in one process, as in a test, keeps the first one's log.
    let _ = log.try_init();
    Ok(queue)
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
