//! Patterns by which events of logs are found: words and phrases.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html>

use crate::aws::fault::Fault;
use crate::aws::services::logs::invalid;

/// A pattern: all of its terms, none of those with `-`, and one of those with `?`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    all: Vec<String>,
    any: Vec<String>,
    none: Vec<String>,
}

impl Filter {
    /// Read a pattern; an empty one takes everything.
    pub(super) fn read(pattern: &str) -> Result<Self, Fault> {
        let mut filter = Self::default();
        let mut rest = pattern.trim();
        if rest.starts_with(['{', '[', '%']) {
            return Err(invalid("filterPattern: forebay finds events by words and phrases; patterns of JSON, of columns and of regular expressions are not known"));
        }
        while let Some(first) = rest.chars().next() {
            let (sign, body) = match first {
                '?' | '-' => (first, &rest[1..]),
                _ => (' ', rest),
            };
            let (term, after) = match body.strip_prefix('"') {
                Some(quoted) => {
                    quoted.split_once('"').ok_or_else(|| invalid("Invalid filter pattern: a quote does not end."))?
                }
                None => body.split_at(body.find(char::is_whitespace).unwrap_or(body.len())),
            };
            if term.is_empty() {
                return Err(invalid("Invalid filter pattern: a term is empty."));
            }
            let terms = match sign {
                '?' => &mut filter.any,
                '-' => &mut filter.none,
                _ => &mut filter.all,
            };
            terms.push(term.to_owned());
            rest = after.trim_start();
        }
        Ok(filter)
    }

    /// How many terms it has.
    pub(super) fn terms(&self) -> usize {
        self.all.len() + self.any.len() + self.none.len()
    }

    pub(super) fn matches(&self, message: &str) -> bool {
        self.all.iter().all(|term| message.contains(term.as_str()))
            && !self.none.iter().any(|term| message.contains(term.as_str()))
            && (self.any.is_empty() || self.any.iter().any(|term| message.contains(term.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_phrases_find_events() {
        let takes = |pattern: &str, message: &str| Filter::read(pattern).unwrap().matches(message);
        assert!(takes("", "anything"));
        assert!(takes("ERROR", "an ERROR") && !takes("ERROR", "an error"));
        assert!(takes("ERROR disk", "disk: ERROR") && !takes("ERROR disk", "ERROR"));
        assert!(takes("\"no room\"", "there is no room") && !takes("\"no room\"", "room, no"));
        assert!(takes("?ERROR ?WARN", "WARN") && !takes("?ERROR ?WARN", "INFO"));
        assert!(takes("ERROR -retry", "ERROR") && !takes("ERROR -retry", "ERROR retry"));
        for wrong in ["{ $.a = 1 }", "[a, b]", "\"open", "?"] {
            assert!(Filter::read(wrong).is_err(), "{wrong}");
        }
    }
}
