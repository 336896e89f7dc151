//! Any percentile of positive numbers, in bounded memory, within 0.1%.
//!
//! A value falls into one of 1,024 exponential buckets per power of two (see `edges`), so that a bucket is 0.068% wide.
//! A percentile is the shortest decimal of its bucket: a value of up to three significant digits comes back as it was
//! recorded. Four neighbouring buckets make one of Prometheus's native schema 8, without error.

mod codec;
mod edges;
mod statistics;
#[cfg(test)]
mod tests;

pub use codec::DecodeError;
pub use edges::{decimal, upper_edge, MAX, MIN, SLOTS};
pub use statistics::{NotPercent, Percent, Slice, Span};

/// Buckets of a page: pages are made when a value first falls into them.
const PAGE: usize = 64;
const PAGES: usize = SLOTS.div_ceil(PAGE);
/// Entries of the directory that are looked at together.
const STRETCH: usize = 32;

type Page = [u64; PAGE];

/// Why a value was not recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Refused(pub f64);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "value {} cannot be recorded: a histogram takes finite numbers of 0 or more", self.0)
    }
}

impl std::error::Error for Refused {}

/// Whether a value can be recorded: NaN, infinity and numbers below 0 cannot.
pub fn check(value: f64) -> Result<(), Refused> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(Refused(value))
    }
}

/// Why one histogram cannot be taken from another: it holds something the other does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotContained;

impl std::fmt::Display for NotContained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the histogram to subtract holds values that this one does not")
    }
}

impl std::error::Error for NotContained {}

/// Counts of recorded values.
///
/// From [`MIN`] to [`MAX`] a percentile is within 0.1% of the exact one; zero is exact; values below and above the range
/// are counted apart. Count, sum, smallest and greatest value are exact. At most 61,230 buckets of 8 bytes; an empty one
/// takes no heap.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// For each page its place in `pages` plus one, 0 = not there. Empty until the first value.
    directory: Vec<u16>,
    pages: Vec<Page>,
    /// What each page holds together: beside the pages, so that a record touches one line of a page and a percentile skips whole
    /// pages.
    totals: Vec<u64>,
    count: u64,
    zero: u64,
    below: u64,
    above: u64,
    sum: f64,
    /// Infinite while there is no value.
    min: f64,
    /// Negatively infinite while there is no value.
    max: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            directory: Vec::new(),
            pages: Vec::new(),
            totals: Vec::new(),
            count: 0,
            zero: 0,
            below: 0,
            above: 0,
            sum: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }
}

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Self {
        Self::default()
    }

    /// Count a value, if it passes [`check`].
    #[inline]
    pub fn record(&mut self, value: f64) -> Result<(), Refused> {
        self.record_n(value, 1)
    }

    /// Count a value `times` times.
    #[inline]
    pub fn record_n(&mut self, value: f64, times: u64) -> Result<(), Refused> {
        if !(MIN..=MAX).contains(&value) || times == 0 {
            return self.record_outside(value, times);
        }
        self.add(edges::slot(value), times);
        self.note(value, times);
        Ok(())
    }

    #[cold]
    fn record_outside(&mut self, value: f64, times: u64) -> Result<(), Refused> {
        check(value)?;
        if times == 0 {
            return Ok(());
        }
        match value {
            0.0 => self.zero += times,
            0.0..MIN => self.below += times,
            _ => self.above += times,
        }
        self.note(value.abs(), times);
        Ok(())
    }

    #[inline]
    fn note(&mut self, value: f64, times: u64) {
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.count += times;
        self.sum += value * times as f64;
    }

    #[inline]
    fn add(&mut self, slot: usize, times: u64) {
        let at = match self.directory.get(slot / PAGE) {
            Some(&at) if at > 0 => at,
            _ => self.add_page(slot / PAGE),
        };
        let at = usize::from(at) - 1;
        self.totals[at] += times;
        self.pages[at][slot % PAGE] += times;
    }

    #[cold]
    fn add_page(&mut self, page: usize) -> u16 {
        if self.directory.is_empty() {
            self.directory = vec![0; PAGES];
        }
        self.pages.push([0; PAGE]);
        self.totals.push(0);
        let at = self.pages.len() as u16;
        self.directory[page] = at;
        at
    }

    /// Add everything `other` holds.
    pub fn merge(&mut self, other: &Self) {
        for (slot, count) in other.slots() {
            self.add(slot, count);
        }
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.count += other.count;
        self.zero += other.zero;
        self.below += other.below;
        self.above += other.above;
        self.sum += other.sum;
    }

    /// Take away everything `other` holds, all of which must be here. Afterwards the smallest and greatest value are known
    /// to 0.1% where the exact ones may have gone.
    pub fn subtract(&mut self, other: &Self) -> Result<(), NotContained> {
        let outside = [(self.zero, other.zero), (self.below, other.below), (self.above, other.above)];
        let contained = outside.iter().all(|(ours, theirs)| theirs <= ours)
            && other.slots().all(|(slot, count)| count <= self.count_in(slot));
        if !contained {
            return Err(NotContained);
        }
        for (slot, count) in other.slots() {
            let at = usize::from(self.directory[slot / PAGE]) - 1;
            self.totals[at] -= count;
            self.pages[at][slot % PAGE] -= count;
        }
        self.count -= other.count;
        self.zero -= other.zero;
        self.below -= other.below;
        self.above -= other.above;
        if self.count == 0 {
            *self = Self::default();
            return Ok(());
        }
        self.sum -= other.sum;
        let (least, most) = (self.at_rank(1), self.at_rank(self.count));
        (self.min, self.max) = (least, most);
        Ok(())
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Sum of the values.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Arithmetic mean.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// Smallest value.
    pub fn min(&self) -> Option<f64> {
        (self.count > 0).then_some(self.min)
    }

    /// Greatest value.
    pub fn max(&self) -> Option<f64> {
        (self.count > 0).then_some(self.max)
    }

    /// Values that were zero.
    pub fn zero(&self) -> u64 {
        self.zero
    }

    /// Values above zero but below [`MIN`].
    pub fn below(&self) -> u64 {
        self.below
    }

    /// Values above [`MAX`].
    pub fn above(&self) -> u64 {
        self.above
    }

    /// Buckets that hold something, ascending: `(slot, count)`; [`upper_edge`] says where a slot ends.
    pub fn slots(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.pages_in_order().flat_map(|(first, at)| {
            let page = self.pages[at].iter().enumerate();
            page.filter(|(_, &count)| count > 0).map(move |(i, &count)| (first + i, count))
        })
    }

    /// The first slot of each page and where the page lies, ascending. Most of the directory is zero: whole stretches of it are skipped.
    fn pages_in_order(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let stretches = self.directory.chunks(STRETCH).enumerate();
        let used = stretches.filter(|(_, stretch)| stretch.iter().fold(0, |any, at| any | at) != 0);
        used.flat_map(|(number, stretch)| {
            let there = stretch.iter().enumerate().filter(|(_, &at)| at > 0);
            there.map(move |(i, &at)| ((number * STRETCH + i) * PAGE, usize::from(at) - 1))
        })
    }

    fn count_in(&self, slot: usize) -> u64 {
        match self.directory.get(slot / PAGE) {
            Some(&at) if at > 0 => self.pages[usize::from(at) - 1][slot % PAGE],
            _ => 0,
        }
    }

    /// Bytes this histogram occupies.
    pub fn memory(&self) -> usize {
        std::mem::size_of::<Self>()
            + self.directory.capacity() * std::mem::size_of::<u16>()
            + self.pages.capacity() * std::mem::size_of::<Page>()
            + self.totals.capacity() * std::mem::size_of::<u64>()
    }
}

/// Equal when the same buckets hold the same counts and the exact figures agree; the order of pages does not matter.
impl PartialEq for Histogram {
    fn eq(&self, other: &Self) -> bool {
        let exact = |h: &Self| (h.count, h.zero, h.below, h.above, h.sum.to_bits(), h.min.to_bits(), h.max.to_bits());
        exact(self) == exact(other) && self.slots().eq(other.slots())
    }
}
