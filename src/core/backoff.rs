//! When a slot tries again: exponential backoff with jitter, and the crash-loop count. One `Backoff` per slot. It
//! must not know the clock.

use super::policy::RespawnPolicy;
use super::rng::Rng;
use super::time::Monotonic;
use alloc::collections::VecDeque;
use core::time::Duration;

/// A worker that was ready for this time is healthy: its end resets the count of failures.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// The upper bound of [`Backoff::probation`].
pub const LONGEST_PROBATION: Duration = Duration::from_secs(60);

/// The number of failures before [`Backoff::least_delay_after_one_more`] begins to double the wait.
const HOPELESS_TRIES: u32 = 6;

/// The shortest wait after a worker that reported that it cannot boot.
pub const CANNOT_BOOT_WAIT: Duration = Duration::from_secs(1);

/// Exit codes that mean "this application cannot boot" if they come before the worker is ready: uvicorn's
/// `STARTUP_FAILURE` and gunicorn's `WORKER_BOOT_ERROR` (3), gunicorn's `APP_LOAD_ERROR` (4).
pub const CANNOT_BOOT_CODES: [u8; 2] = [3, 4];

#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
    /// Consecutive workers that failed before they had served for [`HEALTHY_AFTER`].
    short: u32,
    /// Consecutive workers that were not ready in time.
    late: u32,
    /// The times of the restarts that may still be in the window, oldest first; none is added beyond `max_restarts`.
    restarts: VecDeque<Monotonic>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerFailure {
    /// The worker died, or could not be started.
    Died,
    /// The worker ended before it was ready, with one of [`CANNOT_BOOT_CODES`].
    CannotBoot,
    /// The worker was not ready in time. Such a failure takes so much time that a window would forget it, so it is
    /// counted apart.
    TooLate,
}

impl Backoff {
    /// The failures are consecutive, and come from a handover.
    #[must_use]
    pub fn after(failures: u32) -> Self {
        Self { failures, ..Self::default() }
    }

    /// A worker that was ready for `up` has ended, by plan or not, or is replaced by its successor.
    pub fn served(&mut self, up: Duration) {
        if up >= HEALTHY_AFTER {
            (self.failures, self.short) = (0, 0);
        }
    }

    /// A worker that was ready for `up` has failed.
    pub fn failed_after(&mut self, up: Duration) {
        if up < HEALTHY_AFTER {
            self.short = self.short.saturating_add(1);
        }
    }

    /// A worker is ready, so the application can start.
    pub fn has_ready(&mut self) {
        self.late = 0;
    }

    /// How long a worker has to live before its uptime alone counts as ready. Zero if the last worker served for
    /// [`HEALTHY_AFTER`].
    #[must_use]
    pub fn probation(&self) -> Duration {
        match self.short.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => HEALTHY_AFTER
                .saturating_mul(1u32.checked_shl(doublings).unwrap_or(u32::MAX))
                .min(LONGEST_PROBATION),
        }
    }

    /// Counts a failure of the only slot that tries whether the application can start at all, after an attempt that
    /// used no network. Returns the shortest wait that could be drawn; it doubles only after `HOPELESS_TRIES`.
    pub fn least_delay_after_one_more(&mut self, policy: &RespawnPolicy) -> Duration {
        self.failures = self.failures.saturating_add(1);
        match self.failures {
            0 | 1 => Duration::ZERO,
            failures => doubled(policy, failures.saturating_sub(HOPELESS_TRIES)) / 2,
        }
    }

    /// Counts a failure and draws the wait before the next attempt.
    pub fn delay_after(&mut self, failure: WorkerFailure, policy: &RespawnPolicy, rng: &mut Rng) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let least = if failure == WorkerFailure::CannotBoot { CANNOT_BOOT_WAIT } else { Duration::ZERO };
        self.full_delay(policy)
            .map_or(Duration::ZERO, |full| {
                // "Equal jitter": half is certain, half is chance, so the bound on the rate holds.
                let half = full / 2;
                half.saturating_add(rng.span_up_to(half))
            })
            .max(least)
    }

    /// The wait without jitter; `None` for the first failure.
    fn full_delay(&self, policy: &RespawnPolicy) -> Option<Duration> {
        Some(doubled(policy, self.failures.checked_sub(2)?))
    }

    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts a restart. If the policy does not accept it, returns the restarts in the window plus the workers in a
    /// row that were not ready in time.
    pub fn count_restart(
        &mut self,
        now: Monotonic,
        failure: WorkerFailure,
        policy: &RespawnPolicy,
    ) -> Option<u32> {
        let most = policy.max_restarts?;
        while self.restarts.front().is_some_and(|at| now.since(*at) > policy.window) {
            self.restarts.pop_front();
        }
        let held = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX).saturating_add(self.late);
        if held >= most {
            return Some(held);
        }
        match failure {
            WorkerFailure::TooLate => self.late = self.late.saturating_add(1),
            WorkerFailure::Died | WorkerFailure::CannotBoot => self.restarts.push_back(now),
        }
        None
    }
}

fn doubled(policy: &RespawnPolicy, times: u32) -> Duration {
    let factor = 1u32.checked_shl(times).unwrap_or(u32::MAX);
    policy.backoff.saturating_mul(factor).min(policy.backoff_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RespawnPolicy = RespawnPolicy {
        backoff: Duration::from_millis(250),
        backoff_max: Duration::from_secs(30),
        max_restarts: Some(2),
        window: Duration::from_secs(60),
    };

    #[test]
    fn the_first_failure_is_answered_at_once_and_the_next_wait_doubles_up_to_the_cap() {
        let (mut backoff, mut rng) = (Backoff::default(), Rng::new(1));
        assert_eq!(backoff.delay_after(WorkerFailure::Died, &POLICY, &mut rng), Duration::ZERO);
        let mut full = POLICY.backoff;
        for _ in 0..40 {
            let delay = backoff.delay_after(WorkerFailure::Died, &POLICY, &mut rng);
            assert!(delay >= full / 2 && delay <= full, "{delay:?} is not within {full:?}");
            full = (full * 2).min(POLICY.backoff_max);
        }
        // Those that fail together do not all come back together.
        let drawn = (0..40).map(|_| backoff.delay_after(WorkerFailure::Died, &POLICY, &mut rng));
        let (least, most) = drawn.fold((Duration::MAX, Duration::ZERO), |(least, most), delay| {
            (least.min(delay), most.max(delay))
        });
        assert!(least < full * 6 / 10 && most > full * 9 / 10, "{least:?} {most:?}");
    }

    #[test]
    fn a_healthy_life_starts_the_count_anew() {
        let (mut backoff, mut rng) = (Backoff::default(), Rng::new(1));
        for _ in 0..5 {
            backoff.delay_after(WorkerFailure::Died, &POLICY, &mut rng);
        }
        backoff.served(HEALTHY_AFTER - Duration::from_millis(1));
        assert_eq!(backoff.failures(), 5);
        backoff.served(HEALTHY_AFTER);
        assert_eq!(backoff.delay_after(WorkerFailure::Died, &POLICY, &mut rng), Duration::ZERO);
        assert_eq!(backoff.failures(), 1);
    }

    #[test]
    fn a_worker_that_says_it_cannot_boot_is_not_retried_hot() {
        let (mut backoff, mut rng) = (Backoff::default(), Rng::new(1));
        assert_eq!(backoff.delay_after(WorkerFailure::CannotBoot, &POLICY, &mut rng), CANNOT_BOOT_WAIT);
    }

    #[test]
    fn restarts_older_than_the_window_are_forgotten() {
        let mut backoff = Backoff::default();
        let at = |s| Monotonic(Duration::from_secs(s));
        assert_eq!(backoff.count_restart(at(0), WorkerFailure::Died, &POLICY), None);
        assert_eq!(backoff.count_restart(at(1), WorkerFailure::Died, &POLICY), None);
        assert_eq!(backoff.count_restart(at(2), WorkerFailure::Died, &POLICY), Some(2));
        assert_eq!(
            backoff.count_restart(at(61), WorkerFailure::Died, &POLICY),
            None,
            "the first has left the window"
        );
        assert_eq!(backoff.count_restart(at(61), WorkerFailure::Died, &POLICY), Some(2));
    }

    #[test]
    fn no_window_forgets_who_was_not_ready_in_time_but_one_that_is_ready_does() {
        let mut backoff = Backoff::default();
        let at = |s| Monotonic(Duration::from_secs(s));
        assert_eq!(backoff.count_restart(at(60), WorkerFailure::TooLate, &POLICY), None);
        assert_eq!(backoff.count_restart(at(500), WorkerFailure::TooLate, &POLICY), None);
        assert_eq!(backoff.count_restart(at(9_000), WorkerFailure::TooLate, &POLICY), Some(2));
        backoff.has_ready();
        assert_eq!(backoff.count_restart(at(9_060), WorkerFailure::TooLate, &POLICY), None);
    }

    #[test]
    fn mere_life_has_to_last_longer_with_each_failure_in_a_row() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.probation(), Duration::ZERO);
        for seconds in [10, 20, 40, 60, 60] {
            backoff.failed_after(HEALTHY_AFTER / 2);
            assert_eq!(backoff.probation(), Duration::from_secs(seconds));
        }
        backoff.served(HEALTHY_AFTER);
        backoff.failed_after(HEALTHY_AFTER);
        assert_eq!(backoff.probation(), Duration::ZERO);
    }
}
