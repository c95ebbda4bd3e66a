//! Ends of workers of which it is not known yet what they mean.

use super::slot::Role;
use crate::backoff::WorkerFailure;
use crate::event::{Lane, SpawnId};
use crate::exit::{Exit, Reason};
use crate::note::WorkerRef;
use crate::time::Monotonic;
use core::time::Duration;

/// Our own stop signal comes within this time of a worker's, if it comes at all.
pub(super) const OUR_STOP_WITHIN: Duration = Duration::from_millis(100);

/// A worker that has ended and left its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Death {
    pub(super) id: SpawnId,
    pub(super) generation: u32,
    pub(super) slot: usize,
    pub(super) role: Role,
    pub(super) lane: Lane,
    /// A successor has taken its seat.
    pub(super) succeeded: bool,
    /// When it began.
    pub(super) spawned: Monotonic,
}

/// One that may have been asked to stop by a sender that stops everything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Undecided {
    /// If no stop signal has come to us by then, nothing asked it to stop.
    pub(super) by: Monotonic,
    pub(super) death: Death,
    pub(super) worker: WorkerRef,
    pub(super) exit: Exit,
    pub(super) uptime: Duration,
    /// What its end means then.
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
