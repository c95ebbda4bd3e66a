//! The rules of init mode, kept from the events and actions alone.

use super::dice::MS;
use super::rule::{Held, check};
use prefork_init::core::action::{Note, Target};
use prefork_init::core::event::SpawnId;
use prefork_init::core::policy::InitPolicy;
use prefork_init::core::{Action, Event, Monotonic, Pid, Received, Signal, Snapshot};
use std::time::Duration;

const MARGIN: Duration = Duration::from_secs(5);

/// What happens to what is left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clock {
    /// No TERM has come, and the command runs.
    Stands,
    Runs {
        kill_by: Option<Monotonic>,
    },
    Killing {
        last: Monotonic,
        leave_by: Monotonic,
    },
}

pub struct InitRules {
    policy: InitPolicy,
    spawns: u32,
    /// The spawn that is not answered.
    pending: Option<SpawnId>,
    /// The command, while it is not reaped.
    command: Option<Pid>,
    code: Option<u8>,
    clock: Clock,
    orphans_asked: bool,
    /// The command's group, if it got the stop signal before the command ended.
    told: Vec<Pid>,
    to_forward: Option<Received>,
    /// Everything was just killed, and the command runs: its group comes next.
    group_to_kill: bool,
    childless: bool,
    exit: Option<u8>,
}

impl InitRules {
    pub fn new(policy: InitPolicy) -> Self {
        Self {
            policy,
            spawns: 0,
            pending: None,
            command: None,
            code: None,
            clock: Clock::Stands,
            orphans_asked: false,
            told: Vec::new(),
            to_forward: None,
            group_to_kill: false,
            childless: false,
            exit: None,
        }
    }

    pub fn step(&mut self, now: Monotonic, event: Event, actions: &[Action]) -> Held {
        if self.exit.is_some() {
            return Ok(());
        }
        self.take_in(now, event);
        for action in actions {
            self.judge(now, action).map_err(|broken| format!("{broken}: {action:?}"))?;
        }
        check(self.to_forward.is_none(), "a signal was not passed on")?;
        check(!self.group_to_kill, "the command's group was not killed by name")
    }

    fn take_in(&mut self, now: Monotonic, event: Event) {
        self.childless = false;
        let grace = self.policy.stop.graceful.deadline(now);
        match event {
            Event::Spawned { id, pid } if self.pending.take_if(|pending| *pending == id).is_some() => {
                self.command = Some(pid);
            }
            Event::SpawnFailed { id, failure }
                if self.pending.take_if(|pending| *pending == id).is_some() =>
            {
                self.code = Some(failure.code);
            }
            Event::Signalled(received) => {
                self.to_forward = Some(received);
                let asks = [Signal::TERM, self.policy.stop.signal].contains(&received.signal);
                if asks && self.clock == Clock::Stands {
                    self.clock = Clock::Runs { kill_by: grace };
                }
            }
            Event::Exited { pid, exit } if self.command == Some(pid) => {
                self.told = if self.clock == Clock::Stands { Vec::new() } else { vec![pid] };
                self.command = None;
                self.code = Some(exit.code());
            }
            Event::Reaped { children_left } => {
                self.childless = !children_left;
                if children_left && self.command.is_none() && self.clock == Clock::Stands {
                    self.clock = Clock::Runs { kill_by: grace };
                }
            }
            Event::Started
            | Event::DeadlinePassed
            | Event::Spawned { .. }
            | Event::SpawnFailed { .. }
            | Event::Exited { .. }
            | Event::Stopped { .. }
            | Event::SaidReady { .. }
            | Event::SeenAccepting { .. }
            | Event::NotSeenAccepting { .. }
            | Event::ObservationRefused { .. }
            | Event::RequestsReported { .. } => {}
        }
    }

    fn judge(&mut self, now: Monotonic, action: &Action) -> Held {
        match *action {
            Action::Spawn(order) => {
                self.spawns += 1;
                self.pending = Some(order.id);
                check(self.spawns == 1, "a second command")
            }
            Action::Forward { to, received, .. } => {
                check(self.command.map(Target::Group) == Some(to), "forwarded to somebody else")?;
                check(self.to_forward.take() == Some(received), "another signal than came")
            }
            Action::ContinueStopped { to } => check(
                self.command.map(Target::Group) == Some(to)
                    && self.clock != Clock::Stands
                    && self.to_forward.is_none(),
                "continued without a stop",
            ),
            Action::SignalAll { signal: Signal::KILL } => match self.clock {
                Clock::Stands => Err("killed without a stop".into()),
                Clock::Runs { kill_by } => {
                    self.clock = Clock::Killing { last: now, leave_by: now + MARGIN };
                    self.group_to_kill = self.command.is_some();
                    check(kill_by.is_some_and(|by| by <= now), "killed too early")
                }
                Clock::Killing { leave_by, .. } => {
                    self.clock = Clock::Killing { last: now, leave_by };
                    Ok(())
                }
            },
            Action::SignalAll { signal } => {
                check(self.command.is_none(), "everybody is signalled while the command runs")?;
                let asked = self.to_forward.take_if(|received| received.signal == signal);
                check(asked.is_some(), "another signal than came")
            }
            Action::AskOrphans { ref workers, ref groups, signal } => {
                check(
                    self.command.is_none() && workers.is_empty(),
                    "orphans are asked while the command runs",
                )?;
                check(*groups == self.told, "asked again, or passed over")?;
                check(!std::mem::replace(&mut self.orphans_asked, true), "orphans are asked again")?;
                check(signal == self.policy.stop.signal, "the wrong signal")
            }
            Action::SignalGroup { pid, signal } => {
                let right = std::mem::take(&mut self.group_to_kill) && signal == Signal::KILL;
                check(self.command == Some(pid) && right, "the group is signalled out of season")
            }
            Action::Report(ref note) => match note {
                Note::CommandStarted { .. }
                | Note::CommandExited { .. }
                | Note::SpawnFailed { .. }
                | Note::SignalReceived { .. }
                | Note::SignalForwarded { .. }
                | Note::OrphanReaped { .. }
                | Note::KillingAll
                | Note::StoppingOrphans => Ok(()),
                _ => Err("that is a pool's note".into()),
            },
            Action::Exit(code) => self.exit(now, code),
            Action::Reap => Ok(()),
            Action::Signal { .. }
            | Action::SignalRemains { .. }
            | Action::Observe { .. }
            | Action::LendTerminal { .. }
            | Action::TakeTerminalBack
            | Action::StopSelf { .. }
            | Action::RestoreBacklog => Err("an init does not do that".into()),
        }
    }

    fn exit(&mut self, now: Monotonic, code: u8) -> Held {
        self.exit = Some(code);
        let never_ran = self.code.is_some() && self.clock == Clock::Stands && self.command.is_none();
        let gives_up = matches!(self.clock, Clock::Killing { leave_by, .. } if leave_by <= now);
        check(self.childless || never_ran || gives_up, "it leaves while somebody is left")?;
        // A command that not even SIGKILL ends counts as killed.
        check(code == self.code.unwrap_or(137), "another code than the command's")
    }

    pub fn settled(
        &self,
        now: Monotonic,
        wakes: Option<Monotonic>,
        snapshot: &Snapshot,
        childless: bool,
    ) -> Held {
        check(!childless, "nobody is left, and it stays")?;
        check(self.pending.is_none(), "the spawn was not answered")?;
        check(
            self.command.is_some() || self.orphans_asked || matches!(self.clock, Clock::Killing { .. }),
            "orphans were not asked to stop",
        )?;
        let stopping = self.clock != Clock::Stands;
        check(snapshot.readiness().is_ok() != stopping, "the wrong readiness")?;
        let owed = match self.clock {
            // An idle init makes no wake-ups at all.
            Clock::Stands => return check(wakes.is_none(), "woken for nothing"),
            Clock::Runs { kill_by } => kill_by,
            Clock::Killing { last, leave_by } => Some(leave_by.min(last + 100 * MS)),
        };
        match (owed, wakes) {
            (None, wakes) => check(wakes.is_none(), "woken for nothing"),
            (Some(by), _) if by <= now => Err("a kill is overdue".into()),
            (Some(by), wakes) => {
                check(wakes.is_some_and(|at| at <= by), "nothing wakes the loop for the kill")
            }
        }
    }
}
