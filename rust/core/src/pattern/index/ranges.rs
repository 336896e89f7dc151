//! Ranges, and which of them hold a value.

/// Ranges in one block, which is looked through from one end.
const BLOCK_MAX: usize = 64;

/// A range with its ends, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Range<T> {
    least: T,
    most: T,
    owner: u32,
}

/// Sorted ranges in blocks that know how far their ranges reach.
#[derive(Clone, Debug)]
pub(super) struct Ranges<T> {
    blocks: Vec<Block<T>>,
}

#[derive(Clone, Debug)]
struct Block<T> {
    /// The furthest end.
    most: T,
    /// Sorted; never empty.
    ranges: Vec<Range<T>>,
}

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self { blocks: Vec::new() }
    }
}

impl<T: Copy + Ord> Ranges<T> {
    pub(super) fn len(&self) -> usize {
        self.blocks.iter().map(|block| block.ranges.len()).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    pub(super) fn add(&mut self, (least, most): (T, T), owner: u32) {
        let range = Range { least, most, owner };
        let at = self.block_of(&range);
        let Some(block) = self.blocks.get_mut(at) else {
            self.blocks.push(Block { most, ranges: vec![range] });
            return;
        };
        let place = block.ranges.binary_search(&range).unwrap_or_else(|place| place);
        block.ranges.insert(place, range);
        block.most = block.most.max(most);
        if block.ranges.len() > BLOCK_MAX {
            let ranges = block.ranges.split_off(BLOCK_MAX / 2);
            block.most = furthest(&block.ranges, most);
            self.blocks.insert(at + 1, Block { most: furthest(&ranges, most), ranges });
        }
    }

    pub(super) fn remove(&mut self, (least, most): (T, T), owner: u32) {
        let range = Range { least, most, owner };
        let at = self.block_of(&range);
        let Some(block) = self.blocks.get_mut(at) else { return };
        let Ok(place) = block.ranges.binary_search(&range) else { return };
        block.ranges.remove(place);
        match block.ranges.first() {
            Some(first) => block.most = furthest(&block.ranges, first.most),
            None => {
                self.blocks.remove(at);
            }
        }
    }

    /// Where a range belongs, and is if it was added.
    fn block_of(&self, range: &Range<T>) -> usize {
        self.blocks.partition_point(|block| block.ranges[0] <= *range).saturating_sub(1)
    }

    /// Whose ranges hold the value.
    pub(super) fn each_holding(&self, value: T, mut found: impl FnMut(u32)) {
        for block in self.blocks.iter().take_while(|block| block.ranges[0].least <= value) {
            if block.most >= value {
                let begun = block.ranges.iter().take_while(|range| range.least <= value);
                begun.filter(|range| range.most >= value).for_each(|range| found(range.owner));
            }
        }
    }
}

fn furthest<T: Copy + Ord>(ranges: &[Range<T>], least: T) -> T {
    ranges.iter().map(|range| range.most).fold(ranges.first().map_or(least, |first| first.most), T::max)
}

/// Numbers in an order that integers have, too.
pub(super) fn ordered(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits >> 63 == 0 {
        bits + (1 << 63)
    } else {
        !bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More ranges than a block has, so that blocks are split, and emptied again.
    #[test]
    fn each_range_that_holds_a_value_is_found_among_many() {
        let all: Vec<(u32, u32)> =
            (0..500).map(|number| (number * 37 % 501, number * 37 % 501 + number % 90)).collect();
        let mut ranges = Ranges::default();
        for (left, removed) in [(500, 0), (250, 250), (3, 497)] {
            if removed == 0 {
                (0..).zip(&all).for_each(|(owner, range)| ranges.add(*range, owner));
            }
            (0..removed).for_each(|owner| ranges.remove(all[owner], owner as u32));
            assert_eq!(ranges.len(), left);
            assert!(ranges.blocks.iter().all(|block| (1..=BLOCK_MAX).contains(&block.ranges.len())));
            for value in 0..600 {
                let mut found = Vec::new();
                ranges.each_holding(value, |owner| found.push(owner as usize));
                found.sort_unstable();
                let held = (removed..all.len()).filter(|&owner| all[owner].0 <= value && value <= all[owner].1);
                assert_eq!(found, held.collect::<Vec<_>>(), "{value}");
            }
        }
        (0..).zip(&all).for_each(|(owner, range)| ranges.remove(*range, owner));
        assert!(ranges.blocks.is_empty());
    }

    #[test]
    fn a_block_is_split_when_it_is_full_and_not_before() {
        let mut ranges = Ranges::default();
        assert!(ranges.is_empty());
        for number in 0..=BLOCK_MAX {
            ranges.add((number, number), number as u32);
            assert!(!ranges.is_empty());
            assert_eq!(ranges.blocks.len(), if number < BLOCK_MAX { 1 } else { 2 }, "{} ranges", number + 1);
        }
    }

    #[test]
    fn ordered_numbers_stand_as_the_numbers_do() {
        let numbers =
            [f64::NEG_INFINITY, -1e308, -2.0, -1.0, -1e-308, 0.0, 1e-308, 0.5, 1.0, 2.0, 1e308, f64::INFINITY];
        assert!(numbers.map(ordered).is_sorted_by(|one, other| one < other), "{numbers:?}");
    }
}
