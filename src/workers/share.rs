//! The time that one source of work may take before the others get their turn.
//!
//! Signals, ended children, notices, output and requests can each come faster than they are handled, so a source may
//! never be empty. So each source is handled for a limited time. The rest waits in the kernel, whose descriptor stays
//! ready.

use std::time::Duration;
use tokio::time::Instant;

/// A turn of the loop has about six sources, and an answer of the endpoint takes a few turns.
const TIME: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug)]
pub struct TimeShare(Instant);

impl TimeShare {
    #[must_use]
    pub fn begin() -> Self {
        Self(Instant::now())
    }

    /// Whether other sources get their turn. Call it after one item was handled, so that each turn makes progress.
    #[must_use]
    pub fn is_over(self) -> bool {
        self.0.elapsed() >= TIME
    }
}
