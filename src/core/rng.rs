//! Random numbers from a seed: the same seed gives the same history.

use core::time::Duration;

/// A `splitmix64` generator (Steele, Lea, Flood 2014). Good enough for jitter; not for secrets.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A uniform number from 0 to `most`, both included (to within 2^-64).
    pub fn up_to(&mut self, most: u64) -> u64 {
        let wide = u128::from(self.next()).wrapping_mul(u128::from(most).wrapping_add(1));
        // The upper half of a 64 by 65 bit product is at most `most`.
        u64::try_from(wide >> 64).unwrap_or(most)
    }

    /// A uniform span from zero to `most`, in whole microseconds.
    pub fn span_up_to(&mut self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.up_to(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_uniform_and_stays_in_its_bounds() {
        let mut rng = Rng::new(7);
        let mut counts = [0u32; 11];
        for _ in 0..110_000 {
            let drawn = rng.up_to(10);
            counts[usize::try_from(drawn).unwrap()] += 1;
        }
        // 10,000 expected in each of 11 cells; the standard deviation is 95.
        assert!(counts.iter().all(|&n| (9_500..10_500).contains(&n)), "{counts:?}");
        assert_eq!(rng.up_to(0), 0);
        let widest = rng.span_up_to(Duration::MAX);
        assert!(widest <= Duration::from_micros(u64::MAX));
    }
}
