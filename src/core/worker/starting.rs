//! A worker that runs and is not ready yet: the signs of readiness that are awaited, and their deadlines.

use crate::event::Pid;
use crate::note::ReadyBy;
use crate::policy::ReadyPolicy;
use crate::time::{Monotonic, Patience, earlier, reached};
use core::time::Duration;

/// The time after `READY=1` at which a worker counts as ready that was not seen accepting: gunicorn sends it before
/// its own workers exist, but a program may also wait in a way that cannot be seen.
const CONFIRM_READY: Duration = Duration::from_secs(5);

/// The interval of the looks: at first the shortest, then a twentieth of the worker's age, at most the longest.
const LOOK_OFTEN: Duration = Duration::from_millis(5);
const LOOK_RARELY: Duration = Duration::from_millis(100);

/// The pause after a look, in multiples of its processor time: looks take a twentieth of the time at most.
const LOOK_SHARE: u32 = 20;

/// The same after a look that was cut short, and the shortest such pause.
const LOOK_ON_SHARE: u32 = 4;
const LOOK_ON: Duration = Duration::from_millis(1);

/// From the end of one probe to the next.
const PROBE_EVERY: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
pub struct Starting {
    pub pid: Pid,
    /// When to look next; `None` if a look can show nothing.
    look_at: Option<Monotonic>,
    /// The shortest pause between two looks, by the cost of the last one.
    look_pause: Duration,
    /// No look before this time, because of the cost of the last one.
    rested_at: Monotonic,
    /// The last complete look that showed that it did not wait for connections.
    unseen_at: Option<Monotonic>,
    /// Whether `READY=1` counts.
    believed: bool,
    /// When it sent `READY=1`.
    said_at: Option<Monotonic>,
    /// When to probe next; `None` while a probe is under way.
    probe_at: Option<Monotonic>,
    /// From this time on its end counts as that of a worker that was up.
    lived_at: Option<Monotonic>,
    /// From this time on it is ready by its uptime: later after failures.
    uptime_at: Option<Monotonic>,
    /// When it is given up; `None` is never.
    pub fail_at: Option<Monotonic>,
    /// The interval that it announced by `WATCHDOG_USEC`.
    pub ping_every: Option<Duration>,
}

impl Starting {
    /// `probation` is the shortest uptime that counts as ready, if uptime counts.
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

    pub fn said_ready(&mut self, now: Monotonic) {
        if self.believed {
            self.said_at.get_or_insert(now);
        }
    }

    /// It asks for more time to start, counted from now.
    pub fn extend(&mut self, now: Monotonic, by: Duration) {
        self.fail_at = self.fail_at.map(|at| at.max(now + by));
    }

    /// Whether its uptime would make it ready if the workers before it had not failed.
    pub fn has_lived(&self, now: Monotonic) -> bool {
        reached(self.lived_at, now)
    }

    /// When it counts as ready without being seen accepting, and by which sign.
    pub fn assumed_ready(&self) -> Option<(Monotonic, ReadyBy)> {
        // `READY=1` counts at once if no look can show more. Otherwise there is time for a look, but a worker that
        // sent it is never given up.
        let notified = self.said_at.map(|said| match self.look_at {
            Some(_) => (said + CONFIRM_READY).min(self.fail_at.unwrap_or(said + CONFIRM_READY)),
            None => said,
        });
        let notified = notified.map(|at| (at, ReadyBy::Notified));
        let lived = self.uptime_at.map(|at| (at, ReadyBy::Uptime));
        notified.into_iter().chain(lived).min_by_key(|(at, _)| *at)
    }

    pub fn look_at(&self) -> Option<Monotonic> {
        self.look_at
    }

    /// Whether a look is due; if so, the next one is scheduled.
    pub fn look(&mut self, now: Monotonic, spawned: Monotonic) -> bool {
        let looks = reached(self.look_at, now);
        if looks {
            let pause = (now.since(spawned) / 20).clamp(LOOK_OFTEN, LOOK_RARELY);
            self.look_at = Some(now + pause.max(self.look_pause));
        }
        looks
    }

    /// A look did not show it accepting. `took` is the look's processor time; `more` is whether it was cut short and
    /// goes on soon.
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

    /// Brings the next look forward.
    pub fn look_soon(&mut self, now: Monotonic) {
        let soon = (now + LOOK_OFTEN).max(self.rested_at);
        self.look_at = self.look_at.map(|at| at.min(soon));
    }

    /// Whether no look since `since` has shown that it does not accept yet.
    pub fn may_serve(&self, since: Monotonic) -> bool {
        self.look_at.is_none() || self.unseen_at.is_none_or(|at| at <= since)
    }

    /// The kernel does not allow looks. Returns whether that is new.
    pub fn cannot_be_seen(&mut self) -> bool {
        self.look_at.take().is_some()
    }

    /// Whether a probe is due; if so, it is under way from now on.
    pub fn probe(&mut self, now: Monotonic) -> bool {
        self.probe_at.take_if(|at| *at <= now).is_some()
    }

    pub fn probed(&mut self, now: Monotonic) {
        self.probe_at = Some(now + PROBE_EVERY);
    }

    pub fn next_deadline(&self) -> Option<Monotonic> {
        let assumed = self.assumed_ready().map(|(at, _)| at);
        earlier(earlier(self.look_at, self.probe_at), earlier(assumed, self.fail_at))
    }
}
