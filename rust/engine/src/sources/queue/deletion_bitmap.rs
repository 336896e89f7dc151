//! Which messages of a log are gone: one bit for each, from the first that is still there.
//!
//! A page of bits is a row, written again when it has changed, once a commit: a backlog drained in order changes a page or two.

use std::collections::{BTreeMap, BTreeSet};

/// Messages of one page.
pub(crate) const PAGE: u64 = 1024;
const WORDS: usize = (PAGE / 64) as usize;

type Bits = [u64; WORDS];

#[derive(Debug, Default)]
pub(crate) struct DeletionBitmap {
    /// Everything below is gone from the log.
    low: u64,
    pages: BTreeMap<u64, Bits>,
    /// Pages whose rows are not as they should be.
    dirty: BTreeSet<u64>,
    /// Pages that have rows.
    stored: BTreeSet<u64>,
}

/// How a page's row must change.
pub(crate) enum PageRow {
    Set(u64, Vec<u8>),
    Remove(u64),
}

impl DeletionBitmap {
    /// Go on from rows.
    pub(crate) fn restored(low: u64, rows: impl Iterator<Item = (u64, Vec<u8>)>) -> Self {
        let mut gone = Self { low, ..Self::default() };
        for (page, bytes) in rows {
            let mut bits = [0; WORDS];
            for (word, bytes) in bits.iter_mut().zip(bytes.chunks_exact(8)) {
                let mut eight = [0; 8];
                eight.copy_from_slice(bytes);
                *word = u64::from_le_bytes(eight);
            }
            gone.pages.insert(page, bits);
            gone.stored.insert(page);
        }
        gone
    }

    pub(crate) fn low(&self) -> u64 {
        self.low
    }

    pub(crate) fn is(&self, number: u64) -> bool {
        let page = self.pages.get(&(number / PAGE));
        number < self.low || page.is_some_and(|bits| bits[word(number)] & bit(number) != 0)
    }

    /// A message is gone.
    pub(crate) fn mark(&mut self, number: u64) {
        if number < self.low {
            return;
        }
        let bits = self.pages.entry(number / PAGE).or_insert([0; WORDS]);
        if bits[word(number)] & bit(number) == 0 {
            bits[word(number)] |= bit(number);
            self.dirty.insert(number / PAGE);
        }
    }

    /// It is there after all.
    pub(crate) fn unmark(&mut self, number: u64) {
        if let Some(bits) = self.pages.get_mut(&(number / PAGE)) {
            bits[word(number)] &= !bit(number);
            self.dirty.insert(number / PAGE);
        }
    }

    /// Everything below `before` is gone.
    pub(crate) fn mark_below(&mut self, before: u64) {
        self.low = self.low.max(before);
    }

    /// Move the low mark on past what is gone.
    pub(crate) fn advance(&mut self) -> u64 {
        while let Some(bits) = self.pages.get(&(self.low / PAGE)) {
            let (at, shift) = (word(self.low), self.low % 64);
            let ahead = (bits[at] >> shift).trailing_ones();
            self.low += u64::from(ahead);
            // The word ends where only zeros were shifted in, too.
            if u64::from(ahead) < 64 - shift {
                break;
            }
        }
        self.low
    }

    /// The first message that is still there, from a number on and below `end`; a word at a time, for gaps may be long.
    pub(crate) fn first_left(&self, from: u64, end: u64) -> Option<u64> {
        let mut number = from.max(self.low);
        while number < end {
            let left = self.pages.get(&(number / PAGE)).map_or(!0, |bits| !bits[word(number)]) >> (number % 64);
            if left != 0 {
                return Some(number + u64::from(left.trailing_zeros())).filter(|&number| number < end);
            }
            number = (number / 64 + 1) * 64;
        }
        None
    }

    /// What must be written so that the rows are right; forgets pages that lie below the low mark.
    pub(crate) fn rows(&mut self) -> Vec<PageRow> {
        let below = self.low / PAGE;
        self.pages = self.pages.split_off(&below);
        let kept = self.stored.split_off(&below);
        let mut rows: Vec<PageRow> =
            std::mem::replace(&mut self.stored, kept).into_iter().map(PageRow::Remove).collect();
        for page in std::mem::take(&mut self.dirty) {
            if let Some(bits) = self.pages.get(&page) {
                self.stored.insert(page);
                rows.push(PageRow::Set(page, bits.iter().flat_map(|word| word.to_le_bytes()).collect()));
            }
        }
        rows
    }
}

fn word(number: u64) -> usize {
    (number % PAGE / 64) as usize
}

fn bit(number: u64) -> u64 {
    1 << (number % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restarted(gone: &mut DeletionBitmap, rows: &mut BTreeMap<u64, Vec<u8>>) -> DeletionBitmap {
        for row in gone.rows() {
            match row {
                PageRow::Set(page, bytes) => drop(rows.insert(page, bytes)),
                PageRow::Remove(page) => drop(rows.remove(&page)),
            }
        }
        DeletionBitmap::restored(gone.low(), rows.clone().into_iter())
    }

    #[test]
    fn the_low_mark_passes_what_is_gone_and_stops_at_what_is_not() {
        let mut gone = DeletionBitmap::default();
        (0..5000).filter(|n| *n != 3000).for_each(|n| gone.mark(n));
        assert_eq!(gone.advance(), 3000);
        gone.mark(3000);
        assert_eq!(gone.advance(), 5000);
        assert!(gone.is(4999) && !gone.is(5000));
        assert_eq!(gone.first_left(0, 5000), None);
        gone.mark(5001);
        assert_eq!(gone.first_left(0, 6000), Some(5000));
        assert_eq!(gone.first_left(5001, 6000), Some(5002));
    }

    #[test]
    fn a_restart_finds_what_was_gone_and_rows_below_the_low_mark_go() {
        let (mut gone, mut rows) = (DeletionBitmap::default(), BTreeMap::new());
        let mut expected = BTreeSet::new();
        for round in 0..50_u64 {
            for n in 0..400_u64 {
                let number = round * 200 + n * 7919 % 900;
                if n % 3 > 0 || round > 45 {
                    gone.mark(number);
                    expected.insert(number);
                }
            }
            gone.advance();
            gone = restarted(&mut gone, &mut rows);
            for number in 0..12_000 {
                assert_eq!(gone.is(number), number < gone.low() || expected.contains(&number), "{number}");
                assert!(number >= gone.low() || expected.contains(&number), "{number} was never marked");
            }
            assert!(rows.keys().all(|page| *page >= gone.low() / PAGE));
        }
        for from in 0..12_000 {
            let end = from + from * 31 % 3_000;
            let one_by_one = (from.max(gone.low())..end).find(|&number| !gone.is(number));
            assert_eq!(gone.first_left(from, end), one_by_one, "{from}..{end}");
        }
        let last = *expected.last().unwrap();
        gone.unmark(last);
        assert!(!restarted(&mut gone, &mut rows).is(last));
    }
}
