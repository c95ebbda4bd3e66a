//! Which worker is spawned next, and which is replaced: one budget for limits, reloads, scaling and crashes.
//!
//! A spawn needs room: fewer workers alive than the wanted number plus `max_surge`. Room is reserved for each
//! vacancy, so a planned replacement never takes it.

use super::Pool;
use super::slot::{Role, Seat, Slot};
use super::workers::number;
use crate::action::{Action, SpawnOrder};
use crate::event::Lane;
use crate::exit::Reason;
use crate::limits::Limits;
use crate::note::{Note, PoolNote};
use crate::policy::MOST_WORKERS;
use crate::time::{Monotonic, earlier};
use crate::worker::{Accepting, Worker};
use alloc::vec::Vec;
use core::time::Duration;

/// The shortest time between two spawns in one slot, even if a worker ends by plan at once.
const SPAWN_GAP: Duration = Duration::from_millis(100);

impl Pool {
    fn most_alive(&self) -> u32 {
        self.workers.wanted().saturating_add(self.max_surge())
    }

    pub(super) fn max_surge(&self) -> u32 {
        self.policy.budget.surge(self.workers.wanted())
    }

    /// Whether there is room for one worker beside those that live and those that vacancies wait for.
    pub(super) fn may_surge(&self) -> bool {
        self.workers.alive().saturating_add(self.workers.vacancies()) < self.most_alive()
    }

    /// Whether a slot may be emptied before there is a replacement.
    pub(super) fn may_break(&self) -> bool {
        self.workers.unavailable() < self.policy.budget.unavailable(self.workers.wanted())
    }

    /// When a vacancy is to be filled, or a replacement may begin. `None` while there is no room: then an exit is
    /// awaited.
    pub(super) fn next_spawn_deadline(&self) -> Option<Monotonic> {
        if self.workers.is_spawning() {
            return None;
        }
        let has_room = self.workers.alive() < self.most_alive();
        let vacancies = self.workers.slots().iter().enumerate().filter_map(|(index, slot)| match slot.seat {
            Seat::Vacant { spawn_at, .. } if has_room && self.first.may_fill(index) => Some(spawn_at),
            Seat::Vacant { .. } | Seat::Taken(_) => None,
        });
        let planned = self.next_planned();
        vacancies.chain(planned).fold(None, |soonest, at| earlier(soonest, Some(at)))
    }

    /// Why the worker of a slot is to be replaced by plan, since when, and the earliest time for it.
    pub(super) fn wants_replacement(&self, slot: &Slot) -> Option<(Reason, Monotonic, Monotonic)> {
        let worker = slot.seated().filter(|worker| worker.is_ready() && slot.successor.is_none())?;
        if let Some((reason, since)) = worker.due() {
            let decided = worker.accepting().map_or_else(Monotonic::default, Accepting::undecided_until);
            return Some((reason, since, slot.retry_at.max(decided)));
        }
        let since = self.reload.outdated_since(worker.generation)?;
        Some((Reason::Reload, since, slot.retry_at.max(self.reload.goes_on_at()?)))
    }

    /// When the next planned replacement may begin; `None` if the budget allows none.
    fn next_planned(&self) -> Option<Monotonic> {
        if !self.is_running() || self.awaits_canary() || !(self.may_surge() || self.may_break()) {
            return None;
        }
        let waiting = self.workers.slots().iter().filter_map(|slot| self.wants_replacement(slot));
        waiting.map(|(_, _, from)| from.max(self.workers.planned_from())).min()
    }

    /// The slot that is replaced next: the one that has waited longest of those whose time has come.
    fn planned_now(&self, now: Monotonic) -> Option<usize> {
        if self.next_planned().is_none_or(|at| at > now) {
            return None;
        }
        let waiting = self.workers.slots().iter().enumerate().filter_map(|(index, slot)| {
            let (_, since, _) = self.wants_replacement(slot).filter(|(_, _, from)| *from <= now)?;
            Some((since, index))
        });
        waiting.min().map(|(_, index)| index)
    }

    /// Starts at most one worker, and none while a spawn is not answered.
    pub(super) fn spawn_one(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if self.workers.is_spawning() {
            return;
        }
        let has_room = self.workers.alive() < self.most_alive();
        let is_due = |(index, slot): (usize, &Slot)| {
            matches!(slot.seat, Seat::Vacant { spawn_at, .. } if spawn_at <= now)
                && self.first.may_fill(index)
        };
        match self.workers.slots().iter().enumerate().position(is_due).filter(|_| has_room) {
            Some(index) => self.spawn(now, index, Role::Seated, out),
            None => {
                if let Some(index) = self.planned_now(now) {
                    self.replace(now, index, out);
                }
            }
        }
    }

    /// Begins a planned replacement: with the new worker if there is room, otherwise with the end of the old one.
    fn replace(&mut self, now: Monotonic, index: usize, out: &mut Vec<Action>) {
        self.workers.plan_from(now + self.policy.budget.gap);
        if self.may_surge() {
            return self.spawn(now, index, Role::Successor, out);
        }
        let reason = self.workers.slot(index).and_then(|slot| self.wants_replacement(slot));
        // `Reload` takes a vacant seat without a lane as a slot that was emptied by plan.
        let lane = self.inherited_lane(index).filter(|_| self.reload.to().is_none());
        let (Some((reason, ..)), Some(slot)) = (reason, self.workers.slot_mut(index)) else { return };
        let vacant = Seat::Vacant { spawn_at: now.max(slot.gap_until), lane };
        if let Seat::Taken(old) = core::mem::replace(&mut slot.seat, vacant) {
            slot.backoff.served(old.served(now));
            self.reload.all_serve(now, false);
            self.retire(now, old, reason, out);
        }
    }

    fn spawn(&mut self, now: Monotonic, index: usize, role: Role, out: &mut Vec<Action>) {
        let lane = self.lane_for(index, role);
        self.lanes.give(lane);
        let generation = self.reload.to_spawn();
        let id = self.workers.next_id();
        let order = SpawnOrder {
            id,
            slot: number(index),
            number: self.workers.free_number(),
            lane,
            generation,
            limits: Limits::draw(&self.policy.recycle, &mut self.rng),
        };
        let Some(slot) = self.workers.slot_mut(index) else { return };
        let worker = Worker::new(now, &order);
        match role {
            Role::Seated => slot.seat = Seat::Taken(worker),
            Role::Successor => slot.successor = Some(worker),
        }
        slot.gap_until = now + SPAWN_GAP;
        slot.retry_at = slot.retry_at.max(slot.gap_until);
        self.reload.spawned(id, generation);
        out.push(Action::Spawn(order));
    }

    /// The lane of a new worker: the one that its slot keeps or shares, else a stranded one with waiting connections,
    /// else the lowest free one.
    fn lane_for(&self, index: usize, role: Role) -> Lane {
        let kept = self.workers.slot(index).and_then(Slot::kept_lane).filter(|_| role == Role::Seated);
        let inherited = self.inherited_lane(index).filter(|_| role == Role::Successor);
        kept.or(inherited).or_else(|| self.lanes.waiting()).unwrap_or_else(|| self.workers.free_lane())
    }

    pub(super) fn scale_up(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        self.scale_to(now, self.workers.wanted().saturating_add(1), out);
    }

    pub(super) fn scale_down(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        self.scale_to(now, self.workers.wanted().saturating_sub(1), out);
    }

    /// Sets the number of workers, at least one. The slots with the highest numbers are dropped.
    pub(super) fn scale_to(&mut self, now: Monotonic, workers: u32, out: &mut Vec<Action>) {
        let (from, workers) = (self.workers.wanted(), workers.clamp(1, MOST_WORKERS));
        if workers == from {
            return out.push(Action::Note(Note::Pool(PoolNote::NotScaled { workers })));
        }
        out.push(Action::Note(Note::Pool(PoolNote::Scaled { workers, from })));
        for _ in from..workers {
            self.workers.add_slot(now);
        }
        for _ in workers..from {
            self.drop_last(now, out);
        }
    }

    fn drop_last(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let Some(slot) = self.workers.drop_last_slot() else { return };
        let vacant = self.workers.slots().iter().position(|slot| slot.seated().is_none());
        self.first.has_dropped(self.workers.slots().len(), vacant);
        if let Some(lane) = slot.kept_lane() {
            self.leave(now, lane);
        }
        let seated = match slot.seat {
            Seat::Taken(worker) => Some(worker),
            Seat::Vacant { .. } => None,
        };
        for worker in seated.into_iter().chain(slot.successor) {
            self.reload.dropped(worker.id);
            self.retire(now, worker, Reason::Scale, out);
        }
    }
}
