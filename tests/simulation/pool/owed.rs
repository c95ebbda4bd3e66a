//! By when something has to be done. Nothing may be overdue when the loop goes to sleep, and it must be woken in time for
//! the rest: so no wake-up is ever lost.

use super::super::dice::MS;
use super::super::rule::{Held, check};
use super::ending::{HURRIED, MARGIN};
use super::facts::{Facts, Stage, Worker};
use prefork_core::snapshot::Phase;
use prefork_core::{Monotonic, Snapshot};
use std::time::Duration;

/// A spawn may begin in the last moment of the drain delay, and hold the loop up for this long.
const SPAWN_TAKES: Duration = Duration::from_millis(30);

/// The longest pause between two looks at a worker that starts, with all that may delay them.
const LOOK_RARELY: Duration = Duration::from_secs(1);

impl Facts {
    pub fn owes_nothing(&self, now: Monotonic, wakes: Option<Monotonic>, childless: bool) -> Held {
        check(self.pending.is_none(), "a spawn was not answered")?;
        if let Stage::Ending { .. } | Stage::Killing { .. } = self.stage {
            check(!childless, "no process is left, and it stays")?;
        }
        let mut held = Ok(());
        self.each_owed(&mut |what, by| {
            if held.is_ok() && wakes.is_none_or(|at| at > by && at > now) {
                held = Err(format!("{what} is owed at {:?}, and the loop sleeps until {wakes:?}", by.0));
            }
        });
        held
    }

    fn each_owed(&self, tell: super::Tell<'_>) {
        self.live.iter().for_each(|worker| self.owed_to(worker, tell));
        self.leftovers.iter().filter_map(|(_, by)| *by).for_each(|by| tell("the kill of a left group", by));
        self.measure_at.iter().for_each(|at| tell("a measurement", *at));
        self.dead.iter().for_each(|dead| tell("a word on a death", dead.by));
        self.end.refuse_by.iter().for_each(|by| tell("a refusal", *by));
        match self.stage {
            Stage::Unstarted => {}
            Stage::Running => {
                self.policy.deadline.iter().for_each(|by| tell("the stop at the deadline", *by));
                self.owed_spawns(tell);
            }
            Stage::Draining { until } => {
                tell("the end of the drain delay", until);
                self.owed_spawns(tell);
            }
            Stage::Closing { since, ref in_hand } => {
                self.half_of_the_grace(since)
                    .iter()
                    .for_each(|at| tell("the end of the last connections", *at));
                in_hand.owed(since, &self.policy.drain, true, tell);
            }
            Stage::Ending { .. } => {
                self.end_kill_by().iter().for_each(|by| tell("the kill of everything", *by));
            }
            Stage::Killing { last, leave_by } => {
                tell("another kill", last + 100 * MS);
                tell("leaving", leave_by);
            }
        }
    }

    fn owed_to(&self, worker: &Worker, tell: super::Tell<'_>) {
        if worker.starts() {
            worker.fail_by.iter().for_each(|by| tell("giving a worker up", *by));
            self.confirmed_at(worker).iter().for_each(|by| tell("readiness by READY=1", *by));
            if self.policy.ready.observe && !worker.refused {
                tell("a look", worker.looked.unwrap_or(worker.spawned) + LOOK_RARELY);
            }
        }
        if worker.serves() && worker.due.is_none() {
            worker.order.limits.age.iter().for_each(|age| tell("the end of an age", worker.spawned + *age));
        }
        worker.ping_by().iter().for_each(|by| tell("the end of patience", *by));
        if worker.is_up() {
            let interval = self.policy.hang.probe.filter(|_| !worker.probe.1).map(|probe| probe.interval);
            interval.iter().for_each(|interval| tell("a probe", worker.probe.0 + *interval));
        }
        self.owed_to_draining(worker, tell);
        if !worker.killed {
            self.kill_by(worker).iter().for_each(|by| tell("the kill of a worker", *by));
        }
    }

    /// By when it is all over, at the latest, if the loop is never late.
    pub fn gone_by(&self) -> Option<Monotonic> {
        let first = *self.end.stops.first()?;
        let graceful = self.policy.stop.graceful.deadline(first + self.policy.drain_delay);
        // After a crash loop was given up the first stop signal changes nothing.
        let graceful = graceful.filter(|_| !self.end.gave_up);
        let hurried = self.end.stops.get(1).map(|second| *second + HURRIED);
        let killed = graceful.into_iter().chain(hurried).chain(self.end.stops.get(2).copied()).min()?;
        Some(killed + MARGIN + SPAWN_TAKES)
    }

    /// Whether the snapshot tells what has happened.
    pub fn shows(&self, snapshot: &Snapshot) -> Held {
        let phase = match self.stage {
            _ if self.end.gave_up => Phase::GivenUp,
            Stage::Unstarted | Stage::Running => Phase::Running,
            Stage::Draining { .. } => Phase::Draining,
            Stage::Closing { .. } | Stage::Ending { .. } | Stage::Killing { .. } => Phase::Stopping,
        };
        check(snapshot.phase == phase, "the snapshot shows another phase")?;
        check(snapshot.ready as usize == self.serving(), "the snapshot miscounts the ready")?;
        check(snapshot.workers as usize == self.wanted(), "the snapshot miscounts the wanted")?;
        check(snapshot.started == self.pool_ready, "started, and nothing was said")?;
        let enough = self.serving() >= self.min_ready();
        check(self.pool_ready || !enough, "the pool is ready for the first time, and nothing was said")?;
        let ready = phase == Phase::Running && enough;
        check(snapshot.is_ready() == ready, "the wrong readiness")
    }
}
