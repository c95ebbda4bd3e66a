//! What one source of work may take before the others get their turn.
//!
//! Signals, ended children, notices, output and questions can each come faster than they are dealt with, and then there is
//! always more of the same. So none is taken until nothing is left, but for a while; what is left waits where it is, in the
//! kernel, whose descriptor stays ready.

use std::time::Duration;
use tokio::time::Instant;

/// A turn of the loop has some six sources, and an answer of the endpoint takes a few turns.
const TIME: Duration = Duration::from_millis(1);

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct TimeShare(Instant);

impl TimeShare {
    /// From now on.
    #[must_use]
    pub fn begin() -> Self {
        Self(Instant::now())
    }

    /// Whether it is the others' turn. To be asked after something was done, so that something is.
    #[must_use]
    pub fn is_over(self) -> bool {
        self.0.elapsed() >= TIME
    }
}
