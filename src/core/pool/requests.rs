//! Requests over the control socket, and signals that are passed on to the workers. The outcome of a request is seen
//! in the status only.

use super::Pool;
use super::slot::Seat;
use crate::action::{Action, Recipients};
use crate::event::Request;
use crate::exit::Reason;
use crate::note::{Note, SignalNote};
use crate::signal::Signal;
use crate::time::Monotonic;
use crate::worker::{Worker, WorkerState};
use alloc::vec::Vec;

impl Pool {
    pub(super) fn requested(&mut self, now: Monotonic, request: Request, out: &mut Vec<Action>) {
        match request {
            Request::Stop => self.asked_to_stop(now, Signal::TERM, out),
            Request::Reload if self.is_running() => self.reload_asked(now, out),
            Request::Scale { workers } if self.is_running() => self.scale_to(now, workers, out),
            Request::Recycle { slot } if self.is_running() => self.recycle(now, slot, out),
            Request::Reload | Request::Scale { .. } | Request::Recycle { .. } => {}
        }
    }

    fn recycle(&mut self, now: Monotonic, slot: u32, out: &mut Vec<Action>) {
        let Some(slot) = self.workers.numbered_mut(slot) else { return };
        // The cause of the last failure may just have been repaired.
        slot.retry_at = slot.gap_until;
        match &mut slot.seat {
            Seat::Taken(worker) => worker.becomes_due(now, Reason::Asked, out),
            Seat::Vacant { spawn_at, .. } => *spawn_at = (*spawn_at).min(now.max(slot.gap_until)),
        }
    }

    pub fn acts_on(&self, signal: Signal) -> bool {
        match self.policy.rewrites.of(signal) {
            Some(
                Signal::TERM
                | Signal::INT
                | Signal::QUIT
                | Signal::ABRT
                | Signal::HUP
                | Signal::USR2
                | Signal::TTIN
                | Signal::TTOU,
            ) => true,
            Some(signal) => self.policy.forwards.contains(&signal),
            None => false,
        }
    }

    /// Sends a signal to every worker that has been ready and was not asked to stop. A starting worker may not have
    /// its handler yet, and would end; files that it has just opened need no reopening.
    pub(super) fn forward(&self, signal: Signal, came: Signal, out: &mut Vec<Action>) {
        let hears = |worker: &&Worker| match worker.state {
            WorkerState::Ready { .. } | WorkerState::Draining(_) => true,
            WorkerState::Spawning
            | WorkerState::Starting(_)
            | WorkerState::Stopping { .. }
            | WorkerState::Killed { .. } => false,
        };
        let pids = self.workers.iter().filter(hears).filter_map(Worker::pid);
        out.extend(pids.map(|pid| Action::Signal { to: Recipients::Takers(pid), signal }));
        out.push(Action::Note(Note::Signal(SignalNote::Forwarded { signal, came })));
    }
}
