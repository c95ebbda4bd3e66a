//! Whether what is told is true.

use super::super::rule::{Held, check};
use super::book::{Book, Canary, HURRIED, Roll, Stage, Worker};
use super::first::FirstStart;
use prefork_core::exit::Reason;
use prefork_core::note::{InitNote, PoolNote, ReadyBy, ReloadNote, Sign, SignalNote, WorkerNote, WorkerRef};
use prefork_core::{Monotonic, Note, Pid};

impl Book {
    pub fn note(&mut self, now: Monotonic, note: &Note) -> Held {
        if let Some(at) = self.expected.told.iter().position(|owed| owed == note) {
            self.expected.told.remove(at);
            return Ok(());
        }
        match *note {
            Note::Worker(worker, WorkerNote::Spawned { limits }) => {
                check(self.expected.spawned.take() == Some(worker.pid), "nobody was spawned")?;
                let recycle = self.policy.recycle;
                let age_fits = match (limits.age, recycle.max_age) {
                    (None, None) => true,
                    (Some(age), Some(limit)) => (limit.base..=limit.base + limit.jitter).contains(&age),
                    (None, Some(_)) | (Some(_), None) => false,
                };
                let memory_fits = match (limits.memory, recycle.max_memory) {
                    (None, None) => true,
                    (Some(most), Some(limit)) => (limit.base..=limit.base + limit.jitter).contains(&most),
                    (None, Some(_)) | (Some(_), None) => false,
                };
                let known = self.known(worker)?;
                check(!std::mem::replace(&mut known.announced, true), "spawned twice")?;
                check(known.order.limits == limits, "another limit than the worker was given")?;
                check(age_fits && memory_fits, "a limit out of its bounds")
            }
            Note::Worker(worker, WorkerNote::Ready { by, .. }) => self.is_ready(now, worker, by),
            Note::Worker(worker, WorkerNote::Due { reason, requests }) => {
                let leaves = self.expected.leaving.take() == Some(worker.pid);
                let asked = self.expected.asked.take_if(|_| reason == Reason::Asked) == Some(worker.pid);
                let samples = self.policy.recycle.memory_samples;
                let owed = self.owed_replacements() > 0;
                let known = self.known(worker)?;
                check(known.serves() && known.due.replace((now, reason)).is_none(), "due again")?;
                check(known.requests == requests, "miscounted")?;
                let due = match reason {
                    Reason::MaxRequests => known.has_served_enough(),
                    Reason::MaxAge => known.has_age(now),
                    Reason::MaxMemory => known.is_heavy(samples),
                    Reason::Stop => leaves,
                    Reason::Queue => owed,
                    Reason::Asked => asked,
                    _ => false,
                };
                check(due, "due too early")
            }
            Note::Worker(worker, WorkerNote::Draining { reason }) => self.drain(now, worker.pid, reason),
            Note::Worker(worker, WorkerNote::DrainCutShort) => {
                let drain = self.known(worker)?.drain;
                let given_up =
                    drain.is_some_and(|drain| self.given_up_at(&drain).is_some_and(|by| by <= now));
                let given_up = given_up && drain.is_some_and(|drain| !drain.left);
                check(given_up && self.policy.drain.steered, "it was emptied, or has time")
            }
            Note::Worker(worker, WorkerNote::Busy { connections, surge }) => {
                self.busy(now, worker.pid, connections, surge)
            }
            Note::Worker(worker, WorkerNote::Hung { sign }) => {
                check(sign == Sign::Watchdog, "no sign that it hangs")?;
                let known = self.known(worker)?;
                check(known.serves(), "it does not serve")?;
                check(known.watch.ping_by.is_some_and(|by| by <= now), "no sign that it hangs")?;
                self.found_hung(now, worker.pid);
                Ok(())
            }
            Note::Worker(worker, WorkerNote::Stopping { reason, signal }) => {
                self.stopping(now, worker.pid, reason, signal)
            }
            Note::Worker(worker, WorkerNote::Killed { reason }) => {
                let known = self.known(worker)?;
                check(known.killed, "it was not killed")?;
                check(known.stopped.is_some_and(|(_, why)| why == reason), "for another reason")
            }
            Note::Worker(worker, WorkerNote::Exited { reason, .. }) => {
                let exits = &mut self.expected.exited;
                let at = exits.iter().position(|exit| *exit == (worker.pid, reason));
                check(at.is_some(), &format!("it ended otherwise: {exits:?}"))?;
                exits.remove(at.unwrap());
                Ok(())
            }
            Note::Init(InitNote::SpawnFailed { slot, .. }) => {
                check(self.expected.spawn_failed.take() == Some(slot), "no spawn failed")
            }
            Note::Pool(PoolNote::Ready { ready }) => {
                check(!std::mem::replace(&mut self.pool_ready, true), "ready for the first time, again")?;
                check(self.serving() == ready as usize && self.serving() >= self.min_ready(), "miscounted")
            }
            Note::Reload(generation, ReloadNote::Finished { took }) => {
                let roll = self.roll.take().filter(|roll| roll.to == generation);
                let finished = roll.is_some_and(|roll| now.since(roll.since) == took);
                check(finished && self.is_all_new(generation), "an old one is left")
            }
            Note::Pool(PoolNote::ShutdownStarted { .. }) => {
                check(self.stops.first() == Some(&now), "no stop signal came")
            }
            Note::Init(InitNote::StoppingOrphans) => check(!self.orphans_asked, "orphans are asked again"),
            Note::Init(InitNote::KillingAll) => {
                check(matches!(self.stage, Stage::Killing { .. }), "nothing was killed")
            }
            Note::Pool(PoolNote::GaveUp { slot, .. }) => {
                self.end_was_told = true;
                check(self.gave_up == Some(slot), "given up without need")
            }
            Note::Pool(PoolNote::Stopped) => {
                self.end_was_told = true;
                check(self.gave_up.is_none(), "it was given up, not stopped")
            }
            Note::Pool(PoolNote::RespawnDelayed { slot, delay, .. }) => {
                let told = self.expected.delays.iter().any(|&(of, window)| {
                    of == slot && (window.earliest..=window.latest).contains(&(now + delay))
                });
                check(told, "no respawn waits, or not so long")
            }
            Note::Init(InitNote::OrphanReaped { warn, .. }) => {
                check(warn == self.policy.warn_on_reap, "the wrong loudness")
            }
            Note::Pool(PoolNote::ClosingCutShort)
            | Note::Worker(_, WorkerNote::Unobservable)
            | Note::Pool(PoolNote::ShutdownHurried { .. })
            | Note::Signal(SignalNote::Received(_)) => Ok(()),
            Note::Signal(SignalNote::Ignored { .. })
            | Note::Signal(SignalNote::Dropped { .. })
            | Note::Init(InitNote::DeadlinePassed { .. })
            | Note::Worker(_, WorkerNote::Suspected { .. })
            | Note::Worker(_, WorkerNote::StoppedAccepting)
            | Note::Worker(_, WorkerNote::AcceptsAgain)
            | Note::Reload(_, ReloadNote::Refused)
            | Note::Reload(_, ReloadNote::Started)
            | Note::Reload(_, ReloadNote::Confirmed)
            | Note::Reload(_, ReloadNote::Failed { .. })
            | Note::Reload(_, ReloadNote::Paused { .. })
            | Note::Reload(_, ReloadNote::Resumed)
            | Note::Pool(PoolNote::Scaled { .. })
            | Note::Pool(PoolNote::NotScaled { .. }) => Err("nothing of that kind happened".into()),
            Note::Pool(PoolNote::UpgradeAsked { .. }) => check(self.upgrade, "nobody asked for an upgrade"),
            Note::Init(InitNote::CommandStarted { .. })
            | Note::Init(InitNote::CommandExited { .. })
            | Note::Signal(SignalNote::Forwarded { .. })
            | Note::Signal(SignalNote::HandOffIgnored { .. })
            | Note::Init(InitNote::TerminalGivenUp)
            | Note::Init(InitNote::OrphansLeft { .. })
            | Note::Init(InitNote::Suspending) => Err("a pool has no command".into()),
        }
    }

    fn is_ready(&mut self, now: Monotonic, worker: WorkerRef, by: ReadyBy) -> Held {
        let seen = self.expected.ready.take() == Some(worker.pid);
        let counted_by_worker = self.policy.recycle.counted_by_worker;
        let confirm_at = self.confirm_at(worker.pid);
        let known = self.known(worker)?;
        check(known.starts() && known.retired.is_none(), "ready again, or too late")?;
        known.ready = Some((now, by));
        known.begins_counting(now, counted_by_worker);
        let (generation, alive_by, slot) = (known.order.generation, known.alive_by, worker.slot as usize);
        self.watch_from(now, worker.pid);
        self.accepts_from(now, worker.pid, by);
        if matches!(self.stage, Stage::Closing { .. }) {
            self.worker(worker.pid)?.accepting = Default::default();
            self.expected.hints.push(worker.pid);
        }
        let sign = match by {
            ReadyBy::Accepting | ReadyBy::Probed => seen,
            ReadyBy::Notified => confirm_at.is_some_and(|at| at <= now),
            ReadyBy::Uptime => alive_by.is_some_and(|by| by <= now),
        };
        check(sign, "no sign that it is ready")?;
        self.slots[slot].recovers = false;
        self.slots[slot].backoff.late = 0;
        self.first_start = FirstStart::Passed;
        let proves = |roll: &&mut Roll| roll.canary != Canary::Passed && roll.to == generation;
        if let Some(roll) = self.roll.as_mut().filter(proves) {
            (roll.canary, self.generation) = (Canary::Passed, roll.to);
            self.expected.told.push(Note::Reload(roll.to, ReloadNote::Confirmed));
        }
        let old = self.seated(slot).filter(|seated| seated.pid != worker.pid);
        match old.map(|old| (old.pid, old.due)) {
            Some((old, due)) => self.retire(now, old, due.map_or(Reason::Reload, |(_, reason)| reason)),
            None => Ok(()),
        }
    }

    /// Whether every slot has a ready worker of this generation, and no older one is left.
    fn is_all_new(&self, generation: u32) -> bool {
        let is_new =
            |slot: usize| self.seated(slot).is_some_and(|w| w.is_up() && w.order.generation == generation);
        let is_old = |w: &Worker| w.retired.is_some() && w.order.generation < generation;
        (0..self.wanted()).all(is_new) && !self.live.iter().any(is_old)
    }

    /// Lanes in which somebody waits for whom nobody makes way yet.
    fn owed_replacements(&self) -> usize {
        let makes_way = |w: &&Worker| {
            matches!(w.due, Some((_, Reason::Queue)))
                && w.is_up()
                && !self.has_successor(w.order.slot as usize)
        };
        let waits = self.left.iter().filter(|(_, waits)| *waits).count();
        waits.saturating_sub(self.live.iter().filter(makes_way).count())
    }

    fn known(&mut self, named: WorkerRef) -> Result<&mut Worker, String> {
        let known = self.live.iter_mut().find(|w| w.named() == named);
        known.ok_or_else(|| "nobody of ours".into())
    }

    /// When `READY=1` is believed: at once where nothing better is to be had, else after a while, and
    /// in any case before the worker would be given up.
    pub fn confirm_at(&self, pid: Pid) -> Option<Monotonic> {
        let worker = self.live.iter().find(|w| w.pid == pid)?;
        let said = worker.said_ready?;
        if !self.policy.ready.observe || worker.refused {
            return Some(said);
        }
        worker.fail_by.into_iter().chain([said + HURRIED]).min()
    }

    /// Whether everything that had to follow in this very step did.
    pub fn all_was_said(&mut self, now: Monotonic) -> Held {
        let expected = &self.expected;
        check(expected.exited.is_empty(), "a worker ended and nothing was said")?;
        check(expected.spawned.is_none(), "a worker was spawned and nothing was said")?;
        // The end of the drain delay may come in the same step.
        let starts = |pid| self.live.iter().any(|w| w.pid == pid && w.starts());
        check(!expected.ready.is_some_and(starts), "a worker is ready and nothing was said")?;
        check(expected.spawn_failed.is_none(), "a spawn failed and nothing was said")?;
        check(expected.told.is_empty(), &format!("not told: {:?}", expected.told))?;
        check(expected.forwarded.is_empty(), &format!("not passed on: {:?}", expected.forwarded))?;
        check(expected.stopping.is_none(), "a worker was asked to stop and nothing was said")?;
        check(expected.explained.is_empty(), "it was told what it does, and goes on")?;
        check(expected.portray.is_none(), "nobody knows what it looked like")?;
        check(expected.leaving.is_none(), "it leaves, and no replacement comes")?;
        check(expected.asked.is_none(), "it was asked to make way, and goes on")?;
        check(expected.too_big.is_none(), "it is beyond the hard limit and goes on")?;
        check(
            expected.group_asked.is_none_or(|(_, times)| times == 2),
            "what a worker left was not asked to stop",
        )?;
        let samples = self.policy.recycle.memory_samples;
        for worker in self.live.iter().filter(|w| w.serves()) {
            let limits = worker.has_served_enough() || worker.has_age(now) || worker.is_heavy(samples);
            check(worker.due.is_some() || !limits, "a limit was passed over")?;
            // What was said before is heard first: only the clock finds somebody silent.
            let silent = self.expected.woken && worker.watch.ping_by.is_some_and(|by| by <= now);
            check(!silent, "a silent worker was passed over")?;
        }
        self.measure_was_taken(now)?;
        self.is_steered()?;
        if self.stage == Stage::Running {
            let waits = |slot: &usize| {
                let hung = self.seated(*slot).is_some_and(|w| w.is_up() && w.watch.hung.is_some());
                hung && !self.slots[*slot].recovers
            };
            let idle =
                self.recovering() < self.most_recovering() && (0..self.wanted()).any(|slot| waits(&slot));
            check(!idle, "one that hangs was not ended")?;
            let all_serve = self.serving() == self.wanted();
            if let Some(roll) = self.roll.as_mut().filter(|roll| roll.hurt) {
                roll.whole_since = roll.whole_since.or(Some(now)).filter(|_| all_serve);
            }
            let roll = self.roll.filter(|roll| roll.canary == Canary::Passed);
            check(
                !roll.is_some_and(|roll| self.is_all_new(roll.to)),
                "a reload is over and nothing was said",
            )?;
        }
        self.is_emptying(now)
    }

    /// Everybody who serves is measured, all at a time.
    fn measure_was_taken(&mut self, now: Monotonic) -> Held {
        if !self.expected.woken || self.measure_at.is_none_or(|at| at > now) {
            return Ok(());
        }
        self.measure_at = self.policy.measure_every.filter(|_| self.is_open()).map(|every| now + every);
        let measured = &self.expected.measured;
        check(self.live.iter().all(|w| !w.is_up() || measured.contains(&w.pid)), "a worker was not measured")
    }
}

impl Worker {
    fn has_served_enough(&self) -> bool {
        self.order.limits.requests.is_some_and(|limit| self.requests >= limit)
    }

    fn has_age(&self, now: Monotonic) -> bool {
        self.order.limits.age.is_some_and(|age| self.spawned + age <= now)
    }

    fn is_heavy(&self, samples: u32) -> bool {
        self.order.limits.memory.is_some() && self.heavy.0 >= samples
    }
}
