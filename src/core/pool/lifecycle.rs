//! The life of the workers in the pool: they are spawned, become ready, are retired and exit.

use super::Pool;
use super::phase::{Ending, Phase};
use super::slot::Role;
use super::undecided::Undecided;
use super::workers::WorkerPlace;
use crate::action::{Action, Ask, ListenerAction};
use crate::backoff::WorkerFailure;
use crate::event::{Pid, SpawnFailure, SpawnId, WorkerFact};
use crate::exit::{Exit, Reason};
use crate::note::{InitNote, Note, ReadyBy, WorkerNote};
use crate::stop::FinalStop;
use crate::time::Monotonic;
use crate::worker::{Worker, WorkerState};
use alloc::vec::Vec;

impl Pool {
    pub(super) fn spawned(&mut self, now: Monotonic, id: SpawnId, pid: Pid, out: &mut Vec<Action>) {
        let is_it = |worker: &Worker| worker.id == id && matches!(worker.state, WorkerState::Spawning);
        let Some(place) = self.workers.find(is_it) else { return };
        self.leftovers.forget(pid);
        self.first.has_spawned();
        let probation = match place {
            WorkerPlace::InSlot(index, _) => self.workers.slot(index).map(|slot| slot.backoff.probation()),
            WorkerPlace::Retiring(_) => None,
        };
        let (policy, phase, probation) = (&self.policy, self.phase, probation.unwrap_or_default());
        let Some(worker) = self.workers.iter_mut().find(|worker| worker.id == id) else { return };
        worker.spawned(now, pid, policy, probation, out);
        let not_wanted = match (phase, place) {
            (Phase::Ending(Ending { final_stop: FinalStop::Stopping { kill_at }, .. }, _), _) => {
                Some((Reason::Stop, kill_at))
            }
            (Phase::Ending(Ending { final_stop: FinalStop::Killing { .. }, .. }, _), _) => {
                Some((Reason::Stop, Some(now)))
            }
            // It was retired before it was spawned.
            (Phase::Unstarted | Phase::Running { .. } | Phase::Draining { .. }, WorkerPlace::Retiring(_)) => {
                Some((Reason::Scale, policy.stop.graceful.deadline(now)))
            }
            (Phase::Closing(..), _) => Some((Reason::Stop, policy.stop.graceful.deadline(now))),
            (Phase::Unstarted | Phase::Running { .. } | Phase::Draining { .. }, WorkerPlace::InSlot(..))
            | (Phase::Gone(_), _) => None,
        };
        if let Some((reason, kill_at)) = not_wanted {
            worker.stop(reason, kill_at, policy, out);
        }
    }

    pub(super) fn spawn_failed(
        &mut self,
        now: Monotonic,
        id: SpawnId,
        failure: SpawnFailure,
        out: &mut Vec<Action>,
    ) {
        let is_it = |worker: &Worker| worker.id == id && matches!(worker.state, WorkerState::Spawning);
        let Some(place) = self.workers.find(is_it) else { return };
        let Some(slot) = self.workers.at(place).map(|worker| worker.slot) else { return };
        out.push(Action::Note(Note::Init(InitNote::SpawnFailed { slot, failure })));
        if !self.first.ever_spawned() && self.is_running() {
            // The very first spawn: the command is wrong, and no process runs that would have to be stopped.
            self.exit(failure.code, out);
            return;
        }
        self.vacate(now, place, Reason::BootError, Some(WorkerFailure::Died), out);
        if self.workers.is_empty() && matches!(self.phase, Phase::Ending(..)) {
            out.push(Action::Ask(Ask::Reap));
        }
    }

    pub(super) fn exited(
        &mut self,
        now: Monotonic,
        pid: Pid,
        exit: Exit,
        out_of_memory: bool,
        out: &mut Vec<Action>,
    ) {
        let Some(place) = self.workers.place_of(pid) else {
            out.push(Action::Note(Note::Init(InitNote::OrphanReaped {
                pid,
                exit,
                warn: self.policy.warn_on_reap,
            })));
            return;
        };
        let Some(worker) = self.workers.at(place) else { return };
        let counted_by_worker = self.policy.recycle.counted_by_worker;
        let (mut reason, mut failure) = worker.ended(now, exit, out_of_memory, counted_by_worker);
        let may_be_asked = self.may_be_asked(exit, reason);
        if may_be_asked && self.phase.stops() {
            (reason, failure) = (Reason::Stop, None);
        }
        let was_killed = matches!(worker.state, WorkerState::Killed { .. });
        let (uptime, served, lane) = (now.since(worker.spawned), worker.served(now), worker.lane);
        if self.policy.drain.listens {
            out.push(Action::Listeners(ListenerAction::Restore { lane }));
        }
        let of_worker = worker.reference(pid);
        let undecided = may_be_asked && !self.phase.stops();
        if !undecided {
            out.push(Action::Note(Note::Worker(of_worker, WorkerNote::Exited { exit, reason, uptime })));
        }
        if let WorkerPlace::InSlot(index, _) = place
            && let Some(slot) = self.workers.slot_mut(index)
        {
            slot.backoff.served(served);
            if failure.is_some() {
                slot.backoff.failed_after(served);
            }
        }
        match self.phase {
            // The final stop kills the rest of its group.
            Phase::Ending(Ending { final_stop: FinalStop::Stopping { .. }, .. }, _) => {
                self.leftovers.stop_at_the_end(pid, &self.policy.stop, out);
            }
            Phase::Ending(Ending { final_stop: FinalStop::Killing { .. }, .. }, _) | Phase::Gone(_) => {}
            Phase::Unstarted | Phase::Running { .. } | Phase::Draining { .. } | Phase::Closing(..)
                if was_killed => {}
            Phase::Unstarted | Phase::Running { .. } | Phase::Draining { .. } | Phase::Closing(..) => {
                self.leftovers.stop(now, pid, &self.policy.stop, out);
            }
        }
        match place {
            WorkerPlace::InSlot(index, in_slot) if undecided => {
                let death = self.take_out(now, index, in_slot);
                let what = (of_worker, exit, uptime);
                if let Some(death) = death {
                    self.workers.leave_undecided(Undecided::new(now, death, what, (reason, failure)));
                }
            }
            WorkerPlace::InSlot(..) | WorkerPlace::Retiring(_) => {
                self.vacate(now, place, reason, failure, out);
            }
        }
    }

    /// The worker in this place is ready. If it is the successor, the old worker retires.
    pub(super) fn become_ready(
        &mut self,
        now: Monotonic,
        index: usize,
        role: Role,
        by: ReadyBy,
        out: &mut Vec<Action>,
    ) {
        let Some(slot) = self.workers.slot_mut(index) else { return };
        let generation = slot.at(role).map(|worker| worker.generation);
        let starts = slot.at(role).is_some_and(|worker| matches!(worker.state, WorkerState::Starting(_)));
        let replaced = slot.become_ready(role, now, by, &self.policy, out);
        if self.workers.ready() > 0 {
            self.first.passed();
        }
        if starts {
            self.hint_late(index, out);
        }
        // A worker that was asked to stop meanwhile is not ready, and proves nothing.
        if let Some(generation) = generation.filter(|_| starts) {
            self.reload.ready(generation, out);
        }
        if let Some(old) = replaced {
            let reason = old.due().map_or(Reason::Reload, |(reason, _)| reason);
            self.retire(now, old, reason, out);
        }
    }

    /// Takes a worker that has left its slot: it drains and is stopped, or is aborted if it hangs.
    pub(super) fn retire(
        &mut self,
        now: Monotonic,
        mut worker: Worker,
        reason: Reason,
        out: &mut Vec<Action>,
    ) {
        if worker.hung_since().is_some() {
            worker.abort(now, &self.policy, out);
        } else {
            worker.drain(now, reason, &self.policy, out);
        }
        self.workers.retire(worker);
    }

    /// Takes a worker that has ended out of its place, and decides when its slot is filled again.
    fn vacate(
        &mut self,
        now: Monotonic,
        place: WorkerPlace,
        reason: Reason,
        failure: Option<WorkerFailure>,
        out: &mut Vec<Action>,
    ) {
        match place {
            WorkerPlace::InSlot(index, role) => {
                if let Some(death) = self.take_out(now, index, role) {
                    self.judge(now, death, reason, failure, out);
                }
            }
            WorkerPlace::Retiring(index) => {
                if let Some(worker) = self.workers.remove_retired(index) {
                    self.leave(now, worker.lane);
                }
            }
        }
    }

    /// A fact about a worker. If the pid is unknown, the worker has ended, and the fact is ignored.
    pub(super) fn worker_fact(&mut self, now: Monotonic, pid: Pid, fact: WorkerFact, out: &mut Vec<Action>) {
        match fact {
            WorkerFact::SaidReady => self.workers.with_starting(pid, |starting| starting.said_ready(now)),
            WorkerFact::StartExtended { by } => {
                self.workers.with_starting(pid, |starting| starting.extend(now, by))
            }
            WorkerFact::NotSeenAccepting { took, more } => {
                self.workers.with_starting(pid, |starting| starting.not_seen(now, took, more));
            }
            WorkerFact::ObservationRefused => self.workers.with(pid, |worker| worker.unobservable(out)),
            WorkerFact::SeenAccepting => {
                if let Some(WorkerPlace::InSlot(index, role)) = self.workers.place_of(pid) {
                    self.become_ready(now, index, role, ReadyBy::Accepting, out);
                }
            }
            WorkerFact::RequestsReported { total } => {
                self.workers.with(pid, |worker| worker.requests = worker.requests.max(total));
            }
            WorkerFact::Pinged => self.workers.with(pid, |worker| worker.pinged(now, out)),
            WorkerFact::WatchdogSet { every } => {
                self.workers.with(pid, |worker| worker.watchdog_set(now, every));
            }
            WorkerFact::SaidStopping => self.workers.with(pid, |worker| worker.said_stopping(now, out)),
            WorkerFact::Triggered => self.workers.with(pid, |worker| worker.triggered(now, out)),
            WorkerFact::Probed { passed } => self.probed(now, pid, passed, out),
            WorkerFact::QueueWoke => self.workers.with(pid, |worker| worker.queue_woke(now)),
            WorkerFact::QueueSeen { waiting } => {
                self.workers.with(pid, |worker| worker.queue_seen(now, waiting));
            }
            WorkerFact::ConnectionsSeen { found, took } => self.connections_seen(now, pid, found, took),
            WorkerFact::AcceptingSeen { found, took } => self.accepting_seen(now, pid, found, took, out),
            WorkerFact::Measured(found) => {
                self.workers.with(pid, |worker| {
                    let steered_to = self.lanes.is_steered_to(worker.lane);
                    worker.measured(now, found, steered_to, &self.policy, out);
                });
            }
        }
    }
}
