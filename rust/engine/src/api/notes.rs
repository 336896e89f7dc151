//! Notes: texts that are kept beside a queue, a stream, a topic, a workflow or an activity, such as tags and policies. The engine does not act on them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::base::error::EngineError;

/// Most bytes of the notes of one thing, names and texts together.
const BYTES_MAX: usize = 128 << 10;

/// Texts by name.
pub type Notes = BTreeMap<String, String>;

/// Keep notes beside something, or remove them. Those that are not named stay.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Annotate {
    /// The name of the queue, stream, topic, workflow or activity.
    pub name: String,
    /// Texts by name; null removes one. All together have at most 128 KiB.
    pub notes: BTreeMap<String, Option<String>>,
}

impl Annotate {
    /// The notes with the changes.
    pub(crate) fn applied(self, before: &Notes) -> Result<Notes, EngineError> {
        let mut notes = before.clone();
        for (name, text) in self.notes {
            match text {
                Some(text) => drop(notes.insert(name, text)),
                None => drop(notes.remove(&name)),
            }
        }
        let bytes: usize = notes.iter().map(|(name, text)| name.len() + text.len()).sum();
        if bytes > BYTES_MAX {
            return Err(EngineError::TooLarge(format!(
                "the notes of {:?} have {bytes} bytes: allowed are {BYTES_MAX}",
                self.name
            )));
        }
        Ok(notes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_that_are_not_named_stay_and_null_removes_one() {
        let before = Notes::from([("a".into(), "1".into()), ("b".into(), "2".into())]);
        let change = |notes| Annotate { name: "q".into(), notes };
        let after = change([("b".into(), None), ("c".into(), Some("3".into()))].into()).applied(&before).unwrap();
        assert_eq!(after, Notes::from([("a".into(), "1".into()), ("c".into(), "3".into())]));
        let long = change([("d".into(), Some("x".repeat(BYTES_MAX)))].into());
        assert!(matches!(long.applied(&before), Err(EngineError::TooLarge(_))));
    }
}
