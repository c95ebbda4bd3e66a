//! `--on-event`: a program runs for each transition. Hooks are bounded in number and time, and only the end of the
//! supervisor waits for them, for a limited time: the last events are those that users ask about most.

use super::run::{Ended, HelperKind, Runner};
use crate::core::exit::Exit;
use crate::core::time::{Monotonic, earlier, reached};
use crate::core::{Note, Pid};
use crate::report::hook_variables::{self, Happened, PREFIX};
use crate::values::command_line::Words;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;
use tracing::warn;

/// Hooks that may run at the same time.
const MOST_RUNNING: usize = 4;

/// Events that may wait.
const MOST_WAITING: usize = 64;

/// The time limit of one hook.
const LIMIT: Duration = Duration::from_secs(10);

/// If a hook cannot be started, the next is tried after this time: each try may block the loop.
const PAUSE: Duration = Duration::from_secs(5);

/// The time for hooks that run or wait when no other process is left, and the shortest time for the very last ones.
const LAST_WORDS: Duration = Duration::from_secs(2);
const VERY_LAST_WORDS: Duration = Duration::from_secs(1);

/// The events that wait for their hook.
#[derive(Debug, Default)]
pub struct Hooks {
    words: Option<Words>,
    waiting: VecDeque<(u64, Happened)>,
    /// The number of events so far.
    count: u64,
    dropped: u64,
    paused_until: Option<Monotonic>,
    /// When the end stops waiting for hooks.
    ends_at: Option<Monotonic>,
    /// Whether the end has waited for [`LAST_WORDS`].
    had_last_words: bool,
}

impl Hooks {
    /// `None` if no hook is configured.
    pub fn new(words: Option<Words>) -> Self {
        Self { words, ..Self::default() }
    }

    pub fn are_wanted(&self) -> bool {
        self.words.is_some()
    }

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

    /// The next event, if its hook may start now.
    fn next(&mut self, now: Monotonic, running: usize) -> Option<(u64, Happened)> {
        self.paused_until = self.paused_until.filter(|until| *until > now);
        let may = running < MOST_RUNNING && self.paused_until.is_none();
        if may { self.waiting.pop_front() } else { None }
    }

    /// Logs the events that were dropped since the last call.
    pub fn log_dropped(&mut self) {
        if let Some(count) = self.dropped() {
            warn!(count, "events dropped: hooks are too slow, or there was no time for them");
        }
    }

    /// The number of events that were dropped since the last call.
    fn dropped(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.dropped)).filter(|dropped| *dropped > 0)
    }

    /// Drops the events that wait.
    pub fn give_up(&mut self) {
        let waiting = u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
        self.dropped = self.dropped.saturating_add(waiting);
        self.waiting.clear();
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn next_deadline_with(&self, running: usize) -> Option<Monotonic> {
        let to_start = self.paused_until.filter(|_| !self.waiting.is_empty() && running < MOST_RUNNING);
        earlier(to_start, self.ends_at)
    }
    pub fn next_deadline(&self, runner: &Runner) -> Option<Monotonic> {
        self.next_deadline_with(running(runner))
    }

    pub fn are_left(&self, runner: &Runner) -> bool {
        !self.waiting.is_empty() || running(runner) > 0
    }

    /// Starts the hooks that are due. Returns whether the end has now waited long enough.
    pub fn poll(&mut self, now: Monotonic, runner: &mut Runner) -> bool {
        let is_over = reached(self.ends_at, now);
        if is_over {
            self.ends_at = None;
            self.had_last_words = true;
            self.give_up();
        }
        while let Some((number, happened)) = self.next(now, running(runner)) {
            self.log_dropped();
            let Some(words) = &self.words else { break };
            let variables = happened.variables().map(|(name, value)| (name.into(), value.into()));
            let number = (format!("{PREFIX}_NUMBER").into(), number.to_string().into());
            if let Err(failure) = runner.start(now, words, variables.chain([number]), HelperKind::Hook, LIMIT)
            {
                let error = io::Error::from_raw_os_error(failure.errno);
                warn!(event = happened.name, step = %failure.step, %error, "hook cannot be started");
                self.paused_until = Some(now + PAUSE);
            }
            if let Some(until) = self.ends_at {
                hasten(runner, until);
            }
        }
        is_over
    }

    /// Only hooks are left, as far as is known. Returns whether the end waits for them.
    pub fn hold_end_back(&mut self, now: Monotonic, runner: &mut Runner) -> bool {
        if self.had_last_words {
            return false;
        }
        let until = *self.ends_at.get_or_insert(now + LAST_WORDS);
        hasten(runner, until);
        until > now
    }

    /// The supervisor ends. Returns until when the hooks that run or wait have time, including the hook of the end
    /// itself.
    pub fn last_words(&mut self, now: Monotonic, runner: &mut Runner) -> Monotonic {
        let left = if self.had_last_words { VERY_LAST_WORDS } else { LAST_WORDS };
        let until = self.ends_at.unwrap_or(now + left).max(now + VERY_LAST_WORDS);
        self.ends_at = Some(until);
        hasten(runner, until);
        until
    }

    pub fn ended(pid: Pid, Ended { killed, .. }: Ended, exit: Exit) {
        match exit {
            _ if killed => warn!(pid = pid.0, "hook killed: it took too long"),
            Exit::Code(0) => {}
            exit => warn!(pid = pid.0, "hook failed: {exit}"),
        }
    }
}

fn running(runner: &Runner) -> usize {
    runner.count(|kind| kind == HelperKind::Hook)
}

fn hasten(runner: &mut Runner, until: Monotonic) {
    runner.hasten(|kind| kind == HelperKind::Hook, until);
}

#[cfg(test)]
mod tests {
    use super::*;
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
        assert_eq!((hooks.next(at(4), 0), hooks.next_deadline_with(0)), (None, Some(at(5))));
        assert_eq!(hooks.next_deadline_with(MOST_RUNNING), None, "an end comes first");
        assert!(hooks.next(at(5), 0).is_some());
    }

    #[test]
    fn nothing_waits_where_nothing_is_to_be_run() {
        let mut hooks = Hooks::new(None);
        event(&mut hooks, 1);
        assert_eq!(hooks.waiting(), 0);
    }
}
