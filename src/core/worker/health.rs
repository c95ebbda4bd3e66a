//! The signs of life that a ready worker has to give: pings, answers to probes, an accept queue that moves.

use crate::note::Verdict;
use crate::policy::{HangPolicy, ProbePolicy};
use crate::time::{Monotonic, earlier, reached};
use core::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Health {
    /// `None` if it does not have to send `WATCHDOG=1`.
    ping: Option<Pings>,
    /// `None` if it is not probed.
    probe: Option<Probes>,
    queue: QueueProgress,
}

#[derive(Clone, Copy, Debug)]
struct Pings {
    every: Duration,
    /// The latest time of the next ping; `None` once the worker is known to hang.
    by: Option<Monotonic>,
}

#[derive(Clone, Copy, Debug)]
struct Probes {
    /// When to probe next; `None` while a probe is under way.
    at: Option<Monotonic>,
    failures: u32,
}

/// The progress of its accept queue.
#[derive(Clone, Copy, Debug, Default)]
struct QueueProgress {
    /// Connections in the queue at the last measurement.
    waiting: u32,
    /// Since when connections wait and none was seen to be taken.
    still_since: Option<Monotonic>,
    /// The queue stands still, so the worker gets no new connections.
    suspected: bool,
}

/// The consequence of a measurement of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueTurn {
    AsBefore,
    /// The suspicion begins or ends.
    Turned(Verdict),
    /// The queue has stood still for the same time again, without a new connection.
    Hangs,
}

impl Health {
    /// `ping_every` is the interval that the worker itself announced (`WATCHDOG_USEC`).
    pub fn new(now: Monotonic, ping_every: Option<Duration>, policy: &HangPolicy) -> Self {
        let ping = |configured| {
            let every = ping_every.unwrap_or(configured);
            Pings { every, by: Some(now + every) }
        };
        Self {
            ping: policy.watchdog.map(ping),
            probe: policy.probe.map(|probe| Probes { at: Some(now + probe.interval), failures: 0 }),
            queue: QueueProgress::default(),
        }
    }

    pub fn is_suspected(&self) -> bool {
        self.queue.suspected
    }

    /// The interval of the pings; `None` if the worker does not have to ping.
    pub fn ping_every(&self) -> Option<Duration> {
        self.ping.map(|ping| ping.every)
    }

    /// Returns whether the worker has to ping.
    pub fn pinged(&mut self, now: Monotonic) -> bool {
        if let Some(ping) = &mut self.ping {
            ping.by = Some(now + ping.every);
        }
        self.ping.is_some()
    }

    /// Whether the ping is late.
    pub fn is_overdue(&self, now: Monotonic) -> bool {
        reached(self.ping_by(), now)
    }

    /// The worker announced another interval. Without effect if it does not have to ping.
    pub fn set_ping_every(&mut self, now: Monotonic, every: Duration) {
        if let Some(ping) = &mut self.ping {
            *ping = Pings { every, by: ping.by.map(|_| now + every) };
        }
    }

    /// The worker leaves, and does not have to ping any more.
    pub fn owes_no_ping(&mut self) {
        self.ping = None;
    }

    /// The worker is known to hang: missing pings tell nothing new.
    pub fn not_to_ping(&mut self) {
        if let Some(ping) = &mut self.ping {
            ping.by = None;
        }
    }

    /// Whether a probe is due; if so, it is under way from now on.
    pub fn probe(&mut self, now: Monotonic) -> bool {
        self.probe.as_mut().is_some_and(|probe| probe.at.take_if(|at| *at <= now).is_some())
    }

    /// A probe has ended. Returns whether there were too many consecutive failures.
    pub fn probed(&mut self, now: Monotonic, passed: Option<bool>, policy: &ProbePolicy) -> bool {
        let Some(probe) = &mut self.probe else { return false };
        probe.at = Some(now + policy.interval);
        match passed {
            Some(true) => probe.failures = 0,
            Some(false) => {
                probe.failures = probe.failures.saturating_add(1);
                return probe.failures >= policy.failures;
            }
            None => {}
        }
        false
    }

    /// The number of connections in its queue. `steered_to` is whether new ones come.
    pub fn queue_measured(
        &mut self,
        now: Monotonic,
        waiting: u32,
        steered_to: bool,
        patience: Duration,
    ) -> QueueTurn {
        self.queue.measured(now, waiting, steered_to, patience)
    }

    pub fn awaits_ping(&self) -> bool {
        self.ping_by().is_some()
    }

    fn ping_by(&self) -> Option<Monotonic> {
        self.ping.and_then(|ping| ping.by)
    }

    pub fn next_deadline(&self) -> Option<Monotonic> {
        earlier(self.ping_by(), self.probe.and_then(|probe| probe.at))
    }
}

impl QueueProgress {
    fn measured(&mut self, now: Monotonic, waiting: u32, steered_to: bool, patience: Duration) -> QueueTurn {
        let moved = waiting < self.waiting;
        self.waiting = waiting;
        if waiting == 0 {
            self.still_since = None;
            return match core::mem::take(&mut self.suspected) {
                true => QueueTurn::Turned(Verdict::Alive),
                false => QueueTurn::AsBefore,
            };
        }
        // If new connections come, a queue of the same length may have moved as well: the length alone proves
        // nothing.
        if moved || (self.suspected && steered_to) {
            self.still_since = Some(now);
        }
        let since = *self.still_since.get_or_insert(now);
        if now.since(since) < patience {
            return QueueTurn::AsBefore;
        }
        if self.suspected {
            return QueueTurn::Hangs;
        }
        (self.suspected, self.still_since) = (true, Some(now));
        QueueTurn::Turned(Verdict::Suspected)
    }
}
