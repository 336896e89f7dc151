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

    pub(super) fn add(&mut self, (least, most): (T, T), owner: u32) {
        let range = Range { least, most, owner };
        let at = self.blocks.partition_point(|block| block.ranges[0] < range).saturating_sub(1);
        let Some(block) = self.blocks.get_mut(at) else {
            self.blocks.push(Block { most, ranges: vec![range] });
            return;
        };
        let place = block.ranges.partition_point(|other| *other < range);
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
        let at = self.blocks.partition_point(|block| block.ranges[0] <= range).saturating_sub(1);
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
        bits | 1 << 63
    } else {
        !bits
    }
}
