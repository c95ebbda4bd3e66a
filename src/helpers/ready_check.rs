//! `--ready-check`: asks the application whether it is ready, and keeps its last answer. What the endpoint does with
//! that is not known here.

use super::ask::{self, CheckFailure};
use super::run::{HelperKind, Runner};
use crate::core::exit::Exit;
use crate::core::snapshot::{Phase, Snapshot};
use crate::core::time::Monotonic;
use crate::settings;
use crate::values::ready_target::{CheckState, ReadyTarget};
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tracing::{info, warn};

/// The number of a check and its result.
type CheckAnswer = (u64, Result<(), CheckFailure>);

/// Makes one check at a time.
#[derive(Debug)]
pub struct Checker {
    check: settings::ReadyCheck,
    state: CheckState,
    stage: Stage,
    /// The number of checks so far.
    count: u64,
    /// Whether the pool was ready at the last call of `begin`.
    were_ready: bool,
    sender: mpsc::Sender<CheckAnswer>,
    answers: mpsc::Receiver<CheckAnswer>,
    next: Option<CheckAnswer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Pausing { until: Monotonic },
    Asking { id: u64, by: Monotonic },
}

impl Checker {
    /// `passes` is whether the check passed in the previous program of this process.
    pub fn new(check: settings::ReadyCheck, passes: bool) -> Self {
        let (sender, answers) = mpsc::channel(1);
        Self {
            check,
            state: if passes { CheckState::Passes } else { CheckState::Awaited },
            stage: Stage::Pausing { until: Monotonic::default() },
            count: 0,
            were_ready: false,
            sender,
            answers,
            next: None,
        }
    }

    pub fn state(&self) -> &CheckState {
        &self.state
    }

    /// The number of the check to make now, if one is due. When the pool becomes ready, it is asked at once.
    fn begin(&mut self, now: Monotonic, ready: bool) -> Option<u64> {
        let were_ready = std::mem::replace(&mut self.were_ready, ready);
        let newly = ready && !were_ready;
        match self.stage {
            Stage::Pausing { until } if ready && (newly || until <= now) => {
                self.count = self.count.saturating_add(1);
                self.stage = Stage::Asking { id: self.count, by: now + self.check.timeout };
                Some(self.count)
            }
            Stage::Pausing { .. } | Stage::Asking { .. } => None,
        }
    }

    /// Handles an answer; an answer to an earlier check is ignored. Returns whether the result differs from the last
    /// one.
    fn answered(&mut self, now: Monotonic, (id, result): CheckAnswer) -> bool {
        match self.stage {
            Stage::Asking { id: asked, .. } if asked == id => {}
            Stage::Asking { .. } | Stage::Pausing { .. } => return false,
        }
        self.stage = Stage::Pausing { until: now + self.check.interval };
        let (passed, before) = (result.is_ok(), &self.state);
        let is_news = !matches!((before, passed), (CheckState::Passes, true) | (CheckState::Fails(_), false));
        self.state = match result {
            Ok(()) => CheckState::Passes,
            Err(why) => CheckState::Fails(why.to_string()),
        };
        is_news
    }

    /// The check whose time is over: a command, for example, that does not end.
    fn overdue(&self, now: Monotonic) -> Option<u64> {
        match self.stage {
            Stage::Asking { id, by } if by <= now => Some(id),
            Stage::Asking { .. } | Stage::Pausing { .. } => None,
        }
    }

    fn next_deadline_if(&self, ready: bool) -> Option<Monotonic> {
        match self.stage {
            Stage::Asking { by, .. } => Some(by),
            Stage::Pausing { until } => ready.then_some(until),
        }
    }

    /// Ready when there is an answer to take.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.next.is_none()
            && let Poll::Ready(answer) = self.answers.poll_recv(cx)
        {
            self.next = answer;
        }
        if self.next.is_some() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn take(&mut self) -> Option<CheckAnswer> {
        self.next.take().or_else(|| self.answers.try_recv().ok())
    }
    /// Takes answers and begins a check if one is due. Returns whether there was an answer.
    pub fn poll(&mut self, now: Monotonic, snapshot: &Snapshot, runner: &mut Runner) -> bool {
        let mut is_answered = false;
        while let Some(answer) = self.take() {
            is_answered = true;
            self.hear(now, answer);
        }
        if let Some(id) = self.overdue(now) {
            is_answered = true;
            self.hear(now, (id, Err(CheckFailure::TimedOut)));
        }
        if snapshot.phase != Phase::Running {
            runner.hasten(|kind| matches!(kind, HelperKind::Check(_)), now);
        }
        if lingers(runner) {
            return is_answered;
        }
        let Some(id) = self.begin(now, may_ask(snapshot)) else { return is_answered };
        is_answered | self.ask(now, id, runner)
    }

    /// Returns whether there is an answer at once.
    fn ask(&mut self, now: Monotonic, id: u64, runner: &mut Runner) -> bool {
        let (sender, within) = (self.sender.clone(), self.check.timeout);
        match self.check.target.clone() {
            ReadyTarget::Exec(words) => {
                if let Err(failure) = runner.start(now, &words, [], HelperKind::Check(id), within) {
                    self.hear(now, (id, Err(CheckFailure::NotStarted(failure.errno))));
                    return true;
                }
            }
            ReadyTarget::Http { to, host, path, .. } => {
                tokio::spawn(async move {
                    let _late = sender.send((id, ask::ask_tcp(to, &host, &path, within).await)).await;
                });
            }
            ReadyTarget::Unix { to, path, .. } => {
                tokio::spawn(async move {
                    let _late = sender.send((id, ask::ask_unix(to, &path, within).await)).await;
                });
            }
        }
        false
    }

    /// When [`poll`](Self::poll) has something to do without an answer.
    pub fn next_deadline(&self, snapshot: &Snapshot, runner: &Runner) -> Option<Monotonic> {
        self.next_deadline_if(may_ask(snapshot) && !lingers(runner))
    }

    pub fn ended(&mut self, now: Monotonic, id: u64, killed: bool, exit: Exit) {
        let result = match exit {
            _ if killed => Err(CheckFailure::TimedOut),
            Exit::Code(0) => Ok(()),
            other => Err(CheckFailure::Code(other.code())),
        };
        self.hear(now, (id, result));
    }

    fn hear(&mut self, now: Monotonic, answer: CheckAnswer) {
        let first = self.state == CheckState::Awaited;
        let is_news = self.answered(now, answer);
        match (answer.1, is_news) {
            (Ok(()), true) if first => info!("ready check passes"),
            (Ok(()), true) => info!("ready check passes again"),
            (Err(why), true) => warn!("ready check failed: {why}"),
            (_, false) => {}
        }
    }
}

/// Whether there is a server to ask: the pool is ready, and no stop has begun.
fn may_ask(snapshot: &Snapshot) -> bool {
    snapshot.is_ready()
}

/// Whether the command of a check runs, perhaps although it was killed: then no other is started.
fn lingers(runner: &Runner) -> bool {
    runner.count(|kind| matches!(kind, HelperKind::Check(_))) > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::command_line::Words;
    use std::time::Duration;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(Duration::from_secs(seconds))
    }

    fn checker() -> Checker {
        let target = ReadyTarget::Exec(Words::parse("x").unwrap());
        let (interval, timeout) = (Duration::from_secs(10), Duration::from_secs(2));
        Checker::new(settings::ReadyCheck { target, interval, timeout }, false)
    }

    #[test]
    fn one_question_at_a_time_and_the_pause_begins_with_the_answer() {
        let mut checker = checker();
        assert_eq!(checker.begin(at(0), false), None, "nobody is there to be asked");
        assert_eq!(checker.begin(at(1), true), Some(1));
        assert_eq!((checker.begin(at(2), true), checker.next_deadline_if(true)), (None, Some(at(3))));
        assert!(checker.answered(at(2), (1, Ok(()))));
        assert_eq!(checker.state(), &CheckState::Passes);
        assert_eq!((checker.begin(at(11), true), checker.next_deadline_if(true)), (None, Some(at(12))));
        assert_eq!(checker.begin(at(12), true), Some(2));
        assert!(!checker.answered(at(12), (2, Ok(()))), "no news");
    }

    #[test]
    fn a_timeout_is_a_failure_and_what_is_answered_late_is_ignored() {
        let mut checker = checker();
        assert_eq!(checker.begin(at(0), true), Some(1));
        assert_eq!((checker.overdue(at(1)), checker.overdue(at(2))), (None, Some(1)));
        assert!(checker.answered(at(2), (1, Err(CheckFailure::TimedOut))));
        assert!(!checker.answered(at(3), (1, Ok(()))));
        assert_eq!(checker.state(), &CheckState::Fails("no answer in time".into()));
        assert_eq!(checker.begin(at(12), true), Some(2));
        assert!(!checker.answered(at(12), (2, Err(CheckFailure::Status(500)))), "it failed before");
        assert_eq!(checker.state(), &CheckState::Fails("answered 500".into()));
        assert_eq!(checker.begin(at(22), true), Some(3));
        assert!(checker.answered(at(22), (3, Ok(()))));
    }

    #[test]
    fn workers_that_are_ready_again_are_asked_at_once() {
        let mut checker = checker();
        checker.begin(at(0), true);
        checker.answered(at(0), (1, Ok(())));
        assert_eq!(checker.begin(at(1), false), None);
        assert_eq!((checker.begin(at(2), false), checker.next_deadline_if(false)), (None, None));
        assert_eq!(checker.begin(at(5), true), Some(2), "the pause is not over");
    }
}
