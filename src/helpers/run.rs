//! Running helpers: children of ours that are neither workers nor the command. The core hears nothing of them.
//!
//! Each has a session of its own, so that all it starts can be killed with it, and dies with us: the kernel sees to that
//! where we are not PID 1. What it leaves in its process group when it ends is killed; what has left the group is an
//! orphan like all others.

use crate::core::event::SpawnFailure;
use crate::core::time::{Monotonic, earlier, reached};
use crate::core::{Pid, Signal};
use crate::os::process::send;
use crate::os::process::spawn::{self, Placement, Program, SpawnAttributes};
use crate::values::command_line::Words;
use std::ffi::OsString;
use std::io;
use std::time::{Duration, Instant};
use tracing::debug;

/// How long the program of a helper may take to be executed. Nothing else is heard meanwhile, and it is less important
/// than a worker.
const EXECUTE_WITHIN: Duration = Duration::from_secs(1);

/// What a helper is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelperKind {
    /// Tells of an event.
    Hook,
    /// Asks the application whether it is ready: this question.
    Check(u64),
}

#[derive(Clone, Copy, Debug)]
struct Running {
    pid: Pid,
    kind: HelperKind,
    /// `None` once it is killed.
    kill_at: Option<Monotonic>,
}

/// A helper that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What it was for.
    pub kind: HelperKind,
    /// Whether we killed it.
    pub killed: bool,
}

/// How helpers are run, which of them run, and until when.
#[derive(Debug, Default)]
pub struct Runner {
    env: Vec<(OsString, OsString)>,
    settings: SpawnAttributes,
    /// Why nothing can be started, if that is known.
    cannot_spawn: Option<SpawnFailure>,
    running: Vec<Running>,
    /// Whether the loop was held up by a start.
    worked: bool,
}

impl Runner {
    /// Each gets `env`; `cannot_spawn` says why none can be started, if that is known.
    pub fn new(
        env: Vec<(OsString, OsString)>,
        settings: SpawnAttributes,
        cannot_spawn: Option<SpawnFailure>,
    ) -> Self {
        Self { env, settings, cannot_spawn, ..Self::default() }
    }

    /// What each gets in its environment.
    pub fn env(&self) -> &[(OsString, OsString)] {
        &self.env
    }

    /// Starts one.
    ///
    /// # Errors
    /// Says why it could not be started.
    pub fn start(
        &mut self,
        now: Monotonic,
        words: &Words,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        kind: HelperKind,
        limit: Duration,
    ) -> Result<(), SpawnFailure> {
        if let Some(failure) = self.cannot_spawn {
            return Err(failure);
        }
        let mut env = self.env.clone();
        env.extend(variables);
        let program = Program {
            output: Default::default(),
            argv: words.argv(),
            missing: 0,
            env: Some(&env),
            listen_pid: false,
            fds: &[],
            close_others: true,
            execute_within: EXECUTE_WITHIN,
            placement: Placement::Session,
            settings: &self.settings,
            parent_death: Some(Signal::KILL),
        };
        let begin = Instant::now();
        self.worked = true;
        let pid = spawn::spawn(&program)?;
        self.started(pid, kind, now + begin.elapsed() + limit);
        Ok(())
    }

    /// Whether one was started, or tried, since this was last asked.
    pub fn take_worked(&mut self) -> bool {
        std::mem::take(&mut self.worked)
    }

    /// One runs.
    fn started(&mut self, pid: Pid, kind: HelperKind, kill_at: Monotonic) {
        self.running.push(Running { pid, kind, kill_at: Some(kill_at) });
    }

    /// A child has ended and is still a zombie; `None` if it was no helper. What is left of its group is killed.
    pub fn reaped(&mut self, pid: Pid) -> Option<Ended> {
        let ended = self.ended(pid)?;
        let _nobody_left = send::to_group(pid, Signal::KILL);
        Some(ended)
    }

    fn ended(&mut self, pid: Pid) -> Option<Ended> {
        let at = self.running.iter().position(|running| running.pid == pid)?;
        let Running { kind, kill_at, .. } = self.running.swap_remove(at);
        Some(Ended { kind, killed: kill_at.is_none() })
    }

    /// How many of these run. What does not even die of `SIGKILL` does.
    pub fn count(&self, of: impl Fn(HelperKind) -> bool) -> usize {
        self.running.iter().filter(|running| of(running.kind)).count()
    }

    /// They are to be killed then, if not before.
    pub fn hasten(&mut self, of: impl Fn(HelperKind) -> bool, by: Monotonic) {
        for running in self.running.iter_mut().filter(|running| of(running.kind)) {
            running.kill_at = running.kill_at.map(|at| at.min(by));
        }
    }

    /// Kills those whose time is over, and returns what came of it.
    pub fn kill_overdue(&mut self, now: Monotonic) -> Vec<io::Result<()>> {
        let kill = |pid: Pid| {
            debug!(pid = pid.0, "helper killed");
            send::to_group(pid, Signal::KILL)
        };
        self.overdue(now).into_iter().map(kill).collect()
    }

    /// Each once.
    fn overdue(&mut self, now: Monotonic) -> Vec<Pid> {
        let mut overdue = Vec::new();
        for running in self.running.iter_mut().filter(|running| reached(running.kill_at, now)) {
            running.kill_at = None;
            overdue.push(running.pid);
        }
        overdue
    }

    /// When [`kill_overdue`](Self::kill_overdue) has something to do.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.running.iter().fold(None, |soonest, running| earlier(soonest, running.kill_at))
    }

    /// All of them, and when they are killed.
    pub fn all(&self) -> impl Iterator<Item = (Pid, Option<Monotonic>)> {
        self.running.iter().map(|running| (running.pid, running.kill_at))
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
        let mut runner = Runner::default();
        runner.started(Pid(10), HelperKind::Hook, at(10));
        runner.started(Pid(11), HelperKind::Check(7), at(5));
        assert_eq!(runner.next_deadline(), Some(at(5)));
        assert_eq!(runner.overdue(at(4)), []);
        assert_eq!(runner.overdue(at(5)), [Pid(11)]);
        assert_eq!((runner.overdue(at(6)), runner.next_deadline()), (vec![], Some(at(10))));
        assert_eq!(runner.ended(Pid(11)), Some(Ended { kind: HelperKind::Check(7), killed: true }));
        assert_eq!(runner.ended(Pid(11)), None);
        runner.hasten(|kind| kind == HelperKind::Hook, at(7));
        runner.hasten(|kind| kind == HelperKind::Hook, at(9));
        assert_eq!(runner.overdue(at(7)), [Pid(10)]);
        assert_eq!(runner.count(|_| true), 1, "it has not ended");
        assert_eq!(runner.ended(Pid(12)), None, "somebody else's child");
    }
}
