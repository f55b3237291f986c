//! `noctule mosquitto`: the broker under the command line and with the configuration file of Mosquitto.
//!
//! What the file means here is the server's matter; see `noctule convert` for what comes of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use noctule_server::options::{Dialect, Loaded, OPTIONS, Sources};

use crate::output;

/// The command and its flags, which are those of Mosquitto.
pub(crate) fn describe() -> Command {
    Command::new("mosquitto")
        .about("Run the broker with a mosquitto.conf, as scripts for Mosquitto start it")
        .long_about(LONG_ABOUT)
        .args([
            Arg::new(FILE)
                .short('c')
                .long("config-file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Read this mosquitto.conf"),
            Arg::new(PORT)
                .short('p')
                .long("port")
                .value_name("PORT")
                .value_parser(value_parser!(u16).range(1..))
                .help("Listen on this port, if the file has no listener of its own"),
            Arg::new(VERBOSE)
                .short('v')
                .long("verbose")
                .action(ArgAction::SetTrue)
                .help("Log each connection, refusal and disconnection"),
            Arg::new(DAEMON)
                .short('d')
                .long("daemon")
                .action(ArgAction::SetTrue)
                .help("Refused: let the service manager run it in the background"),
        ])
        .after_long_help(EXAMPLES)
}

/// Runs the broker.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    if arguments.get_flag(DAEMON) {
        output::complain(
            "-d is not offered: start it with a service manager, or with `&` in a shell",
        );
        return ExitCode::FAILURE;
    }
    let file = arguments.get_one::<PathBuf>(FILE).cloned();
    let port = arguments.get_one::<u16>(PORT).copied();
    let verbose = OPTIONS.iter().filter(|spec| spec.key() == "verbose");
    let verbose = verbose.filter(|_| arguments.get_flag(VERBOSE));
    let sources = Sources {
        file,
        dialect: Dialect::Mosquitto { port },
        environment: Vec::new(),
        flags: verbose.map(|spec| (spec, "true".to_owned())).collect(),
    };
    let (config, pid_file) = match sources.load() {
        Ok(Loaded { config, notes, pid_file, .. }) => {
            notes.iter().for_each(output::complain);
            (config, pid_file)
        }
        Err(problems) => {
            problems.0.iter().for_each(output::complain);
            return ExitCode::FAILURE;
        }
    };
    let Ok(_pid_file) = PidFile::write(pid_file.as_deref()) else {
        return ExitCode::FAILURE;
    };
    match noctule_server::run(config, sources) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(error);
            ExitCode::FAILURE
        }
    }
}

const FILE: &str = "file";
const PORT: &str = "port";
const VERBOSE: &str = "verbose";
const DAEMON: &str = "daemon";

const LONG_ABOUT: &str = "\
Run the broker with a mosquitto.conf, as scripts for Mosquitto start it

Mosquitto's defaults hold: without a file, or if it names no listener, the broker listens on this \
machine alone and lets everybody in; otherwise it listens on all addresses and lets nobody in \
without a password unless allow_anonymous is true. Nothing is stored unless persistence is true; \
then every acknowledgement waits for the disk. Nobody is greeted and no messages are logged. An \
option that has no counterpart is named, and the broker starts only if it does no harm to go \
without it. Started by root, it goes on as `user`, or as the user mosquitto if there is one. SIGHUP \
reads the file again.";

const EXAMPLES: &str = "\
Examples:
  noctule mosquitto
  noctule mosquitto -p 1884 -v
  noctule mosquitto -c /etc/mosquitto/mosquitto.conf";

/// A file with the number of this process, which goes with it.
struct PidFile<'a>(Option<&'a Path>);

impl<'a> PidFile<'a> {
    /// Writes it, or complains.
    fn write(path: Option<&'a Path>) -> Result<Self, ()> {
        if let Some(path) = path
            && let Err(error) = fs::write(path, format!("{}\n", std::process::id()))
        {
            output::complain(format!("{}: cannot be written: {error}", path.display()));
            return Err(());
        }
        Ok(Self(path))
    }
}

impl Drop for PidFile<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            // Whoever has taken it away has done what was to be done.
            let _ = fs::remove_file(path);
        }
    }
}
