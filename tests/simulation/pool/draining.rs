//! No connection is cut off: how a worker is emptied before it is stopped.

use super::super::rule::{Held, check};
use super::facts::{Drain, Facts, Stage, Worker};
use super::in_hand::InHand;
use prefork_core::exit::Reason;
use prefork_core::{Lane, Monotonic, Pid, Signal};
use std::time::Duration;

/// What waits in its queue has this long, though the graceful timeout is shorter.
const LEAST_PATIENCE: Duration = Duration::from_secs(5);

impl Facts {
    /// It gets no new connections from now on.
    pub fn drains(&mut self, now: Monotonic, pid: Pid, reason: Reason) -> Held {
        let policy = self.policy.drain;
        self.makes_way(now, pid, reason)?;
        let worker = self.worker(pid)?;
        check(worker.is_up() && !worker.hung, "it cannot be emptied")?;
        let left = worker.away && (worker.closed || worker.leaves.is_some());
        let shared = worker.away && policy.shares && !left;
        let is_quiet = !policy.steered || shared;
        let in_hand = InHand { quiet: is_quiet.then_some(now), blind: !policy.steered, ..InHand::default() };
        worker.drain = Some(Drain { since: now, hinted: false, in_hand, left, shared });
        check(policy.steered || policy.told, "there is nothing to wait for")
    }

    fn drain(&mut self, pid: Pid) -> Result<&mut Drain, String> {
        let worker = self.worker(pid)?;
        let drain = worker.drain.as_mut().filter(|_| worker.stopped.is_none());
        drain.ok_or_else(|| "it is not being emptied".into())
    }

    pub fn looks_at_queue(&mut self, now: Monotonic, pid: Pid, lane: Lane) -> Held {
        check(self.worker_on(pid, lane)?.drain.is_some_and(|drain| !drain.left), "it needs no look")?;
        self.drain(pid)?.in_hand.queue_looked = Some(now);
        Ok(())
    }

    pub fn looks_at_connections(&mut self, now: Monotonic, pid: Pid) -> Held {
        let in_hand = &mut self.drain(pid)?.in_hand;
        in_hand.looked = Some(now);
        check(in_hand.quiet.is_some() && !in_hand.blind, "something waits yet, or there is nothing to see")
    }

    pub fn hints(&mut self, pid: Pid, lane: Lane, signal: Option<Signal>) -> Held {
        check(signal == self.policy.drain.hint, "the wrong signal")?;
        if self.worker_on(pid, lane)?.is_up() && matches!(self.stage, Stage::Closing { .. }) {
            return Ok(());
        }
        let drain = self.drain(pid)?;
        check(
            drain.in_hand.quiet.is_some() && !drain.left,
            "before its queue is empty, or to one that leaves",
        )?;
        check(!std::mem::replace(&mut drain.hinted, true), "again")
    }

    /// When a worker that is being emptied is stopped, whatever it has in hand.
    fn given_up_at(&self, drain: &Drain) -> Option<Monotonic> {
        let patience = self.policy.stop.graceful.deadline(drain.since);
        patience.map(|at| at.max(drain.since + LEAST_PATIENCE))
    }

    /// Whether it may be stopped now.
    pub fn is_emptied(&self, now: Monotonic, drain: &Drain) -> Held {
        let gives_up = self.given_up_at(drain).is_some_and(|at| at <= now);
        if gives_up && (drain.left || drain.in_hand.quiet.is_none()) {
            return Ok(());
        }
        check(!drain.left, "stopped though it leaves by itself")?;
        check(drain.hinted, "stopped without a hint")?;
        drain.in_hand.is_empty(now, &self.policy.drain, self.policy.stop.graceful.deadline(drain.since))
    }

    pub fn owed_to_draining(&self, worker: &Worker, tell: super::Tell<'_>) {
        let Some(drain) = worker.drain.filter(|_| worker.stopped.is_none()) else { return };
        let policy = &self.policy.drain;
        self.given_up_at(&drain)
            .iter()
            .for_each(|at| tell("the stop of one that is emptied", *at + policy.time));
        if !drain.left {
            drain.in_hand.owed(drain.since, policy, policy.steered && !drain.shared, tell);
        }
    }
}
