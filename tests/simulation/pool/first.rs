//! The first start, and what a slot's failures mean for the next of its workers.

use super::super::rule::{Held, check};
use super::backoff::Window;
use super::book::{Book, Worker};
use super::exits::Failure;
use prefork_core::action::SpawnOrder;
use prefork_core::note::WorkerRef;
use prefork_core::time::Patience;
use prefork_core::{Lane, Monotonic};
use std::time::Duration;

const HEALTHY: Duration = Duration::from_secs(10);
const LONGEST_PROBATION: Duration = Duration::from_secs(60);
const FIRST_LOOK: Duration = Duration::from_secs(60);
const RARE_LOOK: Duration = Duration::from_secs(3_600);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstStart {
    #[default]
    Together,
    Alone(usize),
    Passed,
}

impl Book {
    /// Until one worker has been ready, the slot of the first that failed tries alone.
    pub fn may_fill(&self, slot: usize) -> bool {
        match self.first_start {
            FirstStart::Alone(alone) => alone == slot,
            FirstStart::Together | FirstStart::Passed => true,
        }
    }

    /// When the slot may be filled again after this failure.
    pub fn after_failure(
        &mut self,
        now: Monotonic,
        order: SpawnOrder,
        failure: Failure,
        spawned: Monotonic,
    ) -> Window {
        if self.first_start == FirstStart::Together {
            self.first_start = FirstStart::Alone(order.slot as usize);
        }
        let (respawn, quick) =
            (self.policy.respawn, self.first_start != FirstStart::Passed && !self.reached_out);
        let backoff = &mut self.slot(order.slot).backoff;
        if quick {
            return Window::at((spawned + backoff.failed_quickly(&respawn)).max(now));
        }
        backoff.failed(now, failure == Failure::CannotBoot, &respawn)
    }

    /// The last slot is gone: another tries alone, should there be one.
    pub fn first_start_has_dropped(&mut self) {
        if matches!(self.first_start, FirstStart::Alone(alone) if alone >= self.wanted()) {
            let vacant = (0..self.wanted()).find(|slot| self.is_vacant(*slot));
            self.first_start = vacant.map_or(FirstStart::Together, FirstStart::Alone);
        }
    }

    /// How long a worker that is spawned now has to live before that alone makes it ready.
    pub fn life_to_ready(&self, order: SpawnOrder) -> Option<Duration> {
        let short = self.slots.get(order.slot as usize).map_or(0, |slot| slot.backoff.short);
        let probation = match short {
            0 => Duration::ZERO,
            n => HEALTHY.saturating_mul(2u32.saturating_pow(n - 1)).min(LONGEST_PROBATION),
        };
        let most = match self.policy.ready.start_timeout {
            Patience::For(limit) => limit / 2,
            Patience::Forever => Duration::MAX,
        };
        self.policy.ready.after.map(|after| after.max(probation.min(most)))
    }

    /// A number is of one living worker, and as low as can be.
    pub fn may_have_number(&self, order: &SpawnOrder) -> Held {
        let has = |number: u32| self.live.iter().any(|w| w.order.number == number);
        check(!has(order.number), "a number that another has")?;
        check((0..order.number).all(has), "a lower number is free")?;
        check((order.number as usize) < self.most_alive(), "a number beyond the workers and the surge")
    }

    /// What a worker listens on is told before it is stopped because it is not ready.
    pub fn explains(&mut self, now: Monotonic, worker: WorkerRef, lane: Lane) -> Held {
        check(self.policy.drain.listens, "there is nothing on which it should have listened")?;
        let known = self.worker_on(worker.pid, lane)?;
        // In a pool that is given up it may be in time; it is stopped as the others are.
        let late = known.fail_by.is_some_and(|at| at <= now);
        check(known.starts() && known.named() == worker, "it does not start")?;
        let others = self.expected.explained.len();
        check(late || self.gave_up.is_some(), "it is in time")?;
        check(others < 4 && !self.expected.explained.contains(&worker.pid), "more than a few are explained")?;
        self.expected.explained.push(worker.pid);
        Ok(())
    }

    pub fn checks_counting(&mut self, now: Monotonic, worker: WorkerRef) -> Held {
        let known = self.worker(worker.pid)?;
        check(known.is_up() && known.named() == worker, "it does not serve")?;
        let at = known.counted_by().ok_or("there is nothing to count, or it is counted")?;
        check(at <= now, "it has time to report a request")?;
        let pause = known.counting.map_or(FIRST_LOOK, |(_, pause)| (pause * 2).min(RARE_LOOK));
        known.counting = Some((now + pause, pause));
        Ok(())
    }
}

impl Worker {
    /// From when on it is looked at, as long as it has not reported anything.
    pub fn begins_counting(&mut self, now: Monotonic, counted_by_worker: bool) {
        let reports = self.order.limits.requests.is_some() && !counted_by_worker;
        self.counting = reports.then_some((now + FIRST_LOOK, FIRST_LOOK));
    }

    pub fn counted_by(&self) -> Option<Monotonic> {
        self.counting.map(|(at, _)| at).filter(|_| self.requests == 0 && self.is_up())
    }
}
