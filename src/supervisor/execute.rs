//! Carries actions out, each by its owner: the kernel, the terminal, the workers. Why an action was chosen is not
//! known here.

use super::clock::Clock;
use super::console::Console;
use super::sending::Sender;
use super::spawning::Starter;
use crate::core::action::Recipients;
use crate::core::event::ChildChange;
use crate::core::{Action, Event, Pid, Signal};
use crate::helpers::Helpers;
use crate::os::process::send;
use crate::os::process::spawn::Placement;
use crate::workers::Workers;

pub struct Executor {
    /// `None` without a pool.
    pub workers: Option<Box<Workers>>,
    pub sender: Sender,
    pub console: Console,
    pub starter: Starter,
    /// Set by the core's last action.
    pub exit: Option<u8>,
}

impl Executor {
    /// Carries an action out, except notes and questions to the loop itself.
    pub fn carry_out(&mut self, action: Action, clock: &Clock, helpers: &Helpers) -> Option<Event> {
        match action {
            Action::Spawn(order) => {
                return Some(self.starter.spawn(
                    &order,
                    self.workers.as_deref_mut(),
                    &mut self.console,
                    clock,
                ));
            }
            Action::Signal { to, signal } => self.signal(to, signal, helpers),
            Action::Forward(forward) => self.sender.forward(forward),
            Action::ContinueStopped(to) => self.sender.log_failure(Signal::CONT, send::continue_stopped(to)),
            Action::Terminal(action) => return self.console.carry_out(action, self.starter.placement),
            Action::Worker { worker, lane, act } => {
                match self.workers.as_mut()?.act(clock.now(), worker, lane, act) {
                    Ok(answer) => return answer,
                    Err((signal, error)) => self.sender.log_failure(signal, Err(error)),
                }
            }
            Action::Check(check) => return self.workers.as_mut()?.check(clock.now(), check),
            Action::Listeners(action) => self.workers.as_mut()?.set_listeners(action),
            Action::Exit(code) => self.exit = Some(code),
            Action::Ask(_) | Action::Note(_) => {}
        }
        None
    }

    /// A child was stopped. A stop by the terminal matters only if the supervisor handles the terminal.
    pub fn child_stopped(&mut self, pid: Pid, signal: Signal) -> Option<Event> {
        if self.starter.placement == Placement::Shared && signal == Signal::TSTP {
            // The terminal has stopped the whole process group except the supervisor.
            self.sender.continue_job_if_stuck();
        }
        let has_terminal = self.console.can_be_taken(pid, signal)?;
        Some(Event::Child { pid, change: ChildChange::Stopped { signal, has_terminal } })
    }

    fn signal(&mut self, to: Recipients, signal: Signal, helpers: &Helpers) {
        let sent = match to {
            Recipients::Process(pid) => send::to_process(pid, signal),
            Recipients::Takers(pid) => match &mut self.workers {
                Some(workers) => workers.forward(pid, signal),
                None => Ok(()),
            },
            Recipients::Group(pid) => send::to_group(pid, signal),
            Recipients::Leftovers(group) => send::to_remains(group, signal),
            Recipients::Everyone => send::to_all(signal),
            Recipients::Orphans { except, asked_groups } => {
                self.sender.ask_orphans(&helpers.spared(except), &asked_groups, signal)
            }
        };
        self.sender.log_failure(signal, sent);
    }
}
