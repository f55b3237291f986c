//! `noctule passwd`: makes and changes the file of user names and passwords.
//!
//! A password comes from a prompt that does not show it, from standard input or from a file, and
//! never from the command line, which other users of the machine can see. How it is kept is a
//! matter of `noctule-auth`.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use noctule_auth::scram::{ITERATIONS_DEFAULT, ITERATIONS_MAX, ITERATIONS_MIN};
use noctule_auth::{Change, Hashing, PASSWORD_BYTES_MAX, PasswordFile};

use crate::{file_argument, output};

/// The command and its subcommands.
pub(crate) fn describe() -> Command {
    Command::new("passwd")
        .about("Make a password file, and add, delete and verify its users")
        .long_about(LONG_ABOUT)
        .after_long_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("create")
                .about("Make an empty password file")
                .arg(file_argument::required(FILE_HELP))
                .arg(force()),
        )
        .subcommand(
            Command::new("add")
                .about("Add a user, or give one another password")
                .args([file_argument::required(FILE_HELP), user()])
                .args(sources())
                .args(kinds()),
        )
        .subcommand(
            Command::new("delete")
                .about("Delete a user")
                .args([file_argument::required(FILE_HELP), user()]),
        )
        .subcommand(
            Command::new("verify")
                .about("Say whether a password is the user's: exit code 0 if it is, else 1")
                .args([file_argument::required(FILE_HELP), user()])
                .args(sources()),
        )
}

/// Does what was asked for.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    let answer = match arguments.subcommand() {
        Some(("create", arguments)) => create(arguments),
        Some(("add", arguments)) => add(arguments),
        Some(("delete", arguments)) => delete(arguments),
        Some(("verify", arguments)) => verify(arguments),
        // clap accepts no other.
        _ => Err(String::new()),
    };
    match answer {
        Ok(text) => {
            output::answer(&text);
            ExitCode::SUCCESS
        }
        Err(line) => {
            output::complain(line);
            ExitCode::FAILURE
        }
    }
}

const LONG_ABOUT: &str = "\
Make a password file, and add, delete and verify its users

The file has one line per user, with the password hashed by Argon2id, or as SCRAM-SHA-256 needs it \
(--scram); only its owner may read it. \
Passwords are asked for at the terminal without being shown, unless --password-stdin or --password-from \
says where they come from; of those, one line break at the end is left out.";

const EXAMPLES: &str = "\
Examples:
  noctule passwd create passwords
  noctule passwd add passwords anna
  noctule passwd add passwords sensor-1 --password-from /run/secrets/sensor-1
  noctule passwd add passwords bo --scram
  noctule passwd verify passwords anna";

const FILE_HELP: &str = "The password file";
const USER: &str = "user";
const FORCE: &str = "force";
const STDIN: &str = "password-stdin";
const FROM: &str = "password-from";
const SCRAM: &str = "scram";
const ARGON2ID: &str = "argon2id";
const ITERATIONS: &str = "iterations";

fn user() -> Arg {
    Arg::new(USER).value_name("USER").required(true).help("The user's name")
}

fn force() -> Arg {
    Arg::new(FORCE).long(FORCE).action(ArgAction::SetTrue).help("Empty a file that exists")
}

fn sources() -> [Arg; 2] {
    [
        Arg::new(STDIN)
            .long(STDIN)
            .action(ArgAction::SetTrue)
            .help("Read the password from standard input"),
        Arg::new(FROM)
            .long(FROM)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .conflicts_with(STDIN)
            .help("Read the password from this file"),
    ]
}

fn kinds() -> [Arg; 3] {
    let least_and_most = i64::from(ITERATIONS_MIN.get())..=i64::from(ITERATIONS_MAX.get());
    [
        Arg::new(SCRAM)
            .long(SCRAM)
            .action(ArgAction::SetTrue)
            .help("Keep it so that MQTT 5 clients can prove it by SCRAM-SHA-256 [default: as before]"),
        Arg::new(ARGON2ID)
            .long(ARGON2ID)
            .action(ArgAction::SetTrue)
            .conflicts_with(SCRAM)
            .help("Hash it by Argon2id [default: as before, and for new users]"),
        Arg::new(ITERATIONS)
            .long(ITERATIONS)
            .value_name("NUMBER")
            .requires(SCRAM)
            .value_parser(value_parser!(u32).range(least_and_most))
            .help("How often --scram hashes, which the client has to do at each login [default: 15000]"),
    ]
}

/// How the flags want the password to be kept, if they do.
fn hashing(arguments: &ArgMatches) -> Option<Hashing> {
    if arguments.get_flag(SCRAM) {
        let given = arguments.get_one::<u32>(ITERATIONS).copied().and_then(NonZeroU32::new);
        return Some(Hashing::Scram(given.unwrap_or(ITERATIONS_DEFAULT)));
    }
    arguments.get_flag(ARGON2ID).then_some(Hashing::Argon2id)
}

fn create(arguments: &ArgMatches) -> Result<String, String> {
    let path = file_argument::path(arguments);
    PasswordFile::create(path, arguments.get_flag(FORCE)).map_err(|error| error.to_string())?;
    Ok(format!("made {}; `noctule passwd add` adds users\n", path.display()))
}

fn add(arguments: &ArgMatches) -> Result<String, String> {
    let (path, user) = (file_argument::path(arguments), name(arguments));
    // What is wrong with the file is said before somebody types a password twice.
    PasswordFile::read(path).map_err(|error| error.to_string())?;
    let password = match given(arguments)? {
        Some(password) => password,
        None => ask_twice(user)?,
    };
    let change = PasswordFile::set(path, user, &password, hashing(arguments))
        .map_err(|error| error.to_string())?;
    let did = if change == Change::Added { "added" } else { "changed the password of" };
    Ok(format!("{did} {}\n", user.escape_debug()))
}

fn delete(arguments: &ArgMatches) -> Result<String, String> {
    let user = name(arguments);
    PasswordFile::delete(file_argument::path(arguments), user)
        .map_err(|error| error.to_string())?;
    Ok(format!("deleted {}\n", user.escape_debug()))
}

fn verify(arguments: &ArgMatches) -> Result<String, String> {
    let user = name(arguments);
    let file =
        PasswordFile::read(file_argument::path(arguments)).map_err(|error| error.to_string())?;
    let password = match given(arguments)? {
        Some(password) => password,
        None => ask(&format!("Password of {}: ", user.escape_debug()))?,
    };
    if file.verify(user, &password) {
        Ok("right\n".to_owned())
    } else {
        Err("wrong: no such user, or another password".to_owned())
    }
}

fn name(arguments: &ArgMatches) -> &str {
    arguments.get_one::<String>(USER).map_or("", String::as_str)
}

/// The password that standard input or a file gives, if one of them was named.
fn given(arguments: &ArgMatches) -> Result<Option<Vec<u8>>, String> {
    if arguments.get_flag(STDIN) {
        return read_password(io::stdin().lock())
            .map(Some)
            .map_err(|error| format!("standard input: cannot be read: {error}"));
    }
    let Some(path) = arguments.get_one::<PathBuf>(FROM) else {
        return Ok(None);
    };
    File::open(path)
        .and_then(read_password)
        .map(Some)
        .map_err(|error| format!("{}: cannot be read ({error}): check the path", path.display()))
}

fn read_password(source: impl Read) -> io::Result<Vec<u8>> {
    let mut password = Vec::new();
    // One more than a password and its line break, so that too long ones are seen to be.
    source.take(PASSWORD_BYTES_MAX as u64 + 3).read_to_end(&mut password)?;
    if password.last() == Some(&b'\n') {
        password.pop();
        if password.last() == Some(&b'\r') {
            password.pop();
        }
    }
    Ok(password)
}

fn ask_twice(user: &str) -> Result<Vec<u8>, String> {
    let password = ask(&format!("New password of {}: ", user.escape_debug()))?;
    if ask("The same again: ")? != password {
        return Err("the two passwords differ; nothing was changed".to_owned());
    }
    Ok(password)
}

fn ask(prompt: &str) -> Result<Vec<u8>, String> {
    rpassword::prompt_password(prompt).map(String::into_bytes).map_err(|error| {
        format!(
            "there is no terminal to ask for the password ({error}): say --password-stdin or \
             --password-from FILE"
        )
    })
}
