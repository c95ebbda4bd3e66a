//! Whether the application reports the requests of a worker that is to be replaced after a number of them.
//!
//! If it reports none although the worker has connections, the log says so. The time of the looks is decided here: a
//! minute after the worker is ready, then at growing intervals. One report ends them.

use crate::time::{Monotonic, reached};
use core::time::Duration;

/// The time from ready to the first look, and the longest pause between two looks.
const FIRST: Duration = Duration::from_secs(60);
const RARELY: Duration = Duration::from_secs(60 * 60);

#[derive(Clone, Copy, Debug)]
pub struct Counting {
    look_at: Monotonic,
    pause: Duration,
}

impl Counting {
    /// The worker is ready now.
    pub fn new(now: Monotonic) -> Self {
        Self { look_at: now + FIRST, pause: FIRST }
    }

    pub fn look_at(&self) -> Monotonic {
        self.look_at
    }

    /// Whether a look is due; if so, the next one is scheduled.
    pub fn is_due(&mut self, now: Monotonic) -> bool {
        let due = reached(Some(self.look_at), now);
        if due {
            self.pause = self.pause.saturating_mul(2).min(RARELY);
            self.look_at = now + self.pause;
        }
        due
    }
}
