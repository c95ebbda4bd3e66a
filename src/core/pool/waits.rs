//! The connections that workers have in hand when they drain or the pool closes, and the log of long waits for them.

use super::Pool;
use super::phase::Phase;
use super::slot::Slot;
use super::workers::number;
use crate::action::{Action, PoolCheck};
use crate::event::{Connections, Pid};
use crate::note::{Note, WorkerNote};
use crate::time::Monotonic;
use crate::worker::{Worker, WorkerState};
use alloc::vec::Vec;
use core::time::Duration;

impl Pool {
    pub(super) fn connections_seen(
        &mut self,
        now: Monotonic,
        pid: Pid,
        found: Option<Connections>,
        took: Duration,
    ) {
        // All draining workers together use no more time for looks than one alone would.
        let looked_at = |worker: &&Worker| matches!(worker.state, WorkerState::Draining(_));
        let together = number(self.workers.iter().filter(looked_at).count());
        self.workers.with(pid, |worker| {
            if let WorkerState::Draining(draining) = &mut worker.state {
                draining.in_hand.seen(now, found, took.saturating_mul(together));
            }
        });
    }

    pub(super) fn all_connections_seen(
        &mut self,
        now: Monotonic,
        found: Option<Connections>,
        took: Duration,
    ) {
        if let Phase::Closing(closing, _) = &mut self.phase {
            closing.in_hand.seen(now, found, took);
        }
    }

    /// While the pool closes, the connections of all workers are looked at together.
    pub(super) fn look_at_all_connections(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let Phase::Closing(closing, _) = &mut self.phase else { return };
        if let Some(since) = closing.in_hand.look(now) {
            let takes = |worker: &&Worker| {
                matches!(worker.state, WorkerState::Ready { .. } | WorkerState::Draining(_))
            };
            let pids = self.workers.iter().filter(takes).filter_map(Worker::pid).collect();
            out.push(Action::Check(PoolCheck::Connections { pids, since }));
        }
    }

    /// Logs a long wait, once, and what would shorten it.
    pub(super) fn note_long_waits(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let surge = self.surge_to_go_on();
        for worker in self.workers.iter_mut() {
            let WorkerState::Draining(draining) = &mut worker.state else { continue };
            let pid = draining.pid;
            if let Some(connections) = draining.in_hand.waits_long(now) {
                let worker = worker.reference(pid);
                out.push(Action::Note(Note::Worker(worker, WorkerNote::Busy { connections, surge })));
            }
        }
    }

    /// The surge that would let the next replacement begin; `None` if none waits, or if it waits for something else.
    pub(super) fn surge_to_go_on(&self) -> Option<u32> {
        let waits = |slot: &Slot| self.wants_replacement(slot).is_some();
        let is_held_up = self.is_running() && !self.may_surge() && !self.may_break();
        (is_held_up && self.workers.slots().iter().any(waits)).then(|| self.max_surge().saturating_add(1))
    }
}
