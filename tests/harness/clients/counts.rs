//! What became of the requests of one client model.

use super::connection::Failure;
use std::time::{Duration, Instant};

/// The most failures that are kept one by one.
const NOTED: usize = 5;

/// What became of requests, since the counts were last taken.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Answered as they should be.
    pub ok: u64,
    /// Never taken: the client may safely try again.
    pub refused: u64,
    /// Lost as the first one on a connection.
    pub lost_fresh: u64,
    /// Lost on a connection that had served before: the server closed it while the request was on its way.
    pub lost_reused: u64,
    /// Answered with another status, or another body.
    pub other: u64,
    /// Kept connections that the server had closed before the client sent anything: no loss.
    pub closed_idle: u64,
    /// The longest time a request took.
    pub slowest: Duration,
    /// The longest time without an answer to anybody.
    pub gap: Duration,
    /// How the first of the lost ones ended.
    pub failures: Vec<Failure>,
}

impl Counts {
    /// Adds what became of others.
    pub fn add(&mut self, other: &Self) {
        self.ok += other.ok;
        self.refused += other.refused;
        self.lost_fresh += other.lost_fresh;
        self.lost_reused += other.lost_reused;
        self.other += other.other;
        self.closed_idle += other.closed_idle;
        self.slowest = self.slowest.max(other.slowest);
        self.gap = self.gap.max(other.gap);
        let room = NOTED.saturating_sub(self.failures.len());
        self.failures.extend(other.failures.iter().take(room));
    }

    /// All that were taken and not answered.
    pub fn lost(&self) -> u64 {
        self.lost_fresh + self.lost_reused
    }
}

/// Counts, and when the last answer came.
pub struct Tally {
    counts: Counts,
    last: Instant,
}

impl Default for Tally {
    fn default() -> Self {
        Self { counts: Counts::default(), last: Instant::now() }
    }
}

impl Tally {
    /// A whole answer to a request that began then.
    pub fn answered(&mut self, begun: Instant, as_it_should_be: bool) {
        let now = Instant::now();
        if !as_it_should_be {
            self.counts.other += 1;
            return;
        }
        self.counts.ok += 1;
        self.counts.slowest = self.counts.slowest.max(now - begun);
        self.counts.gap = self.counts.gap.max(now - self.last);
        self.last = now;
    }

    /// No whole answer.
    pub fn failed(&mut self, failure: Failure, reused: bool) {
        match failure {
            Failure::Refused => {
                self.counts.refused += 1;
                return;
            }
            Failure::Reset | Failure::Empty | Failure::Cut | Failure::Timeout if reused => {
                self.counts.lost_reused += 1;
            }
            Failure::Reset | Failure::Empty | Failure::Cut | Failure::Timeout => self.counts.lost_fresh += 1,
        }
        if self.counts.failures.len() < NOTED {
            self.counts.failures.push(failure);
        }
    }

    /// A kept connection was found closed.
    pub fn closed_idle(&mut self) {
        self.counts.closed_idle += 1;
    }

    /// The counts since the last call, and begins anew.
    pub fn take(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// The counts so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}
