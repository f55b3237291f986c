//! `noctule shell`: an interactive client with history and completion.

use std::io::{IsTerminal, stdin};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Command};
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Config, Editor};
use tokio::runtime::Builder;

use crate::client_arguments::{self, Connection, property_argument};
use crate::output;
use crate::shell::{Completion, Screen, Session, read, summary};

/// The command and its flags.
pub(crate) fn describe() -> Command {
    Command::new("shell")
        .about("Talk to a broker interactively")
        .disable_help_flag(true)
        .args_override_self(true)
        .args(client_arguments::arguments())
        .arg(property_argument("-D connect receive-maximum 10"))
        .after_help(format!(
            "Orders:\n{}\nMQTT 5 is spoken unless -V says otherwise. Tab completes, the history is \
             kept, Ctrl-C gives a line\nup, Ctrl-D leaves. Orders may also come from a pipe.\n\n\
             Examples:\n  noctule shell\n  noctule shell mqtts://me@broker.example --cafile ca.pem\n  \
             echo 'pub lamp on' | noctule shell\n\n\
             Exit codes: 0 left, 1 could not be done, 2 wrong usage.",
            summary()
        ))
}

/// Reads orders and carries them out until there are no more.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    match client_arguments::connection_v5(arguments) {
        Ok(connection) => open(connection),
        Err(problem) => {
            output::complain(problem);
            ExitCode::from(2)
        }
    }
}

/// Opens the shell on this connection.
pub(super) fn open(connection: Connection) -> ExitCode {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let config = Config::builder().auto_add_history(true).build();
    let editor = Editor::<Completion, DefaultHistory>::with_config(config);
    let (runtime, mut editor) = match (runtime, editor) {
        (Ok(runtime), Ok(editor)) => (runtime, editor),
        (Err(error), _) => return cannot(error),
        (_, Err(error)) => return cannot(error),
    };
    let completion = Completion::default();
    editor.set_helper(Some(completion.clone()));
    let beside = editor.create_external_printer().ok();
    let screen = Screen::new(beside.map(|printer| Box::new(printer) as Box<_>));
    let mut session = Session::new(runtime, screen.clone(), completion, connection);
    let history = history();
    if let Some(file) = &history {
        // There is none the first time.
        let _ = editor.load_history(file);
    }
    session.heed_signals(stdin().is_terminal());
    session.connect();
    converse(&mut editor, &mut session, &screen);
    session.disconnect();
    if let Some(file) = &history {
        keep(&mut editor, file);
    }
    ExitCode::SUCCESS
}

fn cannot(error: impl std::fmt::Display) -> ExitCode {
    output::complain(format!("cannot start: {error}"));
    ExitCode::FAILURE
}

fn converse(
    editor: &mut Editor<Completion, DefaultHistory>,
    session: &mut Session,
    screen: &Screen,
) {
    loop {
        let line = match editor.readline("noctule> ") {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return,
            Err(error) => return output::complain(error),
        };
        match read(&line) {
            Ok(None) => {}
            Ok(Some(order)) => {
                if !session.carry_out(order) {
                    return;
                }
            }
            Err(problem) => screen.say(&problem),
        }
    }
}

/// Where the history is kept: below the user's state directory.
fn history() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let below_home =
        || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    Some(state.or_else(below_home)?.join("noctule").join("shell_history"))
}

fn keep(editor: &mut Editor<Completion, DefaultHistory>, file: &std::path::Path) {
    if let Some(directory) = file.parent() {
        // Without a directory saving fails, which is told.
        let _ = std::fs::create_dir_all(directory);
    }
    if let Err(error) = editor.save_history(file) {
        output::complain(format!("cannot keep the history in {}: {error}", file.display()));
    }
}
