//! Where the workspace and its target directory are.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{self, Failure};

/// The directory of the workspace's Cargo.toml.
pub(crate) fn root() -> PathBuf {
    // The manifest directory is that of xtask itself, one below the root.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// A cargo command that runs at the root, by the very cargo that runs us.
///
/// What that cargo has said in the environment about our own package is taken out: build scripts
/// that look at it would run again, and with them half of the workspace would be built anew each
/// time that we and a person at a shell take turns.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_about_our_package) {
            command.env_remove(name);
        }
    }
    command
}

fn is_about_our_package(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_")
}

/// Cargo's target directory, wherever configuration or environment put it.
pub(crate) fn target() -> Result<PathBuf, Failure> {
    let text = shell::output(cargo().args(["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("cargo metadata is not JSON: {error}")))?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .ok_or_else(|| Failure::new("cargo metadata names no target_directory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cargo_that_we_start_does_not_hear_of_our_package() {
        assert!(std::env::var_os("CARGO_PKG_NAME").is_some(), "tests are run by cargo");
        let command = cargo();
        let removed: Vec<_> = command
            .get_envs()
            .filter(|(_, value)| value.is_none())
            .filter_map(|(name, _)| name.to_str())
            .collect();
        for name in ["CARGO_PKG_NAME", "CARGO_PKG_VERSION", "CARGO_MANIFEST_DIR"] {
            assert!(removed.contains(&name), "{name}: {removed:?}");
        }
        assert!(!is_about_our_package("CARGO_TARGET_DIR"));
    }
}
