//! `noctule bench`: drives a broker hard, checks every message, and says what it measured.
//!
//! Flags become a job and an endpoint here, and findings become an exit code; what is driven, checked
//! and measured, and how it is told, is in `noctule-load`.

mod flags;
mod progress;

use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use clap::ArgMatches;
use noctule_client::{Address, ProtocolVersion, Transport};
use noctule_load::LoadError;
use noctule_load::bench::report::{Carried, Earlier, Report};
use noctule_load::bench::{self, Job, Run};
use noctule_load::endpoint::{Endpoint, Place, TlsClient, WebSocketClient};
use noctule_load::target::Target;
use noctule_load::{process, relay};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::client_arguments::{self, Access};
use crate::output;
pub(crate) use flags::describe;
use flags::{COMPARE, FLOOR, JSON, PID, PREFIX};
use progress::Progress;

/// Something was lost, doubled, out of order, changed, refused or not acknowledged.
const FAULTY: u8 = 3;
const USAGE: u8 = 2;
const INTERRUPTED: i32 = 130;

/// How long to wait between two looks for a broker that is not there yet.
const AGAIN: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(50);

/// Runs it; see [`describe`] for the exit codes.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    let Some(job) = flags::job(arguments) else {
        return floor_process();
    };
    let job = job.and_then(|job| job.complaint().map_or(Ok(job), Err));
    let read = job.and_then(|job| Ok((job, client_arguments::access(arguments)?)));
    let (job, access) = match read {
        Ok(read) => read,
        Err(problem) => {
            output::complain(problem);
            return ExitCode::from(USAGE);
        }
    };
    let stop = match interruptible() {
        Ok(stop) => stop,
        Err(problem) => {
            output::complain(problem);
            return ExitCode::FAILURE;
        }
    };
    let outcome = measure(arguments, &job, &access, &stop);
    if outcome.is_ok() && stop.load(Ordering::Relaxed) && !access.quiet {
        output::say_goodbye();
    }
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAULTY),
        Err(problem) => {
            output::complain(problem);
            ExitCode::FAILURE
        }
    }
}

/// The relay that the floor is measured with, in a process of its own as a broker is. An interrupt,
/// which a terminal sends to it as well, is for whoever started it to act upon.
fn floor_process() -> ExitCode {
    let ignored = flag::register(SIGINT, Arc::new(AtomicBool::new(false)));
    let served = ignored
        .map_err(|error| error.to_string())
        .and_then(|_| relay::serve(0).map_err(|error| error.to_string()));
    if let Err(problem) = served {
        output::complain(problem);
    }
    ExitCode::FAILURE
}

/// True if everything came once and in order.
fn measure(
    arguments: &ArgMatches,
    job: &Job,
    access: &Access,
    stop: &Arc<AtomicBool>,
) -> Result<bool, String> {
    let words = |error: LoadError| error.to_string();
    let earlier = arguments.get_one::<PathBuf>(COMPARE).map(read_earlier).transpose()?;
    process::raise_open_files(job.connections()).map_err(words)?;
    let prefix = arguments.get_one::<String>(PREFIX).map_or("noctule-bench", String::as_str);
    let Some(endpoint) = find(access, prefix, stop)? else {
        return Ok(true);
    };
    let pid = arguments.get_one(PID).copied();
    let mut progress = Progress::new(Arc::clone(stop), access.quiet);
    let run = match bench::run(job, &endpoint, pid, 0, &mut progress) {
        Err(_) if stop.load(Ordering::Relaxed) => return Ok(true),
        run => run.map_err(words)?,
    };
    let wants_floor = arguments.get_flag(FLOOR) && !stop.load(Ordering::Relaxed);
    let floor = wants_floor
        .then(|| measure_floor(job, &endpoint, stop, access.quiet))
        .transpose()
        .map_err(|error| format!("the floor: {error}"))?;
    let place = place(access);
    let (floor, earlier) = (floor.as_ref(), earlier.as_ref());
    let carried = Carried {
        over_tls: access.tls.is_some(),
        over_web_socket: matches!(access.address.transport, Transport::WebSocket { .. }),
        over_unix: matches!(access.address.transport, Transport::Unix(_)),
    };
    let report = Report { job, place: &place, run: &run, floor, carried, earlier };
    if arguments.get_flag(JSON) {
        output::answer(&format!("{:#}\n", report.json()));
    } else {
        output::answer(&report.text());
    }
    Ok(run.is_clean())
}

/// The same job against a relay that only copies bytes. It speaks no TLS and asks nobody's name.
fn measure_floor(
    job: &Job,
    endpoint: &Endpoint,
    stop: &Arc<AtomicBool>,
    quiet: bool,
) -> Result<Run, LoadError> {
    let program = std::env::current_exe()
        .map_err(|error| LoadError::io("cannot find this program", error))?;
    let relay = Target::relay(&program, &["bench", flags::RELAY]).start()?;
    let endpoint = Endpoint {
        version: endpoint.version,
        prefix: endpoint.prefix.clone(),
        ..Endpoint::from(relay.address)
    };
    if !quiet {
        output::complain("now the floor: the same against a relay that only copies bytes");
    }
    let mut progress = Progress::new(Arc::clone(stop), quiet);
    bench::run(job, &endpoint, relay.pid, 1, &mut progress)
}

/// Becomes true with the first interrupt; a second one ends the process.
fn interruptible() -> Result<Arc<AtomicBool>, String> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the flag is looked at before it is set.
        flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| format!("cannot listen to signals: {error}"))?;
    }
    Ok(stop)
}

/// The first address of the host that lets us in; `None` if we were interrupted before.
fn find(access: &Access, prefix: &str, stop: &AtomicBool) -> Result<Option<Endpoint>, String> {
    let mut said = false;
    loop {
        let problem = match meet(access, prefix, stop)? {
            Ok(found) => return Ok(found),
            Err(problem) if access.wait && problem.is_passing() => problem,
            Err(problem) => return Err(problem.to_string()),
        };
        if !std::mem::replace(&mut said, true) && !access.quiet {
            output::complain(format!("{problem}; will keep trying to connect"));
        }
        let mut waited = Duration::ZERO;
        while waited < AGAIN {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            std::thread::sleep(STEP);
            waited += STEP;
        }
    }
}

/// Tries each address of the host, or the Unix socket; the last problem if none lets us in, `None` if
/// interrupted.
fn meet(
    access: &Access,
    prefix: &str,
    stop: &AtomicBool,
) -> Result<Result<Option<Endpoint>, LoadError>, String> {
    let Address { host, port, .. } = &access.address;
    if let Transport::Unix(path) = &access.address.transport {
        return Ok(greet(endpoint(access, Place::Unix(path.clone()), prefix)?, stop));
    }
    let addresses = match (host.as_str(), *port).to_socket_addrs() {
        Ok(addresses) => addresses,
        Err(error) => {
            return Ok(Err(LoadError::io(format!("cannot find the host \"{host}\""), error)));
        }
    };
    let mut problem = LoadError::new(format!("the host \"{host}\" has no address"));
    for address in addresses {
        match greet(endpoint(access, address.into(), prefix)?, stop) {
            Err(error) => problem = error,
            found => return Ok(found),
        }
    }
    Ok(Err(problem))
}

/// Whether the broker lets us in; `None` if we were interrupted while it said nothing.
fn greet(endpoint: Endpoint, stop: &AtomicBool) -> Result<Option<Endpoint>, LoadError> {
    let (sender, answer) = channel();
    // It may wait for long, and nothing but its own deadline ends that.
    std::thread::spawn(move || {
        let greeted = bench::greet(&endpoint).map(|()| endpoint);
        // Nobody waits for the answer after an interrupt.
        let _ = sender.send(greeted);
    });
    loop {
        match answer.recv_timeout(STEP) {
            Ok(greeted) => return greeted.map(Some),
            Err(RecvTimeoutError::Timeout) if stop.load(Ordering::Relaxed) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(LoadError::new("greeting the broker came to no end"));
            }
        }
    }
}

fn endpoint(access: &Access, place: Place, prefix: &str) -> Result<Endpoint, String> {
    let with_tls = |tls: &noctule_client::TlsOptions| {
        let config = tls.client_config().map_err(|error| error.to_string())?;
        TlsClient::new(config, &access.address.host).map_err(|error| error.to_string())
    };
    let web_socket = match &access.address.transport {
        Transport::WebSocket { path } => {
            let (host, path) = (access.address.authority(), path.clone());
            Some(WebSocketClient { host, path })
        }
        Transport::Tcp | Transport::Unix(_) => None,
    };
    Ok(Endpoint {
        place,
        web_socket,
        version: access.version,
        user_name: access.address.user_name.clone(),
        password: access.address.password.clone().map(String::into_bytes),
        tls: access.tls.as_ref().map(with_tls).transpose()?,
        prefix: prefix.to_owned(),
    })
}

fn read_earlier(path: &PathBuf) -> Result<Earlier, String> {
    let path_name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {path_name}: {error}"))?;
    Earlier::parse(&text).map_err(|error| format!("{path_name}: {error}"))
}

fn place(access: &Access) -> String {
    let version = match access.version {
        ProtocolVersion::V31 => "3.1",
        ProtocolVersion::V311 => "3.1.1",
        ProtocolVersion::V5 => "5.0",
    };
    let tls = if access.tls.is_some() { " over TLS" } else { "" };
    format!("{} (MQTT {version}{tls})", access.address)
}
