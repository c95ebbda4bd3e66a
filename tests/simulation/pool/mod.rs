//! The rules of pool mode: a second book, kept from the events and actions alone and written from the
//! README's promises. What is broken is found in the step that breaks it.

mod backoff;
mod book;
mod drain;
mod events;
mod judge;
mod notes;
mod owed;
mod plans;
mod watch;

use super::rule::{Held, check};
use book::Book;
use prefork_init::core::policy::PoolPolicy;
use prefork_init::core::{Action, Event, Monotonic, Snapshot};

pub struct PoolRules {
    book: Book,
    /// Whether the loop is never late: then the whole shutdown has a bound.
    punctual: bool,
    /// The last step.
    last: Monotonic,
    /// The last time the clock led to something that does not show.
    had_reason: bool,
}

impl PoolRules {
    pub fn new(policy: PoolPolicy, punctual: bool) -> Self {
        Self { book: Book::new(policy), punctual, last: Monotonic::default(), had_reason: false }
    }

    /// After each step. `asked_for` is when the loop was to come back at the latest.
    pub fn step(
        &mut self,
        now: Monotonic,
        asked_for: Option<Monotonic>,
        event: Event,
        actions: &[Action],
    ) -> Held {
        if self.book.exit.is_some() {
            return Ok(());
        }
        let before = self.book.serving();
        // What was wanted in the past was wanted at once.
        let awaited = asked_for.map(|at| at.max(self.last));
        self.last = now;
        let measures = self.book.measure_at.is_some_and(|at| at <= now);
        self.book.take_in(now, awaited, event);
        self.had_reason = measures || self.book.expected.late;
        for action in actions {
            self.book.judge(now, action).map_err(|broken| format!("{broken}: {action:?}"))?;
        }
        if self.book.exit.is_some() {
            return Ok(());
        }
        self.book.all_was_said(now)?;
        let floor = self.book.wanted().saturating_sub(self.book.policy.budget.max_unavailable as usize);
        let serves = self.book.serving() + self.book.expected.lost;
        check(!self.book.is_open() || serves >= before.min(floor), "too few serve, by plan")
    }

    /// Whether it was woken for a measurement of nobody, or too late to hold anything against anybody.
    pub fn woke_for_a_reason(&self) -> bool {
        self.had_reason
    }

    /// Whenever the loop goes to sleep until `deadline`.
    pub fn settled(
        &self,
        now: Monotonic,
        deadline: Option<Monotonic>,
        snapshot: &Snapshot,
        childless: bool,
    ) -> Held {
        self.book.shows(snapshot)?;
        self.book.owes_nothing(now, deadline, childless)?;
        match self.book.gone_by().filter(|_| self.punctual) {
            Some(by) => check(now <= by, "the shutdown takes too long"),
            None => Ok(()),
        }
    }
}
