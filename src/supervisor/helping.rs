//! When the loop looks after helpers.

use super::Loop;
use crate::core::snapshot::Phase;
use crate::core::{Monotonic, Signal};
use crate::http::Beside;

impl Loop {
    /// When [`tend_helpers`](Self::tend_helpers) has something to do.
    pub(super) fn next_helper_deadline(&self) -> Option<Monotonic> {
        if self.before.is_running() {
            return None;
        }
        self.helpers.next_deadline(|| self.core.snapshot())
    }

    /// After all else has had its turn.
    pub(super) fn tend_helpers(&mut self) {
        if self.before.is_running() {
            return;
        }
        self.tend_hooks();
        let (now, snapshot) = (self.now(), self.core.snapshot());
        let helpers = &mut self.helpers;
        let answered = helpers.checker.as_mut().map(|it| it.poll(now, &snapshot, &mut helpers.runner));
        self.heed_start_of_helpers();
        if answered == Some(true) {
            self.publish_beside();
        }
        self.kill_overdue_helpers();
    }

    pub(super) fn tend_hooks(&mut self) {
        let now = self.now();
        // The core, which waits for the end, is to hear of it.
        self.reaping.wanted |= self.helpers.hooks.poll(now, &mut self.helpers.runner);
        self.heed_start_of_helpers();
    }

    fn heed_start_of_helpers(&mut self) {
        if self.helpers.runner.take_worked() {
            self.clock.worked();
        }
    }

    pub(super) fn kill_overdue_helpers(&mut self) {
        let now = self.now();
        for sent in self.helpers.runner.kill_overdue(now) {
            self.execute.sender.told(Signal::KILL, sent);
        }
    }

    /// Tells the endpoint.
    pub(super) fn publish_beside(&self) {
        let check = self.helpers.checker.as_ref().map(|checker| checker.state().clone());
        self.observers.published.set_beside(Beside { prepares: self.before.is_running(), check });
    }

    /// Whether the core is not to hear yet which children are left: only hooks are, as far as is known, and they may finish.
    pub(super) fn holds_end_back(&mut self) -> bool {
        if !self.helpers.have_hooks() {
            return false;
        }
        let now = self.now();
        let ends = match self.core.snapshot().phase {
            Phase::Running | Phase::Draining => false,
            Phase::Stopping | Phase::GivenUp => self.core.status(now).workers.is_empty(),
        };
        ends && self.helpers.hooks.hold_end_back(now, &mut self.helpers.runner)
    }
}
