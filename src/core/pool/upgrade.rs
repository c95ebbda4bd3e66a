//! USR2: the supervisor's program is replaced, and the pool goes on in the next one. The upgrade waits until every
//! worker is ready and none is being replaced: then there is little to hand over, and no change is half done.

use super::Pool;
use super::first::FirstStart;
use super::phase::Phase;
use super::reload::Reload;
use super::slot::{Seat, Slot};
use super::workers::number;
use crate::action::{Action, Ask};
use crate::backoff::Backoff;
use crate::handover::{Handover, Kept, Vacancy};
use crate::leftovers::Leftovers;
use crate::note::{Note, PoolNote};
use crate::policy::PoolPolicy;
use crate::time::Monotonic;
use crate::worker::{Worker, WorkerState};
use alloc::boxed::Box;
use alloc::vec::Vec;

impl Pool {
    pub(super) fn upgrade_asked(&mut self, out: &mut Vec<Action>) {
        self.phase = Phase::Running { upgrade: true };
        out.push(Action::Note(Note::Pool(PoolNote::UpgradeAsked { at_rest: self.is_at_rest() })));
    }

    fn is_at_rest(&self) -> bool {
        let rests = |slot: &Slot| {
            slot.successor.is_none()
                && slot.seated().is_none_or(|worker| worker.is_trusted() && worker.due().is_none())
        };
        self.reload.to().is_none()
            && self.workers.retiring().is_empty()
            && self.lanes.none_stranded()
            && self.workers.all_decided()
            && self.workers.slots().iter().all(rests)
    }

    /// Whether an upgrade was asked for and is possible now.
    pub(super) fn upgrades_now(&self) -> bool {
        matches!(self.phase, Phase::Running { upgrade: true }) && self.is_at_rest()
    }

    pub(super) fn upgrade(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        self.phase = Phase::Running { upgrade: false };
        out.push(Action::Ask(Ask::Upgrade(Box::new(self.hand_over(now)))));
    }

    fn hand_over(&self, now: Monotonic) -> Handover {
        let keep = |worker: &Worker| match worker.state {
            WorkerState::Ready { pid, since, health, .. } => Some(Kept {
                ping_every: health.ping_every(),
                slot: worker.slot,
                number: worker.number,
                lane: worker.lane,
                generation: worker.generation,
                pid,
                spawned: worker.spawned,
                ready: since,
                requests: worker.requests,
                limits: worker.limits,
            }),
            WorkerState::Spawning
            | WorkerState::Starting(_)
            | WorkerState::Draining(_)
            | WorkerState::Stopping { .. }
            | WorkerState::Killed { .. } => None,
        };
        let vacant = |(index, slot): (usize, &Slot)| match slot.seat {
            Seat::Vacant { spawn_at, lane } => {
                Some(Vacancy { slot: number(index), lane, spawn_at, failures: slot.backoff.failures() })
            }
            Seat::Taken(_) => None,
        };
        Handover {
            now,
            behind: self.clock.behind(),
            vacant: self.workers.slots().iter().enumerate().filter_map(vacant).collect(),
            workers: self.workers.wanted(),
            generation: self.reload.current(),
            newest: self.reload.newest(),
            next_spawn: self.workers.next_spawn(),
            ever_ready: self.first.ever_had_enough(),
            leftovers: self.leftovers.to_kill().collect(),
            kept: self.workers.iter().filter_map(keep).collect(),
        }
    }

    /// The pool that was handed over. A worker's unknown properties are those of a worker that has just become ready.
    pub fn take_over(policy: PoolPolicy, seed: u64, given: &Handover) -> Self {
        let mut pool = Self::new(PoolPolicy { workers: given.workers.max(1), ..policy }, seed);
        pool.reload = Reload::take_over(given.generation, given.newest);
        pool.workers.spawn_from(given.next_spawn);
        pool.clock.is_behind(given.behind);
        pool.first = FirstStart::take_over(given.ever_ready, !given.kept.is_empty());
        pool.leftovers = Leftovers::take_over(&given.leftovers);
        for vacancy in &given.vacant {
            if let Some(slot) = pool.workers.numbered_mut(vacancy.slot) {
                slot.seat = Seat::Vacant { spawn_at: vacancy.spawn_at, lane: vacancy.lane };
                slot.backoff = Backoff::after(vacancy.failures);
            }
        }
        for kept in &given.kept {
            let id = pool.workers.next_id();
            if let Some(slot) = pool.workers.numbered_mut(kept.slot) {
                slot.seat = Seat::Taken(Worker::kept(given.now, id, kept, &pool.policy));
            }
        }
        pool
    }
}
