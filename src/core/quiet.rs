//! Whether nothing waits in a queue any more, and for how long it has to stay so.

use super::time::Monotonic;
use std::time::Duration;

/// What was seen of a queue that is being emptied.
#[derive(Clone, Copy, Debug)]
pub struct Quiet {
    /// Since when nothing waits, as far as was seen.
    since: Option<Monotonic>,
    /// How long that has to last.
    time: Duration,
}

impl Quiet {
    /// Of a queue that nobody has looked at.
    pub fn unseen(time: Duration) -> Self {
        Self { since: None, time }
    }

    /// Of somebody who has no queue of its own.
    pub fn without_queue(now: Monotonic, time: Duration) -> Self {
        Self { since: Some(now), time }
    }

    /// So many connections wait.
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

    /// Since when nothing waits, as far as was seen.
    pub fn since(&self) -> Option<Monotonic> {
        self.since
    }

    /// When it has lasted long enough, if nothing comes.
    pub fn done_at(&self) -> Option<Monotonic> {
        self.since.map(|since| since + self.time)
    }
}
