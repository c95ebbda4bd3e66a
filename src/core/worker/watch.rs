//! Whether a worker that is ready still lives: pings, probes, and an accept queue that moves.

use crate::core::action::Action;
use crate::core::event::{Lane, Pid};
use crate::core::note::Verdict;
use crate::core::policy::{HangPolicy, ProbePolicy};
use crate::core::time::{Monotonic, earlier, reached};
use std::time::Duration;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// How often it has to say `WATCHDOG=1`.
    ping_every: Option<Duration>,
    /// By when it has to say it next.
    ping_by: Option<Monotonic>,
    /// When to probe it next; not while a probe is under way.
    probe_at: Option<Monotonic>,
    /// Failures in a row.
    probe_failures: u32,
    /// Connections that waited for it when its queue was last measured.
    waiting: u32,
    /// Since when some wait and none was taken, as far as was seen.
    still_since: Option<Monotonic>,
    /// It gets no new connections, since its queue stands still.
    suspected: bool,
}

/// What a measurement of the queue came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    AsBefore,
    /// It is suspected from now on, or no more.
    Turned(Verdict),
    /// Without any new connection it has stood still for as long again.
    Hangs,
}

impl Watch {
    /// `ping_every` is what the worker said of itself (`WATCHDOG_USEC`).
    pub fn new(now: Monotonic, ping_every: Option<Duration>, policy: &HangPolicy) -> Self {
        let ping_every = policy.watchdog.map(|configured| ping_every.unwrap_or(configured));
        let probe_every = policy.probe.map(|probe| probe.interval);
        Self {
            ping_every,
            ping_by: ping_every.map(|every| now + every),
            probe_at: probe_every.map(|every| now + every),
            probe_failures: 0,
            waiting: 0,
            still_since: None,
            suspected: false,
        }
    }

    pub fn is_suspected(&self) -> bool {
        self.suspected
    }

    /// How often it has to ping, if it has to.
    pub fn pings(&self) -> Option<Duration> {
        self.ping_every
    }

    /// Returns whether that was waited for.
    pub fn pinged(&mut self, now: Monotonic) -> bool {
        self.ping_by = self.ping_every.map(|every| now + every);
        self.ping_by.is_some()
    }

    /// Whether it should have pinged by now.
    pub fn is_overdue(&self, now: Monotonic) -> bool {
        reached(self.ping_by, now)
    }

    /// From now on it has to say it this often, if it has to at all.
    pub fn ping_every(&mut self, now: Monotonic, every: Duration) {
        self.ping_every = self.ping_every.map(|_| every);
        self.ping_by = self.ping_by.and(self.ping_every).map(|every| now + every);
    }

    /// It leaves, and need not ping any more.
    pub fn owes_no_ping(&mut self) {
        (self.ping_every, self.ping_by) = (None, None);
    }

    /// It is known to hang: that it does not ping is no news any more.
    pub fn not_to_ping(&mut self) {
        self.ping_by = None;
    }

    /// Probes it, if it is time.
    pub fn probe(&mut self, now: Monotonic, pid: Pid, lane: Lane, out: &mut Vec<Action>) {
        if reached(self.probe_at, now) {
            self.probe_at = None;
            out.push(Action::Probe { pid, lane });
        }
    }

    /// A probe ended. Returns whether it is one failure too many.
    pub fn probed(&mut self, now: Monotonic, passed: Option<bool>, policy: &ProbePolicy) -> bool {
        self.probe_at = Some(now + policy.interval);
        match passed {
            Some(true) => self.probe_failures = 0,
            Some(false) => {
                self.probe_failures = self.probe_failures.saturating_add(1);
                return self.probe_failures >= policy.failures;
            }
            None => {}
        }
        false
    }

    /// So many connections wait for it. `steered_to` is whether new ones come.
    pub fn queue_measured(
        &mut self,
        now: Monotonic,
        waiting: u32,
        steered_to: bool,
        patience: Duration,
    ) -> Queue {
        let moved = waiting < self.waiting;
        self.waiting = waiting;
        if waiting == 0 {
            self.still_since = None;
            return match std::mem::take(&mut self.suspected) {
                true => Queue::Turned(Verdict::Alive),
                false => Queue::AsBefore,
            };
        }
        // With new ones coming, a queue that is as long as before may have moved as well: that alone proves nothing.
        if moved || (self.suspected && steered_to) {
            self.still_since = Some(now);
        }
        let since = *self.still_since.get_or_insert(now);
        if now.since(since) < patience {
            return Queue::AsBefore;
        }
        if self.suspected {
            return Queue::Hangs;
        }
        (self.suspected, self.still_since) = (true, Some(now));
        Queue::Turned(Verdict::Suspected)
    }

    /// Whether it has to ping by some time.
    pub fn awaits_ping(&self) -> bool {
        self.ping_by.is_some()
    }

    pub fn next_deadline(&self) -> Option<Monotonic> {
        earlier(self.ping_by, self.probe_at)
    }
}
