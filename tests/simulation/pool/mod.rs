//! The rules of pool mode: a second book, kept from the events and actions alone and written from the
//! README's promises. What is broken is found in the step that breaks it.

mod accepting;
mod backoff;
mod book;
mod drain;
mod events;
mod exits;
mod first;
mod in_hand;
mod judge;
mod notes;
mod owed;
mod plans;
mod watch;

use super::rule::{Held, check};
use book::Book;
use prefork_core::action::{ListenerAction, Recipients};
use prefork_core::exit::Reason;
use prefork_core::note::WorkerNote;
use prefork_core::policy::PoolPolicy;
use prefork_core::{Action, Event, Monotonic, Note, Snapshot};

pub struct PoolRules {
    book: Book,
    /// Whether the loop is never late: then the whole shutdown has a bound.
    punctual: bool,
    /// The last time the clock led to something that does not show.
    had_reason: bool,
}

impl PoolRules {
    pub fn new(policy: PoolPolicy, punctual: bool) -> Self {
        Self { book: Book::new(policy), punctual, had_reason: false }
    }

    /// After each step.
    pub fn step(&mut self, now: Monotonic, event: Event, actions: &[Action]) -> Held {
        if self.book.exit.is_some() {
            return Ok(());
        }
        let before = self.book.serving();
        let measures = self.book.measure_at.is_some_and(|at| at <= now);
        self.book.take_in(now, event);
        self.had_reason = measures;
        for action in with_the_refusal_first(actions) {
            self.book.judge(now, action).map_err(|broken| format!("{broken}: {action:?}"))?;
        }
        if self.book.exit.is_some() {
            return Ok(());
        }
        self.book.all_was_said(now)?;
        let floor = self.book.wanted().saturating_sub(self.book.most_missing());
        let serves = self.book.serving() + self.book.expected.lost;
        check(!self.book.is_open() || serves >= before.min(floor), "too few serve, by plan")
    }

    /// Whether it was woken for a measurement of nobody.
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

/// Connections are refused when all have been told to stop, which for the book is the one event: the end begins.
fn with_the_refusal_first(actions: &[Action]) -> Vec<&Action> {
    let mut ordered: Vec<&Action> = actions.iter().collect();
    if let Some(at) =
        actions.iter().position(|action| matches!(action, Action::Listeners(ListenerAction::Refuse { .. })))
    {
        let told = actions[..at].iter().rposition(|action| {
            let of_a_stop = matches!(
                action,
                Action::Signal { to: Recipients::Process(_), .. }
                    | Action::Note(Note::Worker(_, WorkerNote::Stopping { reason: Reason::Stop, .. }))
            );
            !of_a_stop
        });
        let refusal = ordered.remove(at);
        ordered.insert(told.map_or(0, |before| before + 1), refusal);
    }
    ordered
}
