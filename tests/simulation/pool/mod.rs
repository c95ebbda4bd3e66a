//! The rules of pool mode: a second book, kept from the events and actions alone and written from the
//! README's promises. What is broken is found in the step that breaks it.

mod backoff;
mod book;
mod judge;
mod notes;
mod owed;

use super::rule::{Held, check};
use book::Book;
use prefork_init::core::policy::PoolPolicy;
use prefork_init::core::{Action, Event, Monotonic, Snapshot};

pub struct PoolRules {
    book: Book,
    /// Whether the loop is never late: then the whole shutdown has a bound.
    punctual: bool,
}

impl PoolRules {
    pub fn new(policy: PoolPolicy, punctual: bool) -> Self {
        Self { book: Book::new(policy), punctual }
    }

    /// After each step.
    pub fn step(&mut self, now: Monotonic, event: Event, actions: &[Action]) -> Held {
        if self.book.exit.is_some() {
            return Ok(());
        }
        let (serving, stage) = (self.book.serving(), self.book.stage);
        self.book.take_in(now, event);
        for action in actions {
            self.book.judge(now, action).map_err(|broken| format!("{broken}: {action:?}"))?;
        }
        if self.book.exit.is_some() {
            return Ok(());
        }
        self.book.all_was_said(now)?;
        let lost = usize::from(self.book.expected.lost_serving);
        check(
            self.book.serving() + lost >= serving || self.book.stage != stage,
            "fewer workers serve, and nobody died",
        )?;
        let alive = self.book.live.len() + usize::from(self.book.pending.is_some());
        check(alive <= self.book.most_alive(), "more workers are alive than may be")
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
