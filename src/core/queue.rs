//! Whether nothing waits in a queue any more, and for how long it has to stay so.

use super::time::{Monotonic, reached};
use core::time::Duration;

/// A queue that is being emptied is looked at this often.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The same once it has been empty for long enough: no new connection is on the way any more.
const LOOK_RARELY: Duration = Duration::from_millis(100);

/// What was seen of a queue that is being emptied.
#[derive(Clone, Copy, Debug)]
pub struct EmptyingQueue {
    /// Since when nothing waits, as far as was seen.
    since: Option<Monotonic>,
    /// How long that has to last.
    time: Duration,
}

impl EmptyingQueue {
    /// Of a queue that has not been looked at.
    pub fn unseen(time: Duration) -> Self {
        Self { since: None, time }
    }

    /// Nothing waits from now on, or another looks after it.
    pub fn quiet_from(self, now: Monotonic) -> Self {
        Self { since: Some(now), ..self }
    }

    /// This many connections wait.
    pub fn seen(&mut self, now: Monotonic, waiting: u32) {
        if waiting > 0 {
            self.since = None;
        } else {
            self.since.get_or_insert(now);
        }
    }

    /// Whether nothing waits, for however long.
    pub fn is_quiet(&self) -> bool {
        self.since.is_some()
    }

    /// When it has lasted long enough, if nothing comes.
    pub fn done_at(&self) -> Option<Monotonic> {
        self.since.map(|since| since + self.time)
    }

    /// When it has lasted for `most`, or long enough if that is less.
    pub fn lasts_at(&self, most: Duration) -> Option<Monotonic> {
        self.since.map(|since| since + self.time.min(most))
    }

    /// From a look to the next.
    pub fn pause(&self, now: Monotonic) -> Duration {
        if reached(self.done_at(), now) { LOOK_RARELY } else { LOOK_EVERY }
    }
}
