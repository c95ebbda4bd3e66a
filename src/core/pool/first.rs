//! The first start: until one worker has been ready, it is not known whether the application can start at all.
//!
//! ```text
//!  Together ──one fails──▶ Alone: the slot of the first that failed tries again, the others wait
//!     └──────one is ready─────┴──────────▶ Passed: each slot for itself, as ever after
//! ```
//! All slots are filled at once, so several workers that start well are not slower. But of a broken application one
//! traceback more tells as much as one from each slot, and what cannot start is not found out by many sooner than by one.

use super::Pool;
use crate::core::action::{Action, WorkerAction};
use crate::core::backoff::Failure;
use crate::core::time::Monotonic;
use crate::core::worker::WorkerState;
use alloc::vec::Vec;
use core::time::Duration;

/// Where the first start is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstStart {
    Together,
    Alone { slot: usize },
    Passed,
}

/// So many of those that start are looked at when the pool is given up: what one does, the others would do.
const MOST_EXPLAINED: usize = 4;

impl Pool {
    /// The pool is given up. Of servers with a port of their own one has it and never gets ready, and the others fail: it
    /// alone shows why.
    pub(super) fn explain_those_that_start(&self, out: &mut Vec<Action>) {
        if !self.policy.drain.listens {
            return;
        }
        let workers = self.workers.in_slots();
        let starting = workers.filter(|worker| matches!(worker.state, WorkerState::Starting(_)));
        // One that is not over its time is told of for what it listens on alone.
        starting
            .take(MOST_EXPLAINED)
            .for_each(|worker| worker.act(WorkerAction::ExplainLateness { watched: false }, out));
    }

    /// Whether a vacancy of this slot may be filled.
    pub(super) fn may_fill(&self, index: usize) -> bool {
        match self.first_start {
            FirstStart::Together | FirstStart::Passed => true,
            FirstStart::Alone { slot } => slot == index,
        }
    }

    /// The last slot is gone: should it have been the one that tries, another does.
    pub(super) fn first_start_has_dropped(&mut self) {
        match self.first_start {
            FirstStart::Alone { slot } if slot >= self.workers.slots().len() => {
                let vacant = self.workers.slots().iter().position(|slot| slot.seated().is_none());
                self.first_start = vacant.map_or(FirstStart::Together, |slot| FirstStart::Alone { slot });
            }
            FirstStart::Together | FirstStart::Alone { .. } | FirstStart::Passed => {}
        }
    }

    /// When the next attempt of a slot may come after this failure of a worker that was spawned at `spawned`.
    ///
    /// Where no worker has ever been ready and none has tried to reach anything, there is nothing that could come up
    /// later: then the waits are the least that the policy allows, and count from the start of the attempt before.
    pub(super) fn try_again_at(
        &mut self,
        now: Monotonic,
        index: usize,
        failure: Failure,
        spawned: Monotonic,
    ) -> Monotonic {
        let Some(slot) = self.workers.slot_mut(index) else { return now };
        match self.first_start {
            FirstStart::Together => self.first_start = FirstStart::Alone { slot: index },
            FirstStart::Alone { .. } | FirstStart::Passed => {}
        }
        match self.first_start {
            FirstStart::Together | FirstStart::Alone { .. } if !self.reached_out => {
                (spawned + slot.backoff.least_delay_after_one_more(&self.policy.respawn)).max(now)
            }
            FirstStart::Together | FirstStart::Alone { .. } | FirstStart::Passed => {
                let delay: Duration = slot.backoff.delay_after(failure, &self.policy.respawn, &mut self.rng);
                now + delay
            }
        }
    }
}
