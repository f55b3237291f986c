//! `cargo xtask bench`: what Noctule costs, beside a program that only copies bytes and Debian's
//! Mosquitto, measured in turn in one run.
//!
//! The measuring is done by `noctule-load suite`, which knows brokers and prints JSON; here it is
//! kept, compared with the goals of [`goals`], and with `--write` put into `docs/performance.md`
//! ([`page`]) with its pictures ([`plot`]). The invariant: no figure gets into the page by hand.

mod findings;
mod goals;
mod page;
mod plot;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::foreign;
use crate::shell::{self, Failure};
use crate::workspace;
use findings::Findings;

/// The command.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Failure> {
    let options = Options::parse(arguments)?;
    let findings = match &options.from {
        Some(path) => Findings::read(path)?,
        None => measure(&options)?,
    };
    println!("{}", findings.machine);
    print!("{}", page::text_table(&findings));
    if options.write {
        page::write(&findings, &workspace::root().join("docs"))?;
    }
    // What Noctule lost or failed at is in the tables, and is told to whoever started this as well.
    Ok(if findings.is_ours_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Default)]
struct Options {
    /// What goes on to `noctule-load suite`.
    passed_on: Vec<String>,
    /// Findings of another run, instead of a new one.
    from: Option<PathBuf>,
    write: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let mut options = Self::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => options.passed_on.push(word.clone()),
                "--write" => options.write = true,
                "--rows" | "--rounds" | "--seconds" | "--from" => {
                    let value = words.next();
                    let value = value.ok_or_else(|| Failure(format!("{word} needs a value")))?;
                    if word == "--from" {
                        options.from = Some(value.into());
                    } else {
                        options.passed_on.extend([word.clone(), value.clone()]);
                    }
                }
                other => return Err(Failure(format!("there is no option '{other}'; see --help"))),
            }
        }
        Ok(options)
    }
}

/// For `--help`.
pub(crate) const HELP: &str = "\
cargo xtask bench: Noctule beside a program that only copies bytes and Debian's Mosquitto

Builds the release, installs Mosquitto if it is missing, measures, keeps the JSON below
target/bench, and prints the figures beside their goals.

  --rows LIST    rows by the beginnings of their names, with commas between; all of them by default
                 (their names: target/release/noctule-load suite --list)
  --rounds N     how often everything is measured, three times by default
  --seconds S    how long a row sends, per broker and round; two by default
  --quick        one round, 0.3 s, a tenth of what is kept: does every row work? No figures to quote
  --write        writes tables and pictures into docs/performance.md; for a run of all rows
  --from FILE    the JSON of an earlier run instead of a new one

A foreign program that fails or loses messages has that in place of its figure, and ends nothing.
Exit code 1: Noctule lost something, doubled it or failed, or the run could not be made.";

/// Builds, measures, and keeps the findings below the target directory.
fn measure(options: &Options) -> Result<Findings, Failure> {
    foreign::prepare_debian()?;
    let packages = ["--package", "noctule", "--package", "noctule-load"];
    shell::run(workspace::cargo().args(["build", "--release"]).args(packages))?;
    let target = workspace::target()?;
    let programs = target.join("release");
    let mut command = Command::new(programs.join("noctule-load"));
    command.arg("suite").arg("--noctule").arg(programs.join("noctule")).args(&options.passed_on);
    let text = progress_and_output(&mut command)?;
    let findings = Findings::parse(&text)?;
    let kept = target.join("bench");
    keep(&kept, &text)?;
    Ok(findings)
}

/// Runs the suite, whose standard error is shown, and returns what it wrote to standard output. It ends
/// with 1 when Noctule did not do its part, and has told what it found all the same.
fn progress_and_output(command: &mut Command) -> Result<String, Failure> {
    let words = shell::words(command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure(format!("cannot start `{words}`: {error}")))?;
    let has_told = output.status.code() == Some(1) && !output.stdout.is_empty();
    if !output.status.success() && !has_told {
        return Err(Failure(format!("`{words}`: {}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Once under the time it is, and once as the latest.
fn keep(directory: &Path, text: &str) -> Result<(), Failure> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seconds = now.map_or(0, |since| since.as_secs());
    let write = |name: &str| std::fs::write(directory.join(name), text);
    std::fs::create_dir_all(directory)
        .and_then(|()| write(&format!("{seconds}.json")))
        .and_then(|()| write("latest.json"))
        .map_err(|error| Failure(format!("cannot write into {}: {error}", directory.display())))?;
    println!("kept as {}", directory.join("latest.json").display());
    Ok(())
}
