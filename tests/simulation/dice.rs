//! Chance for the histories, from the same generator that the core uses.

use prefork_core::rng::Rng;
use std::time::Duration;

pub const MS: Duration = Duration::from_millis(1);

/// A seeded die with the throws that histories need.
pub struct Dice(Rng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(Rng::new(seed))
    }

    /// 0 to `most`, both included.
    pub fn up_to(&mut self, most: u64) -> u64 {
        self.0.up_to(most)
    }

    /// True once in `n` throws.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.up_to(n - 1) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.up_to(from.len() as u64 - 1)).unwrap()]
    }

    /// One of these numbers of milliseconds.
    pub fn pick_ms(&mut self, from: &[u64]) -> Duration {
        Duration::from_millis(self.pick(from))
    }

    /// Anything up to `most`; often a corner, or just beside one.
    pub fn span(&mut self, most: Duration) -> Duration {
        match self.up_to(7) {
            0 | 1 => Duration::ZERO,
            2 => MS.min(most),
            3 => most,
            4 => most.saturating_sub(MS),
            5 => self.0.span_up_to(most / 20),
            _ => self.0.span_up_to(most),
        }
    }
}
