//! When the workers and their container are measured, and for how many consecutive measurements the container was
//! short of memory.

use crate::time::{Monotonic, reached};
use core::time::Duration;

#[derive(Clone, Debug, Default)]
pub(super) struct MemoryWatch {
    measure_at: Option<Monotonic>,
    /// Consecutive measurements that found the container short of memory.
    short: u32,
}

impl MemoryWatch {
    /// Sets the next measurement one interval from now; `None` ends the measurements.
    pub(super) fn schedule(&mut self, now: Monotonic, every: Option<Duration>) {
        self.measure_at = every.map(|every| now + every);
    }

    pub(super) fn is_due(&self, now: Monotonic) -> bool {
        reached(self.measure_at, now)
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.measure_at
    }

    /// Counts a measurement. Returns whether the container was short in `in_a_row` consecutive ones; if so, the count
    /// restarts.
    pub(super) fn measured(&mut self, is_short: bool, in_a_row: u32) -> bool {
        self.short = if is_short { self.short.saturating_add(1) } else { 0 };
        let acts = is_short && self.short >= in_a_row;
        if acts {
            self.short = 0;
        }
        acts
    }
}
