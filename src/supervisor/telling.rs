//! Stopping ourselves, and what became of signals that we have sent.

use super::Loop;
use crate::core::event::Answer;
use crate::core::{Event, Signal};
use crate::os::stdio::terminal::{self, Continuer};
use std::io;
use tracing::{debug, warn};

impl Loop {
    /// A job stops as Ctrl-Z stops it, dumb-init for sure.
    pub(super) fn stop_self(&mut self, job: bool) -> Option<Event> {
        let how = match (job, self.placement) {
            (true, _) => terminal::Stop::Job,
            (false, _) if self.stops_for_sure => terminal::Stop::ForSure,
            (false, _) => terminal::Stop::LikeTheJob,
        };
        // Whoever continues us says whose the terminal is then.
        self.terminal_lent &= !job;
        (!terminal::stop_self(how)).then_some(Event::Answered(Answer::StopRefused))
    }

    /// Where no shell could continue our group, which the terminal has stopped, those in it go on.
    pub(super) fn continue_job_if_stuck(&mut self) {
        if terminal::continuer() == Continuer::Nobody {
            self.told(Signal::CONT, terminal::continue_job());
        }
    }

    /// A signal that could not be sent is worth a line, never more: the process may be gone, or not ours to signal.
    /// The latter somebody can mend.
    pub(super) fn told(&mut self, signal: Signal, sent: io::Result<()>) {
        let Err(error) = sent else { return };
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => "it runs as another user, give us the capability KILL",
            io::ErrorKind::WouldBlock => "too many wait for its user, raise RLIMIT_SIGPENDING",
            io::ErrorKind::Unsupported => "a sandbox's filter (seccomp) refuses kill and pidfd_send_signal",
            _ => "",
        };
        if !hint.is_empty() && !std::mem::replace(&mut self.refusal_told, true) {
            warn!(signal = %signal, %error, "signal not sent: {hint}");
        } else {
            debug!(signal = %signal, %error, "signal not sent");
        }
    }
}
