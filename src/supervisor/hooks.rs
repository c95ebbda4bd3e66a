//! `--on-event`: a program is run for each transition.
//!
//! Bounded in every way, and nobody waits for it but the end, for a moment: the last things to happen are those that are
//! asked about most.

use super::Loop;
use super::errands::Kind;
use crate::core::Note;
use crate::core::snapshot::Phase;
use crate::core::time::{Monotonic, earlier, reached};
use crate::report::hook_variables::{self, Happened, PREFIX};
use crate::values::command_line::Words;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;
use tracing::warn;

/// Hooks that may run at once.
const MOST_RUNNING: usize = 4;

/// Events that may wait for their turn.
const MOST_WAITING: usize = 64;

/// How long one may take.
const LIMIT: Duration = Duration::from_secs(10);

/// After one could not be started, none is tried for this long: each try may hold the loop up.
const PAUSE: Duration = Duration::from_secs(5);

/// What those that run or wait have when nobody else is left, and what the very last ones have at least.
const LAST_WORDS: Duration = Duration::from_secs(2);
const VERY_LAST_WORDS: Duration = Duration::from_secs(1);

/// Events that wait for their turn.
#[derive(Debug, Default)]
pub struct Hooks {
    words: Option<Words>,
    waiting: VecDeque<(u64, Happened)>,
    /// Events so far.
    count: u64,
    dropped: u64,
    paused_until: Option<Monotonic>,
    /// When the end waits no longer.
    ends_at: Option<Monotonic>,
}

impl Hooks {
    /// Runs this, if it is anything.
    pub fn new(words: Option<Words>) -> Self {
        Self { words, ..Self::default() }
    }

    /// Whether there is anything to run.
    pub fn are_wanted(&self) -> bool {
        self.words.is_some()
    }

    /// Something has happened.
    pub fn push(&mut self, note: &Note) {
        if self.words.is_none() {
            return;
        }
        let Some(happened) = hook_variables::of(note) else { return };
        self.count = self.count.saturating_add(1);
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push_back((self.count, happened));
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// The next whose turn it is.
    fn next(&mut self, now: Monotonic, running: usize) -> Option<(u64, Happened)> {
        self.paused_until = self.paused_until.filter(|until| *until > now);
        let may = running < MOST_RUNNING && self.paused_until.is_none();
        if may { self.waiting.pop_front() } else { None }
    }

    /// How many were dropped since this was last asked.
    fn dropped(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.dropped)).filter(|dropped| *dropped > 0)
    }

    /// No more of those that wait.
    fn give_up(&mut self) {
        let waiting = u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
        self.dropped = self.dropped.saturating_add(waiting);
        self.waiting.clear();
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn next_deadline(&self, running: usize) -> Option<Monotonic> {
        let to_start = self.paused_until.filter(|_| !self.waiting.is_empty() && running < MOST_RUNNING);
        earlier(to_start, self.ends_at)
    }
}

impl Loop {
    fn running_hooks(&self) -> usize {
        self.around.errands.count(|kind| kind == Kind::Hook)
    }

    fn has_hooks(&self) -> bool {
        self.around.hooks.waiting() > 0 || self.running_hooks() > 0
    }

    /// When [`tend_hooks`](Self::tend_hooks) has something to do.
    pub(super) fn next_hook_deadline(&self) -> Option<Monotonic> {
        self.around.hooks.next_deadline(self.running_hooks())
    }

    /// Starts those whose turn it is.
    pub(super) fn tend_hooks(&mut self) {
        let now = self.now();
        if reached(self.around.hooks.ends_at, now) {
            self.around.hooks.ends_at = None;
            self.around.had_last_words = true;
            self.around.hooks.give_up();
            // Whoever waits for the end is to hear of it.
            self.look_for_ended = true;
        }
        while let Some((number, happened)) = self.around.hooks.next(now, self.running_hooks()) {
            self.tell_of_dropped();
            let Some(words) = self.around.hooks.words.clone() else { return };
            let variables = happened.variables().map(|(name, value)| (name.into(), value.into()));
            let number = (format!("{PREFIX}_NUMBER").into(), number.to_string().into());
            let started = self.run_errand(&words, variables.chain([number]), Kind::Hook, LIMIT);
            if let Err(failure) = started {
                let error = io::Error::from_raw_os_error(failure.errno);
                warn!(event = happened.name, step = %failure.step, %error, "hook cannot be started");
                self.around.hooks.paused_until = Some(now + PAUSE);
            }
            if let Some(until) = self.around.hooks.ends_at {
                self.around.errands.hasten(|kind| kind == Kind::Hook, until);
            }
        }
    }

    pub(super) fn tell_of_dropped(&mut self) {
        if let Some(count) = self.around.hooks.dropped() {
            warn!(count, "events dropped: hooks are too slow, or there was no time for them");
        }
    }

    /// Whether the core is not to hear yet who is left: only hooks are, as far as we know, and they may finish.
    pub(super) fn holds_end_back(&mut self) -> bool {
        if !self.has_hooks() {
            return false;
        }
        let now = self.now();
        let ends = match self.core.snapshot().phase {
            Phase::Running | Phase::Draining => false,
            Phase::Stopping | Phase::GivenUp => self.core.status(now).workers.is_empty(),
        };
        if !ends || self.around.had_last_words {
            return false;
        }
        let until = *self.around.hooks.ends_at.get_or_insert(now + LAST_WORDS);
        self.around.errands.hasten(|kind| kind == Kind::Hook, until);
        until > now
    }

    /// Before we end: hooks that run or wait, that of the very end among them, have a moment.
    pub(super) async fn last_words(&mut self) {
        if self.has_hooks() {
            let now = self.now();
            let left = if self.around.had_last_words { VERY_LAST_WORDS } else { LAST_WORDS };
            let until = self.around.hooks.ends_at.unwrap_or(now + left).max(now + VERY_LAST_WORDS);
            self.around.hooks.ends_at = Some(until);
            self.around.errands.hasten(|kind| kind == Kind::Hook, until);
            self.tend_hooks();
            while self.has_hooks() && self.now() < until {
                let _paused = self.wait().await;
                self.take_signals();
                self.reap();
                self.tend_around();
            }
            self.around.hooks.give_up();
        }
        self.tell_of_dropped();
        self.around.errands.hasten(|_| true, Monotonic::default());
        self.kill_overdue_errands();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Pid;
    use crate::core::note::InitNote;

    fn event(hooks: &mut Hooks, pid: i32) {
        hooks.push(&Note::Init(InitNote::CommandStarted { pid: Pid(pid) }));
    }

    fn at(seconds: u64) -> Monotonic {
        Monotonic(Duration::from_secs(seconds))
    }

    #[test]
    fn they_start_in_order_few_at_once_and_what_does_not_fit_is_counted() {
        let mut hooks = Hooks::new(Some(Words::parse("x").unwrap()));
        for pid in 1..=70 {
            event(&mut hooks, pid);
        }
        assert_eq!(hooks.next(at(0), MOST_RUNNING), None);
        let (number, happened) = hooks.next(at(0), MOST_RUNNING - 1).unwrap();
        assert_eq!((number, happened.fields[0].1.as_str()), (1, "1"));
        assert_eq!((hooks.dropped(), hooks.dropped()), (Some(6), None));
        event(&mut hooks, 71);
        let numbers: Vec<u64> =
            std::iter::from_fn(|| hooks.next(at(0), 0)).map(|(number, _)| number).collect();
        assert_eq!(numbers, (2..=64).chain([71]).collect::<Vec<_>>(), "gaps tell of what was dropped");
    }

    #[test]
    fn one_that_cannot_be_started_holds_the_others_back_for_a_while() {
        let mut hooks = Hooks::new(Some(Words::parse("x").unwrap()));
        event(&mut hooks, 1);
        hooks.paused_until = Some(at(5));
        assert_eq!((hooks.next(at(4), 0), hooks.next_deadline(0)), (None, Some(at(5))));
        assert_eq!(hooks.next_deadline(MOST_RUNNING), None, "an end comes first");
        assert!(hooks.next(at(5), 0).is_some());
    }

    #[test]
    fn nothing_waits_where_nothing_is_to_be_run() {
        let mut hooks = Hooks::new(None);
        event(&mut hooks, 1);
        assert_eq!(hooks.waiting(), 0);
    }
}
