//! Whether a queue that gets no new connections is empty, and for how long. How a look is made is not known here.

use super::time::{Monotonic, reached};
use core::time::Duration;

/// The interval of the looks at a queue that is being emptied.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The same after the queue has been empty for long enough: no new connection is on its way then.
const LOOK_RARELY: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
pub struct EmptyingQueue {
    /// Since when the queue was seen to be empty; `None` if a connection waits, or before the first look.
    since: Option<Monotonic>,
    /// How long it has to stay empty.
    time: Duration,
}

impl EmptyingQueue {
    pub fn unseen(time: Duration) -> Self {
        Self { since: None, time }
    }

    /// The queue counts as empty from `now`: other workers serve it, or there is none.
    pub fn quiet_from(self, now: Monotonic) -> Self {
        Self { since: Some(now), ..self }
    }

    /// The result of a look.
    pub fn seen(&mut self, now: Monotonic, waiting: u32) {
        if waiting > 0 {
            self.since = None;
        } else {
            self.since.get_or_insert(now);
        }
    }

    /// Whether the queue was empty at the last look.
    pub fn is_quiet(&self) -> bool {
        self.since.is_some()
    }

    /// When the queue has been empty for long enough, if it stays so.
    pub fn done_at(&self) -> Option<Monotonic> {
        self.since.map(|since| since + self.time)
    }

    /// When it has been empty for `most`, or for long enough if that is shorter.
    pub fn lasts_at(&self, most: Duration) -> Option<Monotonic> {
        self.since.map(|since| since + self.time.min(most))
    }

    /// The pause between two looks.
    pub fn pause(&self, now: Monotonic) -> Duration {
        if reached(self.done_at(), now) { LOOK_RARELY } else { LOOK_EVERY }
    }
}
