//! What the loop holds for programs that run before and beside the command, and when it looks after them.

use super::Loop;
use super::before::Aside;
use super::checks::Checker;
use super::errands::Errands;
use super::hooks::Hooks;
use crate::core::time::earlier;
use crate::core::{Core, Monotonic, Note, Pid};
use crate::http::{Beside, Check};
use crate::os::process::handover::Given;
use crate::os::socket::passed;
use crate::settings;
use crate::setup::environment::Environment;
use crate::values::command_line::Words;
use std::ffi::OsString;
use std::task::{Context, Poll};

/// See the module.
pub struct Around {
    /// What every such program gets.
    pub env: Vec<(OsString, OsString)>,
    /// What is to run first, and by when it must have ended.
    pub before: Vec<Words>,
    pub before_by: Option<Monotonic>,
    /// When the whole run must end, in real time.
    pub deadline: Option<Monotonic>,
    /// All that waits while that runs.
    pub aside: Option<Box<Aside>>,
    pub errands: Errands,
    pub hooks: Hooks,
    /// The end has waited for hooks as long as it does.
    pub had_last_words: bool,
    pub checker: Option<Checker>,
}

impl Around {
    /// What was done by the program before us in this process is not done again.
    pub fn new(config: settings::Around, environment: &Environment, given: Option<&Given>) -> Self {
        let passes = given.is_some_and(|given| given.check_passes);
        Self {
            env: environment.of_errand(),
            before_by: config.before_by,
            deadline: config.deadline,
            before: if given.is_some() { Vec::new() } else { config.before },
            aside: None,
            errands: Errands::default(),
            hooks: Hooks::new(config.on_event),
            had_last_words: false,
            checker: config.check.map(|check| Checker::new(check, passes)),
        }
    }

    /// The core that the outside sees while this one is at work.
    pub fn shown<'a>(&'a self, core: &'a Core) -> &'a Core {
        self.aside.as_ref().map_or(core, |aside| aside.core())
    }

    /// Whether a command of `--before` runs.
    pub fn prepares(&self) -> bool {
        self.aside.is_some()
    }

    /// Whether there is anything to be run while the command runs.
    pub fn runs_more(&self) -> bool {
        self.checker.is_some() || self.hooks.are_wanted()
    }

    /// Something has happened.
    pub fn happened(&mut self, note: &Note) {
        self.hooks.push(note);
    }

    /// Ready when there is an answer to take.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.checker.as_mut().map_or(Poll::Pending, |checker| checker.poll_ready(cx))
    }

    /// Whether the application said last that it is ready.
    pub fn check_passes(&self) -> bool {
        self.checker.as_ref().is_some_and(|checker| *checker.state() == Check::Passes)
    }

    /// These workers, and errands while there are any: none of them is an orphan. Where no worker is left, errands have
    /// had their time.
    pub fn spared(&self, mut workers: Vec<Pid>) -> Vec<Pid> {
        if !workers.is_empty() {
            workers.extend(self.errands.all().map(|(pid, _)| pid));
            workers.extend(passed::running());
        }
        workers
    }
}

impl Loop {
    /// When [`tend_around`](Self::tend_around) has something to do.
    pub(super) fn next_around_deadline(&self) -> Option<Monotonic> {
        if self.around.prepares() {
            return None;
        }
        let of_hooks = earlier(self.around.errands.next_deadline(), self.next_hook_deadline());
        earlier(of_hooks, self.next_check_deadline())
    }

    /// Looks after everything that is no worker: after all else has had its turn.
    pub(super) fn tend_around(&mut self) {
        if !self.around.prepares() {
            self.tend_hooks();
            self.tend_check();
            self.kill_overdue_errands();
        }
    }

    /// Tells the endpoint.
    pub(super) fn publish_beside(&self) {
        let check = self.around.checker.as_ref().map(|checker| checker.state().clone());
        self.published.set_beside(Beside { prepares: self.around.prepares(), check });
    }
}
