//! The signs of life that a worker owes while it is ready: pings, answers to probes, a queue that moves.

use crate::note::Verdict;
use crate::policy::{HangPolicy, ProbePolicy};
use crate::time::{Monotonic, earlier, reached};
use core::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Health {
    /// Whether it has to say `WATCHDOG=1`.
    ping: Option<Pings>,
    /// Whether it has to answer probes.
    probe: Option<Probes>,
    queue: QueueProgress,
}

#[derive(Clone, Copy, Debug)]
struct Pings {
    every: Duration,
    /// By when it has to say it next; `None` once it is known to hang.
    by: Option<Monotonic>,
}

#[derive(Clone, Copy, Debug)]
struct Probes {
    /// When to probe it next; not while a probe is under way.
    at: Option<Monotonic>,
    failures: u32,
}

/// What was seen of its accept queue.
#[derive(Clone, Copy, Debug, Default)]
struct QueueProgress {
    /// Connections that waited for it when its queue was last measured.
    waiting: u32,
    /// Since when some wait and none was taken, as far as was seen.
    still_since: Option<Monotonic>,
    /// It gets no new connections, since its queue stands still.
    suspected: bool,
}

/// What a measurement of the queue came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueTurn {
    AsBefore,
    /// It is suspected from now on, or no more.
    Turned(Verdict),
    /// Without any new connection it has stood still for as long again.
    Hangs,
}

impl Health {
    /// `ping_every` is what the worker said of itself (`WATCHDOG_USEC`).
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

    /// How often it has to ping, if it has to.
    pub fn ping_every(&self) -> Option<Duration> {
        self.ping.map(|ping| ping.every)
    }

    /// Returns whether that was waited for.
    pub fn pinged(&mut self, now: Monotonic) -> bool {
        if let Some(ping) = &mut self.ping {
            ping.by = Some(now + ping.every);
        }
        self.ping.is_some()
    }

    /// Whether it should have pinged by now.
    pub fn is_overdue(&self, now: Monotonic) -> bool {
        reached(self.ping_by(), now)
    }

    /// From now on it has to say it this often, if it has to at all.
    pub fn set_ping_every(&mut self, now: Monotonic, every: Duration) {
        if let Some(ping) = &mut self.ping {
            *ping = Pings { every, by: ping.by.map(|_| now + every) };
        }
    }

    /// It leaves, and need not ping any more.
    pub fn owes_no_ping(&mut self) {
        self.ping = None;
    }

    /// It is known to hang: that it does not ping is no news any more.
    pub fn not_to_ping(&mut self) {
        if let Some(ping) = &mut self.ping {
            ping.by = None;
        }
    }

    /// Whether to probe it now.
    pub fn probe(&mut self, now: Monotonic) -> bool {
        self.probe.as_mut().is_some_and(|probe| probe.at.take_if(|at| *at <= now).is_some())
    }

    /// A probe ended. Returns whether it is one failure too many.
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

    /// This many connections wait for it. `steered_to` is whether new ones come.
    pub fn queue_measured(
        &mut self,
        now: Monotonic,
        waiting: u32,
        steered_to: bool,
        patience: Duration,
    ) -> QueueTurn {
        self.queue.measured(now, waiting, steered_to, patience)
    }

    /// Whether it has to ping by some time.
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
        // With new ones coming, a queue that is as long as before may have moved as well: that alone proves nothing.
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
