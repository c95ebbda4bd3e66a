//! The published view of a pool.

use super::Pool;
use super::phase::{Ending, Phase};
use super::slot::{Seat, Slot};
use super::workers::number;
use crate::event::Pid;
use crate::policy::StopPolicy;
use crate::signal::Signal;
use crate::snapshot::{self, Progress, State, Status};
use crate::stop::FinalStop;
use crate::time::Monotonic;
use crate::worker::{Worker, WorkerState};
use core::time::Duration;

impl Pool {
    /// See [`Core::served_by`](crate::Core::served_by).
    pub fn served_by(&self, pid: Pid) -> Option<u64> {
        let worker = self.workers.iter().find(|worker| worker.pid() == Some(pid))?;
        counted(worker, self.policy.recycle.counted_by_worker)
    }

    /// See [`Core::drain_signal`](crate::Core::drain_signal).
    pub fn drain_signal(&self) -> Option<Signal> {
        self.policy.drain.hint
    }

    /// See [`Core::status`](crate::Core::status).
    pub fn status(&self, now: Monotonic) -> Status {
        let of_slot = |slot: &Slot| snapshot::Slot {
            failures: slot.backoff.failures(),
            respawn_in: match slot.seat {
                Seat::Vacant { spawn_at, .. } => Some(spawn_at.since(now)),
                Seat::Taken(_) => None,
            },
            kept_lane: slot.kept_lane(),
        };
        Status {
            summary: self.snapshot(),
            generation: self.reload.current(),
            reload: self.reload.seen(),
            surge_to_go_on: self.surge_to_go_on(),
            slots: self.workers.slots().iter().map(of_slot).collect(),
            workers: self
                .workers
                .iter()
                .map(|worker| of_worker(worker, self.policy.recycle.counted_by_worker, now))
                .collect(),
        }
    }

    pub fn stop_policy(&self) -> StopPolicy {
        self.policy.stop
    }

    pub fn drain_delay(&self) -> Duration {
        self.policy.drain_delay
    }

    /// See [`Core::progress`](crate::Core::progress).
    pub fn progress(&self, now: Monotonic) -> Progress {
        let left = || self.workers.alive();
        match self.phase {
            Phase::Unstarted | Phase::Running { .. } => match self.reload.to() {
                None => Progress::Steady,
                Some(to) => {
                    let is_new =
                        |slot: &&Slot| slot.seated().is_some_and(|w| w.is_ready() && w.generation == to);
                    Progress::Rolling { to, new: number(self.workers.slots().iter().filter(is_new).count()) }
                }
            },
            Phase::Draining { until, .. } => Progress::Draining { left: until.since(now) },
            Phase::Closing(closing, _) => {
                Progress::Stopping { left: left(), grace: closing.kill_at().map(|at| at.since(now)) }
            }
            Phase::Ending(Ending { final_stop: FinalStop::Stopping { kill_at }, .. }, _) => {
                Progress::Stopping { left: left(), grace: kill_at.map(|at| at.since(now)) }
            }
            Phase::Ending(Ending { final_stop: FinalStop::Killing { .. }, .. }, _) | Phase::Gone(_) => {
                Progress::Stopping { left: left(), grace: Some(Duration::ZERO) }
            }
        }
    }
}

fn of_worker(worker: &Worker, counted_by_worker: bool, now: Monotonic) -> snapshot::Worker {
    let (state, reason) = match worker.state {
        WorkerState::Spawning | WorkerState::Starting(_) => (State::Starting, None),
        WorkerState::Ready { .. } if worker.hung_since().is_some() => (State::Hung, None),
        WorkerState::Ready { duty, accepting, .. } => {
            let state = if accepting.is_away() { State::NotAccepting } else { State::Ready };
            (state, duty.due().map(|(reason, _)| reason))
        }
        WorkerState::Draining(draining) => (State::Draining, Some(draining.reason)),
        WorkerState::Stopping { reason, .. } => (State::Stopping, Some(reason)),
        WorkerState::Killed { reason, .. } => (State::Killed, Some(reason)),
    };
    let waits_for = match worker.state {
        WorkerState::Draining(draining) => draining.in_hand.waits_for(now),
        WorkerState::Spawning
        | WorkerState::Starting(_)
        | WorkerState::Ready { .. }
        | WorkerState::Stopping { .. }
        | WorkerState::Killed { .. } => None,
    };
    snapshot::Worker {
        slot: worker.slot,
        number: worker.number,
        generation: worker.generation,
        pid: worker.pid(),
        lane: worker.lane,
        state,
        reason,
        waits_for,
        uptime: now.since(worker.spawned),
        requests: counted(worker, counted_by_worker),
        limits: worker.limits,
    }
}

/// Requests that a worker has served; `None` if it counts by itself, or has no limit and has reported none.
fn counted(worker: &Worker, counted_by_worker: bool) -> Option<u64> {
    let is_counted = worker.limits.requests.is_some() && !counted_by_worker;
    Some(worker.requests).filter(|requests| *requests > 0 || is_counted)
}
