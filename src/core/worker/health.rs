//! What a worker that is ready shows of itself: that it lives, hangs, leaves, or takes too much.

use super::{Worker, WorkerState};
use crate::core::action::{Action, WorkerAction};
use crate::core::event::Measured;
use crate::core::exit::Reason;
use crate::core::note::{Note, Sign, Verdict, WorkerNote};
use crate::core::policy::{HangPolicy, PoolPolicy, ProbePolicy};
use crate::core::time::{Monotonic, earlier, reached};
use alloc::vec::Vec;
use core::time::Duration;

/// One that takes more memory than it ever may is not given more than this to stop.
const HARD_LIMIT_GRACE: Duration = Duration::from_secs(5);

/// Where other things are measured more often, memory counts this often, and a little more for a loop that is early.
const WEIGH_EVERY: Duration = Duration::from_millis(900);

impl Worker {
    /// It has shown that it lives, though it may have been taken for hung; so it is not, if nothing has been done yet.
    fn is_alive(&mut self, out: &mut Vec<Action>) {
        let Some(since) = self.hung_since() else { return };
        if let WorkerState::Ready { pid, due, leaves, .. } = &mut self.state {
            let pid = *pid;
            // It is still to be replaced if it said that it leaves; its limits tell for themselves.
            *due = leaves.then_some((Reason::Stop, since));
            let (worker, verdict) = (self.reference(pid), Verdict::Alive);
            out.push(Action::Note(Note::Worker(worker, WorkerNote::Suspected { verdict })));
        }
    }

    /// It hangs: what comes of that is the pool's business. One that leaves is replaced anyway, and owes no sign of life
    /// any more.
    pub(super) fn hangs(&mut self, now: Monotonic, sign: Sign, out: &mut Vec<Action>) {
        let hung = self.hung_since().is_some();
        if let WorkerState::Ready { pid, due, watch, leaves, accepting, .. } = &mut self.state
            && !hung
        {
            // That one is away is known, and no reason to hurt it.
            let is_known = accepting.is_away() && matches!(sign, Sign::AcceptStall | Sign::Probe);
            if *leaves || is_known {
                return;
            }
            watch.not_to_ping();
            *due = Some((Reason::Hung, now));
            let pid = *pid;
            let worker = self.reference(pid);
            out.push(Action::Note(Note::Worker(worker, WorkerNote::Hung { sign })));
            self.act(WorkerAction::Inspect, out);
        }
    }

    /// It said `WATCHDOG=1`.
    pub fn pinged(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if let WorkerState::Ready { watch, .. } = &mut self.state
            && watch.pinged(now)
        {
            self.is_alive(out);
        }
    }

    /// Nothing more is to be heard of what it said up to now: perhaps it should have pinged.
    pub fn all_heard(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if matches!(&self.state, WorkerState::Ready { watch, .. } if watch.is_overdue(now)) {
            self.hangs(now, Sign::Watchdog, out);
        }
    }

    /// It said how often it will say `WATCHDOG=1`.
    pub fn watchdog_set(&mut self, now: Monotonic, every: Duration) {
        match &mut self.state {
            WorkerState::Starting(starting) => starting.ping_every = Some(every),
            WorkerState::Ready { watch, .. } => watch.ping_every(now, every),
            WorkerState::Spawning
            | WorkerState::Draining(_)
            | WorkerState::Stopping { .. }
            | WorkerState::Killed { .. } => {}
        }
    }

    /// It said that it is about to end: it gets no new connections, and a replacement.
    pub fn said_stopping(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if let WorkerState::Ready { leaves, watch, accepting, .. } = &mut self.state {
            if !core::mem::replace(leaves, true) {
                accepting.says_it_leaves(now);
            }
            watch.owes_no_ping();
            self.becomes_due(now, Reason::Stop, out);
        }
    }

    /// It said `WATCHDOG=trigger`.
    pub fn triggered(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        self.hangs(now, Sign::Watchdog, out);
    }

    /// A probe ended. Returns whether that makes it ready.
    pub fn probed(
        &mut self,
        now: Monotonic,
        passed: Option<bool>,
        policy: &PoolPolicy,
        out: &mut Vec<Action>,
    ) -> bool {
        match (&mut self.state, &policy.hang.probe) {
            (WorkerState::Starting(starting), _) => {
                starting.probed(now);
                return passed == Some(true) && policy.ready.probe;
            }
            (WorkerState::Ready { watch, .. }, Some(probe)) => {
                if watch.probed(now, passed, probe) {
                    self.hangs(now, Sign::Probe, out);
                } else if passed == Some(true) {
                    self.is_alive(out);
                }
            }
            (
                WorkerState::Spawning
                | WorkerState::Ready { .. }
                | WorkerState::Draining(_)
                | WorkerState::Stopping { .. }
                | WorkerState::Killed { .. },
                Some(_) | None,
            ) => {}
        }
        false
    }

    /// It takes more than the others, and all together too much.
    pub fn too_heavy(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        self.becomes_due(now, Reason::MaxMemory, out);
    }

    /// Another is to have a queue that lost its worker.
    pub fn makes_way(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        self.becomes_due(now, Reason::Queue, out);
    }

    /// If it is ready, and nothing else has made it due.
    pub fn becomes_due(&mut self, now: Monotonic, reason: Reason, out: &mut Vec<Action>) {
        let requests = self.requests;
        if let WorkerState::Ready { pid, due: due @ None, .. } = &mut self.state {
            let pid = *pid;
            *due = Some((reason, now));
            let worker = self.reference(pid);
            out.push(Action::Note(Note::Worker(worker, WorkerNote::Due { reason, requests })));
        }
    }

    /// It was measured. `steered_to` is whether new connections come to it.
    pub fn measured(
        &mut self,
        now: Monotonic,
        found: Measured,
        steered_to: bool,
        policy: &PoolPolicy,
        out: &mut Vec<Action>,
    ) {
        self.requests = self.requests.max(found.requests.unwrap_or(0));
        if let Some(memory) = found.memory {
            self.memory = memory;
            if now.since(self.weighed) >= WEIGH_EVERY {
                self.weighed = now;
                let beyond = self.limits.memory.is_some_and(|limit| memory > limit);
                self.heavy = if beyond { self.heavy.saturating_add(1) } else { 0 };
            }
            if policy.recycle.max_memory_hard.is_some_and(|limit| memory > limit) && self.is_ready() {
                self.served = self.served(now);
                let kill_at = earlier(policy.stop.graceful.deadline(now), Some(now + HARD_LIMIT_GRACE));
                return self.stop(Reason::MaxMemory, kill_at, policy, out);
            }
        }
        if found.request_overdue {
            self.hangs(now, Sign::RequestDeadline, out);
        }
        let (WorkerState::Ready { pid, watch, accepting, .. }, Some(waiting), Some(patience)) =
            (&mut self.state, found.waiting, policy.hang.accept_stall)
        else {
            return;
        };
        if accepting.is_away() {
            return;
        }
        let pid = *pid;
        match watch.queue_measured(now, waiting, steered_to, patience) {
            Queue::Hangs => self.hangs(now, Sign::AcceptStall, out),
            // It is told once, whether it was suspected only or known to hang.
            Queue::Turned(Verdict::Alive) if self.hung_since().is_some() => self.is_alive(out),
            Queue::Turned(verdict) => {
                let worker = self.reference(pid);
                out.push(Action::Note(Note::Worker(worker, WorkerNote::Suspected { verdict })));
            }
            Queue::AsBefore => {}
        }
    }
}

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

    /// Whether to probe it now.
    pub fn probe(&mut self, now: Monotonic) -> bool {
        self.probe_at.take_if(|at| *at <= now).is_some()
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
            return match core::mem::take(&mut self.suspected) {
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
