//! Java's `java.util.Random`: with a seed, AWS's functions give the numbers that it gives.

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const MASK: u64 = (1 << 48) - 1;

/// The generator, at one point of its sequence.
pub(super) struct JavaRandom {
    state: u64,
}

impl JavaRandom {
    pub(super) fn new(seed: i64) -> Self {
        Self { state: (seed as u64 ^ MULTIPLIER) & MASK }
    }

    /// At most 32 bits, with their sign.
    fn next(&mut self, bits: u32) -> i32 {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(0xb) & MASK;
        (self.state >> (48 - bits)) as i32
    }

    /// A number of at least 0 and less than 1.
    pub(super) fn next_double(&mut self) -> f64 {
        let high = i64::from(self.next(26)) << 27;
        (high + i64::from(self.next(27))) as f64 / (1_u64 << 53) as f64
    }

    /// A number of at least `from` and less than `to`, which is more than `from`.
    pub(super) fn next_between(&mut self, from: i32, to: i32) -> i32 {
        match to.checked_sub(from) {
            Some(span) => from + self.next_below(span),
            None => loop {
                let drawn = self.next(32);
                if (from..to).contains(&drawn) {
                    return drawn;
                }
            },
        }
    }

    fn next_below(&mut self, bound: i32) -> i32 {
        if bound & (bound - 1) == 0 {
            return ((i64::from(bound) * i64::from(self.next(31))) >> 31) as i32;
        }
        loop {
            let bits = self.next(31);
            let drawn = bits % bound;
            // Bits of an incomplete last round would favour the small numbers.
            if (bits - drawn).checked_add(bound).is_some() {
                return drawn;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The doubles are those that java.util.Random gives for these seeds.
    #[test]
    fn the_numbers_are_those_of_java() {
        assert_eq!(JavaRandom::new(42).next_double().to_bits(), 0.727_563_680_032_868_1_f64.to_bits());
        assert_eq!(JavaRandom::new(0).next_double().to_bits(), 0.730_967_787_376_657_f64.to_bits());
        assert_eq!(JavaRandom::new(7).next_double().to_bits(), 0.730_699_042_060_042_1_f64.to_bits());
    }

    // As the algorithm that Java's documentation gives of `nextInt(bound)`, step by step.
    #[test]
    fn the_integers_below_a_bound_are_those_of_java() {
        let drawn = |seed, from: i32, to: i32, count| {
            let mut random = JavaRandom::new(seed);
            (0..count).map(|_| random.next_between(from, to)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(42, 0, 10, 10), [0, 3, 8, 4, 0, 5, 5, 8, 9, 3]);
        assert_eq!(drawn(42, -50, 50, 5), [-20, 13, -2, 34, 20]);
        assert_eq!(drawn(42, 3, 19, 8), [14, 3, 13, 3, 7, 18, 7, 14], "a power of two has a way of its own");
        let half = (1 << 30) + 1;
        let kept = [215_764_588, 880_641_847, 874_970_313, 446_064_254, 77_814_904, 714_504_434];
        assert_eq!(drawn(1, 0, half, 6), kept, "of an incomplete round nothing is taken");
        assert_eq!(drawn(42, 0, i32::MAX, 2), [1_562_431_130, 117_392_763], "the first round is all there is");
        assert_eq!(drawn(42, i32::MIN, 0, 2), [-1_170_105_035, -1_360_544_799], "too far apart for a difference");
        let mut random = JavaRandom::new(-5);
        let doubles = [random.next_double(), random.next_double(), random.next_double()].map(f64::to_bits);
        assert_eq!(
            doubles,
            [0.269_300_957_969_324_85_f64, 0.334_092_398_638_372_37, 0.380_894_805_372_598_8].map(f64::to_bits)
        );
    }

    #[test]
    fn a_drawn_integer_stays_in_its_range() {
        for seed in -200..200 {
            assert!((0..10).contains(&JavaRandom::new(seed).next_between(0, 10)));
            assert!((-8..8).contains(&JavaRandom::new(seed).next_between(-8, 8)));
            assert_eq!(JavaRandom::new(seed).next_between(5, 6), 5);
            assert!(JavaRandom::new(seed).next_between(i32::MIN, i32::MAX) < i32::MAX);
        }
    }
}
