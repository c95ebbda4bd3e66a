//! Reaping. The core hears of workers and orphans, and not of helpers, nor of children that take descriptors for us.

use super::Loop;
use crate::core::event::{ChildChange, PoolFact};
use crate::core::exit::Exit;
use crate::core::{Event, Pid, Signal};
use crate::os::process::proc;
use crate::os::process::reap::{self, Reaper, WaitOutcome};
use crate::os::process::send;
use crate::os::process::spawn::Placement;
use crate::os::socket::passed;
use crate::workers::Fleet;
use crate::workers::share::Share;
use std::io;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, error, warn};

/// The pause before the kernel, which did not tell which child has ended, is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What the loop needs to reap.
#[derive(Default)]
pub(super) struct Reaping {
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

    /// A refusal of each kind is worth one line.
    fn look(&mut self, stops: bool) -> WaitOutcome {
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

    /// A child that asks its parent to trace it means to be traced by nothing else: we have no use for it.
    fn let_run(&mut self, pid: Pid, signal: Signal) {
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

    /// Whether it is time to look.
    fn take_due(&mut self) -> bool {
        let again = self.again_at.take_if(|at| *at <= Instant::now()).is_some();
        std::mem::take(&mut self.wanted) || again
    }
}

impl Loop {
    /// Reaps what has ended. Each is told to the core while it is still a zombie, so that what the core wants to
    /// signal is what it means. Where they end faster than this reaps, the rest waits for the next round.
    pub(super) fn reap(&mut self) {
        if self.reaping.take_due() {
            self.reap_ended();
        }
        // There may be places now.
        passed::tend();
    }

    fn reap_ended(&mut self) {
        let share = Share::begin();
        loop {
            // A pool has no use for them.
            let children_left = match self.reaping.look(self.execute.fleet.is_none()) {
                WaitOutcome::Stopped(pid, signal) => {
                    self.stopped(pid, signal);
                    None
                }
                WaitOutcome::Traced(pid, signal) => {
                    self.reaping.let_run(pid, signal);
                    None
                }
                WaitOutcome::Ended(pid, exit) => {
                    self.ended(pid, exit);
                    self.reaping.reaper.release(pid);
                    self.left_nobody(pid);
                    None
                }
                WaitOutcome::Gone(pid, exit) => {
                    self.ended(pid, exit);
                    self.left_nobody(pid);
                    None
                }
                WaitOutcome::AllAlive => Some(passed::running().is_empty() || has_others(&passed::running())),
                WaitOutcome::Nobody => Some(false),
                WaitOutcome::Unknown => return,
            };
            if let Some(children_left) = children_left {
                if !self.holds_end_back() {
                    self.handle(Event::Reaped { children_left });
                }
                return;
            }
            if share.is_over() {
                self.reaping.wanted = true;
                return;
            }
        }
    }

    fn ended(&mut self, pid: Pid, exit: Exit) {
        if passed::ended(pid, exit) {
            return;
        }
        debug!(pid = pid.0, %exit, "child reaped");
        self.count_served(pid);
        let ended = |fleet: &mut Fleet| fleet.has_ended(pid, exit);
        let out_of_memory = self.execute.fleet.as_mut().is_some_and(ended);
        let now = self.now();
        if self.helpers.ended(now, pid, exit) {
            self.publish_beside();
        } else {
            // It counts only until the first start has come to something.
            let reached_out = |fleet: &mut Fleet| fleet.outgoing.is_news();
            if !self.core.snapshot().started && self.execute.fleet.as_mut().is_some_and(reached_out) {
                self.handle(Event::Pool(PoolFact::ReachedOut));
            }
            self.handle(Event::Child { pid, change: ChildChange::Exited { exit, out_of_memory } });
        }
    }

    /// A stop by the terminal matters only where the terminal is our business.
    fn stopped(&mut self, pid: Pid, signal: Signal) {
        if self.execute.starter.placement == Placement::Shared && signal == Signal::TSTP {
            // The terminal has stopped all of our group, but us.
            self.execute.sender.continue_job_if_stuck();
        }
        if let Some(has_terminal) = self.execute.console.is_to_be_had(pid, signal) {
            self.handle(Event::Child { pid, change: ChildChange::Stopped { signal, has_terminal } });
        }
    }

    /// A child was reaped. Mostly it was alone in its group, and then nothing of that is to be killed later.
    fn left_nobody(&mut self, pid: Pid) {
        if self.core.awaits_group(pid) && send::is_empty_group(pid) {
            self.handle(Event::Child { pid, change: ChildChange::GroupEnded });
        }
    }
}

/// Whether there are children but these. Where that is not to be seen, there may be.
fn has_others(these: &[Pid]) -> bool {
    let children = proc::own_children();
    children.is_empty() || children.iter().any(|pid| !these.contains(pid))
}
