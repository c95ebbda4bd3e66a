//! Whether an action may be, given what has happened.

use super::super::dice::MS;
use super::super::rule::{Held, check};
use super::facts::{Facts, Slot, Stage, Worker};
use prefork_core::action::{Ask, ListenerAction, PoolCheck, Recipients, TerminalAction, WorkerAction};
use prefork_core::event::ChildChange;
use prefork_core::exit::Reason;
use prefork_core::handover::Kept;
use prefork_core::note::{InitNote, PoolNote, Verdict, WorkerNote, WorkerRef};
use prefork_core::{Action, Event, Monotonic, Note, Pid, Signal};
use std::time::Duration;

/// The least time from a look at a worker that starts to the next.
const LOOK_OFTEN: Duration = Duration::from_millis(5);

impl Facts {
    pub fn judge(&mut self, now: Monotonic, action: &Action) -> Held {
        match *action {
            Action::Spawn(order) => self.spawns(now, order),
            Action::Signal { to: Recipients::Process(pid), signal } => self.signals(pid, signal),
            Action::Signal { to: Recipients::Takers(pid), .. } => {
                check(self.of(pid).is_some_and(Worker::has_served), "it has no handler yet, or stops")
            }
            Action::Signal { to: Recipients::Group(pid), signal } => self.signals_group(now, pid, signal),
            Action::Signal { to: Recipients::Leftovers(group), signal } => {
                self.signals_leftovers(now, group, signal)
            }
            Action::Signal { to: Recipients::Everyone, signal } => self.signals_all(now, signal),
            Action::Signal {
                to: Recipients::Orphans { except: ref workers, asked_groups: ref groups },
                signal,
            } => self.asks_orphans(now, workers, groups, signal),
            Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::Observe } => {
                let observe = self.policy.ready.observe;
                let worker = self.worker_on(pid, lane)?;
                check(observe && worker.starts() && !worker.refused, "there is nothing to see")?;
                let least = if std::mem::take(&mut worker.more) { MS } else { LOOK_OFTEN };
                let last = worker.looked.replace(now).unwrap_or(worker.spawned);
                check(last + least <= now, "looks too often")
            }
            Action::Listeners(ListenerAction::Steer { ref lanes }) => {
                check(self.policy.drain.steered && self.is_open(), "nothing is steered now")?;
                check(*lanes != self.steered, "that is where they go")?;
                self.steered.clone_from(lanes);
                Ok(())
            }
            Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::WatchQueue }
            | Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::CheckAccepting } => {
                let steered = self.policy.drain.steered;
                check(steered && self.worker_on(pid, lane)?.is_up(), "it has no queue, or nothing comes")
            }
            Action::Check(PoolCheck::Lane { lane }) => {
                let is_owned = self.is_owned(lane);
                check(self.policy.drain.steered && !is_owned, "a worker looks after these connections")
            }
            Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::CheckQueue } => {
                self.looks_at_queue(now, pid, lane)
            }
            Action::Worker {
                worker: WorkerRef { pid, .. },
                act: WorkerAction::CheckConnections { .. },
                ..
            } => self.looks_at_connections(now, pid),
            Action::Check(PoolCheck::Queues { ref lanes }) => {
                self.looks_at_all(now, &|w| lanes.contains(&w.order.lane), false)
            }
            Action::Check(PoolCheck::Connections { ref pids, .. }) => {
                self.looks_at_all(now, &|w| pids.contains(&w.pid), true)
            }
            Action::Listeners(ListenerAction::HoldOff) => self.holds_off(now),
            Action::Listeners(ListenerAction::Refuse { held_off }) => self.refuses(now, held_off),
            Action::Check(PoolCheck::Listeners { ref workers }) => {
                let known = workers.iter().all(|(pid, _)| self.of(*pid).is_some());
                let all = known && workers.len() == self.live.len();
                check(
                    all && self.end.refuse_by.is_some(),
                    "nothing is to be refused, or a worker is forgotten",
                )
            }
            Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::Hint { signal } } => {
                self.hints(pid, lane, signal)
            }
            Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::Probe } => {
                let worker = self.worker_on(pid, lane)?;
                check(worker.starts() || worker.is_up(), "it is on its way out")?;
                let (_, under_way) = std::mem::replace(&mut worker.probe, (now, true));
                check(!under_way, "it has not answered yet")
            }
            Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::Measure } => {
                check(self.worker_on(pid, lane)?.is_up(), "it does not serve")?;
                check(self.measure_at.is_some_and(|at| at <= now), "measured too early")?;
                self.measured.push(pid);
                Ok(())
            }
            Action::Ask(Ask::ReadConfiguration) => {
                check(self.policy.rereads && self.is_running(), "out of season")
            }
            Action::Ask(Ask::Upgrade(ref given)) => {
                let is_kept =
                    |kept: &Kept| self.of(kept.pid).is_some_and(|w| w.order.lane == kept.lane && w.serves());
                let all = given.kept.len() == self.live.len() && given.kept.iter().all(is_kept);
                check(std::mem::take(&mut self.upgrade), "no upgrade was asked for, or it failed already")?;
                check(all, "an upgrade in the middle of something")
            }
            Action::Worker { worker, lane, act: WorkerAction::ExplainLateness { .. } } => {
                self.explained.push(worker.pid);
                check(self.worker_on(worker.pid, lane)?.starts(), "it does not start")
            }
            Action::Listeners(ListenerAction::Restore { .. }) => {
                check(self.policy.drain.listens, "there are none")
            }
            Action::Ask(Ask::Reap) if self.alive() == 0 => self.ends(now),
            Action::Note(ref note) => self.note(now, note),
            Action::Exit(code) => self.exits(now, code),
            Action::Ask(Ask::Reap)
            | Action::Worker { act: WorkerAction::Inspect, .. }
            | Action::Worker { act: WorkerAction::CheckCounting, .. } => Ok(()),
            Action::Check(PoolCheck::Container)
            | Action::Forward(_)
            | Action::ContinueStopped(_)
            | Action::Terminal(TerminalAction::Lend { .. })
            | Action::Terminal(TerminalAction::TakeBack { .. })
            | Action::Terminal(TerminalAction::StopSelf { .. }) => {
                Err("no pool of these histories does that".into())
            }
        }
    }

    fn note(&mut self, now: Monotonic, note: &Note) -> Held {
        match *note {
            Note::Worker(worker, WorkerNote::Spawned { limits }) => {
                check(self.known(worker)?.order.limits == limits, "other limits than the worker was given")
            }
            Note::Worker(worker, WorkerNote::Ready { by, .. }) => self.is_ready(now, worker, by),
            Note::Worker(worker, WorkerNote::Due { reason, requests }) => {
                self.is_due(now, worker, reason, requests)
            }
            Note::Worker(worker, WorkerNote::Draining { reason }) => self.drains(now, worker.pid, reason),
            Note::Worker(worker, WorkerNote::Hung { sign }) => self.hangs(now, worker, sign),
            Note::Worker(worker, WorkerNote::Suspected { verdict: Verdict::Suspected }) => {
                let known = self.known(worker)?;
                check(known.is_up() && !std::mem::replace(&mut known.suspected, true), "suspected again")
            }
            Note::Worker(worker, WorkerNote::Suspected { verdict: Verdict::Alive }) => self.is_alive(worker),
            Note::Worker(worker, WorkerNote::Stopping { reason, signal }) => {
                self.stops(now, worker, reason, signal)
            }
            Note::Worker(worker, WorkerNote::Killed { reason }) => {
                let known = self.known(worker)?;
                let why = known.stopped.filter(|_| known.killed).map(|(_, why)| why);
                check(why == Some(reason), "it was not killed, or for another reason")
            }
            Note::Worker(worker, WorkerNote::Exited { exit, reason, .. }) => {
                self.has_exited(now, worker, exit, reason)
            }
            Note::Init(InitNote::SpawnFailed { slot, failure }) => self.spawn_failed(now, slot, failure.code),
            Note::Pool(PoolNote::Ready { ready }) => {
                check(!std::mem::replace(&mut self.pool_ready, true), "ready for the first time, again")?;
                check(self.serving() == ready as usize && self.serving() >= self.min_ready(), "miscounted")
            }
            Note::Pool(PoolNote::Scaled { workers, from }) => {
                self.scales(now, workers as usize, from as usize)
            }
            Note::Pool(PoolNote::ShutdownStarted { signal, drain_delay }) => {
                check(self.is_running() && self.end.stops.last() == Some(&now), "no stop signal came")?;
                let delay = if signal == Signal::TERM { self.policy.drain_delay } else { Duration::ZERO };
                (self.stage, self.roll) = (Stage::Draining { until: now + delay }, None);
                check(drain_delay == delay, "another drain delay")
            }
            Note::Init(InitNote::DeadlinePassed { .. }) => {
                (self.end.overdue, _) = (true, self.end.stops.push(now));
                check(self.policy.deadline.is_some_and(|by| by <= now) && self.is_running(), "it has not")
            }
            Note::Init(InitNote::StoppingOrphans) => check(self.live.is_empty(), "not only orphans are left"),
            Note::Init(InitNote::KillingAll) => {
                check(matches!(self.stage, Stage::Killing { .. }), "nothing was killed")
            }
            Note::Pool(PoolNote::GaveUp { .. }) | Note::Pool(PoolNote::Stopped) => {
                self.end.said_goodbye = true;
                check(
                    self.end.gave_up == matches!(note, Note::Pool(PoolNote::GaveUp { .. })),
                    "it ended otherwise",
                )
            }
            Note::Init(InitNote::OrphanReaped { warn, .. }) => {
                check(warn == self.policy.warn_on_reap, "the wrong loudness")
            }
            Note::Pool(PoolNote::UpgradeAsked { .. }) => {
                self.upgrade = true;
                check(self.is_running(), "out of season")
            }
            _ => self.reloads(now, note),
        }
    }

    fn scales(&mut self, now: Monotonic, to: usize, from: usize) -> Held {
        check(
            self.is_running() && from == self.wanted() && to != from && to >= 1,
            "miscounted, or out of season",
        )?;
        for last in to..from {
            self.lost += usize::from(self.seated(last).is_some_and(Worker::serves));
        }
        self.slots.resize_with(to, || Slot { owed_by: now, ..Slot::default() });
        for worker in self.live.iter_mut().filter(|w| w.slot() >= to && w.retired.is_none()) {
            worker.retired = Some(Reason::Scale);
        }
        Ok(())
    }

    // The end.

    /// When a worker that was told to stop is to be killed.
    pub fn kill_by(&self, worker: &Worker) -> Option<Monotonic> {
        worker.stopped.and(worker.kill_by.into_iter().chain(self.end_kill_by()).min())
    }

    fn signals_group(&mut self, now: Monotonic, pid: Pid, signal: Signal) -> Held {
        let Some(worker) = self.of(pid) else {
            let ended = matches!(self.event, Event::Child { pid: ended, change: ChildChange::Exited { .. } } if ended == pid);
            let asks = signal == self.policy.stop.signal || signal == Signal::CONT;
            return check(ended && asks, "no worker has this pid");
        };
        // The end may begin without a word.
        if worker.kill_by.is_none_or(|by| by > now) && !self.policy.drain.listens {
            self.ends(now)?;
        }
        let by = self.of(pid).and_then(|worker| self.kill_by(worker));
        check(signal == Signal::KILL && by.is_some_and(|by| by <= now), "killed too early")?;
        check(!std::mem::replace(&mut self.worker(pid)?.killed, true), "killed twice")
    }

    /// As many groups as 64 are waited for; of more, the oldest is killed early.
    fn signals_leftovers(&mut self, now: Monotonic, group: Pid, signal: Signal) -> Held {
        let overfull = self.leftovers.len() > 64;
        let at = self.leftovers.iter().position(|(left, _)| *left == group);
        let at = at.ok_or("nothing can be left of this group")?;
        let (_, kill_by) = self.leftovers.remove(at);
        let in_time = kill_by.is_some_and(|by| by <= now) || (overfull && at == 0);
        check(signal == Signal::KILL && in_time, "what is left of a group is killed too early")
    }
}

/// Which workers are looked at.
pub type IsLookedAt<'a> = &'a dyn Fn(&Worker) -> bool;
