//! What the core still has to do, and by when. Nothing may be overdue when the loop goes to sleep, and
//! the loop must be woken in time for the rest: so no wake-up is ever lost.

use super::super::dice::MS;
use super::super::rule::{Held, check};
use super::book::{Book, HURRIED, LOOK_RARELY, MARGIN, SPAWN_GAP, Stage, Worker};
use prefork_core::snapshot::Phase;
use prefork_core::{Monotonic, Snapshot};
use std::time::Duration;

/// A spawn may begin in the last moment of the drain delay, and hold the loop up for so long.
const SPAWN_TAKES: Duration = Duration::from_millis(30);

impl Book {
    pub fn owes_nothing(&self, now: Monotonic, wakes: Option<Monotonic>, childless: bool) -> Held {
        check(self.pending.is_none(), "a spawn was not answered")?;
        if let Stage::Ending { .. } | Stage::Killing { .. } = self.stage {
            check(!childless, "nobody is left, and it stays")?;
        }
        let mut held = Ok(());
        self.each_owed(now, &mut |what, by| {
            if held.is_ok() {
                held = match wakes {
                    Some(at) if at <= by || at <= now => Ok(()),
                    Some(_) | None if by <= now => Err(format!("{what} was owed at {:?}", by.0)),
                    Some(_) | None => {
                        Err(format!("{what} is owed at {:?}, but nothing wakes the loop", by.0))
                    }
                };
            }
        });
        held
    }

    fn each_owed(&self, now: Monotonic, tell: &mut dyn FnMut(&'static str, Monotonic)) {
        for worker in &self.live {
            self.owed_to(worker, tell);
        }
        for (_, kill_by) in &self.remains {
            kill_by.iter().for_each(|by| tell("the kill of a left group", *by));
        }
        self.measure_at.iter().for_each(|at| tell("a measurement", *at));
        self.undecided.iter().for_each(|undecided| tell("a verdict", undecided.by));
        self.owed_to_closing(now, tell);
        match self.stage {
            Stage::Unstarted | Stage::Closing { .. } => {}
            Stage::Running => {
                self.policy.deadline.iter().for_each(|by| tell("the stop at the deadline", *by));
                self.owed_spawns(tell);
            }
            Stage::Draining { until } => {
                tell("the end of the drain delay", until);
                self.owed_spawns(tell);
            }
            Stage::Ending { kill_by, orphans_by } => {
                orphans_by.iter().for_each(|by| tell("asking orphans", *by));
                kill_by.iter().for_each(|by| tell("the kill of everything", *by));
            }
            Stage::Killing { last, leave_by } => {
                tell("another kill", last + 100 * MS);
                tell("leaving", leave_by);
            }
        }
    }

    fn owed_to(&self, worker: &Worker, tell: &mut dyn FnMut(&'static str, Monotonic)) {
        let ready = &self.policy.ready;
        if worker.starts() {
            worker.fail_by.iter().for_each(|by| tell("giving a worker up", *by));
            worker.alive_by.iter().for_each(|by| tell("readiness by uptime", *by));
            self.confirm_at(worker.pid).iter().for_each(|by| tell("readiness by READY=1", *by));
            if ready.observe && !worker.refused {
                let last = worker.looked.unwrap_or(worker.spawned);
                let by = last + LOOK_RARELY;
                tell("a look", by.max(worker.pause_until));
            }
        }
        if worker.serves() && worker.due.is_none() {
            worker.order.limits.age.iter().for_each(|age| tell("the end of an age", worker.spawned + *age));
        }
        worker.counted_by().iter().for_each(|by| tell("a look whether somebody counts", *by));
        if worker.starts() || worker.is_up() {
            worker.watch.probe_at.iter().for_each(|at| tell("a probe", *at));
            worker.watch.ping_by.iter().for_each(|by| tell("the end of patience", *by));
        }
        if worker.is_up() {
            worker.owes_looks(tell);
        }
        self.owed_to_draining(worker, tell);
        if worker.stopped.is_some() && !worker.killed {
            self.kill_by(worker).iter().for_each(|by| tell("the kill of a worker", *by));
        }
    }

    fn owed_spawns(&self, tell: &mut dyn FnMut(&'static str, Monotonic)) {
        let has_budget = self.stage == Stage::Running && (self.may_surge() || self.may_break());
        let replaces = has_budget && !self.awaits_canary();
        let has_room = self.alive() < self.most_alive();
        for (number, slot) in self.slots.iter().enumerate() {
            let gap = slot.last_spawn.map_or(Monotonic::default(), |last| last + SPAWN_GAP);
            if self.is_vacant(number) && has_room && self.may_fill(number) {
                tell("a respawn", slot.vacancy.latest.max(gap));
            }
            let wanted = self.wants_replacement(number).filter(|_| replaces);
            if let Some(from) = wanted.and_then(|reason| self.goes_on_at(reason)) {
                let undecided = self.seated(number).map(|w| w.accepting.undecided).unwrap_or_default();
                let from = from.max(undecided);
                tell("a replacement", slot.retry.latest.max(gap).max(self.planned_from).max(from));
            }
        }
    }

    /// By when it is all over, at the latest, if the loop is never late.
    pub fn gone_by(&self) -> Option<Monotonic> {
        let first = *self.stops.first()?;
        let graceful = self.policy.stop.graceful.deadline(first + self.policy.drain_delay);
        // After a crash loop was given up the first stop signal changes nothing.
        let graceful = graceful.filter(|_| self.gave_up.is_none());
        let hurried = self.stops.get(1).map(|second| *second + HURRIED);
        let third = self.stops.get(2).copied();
        let killed = graceful.into_iter().chain(hurried).chain(third).min()?;
        Some(killed + MARGIN + SPAWN_TAKES)
    }

    /// Whether the snapshot says what the book says.
    pub fn shows(&self, snapshot: &Snapshot) -> Held {
        let phase = match self.stage {
            _ if self.gave_up.is_some() => Phase::GivenUp,
            Stage::Unstarted | Stage::Running => Phase::Running,
            Stage::Draining { .. } => Phase::Draining,
            Stage::Closing { .. } | Stage::Ending { .. } | Stage::Killing { .. } => Phase::Stopping,
        };
        check(snapshot.phase == phase, "another phase than the book's")?;
        check(snapshot.ready as usize == self.serving(), "the snapshot miscounts who is ready")?;
        check(snapshot.started == self.pool_ready, "started, and nothing was said")?;
        check(snapshot.workers as usize == self.wanted(), "the snapshot miscounts who is wanted")?;
        let enough = self.serving() >= self.min_ready();
        check(self.pool_ready || !enough, "the pool is ready for the first time, and nothing was said")?;
        let ready = phase == Phase::Running && enough;
        check(snapshot.readiness().is_ok() == ready, "the wrong readiness")
    }
}
