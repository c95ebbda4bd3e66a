//! Time in the core: a distance from the start, passed in with every event. The core never reads a clock.

use core::ops::{Add, Sub};
use core::time::Duration;

/// A moment on the supervisor's monotonic clock, as the time since its start. Arithmetic saturates: a deadline that
/// is too far away is never reached.
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

/// The limit of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Zero means at once.
    For(Duration),
    /// `infinity` on the command line.
    Forever,
}

impl Patience {
    /// The deadline of a wait that begins at `now`; `None` is never.
    #[must_use]
    pub fn deadline(self, now: Monotonic) -> Option<Monotonic> {
        match self {
            Self::For(span) => Some(now + span),
            Self::Forever => None,
        }
    }
}

/// The earlier of two deadlines; `None` is never.
#[must_use]
pub fn earlier(a: Option<Monotonic>, b: Option<Monotonic>) -> Option<Monotonic> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

#[must_use]
pub fn reached(deadline: Option<Monotonic>, now: Monotonic) -> bool {
    deadline.is_some_and(|at| at <= now)
}
