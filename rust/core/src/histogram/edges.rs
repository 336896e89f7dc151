//! Where the buckets lie: bucket `i` holds `2^((i-1)/1024) < value <= 2^(i/1024)`.
//!
//! No logarithm is taken: the exponent of the float gives the power of two, and two small tables, made when this is
//! compiled, give the place inside it. The tables are integers, so every machine has the same buckets.

/// Smallest value of the range, inclusive.
pub const MIN: f64 = 1e-9;
/// Greatest value of the range, inclusive.
pub const MAX: f64 = 1e9;

/// Buckets per power of two: Prometheus's schema 8 has 256.
const PER_OCTAVE: usize = 1024;
const MANTISSA_BITS: u32 = 52;
const MANTISSA: u64 = (1 << MANTISSA_BITS) - 1;
/// A power of two in equal cells, each narrower than the narrowest bucket, so that a cell holds one edge at most.
const CELL_BITS: u32 = 11;
const CELLS: usize = 1 << CELL_BITS;

/// `EDGES[k]`: the mantissa of `2^(k/1024)`, cut to 52 bits; `EDGES[1024]` stands for the next power of two.
static EDGES: [u64; PER_OCTAVE + 1] = edges();
/// `STARTS[c]`: the lowest `k` whose edge is not below the start of cell `c`.
static STARTS: [u16; CELLS] = starts();

/// Index, counted from exponent bits of zero, of the bucket of [`MIN`].
const FIRST: usize = index(MIN, &edges(), &starts());
/// Number of buckets from [`MIN`] to [`MAX`].
pub const SLOTS: usize = index(MAX, &edges(), &starts()) - FIRST + 1;

/// `2^(k/1024) - 1` for all k, as 52-bit fractions: products of repeated square roots of two with 63 fraction bits.
const fn edges() -> [u64; PER_OCTAVE + 1] {
    const ONE: u128 = 1 << 63;
    let mut roots = [0u128; 10];
    let mut root = 2 * ONE;
    let mut i = 0;
    while i < roots.len() {
        root = (root << 63).isqrt();
        roots[i] = root;
        i += 1;
    }
    let mut edges = [0; PER_OCTAVE + 1];
    let mut k = 0;
    while k < PER_OCTAVE {
        let mut product = ONE;
        let mut bit = 0;
        while bit < roots.len() {
            if k >> (roots.len() - 1 - bit) & 1 == 1 {
                product = (product * roots[bit]) >> 63;
            }
            bit += 1;
        }
        edges[k] = ((product - ONE) >> (63 - MANTISSA_BITS)) as u64;
        k += 1;
    }
    edges[PER_OCTAVE] = 1 << MANTISSA_BITS;
    edges
}

const fn starts() -> [u16; CELLS] {
    let edges = edges();
    let mut starts = [0; CELLS];
    let (mut cell, mut k) = (0, 0);
    while cell < CELLS {
        while edges[k] < (cell as u64) << (MANTISSA_BITS - CELL_BITS) {
            k += 1;
        }
        starts[cell] = k as u16;
        cell += 1;
    }
    starts
}

#[inline]
const fn index(value: f64, edges: &[u64; PER_OCTAVE + 1], starts: &[u16; CELLS]) -> usize {
    let bits = value.to_bits();
    let mantissa = bits & MANTISSA;
    let k = starts[(mantissa >> (MANTISSA_BITS - CELL_BITS)) as usize] as usize;
    (bits >> MANTISSA_BITS) as usize * PER_OCTAVE + k + (mantissa > edges[k]) as usize
}

/// The bucket of a value between [`MIN`] and [`MAX`], counted from the one that holds [`MIN`].
#[inline]
pub(super) fn slot(value: f64) -> usize {
    index(value, &EDGES, &STARTS) - FIRST
}

/// The greatest value that falls into a slot.
pub fn upper_edge(slot: usize) -> f64 {
    let index = (slot + FIRST) as u64;
    let per_octave = PER_OCTAVE as u64;
    f64::from_bits(((index / per_octave) << MANTISSA_BITS) + EDGES[(index % per_octave) as usize])
}

/// The `k` of Prometheus's schema 8 whose bucket `2^((k-1)/256) < value <= 2^(k/256)` holds the slot.
pub(super) fn schema_8(slot: usize) -> i32 {
    let index = (slot + FIRST) as i32 - 1023 * PER_OCTAVE as i32;
    index.div_euclid(4) + i32::from(index.rem_euclid(4) > 0)
}

/// The shortest decimal inside a slot; of several equally short ones the one nearest its middle.
pub fn decimal(slot: usize) -> f64 {
    let (low, high) = (upper_edge_before(slot), upper_edge(slot));
    let middle = f64::midpoint(low, high);
    let magnitude = high.log10().floor() as i32;
    // A slot is too narrow for two decimals of three digits: what has fewer is found as one of these.
    for digits_after_first in 2..=5 {
        let scale = digits_after_first - magnitude;
        let value = scaled(scaled(middle, scale).round(), -scale);
        if (MIN..=MAX).contains(&value) && self::slot(value) == slot {
            return value;
        }
    }
    middle
}

fn upper_edge_before(slot: usize) -> f64 {
    if slot == 0 {
        MIN
    } else {
        upper_edge(slot - 1)
    }
}

/// `value * 10^power`, rounded once for whole values: what the decimal literal would parse to.
fn scaled(value: f64, power: i32) -> f64 {
    if power.is_negative() {
        value / 10f64.powi(-power)
    } else {
        value * 10f64.powi(power)
    }
}
