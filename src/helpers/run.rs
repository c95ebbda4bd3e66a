//! Runs helpers: children that are neither workers nor the command. The core does not hear of them. Each helper has a
//! session of its own, so that it is killed with all that it starts. It dies with the supervisor: if the supervisor
//! is not PID 1, the kernel sees to that (prctl(2), `PR_SET_PDEATHSIG`). When a helper ends, the rest of its process
//! group is killed; a process that has left the group is an orphan like all others.

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

/// How long a helper may take to execute its program. The loop waits meanwhile, and a helper matters less than a
/// worker.
const EXECUTE_WITHIN: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelperKind {
    /// Runs for an event.
    Hook,
    /// Makes the ready check of this number.
    Check(u64),
}

#[derive(Clone, Copy, Debug)]
struct Running {
    pid: Pid,
    kind: HelperKind,
    /// `None` after it was killed.
    kill_at: Option<Monotonic>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub kind: HelperKind,
    /// Whether the supervisor killed it.
    pub killed: bool,
}

/// The helpers that run, and how they are started.
#[derive(Debug, Default)]
pub struct Runner {
    env: Vec<(OsString, OsString)>,
    attributes: SpawnAttributes,
    /// Why no helper can be started, if that is known.
    cannot_spawn: Option<SpawnFailure>,
    running: Vec<Running>,
    /// Whether a start has blocked the loop since the last call of `take_worked`.
    worked: bool,
}

impl Runner {
    /// `env` is the environment of all helpers; `cannot_spawn` is why none can be started, if that is known.
    pub fn new(
        env: Vec<(OsString, OsString)>,
        attributes: SpawnAttributes,
        cannot_spawn: Option<SpawnFailure>,
    ) -> Self {
        Self { env, attributes, cannot_spawn, ..Self::default() }
    }

    /// The environment of all helpers.
    pub fn env(&self) -> &[(OsString, OsString)] {
        &self.env
    }

    /// Starts a helper.
    ///
    /// # Errors
    /// Why it could not be started.
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
            attributes: &self.attributes,
            parent_death: Some(Signal::KILL),
        };
        let begin = Instant::now();
        self.worked = true;
        let pid = spawn::spawn(&program)?;
        self.started(pid, kind, now + begin.elapsed() + limit);
        Ok(())
    }

    /// Whether a start was tried since the last call.
    pub fn take_worked(&mut self) -> bool {
        std::mem::take(&mut self.worked)
    }

    fn started(&mut self, pid: Pid, kind: HelperKind, kill_at: Monotonic) {
        self.running.push(Running { pid, kind, kill_at: Some(kill_at) });
    }

    /// A child has ended and is still a zombie; `None` if it was no helper. The rest of its group is killed.
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

    /// The number of helpers of this kind that have not ended, including those that survive `SIGKILL`.
    pub fn count(&self, of: impl Fn(HelperKind) -> bool) -> usize {
        self.running.iter().filter(|running| of(running.kind)).count()
    }

    /// Brings the kill of these helpers forward to `by`.
    pub fn hasten(&mut self, of: impl Fn(HelperKind) -> bool, by: Monotonic) {
        for running in self.running.iter_mut().filter(|running| of(running.kind)) {
            running.kill_at = running.kill_at.map(|at| at.min(by));
        }
    }

    /// Kills the helpers whose time is over, and returns the results.
    pub fn kill_overdue(&mut self, now: Monotonic) -> Vec<io::Result<()>> {
        let kill = |pid: Pid| {
            debug!(pid = pid.0, "helper killed");
            send::to_group(pid, Signal::KILL)
        };
        self.overdue(now).into_iter().map(kill).collect()
    }

    /// Returns each helper once.
    fn overdue(&mut self, now: Monotonic) -> Vec<Pid> {
        let mut overdue = Vec::new();
        for running in self.running.iter_mut().filter(|running| reached(running.kill_at, now)) {
            running.kill_at = None;
            overdue.push(running.pid);
        }
        overdue
    }

    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.running.iter().fold(None, |soonest, running| earlier(soonest, running.kill_at))
    }

    /// All helpers, and when each is killed; `None` after that.
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
