//! Finds the recorded cases; without them the tests that need them say so and pass.

use std::path::PathBuf;

use serde_json::Value;

/// The cases of a file, or nothing where the folder is not there.
pub(crate) fn load(name: &str) -> Option<Vec<Value>> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases/stepfunctions").join(name);
    let Ok(text) = std::fs::read_to_string(&file) else {
        eprintln!("skipped: the recorded cases are not at {}", file.display());
        return None;
    };
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// A field that is a text, or JSON that stands for its text.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Fail unless exactly the listed cases miss; each of them is listed with its reason.
pub(crate) fn judge(what: &str, total: usize, failed: &[(String, String)], known: &[(&str, &str)]) {
    for (id, why) in failed {
        eprintln!("MISS {id}\n     {why}");
    }
    eprintln!("{what}: {} of {total} as AWS", total - failed.len());
    let surprises: Vec<_> =
        failed.iter().filter(|(id, _)| !known.iter().any(|(listed, _)| id.contains(listed))).collect();
    assert!(surprises.is_empty(), "{} cases miss that are not listed", surprises.len());
    let healed: Vec<_> = known.iter().filter(|(listed, _)| !failed.iter().any(|(id, _)| id.contains(listed))).collect();
    assert!(healed.is_empty(), "listed as misses, but as AWS: {healed:?}");
}
