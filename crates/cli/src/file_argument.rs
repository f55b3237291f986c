//! The argument FILE of commands that are about one file.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, value_parser};

const FILE: &str = "file";

/// It, which has to be given.
pub(crate) fn required(help: &'static str) -> Arg {
    Arg::new(FILE).value_name("FILE").required(true).value_parser(value_parser!(PathBuf)).help(help)
}

/// The path that was given.
pub(crate) fn path(arguments: &ArgMatches) -> &Path {
    // clap requires it.
    arguments.get_one::<PathBuf>(FILE).map_or(Path::new(""), PathBuf::as_path)
}
