//! The meaning of a worker's end, which cannot always be known at once.
//!
//! A stop may be meant for all processes: a service manager, or kill(2) for a process group or for all, signals the
//! workers too. The kernel signals one process after the other, so a worker may be seen to have ended before the
//! supervisor's own signal is read. So a worker that ends like one that was asked to stop is judged a moment later.
//! Meanwhile no worker takes its place, and new connections go elsewhere.

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

/// When the pool is given up, this number of starting workers is explained in the log: the others would show the
/// same.
const MOST_EXPLAINED: usize = 4;

impl Pool {
    /// Whether a process other than the supervisor may have asked the worker to stop, so that its end was no failure.
    pub(super) fn may_be_asked(&self, exit: Exit, reason: Reason) -> bool {
        [Reason::Crash, Reason::BootError].contains(&reason) && exit.is_as_asked(self.policy.stop.signal)
    }

    /// Judges the ends that are no longer undecided: the supervisor's own stop signal would have come by now.
    pub(super) fn judge_undecided(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        while let Some(undecided) = self.workers.decided(now) {
            let Undecided { death, worker, exit, uptime, reason, failure, .. } = undecided;
            out.push(Action::Note(Note::Worker(worker, WorkerNote::Exited { exit, reason, uptime })));
            self.judge(now, death, reason, failure, out);
        }
    }

    /// The pool ends, so the undecided workers were stopped with it.
    pub(super) fn undecided_were_stopped(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        for Undecided { death, worker, exit, uptime, .. } in self.workers.take_undecided() {
            let reason = Reason::Stop;
            out.push(Action::Note(Note::Worker(worker, WorkerNote::Exited { exit, reason, uptime })));
            self.judge(now, death, reason, None, out);
        }
    }

    /// Takes a worker that has ended out of its slot. The slot stays empty until the end is judged.
    pub(super) fn take_out(&mut self, now: Monotonic, index: usize, role: Role) -> Option<Death> {
        let death = self.workers.take_out(now, index, role)?;
        if death.succeeded || role == Role::Successor {
            self.leave(now, death.lane);
        }
        Some(death)
    }

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
        // Another worker may have become ready since this one ended.
        let alone = self.workers.ready() == 0;
        let (mut failures, mut gives_up) = (0, None);
        let at = match failure {
            Some(failure) if serves => self.try_again_at(now, index, failure, spawned),
            Some(_) | None => now,
        };
        let mut delay = at.since(now);
        let waits = !self.first.may_fill(index);
        // Workers that were stopped together with the supervisor are not replaced during the drain delay.
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
                // No spawn waits for that time.
                (Role::Seated, _) if succeeded => delay = Duration::ZERO,
                (Role::Seated, Seat::Vacant { spawn_at, lane: kept }) if *kept == Some(lane) => {
                    *spawn_at = from;
                    // A pool that is being stopped has no reason to give up.
                    if let Some(failure) = failure.filter(|_| running) {
                        gives_up =
                            slot.backoff.count_restart(now, failure, &self.policy.respawn).filter(|_| alone);
                    }
                    if waits {
                        // The length of the wait is unknown.
                        delay = Duration::ZERO;
                    }
                }
                // Another worker has come meanwhile.
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

    /// When a slot may try again after this failure of a worker that was spawned at `spawned`. If no worker has ever
    /// been ready and none has tried to reach a service, there is nothing that could come up later: then the waits
    /// are the shortest that the policy allows, and count from the start of the failed attempt.
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

    /// The pool is given up. If the servers have a fixed port of their own, one has the port and never becomes ready,
    /// and the others fail. Only the one that still starts shows why.
    fn explain_those_that_start(&self, out: &mut Vec<Action>) {
        if !self.policy.drain.listens {
            return;
        }
        let workers = self.workers.in_slots();
        let starting = workers.filter(|worker| matches!(worker.state, WorkerState::Starting(_)));
        // Its start timeout is not over, so only its listeners matter.
        starting
            .take(MOST_EXPLAINED)
            .for_each(|worker| worker.act(WorkerAction::ExplainLateness { watched: false }, out));
    }

    /// Whether all workers were stopped together with the supervisor, so that none is left for the drain delay.
    pub(super) fn nobody_comes(&self, until: Monotonic) -> bool {
        let was_stopped =
            |slot: &Slot| matches!(slot.seat, Seat::Vacant { spawn_at, .. } if spawn_at == until);
        self.workers.is_empty() && self.workers.slots().iter().all(was_stopped)
    }
}
