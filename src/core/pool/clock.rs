//! The clock of a pool, which leaves out the time in which nothing ran.

use crate::time::Monotonic;
use core::time::Duration;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PoolClock {
    /// The last step.
    stepped: Monotonic,
    /// How far it is behind real time.
    behind: Duration,
}

impl PoolClock {
    pub(super) fn step(&mut self, now: Monotonic) {
        self.stepped = now;
    }

    /// The moment of the last step.
    pub(super) fn stepped(&self) -> Monotonic {
        self.stepped
    }

    pub(super) fn is_behind(&mut self, behind: Duration) {
        self.behind = behind;
    }

    /// How far it is behind real time.
    pub(super) fn behind(&self) -> Duration {
        self.behind
    }

    /// When it is this time in the real world.
    pub(super) fn at(&self, real: Monotonic) -> Monotonic {
        real - self.behind
    }

    /// The real time.
    pub(super) fn real(&self, now: Monotonic) -> Monotonic {
        now + self.behind
    }
}
