//! How a worker is emptied before it is stopped, and how all of them are.

use super::super::rule::{Held, check};
use super::book::{Book, Drain, Stage, Worker};
use super::in_hand::InHand;
use prefork_init::core::exit::Reason;
use prefork_init::core::{Lane, Monotonic, Pid, Signal};
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOK_RARELY: Duration = Duration::from_millis(100);

impl Book {
    pub fn empties(&self) -> bool {
        self.policy.drain.steered || self.policy.drain.told
    }

    /// It gets no new connections from now on.
    pub fn drain(&mut self, now: Monotonic, pid: Pid, reason: Reason) -> Held {
        let (steered, shares) = (self.policy.drain.steered, self.policy.drain.shares);
        check(self.empties(), "there is nothing to wait for")?;
        if self.worker(pid)?.retired.is_none() {
            self.begin_break(now, pid, reason)?;
        }
        let worker = self.worker(pid)?;
        check(worker.retired == Some(reason), "for another reason")?;
        check(worker.is_up() && worker.watch.hung.is_none(), "it cannot be emptied")?;
        let left = worker.accepting.away && (worker.accepting.closed || worker.leaves);
        let shared = worker.accepting.away && shares && !left;
        let quiet = (!steered || shared).then_some(now);
        let in_hand = InHand::default();
        worker.drain = Some(Drain { since: now, looked: None, quiet, hinted: false, in_hand, left, shared });
        Ok(())
    }

    pub fn look_at_queue(&mut self, now: Monotonic, pid: Pid, lane: Lane) -> Held {
        let steered = self.policy.drain.steered;
        check(self.expected.woken, "a look while something else waits")?;
        let worker = self.worker_on(pid, lane)?;
        let Some(drain) = worker.drain.as_mut().filter(|_| worker.stopped.is_none() && steered) else {
            return Err("it is not being emptied".into());
        };
        check(!drain.left && !drain.shared, "another looks after its queue")?;
        let last = drain.looked.replace(now).unwrap_or(drain.since);
        check(last + LOOK_EVERY <= now, "looks too often")
    }

    pub fn hint(&mut self, pid: Pid, lane: Lane, signal: Option<Signal>) -> Held {
        check(signal == self.policy.drain.hint, "the wrong signal")?;
        if let Some(at) = self.expected.hints.iter().position(|owed| *owed == pid) {
            self.expected.hints.swap_remove(at);
            return self.worker_on(pid, lane).map(|_| ());
        }
        let worker = self.worker_on(pid, lane)?;
        let Some(drain) = worker.drain.as_mut().filter(|_| worker.stopped.is_none()) else {
            return Err("it serves, and others come".into());
        };
        check(
            drain.quiet.is_some() && !drain.left,
            "before its queue was seen empty, or to one that leaves",
        )?;
        check(!std::mem::replace(&mut drain.hinted, true), "again")
    }

    /// When it is stopped although somebody waits for it.
    pub fn given_up_at(&self, drain: &Drain) -> Option<Monotonic> {
        let patience = self.policy.stop.graceful.deadline(drain.since);
        // Nobody who waits is cut short within five seconds; where nobody waits, there is nothing to give up.
        let given_up = patience.map(|at| at.max(drain.since + Duration::from_secs(5)));
        given_up.filter(|_| drain.quiet.is_none())
    }

    /// Whether its queue was seen empty long enough ago and nobody is busy, or its time is over.
    pub fn is_emptied(&self, now: Monotonic, drain: &Drain) -> Held {
        if self.given_up_at(drain).is_some_and(|at| at <= now) {
            return Ok(());
        }
        check(!drain.left, "stopped though it leaves by itself")?;
        let over = self.policy.stop.graceful.deadline(drain.since);
        let watched = self.policy.drain.steered;
        self.has_nothing_in_hand(now, drain.quiet, watched.then_some((&drain.in_hand, over)))?;
        check(drain.hinted, "stopped without a hint")
    }

    /// The drain delay is over and somebody has clients.
    pub fn hold_connections_off(&mut self, now: Monotonic) -> Held {
        let Stage::Draining { until } = self.stage else { return Err("out of season".into()) };
        check(until <= now && self.policy.drain.listens, "too early, or for nothing")?;
        self.expected.hints = self.live.iter().filter(|w| w.is_up()).map(|w| w.pid).collect();
        check(!self.expected.hints.is_empty(), "nobody has clients")?;
        check(!self.has_no_grace(now), "there is no time for it")?;
        self.live.iter_mut().for_each(|worker| worker.accepting = Default::default());
        self.stage = Stage::Closing { since: now, looked: None, quiet: None, in_hand: InHand::default() };
        Ok(())
    }

    fn has_no_grace(&self, now: Monotonic) -> bool {
        self.policy.stop.graceful.deadline(now).is_some_and(|by| by <= now)
    }

    /// Who may still take connections, or has some.
    fn takers(&self) -> impl Iterator<Item = &Worker> {
        self.live.iter().filter(|w| w.ready.is_some() && w.stopped.is_none())
    }

    pub fn look_at_queues(&mut self, now: Monotonic, lanes: &[Lane]) -> Held {
        let mut takers: Vec<Lane> = self.takers().map(|worker| worker.order.lane).collect();
        let Stage::Closing { looked, .. } = &mut self.stage else { return Err("out of season".into()) };
        check(looked.replace(now).is_none_or(|last| last + LOOK_EVERY <= now), "looks too often")?;
        let mut lanes = lanes.to_vec();
        takers.sort_unstable();
        lanes.sort_unstable();
        check(takers == lanes, "a queue is forgotten")
    }

    /// When the last connections have to be served.
    fn half(&self, since: Monotonic) -> Option<Monotonic> {
        self.policy.stop.graceful.deadline(since).map(|by| since + by.since(since) / 2)
    }

    /// Whether the last connections are served, or had their time.
    fn is_closed(&self, now: Monotonic) -> Held {
        let Stage::Closing { since, quiet, ref in_hand, .. } = self.stage else {
            return Err("out of season".into());
        };
        let half = self.half(since);
        if half.is_some_and(|at| at <= now) {
            return Ok(());
        }
        self.has_nothing_in_hand(now, quiet, Some((in_hand, half)))
    }

    pub fn has_takers(&self) -> bool {
        self.takers().next().is_some()
    }

    pub fn takers_pids(&self) -> Vec<Pid> {
        self.takers().map(|worker| worker.pid).collect()
    }

    pub fn refuse_connections(&mut self, now: Monotonic) -> Held {
        if std::mem::take(&mut self.expected.refuse) {
            return Ok(());
        }
        check(self.policy.drain.listens, "there are none")?;
        let cap = match self.stage {
            Stage::Draining { until } => {
                check(until <= now, "before the drain delay is over")?;
                let nobody = !self.live.iter().any(Worker::is_up);
                check(nobody || self.has_no_grace(now), "connections are not held off first")?;
                None
            }
            Stage::Closing { since, .. } => {
                if self.has_takers() {
                    self.is_closed(now)?;
                }
                self.policy.stop.graceful.deadline(since)
            }
            Stage::Unstarted | Stage::Running | Stage::Ending { .. } | Stage::Killing { .. } => {
                return Err("out of season".into());
            }
        };
        self.begin_ending(now, cap);
        self.expected.refuse = false;
        Ok(())
    }

    /// What had to be done in this very step.
    pub fn is_emptying(&self, now: Monotonic) -> Held {
        check(!self.expected.refuse, "connections are not refused")?;
        check(self.expected.hints.is_empty(), "a worker got no hint of the end")?;
        check(!matches!(self.stage, Stage::Draining { until } if until <= now), "the drain delay is over")?;
        let closing = matches!(self.stage, Stage::Closing { .. });
        check(!closing || self.has_takers(), "nobody is waited for")?;
        check(!closing || self.is_closed(now).is_err(), "the end does not come")?;
        for worker in &self.live {
            let leaves = worker.drain.is_some() || worker.stopped.is_some();
            check(worker.retired.is_none() || leaves, "it made way, and nothing was done with it")?;
            let ends = matches!(self.stage, Stage::Ending { .. } | Stage::Killing { .. });
            check(!ends || worker.stopped.is_some(), "the end has come, and it was not told")?;
            if let Some(drain) = worker.drain.filter(|_| worker.stopped.is_none()) {
                check(drain.quiet.is_none() || drain.hinted, "it was emptied and got no hint")?;
                check(self.is_emptied(now, &drain).is_err(), "it is emptied, and not stopped")?;
            }
        }
        Ok(())
    }

    pub fn owed_to_closing(&self, tell: &mut dyn FnMut(&'static str, Monotonic)) {
        if let Stage::Closing { since, looked, quiet, ref in_hand } = self.stage {
            tell("a look at all queues", looked.map_or(since, |last| last + self.pause_after(last, quiet)));
            self.half(since).iter().for_each(|at| tell("the end of the last connections", *at));
            self.owed_to_hands(quiet, Some((in_hand, self.half(since))), tell);
        }
    }

    /// Nobody new is on the way once the drain time is over.
    fn pause_after(&self, look: Monotonic, quiet: Option<Monotonic>) -> Duration {
        let drained = quiet.is_some_and(|quiet| quiet + self.policy.drain.time <= look);
        if drained { LOOK_RARELY } else { LOOK_EVERY }
    }

    pub fn owed_to_draining(&self, worker: &Worker, tell: &mut dyn FnMut(&'static str, Monotonic)) {
        let Some(drain) = worker.drain.filter(|_| worker.stopped.is_none()) else { return };
        self.given_up_at(&drain).iter().for_each(|at| tell("the stop of a worker that is waited for", *at));
        if drain.left {
            return;
        }
        let over = self.policy.stop.graceful.deadline(drain.since);
        let watched = self.policy.drain.steered;
        self.owed_to_hands(drain.quiet, watched.then_some((&drain.in_hand, over)), tell);
        if watched && !drain.shared {
            let last = drain.looked.unwrap_or(drain.since);
            tell("a look at a queue", last + self.pause_after(last, drain.quiet));
        }
    }
}
