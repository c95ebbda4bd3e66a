//! `--ready-check`: the application's own word on whether it is ready.

use super::Loop;
use super::errands::Kind;
use crate::core::exit::Exit;
use crate::core::snapshot::Phase;
use crate::core::time::Monotonic;
use crate::helpers::ask::{self, CheckFailure};
use crate::http::Check;
use crate::settings;
use crate::values::ready_target::ReadyTarget;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tracing::{info, warn};

/// What came of a question.
type Answer = (u64, Result<(), CheckFailure>);

/// Asks, one question at a time.
#[derive(Debug)]
pub struct Checker {
    check: settings::Check,
    state: Check,
    stage: Stage,
    /// Questions so far.
    count: u64,
    /// Whether the workers were ready when we last looked.
    were_ready: bool,
    sender: mpsc::Sender<Answer>,
    answers: mpsc::Receiver<Answer>,
    next: Option<Answer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Pausing { until: Monotonic },
    Asking { id: u64, by: Monotonic },
}

impl Checker {
    /// `passes` says whether it did in the program before us in this process.
    pub fn new(check: settings::Check, passes: bool) -> Self {
        let (sender, answers) = mpsc::channel(1);
        Self {
            check,
            state: if passes { Check::Passes } else { Check::Awaited },
            stage: Stage::Pausing { until: Monotonic::default() },
            count: 0,
            were_ready: false,
            sender,
            answers,
            next: None,
        }
    }

    /// What is to be published.
    pub fn state(&self) -> &Check {
        &self.state
    }

    /// The number of the question that is to be asked now, if one is. Workers that have just become ready are asked at
    /// once.
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

    /// Takes an answer in; one to another question is ignored. Returns whether it changed anything that is worth a line.
    fn answered(&mut self, now: Monotonic, (id, result): Answer) -> bool {
        match self.stage {
            Stage::Asking { id: asked, .. } if asked == id => {}
            Stage::Asking { .. } | Stage::Pausing { .. } => return false,
        }
        self.stage = Stage::Pausing { until: now + self.check.interval };
        let (passed, before) = (result.is_ok(), &self.state);
        let is_news = !matches!((before, passed), (Check::Passes, true) | (Check::Fails(_), false));
        self.state = match result {
            Ok(()) => Check::Passes,
            Err(why) => Check::Fails(why.to_string()),
        };
        is_news
    }

    /// The question whose time is over: what answers by its end may not end.
    fn overdue(&self, now: Monotonic) -> Option<u64> {
        match self.stage {
            Stage::Asking { id, by } if by <= now => Some(id),
            Stage::Asking { .. } | Stage::Pausing { .. } => None,
        }
    }

    fn next_deadline(&self, ready: bool) -> Option<Monotonic> {
        match self.stage {
            Stage::Asking { by, .. } => Some(by),
            Stage::Pausing { until } => ready.then_some(until),
        }
    }

    /// Ready when an answer can be taken.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.next.is_none()
            && let Poll::Ready(answer) = self.answers.poll_recv(cx)
        {
            self.next = answer;
        }
        if self.next.is_some() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn take(&mut self) -> Option<Answer> {
        self.next.take().or_else(|| self.answers.try_recv().ok())
    }
}

impl Loop {
    /// Whether there is anybody to ask: workers are ready, and no stop has begun.
    fn may_check(&self) -> bool {
        self.core.snapshot().readiness().is_ok()
    }

    /// When [`tend_check`](Self::tend_check) has something to do.
    pub(super) fn next_check_deadline(&self) -> Option<Monotonic> {
        self.around.checker.as_ref()?.next_deadline(self.may_check() && !self.check_lingers())
    }

    /// A command that was killed and is still there: no second one beside it.
    fn check_lingers(&self) -> bool {
        self.around.errands.count(|kind| matches!(kind, Kind::Check(_))) > 0
    }

    /// Takes answers and asks anew.
    pub(super) fn tend_check(&mut self) {
        while let Some(answer) = self.around.checker.as_mut().and_then(Checker::take) {
            self.check_answered(answer);
        }
        let now = self.now();
        if let Some(id) = self.around.checker.as_ref().and_then(|checker| checker.overdue(now)) {
            self.check_answered((id, Err(CheckFailure::TimedOut)));
        }
        if self.core.snapshot().phase != Phase::Running {
            self.around.errands.hasten(|kind| matches!(kind, Kind::Check(_)), now);
        }
        if self.check_lingers() {
            return;
        }
        let ready = self.may_check();
        let Some(checker) = &mut self.around.checker else { return };
        let Some(id) = checker.begin(now, ready) else { return };
        let (check, sender) = (checker.check.clone(), checker.sender.clone());
        let within = check.timeout;
        match check.target {
            ReadyTarget::Exec(words) => {
                if let Err(failure) = self.run_errand(&words, [], Kind::Check(id), within) {
                    self.check_answered((id, Err(CheckFailure::NotStarted(failure.errno))));
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
    }

    /// The command of a check has ended.
    pub(super) fn check_ended(&mut self, id: u64, killed: bool, exit: Exit) {
        let result = match exit {
            _ if killed => Err(CheckFailure::TimedOut),
            Exit::Code(0) => Ok(()),
            other => Err(CheckFailure::Code(other.code())),
        };
        self.check_answered((id, result));
    }

    fn check_answered(&mut self, answer: Answer) {
        let now = self.now();
        let Some(checker) = &mut self.around.checker else { return };
        let first = *checker.state() == Check::Awaited;
        let is_news = checker.answered(now, answer);
        match (answer.1, is_news) {
            (Ok(()), true) if first => info!("ready check passes"),
            (Ok(()), true) => info!("ready check passes again"),
            (Err(why), true) => warn!("ready check failed: {why}"),
            (_, false) => {}
        }
        self.publish_beside();
    }
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
        Checker::new(settings::Check { target, interval, timeout }, false)
    }

    #[test]
    fn one_question_at_a_time_and_the_pause_begins_with_the_answer() {
        let mut checker = checker();
        assert_eq!(checker.begin(at(0), false), None, "nobody is there to be asked");
        assert_eq!(checker.begin(at(1), true), Some(1));
        assert_eq!((checker.begin(at(2), true), checker.next_deadline(true)), (None, Some(at(3))));
        assert!(checker.answered(at(2), (1, Ok(()))));
        assert_eq!(checker.state(), &Check::Passes);
        assert_eq!((checker.begin(at(11), true), checker.next_deadline(true)), (None, Some(at(12))));
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
        assert_eq!(checker.state(), &Check::Fails("no answer in time".into()));
        assert_eq!(checker.begin(at(12), true), Some(2));
        assert!(!checker.answered(at(12), (2, Err(CheckFailure::Status(500)))), "it failed before");
        assert_eq!(checker.state(), &Check::Fails("answered 500".into()));
        assert_eq!(checker.begin(at(22), true), Some(3));
        assert!(checker.answered(at(22), (3, Ok(()))));
    }

    #[test]
    fn workers_that_are_ready_again_are_asked_at_once() {
        let mut checker = checker();
        checker.begin(at(0), true);
        checker.answered(at(0), (1, Ok(())));
        assert_eq!(checker.begin(at(1), false), None);
        assert_eq!((checker.begin(at(2), false), checker.next_deadline(false)), (None, None));
        assert_eq!(checker.begin(at(5), true), Some(2), "the pause is not over");
    }
}
