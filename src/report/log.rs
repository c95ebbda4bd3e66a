//! Log lines: one a transition, with the same field names everywhere.

pub use crate::report::level::set as set_level;
pub use crate::report::line::timestamp;
pub use crate::report::notes::waits;
pub use crate::report::sink::{child_signal, print, say, start, start_error};

use crate::core::note::{Note, WorkerRef};
use crate::os::process::inspect::ProcessSnapshot;
use crate::report::notes::{self, millis};
use crate::report::sink;
use std::time::Duration;
use tracing::field::display;
use tracing::{error, info, warn};

/// A line about one worker: level, worker, other fields, message.
macro_rules! worker_line {
    ($level:ident, $worker:expr, $($rest:tt)+) => {{
        let WorkerRef { slot, generation, pid } = $worker;
        $level!(slot, "gen" = generation, pid = pid.0, $($rest)+)
    }};
}

/// Writes the line for a transition.
pub fn note(note: &Note) {
    if !sink::says_otherwise(note) {
        notes::describe(note, sink::command(), &mut sink::transition);
    }
}

/// Where a pool that is ready can be reached.
#[derive(Debug)]
pub struct Reachable {
    /// How many workers are.
    pub ready: u32,
    /// How many are wanted.
    pub workers: u32,
    /// The addresses of its listeners.
    pub listening: Vec<String>,
    /// That of its health endpoint.
    pub health: Option<String>,
    /// That of its control socket.
    pub control: Option<String>,
}

/// The one line that says that all is well, and where.
pub fn pool_ready(reachable: &Reachable) {
    let Reachable { ready, workers, listening, health, control } = reachable;
    let listening = (!listening.is_empty()).then(|| display(listening.join(", ")));
    let [health, control] = [health, control].map(|address| address.as_ref().map(display));
    info!(ready, workers, listening, health, control, "pool ready");
}

/// What a pool has come to.
#[derive(Debug)]
pub struct Totals {
    /// Requests served, if they are counted.
    pub requests: Option<u64>,
    /// Workers started after the last one of their slot had failed.
    pub restarts: u64,
    /// Workers killed since they did not stop in time.
    pub killed: u64,
    /// From the order to stop to now.
    pub took: Option<Duration>,
}

/// The last line of a pool that was stopped in order.
pub fn pool_stopped(totals: &Totals) {
    let Totals { requests, restarts, killed, took } = *totals;
    info!(requests, restarts, killed, took_ms = took.map(millis), "pool stopped");
}

/// What a hung worker looks like.
pub fn snapshot(worker: WorkerRef, snapshot: &ProcessSnapshot) {
    let ProcessSnapshot { state, wchan, syscall, rss, threads, sockets, cpu } = snapshot;
    let (state, cpu_ms) = (state.map(display), cpu.map(millis));
    worker_line!(
        error,
        worker,
        state,
        wchan,
        syscall,
        rss,
        threads,
        sockets,
        cpu_ms,
        "worker as it was found hung"
    );
}

/// A worker was not ready in time, and these listen: it, or its descendants.
pub fn listens_elsewhere(worker: WorkerRef, addresses: &[String]) {
    let listens = addresses.join(", ");
    worker_line!(warn, worker, "worker listens on {listens}, not on ours: does it take {{fd}}?");
}

/// A worker was not ready in time, and has no listener but those that it was given.
pub fn listens_nowhere(worker: WorkerRef, snapshot: &ProcessSnapshot) {
    let ProcessSnapshot { state, wchan, cpu, .. } = snapshot;
    let (state, cpu_ms) = (state.map(display), cpu.map(millis));
    worker_line!(
        warn,
        worker,
        state,
        wchan,
        cpu_ms,
        "worker listens nowhere else, and was not seen to accept: it still starts, or waits for something, see --start-timeout"
    );
}

/// A worker has connections, but no request was reported.
pub fn nobody_counts(worker: WorkerRef) {
    worker_line!(
        warn,
        worker,
        "worker has connections, and has not reported a single request: --max-requests replaces no worker unless the application counts, see --count-requests"
    );
}
