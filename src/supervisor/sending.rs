//! Sends signals, and logs what could not be sent.

use crate::core::action::Forward;
use crate::core::{Pid, Signal};
use crate::os::process::send::{self, Asked, Sparing};
use crate::os::stdio::terminal::{self, Continuer};
use std::io;
use tracing::{debug, warn};

pub struct Sender {
    asked: Asked,
    sparing: Sparing,
    /// Whether it was logged that a signal was refused.
    refusal_logged: bool,
}

impl Sender {
    /// `ids` are the user and group of the workers, if they are not the supervisor's.
    pub fn new(ids: Option<(u32, u32)>) -> Self {
        Self { asked: Asked::default(), sparing: Sparing::new(ids), refusal_logged: false }
    }

    pub fn ask_orphans(&mut self, spared: &[Pid], asked_groups: &[Pid], signal: Signal) -> io::Result<()> {
        self.asked.ask_orphans(spared, asked_groups, signal)
    }

    pub fn forward(&mut self, Forward { to, received, spare_unaware, asks }: Forward) {
        if asks {
            self.asked.note(to);
        }
        let sent =
            if spare_unaware { self.sparing.forward(to, &received) } else { send::forward(to, &received) };
        self.log_failure(received.signal, sent);
    }

    /// If the terminal has stopped the supervisor's group and no shell could continue it, its members are continued.
    pub fn continue_job_if_stuck(&mut self) {
        if terminal::continuer() == Continuer::Nobody {
            self.log_failure(Signal::CONT, terminal::continue_job());
        }
    }

    /// Logs a signal that could not be sent: the process may be gone, or the supervisor may lack the right. The first
    /// refusal of a kind that an administrator can remove is a warning.
    pub fn log_failure(&mut self, signal: Signal, sent: io::Result<()>) {
        let Err(error) = sent else { return };
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => "it runs as another user, give us the capability KILL",
            io::ErrorKind::WouldBlock => "too many wait for its user, raise RLIMIT_SIGPENDING",
            io::ErrorKind::Unsupported => "a sandbox's filter (seccomp) refuses kill and pidfd_send_signal",
            _ => "",
        };
        if !hint.is_empty() && !std::mem::replace(&mut self.refusal_logged, true) {
            warn!(signal = %signal, %error, "signal not sent: {hint}");
        } else {
            debug!(signal = %signal, %error, "signal not sent");
        }
    }
}
