//! The life of the process: what is started, in which order, and how it ends.

use crate::clock::Clock;
use crate::control::{self, Controller, Order};
use crate::event_loop::EventLoop;
use crate::limits;
use crate::log::LogQueue;
use crate::options::Config;
use mio::Poll;
use noctule_broker::{Settings, Shard};
use noctule_net::{Listener, bind_all};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
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
    let mut clock = Clock::start();
    let poll = Poll::new().map_err(system("wait for sockets"))?;
    let waker = EventLoop::waker(&poll).map_err(system("wake the loop"))?;
    let (controller, orders) = control::line(waker);
    let connections_max = limits.connections_max;
    let shard = Shard::new(Settings { limits, seed: random_seed()? }, clock.now());
    say_hello(&listeners, started);
    let event_loop = EventLoop::new(shard, clock, listeners, connections_max, poll, orders)
        .map_err(system("wait for connections"))?;
    let served = serve(event_loop, signals, &controller);
    log.drain(LOG_PATIENCE);
    served
}

/// Runs the loop in its thread and passes signals on, until it has ended.
fn serve(
    event_loop: EventLoop,
    mut signals: Signals,
    controller: &Controller,
) -> Result<(), StartError> {
    let no_more_signals: Handle = signals.handle();
    let shard = thread::Builder::new()
        .name("shard-0".to_owned())
        .spawn(move || {
            let result = event_loop.run();
            no_more_signals.close();
            result
        })
        .map_err(system("start a thread"))?;
    let (_ended, end) = channel();
    let mut end = Some(end);
    let mut asked = false;
    for signal in signals.forever() {
        if asked {
            say("stopped at once");
            std::process::exit(128 + signal);
        }
        asked = true;
        say("stopping: clients are told, which takes 2 seconds at most (again: at once)");
        controller.give(Order::Stop);
        end.take().map_or(Ok(()), end_in_time)?;
    }
    match shard.join() {
        Ok(result) => result.map_err(system("wait for events"))?,
        Err(_) => {
            let error = io::Error::other("a bug ended its thread; please report it");
            return Err(StartError::System { what: "go on with the loop", error });
        }
    }
    say("goodbye");
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
fn say_hello(listeners: &[Listener], started: Instant) {
    say(&format!("Noctule {}", env!("CARGO_PKG_VERSION")));
    for listener in listeners {
        say(&format!("  listening on {} (MQTT)", listener.address()));
    }
    say(&format!("  ready in {} ms; Ctrl-C stops it", started.elapsed().as_millis()));
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

fn random_seed() -> Result<[u8; 32], StartError> {
    let mut seed = [0; 32];
    let read = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| system("get random bytes")(error.into()))?;
    debug_assert_eq!(read, seed.len(), "so few bytes come at once");
    Ok(seed)
}
