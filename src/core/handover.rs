//! The state that a pool passes to the next program in its own process: the workers live on while the supervisor's
//! program is replaced. How the state is written down is not known here.

use super::event::{Lane, Pid};
use super::limits::Limits;
use super::time::Monotonic;
use alloc::vec::Vec;
use core::time::Duration;

/// A pool at rest: every worker is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The time of the handover; the next program's clock continues from here.
    pub now: Monotonic,
    /// How far that clock is behind real time.
    pub behind: Duration,
    /// The number of workers that are wanted.
    pub workers: u32,
    /// The newest generation that has had a ready worker.
    pub generation: u32,
    /// The generation of the last reload request.
    pub newest: u32,
    pub next_spawn: u64,
    /// Whether the pool has ever been ready.
    pub ever_ready: bool,
    /// Process groups of dead workers, and when the rest of each is killed; `None` is never.
    pub leftovers: Vec<(Pid, Option<Monotonic>)>,
    pub kept: Vec<Kept>,
    pub vacant: Vec<Vacancy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vacancy {
    pub slot: u32,
    /// The lane that is kept for the next worker, if connections may wait there.
    pub lane: Option<Lane>,
    /// When the next worker is due.
    pub spawn_at: Monotonic,
    pub failures: u32,
}

/// A worker that lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    pub slot: u32,
    pub number: u32,
    pub lane: Lane,
    pub generation: u32,
    pub pid: Pid,
    pub spawned: Monotonic,
    pub ready: Monotonic,
    /// How often it has to send `WATCHDOG=1`; `None` if it does not have to.
    pub ping_every: Option<Duration>,
    /// Requests that it has reported.
    pub requests: u64,
    pub limits: Limits,
}
