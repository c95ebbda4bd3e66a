//! The end of all processes: they are asked to stop, waited for, and killed. When that begins is not decided here.

use super::action::{Action, Recipients};
use super::signal::Signal;
use super::time::{Monotonic, reached};
use alloc::vec::Vec;
use core::time::Duration;

/// The interval of further kills: a process that is killed while it forks can leave a child that was not seen.
const KILL_AGAIN: Duration = Duration::from_millis(100);

/// A process in uninterruptible sleep does not die of `SIGKILL`: after this time the supervisor exits without it.
const KILL_MARGIN: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalStop {
    /// All processes were sent the stop signal.
    Stopping { kill_at: Option<Monotonic> },
    /// All processes were sent `SIGKILL`.
    Killing {
        /// When to kill the processes that have appeared since.
        again_at: Monotonic,
        /// When to exit although processes are left.
        leave_at: Monotonic,
    },
}

impl FinalStop {
    pub fn kill_all(now: Monotonic, out: &mut Vec<Action>) -> Self {
        out.push(Action::Signal { to: Recipients::Everyone, signal: Signal::KILL });
        Self::Killing { again_at: now + KILL_AGAIN, leave_at: now + KILL_MARGIN }
    }

    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        match self {
            Self::Stopping { kill_at } => *kill_at,
            Self::Killing { again_at, leave_at } => Some(*again_at.min(leave_at)),
        }
    }

    /// Kills, or kills again, if that is due. Returns what the caller has to do.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// Nothing.
    Wait,
    /// The graceful timeout is over: all processes were killed just now.
    KilledAll,
    /// The processes that are left cannot be killed: exit.
    Leave,
}
