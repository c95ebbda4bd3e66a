//! The rules of pool mode, from the README's promises: what must never be done, what an event obliges to at once, and by
//! when something is owed. They believe what the core says it does, and ask whether it may. When exactly it does so, and
//! in which words, is for tests/scenarios.

mod draining;
mod ending;
mod events;
mod facts;
mod in_hand;
mod judge;
mod lives;
mod must;
mod owed;
mod reload;
mod spawning;

use super::rule::{Held, check};
use facts::{Facts, Stage};
use prefork_core::action::ListenerAction;
use prefork_core::policy::PoolPolicy;
use prefork_core::snapshot::Phase;
use prefork_core::{Action, Event, Monotonic, Snapshot};

/// Takes what is owed, and by when.
type Tell<'a> = &'a mut dyn FnMut(&'static str, Monotonic);

pub struct PoolRules {
    facts: Facts,
    /// Whether the loop is never late: then the whole shutdown has a bound.
    punctual: bool,
    /// The last time the clock led to something that does not show.
    had_reason: bool,
}

impl PoolRules {
    pub fn new(policy: PoolPolicy, punctual: bool) -> Self {
        Self { facts: Facts::new(policy), punctual, had_reason: false }
    }

    /// After each step.
    pub fn step(&mut self, now: Monotonic, event: Event, actions: &[Action], phase: Phase) -> Held {
        let facts = &mut self.facts;
        if facts.end.exit.is_some() {
            return Ok(());
        }
        let (serving, was_open) = (facts.serving(), facts.is_open());
        self.had_reason = facts.measure_at.is_some_and(|at| at <= now);
        let must = facts.must(event);
        facts.take_in(now, event);
        for action in actions {
            facts.judge(now, action).map_err(|broken| format!("{broken}: {action:?}"))?;
        }
        if facts.end.exit.is_some() {
            return Ok(());
        }
        if let Some((what, is_it)) = must {
            check(actions.iter().any(is_it), &format!("{what} was owed at once"))?;
        }
        // Without listeners, and where every worker was told to stop before, the end begins without a word.
        if facts.is_open() && matches!(phase, Phase::Stopping | Phase::GivenUp) {
            facts.ends(now)?;
        }
        facts.is_in_order(now)?;
        let refuses = |action: &Action| matches!(action, Action::Listeners(ListenerAction::Refuse { .. }));
        let ends_now = was_open && matches!(facts.stage, Stage::Ending { .. });
        let refused = !facts.policy.drain.listens || actions.iter().any(refuses);
        check(!ends_now || refused, "connections are not refused")?;
        let floor = facts.wanted().saturating_sub(facts.most_missing());
        let serves = facts.serving() + facts.lost;
        check(!facts.is_open() || serves >= serving.min(floor), "too few serve, by plan")
    }

    /// The pool goes on in the next program, by the same rules.
    pub fn go_on(&mut self, now: Monotonic) {
        self.facts.go_on(now);
    }

    /// Whether it was woken for a measurement of no worker.
    pub fn woke_for_a_reason(&self) -> bool {
        self.had_reason
    }

    /// Whenever the loop goes to sleep until `deadline`.
    pub fn settled(
        &self,
        now: Monotonic,
        deadline: Option<Monotonic>,
        snapshot: &Snapshot,
        childless: bool,
    ) -> Held {
        self.facts.shows(snapshot)?;
        self.facts.owes_nothing(now, deadline, childless)?;
        match self.facts.gone_by().filter(|_| self.punctual) {
            Some(by) => check(now <= by, "the shutdown takes too long"),
            None => Ok(()),
        }
    }
}

impl Facts {
    /// What holds after each step.
    fn is_in_order(&mut self, now: Monotonic) -> Held {
        self.explained.clear();
        check(self.asked.is_none(), "a worker was asked to stop and nothing was said")?;
        check(self.dead.iter().all(|dead| dead.by > now), "a worker ended and nothing was said")?;
        let is_woken = matches!(self.event, Event::Started | Event::DeadlinePassed);
        let is_ending = matches!(self.stage, Stage::Ending { .. });
        for worker in &self.live {
            let goes = worker.drain.is_some() || worker.stopped.is_some();
            check(worker.retired.is_none() || goes, "it made way, and nothing was done with it")?;
            check(worker.stopped.is_some() || !is_ending, "the end has come, and a worker was not told")?;
            let limit = worker.has_reached_a_limit(now).filter(|_| worker.serves());
            check(worker.due.is_some() || limit.is_none(), "a limit was passed over")?;
            // What was said before is heard first: only the clock finds a worker silent.
            let silent = is_woken && worker.ping_by().is_some_and(|by| by <= now);
            check(!silent, "a silent worker was passed over")?;
        }
        self.measurement_was_taken(now, is_woken)?;
        self.is_steered()?;
        if self.is_running() {
            let hung = |slot: usize| self.seated(slot).is_some_and(|w| w.is_up() && w.hung);
            let waits = (0..self.wanted()).any(|slot| hung(slot) && !self.slots[slot].recovers);
            let recovering = self.slots.iter().filter(|slot| slot.recovers).count();
            check(!waits || recovering >= self.most_missing().max(1), "one that hangs was not ended")?;
            self.reload_is_on_its_way(now)?;
        }
        Ok(())
    }

    /// Every worker that is up is measured, all at a time.
    fn measurement_was_taken(&mut self, now: Monotonic, is_woken: bool) -> Held {
        let measured = std::mem::take(&mut self.measured);
        if !is_woken || self.measure_at.is_none_or(|at| at > now) {
            return Ok(());
        }
        self.measure_at = self.policy.measure_every.filter(|_| self.is_open()).map(|every| now + every);
        check(self.live.iter().all(|w| !w.is_up() || measured.contains(&w.pid)), "a worker was not measured")
    }
}
