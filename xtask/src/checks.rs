//! `cargo xtask test`: the steps that decide whether a state of the repository is good.
//!
//! The house rules (crate arrows, tidiness) are tests of xtask and so part of the last step. The
//! last line of the output is the number of tests, alone, for programs that read it.

use std::io::{BufReader, stdout};
use std::process::{ExitCode, Stdio};

use crate::clauses;
use crate::foreign;
use crate::shell::{self, Failure};
use crate::steps::Steps;
use crate::tally::Tally;
use crate::workspace;

/// Runs every check and names the steps that failed, before the line with the count.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Failure> {
    if let Some(word) = arguments.first() {
        return Err(Failure(format!("takes no arguments, got '{word}'")));
    }
    let mut steps = Steps::default();
    let mut tally = Tally::default();
    // Without foreign clients half the tests fail for one reason; that reason alone is clearer.
    if steps.step("prepare", "foreign MQTT clients", foreign::prepare) {
        steps.step("clauses", "cargo xtask clauses", clauses::check);
        steps.step("fmt", "cargo fmt --all --check", format);
        steps.step("clippy", "cargo clippy, workspace, all targets, -D warnings", clippy);
        steps.step("tests", "cargo test --workspace", || {
            tests(&mut tally, &["--workspace", "--no-fail-fast"], None)
        });
        steps.step("way", "instructions on the way of a PUBLISH, against benches/way.tsv", way);
        for (name, loops) in [("2 loops", "2"), ("8 loops", "8")] {
            let what = format!("the end-to-end tests again, brokers with {loops} loops");
            steps.step(name, &what, || {
                let e2e = ["--package", "noctule", "--test", "e2e", "--no-fail-fast"];
                tests(&mut tally, &e2e, Some(loops))
            });
        }
    }
    print!("{}", steps.summary());
    let code = match steps.verdict() {
        Ok(()) => {
            println!("==> cargo xtask test: everything passed");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("==> cargo xtask test: {failure}");
            ExitCode::FAILURE
        }
    };
    println!("{tally}");
    Ok(code)
}

fn format() -> Result<(), Failure> {
    shell::run(workspace::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<(), Failure> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    shell::run(workspace::cargo().args(arguments))
}

/// A count that has risen by more than noise fails until it is explained where the counts are.
fn way() -> Result<(), Failure> {
    let arguments = ["run", "--release", "--quiet", "--package", "noctule-benches", "--bin", "way"];
    shell::run(workspace::cargo().args(arguments).args(["--", "--check"]))
}

/// How many end-to-end tests run at once where there is nothing but them: they mostly wait, for other
/// programs and for clocks, so a small machine takes more of them than it has processors.
const WAITING_TESTS: &str = "4";

/// So many lives of a store are lived, unless the environment says otherwise: half a minute more than by
/// `cargo test` alone, which is for every day.
const STORE_SEEDS: (&str, &str) = ("NOCTULE_STORE_SEEDS", "10000");

/// Runs `cargo test` and adds what it counts to `total`. With `loops`, the brokers that the
/// end-to-end tests start have so many.
fn tests(total: &mut Tally, arguments: &[&str], loops: Option<&str>) -> Result<(), Failure> {
    let mut command = workspace::cargo();
    command.arg("test").args(arguments);
    if let Some(loops) = loops {
        command.env("NOCTULE_TEST_SHARDS", loops).env("RUST_TEST_THREADS", WAITING_TESTS);
    } else if std::env::var_os(STORE_SEEDS.0).is_none() {
        command.env(STORE_SEEDS.0, STORE_SEEDS.1);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Failure(format!("cannot start cargo: {error}")))?;
    let mut tally = Tally::default();
    if let Some(output) = child.stdout.take() {
        tally = Tally::pass_through(BufReader::new(output), stdout().lock())
            .map_err(|error| Failure(format!("cannot read the output of the tests: {error}")))?;
    }
    total.passed += tally.passed;
    total.failed += tally.failed;
    let status = child.wait().map_err(|error| Failure(format!("cargo test: {error}")))?;
    // A run that counts nothing has tested nothing, whatever its exit code says.
    if status.success() && tally.passed > 0 {
        Ok(())
    } else {
        Err(Failure(format!("{tally} ({status})")))
    }
}
