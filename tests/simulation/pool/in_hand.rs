//! What workers that make way have in hand is waited for.

use super::super::rule::{Held, check};
use super::book::{Book, Stage};
use prefork_core::event::Connections;
use prefork_core::{Monotonic, Pid};
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOK_RARELY: Duration = Duration::from_secs(2);
const RESTLESS: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(3);

/// What was seen of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InHand {
    /// The kernel has once told nothing.
    blind: bool,
    looked: Option<Monotonic>,
    pause_until: Monotonic,
    seen: Option<(Monotonic, Connections)>,
    /// It was said that it takes long.
    told: bool,
}

/// What was seen, where anything is looked at, and when it does not matter any more.
pub type Watched<'a> = Option<(&'a InHand, Option<Monotonic>)>;

impl InHand {
    pub fn seen(&mut self, now: Monotonic, found: Option<Connections>, took: Duration) {
        self.blind |= found.is_none();
        self.seen = found.map(|found| (now, found));
        self.pause_until = now + took.saturating_mul(20).clamp(LOOK_EVERY, LOOK_RARELY);
    }

    fn look(&mut self, now: Monotonic) -> Held {
        check(!self.blind, "there is nothing to see")?;
        check(self.pause_until <= now, "looks too often")?;
        check(self.looked.is_none_or(|last| last + LOOK_EVERY <= now), "looks too often")?;
        self.looked = Some(now);
        Ok(())
    }
}

impl Book {
    /// As many slots may be empty by plan.
    pub fn most_missing(&self) -> usize {
        self.policy.budget.unavailable(u32::try_from(self.wanted()).unwrap()) as usize
    }

    fn settled(&self, quiet: Monotonic) -> Monotonic {
        quiet + self.policy.drain.time.min(Duration::from_millis(500))
    }

    pub fn look_at_connections(&mut self, now: Monotonic, pid: Pid, since: Monotonic) -> Held {
        check(self.expected.woken, "a look while something else waits")?;
        let steered = self.policy.drain.steered;
        let worker = self.worker(pid)?;
        let Some(drain) = worker.drain.as_mut().filter(|_| worker.stopped.is_none() && steered) else {
            return Err("it is not being emptied".into());
        };
        drain.in_hand.look(now)?;
        let quiet = drain.quiet;
        self.is_settled(now, quiet, since)
    }

    pub fn look_at_all_connections(&mut self, now: Monotonic, pids: &[Pid], since: Monotonic) -> Held {
        check(self.expected.woken, "a look while something else waits")?;
        let takers = self.takers_pids();
        check(
            takers.iter().all(|pid| pids.contains(pid)) && takers.len() == pids.len(),
            "a worker is forgotten",
        )?;
        let Stage::Closing { in_hand, quiet, .. } = &mut self.stage else {
            return Err("out of season".into());
        };
        in_hand.look(now)?;
        let quiet = *quiet;
        self.is_settled(now, quiet, since)
    }

    fn is_settled(&self, now: Monotonic, quiet: Option<Monotonic>, since: Monotonic) -> Held {
        let settled = quiet.map(|quiet| self.settled(quiet));
        check(settled == Some(since) && since <= now, "too early, or since another time")
    }

    /// Whether a server would drop nothing at the stop signal, as far as can be seen, or had its time.
    pub fn has_nothing_in_hand(
        &self,
        now: Monotonic,
        quiet: Option<Monotonic>,
        watched: Watched<'_>,
    ) -> Held {
        let Some(quiet) = quiet else { return Err("stopped while somebody waits".into()) };
        let drained = quiet + self.policy.drain.time;
        let Some((in_hand, over)) = watched.filter(|(in_hand, _)| !in_hand.blind) else {
            return check(drained <= now, "stopped before it was emptied");
        };
        if over.is_some_and(|over| over <= now) {
            return check(drained <= now, "stopped before it was emptied");
        }
        let seen = in_hand.seen.filter(|(at, _)| *at == now && self.settled(quiet) <= now);
        let Some((_, found)) = seen else { return Err("nobody has looked what it has in hand".into()) };
        check(found.busy == 0, "stopped while it is busy")?;
        check(found.again == 0 || drained + RESTLESS <= now, "stopped while it is busy, though for once")?;
        let goodbye = found.open > 0 && self.policy.drain.told;
        check(!goodbye || drained <= now, "stopped before its clients knew")
    }

    pub fn owed_to_hands(
        &self,
        quiet: Option<Monotonic>,
        watched: Watched<'_>,
        tell: &mut dyn FnMut(&'static str, Monotonic),
    ) {
        let Some(quiet) = quiet else { return };
        let drained = quiet + self.policy.drain.time;
        match watched.filter(|(in_hand, _)| !in_hand.blind) {
            None => tell("the stop of who is emptied", drained),
            Some((in_hand, over)) => {
                tell("a look at connections", self.settled(quiet).max(in_hand.pause_until));
                over.iter().for_each(|at| tell("the end of the wait for connections", (*at).max(drained)));
            }
        }
    }

    /// It was said that this worker is waited for.
    pub fn busy(&mut self, now: Monotonic, pid: Pid, connections: u32, surge: Option<u32>) -> Held {
        let budget = self.policy.budget.surge(u32::try_from(self.wanted()).unwrap());
        let goes_on =
            |slot: usize| self.wants_replacement(slot).is_some_and(|why| self.goes_on_at(why).is_some());
        let waits = (0..self.wanted()).any(goes_on);
        let held_up = self.stage == Stage::Running && waits && !self.may_surge() && !self.may_break();
        check(surge == held_up.then_some(budget + 1), "the wrong remedy")?;
        let time = self.policy.drain.time;
        let drain = self.worker(pid)?.drain.as_mut().ok_or("it is not being emptied")?;
        let Some((_, found)) = drain.in_hand.seen else { return Err("nobody has looked".into()) };
        check(found.busy == connections && connections > 0, "miscounted")?;
        check(drain.quiet.is_some_and(|quiet| quiet + time + LONG <= now), "too early")?;
        check(!std::mem::replace(&mut drain.in_hand.told, true), "said again")
    }
}
