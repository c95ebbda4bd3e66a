//! What the end of a worker means, and where that is not to be known at once.
//!
//! A stop may be for all processes: a service manager, or kill(2) for a process group or for all, sends it to the
//! workers too. The kernel sends it to one process after the other, so a worker may be seen to have ended before our
//! own signal is. A worker that ends as one that was asked to stop is judged a moment later. Meanwhile no worker takes
//! its place, and new connections go elsewhere.

use super::slot::{Role, Seat, Slot};
use super::{Ending, Phase, Pool, number};
use crate::core::action::Action;
use crate::core::backoff::Failure;
use crate::core::event::{Lane, SpawnId};
use crate::core::exit::{Exit, Reason};
use crate::core::note::{Note, PoolNote, WorkerNote, WorkerRef};
use crate::core::time::{Monotonic, earlier};
use crate::core::worker::Worker;
use alloc::vec::Vec;
use core::time::Duration;

/// Our own stop signal comes within this time of a worker's, if it comes at all.
const OUR_STOP_WITHIN: Duration = Duration::from_millis(100);

/// A worker that has ended and left its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Death {
    id: SpawnId,
    generation: u32,
    slot: usize,
    role: Role,
    lane: Lane,
    /// A successor has taken its seat.
    succeeded: bool,
    /// No other worker was ready.
    alone: bool,
    /// When it began.
    spawned: Monotonic,
}

/// One that may have been asked to stop by a sender that stops everything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Undecided {
    /// When it was not.
    by: Monotonic,
    death: Death,
    worker: WorkerRef,
    exit: Exit,
    uptime: Duration,
    /// What its end means then.
    reason: Reason,
    failure: Option<Failure>,
}

impl Undecided {
    pub(super) fn new(
        now: Monotonic,
        death: Death,
        (worker, exit, uptime): (WorkerRef, Exit, Duration),
        (reason, failure): (Reason, Option<Failure>),
    ) -> Self {
        Self { by: now + OUR_STOP_WITHIN, death, worker, exit, uptime, reason, failure }
    }
}

impl Pool {
    /// Whether a worker that ended so may have been asked to stop by another than us, so that its end was no failure.
    pub(super) fn may_be_asked(&self, exit: Exit, reason: Reason) -> bool {
        [Reason::Crash, Reason::BootError].contains(&reason) && exit.is_as_asked(self.policy.stop.signal)
    }

    /// Whether all processes are being stopped.
    pub(super) fn stops(&self) -> bool {
        match self.phase {
            Phase::Unstarted | Phase::Running => false,
            Phase::Draining { .. } | Phase::Closing(_) | Phase::Ending { .. } | Phase::Gone => true,
        }
    }

    /// When the next of them is judged.
    pub(super) fn next_verdict(&self) -> Option<Monotonic> {
        self.undecided.iter().fold(None, |soonest, undecided| earlier(soonest, Some(undecided.by)))
    }

    /// Judges those of which our own stop signal would have come by now.
    pub(super) fn judge_undecided(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        while let Some(at) = self.undecided.iter().position(|undecided| undecided.by <= now) {
            let Undecided { death, worker, exit, uptime, reason, failure, .. } = self.undecided.remove(at);
            out.push(Action::Note(Note::Worker(worker, WorkerNote::Exited { exit, reason, uptime })));
            self.judge(now, death, reason, failure, out);
        }
    }

    /// All processes are being stopped: so were those.
    pub(super) fn undecided_were_stopped(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        for Undecided { death, worker, exit, uptime, .. } in core::mem::take(&mut self.undecided) {
            let reason = Reason::Stop;
            out.push(Action::Note(Note::Worker(worker, WorkerNote::Exited { exit, reason, uptime })));
            self.judge(now, death, reason, None, out);
        }
    }

    /// Takes a worker that is no more out of its slot, which stays empty until it is judged.
    pub(super) fn take_out(&mut self, now: Monotonic, index: usize, role: Role) -> Option<Death> {
        let was_ready =
            role == Role::Seated && self.slots.get(index).and_then(Slot::seated).is_some_and(Worker::serves);
        let alone = self.ready() == u32::from(was_ready);
        let slot = self.slots.get_mut(index)?;
        let worker = slot.at(role)?;
        let (id, generation, lane, spawned) = (worker.id, worker.generation, worker.lane, worker.spawned);
        let mut succeeded = false;
        let not_yet = now + OUR_STOP_WITHIN;
        match role {
            Role::Successor => {
                slot.successor = None;
                slot.retry_at = not_yet.max(slot.gap_until);
            }
            Role::Seated => match slot.successor.take() {
                Some(successor) => {
                    slot.seat = Seat::Taken(successor);
                    succeeded = true;
                }
                None => {
                    slot.seat = Seat::Vacant { spawn_at: not_yet.max(slot.gap_until), lane: Some(lane) };
                }
            },
        }
        if succeeded || role == Role::Successor {
            self.leave(now, lane);
        }
        Some(Death { id, generation, slot: index, role, lane, succeeded, alone, spawned })
    }

    /// Decides when the slot of a worker is filled again, and what else follows from its end.
    pub(super) fn judge(
        &mut self,
        now: Monotonic,
        death: Death,
        reason: Reason,
        failure: Option<Failure>,
        out: &mut Vec<Action>,
    ) {
        let (serves, running) = (self.serves(), self.is_running());
        let Death { id, generation, slot: index, role, lane, succeeded, alone, spawned } = death;
        let (mut failures, mut gives_up) = (0, None);
        let at = match failure {
            Some(failure) if serves => self.try_again_at(now, index, failure, spawned),
            Some(_) | None => now,
        };
        let mut delay = at.since(now);
        let waits = !self.may_fill(index);
        // No worker is to take the place of those that were stopped with all the others.
        let not_before = match self.phase {
            Phase::Draining { until } if reason == Reason::Stop => until,
            Phase::Unstarted
            | Phase::Running
            | Phase::Draining { .. }
            | Phase::Closing(_)
            | Phase::Ending { .. }
            | Phase::Gone => now,
        };
        if let Some(slot) = self.slots.get_mut(index) {
            failures = slot.backoff.failures();
            let from = at.max(not_before).max(slot.gap_until);
            match (role, &mut slot.seat) {
                (Role::Successor, _) => slot.retry_at = from,
                // Nothing waits for that time.
                (Role::Seated, _) if succeeded => delay = Duration::ZERO,
                (Role::Seated, Seat::Vacant { spawn_at, lane: kept }) if *kept == Some(lane) => {
                    *spawn_at = from;
                    // A pool that is told to stop has no reason to give up.
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
        self.roll_has_lost(now, (id, generation), reason, out);
        if let Some(restarts) = gives_up {
            self.ending = Ending::GaveUp { slot: number(index), restarts };
            self.explain_those_that_start(out);
            self.begin_ending(now, None, out);
        } else if !delay.is_zero() {
            out.push(Action::Note(Note::Pool(PoolNote::RespawnDelayed {
                slot: number(index),
                delay,
                failures,
            })));
        }
    }

    /// Whether all workers were stopped with us, so that the drain delay is for none.
    pub(super) fn nobody_comes(&self, until: Monotonic) -> bool {
        let was_stopped =
            |slot: &Slot| matches!(slot.seat, Seat::Vacant { spawn_at, .. } if spawn_at == until);
        self.is_empty() && self.slots.iter().all(was_stopped)
    }
}
