//! Liveness, readiness and start-up: a list of checks for each, all of which must pass.

use super::beside::{self, Beside};
use super::edge::Edge;
use crate::core::snapshot::{Phase, Snapshot};
use std::borrow::Cow;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the container should live on. Fails only if the pool is given up; a loop that hangs gives no answer.
    Live,
    /// Whether traffic should come.
    Ready,
    /// Whether it has ever been ready.
    Started,
}

impl Question {
    /// The name that Kubernetes uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "livez",
            Self::Ready => "readyz",
            Self::Started => "startupz",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// One word.
    pub name: &'static str,
    /// `None` if it passes.
    pub failure: Option<HealthFailure>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthFailure {
    /// For the answer's `reason`.
    pub reason: Cow<'static, str>,
    /// For `?verbose`; `None` if the reason says all.
    pub detail: Option<String>,
}

impl Check {
    fn new(name: &'static str, failure: Option<&'static str>) -> Self {
        Self { name, failure: failure.map(|reason| HealthFailure { reason: reason.into(), detail: None }) }
    }
}

/// The checks of a question. The first failure gives the reason.
#[must_use]
pub fn checks(question: Question, edge: &Edge) -> Vec<Check> {
    found(question, &edge.published.get(), &edge.published.beside())
}

fn found(question: Question, snapshot: &Snapshot, beside: &Beside) -> Vec<Check> {
    let Snapshot { phase, ready, min_ready, started, .. } = *snapshot;
    match question {
        Question::Live => {
            let given_up = (phase == Phase::GivenUp).then_some("a crash loop was given up");
            // The loop's own thread gives this answer.
            vec![Check::new("loop", None), Check::new("workers", given_up)]
        }
        Question::Ready => {
            let leaves = match phase {
                Phase::Running => None,
                Phase::Draining => Some("draining before the stop"),
                Phase::Stopping => Some("stopping"),
                Phase::GivenUp => Some("a crash loop was given up"),
            };
            let too_few = (ready < min_ready).then(|| HealthFailure {
                reason: "not enough workers are ready".into(),
                detail: Some(format!("{ready} of {min_ready} ready")),
            });
            let asked = beside.check.as_ref().map(|check| Check {
                name: "ready-check",
                failure: check.passes().err().map(|reason| HealthFailure { reason, detail: check.detail() }),
            });
            let ours = [Check::new("phase", leaves), Check { name: "workers", failure: too_few }];
            of_before(beside).into_iter().chain(ours).chain(asked).collect()
        }
        Question::Started => {
            let not_yet = (!started).then_some("not enough workers have been ready yet");
            of_before(beside).into_iter().chain([Check::new("started", not_yet)]).collect()
        }
    }
}

/// Fails while a command of `--before` is running: all else waits for it.
fn of_before(beside: &Beside) -> Option<Check> {
    beside.prepares.then(|| Check::new("before", Some(beside::PREPARES)))
}

/// One line for each check, as Kubernetes' own servers answer `?verbose`.
#[must_use]
pub fn verbose(question: Question, checks: &[Check]) -> String {
    let mut text = String::new();
    for Check { name, failure } in checks {
        text += &match failure {
            None => format!("[+]{name} ok\n"),
            Some(HealthFailure { reason, detail }) => {
                format!("[-]{name} failed: {}\n", detail.as_deref().unwrap_or(reason))
            }
        };
    }
    let passed = checks.iter().all(|check| check.failure.is_none());
    let (name, result) = (question.name(), if passed { "passed" } else { "failed" });
    text + &format!("{name} check {result}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::ready_target::CheckState;

    fn snapshot(phase: Phase, ready: u32) -> Snapshot {
        Snapshot { phase, workers: 4, ready, min_ready: 2, started: true }
    }

    #[test]
    fn readiness_is_what_the_snapshot_says_it_is() {
        for phase in [Phase::Running, Phase::Draining, Phase::Stopping, Phase::GivenUp] {
            for ready in 0..=4 {
                let snapshot = snapshot(phase, ready);
                let checks = found(Question::Ready, &snapshot, &Beside::default());
                let passes = checks.iter().all(|check| check.failure.is_none());
                assert_eq!(passes, snapshot.is_ready(), "{phase:?} {ready}");
            }
        }
    }

    #[test]
    fn the_applications_own_word_concerns_readiness_alone() {
        let snapshot = snapshot(Phase::Running, 4);
        let passes = |beside: &Beside| {
            [Question::Live, Question::Ready, Question::Started].map(|question| {
                found(question, &snapshot, beside).iter().all(|check| check.failure.is_none())
            })
        };
        let checked = |check| Beside { prepares: false, check: Some(check) };
        assert_eq!(passes(&checked(CheckState::Passes)), [true, true, true]);
        assert_eq!(passes(&checked(CheckState::Awaited)), [true, false, true]);
        let failed = checked(CheckState::Fails("answered 500".into()));
        assert_eq!(passes(&failed), [true, false, true]);
        assert_eq!(passes(&Beside { prepares: true, check: None }), [true, false, false]);
        let checks = found(Question::Ready, &snapshot, &failed);
        let reason = checks.iter().find_map(|check| check.failure.as_ref()).map(|failure| &failure.reason);
        assert_eq!(reason.unwrap(), "--ready-check failed: answered 500");
        assert!(verbose(Question::Ready, &checks).contains("[-]ready-check failed: answered 500\n"));
    }

    #[test]
    fn each_check_has_a_line() {
        let said = |question, snapshot| verbose(question, &found(question, &snapshot, &Beside::default()));
        assert_eq!(
            said(Question::Ready, snapshot(Phase::Running, 2)),
            "[+]phase ok\n[+]workers ok\nreadyz check passed\n"
        );
        assert_eq!(
            said(Question::Ready, snapshot(Phase::Draining, 1)),
            "[-]phase failed: draining before the stop\n[-]workers failed: 1 of 2 ready\nreadyz check failed\n"
        );
        assert_eq!(
            said(Question::Live, snapshot(Phase::GivenUp, 0)),
            "[+]loop ok\n[-]workers failed: a crash loop was given up\nlivez check failed\n"
        );
        assert_eq!(
            said(Question::Started, snapshot(Phase::Stopping, 0)),
            "[+]started ok\nstartupz check passed\n"
        );
    }
}
