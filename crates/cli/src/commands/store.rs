//! `noctule store`: what is in the store of a broker that is not running.
//!
//! Everything but `compact` only reads, and holds the store's lock meanwhile, so that no broker can
//! start on it. What is in the files is known to `noctule-store`; here it is put into words. What a
//! client chose is escaped before it reaches a terminal.

mod dump;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use noctule_store::{
    Inspection, Message, Options, RecoveredSession, Sequence, StoreError, VERSION, compact,
};
use time::OffsetDateTime;

use crate::output;

/// The command and its subcommands.
pub(crate) fn describe() -> Command {
    let reading =
        |name: &'static str, about: &'static str| Command::new(name).about(about).arg(directory());
    Command::new("store")
        .about("Look into the store of a broker that is stopped")
        .long_about(LONG_ABOUT)
        .after_long_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(reading("info", "Say how much there is, and in which files"))
        .subcommand(reading("verify", "Read and check everything: exit code 0 if it is whole"))
        .subcommand(reading("sessions", "List the sessions and what they are owed"))
        .subcommand(
            reading("queue", "List the messages that a client's session is owed")
                .mut_arg(DIRECTORY, |directory| directory.index(2))
                .arg(
                    Arg::new(CLIENT)
                        .value_name("CLIENT")
                        .required(true)
                        .index(1)
                        .help("Its client identifier"),
                ),
        )
        .subcommand(reading("retained", "List the retained messages"))
        .subcommand(
            reading("dump", "Print everything, one line of JSON for each thing").arg(
                Arg::new(JSON)
                    .long(JSON)
                    .required(true)
                    .action(ArgAction::SetTrue)
                    .help("As JSON, the one form there is"),
            ),
        )
        .subcommand(reading("compact", "Move what counts together and remove old files"))
}

/// Does what was asked for.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    let Some((name, arguments)) = arguments.subcommand() else {
        // clap accepts no other.
        return ExitCode::FAILURE;
    };
    let path = arguments.get_one::<PathBuf>(DIRECTORY);
    let path = path.map_or(Path::new(DEFAULT), PathBuf::as_path);
    if path.is_dir() && !holds_store(path) {
        // It would read as a store with nothing in it, and whole.
        let inside = path.join("store");
        let hint = if holds_store(&inside) {
            format!("did you mean {}?", inside.display())
        } else {
            "name the directory 'store' inside of a broker's data directory".to_owned()
        };
        output::complain(format_args!("{}: there is no store here: {hint}", path.display()));
        return ExitCode::FAILURE;
    }
    let done = match name {
        "info" => Inspection::open(path).and_then(|store| info(&store)),
        "verify" => Inspection::open(path).and_then(|store| verify(&store)),
        "sessions" => Inspection::open(path).and_then(|store| sessions(&store)),
        "queue" => {
            let client = arguments.get_one::<String>(CLIENT).map_or("", String::as_str);
            return match Inspection::open(path).and_then(|store| queue(&store, client)) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => {
                    output::complain(format_args!(
                        "no session has the client identifier '{}': `noctule store sessions` lists \
                         all",
                        client.escape_debug()
                    ));
                    ExitCode::FAILURE
                }
                Err(error) => fail(&error),
            };
        }
        "retained" => Inspection::open(path).and_then(|store| retained(&store)),
        "dump" => Inspection::open(path).and_then(|store| dump::everything(&store)),
        _ => compact(path, Options::default()).map(|(before, after)| {
            output::answer(&format!("{} before, {} now\n", size(before), size(after)));
        }),
    };
    done.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

fn fail(error: &StoreError) -> ExitCode {
    output::complain(error);
    ExitCode::FAILURE
}

const LONG_ABOUT: &str = "\
Look into the store of a broker that is stopped

The directory is that of a broker that does not run, or a copy of one that did not. All but `compact` \
change nothing. Client identifiers and topics are escaped where a terminal would not show them.";

const EXAMPLES: &str = "\
Examples:
  noctule store info
  noctule store queue sensor-1 /var/lib/noctule/store
  noctule store dump --json backup/store | jq 'select(.kind == \"retained\")'";

const DIRECTORY: &str = "directory";
const CLIENT: &str = "client";
const JSON: &str = "json";
const DEFAULT: &str = "noctule-data/store";
/// Bytes of messages read at once.
const AT_ONCE: usize = 1 << 20;

fn directory() -> Arg {
    Arg::new(DIRECTORY)
        .value_name("DIRECTORY")
        .value_parser(value_parser!(PathBuf))
        .help(format!("The directory of the store [default: {DEFAULT}]"))
}

/// Whether a directory holds files of a store.
fn holds_store(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| {
                let name = entry.file_name();
                name == "lock" || name.to_string_lossy().starts_with("segment-")
            })
        })
    })
}

fn info(store: &Inspection) -> Result<(), StoreError> {
    let found = store.recovered()?;
    let segments = store.segments();
    let total = |count: fn(&noctule_store::SegmentFigures) -> u64| segments.iter().map(count).sum();
    let (bytes, records, live): (u64, u64, u64) =
        (total(|one| one.bytes), total(|one| one.records), total(|one| one.live));
    let queued: usize = found.sessions.iter().map(|session| session.queued).sum();
    let queued_bytes = found.sessions.iter().map(|session| session.queued_bytes).sum();
    let spares = store.spare_files();
    let mut out = format!(
        "directory  {}\nformat     {VERSION}\nsessions   {}\nqueued     {queued} messages, about {}\n\
         retained   {} messages\nlast used  {}\nrecords    {records}, of which {live} count\n\
         segments   {}, {}; spare files: {spares}\n",
        store.directory(),
        found.sessions.len(),
        size(queued_bytes),
        found.retained.len(),
        moment(found.wall_ms),
        segments.len(),
        size(bytes),
    );
    for one in segments {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "  {}  {} of {} used, {} records, {} count",
            one.file,
            size(one.used),
            size(one.bytes),
            one.records,
            one.live
        );
    }
    output::answer(&out);
    Ok(())
}

fn verify(store: &Inspection) -> Result<(), StoreError> {
    let messages = store.verify()?;
    let found = store.recovered()?;
    output::answer(&format!(
        "whole: {} sessions, {messages} queued messages, {} retained messages\n",
        found.sessions.len(),
        found.retained.len()
    ));
    Ok(())
}

fn sessions(store: &Inspection) -> Result<(), StoreError> {
    for session in store.recovered()?.sessions {
        let away = session
            .away_since_ms
            .map_or("connected".to_owned(), |since| format!("away since {}", moment(since)));
        output::answer(&format!(
            "{}  {away}, {}, {} subscriptions, {} queued (about {}), {} in flight{}\n",
            session.client_id.escape_debug(),
            expiry(&session),
            session.subscriptions.len(),
            session.queued,
            size(session.queued_bytes),
            session.in_flight.len(),
            if session.will.is_some() { ", a will" } else { "" },
        ));
    }
    Ok(())
}

fn expiry(session: &RecoveredSession) -> String {
    session
        .expiry
        .map_or("never expires".to_owned(), |seconds| format!("expires after {seconds} s"))
}

/// False if there is no such session.
fn queue(store: &Inspection, client: &str) -> Result<bool, StoreError> {
    let found = store.recovered()?;
    let Some(session) = found.sessions.iter().find(|session| *session.client_id == *client) else {
        return Ok(false);
    };
    let mut after = Sequence(0);
    loop {
        let messages = store.queue(session.key, after, AT_ONCE)?;
        let Some(last) = messages.last() else {
            return Ok(true);
        };
        after = last.sequence;
        for owed in &messages {
            let sequence = owed.sequence.0;
            output::answer(&format!("{sequence}  {}  {}\n", owed.qos, line(&owed.message)));
        }
    }
}

fn retained(store: &Inspection) -> Result<(), StoreError> {
    let mut found = store.recovered()?.retained;
    found.sort_by(|(_, one), (_, other)| one.topic().cmp(other.topic()));
    for (_, message) in &found {
        output::answer(&format!("{}\n", line(message)));
    }
    Ok(())
}

/// Topic and payload of a message, short enough for a line.
fn line(message: &Message) -> String {
    const SHOWN: usize = 60;
    let payload = message.payload();
    let text = std::str::from_utf8(payload).ok().map(|text| {
        let shown: String = text.chars().take(SHOWN).collect();
        let more = if shown.len() < text.len() { "…" } else { "" };
        format!("\"{}{more}\"", shown.escape_debug())
    });
    let text = text.unwrap_or_else(|| format!("{} bytes, not text", payload.len()));
    format!("{}  {text}", message.topic().escape_debug())
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} bytes"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// A moment of wall time, in UTC.
fn moment(wall_ms: u64) -> String {
    let seconds = i64::try_from(wall_ms / 1_000).unwrap_or(i64::MAX);
    match OffsetDateTime::from_unix_timestamp(seconds) {
        Ok(at) if wall_ms > 0 => {
            let (hour, minute, second) = at.to_hms();
            let (date, time) = (at.date(), format!("{hour:02}:{minute:02}:{second:02}"));
            format!("{:04}-{:02}-{:02}T{time}Z", date.year(), u8::from(date.month()), date.day())
        }
        _ => "never".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_sizes_are_for_people() {
        assert_eq!(moment(1_764_151_200_123), "2025-11-26T10:00:00Z");
        assert_eq!(moment(0), "never");
        assert_eq!(size(10_239), "10239 bytes");
        assert_eq!(size(10_240), "10 KiB");
        assert_eq!(size(64 << 20), "64 MiB");
    }

    #[test]
    fn the_client_comes_before_the_directory_and_dumping_says_how() {
        let read = |words: &[&str]| describe().try_get_matches_from([&["store"], words].concat());
        let matches = read(&["queue", "a client", "somewhere"]).unwrap();
        let (_, queue) = matches.subcommand().unwrap();
        assert_eq!(queue.get_one::<String>(CLIENT).unwrap(), "a client");
        assert_eq!(queue.get_one::<PathBuf>(DIRECTORY).unwrap(), Path::new("somewhere"));
        assert_eq!(read(&["dump"]).unwrap_err().exit_code(), 2);
        assert_eq!(read(&["queue"]).unwrap_err().exit_code(), 2);
    }
}
