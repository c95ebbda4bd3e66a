//! The meaning of a worker's end: a reason, and whether it counts as a failure of the slot.

use super::{Draining, Duty, Worker, WorkerState};
use crate::backoff::{CANNOT_BOOT_CODES, WorkerFailure};
use crate::exit::{Exit, Reason};
use crate::signal::Signal;
use crate::time::Monotonic;

impl Worker {
    /// `out_of_memory` is whether the kernel has killed a process for want of memory.
    pub fn ended(
        &self,
        now: Monotonic,
        exit: Exit,
        out_of_memory: bool,
        counted_by_worker: bool,
    ) -> (Reason, Option<WorkerFailure>) {
        let killed = matches!(exit, Exit::Signal { signal: Signal::KILL, .. });
        if out_of_memory && killed && !matches!(self.state, WorkerState::Killed { .. }) {
            return (Reason::Oom, Some(WorkerFailure::Died));
        }
        match self.state {
            // The supervisor asked for it: every exit is as planned, also uvicorn's death by the stop signal.
            WorkerState::Stopping { reason, .. } | WorkerState::Killed { reason, .. } => {
                // A worker that exceeds the hard limit will do so again, so the next one waits.
                let failed = reason.is_failure() || reason == Reason::MaxMemory;
                let how =
                    if reason == Reason::BootTimeout { WorkerFailure::TooLate } else { WorkerFailure::Died };
                (reason, failed.then_some(how))
            }
            WorkerState::Draining(Draining { reason: Reason::Stop, .. })
                if counted_by_worker && exit == Exit::Code(0) =>
            {
                (Reason::MaxRequests, None)
            }
            WorkerState::Draining(Draining { reason, .. }) => (reason, None),
            WorkerState::Ready { duty: Duty::Hung { .. }, .. } => (Reason::Hung, Some(WorkerFailure::Died)),
            WorkerState::Ready { duty: Duty::Leaving { .. }, .. } if exit == Exit::Code(0) => {
                (Reason::Stop, None)
            }
            WorkerState::Ready { .. } if counted_by_worker && exit == Exit::Code(0) => {
                (Reason::MaxRequests, None)
            }
            // Another process asked the worker to stop, and it ended in order: uvicorn ends by the signal that it
            // received.
            WorkerState::Ready { accepting, .. } if accepting.is_away() && is_orderly(exit) => {
                (Reason::Stop, None)
            }
            WorkerState::Ready { .. } => of_one_that_served(exit, counted_by_worker),
            WorkerState::Starting(starting) if starting.has_lived(now) => {
                of_one_that_served(exit, counted_by_worker)
            }
            WorkerState::Spawning | WorkerState::Starting(_) => {
                let says_so = matches!(exit, Exit::Code(code) if CANNOT_BOOT_CODES.contains(&code));
                (
                    Reason::BootError,
                    Some(if says_so { WorkerFailure::CannotBoot } else { WorkerFailure::Died }),
                )
            }
        }
    }
}

/// The meaning of the end of a worker that was up.
fn of_one_that_served(exit: Exit, counted_by_worker: bool) -> (Reason, Option<WorkerFailure>) {
    if counted_by_worker && exit == Exit::Code(0) {
        (Reason::MaxRequests, None)
    } else {
        (Reason::Crash, Some(WorkerFailure::Died))
    }
}

/// Whether a worker that had stopped accepting ended by itself, or by a signal that asks to stop.
fn is_orderly(exit: Exit) -> bool {
    match exit {
        Exit::Code(code) => code == 0,
        Exit::Signal { signal, .. } => [Signal::TERM, Signal::INT, Signal::QUIT].contains(&signal),
    }
}
