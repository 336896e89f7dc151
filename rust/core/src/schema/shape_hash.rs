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
        hash = mix(hash, chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    }
    mix(hash, chunks.remainder().iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)))
}
