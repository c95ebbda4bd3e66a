//! Measurements of workers from outside: memory, requests, queues, listeners.

use super::Workers;
use crate::core::event::{Measured, PoolFact, WorkerFact};
use crate::core::note::WorkerRef;
use crate::core::{Event, Lane, Pid};
use crate::os::container::cgroup;
use crate::os::process::inspect::snapshot;
use crate::os::process::privileges;
use crate::os::process::usage::{self, Measure};
use crate::os::socket::connections::accepted;
use crate::os::socket::held::Held;
use crate::os::worker::scoreboard;
use crate::report::log;
use crate::values::address::Address;

impl Workers {
    pub fn measure(&mut self, pid: Pid, lane: Lane) -> Event {
        let line = self.scoreboard.as_ref().map(|board| board.read(lane.0));
        let deadline = line.and_then(|line| line.deadline);
        let request_overdue = self.requests.is_overdue(lane.0, deadline, scoreboard::now());
        let found = Measured {
            memory: self.memory.and_then(|measure| self.as_worker(|| usage::memory(pid, measure))),
            requests: line.map(|line| line.finished),
            request_overdue,
            waiting: self.counts_queues.then(|| self.queue(lane)),
        };
        Event::Worker { pid, fact: WorkerFact::Measured(found) }
    }

    /// The requests that a worker has served, by the scoreboard: its line stays until another worker gets it.
    pub fn served_at_last(&self, pid: Pid) -> Option<u64> {
        let row = self.rows.iter().find(|row| row.pid == pid)?;
        Some(self.scoreboard.as_ref()?.read(row.lane).finished)
    }

    /// `None` if the container has no limit, or none that can be seen.
    pub(super) fn measure_container(&self) -> Option<PoolFact> {
        let cgroup::Memory { current, reclaimable, limit } = self.cgroup.as_ref()?.memory()?;
        Some(PoolFact::ContainerMeasured { used: current.saturating_sub(reclaimable), limit: limit? })
    }

    pub(super) fn portray(&self, worker: WorkerRef) {
        log::snapshot(worker, &self.as_worker(|| snapshot(worker.pid)));
    }

    /// Logs what a worker listens on that is not ready in time.
    pub(super) fn explain_lateness(&self, worker: WorkerRef, lane: Lane, watched: bool) {
        let held = self.as_worker(|| Held::by(worker.pid));
        let elsewhere = held.listening_but_on(&self.lanes.ids(lane.0));
        if !elsewhere.is_empty() {
            log::listens_elsewhere(worker, &elsewhere);
        } else if watched && held.is_all() {
            log::listens_nowhere(worker, &self.as_worker(|| snapshot(worker.pid)));
        }
    }

    /// Logs, once, that a worker has connections and has not reported requests.
    pub(super) fn check_counting(&self, worker: WorkerRef) {
        let addresses: Vec<Address> = self.lanes.addresses().cloned().collect();
        if !self.uncounted_told.get()
            && self.as_worker(|| Held::by(worker.pid)).has_any(&accepted(&addresses))
        {
            self.uncounted_told.set(true);
            log::nobody_counts(worker);
        }
    }

    /// Whether memory is measured as the proportional share (`Pss`).
    pub fn measures_shares(&self) -> bool {
        self.memory == Some(Measure::Pss)
    }

    /// Runs `look` with the rights of the workers' user, if that is another user.
    pub fn as_worker<T>(&self, look: impl FnOnce() -> T) -> T {
        privileges::acting_for(self.ids, look)
    }
}
