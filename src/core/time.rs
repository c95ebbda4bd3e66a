//! Time as the core sees it: a distance from the start, handed in with every event.

use core::ops::{Add, Sub};
use core::time::Duration;

/// A moment on the supervisor's monotonic clock, as the time since its start.
///
/// The core never reads a clock, so a test can let years pass in microseconds. Arithmetic
/// saturates: a deadline too far away is simply never reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(pub Duration);

impl Monotonic {
    /// The time since `earlier`, or zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Monotonic {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }
}

impl Sub<Duration> for Monotonic {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span))
    }
}

/// How long to wait before the next, harder step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// At most this long; zero means at once.
    For(Duration),
    /// For ever (`infinity` on the command line).
    Forever,
}

impl Patience {
    /// The deadline of a wait that begins at `now`; `None` if there is none.
    #[must_use]
    pub fn deadline(self, now: Monotonic) -> Option<Monotonic> {
        match self {
            Self::For(span) => Some(now + span),
            Self::Forever => None,
        }
    }
}

/// The earlier of two deadlines, where `None` is never.
#[must_use]
pub fn earlier(a: Option<Monotonic>, b: Option<Monotonic>) -> Option<Monotonic> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

/// Whether a deadline has come.
#[must_use]
pub fn reached(deadline: Option<Monotonic>, now: Monotonic) -> bool {
    deadline.is_some_and(|at| at <= now)
}
