//! Metrics for Prometheus. Counters are fed from the notes of transitions, everything else is looked at when somebody
//! asks, and what is looked at costs: so a page is good for [`FRESH`], and the workers are measured a few at a time, that
//! the loop can hear of other things in between.
//!
//! ```text
//!  Note ──▶ counts ──┐
//!  Status ───────────┼──▶ pages ──▶ exposition: OpenMetrics text ──▶ (plain) ──▶ http
//!  /proc, sockets ───┘
//! ```

pub mod counts;
pub mod exposition;
pub mod pages;
pub mod tally;

use crate::core::note::WorkerNote;
use crate::core::{Monotonic, Note, Pid};
use crate::os::process::usage::Usage;
use counts::Counts;
use hyper::body::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;

/// A page is given to whoever asks for so long.
pub const FRESH: Duration = Duration::from_millis(250);

/// More who wait for one page are refused; the endpoint has fewer connections.
const MOST_WAITING: usize = 256;

/// Upper bounds in seconds: a turn that spawns takes a millisecond.
const TURN: &[f64] = &[0.0001, 0.001, 0.01, 0.1, 1.0, 10.0];

/// Timers have a resolution of a millisecond.
const LAG: &[f64] = &[0.002, 0.01, 0.1, 1.0, 10.0];

/// A page as text, in both formats.
#[derive(Clone, Debug)]
pub struct Page(Arc<Formats>);

#[derive(Debug)]
struct Formats {
    open: Bytes,
    plain: OnceLock<Bytes>,
}

impl Page {
    /// Of OpenMetrics text.
    #[must_use]
    pub fn new(open: String) -> Self {
        Self(Arc::new(Formats { open: open.into(), plain: OnceLock::new() }))
    }

    /// `application/openmetrics-text; version=1.0.0`.
    #[must_use]
    pub fn open_metrics(&self) -> Bytes {
        self.0.open.clone()
    }

    /// `text/plain; version=0.0.4`, made when first asked for.
    #[must_use]
    pub fn plain(&self) -> Bytes {
        let make = || exposition::plain(std::str::from_utf8(&self.0.open).unwrap_or_default()).into();
        self.0.plain.get_or_init(make).clone()
    }
}

/// All that is kept between two pages.
#[derive(Debug)]
pub struct Metrics {
    /// What has come to pass.
    pub counts: Counts,
    /// When this program started: seconds since 1970.
    pub started: Duration,
    /// How long each turn of the loop took.
    pub turns: tally::Histogram,
    /// How late the loop woke for its deadlines.
    pub lag: tally::Histogram,
    usages: BTreeMap<Pid, Usage>,
    shares: BTreeMap<Pid, u64>,
    /// Who is still to be measured for those who wait.
    unmeasured: VecDeque<Pid>,
    waiting: Vec<oneshot::Sender<Page>>,
    fresh: Option<(Instant, Page)>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            started: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
            turns: tally::Histogram::new(TURN),
            lag: tally::Histogram::new(LAG),
            usages: BTreeMap::new(),
            shares: BTreeMap::new(),
            unmeasured: VecDeque::new(),
            waiting: Vec::new(),
            fresh: None,
        }
    }
}

impl Metrics {
    /// Takes a transition in.
    pub fn note(&mut self, now: Monotonic, note: &Note) {
        if let Note::Worker(worker, WorkerNote::Exited { .. }) = note {
            self.usages.remove(&worker.pid);
            self.shares.remove(&worker.pid);
        }
        self.counts.note(now, note);
    }

    /// Somebody wants the page. Returns whether the workers are to be measured for it, from the first on.
    pub fn asked(&mut self, answer: oneshot::Sender<Page>) -> bool {
        if let Some((since, page)) = &self.fresh
            && since.elapsed() < FRESH
        {
            let _gone = answer.send(page.clone());
            return false;
        }
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push(answer);
        }
        self.waiting.len() == 1
    }

    /// These are to be measured; others are forgotten.
    pub fn measure(&mut self, workers: VecDeque<Pid>) {
        self.usages.retain(|pid, _| workers.contains(pid));
        self.unmeasured = workers;
    }

    /// Whether somebody waits for the page.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next one to be measured.
    pub fn next_unmeasured(&mut self) -> Option<Pid> {
        self.unmeasured.pop_front()
    }

    /// A worker was measured. Its processor time never goes back, though a descendant of it goes with its own.
    pub fn measured(&mut self, pid: Pid, usage: Option<Usage>) {
        let Some(mut usage) = usage else { return };
        if let Some(last) = self.usages.get(&pid) {
            usage.cpu = usage.cpu.max(last.cpu);
        }
        self.usages.insert(pid, usage);
    }

    /// The pool has measured a worker's proportional share of memory for its own ends.
    pub fn share_measured(&mut self, pid: Pid, bytes: u64) {
        self.shares.insert(pid, bytes);
    }

    /// What is known of a worker.
    #[must_use]
    pub fn known(&self, pid: Pid) -> (Option<Usage>, Option<u64>) {
        (self.usages.get(&pid).copied(), self.shares.get(&pid).copied())
    }

    /// Gives everybody who waits the page.
    pub fn publish(&mut self, page: &Page) {
        self.fresh = Some((Instant::now(), page.clone()));
        for answer in self.waiting.drain(..) {
            let _gone = answer.send(page.clone());
        }
    }
}

/// A worker of which nothing else matters.
#[cfg(test)]
pub fn sample_worker(
    slot: u32,
    pid: i32,
    state: crate::core::snapshot::State,
) -> crate::core::snapshot::Worker {
    crate::core::snapshot::Worker {
        slot,
        number: slot,
        generation: 1,
        pid: Some(Pid(pid)),
        lane: crate::core::Lane(slot),
        state,
        reason: None,
        waits_for: None,
        uptime: Duration::ZERO,
        requests: Some(0),
        limits: crate::core::Limits::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_scrapes_is_one_measurement() {
        let mut metrics = Metrics::default();
        let (senders, mut answers): (Vec<_>, Vec<_>) = (0..10).map(|_| oneshot::channel()).unzip();
        let began = senders.into_iter().map(|sender| metrics.asked(sender)).filter(|begin| *begin);
        assert_eq!(began.count(), 1);
        metrics.publish(&Page::new("page".into()));
        assert!(!metrics.is_wanted());
        let (late, late_answer) = oneshot::channel();
        assert!(!metrics.asked(late), "it is fresh");
        answers.push(late_answer);
        for mut answer in answers {
            assert_eq!(answer.try_recv().unwrap().open_metrics(), "page");
        }
    }

    #[test]
    fn too_many_who_wait_are_refused() {
        let mut metrics = Metrics::default();
        let (senders, mut answers): (Vec<_>, Vec<_>) = (0..300).map(|_| oneshot::channel()).unzip();
        let began: Vec<bool> = senders.into_iter().map(|sender| metrics.asked(sender)).collect();
        assert_eq!(began.iter().filter(|begin| **begin).count(), 1);
        metrics.publish(&Page::new("page".into()));
        let served = answers.iter_mut().filter_map(|answer| answer.try_recv().ok()).count();
        assert_eq!(served, MOST_WAITING);
    }

    #[test]
    fn processor_time_never_goes_back_and_those_who_are_gone_are_forgotten() {
        let (mut metrics, pid) = (Metrics::default(), Pid(7));
        let usage = |seconds| Some(Usage { cpu: Duration::from_secs(seconds), ..Usage::default() });
        metrics.measured(pid, usage(5));
        metrics.measured(pid, usage(3));
        assert_eq!(metrics.known(pid).0, usage(5));
        metrics.measured(pid, None);
        assert_eq!(metrics.known(pid).0, usage(5), "it could not be looked at just now");
        metrics.measure(VecDeque::new());
        assert_eq!(metrics.known(pid).0, None);
    }
}
