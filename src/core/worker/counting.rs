//! Whether the application counts the requests of a worker that is to be replaced by their number.
//!
//! Where they are to be reported to us, and none is, people are told, should the worker have connections. When to look
//! is decided here: a minute after it is ready, and then less and less often. One report ends it.

use crate::time::{Monotonic, reached};
use core::time::Duration;

/// From when it is ready to the first look, and the longest pause between two.
const FIRST: Duration = Duration::from_secs(60);
const RARELY: Duration = Duration::from_secs(60 * 60);

#[derive(Clone, Copy, Debug)]
pub struct Counting {
    look_at: Monotonic,
    pause: Duration,
}

impl Counting {
    /// It is ready from now on.
    pub fn new(now: Monotonic) -> Self {
        Self { look_at: now + FIRST, pause: FIRST }
    }

    pub fn look_at(&self) -> Monotonic {
        self.look_at
    }

    /// Whether to look now.
    pub fn is_due(&mut self, now: Monotonic) -> bool {
        let due = reached(Some(self.look_at), now);
        if due {
            self.pause = self.pause.saturating_mul(2).min(RARELY);
            self.look_at = now + self.pause;
        }
        due
    }
}
