//! Lines that need more than the core knows: where the pool serves, when it is ready, and its totals, when it ends.

use super::observers::Observers;
use crate::core::note::PoolNote;
use crate::core::snapshot::State;
use crate::core::{Core, Monotonic, Note};
use crate::os::socket::listen::Listener;
use crate::report::log::{self, Reachable, Totals};
use crate::setup::Endpoints;
use crate::workers::Workers;

impl Observers {
    pub fn log(
        &self,
        now: Monotonic,
        note: &Note,
        core: &Core,
        workers: Option<&mut Workers>,
        endpoints: &Endpoints,
    ) {
        match note {
            Note::Pool(PoolNote::Ready { ready }) => {
                log_ready(*ready, core, workers.as_deref(), endpoints);
                look_whether_hint_is_taken(now, core, workers);
            }
            Note::Pool(PoolNote::Stopped) => self.log_stopped(now),
            note => log::note(note),
        }
    }

    fn log_stopped(&self, now: Monotonic) {
        let counts = &self.metrics.counts;
        log::pool_stopped(&Totals {
            requests: counts.served,
            restarts: counts.restarts,
            killed: counts.kills.each().fold(0u64, |sum, (_, kills)| sum.saturating_add(kills)),
            took: counts.stop_began.map(|began| now.since(began)),
        });
    }
}

fn log_ready(ready: u32, core: &Core, workers: Option<&Workers>, endpoints: &Endpoints) {
    let lanes = workers.iter().flat_map(|workers| workers.lanes.addresses());
    let address =
        |endpoint: &Option<Listener>| endpoint.as_ref().map(|listener| listener.address().to_string());
    log::pool_ready(&Reachable {
        ready,
        workers: core.snapshot().workers,
        listening: lanes.map(ToString::to_string).collect(),
        health: address(&endpoints.health),
        control: address(&endpoints.control),
    });
}

/// One worker is enough: all run the same command.
fn look_whether_hint_is_taken(now: Monotonic, core: &Core, workers: Option<&mut Workers>) {
    let Some(signal) = core.drain_signal() else { return };
    let status = core.status(now);
    let ready = status.workers.iter().find(|worker| worker.state == State::Ready);
    if let (Some(pid), Some(workers)) = (ready.and_then(|worker| worker.pid), workers) {
        workers.look_whether_hint_is_taken(pid, signal);
    }
}
