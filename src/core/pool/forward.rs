//! Signals that are passed on to the workers, as one for reopening log files is.

use super::Pool;
use crate::core::action::Action;
use crate::core::note::Note;
use crate::core::signal::Signal;
use crate::core::worker::{Life, Worker};

impl Pool {
    /// Whether a signal does anything but to be told of in the log.
    pub fn heeds(&self, signal: Signal) -> bool {
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

    /// To every worker that has been ready and has not been told to stop. One that starts may not have its handler yet,
    /// and would end of it; what it has just opened, it need not open again.
    pub(super) fn forward(&self, signal: Signal, came: Signal, out: &mut Vec<Action>) {
        let hears = |worker: &&Worker| match worker.life {
            Life::Ready { .. } | Life::Draining(_) => true,
            Life::Spawning | Life::Starting(_) | Life::Stopping { .. } | Life::Killed { .. } => false,
        };
        let pids = self.workers().filter(hears).filter_map(Worker::pid);
        out.extend(pids.map(|pid| Action::SignalTakers { pid, signal }));
        out.push(Action::Report(Note::SignalForwarded { signal, came }));
    }
}
