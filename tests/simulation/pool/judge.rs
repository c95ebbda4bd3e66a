//! Whether an action is right, given what is in the book.

use super::super::dice::MS;
use super::super::rule::{Held, check};
use super::book::{Book, MARGIN, SPAWN_GAP, Stage, Worker};
use prefork_init::core::action::SpawnOrder;
use prefork_init::core::exit::Reason;
use prefork_init::core::{Action, Monotonic, Pid, Signal};

/// As many groups are waited for; of more, the oldest is killed early.
const MOST_REMAINS: usize = 64;

impl Book {
    pub fn judge(&mut self, now: Monotonic, action: &Action) -> Held {
        match *action {
            Action::Spawn(order) => self.spawn(now, order),
            Action::Signal { pid, signal } => self.signal(now, pid, signal),
            Action::SignalGroup { pid, signal } => self.signal_group(now, pid, signal),
            Action::SignalRemains { group, signal } => self.signal_remains(now, group, signal),
            Action::SignalAll { signal } => self.signal_all(now, signal),
            Action::AskOrphans { ref workers, ref groups, signal } => {
                self.ask_orphans(now, workers, groups, signal)
            }
            Action::Forward { .. }
            | Action::ContinueStopped { .. }
            | Action::LendTerminal { .. }
            | Action::TakeTerminalBack { .. }
            | Action::StopSelf { .. } => Err("a pool forwards nothing".into()),
            Action::Observe { pid } => {
                let observe = self.policy.ready.observe;
                let Some(worker) = self.starting(pid) else { return Err("it is not starting".into()) };
                let last = worker.looked.replace(now).unwrap_or(worker.spawned);
                check(observe && !worker.refused, "there is nothing to see")?;
                let least = if worker.more { last } else { last + 5 * MS };
                worker.more = false;
                check(now >= least.max(worker.pause_until), "looks too often")
            }
            Action::RestoreBacklog | Action::Reap => Ok(()),
            Action::Report(ref note) => self.note(now, note),
            Action::Exit(code) => self.exit(now, code),
        }
    }

    fn spawn(&mut self, now: Monotonic, order: SpawnOrder) -> Held {
        let serves = matches!(self.stage, Stage::Running | Stage::Draining { .. });
        check(serves, "a spawn after the stop began")?;
        check(self.pending.is_none(), "two spawns at once")?;
        check(self.last_id.replace(order.id).is_none_or(|last| last < order.id), "a spawn id again")?;
        check(order.slot < self.policy.workers, "no such slot")?;
        let extra = self.replacing();
        check(self.in_slot(order.slot).count() <= 1, "a second extra worker in one slot")?;
        let last = self.slots[order.slot as usize].last_spawn;
        check(last.is_none_or(|last| last + SPAWN_GAP <= now), "two spawns of one slot within 100 ms")?;
        let slot = &self.slots[order.slot as usize];
        let window = match self.holder(order.slot) {
            None => slot.vacancy,
            Some(old) => {
                check(self.stage == Stage::Running, "a replacement after TERM")?;
                check(old.serves() && old.due.is_some(), "a replacement for a worker that is not due")?;
                check(extra < self.policy.max_surge as usize, "a replacement beyond the budget")?;
                slot.retry
            }
        };
        check(window.earliest <= now, "sooner than the backoff allows")?;
        self.slot(order.slot).last_spawn = Some(now);
        self.pending = Some(order);
        let in_bounds = match (order.max_requests, self.policy.recycle.max_requests) {
            (None, None) => true,
            (Some(n), Some(limit)) => (limit.base..=limit.base + limit.jitter).contains(&n),
            (None, Some(_)) | (Some(_), None) => false,
        };
        check(in_bounds, "a limit out of its bounds")
    }

    /// Slots with one worker more than they need: a successor, or one that makes way for it.
    pub fn replacing(&self) -> usize {
        (0..self.policy.workers).filter(|slot| self.is_replacing(*slot)).count()
    }

    pub fn is_replacing(&self, slot: u32) -> bool {
        let pending = self.pending.is_some_and(|order| order.slot == slot);
        self.in_slot(slot).any(Worker::retires) || self.in_slot(slot).count() + usize::from(pending) > 1
    }

    fn signal(&mut self, now: Monotonic, pid: Pid, signal: Signal) -> Held {
        let Some(at) = self.live.iter().position(|w| w.pid == pid) else {
            return Err("nobody of ours has this pid".into());
        };
        if signal != self.policy.stop.signal {
            let worker = &mut self.live[at];
            worker.continued = true;
            return check(signal == Signal::CONT && worker.stopped.is_some(), "no reason for this signal");
        }
        let reason = self.may_stop(now, &self.live[at])?;
        let worker = &mut self.live[at];
        worker.stopped = Some((now, reason));
        if let (true, Some((since, _)), slot) = (worker.retires(), worker.ready, worker.order.slot) {
            self.slot(slot).backoff.served(now.since(since));
        }
        Ok(())
    }

    /// Why this worker may get the stop signal now.
    fn may_stop(&self, now: Monotonic, worker: &Worker) -> Result<Reason, String> {
        check(worker.stopped.is_none(), "the stop signal again")?;
        // One that was ordered just before everything was killed comes after it.
        if matches!(self.stage, Stage::Ending { .. } | Stage::Killing { .. }) {
            return Ok(Reason::Stop);
        }
        let Some(_) = worker.ready else {
            let by = self.policy.ready.start_timeout.deadline(worker.spawned);
            check(by.is_some_and(|at| at <= now), "stopped while it starts")?;
            check(worker.said_ready.is_none(), "given up although it said that it is ready")?;
            return Ok(Reason::BootTimeout);
        };
        let Some((_, reason)) = worker.due else { return Err("stopped, and it is not due".into()) };
        let mut others = self.in_slot(worker.order.slot).filter(|w| w.pid != worker.pid);
        check(others.any(Worker::serves), "a break before the make")?;
        Ok(reason)
    }

    fn signal_group(&mut self, now: Monotonic, pid: Pid, signal: Signal) -> Held {
        if let Some((_, times)) = self.expected.group_asked.as_mut().filter(|(leader, _)| *leader == pid) {
            *times += 1;
            return check([self.policy.stop.signal, Signal::CONT].contains(&signal), "the wrong signal");
        }
        let Some(at) = self.live.iter().position(|w| w.pid == pid) else {
            return Err("nobody of ours has this pid".into());
        };
        let kill_by = self.kill_by(&self.live[at]);
        check(signal == Signal::KILL && kill_by.is_some_and(|by| by <= now), "killed too early")?;
        check(!std::mem::replace(&mut self.live[at].killed, true), "killed twice")
    }

    /// When a worker that has got the stop signal is to be killed.
    pub fn kill_by(&self, worker: &Worker) -> Option<Monotonic> {
        let of_ending = match self.stage {
            Stage::Ending { kill_by, .. } => kill_by,
            Stage::Killing { last, .. } => Some(last),
            Stage::Unstarted | Stage::Running | Stage::Draining { .. } => None,
        };
        let (stopped, _) = worker.stopped?;
        self.policy.stop.graceful.deadline(stopped).into_iter().chain(of_ending).min()
    }

    fn signal_remains(&mut self, now: Monotonic, group: Pid, signal: Signal) -> Held {
        let overfull = self.remains.len() > MOST_REMAINS;
        let Some(at) = self.remains.iter().position(|(left, _)| *left == group) else {
            return Err("nobody can be left of this group".into());
        };
        let (_, kill_by) = self.remains.remove(at);
        let in_time = kill_by.is_some_and(|by| by <= now) || (overfull && at == 0);
        check(signal == Signal::KILL && in_time, "what is left of a group is killed too early")
    }

    fn signal_all(&mut self, now: Monotonic, signal: Signal) -> Held {
        match (self.stage, signal) {
            (Stage::Ending { kill_by, .. }, Signal::KILL) => {
                self.stage = Stage::Killing { last: now, leave_by: now + MARGIN };
                check(kill_by.is_some_and(|by| by <= now), "everything is killed too early")
            }
            (Stage::Killing { leave_by, .. }, Signal::KILL) => {
                self.stage = Stage::Killing { last: now, leave_by };
                Ok(())
            }
            (_, _) => Err("everybody is signalled out of season".into()),
        }
    }

    /// Once halfway through the time for all, and once when the workers are gone.
    fn ask_orphans(&mut self, now: Monotonic, workers: &[Pid], groups: &[Pid], signal: Signal) -> Held {
        let Stage::Ending { kill_by, orphans_by } = self.stage else {
            return Err("orphans are asked out of season".into());
        };
        check(signal == self.policy.stop.signal, "the wrong signal")?;
        let spared = self.live.iter().all(|worker| workers.contains(&worker.pid));
        check(spared && workers.len() == self.live.len(), "the wrong processes are spared")?;
        let knows = self.remains.iter().all(|(group, _)| groups.contains(group));
        let asked = |group: &Pid| {
            self.remains.iter().any(|(left, _)| left == group) || self.groups_asked.contains(group)
        };
        check(
            knows && self.groups_asked.iter().all(|group| groups.contains(group)),
            "a group is asked again",
        )?;
        check(groups.iter().all(asked), "a group is passed over")?;
        self.stage = Stage::Ending { kill_by, orphans_by: None };
        if self.live.is_empty() && orphans_by.is_none_or(|by| by > now) {
            return check(!std::mem::replace(&mut self.orphans_asked, true), "orphans are asked again");
        }
        check(orphans_by.is_some_and(|by| by <= now), "orphans are asked too early, or again")
    }

    /// The documented table of exit codes.
    fn exit(&mut self, now: Monotonic, code: u8) -> Held {
        self.exit = Some(code);
        if let Some(failure) = self.first_failure {
            return check(
                code == failure.code && self.stage == Stage::Running,
                "the wrong code for a bad command",
            );
        }
        let nobody_left = self.expected.childless && self.live.is_empty();
        let right_time = match self.stage {
            Stage::Ending { .. } => nobody_left,
            Stage::Killing { leave_by, .. } => nobody_left || leave_by <= now,
            Stage::Unstarted | Stage::Running | Stage::Draining { .. } => false,
        };
        check(right_time, "it leaves while somebody is left")?;
        check(self.end_was_told, "it leaves without a word")?;
        check(code == if self.gave_up.is_some() { 3 } else { 0 }, "the wrong exit code")
    }
}
