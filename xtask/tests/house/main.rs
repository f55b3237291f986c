//! The house rules as tests: which crate may know which, what the core may not touch, and what a
//! tidy file looks like.
//!
//! Each rule is a small table or a function from text to complaints, and each has a test that
//! shows it finding an offence; a rule that cannot fail is decoration.

mod arrows;
mod security;
mod tidy;
mod walls;

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").into()
}

/// What a program that must succeed writes to standard output.
fn output_of(command: &mut Command) -> String {
    let output = command.current_dir(root()).output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    String::from_utf8(output.stdout).expect("UTF-8 output")
}
