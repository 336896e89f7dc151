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
                Some(text) if is_text(&name) && is_text(&text) => drop(notes.insert(name, text)),
                // Whoever asks in XML could never be answered.
                Some(_) => {
                    return Err(EngineError::Invalid(format!(
                        "Tags and attributes of {:?} cannot have control characters.",
                        self.name
                    )))
                }
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

/// Whether all characters are such as XML can have.
/// <https://www.w3.org/TR/xml/#charsets>
pub fn is_text(text: &str) -> bool {
    // Byte by byte, which is all there is to ASCII; only other text is looked at by its characters.
    let has_control = text.bytes().any(|byte| byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r'));
    !has_control && (text.is_ascii() || !text.contains(['\u{FFFE}', '\u{FFFF}']))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tag with U+0001 made every answer that has it a page of XML that no client can read.
    #[test]
    fn no_note_has_a_character_that_xml_cannot_have() {
        let change = |name: &str, text: &str| {
            let notes = [(name.to_owned(), Some(text.to_owned()))].into();
            Annotate { name: "q".into(), notes }.applied(&Notes::new())
        };
        assert!(change("tag:a", "b\t\u{e9}\r\n").is_ok());
        for (name, text) in [("tag:a", "b\u{1}"), ("tag:\u{b}", "b"), ("tag:a", "\u{FFFE}")] {
            assert!(matches!(change(name, text), Err(EngineError::Invalid(_))), "{name:?} {text:?}");
        }
    }

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
