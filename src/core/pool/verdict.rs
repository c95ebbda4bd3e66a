//! What the end of a worker means, and where that is not to be known at once.
//!
//! A stop may be for all processes: a service manager, or kill(2) for a process group or for all, sends it to the
//! workers too. The kernel sends it to one process after the other, so a worker may be seen to have ended before our
//! own signal is. A worker that ends as one that was asked to stop is judged a moment later. Meanwhile no worker takes
//! its place, and new connections go elsewhere.

use super::Pool;
use super::phase::{Cause, Phase, Shutdown};
use super::slot::{Role, Seat, Slot};
use super::undecided::{Death, Undecided};
use super::workers::number;
use crate::action::{Action, WorkerAction};
use crate::backoff::WorkerFailure;
use crate::exit::{Exit, Reason};
use crate::note::{Note, PoolNote, WorkerNote};
use crate::time::Monotonic;
use crate::worker::WorkerState;
use alloc::vec::Vec;
use core::time::Duration;

/// Of the workers that start, this many are looked at when the pool is given up: what one does, the others would do.
const MOST_EXPLAINED: usize = 4;

impl Pool {
    /// Whether a worker that ended so may have been asked to stop by another than us, so that its end was no failure.
    pub(super) fn may_be_asked(&self, exit: Exit, reason: Reason) -> bool {
        [Reason::Crash, Reason::BootError].contains(&reason) && exit.is_as_asked(self.policy.stop.signal)
    }

    /// Judges those of which our own stop signal would have come by now.
    pub(super) fn judge_undecided(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        while let Some(undecided) = self.workers.decided(now) {
            let Undecided { death, worker, exit, uptime, reason, failure, .. } = undecided;
            out.push(Action::Note(Note::Worker(worker, WorkerNote::Exited { exit, reason, uptime })));
            self.judge(now, death, reason, failure, out);
        }
    }

    /// All processes are being stopped: so were those.
    pub(super) fn undecided_were_stopped(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        for Undecided { death, worker, exit, uptime, .. } in self.workers.take_undecided() {
            let reason = Reason::Stop;
            out.push(Action::Note(Note::Worker(worker, WorkerNote::Exited { exit, reason, uptime })));
            self.judge(now, death, reason, None, out);
        }
    }

    /// Takes a worker that has ended out of its slot, which stays empty until the end is judged.
    pub(super) fn take_out(&mut self, now: Monotonic, index: usize, role: Role) -> Option<Death> {
        let death = self.workers.take_out(now, index, role)?;
        if death.succeeded || role == Role::Successor {
            self.leave(now, death.lane);
        }
        Some(death)
    }

    /// Decides when the slot of a worker is filled again, and what else follows from its end.
    pub(super) fn judge(
        &mut self,
        now: Monotonic,
        death: Death,
        reason: Reason,
        failure: Option<WorkerFailure>,
        out: &mut Vec<Action>,
    ) {
        let (serves, running) = (self.phase.serves(), self.is_running());
        let Death { id, generation, slot: index, role, lane, succeeded, spawned } = death;
        // Another may have got ready since it ended.
        let alone = self.workers.ready() == 0;
        let (mut failures, mut gives_up) = (0, None);
        let at = match failure {
            Some(failure) if serves => self.try_again_at(now, index, failure, spawned),
            Some(_) | None => now,
        };
        let mut delay = at.since(now);
        let waits = !self.first.may_fill(index);
        // No worker is to take the place of those that were stopped with all the others.
        let not_before = match self.phase {
            Phase::Draining { until, .. } if reason == Reason::Stop => until,
            Phase::Unstarted
            | Phase::Running { .. }
            | Phase::Draining { .. }
            | Phase::Closing(..)
            | Phase::Ending(..)
            | Phase::Gone(_) => now,
        };
        if let Some(slot) = self.workers.slot_mut(index) {
            failures = slot.backoff.failures();
            let from = at.max(not_before).max(slot.gap_until);
            match (role, &mut slot.seat) {
                (Role::Successor, _) => slot.retry_at = from,
                // Nothing waits for that time.
                (Role::Seated, _) if succeeded => delay = Duration::ZERO,
                (Role::Seated, Seat::Vacant { spawn_at, lane: kept }) if *kept == Some(lane) => {
                    *spawn_at = from;
                    // A pool that is to stop has no reason to give up.
                    if let Some(failure) = failure.filter(|_| running) {
                        gives_up =
                            slot.backoff.count_restart(now, failure, &self.policy.respawn).filter(|_| alone);
                    }
                    if waits {
                        // It is not known for how long.
                        delay = Duration::ZERO;
                    }
                }
                // Another has come meanwhile.
                (Role::Seated, Seat::Vacant { .. } | Seat::Taken(_)) => delay = Duration::ZERO,
            }
        }
        self.reload_has_lost(now, (id, generation), reason, out);
        if let Some(restarts) = gives_up {
            self.explain_those_that_start(out);
            let cause = Cause::GaveUp { slot: number(index), restarts };
            self.begin_ending(now, Shutdown { cause, signals: 0 }, None, out);
        } else if !delay.is_zero() {
            out.push(Action::Note(Note::Pool(PoolNote::RespawnDelayed {
                slot: number(index),
                delay,
                failures,
            })));
        }
    }

    /// When the next attempt of a slot may come after this failure of a worker that was spawned at `spawned`.
    ///
    /// Where no worker has ever been ready and none has tried to reach anything, there is nothing that could come up
    /// later: then the waits are the least that the policy allows, and count from the start of the attempt before.
    fn try_again_at(
        &mut self,
        now: Monotonic,
        index: usize,
        failure: WorkerFailure,
        spawned: Monotonic,
    ) -> Monotonic {
        let Some(slot) = self.workers.slot_mut(index) else { return now };
        self.first.failed(index);
        if self.first.waits_for_nothing() {
            (spawned + slot.backoff.least_delay_after_one_more(&self.policy.respawn)).max(now)
        } else {
            now + slot.backoff.delay_after(failure, &self.policy.respawn, &mut self.rng)
        }
    }

    /// The pool is given up. Of servers with a port of their own one has it and never gets ready, and the others fail: it
    /// alone shows why.
    fn explain_those_that_start(&self, out: &mut Vec<Action>) {
        if !self.policy.drain.listens {
            return;
        }
        let workers = self.workers.in_slots();
        let starting = workers.filter(|worker| matches!(worker.state, WorkerState::Starting(_)));
        // Of one that is not over its time only the listeners are of interest.
        starting
            .take(MOST_EXPLAINED)
            .for_each(|worker| worker.act(WorkerAction::ExplainLateness { watched: false }, out));
    }

    /// Whether all workers were stopped with us, so that the drain delay is for none.
    pub(super) fn nobody_comes(&self, until: Monotonic) -> bool {
        let was_stopped =
            |slot: &Slot| matches!(slot.seat, Seat::Vacant { spawn_at, .. } if spawn_at == until);
        self.workers.is_empty() && self.workers.slots().iter().all(was_stopped)
    }
}
