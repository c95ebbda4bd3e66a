//! The clock of a pool, which leaves out the time in which nothing ran, and its distance from real time.

use crate::time::Monotonic;
use core::time::Duration;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PoolClock {
    /// The time of the last step.
    stepped: Monotonic,
    /// How far the clock is behind real time.
    behind: Duration,
}

impl PoolClock {
    pub(super) fn step(&mut self, now: Monotonic) {
        self.stepped = now;
    }

    pub(super) fn stepped(&self) -> Monotonic {
        self.stepped
    }

    pub(super) fn is_behind(&mut self, behind: Duration) {
        self.behind = behind;
    }

    pub(super) fn behind(&self) -> Duration {
        self.behind
    }

    /// The pool's time at a moment of real time.
    pub(super) fn at(&self, real: Monotonic) -> Monotonic {
        real - self.behind
    }

    pub(super) fn real(&self, now: Monotonic) -> Monotonic {
        now + self.behind
    }
}
