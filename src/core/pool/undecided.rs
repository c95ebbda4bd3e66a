//! Ends of workers that cannot be judged yet: see [`verdict`](super::verdict).

use super::slot::Role;
use crate::backoff::WorkerFailure;
use crate::event::{Lane, SpawnId};
use crate::exit::{Exit, Reason};
use crate::note::WorkerRef;
use crate::time::Monotonic;
use core::time::Duration;

/// If a worker was stopped by a sender that stops everything, the supervisor's own stop signal comes within this
/// time.
pub(super) const OUR_STOP_WITHIN: Duration = Duration::from_millis(100);

/// A worker that has ended and left its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Death {
    pub(super) id: SpawnId,
    pub(super) generation: u32,
    pub(super) slot: usize,
    pub(super) role: Role,
    pub(super) lane: Lane,
    /// Whether a successor has taken its seat.
    pub(super) succeeded: bool,
    pub(super) spawned: Monotonic,
}

/// The end of a worker that may have been asked to stop by a sender that stops everything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Undecided {
    /// If the supervisor has received no stop signal by then, the worker was not asked to stop.
    pub(super) by: Monotonic,
    pub(super) death: Death,
    pub(super) worker: WorkerRef,
    pub(super) exit: Exit,
    pub(super) uptime: Duration,
    /// The meaning of the end in that case.
    pub(super) reason: Reason,
    pub(super) failure: Option<WorkerFailure>,
}

impl Undecided {
    pub(super) fn new(
        now: Monotonic,
        death: Death,
        (worker, exit, uptime): (WorkerRef, Exit, Duration),
        (reason, failure): (Reason, Option<WorkerFailure>),
    ) -> Self {
        Self { by: now + OUR_STOP_WITHIN, death, worker, exit, uptime, reason, failure }
    }
}
