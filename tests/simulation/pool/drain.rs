//! How a worker is emptied before it is stopped, and how all of them are.

use super::super::rule::{Held, check};
use super::book::{Book, Drain, Stage, Worker};
use super::in_hand::InHand;
use prefork_core::exit::Reason;
use prefork_core::{Lane, Monotonic, Pid, Signal};
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOK_RARELY: Duration = Duration::from_millis(100);

/// A worker that starts counts for so long once no new connection is let in.
const START_AWAITED_FOR: Duration = Duration::from_millis(100);

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

    /// When it is stopped although a client waits for it.
    pub fn given_up_at(&self, drain: &Drain) -> Option<Monotonic> {
        let patience = self.policy.stop.graceful.deadline(drain.since);
        // Nobody who waits is cut short within five seconds; where nobody waits, there is nothing to give up.
        let given_up = patience.map(|at| at.max(drain.since + Duration::from_secs(5)));
        given_up.filter(|_| drain.quiet.is_none())
    }

    /// Whether its queue was seen empty long enough ago and none is busy, or its time is over.
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
        check(self.policy.drain.listens && self.alive() > 0, "for nothing")?;
        let has_clients = self.live.iter().any(|w| w.is_up() || w.starts());
        let at_once = self.expected.refuse || self.has_no_grace(now) || !has_clients;
        if self.expected.refuse || matches!(self.stage, Stage::Draining { until } if until <= now && at_once)
        {
            return check(!std::mem::replace(&mut self.held, true), "held off again");
        }
        let Stage::Draining { until } = self.stage else { return Err("out of season".into()) };
        check(until <= now, "too early")?;
        self.expected.hints = self.live.iter().filter(|w| w.is_up()).map(|w| w.pid).collect();
        self.held = true;
        self.live.iter_mut().for_each(|worker| worker.accepting = Default::default());
        self.stage = Stage::Closing { since: now, looked: None, quiet: None, in_hand: InHand::default() };
        Ok(())
    }

    fn has_no_grace(&self, now: Monotonic) -> bool {
        self.policy.stop.graceful.deadline(now).is_some_and(|by| by <= now)
    }

    /// The workers that may still take connections, or have some: one that starts, too, for a moment or while others
    /// serve.
    fn takers(&self, now: Monotonic) -> impl Iterator<Item = &Worker> {
        let in_moment = matches!(self.stage, Stage::Closing { since, .. } if now < since + START_AWAITED_FOR);
        let is_up = |w: &Worker| w.ready.is_some() && w.stopped.is_none();
        let all = in_moment || self.live.iter().any(is_up);
        self.live.iter().filter(move |w| w.stopped.is_none() && (w.ready.is_some() || all))
    }

    /// Whether some worker that starts may serve, for all that is known.
    fn awaits_starting(&self, now: Monotonic) -> bool {
        let Stage::Closing { since, .. } = self.stage else { return false };
        let may_serve = |w: &Worker| {
            let observed = self.policy.ready.observe && !w.refused;
            w.starts() && (!observed || w.unseen.is_none_or(|at| at <= since))
        };
        now < since + START_AWAITED_FOR && self.live.iter().any(may_serve)
    }

    /// Whether the last connections are served, or had their time.
    fn is_closed(&self, now: Monotonic) -> bool {
        let Stage::Closing { since, quiet, ref in_hand, .. } = self.stage else { return false };
        let half = self.half_of_the_grace(since);
        if half.is_some_and(|at| at <= now) || self.takers(now).next().is_none() {
            return true;
        }
        let serves = self.takers(now).any(|w| w.ready.is_some());
        let served = self.has_nothing_in_hand(now, quiet, Some((in_hand, half))).is_ok();
        !self.awaits_starting(now) && (served || quiet.is_some() && !serves)
    }

    fn half_of_the_grace(&self, since: Monotonic) -> Option<Monotonic> {
        self.policy.stop.graceful.deadline(since).map(|by| since + by.since(since) / 2)
    }

    pub fn look_at_queues(&mut self, now: Monotonic, lanes: &[Lane]) -> Held {
        let mut takers: Vec<Lane> = self.takers(now).map(|worker| worker.order.lane).collect();
        let Stage::Closing { looked, .. } = &mut self.stage else { return Err("out of season".into()) };
        check(looked.replace(now).is_none_or(|last| last + LOOK_EVERY <= now), "looks too often")?;
        let mut lanes = lanes.to_vec();
        takers.sort_unstable();
        lanes.sort_unstable();
        check(takers == lanes, "a queue is forgotten")
    }

    /// Those whose connections are looked at.
    pub fn takers_pids(&self) -> Vec<Pid> {
        let has_served = |w: &&Worker| w.ready.is_some() && w.stopped.is_none();
        self.live.iter().filter(has_served).map(|worker| worker.pid).collect()
    }

    pub fn look_at_listeners(&mut self, now: Monotonic, workers: &[(Pid, Lane)]) -> Held {
        let all = workers.len() == self.live.len()
            && self.live.iter().all(|w| workers.contains(&(w.pid, w.order.lane)));
        let Some(refusing) = &mut self.refusing else { return Err("they are refused already".into()) };
        check(all, "a worker is forgotten")?;
        check(refusing.look_at <= now, "looks too often")?;
        refusing.pause *= 2;
        refusing.look_at = now + refusing.pause;
        Ok(())
    }

    /// Connections that are held off are refused.
    fn refuse_held_off(&mut self, now: Monotonic) -> Held {
        let refusing = self.refusing.take().ok_or("refused already")?;
        let (is_over, leaves) = (refusing.by <= now, matches!(self.stage, Stage::Killing { .. }));
        check(refusing.let_go || is_over || leaves || self.alive() == 0, "a worker waits for connections yet")
    }

    pub fn refuse_connections(&mut self, now: Monotonic, held_off: bool) -> Held {
        if held_off && !self.expected.refuse && self.refusing.is_some() {
            return self.refuse_held_off(now);
        }
        check(held_off == (self.alive() == 0), "what is held off is refused too early, or not at all")?;
        check(self.held || self.alive() == 0, "nobody is held off")?;
        if std::mem::take(&mut self.expected.refuse) {
            return Ok(());
        }
        check(self.policy.drain.listens, "there are none")?;
        let cap = match self.stage {
            Stage::Draining { until } => {
                check(until <= now || self.perhaps_nobody_comes(until), "before the drain delay is over")?;
                let nobody = !self.live.iter().any(|w| w.is_up() || w.starts());
                check(nobody || self.has_no_grace(now), "connections are not held off first")?;
                None
            }
            Stage::Closing { since, .. } => {
                check(self.is_closed(now), "somebody is cut off")?;
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
        let is_over = |until| until <= now || self.nobody_comes(until);
        check(!matches!(self.stage, Stage::Draining { until } if is_over(until)), "the drain delay is over")?;
        check(!self.is_closed(now), "nobody is waited for")?;
        let to_refuse = self.refusing.is_some_and(|refusing| refusing.let_go || refusing.by <= now);
        check(!to_refuse, "connections are not refused in time")?;
        check(self.refusing.is_none() || self.alive() > 0, "connections are held off for nobody")?;
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

    pub fn owed_to_closing(&self, now: Monotonic, tell: &mut dyn FnMut(&'static str, Monotonic)) {
        if let Some(refusing) = self.refusing {
            tell("a refusal", refusing.by);
            tell("a look at listeners", refusing.look_at);
        }
        if let Stage::Closing { since, looked, quiet, ref in_hand } = self.stage {
            tell("a look at all queues", looked.map_or(since, |last| last + self.pause_after(last, quiet)));
            let half = self.half_of_the_grace(since);
            half.iter().for_each(|at| tell("the end of the last connections", *at));
            let quiet = quiet.filter(|_| !self.awaits_starting(now));
            self.owed_to_hands(quiet, Some((in_hand, half)), tell);
        }
    }

    /// No new connection is on the way once the drain time is over.
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
