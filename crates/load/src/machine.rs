//! The machine that everything runs on: its processors, and what one has to know of it to read a
//! figure.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::sync::OnceLock;

use crate::LoadError;

/// The processors this process may use: those it began with, wherever it runs now.
///
/// # Errors
/// If the kernel does not say.
pub fn processors() -> Result<Vec<usize>, LoadError> {
    static AT_FIRST: OnceLock<Vec<usize>> = OnceLock::new();
    if let Some(known) = AT_FIRST.get() {
        return Ok(known.clone());
    }
    let set = sched_getaffinity(None)
        .map_err(|error| LoadError::io("cannot see our processors", error.into()))?;
    let found = (0..CpuSet::MAX_CPU).filter(|processor| set.is_set(*processor)).collect();
    Ok(AT_FIRST.get_or_init(|| found).clone())
}

/// From now on this thread, and what it starts, runs on one processor.
///
/// # Errors
/// If it may not.
pub fn run_on(processor: usize) -> Result<(), LoadError> {
    run_on_all(&[processor])
}

/// From now on this thread, and what it starts, runs wherever it could at first.
///
/// # Errors
/// If it may not.
pub fn run_anywhere() -> Result<(), LoadError> {
    run_on_all(&processors()?)
}

fn run_on_all(processors: &[usize]) -> Result<(), LoadError> {
    let mut set = CpuSet::new();
    processors.iter().for_each(|processor| set.set(*processor));
    sched_setaffinity(None, &set)
        .map_err(|error| LoadError::io("cannot choose processors", error.into()))
}

/// From now on this thread, and what it starts, comes before others on its processor, if that is
/// allowed: whether it is.
pub fn come_first() -> bool {
    rustix::process::setpriority_process(None, FIRST).is_ok()
}

/// From now on this thread, and what it starts, is one of many again.
pub fn come_as_others() {
    // To step back is always allowed.
    let _ = rustix::process::setpriority_process(None, 0);
}

/// Of those from 19, who come last, to -20.
const FIRST: i32 = -10;

/// Processor, kernel and congestion control, in one line.
pub fn describe() -> String {
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .map_or("unknown".into(), |text: String| text.trim().to_owned())
    };
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    format!(
        "{model}, {} processors, Linux {}, congestion control {}",
        processors().map_or(0, |all| all.len()),
        read("/proc/sys/kernel/osrelease"),
        read("/proc/sys/net/ipv4/tcp_congestion_control"),
    )
}
