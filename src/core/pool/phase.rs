//! The phases of a pool, from its start to its end, and the deadlines of each. The table in `pool/mod.rs` says which event
//! leads from one to the next.

use crate::in_hand::InHand;
use crate::policy::DrainPolicy;
use crate::queue::LOOK_EVERY;
use crate::snapshot;
use crate::stop::FinalStop;
use crate::time::{Monotonic, earlier, reached};
use core::time::Duration;

/// How long a pool that closes waits for a starting worker to be seen waiting for connections, or to take those that
/// wait if no other worker serves.
const START_AWAITED_FOR: Duration = Duration::from_millis(100);

/// The longest time from the stop signal to the refusal of connections.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);

/// From the stop signal to the first look whether a worker still waits for connections; the pause doubles with each
/// look.
const LOOK_AFTER: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    Unstarted,
    Running {
        /// Whether the supervisor's program is to be replaced.
        upgrade: bool,
    },
    /// Not ready, still serving, for the drain delay.
    Draining {
        until: Monotonic,
        shutdown: Shutdown,
    },
    /// New connections are held off; those that have come in are served.
    Closing(Closing, Shutdown),
    /// Workers are being stopped, then all other descendants.
    Ending(Ending, Shutdown),
    /// `Exit` has been returned.
    Gone(Shutdown),
}

/// Why the pool ends, and how often it was asked to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shutdown {
    pub(super) cause: Cause,
    /// The number of stop signals received.
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
    /// Whether a lost worker is replaced: new connections come in until they are held off.
    pub(super) fn serves(&self) -> bool {
        match self {
            Self::Running { .. } | Self::Draining { .. } => true,
            Self::Unstarted | Self::Closing(..) | Self::Ending(..) | Self::Gone(_) => false,
        }
    }

    /// Whether the pool ends.
    pub(super) fn stops(&self) -> bool {
        match self {
            Self::Unstarted | Self::Running { .. } => false,
            Self::Draining { .. } | Self::Closing(..) | Self::Ending(..) | Self::Gone(_) => true,
        }
    }

    /// Whether a deadline runs at which all workers are killed.
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

    /// Counts a stop signal if the pool ends already.
    pub(super) fn count_signal(&mut self) {
        match self {
            Self::Unstarted | Self::Running { .. } => {}
            Self::Draining { shutdown, .. }
            | Self::Closing(_, shutdown)
            | Self::Ending(_, shutdown)
            | Self::Gone(shutdown) => shutdown.signals = shutdown.signals.saturating_add(1),
        }
    }

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

/// The last connections are served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    since: Monotonic,
    /// Whether a worker that is not known to be ready may still serve.
    awaits_starting: bool,
    /// All queues together, and the connections that were taken from them.
    pub(super) in_hand: InHand,
    look_at: Monotonic,
    /// When the workers are stopped although a client waits or is busy: half of the graceful timeout is left then.
    /// `None` is never.
    give_up_at: Option<Monotonic>,
    /// When the graceful timeout ends, which begins with this phase; `None` is never.
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

    /// Whether a starting worker is waited for, whether or not others serve.
    pub(super) fn is_young(&self, now: Monotonic) -> bool {
        now < self.since + START_AWAITED_FOR
    }

    pub(super) fn set_awaits_starting(&mut self, awaits: bool) {
        self.awaits_starting = awaits;
    }

    /// The number of connections that wait for all workers together.
    pub(super) fn queues_seen(&mut self, now: Monotonic, waiting: u32) {
        self.in_hand.queue.seen(now, waiting);
        self.look_at = now + self.pause(now);
    }

    /// Whether a look at the queues is due; if so, the next one is scheduled.
    pub(super) fn looks(&mut self, now: Monotonic) -> bool {
        let looks = self.look_at <= now;
        if looks {
            self.look_at = now + self.pause(now);
        }
        looks
    }

    pub(super) fn kill_at(&self) -> Option<Monotonic> {
        self.kill_at
    }

    /// Whether all connections that came in are served, or their time is over.
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
    /// When orphans are asked to stop although workers are left.
    orphans_at: Option<Monotonic>,
    /// Whether all descendants were asked to stop after the last worker had ended.
    orphans_asked: bool,
    /// `None` if connections are refused already, or were never held off.
    refusing: Option<Refusing>,
}

impl Ending {
    /// The stop signal is sent now. `refuses` is whether connections are held off and have to be refused later.
    pub(super) fn new(now: Monotonic, kill_at: Option<Monotonic>, refuses: bool) -> Self {
        Self {
            final_stop: FinalStop::Stopping { kill_at },
            orphans_at: halfway(now, kill_at),
            orphans_asked: false,
            refusing: refuses.then(|| Refusing::new(now, kill_at)),
        }
    }

    /// Brings the kill forward, if it is still to come. Returns whether it is still to come.
    pub(super) fn hasten(&mut self, now: Monotonic, kill_at: Monotonic) -> bool {
        match &mut self.final_stop {
            FinalStop::Stopping { kill_at: set } => {
                *set = earlier(*set, Some(kill_at));
                // No process is asked twice, so another round does no harm.
                self.orphans_at = halfway(now, *set);
                true
            }
            FinalStop::Killing { .. } => false,
        }
    }

    /// Whether to ask orphans to stop now although workers are left.
    pub(super) fn orphans_are_due(&mut self, now: Monotonic) -> bool {
        self.orphans_at.take_if(|at| *at <= now).is_some()
    }

    /// No worker is left. Returns, once, whether to ask orphans to stop now.
    pub(super) fn only_orphans_left(&mut self) -> bool {
        match self.final_stop {
            FinalStop::Stopping { .. } if !self.orphans_asked => {
                (self.orphans_at, self.orphans_asked) = (None, true);
                true
            }
            FinalStop::Stopping { .. } | FinalStop::Killing { .. } => false,
        }
    }

    /// `None` if connections are refused already, or were never held off.
    pub(super) fn refusing(&mut self) -> Option<&mut Refusing> {
        self.refusing.as_mut()
    }

    /// Returns whether connections are still to be refused: once.
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
    fn new(now: Monotonic, kill_at: Option<Monotonic>) -> Self {
        let latest = now + REFUSED_WITHIN;
        Self {
            by: earlier(kill_at, Some(latest)).unwrap_or(latest),
            look_at: now + LOOK_AFTER,
            pause: LOOK_AFTER,
        }
    }

    /// Whether connections are refused although a worker may wait for them.
    pub(super) fn is_over(&self, now: Monotonic) -> bool {
        self.by <= now
    }

    /// Whether a look at the listeners of the workers is due.
    pub(super) fn looks(&mut self, now: Monotonic) -> bool {
        let looks = self.look_at <= now;
        if looks {
            self.pause = self.pause.saturating_mul(2);
            self.look_at = now + self.pause;
        }
        looks
    }
}

/// The middle of the time that is left: orphans get the second half, even if a worker takes all of it.
fn halfway(now: Monotonic, kill_at: Option<Monotonic>) -> Option<Monotonic> {
    kill_at.map(|at| now + at.since(now) / 2)
}
