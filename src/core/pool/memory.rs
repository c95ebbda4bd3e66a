//! When the workers and their container are measured, and how often in a row the container was short of memory.

use crate::time::{Monotonic, reached};
use core::time::Duration;

#[derive(Clone, Debug, Default)]
pub(super) struct MemoryWatch {
    measure_at: Option<Monotonic>,
    /// Measurements in a row that found the container short of memory.
    short: u32,
}

impl MemoryWatch {
    /// The next measurement comes after one interval, if there is one.
    pub(super) fn schedule(&mut self, now: Monotonic, every: Option<Duration>) {
        self.measure_at = every.map(|every| now + every);
    }

    pub(super) fn is_due(&self, now: Monotonic) -> bool {
        reached(self.measure_at, now)
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.measure_at
    }

    /// Counts a measurement. Returns whether the container was short of memory in this many in a row; then the count
    /// starts anew.
    pub(super) fn measured(&mut self, is_short: bool, in_a_row: u32) -> bool {
        self.short = if is_short { self.short.saturating_add(1) } else { 0 };
        let acts = is_short && self.short >= in_a_row;
        if acts {
            self.short = 0;
        }
        acts
    }
}
