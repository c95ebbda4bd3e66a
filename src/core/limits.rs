//! When a worker is due for a planned replacement, by limits that are drawn once in its life.

use super::exit::Reason;
use super::policy::{Jittered, RecyclePolicy};
use super::rng::Rng;
use super::time::{Monotonic, reached};
use core::time::Duration;

/// The limits of one worker, drawn at its spawn. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub requests: Option<u64>,
    /// Counted from its spawn.
    pub age: Option<Duration>,
    /// Bytes.
    pub memory: Option<u64>,
}

impl Limits {
    /// Draws `base + uniform[0, jitter]` for each limit that is set.
    pub fn draw(policy: &RecyclePolicy, rng: &mut Rng) -> Self {
        let number = |limit: Option<Jittered<u64>>, rng: &mut Rng| {
            limit.map(|limit| limit.base.saturating_add(rng.up_to(limit.jitter)))
        };
        Self {
            requests: number(policy.max_requests, rng),
            memory: number(policy.max_memory, rng),
            age: policy.max_age.map(|l| l.base.saturating_add(rng.span_up_to(l.jitter))),
        }
    }

    /// The names and values as they are shown; an age in milliseconds.
    #[must_use]
    pub fn fields(&self) -> [(&'static str, Option<u64>); 3] {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        [("max_requests", self.requests), ("max_age_ms", self.age.map(millis)), ("max_memory", self.memory)]
    }

    /// When a worker that was spawned at `spawned` reaches its age; `None` is never.
    #[must_use]
    pub fn age_deadline(&self, spawned: Monotonic) -> Option<Monotonic> {
        self.age.map(|age| spawned + age)
    }

    /// Why a worker is due now; `None` if it is not. `heavy` is whether it has been beyond its limit of memory for
    /// long enough.
    #[must_use]
    pub fn due(&self, now: Monotonic, spawned: Monotonic, requests: u64, heavy: bool) -> Option<Reason> {
        if self.requests.is_some_and(|limit| requests >= limit) {
            Some(Reason::MaxRequests)
        } else if heavy && self.memory.is_some() {
            Some(Reason::MaxMemory)
        } else if reached(self.age_deadline(spawned), now) {
            Some(Reason::MaxAge)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn limits_lie_between_the_base_and_the_base_plus_jitter_and_reach_both() {
        let policy = RecyclePolicy {
            max_requests: Some(Jittered { base: 100, jitter: 10 }),
            max_age: Some(Jittered { base: Duration::from_secs(60), jitter: Duration::from_secs(6) }),
            ..RecyclePolicy::default()
        };
        let mut rng = Rng::new(3);
        let drawn: Vec<_> = (0..2_000).map(|_| Limits::draw(&policy, &mut rng)).collect();
        let requests: Vec<u64> = drawn.iter().filter_map(|l| l.requests).collect();
        assert_eq!(requests.iter().min(), Some(&100));
        assert_eq!(requests.iter().max(), Some(&110));
        let ages: Vec<Duration> = drawn.iter().filter_map(|l| l.age).collect();
        assert!(ages.iter().all(|a| (60.0..=66.0).contains(&a.as_secs_f64())));
        let mean = ages.iter().map(Duration::as_secs_f64).sum::<f64>() / 2_000.0;
        // Uniform over 6 s: the standard deviation of this mean is 39 ms.
        assert!((62.8..63.2).contains(&mean), "{mean}");
    }

    #[test]
    fn no_limit_is_never_due() {
        let far = Monotonic(Duration::from_secs(u64::MAX / 2));
        assert_eq!(Limits::default().due(far, Monotonic::default(), u64::MAX, true), None);
    }
}
