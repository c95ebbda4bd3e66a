//! Starts the command or a worker.

use super::clock::Clock;
use super::console::Console;
use crate::core::action::SpawnOrder;
use crate::core::event::SpawnFailure;
use crate::core::{Event, Pid, Signal};
use crate::os::process::spawn::{self, Placement, Program, SpawnAttributes};
use crate::settings::placeholders::{Command, Values};
use crate::setup::environment::Environment;
use crate::values::FIRST_FD;
use crate::workers::Workers;
use std::ffi::OsString;
use std::os::fd::RawFd;
use std::time::Duration;

/// How long a new process may take to execute its program: a worker, while the other workers wait for the loop, and
/// the one command, without which there is no other work.
const EXECUTE_WORKER_WITHIN: Duration = Duration::from_secs(10);
const EXECUTE_COMMAND_WITHIN: Duration = Duration::from_secs(60);

pub struct Starter {
    pub command: Command,
    /// The number of directories in PATH, from the first, that do not have the command.
    pub missing: usize,
    pub environment: Environment,
    pub placement: Placement,
    pub attributes: SpawnAttributes,
    /// Why no process can be started, if that is known: it would run as another user, or in another directory.
    pub cannot_spawn: Option<SpawnFailure>,
    /// The signal that a new process receives when the supervisor dies (prctl(2), `PR_SET_PDEATHSIG`).
    pub death_signal: Option<Signal>,
    /// Whether a new process inherits no descriptors but those meant for it.
    pub closes_others: bool,
}

impl Starter {
    pub fn spawn(
        &self,
        order: &SpawnOrder,
        workers: Option<&mut Workers>,
        console: &mut Console,
        clock: &Clock,
    ) -> Event {
        let result = match (self.cannot_spawn, workers) {
            (Some(failure), _) => Err(failure),
            (None, Some(workers)) => self.worker(order, workers, clock),
            (None, None) => self.command(order, console, clock),
        };
        Event::Spawned { id: order.id, result }
    }

    fn command(&self, order: &SpawnOrder, console: &mut Console, clock: &Clock) -> Result<Pid, SpawnFailure> {
        let program = Program {
            argv: &self.argv(order, None),
            missing: self.missing,
            env: self.environment.of_command(),
            listen_pid: self.environment.sets_listen_pid(),
            output: Default::default(),
            fds: &[],
            close_others: self.closes_others,
            execute_within: EXECUTE_COMMAND_WITHIN,
            placement: self.placement,
            attributes: &self.attributes,
            parent_death: self.death_signal,
        };
        let spawned = spawn::spawn(&program);
        clock.worked();
        match spawned {
            Ok(_) => console.has_spawned(self.placement),
            Err(_) => console.has_not_spawned(self.placement),
        }
        spawned
    }

    fn worker(&self, order: &SpawnOrder, workers: &mut Workers, clock: &Clock) -> Result<Pid, SpawnFailure> {
        let extras = workers.prepare(order)?;
        let program = Program {
            argv: &self.argv(order, extras.ready_fd),
            missing: 0,
            env: Some(&self.environment.of_worker(&extras.of_worker(order))),
            listen_pid: self.environment.sets_listen_pid(),
            output: extras.output(),
            fds: &workers.fds(order, &extras),
            close_others: self.closes_others,
            execute_within: EXECUTE_WORKER_WITHIN,
            placement: self.placement,
            attributes: &self.attributes,
            parent_death: self.death_signal,
        };
        let spawned = spawn::spawn(&program);
        clock.worked();
        match spawned {
            Ok(pid) => workers.has_spawned(order, pid),
            Err(_) => workers.has_not_spawned(order),
        }
        spawned
    }

    fn argv(&self, order: &SpawnOrder, notify_fd: Option<RawFd>) -> Vec<OsString> {
        self.command.with(&Values {
            fd: FIRST_FD,
            worker_id: order.slot,
            worker_number: order.number,
            max_requests: order.limits.requests,
            notify_fd,
        })
    }
}
