//! What the user decided, as the core needs it. `config` checks it; the core believes it.

use super::signal::Signal;
use super::time::Patience;
use std::time::Duration;

/// How we treat processes that are to end, in both modes.
#[derive(Clone, Copy, Debug)]
pub struct StopPolicy {
    /// What asks a process to end.
    pub signal: Signal,
    /// How long it may take before `SIGKILL`.
    pub graceful: Patience,
}

/// The rules of pool mode.
#[derive(Clone, Debug)]
pub struct PoolPolicy {
    /// How many workers are wanted, at least 1.
    pub workers: u32,
    /// How many must be ready for the pool to be ready, 1 to `workers`.
    pub min_ready: u32,
    /// How many workers more than `workers` may live during planned replacements, at least 1.
    pub max_surge: u32,
    /// How workers are stopped.
    pub stop: StopPolicy,
    /// How long the pool goes on serving after TERM, while it says it is not ready.
    pub drain_delay: Duration,
    /// When a worker counts as ready.
    pub ready: ReadyPolicy,
    /// When a worker is replaced.
    pub recycle: RecyclePolicy,
    /// When a dead worker is replaced, and when no more.
    pub respawn: RespawnPolicy,
}

/// When a worker counts as ready.
#[derive(Clone, Copy, Debug)]
pub struct ReadyPolicy {
    /// Whether there are listeners on which it could be seen to accept.
    pub observe: bool,
    /// This long after its start it counts as ready whatever was seen.
    pub after: Option<Duration>,
    /// This long after its start it is given up if it is not ready.
    pub start_timeout: Patience,
}

/// When a worker is replaced by plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecyclePolicy {
    /// By requests served.
    pub max_requests: Option<Jittered<u64>>,
    /// By age since its start.
    pub max_age: Option<Jittered<Duration>>,
    /// Whether the worker itself ends at its limit of requests (it was told by `{max_requests}`):
    /// then an exit with code 0 once it was ready is planned.
    pub counted_by_worker: bool,
}

/// A limit and how far beyond it a worker's own limit may be drawn.
#[derive(Clone, Copy, Debug)]
pub struct Jittered<T> {
    /// The least a worker's limit can be.
    pub base: T,
    /// The most that is added to it.
    pub jitter: T,
}

/// How dead workers come back.
#[derive(Clone, Copy, Debug)]
pub struct RespawnPolicy {
    /// The wait after the second failure in a row (the first is answered at once); doubles from there.
    pub backoff: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// How many restarts of one slot within `window` are accepted while no worker is ready; `None` is no limit.
    pub max_restarts: Option<u32>,
    /// See `max_restarts`.
    pub window: Duration,
}
