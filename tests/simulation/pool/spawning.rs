//! The budget: which worker may be spawned, which may be replaced, and which get new connections.

use super::super::rule::{Held, check};
use super::facts::{Facts, Slot, Worker};
use prefork_core::action::SpawnOrder;
use prefork_core::backoff::{CANNOT_BOOT_WAIT, HEALTHY_AFTER};
use prefork_core::exit::Reason;
use prefork_core::{Lane, Monotonic, Pid};
use std::time::Duration;

pub const SPAWN_GAP: Duration = Duration::from_millis(100);

/// One that says that it leaves is replaced so much later, when it is known whether it has left.
const DECIDED_WITHIN: Duration = Duration::from_millis(300);

impl Slot {
    /// A worker that was ready for this long has ended or makes way.
    pub fn served(&mut self, up: Duration) {
        self.failures = if up >= HEALTHY_AFTER { 0 } else { self.failures };
    }

    /// Something may have changed that made its last workers fail.
    pub fn hastens(&mut self, now: Monotonic) {
        (self.not_before, self.owed_by, self.retry_by) = (now, self.owed_by.min(now), now);
    }
}

impl Facts {
    pub fn longest_wait(&self) -> Duration {
        self.policy.respawn.backoff_max.max(CANNOT_BOOT_WAIT)
    }

    pub fn spawns(&mut self, now: Monotonic, order: SpawnOrder) -> Held {
        check(self.is_open() && !self.end.held, "a spawn after the stop began")?;
        check(self.pending.is_none(), "two spawns at once")?;
        check(self.last_id.replace(order.id).is_none_or(|last| last < order.id), "a spawn id again")?;
        let at = order.slot as usize;
        check(at < self.wanted(), "no such slot")?;
        check(self.alive() < self.most_alive(), "more workers are alive than may be")?;
        check(!self.has_successor(at), "a second extra worker in one slot")?;
        let last = self.slots[at].last_spawn;
        check(last.is_none_or(|last| last + SPAWN_GAP <= now), "two spawns of one slot within 100 ms")?;
        check(self.slots[at].not_before <= now, "sooner than the backoff allows")?;
        let generation = self.roll.map_or(self.generation, |roll| roll.to);
        check(order.generation == generation, "of another generation")?;
        self.may_have_lane(order.lane, at)?;
        let has = |number: u32| self.live.iter().any(|w| w.order.number == number);
        check(!has(order.number) && (0..order.number).all(has), "not the lowest number that is free")?;
        if !self.is_vacant(at) {
            let reason = self.wants_replacement(at).ok_or("a replacement for a worker that is not due")?;
            check(self.may_surge(), "a replacement takes the room of a vacancy")?;
            self.begins_planned(now, reason)?;
        }
        if !self.canary_is_tried() {
            self.roll.iter_mut().for_each(|roll| roll.canary = Some(order.id));
        }
        let slot = &mut self.slots[at];
        (slot.last_spawn, slot.kept) = (Some(now), None);
        self.pending = Some(order);
        let recycle = self.policy.recycle;
        let requests = recycle.max_requests.map(|l| l.base..=l.base + l.jitter);
        let ages = recycle.max_age.map(|l| l.base..=l.base + l.jitter);
        let sizes = recycle.max_memory.map(|l| l.base..=l.base + l.jitter);
        let fits = is_within(order.limits.requests, requests)
            && is_within(order.limits.age, ages)
            && is_within(order.limits.memory, sizes);
        check(fits, "a limit out of its bounds")
    }

    /// Listeners belong to one worker at a time, and those of one that died are for the next of its slot. Those of one that
    /// takes no connections any more are for its successor.
    fn may_have_lane(&self, lane: Lane, slot: usize) -> Held {
        let inherits = self.seated(slot).is_some_and(|w| w.is_up() && w.away && w.order.lane == lane);
        let have = self.live.iter().filter(|w| w.order.lane == lane).count();
        let kept = self.slots[slot].kept.filter(|_| self.is_vacant(slot));
        match kept {
            Some(kept) => check(kept == lane, "not the listeners of its predecessor"),
            None if inherits && self.policy.drain.shares => check(have == 1, "listeners that two have"),
            None => check(!self.is_owned(lane), "listeners that another has, or is to have"),
        }
    }

    /// Whether one more has room beside those that are and are to come.
    fn may_surge(&self) -> bool {
        let vacancies = (0..self.wanted()).filter(|slot| self.is_vacant(*slot)).count();
        self.alive() + vacancies < self.most_alive()
    }

    fn may_break(&self) -> bool {
        self.wanted() - self.serving() < self.most_missing()
    }

    /// Why the slot's worker is to be replaced by plan.
    fn wants_replacement(&self, slot: usize) -> Option<Reason> {
        let worker = self.seated(slot).filter(|w| w.is_up() && !self.has_successor(slot))?;
        worker.due.or(self.is_outdated(worker).then_some(Reason::Reload))
    }

    pub fn is_outdated(&self, worker: &Worker) -> bool {
        self.roll.is_some_and(|roll| worker.order.generation < roll.to)
    }

    /// Whether everything waits for the first worker of a generation, which comes alone.
    fn awaits_canary(&self) -> bool {
        let is_emptied = |slot: usize| self.is_vacant(slot) && self.slots[slot].kept.is_none();
        let is_open = self.roll.is_some_and(|roll| !roll.confirmed);
        is_open && (self.canary_is_tried() || (0..self.wanted()).any(is_emptied))
    }

    fn canary_is_tried(&self) -> bool {
        let Some(canary) = self.roll.and_then(|roll| roll.canary) else { return false };
        let workers = self.live.iter().chain(self.dead.iter().map(|dead| &dead.worker));
        let mut orders = workers.filter(|w| w.retired.is_none()).map(|w| w.order).chain(self.pending);
        orders.any(|order| order.id == canary)
    }

    /// From when on a replacement for this reason may be: a reload that is hurt waits until it is healed.
    fn goes_on_at(&self, reason: Reason) -> Option<Monotonic> {
        match self.roll.filter(|roll| roll.hurt && reason == Reason::Reload) {
            Some(roll) => roll.whole_since.map(|since| since + HEALTHY_AFTER),
            None => Some(Monotonic::default()),
        }
    }

    fn begins_planned(&mut self, now: Monotonic, reason: Reason) -> Held {
        check(self.is_running(), "a replacement after TERM")?;
        check(!self.awaits_canary(), "a replacement while the first of a generation is tried")?;
        let goes_on = self.goes_on_at(reason).is_some_and(|from| from <= now);
        check(goes_on, "a reload goes on though a new worker has failed")?;
        check(self.planned_from <= now, "two planned replacements within the gap")?;
        self.planned_from = now + self.policy.budget.gap;
        Ok(())
    }

    /// A worker makes way, if it has not: before there is another in its place.
    pub fn makes_way(&mut self, now: Monotonic, pid: Pid, reason: Reason) -> Held {
        let worker = self.worker(pid)?;
        if let Some(retired) = worker.retired {
            return check(retired == reason, "for another reason");
        }
        let slot = worker.slot();
        let lane = Some(worker.order.lane).filter(|_| worker.away);
        let alone = self.live.iter().filter(|w| Some(w.order.lane) == lane).count() == 1;
        check(self.is_seated(pid), "it has no slot")?;
        check(self.wants_replacement(slot) == Some(reason), "it is not due, or not for that")?;
        check(!self.may_surge(), "a break where there is room for the make")?;
        check(self.may_break(), "a break before the make, beyond the budget")?;
        self.begins_planned(now, reason)?;
        self.roll.iter_mut().for_each(|roll| roll.whole_since = None);
        self.slots[slot].kept = lane.filter(|_| alone && self.roll.is_none() && self.policy.drain.shares);
        self.slots[slot].owed_by = now;
        self.retires(now, pid, reason)
    }

    /// A worker has made way.
    pub fn retires(&mut self, now: Monotonic, pid: Pid, reason: Reason) -> Held {
        let worker = self.worker(pid)?;
        worker.retired = Some(reason);
        let (up, slot) = (worker.up(now), worker.slot());
        self.slots.get_mut(slot).into_iter().for_each(|slot| slot.served(up));
        Ok(())
    }

    /// New connections go where they are served, from this very step on: to the best there are.
    pub fn is_steered(&self) -> Held {
        let lanes_of = |wanted: fn(&Worker) -> bool| -> Vec<Lane> {
            let seats = (0..self.wanted()).filter_map(|slot| self.seated(slot));
            seats.filter(|w| wanted(w)).map(|w| w.order.lane).collect()
        };
        let mut starting = lanes_of(Worker::starts);
        let pending = self.pending.filter(|order| self.seated(order.slot as usize).is_none());
        starting.extend(pending.map(|order| order.lane));
        let choices =
            [lanes_of(Worker::is_trusted), lanes_of(Worker::serves), starting, lanes_of(Worker::is_up)];
        let Some(mut lanes) = choices.into_iter().find(|lanes| !lanes.is_empty()) else { return Ok(()) };
        lanes.sort_unstable();
        let matters = self.policy.drain.steered && self.is_open();
        let wrong = format!("connections go to {:?}, not {lanes:?}", self.steered);
        check(!matters || lanes == self.steered, &wrong)
    }

    /// When workers are to come.
    pub fn owed_spawns(&self, tell: super::Tell<'_>) {
        let has_budget = self.is_running() && (self.may_surge() || self.may_break());
        let replaces = has_budget && !self.awaits_canary();
        // Until one worker has been ready, the slot of the first that failed tries alone.
        let fills = self.alive() < self.most_alive() && (self.ever_ready || !self.ever_failed);
        for (number, slot) in self.slots.iter().enumerate() {
            let from = slot.last_spawn.map_or(slot.owed_by, |last| slot.owed_by.max(last + SPAWN_GAP));
            if self.is_vacant(number) && fills {
                tell("a respawn", from);
            }
            let wanted = self.wants_replacement(number).filter(|_| replaces);
            if let Some(goes_on) = wanted.and_then(|reason| self.goes_on_at(reason)) {
                let leaves = self.seated(number).and_then(|w| w.leaves).unwrap_or_default() + DECIDED_WITHIN;
                tell(
                    "a replacement",
                    from.max(slot.retry_by).max(self.planned_from).max(goes_on).max(leaves),
                );
            }
        }
    }
}

fn is_within<T: PartialOrd>(limit: Option<T>, bounds: Option<std::ops::RangeInclusive<T>>) -> bool {
    match (limit, bounds) {
        (Some(limit), Some(bounds)) => bounds.contains(&limit),
        (limit, bounds) => limit.is_none() && bounds.is_none(),
    }
}
