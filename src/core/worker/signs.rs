//! The signs by which a ready worker is found alive, hung, leaving, too heavy, or due. What follows is up to the
//! pool.

use super::accepting::Turn;
use super::health::QueueTurn;
use super::{Accepting, Worker, WorkerState};
use crate::action::{Action, WorkerAction};
use crate::event::{Found, Measured};
use crate::exit::Reason;
use crate::note::{Note, Sign, Verdict, WorkerNote};
use crate::policy::PoolPolicy;
use crate::time::{Monotonic, earlier};
use alloc::vec::Vec;
use core::time::Duration;

/// The longest graceful timeout of a worker beyond the hard limit of memory.
const HARD_LIMIT_GRACE: Duration = Duration::from_secs(5);

/// The shortest time between two measurements that count for the limit of memory, even if other values are measured
/// more often. It is below one second, because the loop may be early.
const WEIGH_EVERY: Duration = Duration::from_millis(900);

impl Worker {
    /// The worker shows that it lives. If it was taken for hung and has not been stopped, it serves again.
    fn is_alive(&mut self, out: &mut Vec<Action>) {
        if let WorkerState::Ready { pid, duty, .. } = &mut self.state
            && duty.is_alive()
        {
            let pid = *pid;
            let (worker, verdict) = (self.reference(pid), Verdict::Alive);
            out.push(Action::Note(Note::Worker(worker, WorkerNote::Suspected { verdict })));
        }
    }

    /// The worker hangs; the pool decides what follows. A leaving worker does not have to give signs of life.
    pub(super) fn hangs(&mut self, now: Monotonic, sign: Sign, out: &mut Vec<Action>) {
        if let WorkerState::Ready { pid, duty, health, accepting, .. } = &mut self.state {
            // A worker that is known to be away is not hurt for that.
            let is_known = accepting.is_away() && matches!(sign, Sign::AcceptStall | Sign::Probe);
            if is_known || !duty.hangs(now) {
                return;
            }
            health.not_to_ping();
            let pid = *pid;
            let worker = self.reference(pid);
            out.push(Action::Note(Note::Worker(worker, WorkerNote::Hung { sign })));
            self.act(WorkerAction::Inspect, out);
        }
    }

    pub fn pinged(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if let WorkerState::Ready { health, .. } = &mut self.state
            && health.pinged(now)
        {
            self.is_alive(out);
        }
    }

    /// All messages that the worker sent up to now have been read: so a missing ping is certain.
    pub fn all_heard(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if matches!(&self.state, WorkerState::Ready { health, .. } if health.is_overdue(now)) {
            self.hangs(now, Sign::Watchdog, out);
        }
    }

    /// It announced how often it will send `WATCHDOG=1`.
    pub fn watchdog_set(&mut self, now: Monotonic, every: Duration) {
        match &mut self.state {
            WorkerState::Starting(starting) => starting.ping_every = Some(every),
            WorkerState::Ready { health, .. } => health.set_ping_every(now, every),
            WorkerState::Spawning
            | WorkerState::Draining(_)
            | WorkerState::Stopping { .. }
            | WorkerState::Killed { .. } => {}
        }
    }

    /// It said `STOPPING=1`: it is about to end, so it gets no new connections, and a successor.
    pub fn said_stopping(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if let WorkerState::Ready { duty, health, accepting, .. } = &mut self.state {
            if !duty.leaves() {
                accepting.says_it_leaves(now);
            }
            health.owes_no_ping();
        }
        self.becomes_due(now, Reason::Stop, out);
        if let WorkerState::Ready { duty, .. } = &mut self.state {
            duty.says_it_leaves(now);
        }
    }

    pub fn triggered(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        self.hangs(now, Sign::Watchdog, out);
    }

    /// A probe has ended. Returns whether the worker becomes ready by it.
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
            (WorkerState::Ready { health, .. }, Some(probe)) => {
                if health.probed(now, passed, probe) {
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

    /// All workers together take too much memory, and this one takes most.
    pub fn too_heavy(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        self.becomes_due(now, Reason::MaxMemory, out);
    }

    /// Its successor gets a stranded lane.
    pub fn makes_way(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        self.becomes_due(now, Reason::Queue, out);
    }

    /// Makes a ready worker due, if it is not due already.
    pub fn becomes_due(&mut self, now: Monotonic, reason: Reason, out: &mut Vec<Action>) {
        let requests = self.requests;
        if let WorkerState::Ready { pid, duty, .. } = &mut self.state
            && duty.becomes_due(now, reason)
        {
            let pid = *pid;
            let worker = self.reference(pid);
            out.push(Action::Note(Note::Worker(worker, WorkerNote::Due { reason, requests })));
        }
    }

    /// The result of a measurement. `steered_to` is whether new connections come to the worker.
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
        let (WorkerState::Ready { pid, health, accepting, .. }, Some(waiting), Some(patience)) =
            (&mut self.state, found.waiting, policy.hang.accept_stall)
        else {
            return;
        };
        if accepting.is_away() {
            return;
        }
        let pid = *pid;
        match health.queue_measured(now, waiting, steered_to, patience) {
            QueueTurn::Hangs => self.hangs(now, Sign::AcceptStall, out),
            // One note, whether it was only suspected or known to hang.
            QueueTurn::Turned(Verdict::Alive) if self.hung_since().is_some() => self.is_alive(out),
            QueueTurn::Turned(verdict) => {
                let worker = self.reference(pid);
                out.push(Action::Note(Note::Worker(worker, WorkerNote::Suspected { verdict })));
            }
            QueueTurn::AsBefore => {}
        }
    }

    /// Whether it was seen to have stopped accepting.
    pub fn is_away(&self) -> bool {
        self.accepting().is_some_and(Accepting::is_away)
    }

    /// `None` if it is not ready.
    pub fn accepting(&self) -> Option<&Accepting> {
        match &self.state {
            WorkerState::Ready { accepting, .. } => Some(accepting),
            WorkerState::Spawning
            | WorkerState::Starting(_)
            | WorkerState::Draining(_)
            | WorkerState::Stopping { .. }
            | WorkerState::Killed { .. } => None,
        }
    }

    fn accepting_mut(&mut self) -> Option<&mut Accepting> {
        match &mut self.state {
            WorkerState::Ready { accepting, .. } => Some(accepting),
            WorkerState::Spawning
            | WorkerState::Starting(_)
            | WorkerState::Draining(_)
            | WorkerState::Stopping { .. }
            | WorkerState::Killed { .. } => None,
        }
    }

    /// A connection came into its queue.
    pub fn queue_woke(&mut self, now: Monotonic) {
        if let Some(accepting) = self.accepting_mut() {
            accepting.queue_woke(now);
        }
    }

    /// The number of connections in its queue.
    pub fn queue_seen(&mut self, now: Monotonic, waiting: u32) {
        match &mut self.state {
            WorkerState::Ready { accepting, .. } => accepting.queue_seen(now, waiting),
            WorkerState::Draining(draining) => draining.queue_seen(now, waiting),
            WorkerState::Spawning
            | WorkerState::Starting(_)
            | WorkerState::Stopping { .. }
            | WorkerState::Killed { .. } => {}
        }
    }

    /// Looks whether it accepts, if a look is due.
    pub fn look_whether_accepting(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if self.accepting_mut().is_some_and(|accepting| accepting.look(now)) {
            self.act(WorkerAction::CheckAccepting, out);
        }
    }

    /// The result of a look. Returns whether the worker accepts again.
    pub fn accepting_seen(
        &mut self,
        now: Monotonic,
        found: Found,
        took: Duration,
        out: &mut Vec<Action>,
    ) -> bool {
        let WorkerState::Ready { pid, duty, accepting, .. } = &mut self.state else { return false };
        let pid = *pid;
        let turn = accepting.seen(now, found, took, duty.leaves());
        let worker = self.reference(pid);
        match turn {
            Turn::AsBefore => {}
            Turn::Away { tell } | Turn::Left { tell } => {
                if tell {
                    out.push(Action::Note(Note::Worker(worker, WorkerNote::StoppedAccepting)));
                }
                if matches!(turn, Turn::Left { .. }) {
                    self.becomes_due(now, Reason::Stop, out);
                }
            }
            Turn::Back { tell } => {
                if tell {
                    out.push(Action::Note(Note::Worker(worker, WorkerNote::AcceptsAgain)));
                }
                if let WorkerState::Ready { duty, .. } = &mut self.state {
                    duty.accepts_again();
                }
                return true;
            }
        }
        false
    }

    /// No new connection comes, so it does not matter whether the worker accepts.
    pub fn need_not_accept(&mut self) {
        if let Some(accepting) = self.accepting_mut() {
            accepting.need_not_accept();
        }
    }
}
