//! Replays the corpus of a fuzz target on stable: what was found once is never found again. The tests of
//! the crates that are fuzzed have this file as a module.

use std::panic::catch_unwind;
use std::path::Path;

/// Fewer files than this are not the corpus.
const FILES_MIN: usize = 50;

/// Gives the body of this target every file of its corpus, and names the one over which it fails.
pub(crate) fn corpus(target: &str, body: fn(&[u8])) {
    // Each crate that does this lies two directories below the root.
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files = 0;
    for entry in std::fs::read_dir(&corpus).expect("the corpus is in the repository") {
        let path = entry.expect("the directory can be read").path();
        let data = std::fs::read(&path).expect("the file can be read");
        assert!(catch_unwind(|| body(&data)).is_ok(), "{}", path.display());
        files += 1;
    }
    assert!(files >= FILES_MIN, "only {files} files of {target}");
}
