//! What the kernel knows about a process: its processor time and its resident memory, from `/proc`.
//!
//! Reading and parsing are apart, so that the parsing is tested on texts.

use std::fs;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::LoadError;

/// Processor time of a process so far, user and system, in nanoseconds.
///
/// The sum over its living threads, to the nanosecond where the kernel keeps such figures
/// (`schedstat`), else in clock ticks of mostly 10 ms. Time of threads that have ended is missing
/// in the former: measure brokers whose threads stay.
///
/// # Errors
/// If there is no such process.
pub fn cpu_ns(pid: u32) -> Result<u64, LoadError> {
    match schedstat_ns(pid) {
        Ok(Some(ns)) if ns > 0 => Ok(ns),
        _ => stat_ns(pid),
    }
}

/// A thread of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Its number, which is unique on the machine.
    pub id: u32,
    /// What it calls itself.
    pub name: String,
}

/// The living threads of a process.
///
/// # Errors
/// If there is no such process.
pub fn threads(pid: u32) -> Result<Vec<Thread>, LoadError> {
    let path = format!("/proc/{pid}/task");
    let entries =
        fs::read_dir(&path).map_err(|error| LoadError::io(format!("cannot read {path}"), error))?;
    let thread = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let id = entry.file_name().to_str()?.parse().ok()?;
        // Whoever has ended meanwhile has no name any more.
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        Some(Thread { id, name: name.trim_end().into() })
    };
    Ok(entries.filter_map(thread).collect())
}

/// Processor time of one thread of a process so far, user and system, in nanoseconds.
///
/// # Errors
/// If there is no such thread, or the kernel does not count so finely.
pub fn thread_cpu_ns(pid: u32, thread: u32) -> Result<u64, LoadError> {
    let file = format!("task/{thread}/schedstat");
    parse_schedstat(&read(pid, &file)?)
        .ok_or_else(|| LoadError::new(format!("/proc/{pid}/{file} is not as expected")))
}

fn schedstat_ns(pid: u32) -> io::Result<Option<u64>> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = match fs::read_to_string(thread?.path().join("schedstat")) {
            Ok(text) => text,
            // The thread ended meanwhile, or the kernel keeps no such file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let Some(ns) = parse_schedstat(&text) else {
            return Ok(None);
        };
        sum += ns;
    }
    Ok(Some(sum))
}

fn stat_ns(pid: u32) -> Result<u64, LoadError> {
    let text = read(pid, "stat")?;
    let ticks = parse_stat_ticks(&text)
        .ok_or_else(|| LoadError::new(format!("/proc/{pid}/stat is not as expected: {text}")))?;
    Ok(ticks * NS_PER_SECOND / rustix::param::clock_ticks_per_second().max(1))
}

const NS_PER_SECOND: u64 = 1_000_000_000;

/// Resident memory of a process in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All pages in RAM, those shared with other processes included.
    pub resident: u64,
    /// The same with shared pages divided by their owners; `None` where the kernel does not say.
    pub proportional: Option<u64>,
}

/// Resident memory of a process over a time, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resident {
    /// When it began.
    pub begin: u64,
    /// At most, as far as was seen.
    pub peak: u64,
    /// When it ended.
    pub end: u64,
}

/// How much memory a process holds now.
///
/// # Errors
/// If there is no such process.
pub fn memory(pid: u32) -> Result<Memory, LoadError> {
    let resident = resident(pid)?;
    let proportional = read(pid, "smaps_rollup").ok().and_then(|text| parse_kib(&text, "Pss"));
    Ok(Memory { resident, proportional: proportional.map(|kib| kib * 1024) })
}

/// The resident memory alone, which costs the process nothing to be asked for.
///
/// # Errors
/// If there is no such process.
pub fn resident(pid: u32) -> Result<u64, LoadError> {
    let status = read(pid, "status")?;
    parse_kib(&status, "VmRSS")
        .map(|kib| kib * 1024)
        .ok_or_else(|| LoadError::new(format!("/proc/{pid}/status has no VmRSS")))
}

/// The most memory that was resident since the process began, in bytes.
///
/// # Errors
/// If there is no such process.
pub fn resident_peak(pid: u32) -> Result<u64, LoadError> {
    let status = read(pid, "status")?;
    parse_kib(&status, "VmHWM")
        .map(|kib| kib * 1024)
        .ok_or_else(|| LoadError::new(format!("/proc/{pid}/status has no VmHWM")))
}

/// How many bytes a process has caused to be written to disks.
///
/// # Errors
/// If there is no such process, it is somebody else's, or the kernel does not count.
pub fn bytes_written(pid: u32) -> Result<u64, LoadError> {
    let text = read(pid, "io")?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|number| number.trim().parse().ok())
        .ok_or_else(|| LoadError::new(format!("/proc/{pid}/io has no write_bytes")))
}

/// How many files and sockets a process has open.
///
/// # Errors
/// If there is no such process, or it is somebody else's.
pub fn open_files(pid: u32) -> Result<usize, LoadError> {
    let path = format!("/proc/{pid}/fd");
    let files =
        fs::read_dir(&path).map_err(|error| LoadError::io(format!("cannot read {path}"), error))?;
    Ok(files.count())
}

/// Raises the limit of open files as far as this process may, for itself and the brokers it
/// starts, and says what it is then.
///
/// # Errors
/// If `connections` do not fit.
pub fn raise_open_files(connections: u32) -> Result<u64, LoadError> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised)
        .map_err(|error| LoadError::io("cannot raise the limit of open files", error.into()))?;
    let files = limit.maximum.unwrap_or(u64::MAX);
    if files < u64::from(connections) + FILES_BESIDE {
        return Err(LoadError::new(format!(
            "{connections} connections need more than the {files} open files allowed here"
        )));
    }
    Ok(files)
}

/// What a broker keeps back for its own files, and some for us.
const FILES_BESIDE: u64 = 200;

fn read(pid: u32, file: &str) -> Result<String, LoadError> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).map_err(|error| LoadError::io(format!("cannot read {path}"), error))
}

/// The first of the three numbers in a `schedstat`: nanoseconds on a processor.
fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// User plus system time in a `stat`, in clock ticks. The name of the program stands in
/// parentheses and may contain anything, parentheses and spaces as well.
fn parse_stat_ticks(text: &str) -> Option<u64> {
    let (_, behind_name) = text.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(FIELDS_BEFORE_UTIME);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Between the name and utime, which is the 14th field of all.
const FIELDS_BEFORE_UTIME: usize = 11;

/// The value of the line `name:   1234 kB`.
fn parse_kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat_begins_with_the_time_on_a_processor() {
        assert_eq!(parse_schedstat("1234567 88 9\n"), Some(1_234_567));
        assert_eq!(parse_schedstat("\n"), None);
    }

    #[test]
    fn a_program_name_cannot_shift_the_fields_of_stat() {
        let text = "42 (a) b (c)) S 1 42 42 0 -1 4194560 300 0 0 0 17 25 0 0 20 0 1 0 99 1 1";
        assert_eq!(parse_stat_ticks(text), Some(42));
        assert_eq!(parse_stat_ticks("42 (a) S 1"), None);
    }

    #[test]
    fn a_line_is_found_by_its_whole_name() {
        let text = "VmRSSextra:\t1 kB\nVmRSS:\t    5120 kB\nPss_Dirty: 7 kB\nPss:  6 kB\n";
        assert_eq!(parse_kib(text, "VmRSS"), Some(5120));
        assert_eq!(parse_kib(text, "Pss"), Some(6));
        assert_eq!(parse_kib(text, "VmSwap"), None);
    }

    #[test]
    fn our_own_time_grows_with_work_and_memory_is_there() {
        let pid = std::process::id();
        let before = cpu_ns(pid).unwrap();
        let mut number = 1u64;
        while cpu_ns(pid).unwrap() == before {
            number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005));
        }
        let spent = threads(pid).unwrap().into_iter().map(|thread| thread_cpu_ns(pid, thread.id));
        assert!(spent.filter_map(Result::ok).any(|ns| ns > 0));
        assert!(memory(pid).unwrap().resident > 100_000);
        assert!(resident(pid).unwrap() > 100_000);
        assert!(resident_peak(pid).unwrap() > 100_000);
        assert!(bytes_written(pid).is_ok() && bytes_written(1 << 23).is_err());
        let held: Vec<_> = (0..50).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        assert!(open_files(pid).unwrap() > held.len());
    }

    #[test]
    fn a_process_that_is_not_is_an_error() {
        // Process ids end below 2²².
        assert!(threads(1 << 23).is_err() && thread_cpu_ns(1 << 23, 1 << 23).is_err());
        assert!(cpu_ns(1 << 23).is_err());
        assert!(memory(1 << 23).is_err());
        assert!(open_files(1 << 23).is_err());
    }

    #[test]
    fn more_connections_than_files_are_refused() {
        assert!(raise_open_files(1).is_ok());
        assert!(raise_open_files(u32::MAX).is_err());
    }
}
