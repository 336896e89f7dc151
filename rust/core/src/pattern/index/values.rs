//! Which alternatives a value may meet: tables by path and value.
//!
//! An alternative stands in the tables with one of its paths, the one that the fewest events are likely to meet. What is found
//! here is looked at in full: a table may hold more than is met, never less.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::ranges::{ordered, Ranges};
use crate::pattern::bus::Conditions;
use crate::pattern::cidr;
use crate::pattern::matcher::{Exact, Matcher, Part, Scalar, Text};

/// What is compared with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    String,
    Word,
    Number,
    Folded,
    Prefix,
    Suffix,
    FoldedPrefix,
    FoldedSuffix,
}

const KINDS: usize = 8;

/// Where a condition stands in the tables.
#[derive(Clone, Debug, PartialEq)]
enum Key {
    Text(Kind, Box<[u8]>),
    Numbers(u64, u64),
    Addresses((bool, u128), (bool, u128)),
    /// Any value of the path.
    Any,
}

/// The tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    texts: HashTable<Entry>,
    hasher: DefaultHashBuilder,
    /// By path.
    paths: Vec<OfPath>,
}

/// Alternatives that want this text.
#[derive(Clone, Debug)]
struct Entry {
    path: u32,
    kind: Kind,
    text: Box<[u8]>,
    owners: Vec<u32>,
}

/// What else there is of a path.
#[derive(Clone, Debug, Default)]
struct OfPath {
    /// The lengths of the texts of each kind, ascending, and how many entries have each.
    lengths: [Vec<(usize, u32)>; KINDS],
    numbers: Ranges<u64>,
    addresses: Ranges<(bool, u128)>,
    any: Vec<u32>,
}

impl Values {
    /// How many alternatives are likely looked at for nothing if one stands here; `None` if it cannot, as a field that may be
    /// absent is never found by its value.
    pub(super) fn cost(&self, path: u32, conditions: &Conditions) -> Option<usize> {
        let costs = conditions.iter().map(|condition| Some(self.cost_of(path, &key(&condition.matcher)?)));
        costs.sum()
    }

    fn cost_of(&self, path: u32, key: &Key) -> usize {
        let here = self.paths.get(path as usize);
        match key {
            Key::Text(kind, text) => {
                let fixed = if matches!(kind, Kind::String | Kind::Word | Kind::Number) { 1 } else { 4 };
                fixed + self.entry(path, *kind, text).map_or(0, |entry| entry.owners.len())
            }
            // Some of the ranges hold a value.
            Key::Numbers(least, most) if least == most => 4,
            Key::Numbers(..) => 16 + here.map_or(0, |here| here.numbers.len() / 16),
            Key::Addresses(..) => 8 + here.map_or(0, |here| here.addresses.len() / 64),
            Key::Any => 64 + here.map_or(0, |here| here.any.len() * 4),
        }
    }

    fn entry(&self, path: u32, kind: Kind, text: &[u8]) -> Option<&Entry> {
        let is_it = |entry: &Entry| entry.path == path && entry.kind == kind && *entry.text == *text;
        self.texts.find(self.hasher.hash_one((path, kind as u8, text)), is_it)
    }

    /// Enter an alternative with what it wants of a path.
    pub(super) fn add(&mut self, path: u32, conditions: &Conditions, owner: u32) {
        if self.paths.len() <= path as usize {
            self.paths.resize_with(path as usize + 1, OfPath::default);
        }
        for key in conditions.iter().filter_map(|condition| key(&condition.matcher)) {
            let here = &mut self.paths[path as usize];
            match key {
                Key::Text(kind, text) => self.add_text(path, kind, text, owner),
                Key::Numbers(least, most) => here.numbers.add((least, most), owner),
                Key::Addresses(least, most) => here.addresses.add((least, most), owner),
                Key::Any => here.any.push(owner),
            }
        }
    }

    fn add_text(&mut self, path: u32, kind: Kind, text: Box<[u8]>, owner: u32) {
        let hash = self.hasher.hash_one((path, kind as u8, &*text));
        let is_it = |entry: &Entry| entry.path == path && entry.kind == kind && entry.text == text;
        if let Some(entry) = self.texts.find_mut(hash, is_it) {
            entry.owners.push(owner);
            return;
        }
        let lengths = &mut self.paths[path as usize].lengths[kind as usize];
        match lengths.binary_search_by_key(&text.len(), |(length, _)| *length) {
            Ok(at) => lengths[at].1 += 1,
            Err(at) => lengths.insert(at, (text.len(), 1)),
        }
        let hasher = &self.hasher;
        let rehash = |entry: &Entry| hasher.hash_one((entry.path, entry.kind as u8, &*entry.text));
        self.texts.insert_unique(hash, Entry { path, kind, text, owners: vec![owner] }, rehash);
    }

    /// Take an alternative out again.
    pub(super) fn remove(&mut self, path: u32, conditions: &Conditions, owner: u32) {
        for key in conditions.iter().filter_map(|condition| key(&condition.matcher)) {
            let here = &mut self.paths[path as usize];
            match key {
                Key::Text(kind, text) => self.remove_text(path, kind, &text, owner),
                Key::Numbers(least, most) => here.numbers.remove((least, most), owner),
                Key::Addresses(least, most) => here.addresses.remove((least, most), owner),
                Key::Any => here.any.retain(|other| *other != owner),
            }
        }
    }

    fn remove_text(&mut self, path: u32, kind: Kind, text: &[u8], owner: u32) {
        let is_it = |entry: &Entry| entry.path == path && entry.kind == kind && *entry.text == *text;
        let Ok(mut entry) = self.texts.find_entry(self.hasher.hash_one((path, kind as u8, text)), is_it) else {
            return;
        };
        entry.get_mut().owners.retain(|other| *other != owner);
        if !entry.get().owners.is_empty() {
            return;
        }
        entry.remove();
        let lengths = &mut self.paths[path as usize].lengths[kind as usize];
        if let Ok(at) = lengths.binary_search_by_key(&text.len(), |(length, _)| *length) {
            lengths[at].1 -= 1;
            if lengths[at].1 == 0 {
                lengths.remove(at);
            }
        }
    }

    /// The alternatives that a value of a path may meet. Some may come more than once.
    pub(super) fn each_met(&self, path: u32, value: Scalar<'_>, folded: &mut String, found: &mut Vec<u32>) {
        let Some(here) = self.paths.get(path as usize) else { return };
        found.extend_from_slice(&here.any);
        match value {
            Scalar::String(text) => self.strings(path, here, text, folded, found),
            Scalar::Number(_, number) => {
                if here.has(Kind::Number) {
                    self.text(path, Kind::Number, &number.to_bits().to_le_bytes(), found);
                }
                here.numbers.each_holding(ordered(number), |owner| found.push(owner));
            }
            Scalar::Word(text) | Scalar::Literal(text) => {
                if here.has(Kind::Word) {
                    self.text(path, Kind::Word, text.as_bytes(), found);
                }
            }
        }
    }

    fn strings(&self, path: u32, here: &OfPath, text: &str, folded: &mut String, found: &mut Vec<u32>) {
        let bytes = text.as_bytes();
        if here.has(Kind::String) {
            self.text(path, Kind::String, bytes, found);
        }
        self.prefixes(path, here, Kind::Prefix, bytes, found);
        self.suffixes(path, here, Kind::Suffix, bytes, found);
        if here.has(Kind::Folded) || here.has(Kind::FoldedPrefix) || here.has(Kind::FoldedSuffix) {
            folded.clear();
            fold(text, folded);
            let bytes = folded.as_bytes();
            self.text(path, Kind::Folded, bytes, found);
            self.prefixes(path, here, Kind::FoldedPrefix, bytes, found);
            self.suffixes(path, here, Kind::FoldedSuffix, bytes, found);
        }
        if !here.addresses.is_empty() {
            if let Some(address) = cidr::position(text) {
                here.addresses.each_holding(address, |owner| found.push(owner));
            }
        }
    }

    fn text(&self, path: u32, kind: Kind, text: &[u8], found: &mut Vec<u32>) {
        if let Some(entry) = self.entry(path, kind, text) {
            found.extend_from_slice(&entry.owners);
        }
    }

    fn prefixes(&self, path: u32, here: &OfPath, kind: Kind, text: &[u8], found: &mut Vec<u32>) {
        for (length, _) in &here.lengths[kind as usize] {
            let Some(prefix) = text.get(..*length) else { return };
            self.text(path, kind, prefix, found);
        }
    }

    fn suffixes(&self, path: u32, here: &OfPath, kind: Kind, text: &[u8], found: &mut Vec<u32>) {
        for (length, _) in &here.lengths[kind as usize] {
            let Some(start) = text.len().checked_sub(*length) else { return };
            self.text(path, kind, &text[start..], found);
        }
    }
}

impl OfPath {
    fn has(&self, kind: Kind) -> bool {
        !self.lengths[kind as usize].is_empty()
    }
}

/// Where a condition stands; `None` if it is met by what is not there.
fn key(matcher: &Matcher) -> Option<Key> {
    let text = |kind, text: &str| if text.is_empty() { Key::Any } else { Key::Text(kind, text.as_bytes().into()) };
    let folded = |kind, original: &str| {
        let mut folded = String::new();
        fold(original, &mut folded);
        text(kind, &folded)
    };
    Some(match matcher {
        Matcher::Exists(false) => return None,
        Matcher::Exactly(Exact::String(exact)) => Key::Text(Kind::String, exact.as_bytes().into()),
        Matcher::Exactly(Exact::Literal(exact)) => Key::Text(Kind::Word, exact.as_bytes().into()),
        Matcher::Exactly(Exact::Number(number)) => Key::Text(Kind::Number, number.to_bits().to_le_bytes().into()),
        Matcher::Text(Text::Prefix(prefix)) => text(Kind::Prefix, prefix),
        Matcher::Text(Text::Suffix(suffix)) => text(Kind::Suffix, suffix),
        Matcher::Text(Text::EitherCase(Part::Whole, whole)) => folded(Kind::Folded, whole),
        Matcher::Text(Text::EitherCase(Part::Start, prefix)) => folded(Kind::FoldedPrefix, prefix),
        Matcher::Text(Text::EitherCase(Part::End, suffix)) => folded(Kind::FoldedSuffix, suffix),
        Matcher::Text(Text::Wildcard(pieces)) => match pieces.as_slice() {
            [first, .., last] if first.len() >= last.len() => text(Kind::Prefix, first),
            [.., last] => text(Kind::Suffix, last),
            [] => Key::Any,
        },
        Matcher::Numeric(range) => {
            let least = range.least.map_or(f64::NEG_INFINITY, |bound| bound.value);
            let most = range.most.map_or(f64::INFINITY, |bound| bound.value);
            Key::Numbers(ordered(least), ordered(most))
        }
        Matcher::Cidr(block) => {
            let (least, most) = block.bounds();
            Key::Addresses(least, most)
        }
        // The mapping's filters alone compare without case as the last of these do.
        Matcher::AnythingBut(_)
        | Matcher::Exists(true)
        | Matcher::Text(Text::EqualsIgnoreCase(_) | Text::PrefixIgnoreCase(_) | Text::SuffixIgnoreCase(_)) => Key::Any,
    })
}

/// One text for all that a condition without case takes.
fn fold(text: &str, folded: &mut String) {
    if text.is_ascii() {
        folded.extend(text.chars().map(|character| character.to_ascii_uppercase()));
        return;
    }
    // Twice: `ẞ` stays as it is at first, its small letter becomes `SS`.
    let upper = text.chars().flat_map(char::to_uppercase);
    folded.extend(upper.flat_map(char::to_lowercase).flat_map(char::to_uppercase));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::bus::Rule;

    fn folded(text: &str) -> String {
        let mut folded = String::new();
        fold(text, &mut folded);
        folded
    }

    #[test]
    fn a_text_folds_to_its_capital_letters() {
        let told = [("Order-7", "ORDER-7"), ("größe", "GRÖSSE"), ("ẞ", "SS"), ("", "")];
        assert_eq!(told.map(|(text, _)| folded(text)), told.map(|(_, wanted)| wanted.to_owned()));
    }

    #[test]
    fn what_a_condition_without_case_takes_folds_to_one_text() {
        for character in '\0'..=char::MAX {
            let (lower, upper): (String, String) =
                (character.to_lowercase().collect(), character.to_uppercase().collect());
            let expected = folded(&character.to_string());
            assert_eq!(folded(&lower), expected, "{character:?} in lower case");
            assert_eq!(folded(&upper), expected, "{character:?} in upper case");
        }
    }

    /// The conditions on one path.
    fn conditions(text: &str) -> Conditions {
        Rule::parse(&format!(r#"{{"a":[{text}]}}"#)).unwrap().alternatives[0][0].1.clone()
    }

    /// Each with a value that meets it.
    const MET: [(&str, Scalar<'_>); 16] = [
        (r#""ab""#, Scalar::String("ab")),
        (r#""cd""#, Scalar::String("cd")),
        ("true", Scalar::Word("true")),
        ("null", Scalar::Word("null")),
        ("7", Scalar::Number("7.0", 7.0)),
        (r#"{"prefix":"pa"}"#, Scalar::String("pax")),
        (r#"{"prefix":"pb"}"#, Scalar::String("pbx")),
        (r#"{"suffix":"sa"}"#, Scalar::String("xsa")),
        (r#"{"suffix":"sb"}"#, Scalar::String("xsb")),
        (r#"{"equals-ignore-case":"Same"}"#, Scalar::String("sAME")),
        (r#"{"prefix":{"equals-ignore-case":"Start"}}"#, Scalar::String("starts")),
        (r#"{"suffix":{"equals-ignore-case":"End"}}"#, Scalar::String("the end")),
        (r#"{"numeric":[">",100]}"#, Scalar::Number("300", 300.0)),
        (r#"{"cidr":"10.0.0.0/8"}"#, Scalar::String("10.1.2.3")),
        (r#"{"exists":true}"#, Scalar::String("any")),
        (r#"{"anything-but":"none"}"#, Scalar::String("some")),
    ];

    const KINDS_ALL: [Kind; KINDS] = [
        Kind::String,
        Kind::Word,
        Kind::Number,
        Kind::Folded,
        Kind::Prefix,
        Kind::Suffix,
        Kind::FoldedPrefix,
        Kind::FoldedSuffix,
    ];

    fn found(values: &Values, path: u32, value: Scalar<'_>) -> Vec<u32> {
        let mut found = Vec::new();
        values.each_met(path, value, &mut String::new(), &mut found);
        found.sort_unstable();
        found
    }

    /// Two alternatives want each of the values: those that are left are found, those that went are not.
    #[test]
    fn what_is_taken_out_again_is_found_no_more_and_leaves_nothing_behind() {
        let mut values = Values::default();
        let owners = |row: usize| [row as u32, 100 + row as u32];
        for (row, (text, _)) in MET.iter().enumerate() {
            for owner in owners(row) {
                values.add(5, &conditions(text), owner);
            }
        }
        assert!(KINDS_ALL.iter().all(|kind| values.paths[5].has(*kind)));
        assert!(!KINDS_ALL.iter().any(|kind| values.paths[4].has(*kind)), "another path");
        for gone in 0..2 * MET.len() {
            values.remove(5, &conditions(MET[gone / 2].0), owners(gone / 2)[gone % 2]);
            for (row, (text, value)) in MET.iter().enumerate() {
                let found = found(&values, 5, *value);
                let are_found = owners(row).map(|owner| found.contains(&owner));
                assert_eq!(are_found, [2 * row > gone, 2 * row + 1 > gone], "{text}, when {gone} were taken out");
            }
        }
        let here = &values.paths[5];
        assert!(values.texts.is_empty() && here.numbers.is_empty() && here.addresses.is_empty() && here.any.is_empty());
        assert!(!KINDS_ALL.iter().any(|kind| here.has(*kind)));
    }

    /// So many that some have like hashes; squares, as the hashes of numbers in a row are well apart.
    #[test]
    fn one_text_on_many_paths_is_found_on_each_for_itself() {
        let mut values = Values::default();
        let wanted = [r#""ab""#, r#"{"prefix":"ab"}"#, r#"{"suffix":"ab"}"#].map(conditions);
        let paths = || (0..1_000).map(|number: u32| number * number % 4_093);
        let all = |path: u32| (0..).zip(&wanted).map(move |(number, wanted)| (3 * path + number, wanted));
        for path in paths() {
            all(path).for_each(|(owner, wanted)| values.add(path, wanted, owner));
        }
        for path in paths() {
            let owners: Vec<u32> = all(path).map(|(owner, _)| owner).collect();
            assert_eq!(found(&values, path, Scalar::String("ab")), owners, "path {path}");
        }
        for path in paths() {
            all(path).for_each(|(owner, wanted)| values.remove(path, wanted, owner));
        }
        assert!(values.texts.is_empty(), "{} are left", values.texts.len());
    }

    /// What an alternative wants of a path | its cost as the first there | beside 160 others that want the same.
    #[test]
    fn a_condition_costs_by_how_rare_its_values_are_and_by_who_wants_them_too() {
        for (text, alone, beside) in [
            (r#""x""#, Some(1), Some(161)),
            ("true", Some(1), Some(161)),
            ("7", Some(1), Some(161)),
            (r#""x","y""#, Some(2), Some(322)),
            (r#"{"equals-ignore-case":"x"}"#, Some(4), Some(164)),
            (r#"{"prefix":"x"}"#, Some(4), Some(164)),
            (r#"{"suffix":"x"}"#, Some(4), Some(164)),
            (r#"{"numeric":["=",7]}"#, Some(4), Some(4)),
            (r#"{"numeric":[">",7]}"#, Some(16), Some(26)),
            (r#"{"cidr":"10.0.0.0/8"}"#, Some(8), Some(10)),
            (r#"{"exists":true}"#, Some(64), Some(704)),
            (r#"{"anything-but":"x"}"#, Some(64), Some(704)),
            (r#"{"exists":false}"#, None, None),
            (r#""x",{"exists":false}"#, None, None),
        ] {
            let (wanted, mut values) = (conditions(text), Values::default());
            assert_eq!(values.cost(3, &wanted), alone, "{text}");
            (0..160).for_each(|owner| values.add(3, &wanted, owner));
            assert_eq!(values.cost(3, &wanted), beside, "{text}");
        }
    }

    #[test]
    fn a_wildcard_stands_with_its_longer_end() {
        let text = |kind, text: &str| Key::Text(kind, text.as_bytes().into());
        for (wildcard, expected) in [
            ("ab*c", text(Kind::Prefix, "ab")),
            ("ab*x*cd", text(Kind::Prefix, "ab")),
            ("a*bc", text(Kind::Suffix, "bc")),
            ("a*", text(Kind::Prefix, "a")),
            ("*b", text(Kind::Suffix, "b")),
            ("*b*", Key::Any),
            ("*", Key::Any),
        ] {
            let conditions = conditions(&format!(r#"{{"wildcard":"{wildcard}"}}"#));
            assert_eq!(key(&conditions[0].matcher), Some(expected), "{wildcard}");
        }
    }
}
