//! The limit on wildcards: how many texts they may have begun to match at once.
//!
//! `EventBridge` tries all wildcards on a field at the same time, a byte of the value after the other, and refuses a rule that
//! may have more than ten beginnings in hand. Our matcher needs no such limit; a rule that AWS refuses is refused here, so
//! that nobody learns it first when they deploy. `*:*:*:*:*:event-bus/*`, which AWS was seen to refuse, makes eleven.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::error::{shortened, PatternError};
use super::{Alternative, Condition, WILDCARD_COMPLEXITY_MAX};
use crate::pattern::matcher::{Matcher, Text};

/// Sets of beginnings that are looked at. Real patterns have some dozens; what has more is let through.
const SETS_MAX: usize = 2_000;

/// A wildcard in its quotes.
struct Wildcard {
    /// `None` is an asterisk.
    bytes: Vec<Option<u8>>,
    /// What each beginning, by the bytes that were read, counts as. Wildcards of one condition share some.
    counts_as: Vec<usize>,
}

/// A wildcard, and how many of its bytes were read.
type Beginning = (usize, usize);

/// Refuse a pattern whose wildcards are too complex.
pub(super) fn check(alternatives: &[Alternative], text: &str) -> Result<(), PatternError> {
    let mut seen = HashSet::new();
    for (path, conditions) in alternatives.iter().flatten() {
        if seen.insert(conditions.as_ptr()) && is_complex(&wildcards(conditions), WILDCARD_COMPLEXITY_MAX) {
            let reason = "Rule is too complex - try using fewer wildcard characters or fewer repeating character \
                          sequences after a wildcard character";
            let (reason, source) = (reason.to_owned(), shortened(text));
            return Err(PatternError { reason, path: path.clone(), position: None, source });
        }
    }
    Ok(())
}

fn wildcards(conditions: &[Condition]) -> Vec<Wildcard> {
    let mut found = Vec::new();
    let mut shared = HashMap::new();
    let mut counted = 0;
    for (number, condition) in conditions.iter().enumerate() {
        if conditions[..number].iter().any(|earlier| earlier.matcher == condition.matcher) {
            continue;
        }
        let of_condition = match &condition.matcher {
            Matcher::AnythingBut(others) => others.as_slice(),
            matcher => std::slice::from_ref(matcher),
        };
        let distinct: BTreeSet<Vec<Option<u8>>> = of_condition.iter().filter_map(bytes).collect();
        for bytes in distinct {
            // One condition's wildcards are one as long as they are alike, up to the second asterisk, and when they are met.
            let mut asterisks = (0..bytes.len()).filter(|&at| bytes[at].is_none());
            let second = asterisks.nth(1).unwrap_or(bytes.len());
            let counts_as = (0..=bytes.len()).map(|read| {
                counted += 1;
                match read {
                    _ if read == bytes.len() => *shared.entry((number, None)).or_insert(counted),
                    _ if read >= second => counted,
                    _ => *shared.entry((number, Some(bytes[..read].to_vec()))).or_insert(counted),
                }
            });
            found.push(Wildcard { counts_as: counts_as.collect(), bytes });
        }
    }
    found
}

fn bytes(matcher: &Matcher) -> Option<Vec<Option<u8>>> {
    let Matcher::Text(Text::Wildcard(pieces)) = matcher else { return None };
    let mut bytes = vec![Some(b'"')];
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 {
            bytes.push(None);
        }
        bytes.extend(piece.bytes().map(Some));
    }
    bytes.push(Some(b'"'));
    Some(bytes)
}

/// Whether more than `most` texts may be begun at once.
fn is_complex(wildcards: &[Wildcard], most: usize) -> bool {
    let start: BTreeSet<Beginning> = (0..wildcards.len()).map(|index| (index, 0)).collect();
    let mut seen = HashSet::new();
    let mut next = vec![start];
    while let Some(beginnings) = next.pop() {
        // A byte that no wildcard names next is as good as any other of that kind.
        let expected: BTreeSet<Option<u8>> = beginnings
            .iter()
            .flat_map(|&(index, read)| wildcards[index].bytes[read..].iter().take(2).copied())
            .chain([None])
            .collect();
        for byte in expected {
            let after: BTreeSet<Beginning> =
                beginnings.iter().flat_map(|&beginning| step(wildcards, beginning, byte)).collect();
            if weight(wildcards, &after) > most {
                return true;
            }
            if !after.is_empty() && seen.len() < SETS_MAX && seen.insert(after.clone()) {
                next.push(after);
            }
        }
    }
    false
}

/// What a beginning becomes when a byte is read.
fn step(wildcards: &[Wildcard], (index, read): Beginning, byte: Option<u8>) -> impl Iterator<Item = Beginning> {
    let bytes = &wildcards[index].bytes;
    let is_next = |at: usize| byte.is_some() && bytes.get(at) == Some(&byte);
    let is_asterisk = |at: usize| bytes.get(at) == Some(&None);
    let stays = (read > 0 && is_asterisk(read - 1)).then_some(read);
    let moves = (is_next(read) || is_asterisk(read)).then_some(read + 1);
    let skips = (is_asterisk(read) && is_next(read + 1)).then_some(read + 2);
    [stays, moves, skips].into_iter().flatten().map(move |read| (index, read))
}

/// The beginnings, with those that an asterisk opens without a byte.
fn weight(wildcards: &[Wildcard], beginnings: &BTreeSet<Beginning>) -> usize {
    let is_opened = |&&(index, read): &&Beginning| wildcards[index].bytes.get(read) == Some(&None);
    let opened = beginnings.iter().filter(is_opened).map(|&(index, read)| (index, read + 1));
    let all = beginnings.iter().copied().chain(opened);
    all.map(|(index, read)| wildcards[index].counts_as[read]).collect::<BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::bus::compile::alternatives;

    fn is_more_than(most: usize, conditions: &str) -> bool {
        let alternatives = alternatives(&format!(r#"{{"a":[{conditions}]}}"#)).unwrap();
        is_complex(&wildcards(&alternatives[0][0].1), most)
    }

    /// The numbers are those of event-ruler's evaluator: of conditions in a list, and of a list in one anything-but.
    #[test]
    fn wildcards_have_as_many_beginnings_as_event_ruler_counts() {
        for (texts, beginnings, excluded) in [
            ("*", 2, 2),
            ("a*", 2, 2),
            ("*ab*ad", 4, 4),
            ("*:*:*:*", 7, 7),
            ("*x*xx*xxx", 9, 9),
            ("*a *b *c *d *e", 10, 2),
            ("*a* *b* *c* *d*", 12, 6),
            ("x*a* x*b* y*a* y*b*", 6, 4),
            ("*a* *a*b *a*c", 9, 7),
            ("a*b*c a*b*d a*c", 7, 5),
            ("*b*a *b*b *c", 8, 6),
            ("*/datasync/*.bif */datasync/*.tif", 8, 6),
        ] {
            let each: Vec<String> = texts.split(' ').map(|text| format!(r#"{{"wildcard":"{text}"}}"#)).collect();
            let list = format!(r#"{{"anything-but":{{"wildcard":["{}"]}}}}"#, texts.replace(' ', r#"",""#));
            for (conditions, beginnings) in [(each.join(","), beginnings), (list, excluded)] {
                let is_more = [beginnings - 1, beginnings].map(|most| is_more_than(most, &conditions));
                assert_eq!(is_more, [true, false], "{conditions} has {beginnings}");
            }
        }
    }

    #[test]
    fn a_wildcard_that_comes_twice_counts_once() {
        assert!(!is_more_than(2, r#"{"wildcard":"*a"},{"wildcard":"*a"}"#));
        assert!(is_more_than(2, r#"{"wildcard":"*a"},{"wildcard":"*b*"}"#));
    }

    /// Each letter of the text in front makes two sets, all else thirteen.
    #[test]
    fn what_lies_behind_two_thousand_sets_of_beginnings_is_let_through() {
        for (letters, is_more) in [(993, true), (994, false)] {
            let condition = format!(r#"{{"wildcard":"*x{}*aaaaaaaaaa*"}}"#, "y".repeat(letters));
            assert_eq!(is_more_than(WILDCARD_COMPLEXITY_MAX, &condition), is_more, "{letters} letters");
        }
    }
}
