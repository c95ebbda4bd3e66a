//! How a worker is emptied before it is stopped, and how all of them are.

use super::super::rule::{Held, check};
use super::book::{Book, Drain, Stage, Worker};
use prefork_init::core::exit::Reason;
use prefork_init::core::{Lane, Monotonic, Pid, Signal};
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(20);

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
        worker.drain = Some(Drain { since: now, looked: None, quiet, hinted: false, left, shared });
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

    /// When a worker that is being emptied is, and when that is given up.
    pub fn emptied_at(&self, drain: &Drain) -> (Option<Monotonic>, Option<Monotonic>) {
        let quiet = drain.quiet.map(|since| since + self.policy.drain.time);
        let patience = self.policy.stop.graceful.deadline(drain.since);
        // Nobody who waits is cut short within five seconds; where nobody waits, there is nothing to give up.
        let given_up = patience.map(|at| at.max(drain.since + Duration::from_secs(5)));
        (quiet, given_up.filter(|_| quiet.is_none()))
    }

    /// Whether its queue was seen empty long enough ago, or its time is over.
    pub fn is_emptied(&self, now: Monotonic, drain: &Drain) -> Held {
        let (done, given_up) = self.emptied_at(drain);
        if given_up.is_some_and(|at| at <= now) {
            return Ok(());
        }
        check(!drain.left, "stopped though it leaves by itself")?;
        check(done.is_some_and(|at| at <= now), "stopped before it was emptied")?;
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
        self.stage = Stage::Closing { since: now, looked: None, quiet: None };
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

    /// When the last connections are served, and by when they have to be.
    pub fn closed_at(&self) -> Option<Monotonic> {
        let Stage::Closing { since, quiet, .. } = self.stage else { return None };
        let half = self.policy.stop.graceful.deadline(since).map(|by| since + by.since(since) / 2);
        quiet.map(|since| since + self.policy.drain.time).into_iter().chain(half).min()
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
                let closed = self.closed_at().is_some_and(|at| at <= now) || self.takers().next().is_none();
                check(closed, "somebody is cut off")?;
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
        check(!closing || self.takers().next().is_some(), "nobody is waited for")?;
        for worker in &self.live {
            let leaves = worker.drain.is_some() || worker.stopped.is_some();
            check(worker.retired.is_none() || leaves, "it made way, and nothing was done with it")?;
            let ends = matches!(self.stage, Stage::Ending { .. } | Stage::Killing { .. });
            check(!ends || worker.stopped.is_some(), "the end has come, and it was not told")?;
            if let Some(drain) = worker.drain.filter(|_| worker.stopped.is_none()) {
                check(drain.quiet.is_none() || drain.hinted, "it was emptied and got no hint")?;
            }
        }
        Ok(())
    }

    pub fn owed_to_closing(&self, tell: &mut dyn FnMut(&'static str, Monotonic)) {
        if let Stage::Closing { since, looked, .. } = self.stage {
            tell("a look at all queues", looked.map_or(since, |last| last + LOOK_EVERY));
            self.closed_at().iter().for_each(|at| tell("the end of the last connections", *at));
        }
    }

    pub fn owed_to_draining(&self, worker: &Worker, tell: &mut dyn FnMut(&'static str, Monotonic)) {
        let Some(drain) = worker.drain.filter(|_| worker.stopped.is_none()) else { return };
        let (done, given_up) = self.emptied_at(&drain);
        done.iter().chain(&given_up).for_each(|at| tell("the stop of a worker that is emptied", *at));
        if self.policy.drain.steered && !drain.left && !drain.shared {
            tell("a look at a queue", drain.looked.unwrap_or(drain.since) + LOOK_EVERY);
        }
    }
}
