//! Replays the fuzzer's corpus on stable: what it has found once is never found again.

#[path = "../../../fuzz/bodies/rules.rs"]
mod body;

use std::path::Path;

#[test]
fn every_file_of_the_corpus_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/rules");
    let mut count = 0;
    for entry in std::fs::read_dir(&corpus).expect("the corpus is in the repository") {
        let path = entry.expect("the directory can be read").path();
        let data = std::fs::read(&path).expect("the file can be read");
        let outcome = std::panic::catch_unwind(|| body::rules(&data));
        assert!(outcome.is_ok(), "{}", path.display());
        count += 1;
    }
    assert!(count >= 50, "only {count} files");
}
