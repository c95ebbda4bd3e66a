//! Errands: children of ours that are neither workers nor the command. The core hears nothing of them.
//!
//! Each has a session of its own, so that all it starts can be killed with it, and dies with us: the kernel sees to that
//! where we are not PID 1. What it leaves in its process group when it ends is killed; what has left the group is an
//! orphan like all others.

use super::Loop;
use crate::core::event::SpawnFailure;
use crate::core::exit::Exit;
use crate::core::time::{Monotonic, earlier, reached};
use crate::core::{Pid, Signal};
use crate::os::process::send;
use crate::os::process::spawn::{self, Placement, Program};
use crate::values::command_line::Words;
use std::ffi::OsString;
use std::time::Duration;
use tracing::{debug, warn};

/// How long the program of an errand may take to be executed. Nothing else is heard meanwhile, and it is less important
/// than a worker.
const EXECUTE_WITHIN: Duration = Duration::from_secs(1);

/// What an errand is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Tells of an event.
    Hook,
    /// Asks the application whether it is ready: this question.
    Check(u64),
}

#[derive(Clone, Copy, Debug)]
struct Running {
    pid: Pid,
    kind: Kind,
    /// `None` once it is killed.
    kill_at: Option<Monotonic>,
}

/// An errand that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What it was for.
    pub kind: Kind,
    /// Whether we killed it.
    pub killed: bool,
}

/// Which errands run, and until when.
#[derive(Debug, Default)]
pub struct Errands(Vec<Running>);

impl Errands {
    /// One runs.
    pub fn started(&mut self, pid: Pid, kind: Kind, kill_at: Monotonic) {
        self.0.push(Running { pid, kind, kill_at: Some(kill_at) });
    }

    /// A child has ended; `None` if it was no errand.
    pub fn ended(&mut self, pid: Pid) -> Option<Ended> {
        let at = self.0.iter().position(|running| running.pid == pid)?;
        let Running { kind, kill_at, .. } = self.0.swap_remove(at);
        Some(Ended { kind, killed: kill_at.is_none() })
    }

    /// How many of these run. What does not even die of `SIGKILL` does.
    pub fn count(&self, of: impl Fn(Kind) -> bool) -> usize {
        self.0.iter().filter(|running| of(running.kind)).count()
    }

    /// They are to be killed then, if not before.
    pub fn hasten(&mut self, of: impl Fn(Kind) -> bool, by: Monotonic) {
        for running in self.0.iter_mut().filter(|running| of(running.kind)) {
            running.kill_at = running.kill_at.map(|at| at.min(by));
        }
    }

    /// Those whose time is over, each once.
    pub fn overdue(&mut self, now: Monotonic) -> Vec<Pid> {
        let mut overdue = Vec::new();
        for running in self.0.iter_mut().filter(|running| reached(running.kill_at, now)) {
            running.kill_at = None;
            overdue.push(running.pid);
        }
        overdue
    }

    /// When [`overdue`](Self::overdue) will have some.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.0.iter().fold(None, |soonest, running| earlier(soonest, running.kill_at))
    }

    /// All of them, and when they are killed.
    pub fn all(&self) -> impl Iterator<Item = (Pid, Option<Monotonic>)> {
        self.0.iter().map(|running| (running.pid, running.kill_at))
    }
}

impl Loop {
    /// Starts one.
    pub(super) fn run_errand(
        &mut self,
        words: &Words,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        kind: Kind,
        limit: Duration,
    ) -> Result<(), SpawnFailure> {
        if let Some(failure) = self.cannot_spawn {
            return Err(failure);
        }
        let mut env = self.around.env.clone();
        env.extend(variables);
        let program = Program {
            output: Default::default(),
            argv: words.argv(),
            env,
            listen_pid: false,
            fds: &[],
            close_others: true,
            execute_within: EXECUTE_WITHIN,
            placement: Placement::Session,
            settings: &self.settings,
            parent_death: Some(Signal::KILL),
        };
        let spawned = spawn::spawn(&program);
        self.clock.worked();
        let pid = spawned?;
        let kill_at = self.now() + limit;
        self.around.errands.started(pid, kind, kill_at);
        Ok(())
    }

    /// A child has ended and is still a zombie; tells whether it was an errand.
    pub(super) fn errand_ended(&mut self, pid: Pid, exit: Exit) -> bool {
        let Some(Ended { kind, killed }) = self.around.errands.ended(pid) else { return false };
        let _nobody_left = send::to_group(pid, Signal::KILL);
        match kind {
            Kind::Hook if killed => warn!(pid = pid.0, "hook killed: it took too long"),
            Kind::Hook if exit != Exit::Code(0) => warn!(pid = pid.0, "hook failed: {exit}"),
            Kind::Hook => {}
            Kind::Check(id) => self.check_ended(id, killed, exit),
        }
        true
    }

    /// Kills those whose time is over.
    pub(super) fn kill_overdue_errands(&mut self) {
        for pid in self.around.errands.overdue(self.now()) {
            debug!(pid = pid.0, "errand killed");
            self.told(Signal::KILL, send::to_group(pid, Signal::KILL));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(Duration::from_secs(seconds))
    }

    #[test]
    fn each_is_killed_once_at_its_time_and_known_until_it_has_ended() {
        let mut errands = Errands::default();
        errands.started(Pid(10), Kind::Hook, at(10));
        errands.started(Pid(11), Kind::Check(7), at(5));
        assert_eq!(errands.next_deadline(), Some(at(5)));
        assert_eq!(errands.overdue(at(4)), []);
        assert_eq!(errands.overdue(at(5)), [Pid(11)]);
        assert_eq!((errands.overdue(at(6)), errands.next_deadline()), (vec![], Some(at(10))));
        assert_eq!(errands.ended(Pid(11)), Some(Ended { kind: Kind::Check(7), killed: true }));
        assert_eq!(errands.ended(Pid(11)), None);
        errands.hasten(|kind| kind == Kind::Hook, at(7));
        errands.hasten(|kind| kind == Kind::Hook, at(9));
        assert_eq!(errands.overdue(at(7)), [Pid(10)]);
        assert_eq!(errands.count(|_| true), 1, "it has not ended");
        assert_eq!(errands.ended(Pid(12)), None, "somebody else's child");
    }
}
