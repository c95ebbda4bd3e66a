//! A worker that runs and is not ready yet: the signs that are waited for.

use crate::event::Pid;
use crate::note::ReadyBy;
use crate::policy::ReadyPolicy;
use crate::time::{Monotonic, Patience, earlier, reached};
use core::time::Duration;

/// A worker that said `READY=1` and was not seen accepting counts as ready after this long: gunicorn
/// says it before its own workers exist, but a program may also wait in ways that cannot be seen.
const CONFIRM_READY: Duration = Duration::from_secs(5);

/// Looks at a starting worker come this often at first, then every 20th of its age, and at least every `LOOK_RARELY`.
const LOOK_OFTEN: Duration = Duration::from_millis(5);
const LOOK_RARELY: Duration = Duration::from_millis(100);

/// The pause after a look, in multiples of what it took: looks take a twentieth of our time at most.
const LOOK_SHARE: u32 = 20;

/// The same for a look that was cut short, and the least pause.
const LOOK_ON_SHARE: u32 = 4;
const LOOK_ON: Duration = Duration::from_millis(1);

/// From the end of one probe to the next.
const PROBE_EVERY: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
pub struct Starting {
    pub pid: Pid,
    /// When to look at it next, if looking makes sense.
    look_at: Option<Monotonic>,
    /// The least pause between two looks, by what the last one cost.
    look_pause: Duration,
    /// Before this the cost of the last look forbids another.
    rested_at: Monotonic,
    /// When a look last showed all of it, and it did not wait for connections.
    unseen_at: Option<Monotonic>,
    /// Whether its word counts.
    believed: bool,
    /// When it said `READY=1`.
    said_at: Option<Monotonic>,
    /// When to probe it next; not while a probe is under way.
    probe_at: Option<Monotonic>,
    /// From here on its end is that of a worker that was up.
    lived_at: Option<Monotonic>,
    /// From here on it is ready by its age: later after failures.
    uptime_at: Option<Monotonic>,
    /// When it is given up.
    pub fail_at: Option<Monotonic>,
    /// How often it has to say `WATCHDOG=1`, if it said that itself.
    pub ping_every: Option<Duration>,
}

impl Starting {
    /// `probation` is how long it has to live at least, should its life be all that is to be seen.
    pub fn new(now: Monotonic, pid: Pid, policy: &ReadyPolicy, probation: Duration) -> Self {
        let most = match policy.start_timeout {
            Patience::For(limit) => limit / 2,
            Patience::Forever => Duration::MAX,
        };
        let life = policy.after.map(|after| after.max(probation.min(most)));
        Self {
            pid,
            look_at: policy.observe.then(|| now + LOOK_OFTEN),
            look_pause: Duration::ZERO,
            rested_at: now,
            unseen_at: None,
            believed: policy.believe,
            said_at: None,
            probe_at: policy.probe.then(|| now + LOOK_OFTEN),
            lived_at: policy.after.map(|after| now + after),
            uptime_at: life.map(|life| now + life),
            fail_at: policy.start_timeout.deadline(now),
            ping_every: None,
        }
    }

    /// It said `READY=1`.
    pub fn said_ready(&mut self, now: Monotonic) {
        if self.believed {
            self.said_at.get_or_insert(now);
        }
    }

    /// It asks for this much time from now.
    pub fn extend(&mut self, now: Monotonic, by: Duration) {
        self.fail_at = self.fail_at.map(|at| at.max(now + by));
    }

    /// Whether it has lived long enough to be ready, had the workers before it not failed.
    pub fn has_lived(&self, now: Monotonic) -> bool {
        reached(self.lived_at, now)
    }

    /// When it counts as ready without being seen to accept, and why.
    pub fn assumed_ready(&self) -> Option<(Monotonic, ReadyBy)> {
        // Believed at once where nothing better is to be had, else given time to be seen, but never
        // given up with that word.
        let notified = self.said_at.map(|said| match self.look_at {
            Some(_) => (said + CONFIRM_READY).min(self.fail_at.unwrap_or(said + CONFIRM_READY)),
            None => said,
        });
        let notified = notified.map(|at| (at, ReadyBy::Notified));
        let lived = self.uptime_at.map(|at| (at, ReadyBy::Uptime));
        notified.into_iter().chain(lived).min_by_key(|(at, _)| *at)
    }

    /// When to look at it next.
    pub fn look_at(&self) -> Option<Monotonic> {
        self.look_at
    }

    /// Whether to look at it now.
    pub fn look(&mut self, now: Monotonic, spawned: Monotonic) -> bool {
        let looks = reached(self.look_at, now);
        if looks {
            let pause = (now.since(spawned) / 20).clamp(LOOK_OFTEN, LOOK_RARELY);
            self.look_at = Some(now + pause.max(self.look_pause));
        }
        looks
    }

    /// A look did not show it accepting. `took` is its processor time; `more`: it was cut short, and goes on soon.
    pub fn not_seen(&mut self, now: Monotonic, took: Duration, more: bool) {
        let Some(look_at) = &mut self.look_at else { return };
        if more {
            self.rested_at = now + took.saturating_mul(LOOK_ON_SHARE).clamp(LOOK_ON, LOOK_RARELY);
            *look_at = self.rested_at;
        } else {
            self.look_pause = took.saturating_mul(LOOK_SHARE).min(LOOK_RARELY);
            self.rested_at = now + self.look_pause;
            self.unseen_at = Some(now);
            *look_at = (*look_at).max(self.rested_at);
        }
    }

    /// The next look comes as soon as may be.
    pub fn look_soon(&mut self, now: Monotonic) {
        let soon = (now + LOOK_OFTEN).max(self.rested_at);
        self.look_at = self.look_at.map(|at| at.min(soon));
    }

    /// Whether no look since then has shown that it takes no connections yet.
    pub fn may_serve(&self, since: Monotonic) -> bool {
        self.look_at.is_none() || self.unseen_at.is_none_or(|at| at <= since)
    }

    /// The kernel does not let us look. Returns whether that is news.
    pub fn cannot_be_seen(&mut self) -> bool {
        self.look_at.take().is_some()
    }

    /// Whether to probe it now.
    pub fn probe(&mut self, now: Monotonic) -> bool {
        self.probe_at.take_if(|at| *at <= now).is_some()
    }

    /// A probe ended.
    pub fn probed(&mut self, now: Monotonic) {
        self.probe_at = Some(now + PROBE_EVERY);
    }

    pub fn next_deadline(&self) -> Option<Monotonic> {
        let assumed = self.assumed_ready().map(|(at, _)| at);
        earlier(earlier(self.look_at, self.probe_at), earlier(assumed, self.fail_at))
    }
}
