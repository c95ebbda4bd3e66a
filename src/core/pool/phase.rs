//! How far a pool has come: it starts, runs, and ends in steps.

use crate::in_hand::InHand;
use crate::policy::DrainPolicy;
use crate::queue::LOOK_EVERY;
use crate::snapshot;
use crate::stop::FinalStop;
use crate::time::{Monotonic, earlier, reached};
use core::time::Duration;

/// How long a worker that starts is waited for to be seen waiting for connections, or to take those that wait where no
/// other serves.
const START_AWAITED_FOR: Duration = Duration::from_millis(100);

/// From the stop signal to the refusal, at most.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);

/// From the stop signal to the first look whether a worker still waits; the pause doubles with each.
const LOOK_AFTER: Duration = Duration::from_millis(20);

/// See the table of the pool.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    Unstarted,
    Running {
        /// The supervisor's own program is to be exchanged.
        upgrade: bool,
    },
    /// Not ready, still serving.
    Draining {
        until: Monotonic,
        shutdown: Shutdown,
    },
    /// No new connections come in; those that have are being served.
    Closing(Closing, Shutdown),
    /// Workers are being stopped, then whatever else descends from us.
    Ending(Ending, Shutdown),
    /// `Exit` has been said.
    Gone(Shutdown),
}

/// Why the pool ends, and how often it has been told to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shutdown {
    pub(super) cause: Cause,
    /// Stop signals so far.
    pub(super) signals: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    Ordered,
    GaveUp {
        slot: u32,
        restarts: u32,
    },
    /// The deadline of the whole run has passed.
    Deadline,
}

impl Phase {
    /// Whether a worker that is lost is replaced: until connections are held off, they come in.
    pub(super) fn serves(&self) -> bool {
        match self {
            Self::Running { .. } | Self::Draining { .. } => true,
            Self::Unstarted | Self::Closing(..) | Self::Ending(..) | Self::Gone(_) => false,
        }
    }

    /// Whether all processes are being stopped.
    pub(super) fn stops(&self) -> bool {
        match self {
            Self::Unstarted | Self::Running { .. } => false,
            Self::Draining { .. } | Self::Closing(..) | Self::Ending(..) | Self::Gone(_) => true,
        }
    }

    /// Whether a deadline runs by which all workers are killed.
    pub(super) fn hurts(&self) -> bool {
        match self {
            Self::Unstarted | Self::Running { .. } | Self::Draining { .. } | Self::Gone(_) => false,
            Self::Closing(closing, _) => closing.kill_at.is_some(),
            Self::Ending(ending, _) => ending.final_stop.next_deadline().is_some(),
        }
    }

    pub(super) fn shutdown(&self) -> Option<Shutdown> {
        match self {
            Self::Unstarted | Self::Running { .. } => None,
            Self::Draining { shutdown, .. }
            | Self::Closing(_, shutdown)
            | Self::Ending(_, shutdown)
            | Self::Gone(shutdown) => Some(*shutdown),
        }
    }

    /// Counts a stop signal, where the pool ends already.
    pub(super) fn count_signal(&mut self) {
        match self {
            Self::Unstarted | Self::Running { .. } => {}
            Self::Draining { shutdown, .. }
            | Self::Closing(_, shutdown)
            | Self::Ending(_, shutdown)
            | Self::Gone(shutdown) => shutdown.signals = shutdown.signals.saturating_add(1),
        }
    }

    /// As the outside sees it.
    pub(super) fn seen(&self) -> snapshot::Phase {
        let cause = self.shutdown().map(|shutdown| shutdown.cause);
        match (self, cause) {
            (
                Self::Unstarted
                | Self::Running { .. }
                | Self::Draining { .. }
                | Self::Closing(..)
                | Self::Ending(..)
                | Self::Gone(_),
                Some(Cause::GaveUp { .. }),
            ) => snapshot::Phase::GivenUp,
            (Self::Unstarted | Self::Running { .. }, Some(Cause::Ordered | Cause::Deadline) | None) => {
                snapshot::Phase::Running
            }
            (Self::Draining { .. }, Some(Cause::Ordered | Cause::Deadline) | None) => {
                snapshot::Phase::Draining
            }
            (
                Self::Closing(..) | Self::Ending(..) | Self::Gone(_),
                Some(Cause::Ordered | Cause::Deadline) | None,
            ) => snapshot::Phase::Stopping,
        }
    }
}

impl Shutdown {
    pub(super) const fn ordered() -> Self {
        Self { cause: Cause::Ordered, signals: 0 }
    }
}

/// The last connections are being served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    since: Monotonic,
    /// Whether some worker may serve that is not known to.
    awaits_starting: bool,
    /// All queues together, and what was taken from them.
    pub(super) in_hand: InHand,
    look_at: Monotonic,
    /// When the workers are stopped though a client waits, or is busy: half of their time is left then.
    give_up_at: Option<Monotonic>,
    /// When the graceful timeout ends, which begins with this phase.
    kill_at: Option<Monotonic>,
}

impl Closing {
    pub(super) fn new(now: Monotonic, kill_at: Option<Monotonic>, policy: &DrainPolicy) -> Self {
        let give_up_at = halfway(now, kill_at);
        Self {
            since: now,
            awaits_starting: true,
            in_hand: InHand::until(give_up_at, policy),
            look_at: now,
            give_up_at,
            kill_at,
        }
    }

    pub(super) fn since(&self) -> Monotonic {
        self.since
    }

    /// Whether a worker that starts is still waited for, whatever serves.
    pub(super) fn is_young(&self, now: Monotonic) -> bool {
        now < self.since + START_AWAITED_FOR
    }

    /// Whether some worker may serve that is not known to.
    pub(super) fn set_awaits_starting(&mut self, awaits: bool) {
        self.awaits_starting = awaits;
    }

    /// This many connections wait for all workers together.
    pub(super) fn queues_seen(&mut self, now: Monotonic, waiting: u32) {
        self.in_hand.queue.seen(now, waiting);
        self.look_at = now + self.pause(now);
    }

    /// Whether to look at the queues now.
    pub(super) fn looks(&mut self, now: Monotonic) -> bool {
        let looks = self.look_at <= now;
        if looks {
            self.look_at = now + self.pause(now);
        }
        looks
    }

    /// When what is left is killed.
    pub(super) fn kill_at(&self) -> Option<Monotonic> {
        self.kill_at
    }

    /// Whether all that came in has been served, or its time is over.
    pub(super) fn is_done(&self, now: Monotonic) -> bool {
        let served = !self.awaits_starting && self.in_hand.is_done(now);
        served || reached(self.give_up_at, now)
    }

    fn pause(&self, now: Monotonic) -> Duration {
        if self.awaits_starting { LOOK_EVERY } else { self.in_hand.queue.pause(now) }
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        let in_hand = self.in_hand.next_deadline().filter(|_| !self.awaits_starting);
        earlier(Some(self.look_at), earlier(in_hand, self.give_up_at))
    }
}

/// The workers are being stopped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) final_stop: FinalStop,
    /// When orphans are asked to stop although there are workers left.
    orphans_at: Option<Monotonic>,
    /// Whether all descendants were asked to stop, since no worker was left.
    orphans_asked: bool,
    /// Until connections are refused, if there are any.
    refusing: Option<Refusing>,
}

impl Ending {
    /// The stop signal is sent now. `refuses` is whether connections are held off and to be refused later.
    pub(super) fn new(now: Monotonic, kill_at: Option<Monotonic>, refuses: bool) -> Self {
        Self {
            final_stop: FinalStop::Stopping { kill_at },
            orphans_at: halfway(now, kill_at),
            orphans_asked: false,
            refusing: refuses.then(|| Refusing::new(now, kill_at)),
        }
    }

    /// Brings the kill forward, if it is still to come. Returns whether it is.
    pub(super) fn hasten(&mut self, now: Monotonic, kill_at: Monotonic) -> bool {
        match &mut self.final_stop {
            FinalStop::Stopping { kill_at: set } => {
                *set = earlier(*set, Some(kill_at));
                // No process is asked twice, so once more does no harm.
                self.orphans_at = halfway(now, *set);
                true
            }
            FinalStop::Killing { .. } => false,
        }
    }

    /// Whether to ask orphans to stop now, though there are workers left.
    pub(super) fn orphans_are_due(&mut self, now: Monotonic) -> bool {
        self.orphans_at.take_if(|at| *at <= now).is_some()
    }

    /// No worker is left. Returns whether to ask orphans to stop now: once.
    pub(super) fn only_orphans_left(&mut self) -> bool {
        match self.final_stop {
            FinalStop::Stopping { .. } if !self.orphans_asked => {
                (self.orphans_at, self.orphans_asked) = (None, true);
                true
            }
            FinalStop::Stopping { .. } | FinalStop::Killing { .. } => false,
        }
    }

    /// Connections are held off and not refused yet, if they are.
    pub(super) fn refusing(&mut self) -> Option<&mut Refusing> {
        self.refusing.as_mut()
    }

    /// Returns whether that has not been done.
    pub(super) fn refuses(&mut self) -> bool {
        self.refusing.take().is_some()
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        let refuses_at = self.refusing.map(|refusing| refusing.by.min(refusing.look_at));
        earlier(earlier(self.final_stop.next_deadline(), self.orphans_at), refuses_at)
    }
}

/// New connections are held off and not refused yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusing {
    by: Monotonic,
    look_at: Monotonic,
    pause: Duration,
}

impl Refusing {
    /// The stop signal is sent now.
    fn new(now: Monotonic, kill_at: Option<Monotonic>) -> Self {
        let latest = now + REFUSED_WITHIN;
        Self {
            by: earlier(kill_at, Some(latest)).unwrap_or(latest),
            look_at: now + LOOK_AFTER,
            pause: LOOK_AFTER,
        }
    }

    /// Whether connections are refused though a worker may wait for them.
    pub(super) fn is_over(&self, now: Monotonic) -> bool {
        self.by <= now
    }

    /// Whether to look now whether any worker waits for connections.
    pub(super) fn looks(&mut self, now: Monotonic) -> bool {
        let looks = self.look_at <= now;
        if looks {
            self.pause = self.pause.saturating_mul(2);
            self.look_at = now + self.pause;
        }
        looks
    }
}

/// When half of the time that is left has passed: orphans leave too, though some worker may take all of it.
fn halfway(now: Monotonic, kill_at: Option<Monotonic>) -> Option<Monotonic> {
    kill_at.map(|at| now + at.since(now) / 2)
}
