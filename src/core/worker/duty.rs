//! Whether a ready worker is to go on, and if not, why.
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
    /// It is to be replaced in turn.
    Due {
        why: Reason,
        since: Monotonic,
    },
    /// It said that it is about to end, and is to be replaced in turn.
    Leaving {
        why: Reason,
        since: Monotonic,
    },
    /// It hangs, and is stopped at once, before a successor is there. `leaves` is whether it has said since that it is about to end.
    Hung {
        since: Monotonic,
        leaves: bool,
    },
}

impl Duty {
    /// Why and since when it is to be replaced in turn.
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

    /// Whether it said that it is about to end.
    pub fn leaves(self) -> bool {
        match self {
            Self::Leaving { .. } | Self::Hung { leaves: true, .. } => true,
            Self::Serving | Self::Due { .. } | Self::Hung { leaves: false, .. } => false,
        }
    }

    /// It is to be replaced, if it is not anyway. Returns whether that is news.
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

    /// One that leaves is replaced anyway. Returns whether it is known to hang from now on.
    pub fn hangs(&mut self, now: Monotonic) -> bool {
        match self {
            Self::Serving | Self::Due { .. } => {
                *self = Self::Hung { since: now, leaves: false };
                true
            }
            Self::Leaving { .. } | Self::Hung { .. } => false,
        }
    }

    /// It shows that it lives. It is still to be replaced if it said that it leaves; its limits tell for themselves.
    /// Returns whether that is news.
    pub fn is_alive(&mut self) -> bool {
        match *self {
            Self::Hung { since, leaves: true } => *self = Self::Leaving { why: Reason::Stop, since },
            Self::Hung { leaves: false, .. } => *self = Self::Serving,
            Self::Serving | Self::Due { .. } | Self::Leaving { .. } => return false,
        }
        true
    }

    /// It is not to be replaced for being away any more.
    pub fn accepts_again(&mut self) {
        match self {
            Self::Due { why: Reason::Stop, .. } => *self = Self::Serving,
            Self::Serving | Self::Due { .. } | Self::Leaving { .. } | Self::Hung { .. } => {}
        }
    }
}
