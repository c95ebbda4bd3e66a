//! Whether an action is right, given what is in the book.

use super::super::dice::MS;
use super::super::rule::{Held, check};
use super::book::{Book, MARGIN, Refusing, Stage, Worker};
use prefork_core::action::{Ask, ListenerAction, PoolCheck, Recipients, TerminalAction, WorkerAction};
use prefork_core::exit::Reason;
use prefork_core::handover::Kept;
use prefork_core::note::WorkerRef;
use prefork_core::{Action, Lane, Monotonic, Pid, Signal};
use std::time::Duration;

/// As many groups are waited for; of more, the oldest is killed early.
const MOST_REMAINS: usize = 64;

/// What a worker beyond its hard limit gets at most.
const HARD_LIMIT_GRACE: Duration = Duration::from_secs(5);

impl Book {
    pub fn judge(&mut self, now: Monotonic, action: &Action) -> Held {
        match *action {
            Action::Spawn(order) => self.spawn(now, order),
            Action::Signal { to: Recipients::Process(pid), signal } => self.signal(pid, signal),
            Action::Signal { to: Recipients::Takers(pid), signal } => self.passed_on(pid, signal),
            Action::Signal { to: Recipients::Group(pid), signal } => self.signal_group(now, pid, signal),
            Action::Signal { to: Recipients::Leftovers(group), signal } => {
                self.signal_remains(now, group, signal)
            }
            Action::Signal { to: Recipients::Everyone, signal } => self.signal_all(now, signal),
            Action::Signal {
                to: Recipients::Orphans { except: ref workers, asked_groups: ref groups },
                signal,
            } => self.ask_orphans(now, workers, groups, signal),
            Action::Forward(_)
            | Action::ContinueStopped(_)
            | Action::Terminal(TerminalAction::Lend { .. })
            | Action::Terminal(TerminalAction::TakeBack { .. })
            | Action::Terminal(TerminalAction::StopSelf { .. }) => Err("a pool forwards nothing".into()),
            Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::Observe } => {
                let observe = self.policy.ready.observe;
                self.worker_on(pid, lane)?;
                let Some(worker) = self.starting(pid) else { return Err("it is not starting".into()) };
                let last = worker.looked.replace(now).unwrap_or(worker.spawned);
                check(observe && !worker.refused, "there is nothing to see")?;
                let least = if worker.more { last } else { last + 5 * MS };
                worker.more = false;
                check(now >= least.max(worker.pause_until), "looks too often")
            }
            Action::Listeners(ListenerAction::Steer { ref lanes }) => {
                check(self.policy.drain.steered && self.is_open(), "nobody steers now")?;
                check(*lanes != self.steered, "that is where they go")?;
                self.steered.clone_from(lanes);
                Ok(())
            }
            Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::WatchQueue } => {
                self.watch_queue(now, pid, lane)
            }
            Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::CheckAccepting } => {
                self.look_whether_accepting(now, pid, lane)
            }
            Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::CheckQueue } => {
                self.look_at_queue(now, pid, lane)
            }
            Action::Check(PoolCheck::Lane { lane }) => {
                let is_owned = self.is_owned(lane);
                check(self.expected.woken, "looked at while something else waits")?;
                check(self.policy.drain.steered && !is_owned, "somebody looks after these connections")?;
                check(self.left.contains(&(lane, false)), "nobody has left it, or it was looked at")
            }
            Action::Worker {
                worker: WorkerRef { pid, .. },
                act: WorkerAction::CheckConnections { since },
                ..
            } => self.look_at_connections(now, pid, since),
            Action::Check(PoolCheck::Connections { ref pids, since }) => {
                self.look_at_all_connections(now, pids, since)
            }
            Action::Check(PoolCheck::Queues { ref lanes }) => self.look_at_queues(now, lanes),
            Action::Listeners(ListenerAction::HoldOff) => self.hold_connections_off(now),
            Action::Listeners(ListenerAction::Refuse { held_off }) => self.refuse_connections(now, held_off),
            Action::Check(PoolCheck::Listeners { ref workers }) => self.look_at_listeners(now, workers),
            Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::Hint { signal } } => {
                self.hint(pid, lane, signal)
            }
            Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::Probe } => {
                self.probe(now, pid, lane)
            }
            Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::Measure } => {
                check(self.worker_on(pid, lane)?.is_up(), "it does not serve")?;
                check(self.expected.woken, "measured while something else waits")?;
                check(self.measure_at.is_some_and(|at| at <= now), "measured too early")?;
                self.expected.measured.push(pid);
                Ok(())
            }
            Action::Check(PoolCheck::Container) => Err("nobody asked for that".into()),
            Action::Ask(Ask::ReadConfiguration) => {
                check(std::mem::take(&mut self.expected.reread), "nobody asked for a reload")
            }
            Action::Ask(Ask::Upgrade(ref given)) => {
                let known =
                    |kept: &Kept| self.live.iter().any(|w| w.pid == kept.pid && w.order.lane == kept.lane);
                let all = given.kept.len() == self.live.len() && given.kept.iter().all(known);
                check(
                    std::mem::take(&mut self.upgrade),
                    "nobody asked for an upgrade, or it failed already",
                )?;
                check(all && self.live.iter().all(Worker::serves), "an upgrade in the middle of something")
            }
            Action::Worker { worker, act: WorkerAction::Inspect, .. } => {
                check(self.expected.portray.take() == Some(worker.pid), "it does not hang")
            }
            Action::Worker { worker, lane, act: WorkerAction::ExplainLateness { .. } } => {
                self.explains(now, worker, lane)
            }
            Action::Worker { worker, act: WorkerAction::CheckCounting, .. } => {
                self.checks_counting(now, worker)
            }
            Action::Listeners(ListenerAction::Restore { .. }) => {
                check(self.policy.drain.listens, "there are none")
            }
            Action::Ask(Ask::Reap) => Ok(()),
            Action::Note(ref note) => self.note(now, note),
            Action::Exit(code) => self.exit(now, code),
        }
    }

    fn probe(&mut self, now: Monotonic, pid: Pid, lane: Lane) -> Held {
        let worker = self.worker_on(pid, lane)?;
        check(worker.starts() || worker.is_up(), "it is on its way out")?;
        check(worker.watch.probe_at.take().is_some_and(|at| at <= now), "probed too early")
    }

    /// To ask a worker to stop takes two signals and a word about it.
    fn passed_on(&mut self, pid: Pid, signal: Signal) -> Held {
        let owed = self.expected.forwarded.iter().position(|owed| *owed == (pid, signal));
        let Some(at) = owed else { return Err("nothing was to be passed on to it".into()) };
        self.expected.forwarded.remove(at);
        Ok(())
    }

    fn signal(&mut self, pid: Pid, signal: Signal) -> Held {
        if let Some((asked, _, continued)) = self.expected.stopping.as_mut() {
            check(*asked == pid && signal == Signal::CONT, "another signal before the first is explained")?;
            return check(!std::mem::replace(continued, true), "continued twice");
        }
        check(self.worker(pid)?.stopped.is_none(), "asked to stop again")?;
        self.expected.stopping = Some((pid, signal, false));
        Ok(())
    }

    /// Why a worker has just been asked to stop.
    pub fn stopping(&mut self, now: Monotonic, pid: Pid, reason: Reason, signal: Signal) -> Held {
        let asked = self.expected.stopping.take();
        check(asked == Some((pid, signal, true)), "it was not asked, or otherwise, or not continued")?;
        let grace = self.policy.stop.graceful.deadline(now);
        let worker = self.worker(pid)?;
        let by_stage = reason == Reason::Stop && worker.retired.is_none() && worker.due.is_none();
        let ends = matches!(self.stage, Stage::Ending { .. } | Stage::Killing { .. });
        let kill_by = if reason == Reason::Hung {
            self.may_abort(pid)?;
            check(signal == self.policy.hang.abort_signal, "the wrong signal")?;
            Some(now + self.policy.hang.abort_time)
        } else {
            check(signal == self.policy.stop.signal, "the wrong signal")?;
            match reason {
                Reason::Stop if ends => {
                    self.expected.explained.retain(|explained| *explained != pid);
                    None
                }
                // It was ordered just before nobody was wanted any more.
                Reason::Stop if by_stage && matches!(self.stage, Stage::Closing { .. }) => {
                    check(self.worker(pid)?.spawned == now, "too early")?;
                    grace
                }
                Reason::BootTimeout => {
                    let explained = self.expected.explained.iter().position(|explained| *explained == pid);
                    let explained = explained.map(|at| self.expected.explained.remove(at));
                    check(explained.is_some() || !self.policy.drain.listens, "nobody knows what it did")?;
                    self.may_give_up(now, pid).map(|()| grace)?
                }
                Reason::MaxMemory if self.expected.too_big == Some(pid) => {
                    self.expected.too_big = None;
                    let worker = self.worker(pid)?;
                    let (serves, in_slot) = (worker.serves(), worker.retired.is_none());
                    self.expected.lost += usize::from(serves && in_slot);
                    grace.into_iter().chain([now + HARD_LIMIT_GRACE]).min()
                }
                planned => self.may_stop(now, pid, planned).map(|()| grace)?,
            }
        };
        let worker = self.worker(pid)?;
        (worker.stopped, worker.kill_by) = (Some((now, reason)), kill_by);
        Ok(())
    }

    fn may_give_up(&mut self, now: Monotonic, pid: Pid) -> Held {
        let worker = self.worker(pid)?;
        check(worker.starts() && worker.fail_by.is_some_and(|at| at <= now), "stopped while it starts")?;
        check(worker.said_ready.is_none(), "given up although it said that it is ready")
    }

    /// Those that hang are ended one after the other, unless somebody has taken their place.
    fn may_abort(&mut self, pid: Pid) -> Held {
        let worker = self.worker(pid)?;
        check(worker.is_up() && worker.watch.hung.is_some(), "it does not hang")?;
        let (slot, made_way) = (worker.order.slot, worker.retired.is_some());
        if !made_way {
            check(self.stage == Stage::Running, "aborted at the end")?;
            check(self.recovering() < self.most_recovering(), "too many are ended at once")?;
            check(!std::mem::replace(&mut self.slot(slot).recovers, true), "aborted again")?;
        }
        Ok(())
    }

    pub fn recovering(&self) -> usize {
        self.slots.iter().filter(|slot| slot.recovers).count()
    }

    pub fn most_recovering(&self) -> usize {
        self.most_missing().max(1)
    }

    /// Whether a worker may be stopped now because it makes way.
    fn may_stop(&mut self, now: Monotonic, pid: Pid, reason: Reason) -> Held {
        let empties = self.empties();
        let worker = self.worker(pid)?;
        if worker.retired.is_none() {
            check(!empties, "stopped before it was emptied")?;
            self.begin_break(now, pid, reason)?;
        }
        let worker = self.worker(pid)?;
        check(worker.retired == Some(reason), "for another reason")?;
        match (worker.ready, worker.drain) {
            (Some(_), Some(drain)) => self.is_emptied(now, &drain),
            (Some(_), None) => check(!empties, "stopped before it was emptied"),
            (None, _) => Ok(()),
        }
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
            Stage::Unstarted | Stage::Running | Stage::Draining { .. } | Stage::Closing { .. } => None,
        };
        worker.stopped.and(worker.kill_by.into_iter().chain(of_ending).min())
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
                self.refusing = self.refusing.map(|refusing| Refusing { by: now, ..refusing });
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
            Stage::Unstarted | Stage::Running | Stage::Draining { .. } | Stage::Closing { .. } => false,
        };
        check(right_time, "it leaves while somebody is left")?;
        let own = match (self.gave_up, self.overdue) {
            (Some(_), _) => 3,
            (None, true) => 124,
            (None, false) => 0,
        };
        check(self.end_was_told, "it leaves without a word")?;
        check(code == own, "the wrong exit code")
    }
}
