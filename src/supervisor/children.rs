//! Reaps children. A child that has ended is reported while it is a zombie, and released afterwards: until then no
//! other process can have its pid.

use crate::core::{Pid, Signal};
use crate::os::process::proc;
use crate::os::process::reap::{self, Reaper, WaitOutcome};
use crate::os::socket::passed;
use std::io;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, error, warn};

/// The pause before the next look, if the kernel does not tell which child has ended.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Reaping {
    reaper: Reaper,
    /// A child may have ended: SIGCHLD came, or the core asks for a look.
    pub wanted: bool,
    /// When to look again without a signal.
    pub again_at: Option<Instant>,
    blind_logged: bool,
    refusal_logged: bool,
}

impl Reaping {
    pub fn new(wanted: bool) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Whether a look is due.
    pub fn take_due(&mut self) -> bool {
        let again = self.again_at.take_if(|at| *at <= Instant::now()).is_some();
        std::mem::take(&mut self.wanted) || again
    }

    /// The next change of a child. Each kind of refusal is logged once.
    pub fn look(&mut self, stops: bool) -> WaitOutcome {
        let found = self.reaper.look(stops);
        if let Some(error) = self.reaper.take_refusal() {
            warn!(%error, "waitid is refused, by a sandbox perhaps: wait4 reaps in its place");
        }
        if found == WaitOutcome::Unknown {
            self.again_at = Instant::now().checked_add(ASK_AGAIN_AFTER);
            if !std::mem::replace(&mut self.blind_logged, true) {
                error!("waitid and wait4 are refused: we cannot see who has ended; loosen the sandbox");
            }
        }
        found
    }

    /// Reaps a child that has ended, after it was reported.
    pub fn release(&mut self, pid: Pid) {
        self.reaper.release(pid);
    }

    /// A child that asked to be traced by its parent (ptrace(2), `PTRACE_TRACEME`) waits for the supervisor, which
    /// has no use for tracing.
    pub fn let_run(&mut self, pid: Pid, signal: Signal) {
        match reap::let_run(pid, signal) {
            Ok(()) => debug!(pid = pid.0, signal = %signal, "child had asked to be traced by us: let go"),
            Err(error) => self.cannot_let_run(pid, &error),
        }
    }

    fn cannot_let_run(&mut self, pid: Pid, error: &io::Error) {
        if !std::mem::replace(&mut self.refusal_logged, true) {
            warn!(
                pid = pid.0,
                %error,
                "child has asked to be traced by us, and ptrace is refused: it stays stopped until it is killed"
            );
        }
    }
}

/// Whether there are children other than those that receive descriptors for the supervisor. If that cannot be seen,
/// `true`.
pub fn others_are_left() -> bool {
    let passing = passed::running();
    if passing.is_empty() {
        return true;
    }
    let children = proc::own_children();
    children.is_empty() || children.iter().any(|pid| !passing.contains(pid))
}
