//! Programs and requests beside the command. They know neither workers nor the loop that runs them.

pub mod ask;
pub mod hooks;
pub mod ready_check;
pub mod run;

use crate::core::exit::Exit;
use crate::core::snapshot::Phase;
use crate::core::time::earlier;
use crate::core::{Core, Monotonic, Pid};
use crate::os::socket::passed;
use hooks::Hooks;
use ready_check::Checker;
use run::{HelperKind, Runner};
use std::task::{Context, Poll};

pub struct Helpers {
    pub runner: Runner,
    pub hooks: Hooks,
    pub checker: Option<Checker>,
}

impl Helpers {
    /// Whether helpers may run beside the command.
    pub fn run_more(&self) -> bool {
        self.checker.is_some() || self.hooks.are_wanted()
    }

    /// Ready when there is an answer to take.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.checker.as_mut().map_or(Poll::Pending, |checker| checker.poll_ready(cx))
    }

    pub fn next_deadline(&self, core: &Core) -> Option<Monotonic> {
        let of_hooks = earlier(self.runner.next_deadline(), self.hooks.next_deadline(&self.runner));
        let of_check = self.checker.as_ref().and_then(|it| it.next_deadline(&core.snapshot(), &self.runner));
        earlier(of_hooks, of_check)
    }

    /// A child has ended and is still a zombie. Returns whether it was a helper.
    pub fn ended(&mut self, now: Monotonic, pid: Pid, exit: Exit) -> bool {
        let Some(ended) = self.runner.reaped(pid) else { return false };
        match (ended.kind, &mut self.checker) {
            (HelperKind::Hook, _) => Hooks::ended(pid, ended, exit),
            (HelperKind::Check(id), Some(checker)) => checker.ended(now, id, ended.killed, exit),
            (HelperKind::Check(_), None) => {}
        }
        true
    }

    pub fn have_hooks(&self) -> bool {
        self.hooks.are_left(&self.runner)
    }

    /// Whether the core must not hear yet which children are left: only hooks are left, as far as is known, and they
    /// may finish.
    pub fn hold_end_back(&mut self, now: Monotonic, core: &Core) -> bool {
        if !self.have_hooks() {
            return false;
        }
        let ends = match core.snapshot().phase {
            Phase::Running | Phase::Draining => false,
            Phase::Stopping | Phase::GivenUp => core.status(now).workers.is_empty(),
        };
        ends && self.hooks.hold_end_back(now, &mut self.runner)
    }

    /// The processes that are no orphans: these workers, and helpers while there are workers. If no worker is left,
    /// helpers have had their time.
    pub fn spared(&self, mut workers: Vec<Pid>) -> Vec<Pid> {
        if !workers.is_empty() {
            workers.extend(self.runner.all().map(|(pid, _)| pid));
            workers.extend(passed::running());
        }
        workers
    }
}
