//! The end of everything: what is left is asked to stop, waited for, and killed.

use super::action::{Action, Recipients};
use super::signal::Signal;
use super::time::{Monotonic, reached};
use alloc::vec::Vec;
use core::time::Duration;

/// A process killed while it forks can leave a child behind that we did not see: look again this often.
const KILL_AGAIN: Duration = Duration::from_millis(100);

/// A process in uninterruptible sleep does not die of `SIGKILL`: leave without it after this long.
const KILL_MARGIN: Duration = Duration::from_secs(5);

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalStop {
    /// Everything left got the stop signal.
    Stopping { kill_at: Option<Monotonic> },
    /// Everything left got `SIGKILL`.
    Killing {
        /// When to kill what has appeared since.
        again_at: Monotonic,
        /// When to leave without waiting any longer.
        leave_at: Monotonic,
    },
}

impl FinalStop {
    /// Kills every descendant.
    pub fn kill_all(now: Monotonic, out: &mut Vec<Action>) -> Self {
        out.push(Action::Signal { to: Recipients::Everyone, signal: Signal::KILL });
        Self::Killing { again_at: now + KILL_AGAIN, leave_at: now + KILL_MARGIN }
    }

    /// The next moment at which [`tick`](Self::tick) has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        match self {
            Self::Stopping { kill_at } => *kill_at,
            Self::Killing { again_at, leave_at } => Some(*again_at.min(leave_at)),
        }
    }

    /// Does what is due. Returns whether there is no point in waiting any longer.
    pub fn tick(&mut self, now: Monotonic, out: &mut Vec<Action>) -> Tick {
        match *self {
            Self::Stopping { kill_at } if reached(kill_at, now) => {
                *self = Self::kill_all(now, out);
                Tick::KilledAll
            }
            Self::Killing { leave_at, .. } if leave_at <= now => Tick::Leave,
            Self::Killing { again_at, leave_at } if again_at <= now => {
                out.push(Action::Signal { to: Recipients::Everyone, signal: Signal::KILL });
                *self = Self::Killing { again_at: now + KILL_AGAIN, leave_at };
                Tick::Wait
            }
            Self::Stopping { .. } | Self::Killing { .. } => Tick::Wait,
        }
    }
}

/// What a [`FinalStop::tick`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// Nothing has changed but time.
    Wait,
    /// The graceful timeout was over: everything left was killed just now.
    KilledAll,
    /// What is left cannot be killed; go.
    Leave,
}
