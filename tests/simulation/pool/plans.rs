//! The budget: who may be spawned, who may be replaced, and who gets new connections.

use super::super::rule::{Held, check};
use super::book::{Book, Canary, SPAWN_GAP, Stage, Worker};
use prefork_core::action::SpawnOrder;
use prefork_core::backoff::HEALTHY_AFTER;
use prefork_core::exit::Reason;
use prefork_core::{Lane, Monotonic, Pid};

impl Book {
    pub fn spawn(&mut self, now: Monotonic, order: SpawnOrder) -> Held {
        check(self.is_open(), "a spawn after the stop began")?;
        check(self.pending.is_none(), "two spawns at once")?;
        check(self.last_id.replace(order.id).is_none_or(|last| last < order.id), "a spawn id again")?;
        let at = order.slot as usize;
        check(at < self.wanted(), "no such slot")?;
        check(self.alive() < self.most_alive(), "more workers are alive than may be")?;
        check(!self.has_successor(at), "a second extra worker in one slot")?;
        let last = self.slots[at].last_spawn;
        check(last.is_none_or(|last| last + SPAWN_GAP <= now), "two spawns of one slot within 100 ms")?;
        let generation = self.roll.map_or(self.generation, |roll| roll.to);
        check(order.generation == generation, "of another generation")?;
        self.may_have_lane(order.lane, at)?;
        self.may_have_number(&order)?;
        if self.is_vacant(at) {
            check(self.may_fill(at), "another slot tries alone whether it can start at all")?;
            check(self.slots[at].vacancy.earliest <= now, "sooner than the backoff allows")?;
        } else {
            let reason = self.wants_replacement(at).ok_or("a replacement for a worker that is not due")?;
            check(self.may_surge(), "a replacement takes the room of a vacancy")?;
            self.begin_planned(now, at, reason)?;
        }
        if let Some(roll) = self.roll.as_mut().filter(|roll| roll.canary == Canary::Wanted) {
            roll.canary = Canary::Tried(order.id);
        }
        let slot = self.slot(order.slot);
        (slot.last_spawn, slot.kept) = (Some(now), None);
        self.left.retain(|(lane, _)| *lane != order.lane);
        self.pending = Some(order);
        let in_bounds = match (order.limits.requests, self.policy.recycle.max_requests) {
            (None, None) => true,
            (Some(n), Some(limit)) => (limit.base..=limit.base + limit.jitter).contains(&n),
            (None, Some(_)) | (Some(_), None) => false,
        };
        check(in_bounds, "a limit out of its bounds")
    }

    /// Listeners belong to one worker at a time, and those of one that died are for the next of its slot. Where somebody
    /// waits in a lane that is nobody's, the next of any slot gets it.
    fn may_have_lane(&self, lane: Lane, slot: usize) -> Held {
        let inherited = self.inherited(slot);
        if inherited.is_some() {
            return check(inherited == Some(lane), "somebody goes on waiting for one that has left");
        }
        let kept = self.slots[slot].kept.filter(|_| self.is_vacant(slot));
        let is_anothers = kept != Some(lane) && self.live.iter().any(|w| w.order.lane == lane);
        check(!is_anothers, "listeners that another has")?;
        let owed = || self.left.iter().find(|(_, waits)| *waits).is_none_or(|(owed, _)| *owed == lane);
        match kept {
            Some(kept) => check(kept == lane, "not the listeners of its predecessor"),
            None if !owed() => Err("somebody goes on waiting where nobody serves".into()),
            None => check(self.slots.iter().all(|s| s.kept != Some(lane)), "listeners kept for another"),
        }
    }

    /// Whether one more has room beside those that are and are to come.
    pub fn may_surge(&self) -> bool {
        self.alive() + self.vacancies() < self.most_alive()
    }

    pub fn may_break(&self) -> bool {
        self.wanted() - self.serving() < self.most_missing()
    }

    /// Why the slot's worker is to be replaced by plan.
    pub fn wants_replacement(&self, slot: usize) -> Option<Reason> {
        let worker = self.seated(slot).filter(|w| w.is_up() && !self.has_successor(slot))?;
        let outdated = self.roll.is_some_and(|roll| worker.order.generation < roll.to);
        worker.due.map(|(_, reason)| reason).or(outdated.then_some(Reason::Reload))
    }

    /// Whether everything waits for the first worker of a generation, which comes alone.
    pub fn awaits_canary(&self) -> bool {
        self.roll.is_some_and(|roll| match roll.canary {
            Canary::Wanted => {
                (0..self.wanted()).any(|at| self.is_vacant(at) && self.slots[at].kept.is_none())
            }
            Canary::Tried(_) => true,
            Canary::Passed => false,
        })
    }

    /// From when on a replacement for this reason may be: a reload that is hurt waits until it is healed.
    pub fn goes_on_at(&self, reason: Reason) -> Option<Monotonic> {
        match self.roll.filter(|roll| roll.hurt && reason == Reason::Reload) {
            Some(roll) => roll.whole_since.map(|since| since + HEALTHY_AFTER),
            None => Some(Monotonic::default()),
        }
    }

    fn begin_planned(&mut self, now: Monotonic, slot: usize, reason: Reason) -> Held {
        check(self.stage == Stage::Running, "a replacement after TERM")?;
        check(!self.awaits_canary(), "a replacement while the first of a generation is tried")?;
        let goes_on = self.goes_on_at(reason).is_some_and(|from| from <= now);
        check(goes_on, "a reload goes on though a new worker has failed")?;
        check(self.planned_from <= now, "two planned replacements within the gap")?;
        check(self.slots[slot].retry.earliest <= now, "sooner than the backoff allows")?;
        let last = self.slots[slot].last_spawn;
        check(last.is_none_or(|last| last + SPAWN_GAP <= now), "replaced within 100 ms")?;
        self.planned_from = now + self.policy.budget.gap;
        Ok(())
    }

    /// A worker makes way before there is anybody in its place.
    pub fn begin_break(&mut self, now: Monotonic, pid: Pid, reason: Reason) -> Held {
        let slot = self.worker(pid)?.order.slot as usize;
        check(self.seated(slot).is_some_and(|w| w.pid == pid), "it has no slot")?;
        check(self.wants_replacement(slot) == Some(reason), "it is not due, or not for that")?;
        check(!self.may_surge(), "a break where there is room for the make")?;
        check(self.may_break(), "a break before the make, beyond the budget")?;
        self.begin_planned(now, slot, reason)?;
        let inherited = self.inherited(slot).filter(|_| self.roll.is_none());
        self.retire(now, pid, reason)?;
        let slot = &mut self.slots[slot];
        slot.vacancy = super::backoff::Window::at(now);
        slot.kept = inherited;
        Ok(())
    }

    /// A worker has made way.
    pub fn retire(&mut self, now: Monotonic, pid: Pid, reason: Reason) -> Held {
        let worker = self.worker(pid)?;
        worker.retired = Some(reason);
        let (up, slot) = (worker.up(now), worker.order.slot);
        self.slot(slot).backoff.served(up);
        Ok(())
    }

    /// Who gets new connections: the best of what there is. Nothing, if that says nothing.
    pub fn who_is_served(&self) -> Vec<Lane> {
        let seats = || (0..self.wanted()).filter_map(|slot| self.seated(slot));
        let of = |wanted: fn(&Worker) -> bool| seats().filter(|w| wanted(w)).map(|w| w.order.lane).collect();
        let mut starting: Vec<Lane> = of(Worker::starts);
        let pending = self.pending.filter(|order| self.seated(order.slot as usize).is_none());
        starting.extend(pending.map(|order| order.lane));
        let choices: [Vec<Lane>; 4] =
            [of(Worker::is_trusted), of(Worker::serves), starting, of(Worker::is_up)];
        let mut lanes = choices.into_iter().find(|lanes| !lanes.is_empty()).unwrap_or_default();
        lanes.sort_unstable();
        lanes
    }

    /// New connections go where they are served, from this very step on.
    pub fn is_steered(&self) -> Held {
        let lanes = self.who_is_served();
        let matters = self.policy.drain.steered && self.is_open() && !lanes.is_empty();
        check(
            !matters || lanes == self.steered,
            &format!("connections go to {:?}, not {lanes:?}", self.steered),
        )
    }
}
