//! What a pool gives to the next program in its own process: workers live on while the supervisor is exchanged.

use super::event::{Lane, Pid};
use super::limits::Limits;
use super::time::Monotonic;
use alloc::vec::Vec;
use core::time::Duration;

/// A pool at rest: every worker it has is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The moment; the next program's clock goes on from here.
    pub now: Monotonic,
    /// How far that clock is behind real time.
    pub behind: Duration,
    /// How many workers are wanted.
    pub workers: u32,
    /// The generation that has proved itself.
    pub generation: u32,
    /// The last one that was asked for.
    pub newest: u32,
    /// The number of the next spawn.
    pub next_spawn: u64,
    /// Whether the pool has ever been ready.
    pub ever_ready: bool,
    /// Groups of workers that are gone, and when what is left of them is killed.
    pub leftovers: Vec<(Pid, Option<Monotonic>)>,
    /// The workers there are.
    pub kept: Vec<Kept>,
    /// Slots without one.
    pub vacant: Vec<Vacancy>,
}

/// A slot without a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vacancy {
    pub slot: u32,
    /// The listeners that wait for the next, if connections may wait there.
    pub lane: Option<Lane>,
    /// When the next is to come.
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
    /// How often it has to say `WATCHDOG=1`, if it has to.
    pub ping_every: Option<Duration>,
    /// Requests it has told of.
    pub requests: u64,
    /// What was drawn for it.
    pub limits: Limits,
}
