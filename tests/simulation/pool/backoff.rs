//! How soon, and how late, a slot may be filled again.

use prefork_core::Monotonic;
use prefork_core::policy::RespawnPolicy;
use std::collections::VecDeque;
use std::time::Duration;

const HEALTHY: Duration = Duration::from_secs(10);
const CANNOT_BOOT_WAIT: Duration = Duration::from_secs(1);

/// The earliest moment of a spawn, and the moment by which it is owed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    pub earliest: Monotonic,
    pub latest: Monotonic,
}

impl Window {
    pub fn at(now: Monotonic) -> Self {
        Self { earliest: now, latest: now }
    }
}

/// One slot's failures.
#[derive(Default)]
pub struct Backoff {
    failures: u32,
    restarts: VecDeque<Monotonic>,
    /// Restarts after workers that were not ready in time; no window forgets them.
    pub late: usize,
    /// Failures in a row of workers that had not served for long.
    pub short: u32,
}

impl Backoff {
    /// A worker that had been ready for so long has ended or makes way.
    pub fn served(&mut self, up: Duration) {
        if up >= HEALTHY {
            (self.failures, self.short) = (0, 0);
        }
    }

    /// When the next attempt may come after one failure more: at least half of the full wait is certain.
    pub fn failed(&mut self, now: Monotonic, cannot_boot: bool, policy: &RespawnPolicy) -> Window {
        self.failures += 1;
        let full = match self.failures.checked_sub(2) {
            None => Duration::ZERO,
            Some(doublings) => {
                policy.backoff.saturating_mul(2u32.saturating_pow(doublings)).min(policy.backoff_max)
            }
        };
        let least = if cannot_boot { CANNOT_BOOT_WAIT } else { Duration::ZERO };
        Window { earliest: now + (full / 2).max(least), latest: now + full.max(least) }
    }

    /// A worker that had been ready for so long has failed.
    pub fn failed_after(&mut self, up: Duration) {
        self.short += u32::from(up < HEALTHY);
    }

    /// The least wait after one failure more, which doubles after the sixth.
    pub fn failed_quickly(&mut self, policy: &RespawnPolicy) -> Duration {
        self.failures += 1;
        let doublings = self.failures.max(6) - 6;
        let full = policy.backoff.saturating_mul(2u32.saturating_pow(doublings)).min(policy.backoff_max);
        if self.failures == 1 { Duration::ZERO } else { full / 2 }
    }

    /// Counts a restart; whether the window held as many as are accepted before.
    pub fn restarts_too_often(&mut self, now: Monotonic, late: bool, policy: &RespawnPolicy) -> bool {
        let Some(most) = policy.max_restarts else { return false };
        self.restarts.retain(|at| now.since(*at) <= policy.window);
        let too_often = self.restarts.len() + self.late >= most as usize;
        if !too_often && late {
            self.late += 1;
        } else if !too_often {
            self.restarts.push_back(now);
        }
        too_often
    }
}
