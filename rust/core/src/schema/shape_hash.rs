//! The hash of an event's shape: its keys and the kinds of its values, in one walk, without memory of its own.
//!
//! Two events with one hash would be inferred alike, so an event whose hash is known need not be inferred. The order of
//! keys does not count, nor how many elements of one shape an array has.

use super::names::{is_data, is_date_time};
use super::node::kind;
use super::scanner::Scanner;
use super::DEPTH_MAX;

/// Different shapes in one array that are remembered while it is walked; of more, each element counts.
const SHAPES_MAX: usize = 8;

/// The hash of an event's shape under its source and detail-type. `None` if it is not JSON.
pub fn shape_hash(source: &str, detail_type: &str, event: &str) -> Option<u64> {
    let mut scanner = Scanner::new(event);
    let shape = value(&mut scanner, 0)?;
    (scanner.peek() == 0).then(|| mix(mix(bytes(source.as_bytes()), bytes(detail_type.as_bytes())), shape))
}

/// The hash of an event that was put: what is always alike in such events is left out.
pub(super) fn put_hash((source, detail_type): (&str, &str), resources: &[String], detail: &str) -> Option<u64> {
    let mut scanner = Scanner::new(detail);
    let detail = value(&mut scanner, 1)?;
    let kinds = resources.iter().fold(8, |kinds, one| kinds | if is_date_time(one.as_bytes()) { 2 } else { 1 });
    let kind = mix(bytes(source.as_bytes()), bytes(detail_type.as_bytes()));
    (scanner.peek() == 0).then(|| mix(kind, mix(kinds, detail)))
}

fn value(scanner: &mut Scanner<'_>, depth: usize) -> Option<u64> {
    match scanner.peek() {
        b'{' | b'[' if depth >= DEPTH_MAX => scanner.skip().map(|()| mix(1, u64::from(kind::CUT))),
        b'{' => object(scanner, depth),
        b'[' => array(scanner, depth),
        _ => scanner.leaf().map(|kind| mix(2, u64::from(kind))),
    }
}

fn object(scanner: &mut Scanner<'_>, depth: usize) -> Option<u64> {
    scanner.pass();
    let mut sum = 0u64;
    if scanner.peek() == b'}' {
        scanner.pass();
        return Some(mix(3, 0));
    }
    loop {
        let key = scanner.key()?;
        let key = if is_data(key) { 5 } else { bytes(key) };
        sum = sum.wrapping_add(mix(key, value(scanner, depth + 1)?));
        if !scanner.goes_on(b'}')? {
            return Some(mix(3, sum));
        }
    }
}

fn array(scanner: &mut Scanner<'_>, depth: usize) -> Option<u64> {
    scanner.pass();
    if scanner.peek() == b']' {
        scanner.pass();
        return Some(mix(4, 0));
    }
    let mut seen = [0u64; SHAPES_MAX];
    let mut count = 0;
    let mut sum = 0u64;
    loop {
        let shape = value(scanner, depth + 1)?;
        if !seen[..count].contains(&shape) {
            sum = sum.wrapping_add(mix(7, shape));
            if count < SHAPES_MAX {
                seen[count] = shape;
                count += 1;
            }
        }
        if !scanner.goes_on(b']')? {
            return Some(mix(4, sum));
        }
    }
}

/// One number of two, each bit of which depends on all of theirs: the halves of their product.
fn mix(one: u64, two: u64) -> u64 {
    let product = u128::from(one ^ 0x9e37_79b9_7f4a_7c15) * u128::from(two ^ 0xe703_7ed1_a0b4_28db);
    (product as u64) ^ (product >> 64) as u64
}

fn bytes(text: &[u8]) -> u64 {
    let mut hash = text.len() as u64;
    let mut chunks = text.chunks_exact(8);
    for chunk in &mut chunks {
        hash = mix(hash, word(chunk));
    }
    mix(hash, word(chunks.remainder()))
}

/// Eight bytes, or those that are there.
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change of one bit changes each bit of the hash in about half of all cases: shapes that are almost alike are told apart.
    #[test]
    fn each_bit_of_a_hash_depends_on_each_bit_of_each_name() {
        let hash = |names: &[String; 3]| {
            let [source, detail_type, key] = names;
            shape_hash(source, detail_type, &format!(r#"{{"{key}":1}}"#)).unwrap()
        };
        let letters: String = ('a'..='w').collect();
        for place in 0..3 {
            let (mut changed, mut changes) = ([0_u32; 64], 0);
            for length in 1..=letters.len() {
                let mut names = ["shop", "Order Placed", "a key"].map(str::to_owned);
                names[place] = letters[..length].to_owned();
                let before = hash(&names);
                for (at, bit) in (0..length).flat_map(|at| (0..6).map(move |bit| (at, bit))) {
                    let mut text = letters.as_bytes()[..length].to_owned();
                    text[at] ^= 1 << bit;
                    names[place] = String::from_utf8(text).unwrap();
                    let differing = before ^ hash(&names);
                    changes += 1;
                    (0..64).for_each(|bit| changed[bit] += u32::from(differing >> bit & 1 == 1));
                }
            }
            assert!(
                changed.iter().all(|count| (40..=60).contains(&(count * 100 / changes))),
                "{changed:?} of {changes}"
            );
        }
    }

    #[test]
    fn what_is_not_json_has_no_hash() {
        for event in ["", "[1}", "{\"a\":1]", "[1 2]", "[1", "{\"a\" 1}", "{1:1}", "[1]]", "{\"a\":1,}", "x"] {
            assert_eq!(shape_hash("s", "t", event), None, "{event}");
        }
    }

    #[test]
    fn of_objects_and_arrays_only_so_many_levels_are_looked_at() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let hash = |depth: usize, leaf: &str| {
                shape_hash("s", "t", &format!("{}{leaf}{}", open.repeat(depth), close.repeat(depth))).unwrap()
            };
            assert_ne!(hash(DEPTH_MAX, "1"), hash(DEPTH_MAX, "true"));
            assert_eq!(hash(DEPTH_MAX, "[1]"), hash(DEPTH_MAX, "{}"), "deeper is not looked at");
            assert_ne!(hash(DEPTH_MAX, "[1]"), hash(DEPTH_MAX, "1"));
        }
    }

    #[test]
    fn of_an_array_each_shape_counts_once_while_they_are_few() {
        let hash = |count: usize, again: &str| {
            let shapes: Vec<String> = (0..count).map(|key| format!(r#"{{"k{key}":1}}"#)).collect();
            shape_hash("s", "t", &format!("[{}{again}]", shapes.join(","))).unwrap()
        };
        for count in 1..=SHAPES_MAX {
            assert_eq!(hash(count, &format!(r#",{{"k{}":2}},{{"k0":3}}"#, count - 1)), hash(count, ""));
            assert_ne!(hash(count, r#",{"other":1}"#), hash(count, ""));
        }
        assert_ne!(hash(SHAPES_MAX + 1, r#",{"k8":1}"#), hash(SHAPES_MAX + 1, ""), "the ninth is not remembered");
    }
}
