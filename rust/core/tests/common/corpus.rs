//! The recorded cases, which stand beside the repository. Where they are absent, tests of them are not run, and say so.

use std::path::PathBuf;

use serde_json::Value as Json;

/// The cases of a corpus, named as `events/schedules.jsonl`.
pub(crate) fn cases(corpus: &str) -> Vec<Json> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases").join(corpus);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("NOT RUN: the recorded cases of {corpus} are not beside this repository");
        return Vec::new();
    };
    text.lines().map(|line| serde_json::from_str(line).expect("a case is JSON")).collect()
}
