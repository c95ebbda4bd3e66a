//! What becomes of children: one that has ended is told while it is a zombie, and released afterwards.

use crate::core::{Pid, Signal};
use crate::os::process::proc;
use crate::os::process::reap::{self, Reaper, WaitOutcome};
use crate::os::socket::passed;
use std::io;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, error, warn};

/// The pause before the kernel, which did not tell which child has ended, is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub struct Reaping {
    reaper: Reaper,
    /// A child may have ended: SIGCHLD came, or the core wants to know.
    pub wanted: bool,
    /// When to look again though no signal came.
    pub again_at: Option<Instant>,
    blind_told: bool,
    refusal_told: bool,
}

impl Reaping {
    pub fn new(wanted: bool) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Whether it is time to look.
    pub fn take_due(&mut self) -> bool {
        let again = self.again_at.take_if(|at| *at <= Instant::now()).is_some();
        std::mem::take(&mut self.wanted) || again
    }

    /// The next. A refusal of each kind is worth one line.
    pub fn look(&mut self, stops: bool) -> WaitOutcome {
        let found = self.reaper.look(stops);
        if let Some(error) = self.reaper.take_refusal() {
            warn!(%error, "waitid is refused, by a sandbox perhaps: wait4 reaps in its place");
        }
        if found == WaitOutcome::Unknown {
            self.again_at = Instant::now().checked_add(ASK_AGAIN_AFTER);
            if !std::mem::replace(&mut self.blind_told, true) {
                error!("waitid and wait4 are refused: we cannot see who has ended; loosen the sandbox");
            }
        }
        found
    }

    /// Reaps a child that has ended, once it is told.
    pub fn release(&mut self, pid: Pid) {
        self.reaper.release(pid);
    }

    /// A child that asks its parent to trace it means to be traced by nothing else: we have no use for it.
    pub fn let_run(&mut self, pid: Pid, signal: Signal) {
        match reap::let_run(pid, signal) {
            Ok(()) => debug!(pid = pid.0, signal = %signal, "child had asked to be traced by us: let go"),
            Err(error) => self.cannot_let_run(pid, &error),
        }
    }

    fn cannot_let_run(&mut self, pid: Pid, error: &io::Error) {
        if !std::mem::replace(&mut self.refusal_told, true) {
            warn!(
                pid = pid.0,
                %error,
                "child has asked to be traced by us, and ptrace is refused: it stays stopped until it is killed"
            );
        }
    }
}

/// Whether there are children but those that take descriptors for us. Where that is not to be seen, there may be.
pub fn others_are_left() -> bool {
    let passing = passed::running();
    if passing.is_empty() {
        return true;
    }
    let children = proc::own_children();
    children.is_empty() || children.iter().any(|pid| !passing.contains(pid))
}
