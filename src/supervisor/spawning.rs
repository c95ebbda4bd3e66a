//! Starting the command, or a worker.

use super::Loop;
use crate::core::Event;
use crate::core::action::SpawnOrder;
use crate::os::process::spawn::{self, Program};
use crate::settings::placeholders::Values;
use crate::values::FIRST_FD;
use crate::workers::Extras;
use std::time::Duration;

/// How long a new process may take to execute its program: a worker, while others are to be looked after, and the
/// one command, without which there is nothing to do.
const EXECUTE_WORKER_WITHIN: Duration = Duration::from_secs(10);
const EXECUTE_COMMAND_WITHIN: Duration = Duration::from_secs(60);

impl Loop {
    pub(super) fn spawn(&mut self, order: SpawnOrder) -> Event {
        let id = order.id;
        if let Some(failure) = self.cannot_spawn {
            return Event::Spawned { id, result: Err(failure) };
        }
        let extras = match self.fleet.as_mut().map(|fleet| fleet.prepare(&order)).transpose() {
            Ok(extras) => extras,
            Err(failure) => return Event::Spawned { id, result: Err(failure) },
        };
        let of_worker = extras.as_ref().map(|extras| extras.of_worker(&order));
        let argv = self.command.with(&Values {
            fd: FIRST_FD,
            worker_id: order.slot,
            worker_number: order.number,
            max_requests: order.limits.requests,
            notify_fd: extras.as_ref().and_then(|extras| extras.ready_fd),
        });
        let fleet = self.fleet.as_ref().zip(extras.as_ref());
        let fds = fleet.map(|(fleet, extras)| fleet.fds(&order, extras)).unwrap_or_default();
        let program = Program {
            argv: &argv,
            env: self.environment.of_worker(of_worker.as_ref()),
            listen_pid: self.environment.sets_listen_pid(),
            output: extras.as_ref().map(Extras::output).unwrap_or_default(),
            fds: &fds,
            close_others: fleet.is_some() || self.before.is_running(),
            execute_within: if fleet.is_some() { EXECUTE_WORKER_WITHIN } else { EXECUTE_COMMAND_WITHIN },
            placement: self.placement,
            settings: &self.settings,
            parent_death: self.death_signal,
        };
        let spawned = spawn::spawn(&program);
        self.clock.worked();
        match spawned {
            Ok(pid) => {
                self.console.has_spawned(self.placement);
                if let Some(fleet) = &mut self.fleet {
                    fleet.has_spawned(&order, pid);
                }
                Event::Spawned { id, result: Ok(pid) }
            }
            Err(failure) => {
                self.console.has_not_spawned(self.placement);
                if let Some(fleet) = &mut self.fleet {
                    fleet.has_not_spawned(&order);
                }
                Event::Spawned { id, result: Err(failure) }
            }
        }
    }
}
