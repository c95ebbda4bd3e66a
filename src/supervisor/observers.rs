//! What is reported beside the log: to metrics, the endpoint, the service manager, and a person at the terminal.

use crate::core::{Core, Monotonic, Note, Progress, Snapshot};
use crate::http::Published;
use crate::os::stdio::progress_line::ProgressLine;
use crate::report::metrics::Metrics;
use crate::report::systemd::{Manager, Variables};
use std::time::Duration;
use tokio::time::Instant;

pub struct Observers {
    pub metrics: Metrics,
    /// What the endpoint shows.
    pub published: Published,
    manager: Option<Manager>,
    person: Option<Person>,
}

/// A person who looks at a terminal.
#[derive(Debug)]
struct Person {
    line: ProgressLine,
    shown: String,
    /// When the line changes without an event, because it counts seconds.
    changes_at: Option<Instant>,
}

impl Observers {
    /// In init mode there is neither a manager nor a person: the command reports for itself. If workers' lines go
    /// through the supervisor, there is no progress line: it would break theirs.
    pub fn new(published: Published, is_pool: bool, relays: bool) -> Self {
        let manager = is_pool.then(|| Manager::find(&Variables::read())).flatten();
        let line = is_pool.then(ProgressLine::open).flatten().filter(|_| !relays);
        let person = line.map(|line| Person { line, shown: String::new(), changes_at: None });
        Self { metrics: Metrics::default(), published, manager, person }
    }

    pub fn note(&mut self, now: Monotonic, note: &Note) {
        self.metrics.note(now, note);
        if let Some(manager) = &mut self.manager {
            manager.note(note);
        }
    }

    /// Called after all actions of an event.
    pub fn look(&mut self, core: &Core, now: Monotonic) {
        let snapshot = core.snapshot();
        self.published.set(snapshot);
        if self.manager.is_none() && self.person.is_none() {
            return;
        }
        let progress = core.progress(now);
        if let Some(manager) = &mut self.manager {
            manager.tell(&snapshot, progress, core.ends_within());
        }
        if let Some(person) = &mut self.person {
            person.show(&snapshot, progress);
        }
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        let of_manager = self.manager.as_ref().and_then(Manager::next_deadline);
        of_manager.into_iter().chain(self.person.as_ref().and_then(|person| person.changes_at)).min()
    }

    /// Does what is due. Only the loop calls this: so a loop that is stuck reports nothing.
    pub fn act(&mut self, core: &Core, at: Monotonic) {
        let now = Instant::now();
        if self.next_deadline().is_none_or(|due| now < due) {
            return;
        }
        if let Some(manager) = &mut self.manager {
            manager.act(now);
        }
        if let Some(person) = &mut self.person
            && person.changes_at.is_some_and(|due| due <= now)
        {
            person.show(&core.snapshot(), core.progress(at));
        }
    }
}

impl Person {
    fn show(&mut self, snapshot: &Snapshot, progress: Progress) {
        let (text, changes_in) = words(snapshot, progress);
        self.changes_at = changes_in.and_then(|changes_in| Instant::now().checked_add(changes_in));
        if text != self.shown {
            self.line.show(&text);
            self.shown = text;
        }
    }
}

/// The text for what is under way, and when it changes by itself.
fn words(snapshot: &Snapshot, progress: Progress) -> (String, Option<Duration>) {
    let Snapshot { workers, ready, .. } = snapshot;
    match progress {
        Progress::Steady => (String::new(), None),
        Progress::Rolling { new, .. } => (format!("reloading: {new} of {workers} workers new"), None),
        Progress::Draining { left } => {
            let (seconds, changes_in) = count_down(left);
            (format!("draining: {ready} of {workers} workers serve, for {seconds} s"), changes_in)
        }
        Progress::Stopping { left, grace } => {
            let text = format!("stopping: {left} of {} workers left", left.max(*workers));
            match grace {
                None => (text, None),
                Some(Duration::ZERO) => (format!("{text}, and killed"), None),
                Some(grace) => {
                    let (seconds, changes_in) = count_down(grace);
                    (format!("{text}, {seconds} s of grace"), changes_in)
                }
            }
        }
    }
}

/// The seconds that have begun, and the time until there is one fewer.
fn count_down(left: Duration) -> (u64, Option<Duration>) {
    let within = Duration::from_nanos(left.subsec_nanos().into());
    let (whole, begun) = (left.as_secs(), u64::from(!within.is_zero()));
    let changes_in = if within.is_zero() { Duration::from_secs(1) } else { within };
    (whole.saturating_add(begun), (!left.is_zero()).then_some(changes_in))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::snapshot::Phase;

    const SNAPSHOT: Snapshot =
        Snapshot { phase: Phase::Running, workers: 8, ready: 7, min_ready: 1, started: true };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_is_under_way_is_told_and_changes_when_a_second_is_over() {
        let stopping = |left, grace| Progress::Stopping { left, grace };
        let table = [
            (Progress::Steady, "", None),
            (Progress::Rolling { to: 2, new: 3 }, "reloading: 3 of 8 workers new", None),
            (Progress::Draining { left: ms(1) }, "draining: 7 of 8 workers serve, for 1 s", Some(ms(1))),
            (stopping(2, Some(ms(13_500))), "stopping: 2 of 8 workers left, 14 s of grace", Some(ms(500))),
            (stopping(2, Some(ms(14_000))), "stopping: 2 of 8 workers left, 14 s of grace", Some(ms(1_000))),
            (stopping(9, None), "stopping: 9 of 9 workers left", None),
            (stopping(1, Some(Duration::ZERO)), "stopping: 1 of 8 workers left, and killed", None),
        ];
        for (progress, text, changes_in) in table {
            assert_eq!(words(&SNAPSHOT, progress), (text.to_owned(), changes_in));
        }
    }
}
