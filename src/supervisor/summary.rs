//! What is told once: where the pool serves, when it does, and what it has come to, when it ends.

use super::Loop;
use crate::core::note::PoolNote;
use crate::core::snapshot::State;
use crate::core::{Note, Pid};
use crate::os::socket::listen::Listener;
use crate::report::log::{self, Reachable, Totals};

impl Loop {
    /// Writes the line for a transition, with what the core does not know.
    pub(super) fn tell(&mut self, note: &Note) {
        match note {
            Note::Pool(PoolNote::Ready { ready }) => {
                self.tell_ready(*ready);
                self.look_whether_hint_is_taken();
            }
            Note::Pool(PoolNote::Stopped) => self.tell_stopped(),
            note => log::note(note),
        }
    }

    fn tell_ready(&self, ready: u32) {
        let lanes = self.execute.fleet.iter().flat_map(|fleet| fleet.lanes.addresses());
        let address =
            |endpoint: &Option<Listener>| endpoint.as_ref().map(|listener| listener.address().to_string());
        log::pool_ready(&Reachable {
            ready,
            workers: self.core.snapshot().workers,
            listening: lanes.map(ToString::to_string).collect(),
            health: address(&self.endpoints.health),
            control: address(&self.endpoints.control),
        });
    }

    fn tell_stopped(&self) {
        let counts = &self.observers.metrics.counts;
        log::pool_stopped(&Totals {
            requests: counts.served,
            restarts: counts.restarts,
            killed: counts.kills.each().fold(0u64, |sum, (_, kills)| sum.saturating_add(kills)),
            took: counts.stop_began.map(|began| self.now().since(began)),
        });
    }

    /// One worker stands for all: they run the same command.
    fn look_whether_hint_is_taken(&mut self) {
        let Some(signal) = self.core.drain_signal() else { return };
        let status = self.core.status(self.now());
        let ready = status.workers.iter().find(|worker| worker.state == State::Ready);
        if let (Some(pid), Some(fleet)) = (ready.and_then(|worker| worker.pid), &mut self.execute.fleet) {
            fleet.look_whether_hint_is_taken(pid, signal);
        }
    }

    /// A worker has ended, and is still known: what it has served is counted with what the others had.
    pub(super) fn count_served(&mut self, pid: Pid) {
        let at_last = self.execute.fleet.as_ref().and_then(|fleet| fleet.served_at_last(pid));
        // Not for the core to hear: a worker that has ended is not due for anything.
        self.observers.metrics.counts.served(self.core.served_by(pid).max(at_last));
    }
}
