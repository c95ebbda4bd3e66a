//! Whether a ready worker goes on serving, and if not, why. What is then done is not known here.
//!
//! | state   | becomes due | says it leaves | hangs | shows that it lives | accepts again          |
//! |---------|-------------|----------------|-------|---------------------|------------------------|
//! | Serving | Due         | Leaving        | Hung  | -                   | -                      |
//! | Due     | -           | Leaving        | Hung  | -                   | Serving, if due for it |
//! | Leaving | -           | -              | -     | -                   | -                      |
//! | Hung    | -           | Hung, leaves   | -     | Serving, or Leaving | -                      |

use crate::exit::Reason;
use crate::time::Monotonic;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    Serving,
    /// The worker is to be replaced in turn.
    Due {
        why: Reason,
        since: Monotonic,
    },
    /// The worker said `STOPPING=1`, and is to be replaced in turn.
    Leaving {
        why: Reason,
        since: Monotonic,
    },
    /// The worker hangs, and is stopped at once, before it has a successor. `leaves` is whether it has said
    /// `STOPPING=1`.
    Hung {
        since: Monotonic,
        leaves: bool,
    },
}

impl Duty {
    /// Why and since when the worker is to be replaced in turn.
    pub fn due(self) -> Option<(Reason, Monotonic)> {
        match self {
            Self::Due { why, since } | Self::Leaving { why, since } => Some((why, since)),
            Self::Serving | Self::Hung { .. } => None,
        }
    }

    pub fn hung_since(self) -> Option<Monotonic> {
        match self {
            Self::Hung { since, .. } => Some(since),
            Self::Serving | Self::Due { .. } | Self::Leaving { .. } => None,
        }
    }

    /// Whether the worker said `STOPPING=1`.
    pub fn leaves(self) -> bool {
        match self {
            Self::Leaving { .. } | Self::Hung { leaves: true, .. } => true,
            Self::Serving | Self::Due { .. } | Self::Hung { leaves: false, .. } => false,
        }
    }

    /// The worker is to be replaced. Returns whether that is new.
    pub fn becomes_due(&mut self, now: Monotonic, why: Reason) -> bool {
        let is_news = *self == Self::Serving;
        if is_news {
            *self = Self::Due { why, since: now };
        }
        is_news
    }

    pub fn says_it_leaves(&mut self, now: Monotonic) {
        *self = match *self {
            Self::Serving => Self::Leaving { why: Reason::Stop, since: now },
            Self::Due { why, since } | Self::Leaving { why, since } => Self::Leaving { why, since },
            Self::Hung { since, .. } => Self::Hung { since, leaves: true },
        };
    }

    /// A leaving worker is replaced anyway. Returns whether the worker hangs from now on.
    pub fn hangs(&mut self, now: Monotonic) -> bool {
        match self {
            Self::Serving | Self::Due { .. } => {
                *self = Self::Hung { since: now, leaves: false };
                true
            }
            Self::Leaving { .. } | Self::Hung { .. } => false,
        }
    }

    /// The worker shows that it lives. If it leaves, it is still to be replaced; a limit makes it due again by
    /// itself. Returns whether it was hung.
    pub fn is_alive(&mut self) -> bool {
        match *self {
            Self::Hung { since, leaves: true } => *self = Self::Leaving { why: Reason::Stop, since },
            Self::Hung { leaves: false, .. } => *self = Self::Serving,
            Self::Serving | Self::Due { .. } | Self::Leaving { .. } => return false,
        }
        true
    }

    /// The worker is no longer due for having stopped accepting.
    pub fn accepts_again(&mut self) {
        match self {
            Self::Due { why: Reason::Stop, .. } => *self = Self::Serving,
            Self::Serving | Self::Due { .. } | Self::Leaving { .. } | Self::Hung { .. } => {}
        }
    }
}
