//! One history: the core, the fake kernel and the rules, with time between them. It does what
//! the loop of `supervisor.rs` does: actions in order, answers before anything else, then reaping.

use super::corners::Step;
use super::dice::{Dice, MS};
use super::init::InitRules;
use super::kernel::{Due, Heard, Kernel, Traits, stale_answer};
use super::plan::{Moment, Plan};
use super::pool::PoolRules;
use super::rule::Held;
use prefork_core::action::{Ask, TerminalAction};
use prefork_core::event::{Answer, ChildChange, Found, PoolFact, WorkerFact};
use prefork_core::exit::Exit;
use prefork_core::policy::Job;
use prefork_core::{Action, Core, Event, Mode, Monotonic, Received, Signal};
use std::collections::VecDeque;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Pool,
    Init,
}

enum Rules {
    Pool(Box<PoolRules>),
    Init(Box<InitRules>),
}

pub struct History<'a> {
    dice: Dice,
    plan: Plan,
    core: Core,
    kernel: Kernel,
    rules: Rules,
    /// Nothing was to be done since this was set.
    idle: bool,
    /// A spawn was carried out in this turn.
    spawned: bool,
    /// Deadlines that have passed at this moment.
    deadlines_now: (Monotonic, u32),
    steps: u64,
    steps_in_turn: u64,
    turns: u32,
    /// How often each trigger's moment has come.
    seen: Vec<u64>,
    prods: usize,
    /// We are stopped until then.
    stopped_until: Monotonic,
    /// Sees each step.
    observe: Observe<'a>,
}

type Observe<'a> = Box<dyn FnMut(Monotonic, &Step<'_>) + 'a>;

/// More steps than this without an event from outside or a deadline are a loop.
const MOST_STEPS_A_TURN: u64 = 200;

/// A deadline may have come already when a spawn is wanted, but not more often than there are slots,
/// successors and looks.
const MOST_DEADLINES_AT_ONCE: u32 = 60;

impl<'a> History<'a> {
    pub fn new(kind: Kind, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let plan = match kind {
            Kind::Pool => Plan::pool(&mut dice),
            Kind::Init => Plan::init(&mut dice),
        };
        let core = Core::new(plan.mode.clone(), plan.core_seed);
        let traits = Traits {
            stop_signal: core.stop_policy().signal,
            luck: plan.luck,
            most_pid: plan.most_pid,
            tells_stops: matches!(plan.mode, Mode::Init(_)),
            one_group: matches!(&plan.mode, Mode::Init(policy) if policy.job == Job::Shared),
            steered: matches!(&plan.mode, Mode::Pool(policy) if policy.drain.steered),
            hides_connections: plan.core_seed.is_multiple_of(5),
            stops_all: matches!(plan.mode, Mode::Pool(_)) && plan.core_seed.is_multiple_of(4),
            has_scoreboard: plan.core_seed.is_multiple_of(3),
        };
        let rules = match plan.mode.clone() {
            Mode::Pool(policy) => Rules::Pool(Box::new(PoolRules::new(policy, plan.is_punctual()))),
            Mode::Init(policy) => Rules::Init(Box::new(InitRules::new(policy))),
        };
        Self {
            core,
            kernel: Kernel::new(traits),
            rules,
            idle: false,
            spawned: false,
            deadlines_now: Default::default(),
            steps: 0,
            steps_in_turn: 0,
            turns: 0,
            seen: vec![0; plan.triggers.len()],
            prods: 0,
            stopped_until: Monotonic::default(),
            observe: Box::new(|_, _| {}),
            dice,
            plan,
        }
    }

    pub fn observed(self, observe: impl FnMut(Monotonic, &Step<'_>) + 'a) -> Self {
        Self { observe: Box::new(observe), ..self }
    }

    /// Returns the number of steps, or which rule was broken and how.
    pub fn run(mut self) -> Result<u64, String> {
        self.live()?;
        Ok(self.steps)
    }

    fn live(&mut self) -> Held {
        if let Some(every) = self.plan.noise_every {
            self.kernel.schedule(every, Due::Noise, &mut self.dice);
        }
        for _ in 0..self.plan.strays {
            let temper = self.plan.temper(&mut self.dice);
            self.kernel.adopt(temper, &mut self.dice);
        }
        self.trigger(Moment::Start);
        self.turn(Event::Started)?;
        while self.kernel.exit.is_none() {
            self.turns += 1;
            self.kernel.now = self.kernel.now.max(self.stopped_until);
            if self.turns > self.plan.most_turns && self.turns.is_multiple_of(16) {
                self.prod();
            }
            if self.turns > 5_000 {
                return Err("it does not come to an end".into());
            }
            let deadline = self.core.next_deadline();
            // At the same moment, chance decides.
            let comes = |at: Monotonic| (at.max(self.kernel.now), self.dice.one_in(2));
            match (deadline.map(comes), self.kernel.next_at().map(|at| (at.max(self.kernel.now), true))) {
                (None, None) if self.plan.left_quiet || self.prods >= self.plan.prods.len() => {
                    return self.quiet();
                }
                (None, None) => self.prod(),
                (Some(deadline), at) if at.is_none_or(|at| deadline < at) => self.pass(deadline.0)?,
                (_, Some(_) | None) => self.happen()?,
            }
        }
        self.epilogue()
    }

    /// Sends the next of the signals with which every history can be ended.
    fn prod(&mut self) {
        if let Some(signal) = self.plan.prods.get(self.prods) {
            self.kernel.schedule(Duration::ZERO, Due::Signal(*signal, 0), &mut self.dice);
            self.prods += 1;
        }
    }

    /// Nothing will ever happen again: that must be what was asked for.
    fn quiet(&self) -> Held {
        match &self.rules {
            Rules::Pool(_) if self.prods >= self.plan.prods.len() => {
                Err("three stop signals did not end it".into())
            }
            Rules::Init(rules) if rules.is_paused() => Ok(()),
            Rules::Pool(_) | Rules::Init(_) if self.kernel.is_childless() => {
                Err("no process is left, nothing will come, and it did not exit".into())
            }
            Rules::Pool(_) | Rules::Init(_) => Ok(()),
        }
    }

    /// Lets time pass up to a deadline, or beyond it.
    fn pass(&mut self, deadline: Monotonic) -> Held {
        let late = match self.plan.late {
            Some((most, one_in)) if self.dice.one_in(one_in) => self.dice.span(most),
            Some(_) | None => Duration::ZERO,
        };
        self.kernel.now = self.kernel.now.max(deadline + late);
        let seen = self.core.snapshot();
        self.idle = true;
        let (at, times) = self.deadlines_now;
        self.deadlines_now = (self.kernel.now, if at == self.kernel.now { times + 1 } else { 1 });
        if times > MOST_DEADLINES_AT_ONCE {
            return Err("a busy loop: deadlines pass, and no time".into());
        }
        self.turn(Event::DeadlinePassed)?;
        let has_reason = match &self.rules {
            Rules::Pool(rules) => rules.woke_for_a_reason(),
            Rules::Init(_) => false,
        };
        if self.idle && seen == self.core.snapshot() && !has_reason {
            return Err("it asked to be woken and had nothing to do".into());
        }
        Ok(())
    }

    /// Lets the next thing on the agenda happen.
    fn happen(&mut self) -> Held {
        match self.kernel.advance(&mut self.dice) {
            None => Ok(()),
            Some(Heard::Event(event)) => self.turn(event),
            Some(Heard::Signal(received)) => self.turn(Event::Signalled(received)),
            Some(Heard::ChildEnded) => {
                self.steps_in_turn = 0;
                self.reap()
            }
            Some(Heard::Noise) => {
                if let Some(every) = self.plan.noise_every.filter(|_| self.turns <= self.plan.most_turns) {
                    self.kernel.schedule(every, Due::Noise, &mut self.dice);
                }
                let pid = self.kernel.unknown_pid();
                let event = match self.dice.up_to(9) {
                    0 => Event::Worker { pid, fact: WorkerFact::SaidReady },
                    1 => Event::Worker { pid, fact: WorkerFact::SeenAccepting },
                    2 if self.dice.one_in(2) => Event::Worker { pid, fact: WorkerFact::ObservationRefused },
                    2 => Event::Worker {
                        pid,
                        fact: WorkerFact::NotSeenAccepting { took: Duration::MAX, more: true },
                    },
                    3 => Event::Worker { pid, fact: WorkerFact::RequestsReported { total: u64::MAX } },
                    4 => stale_answer(&mut self.dice, pid),
                    6 => Event::Worker { pid, fact: WorkerFact::Probed { passed: Some(false) } },
                    7 if self.dice.one_in(4) => Event::Worker {
                        pid,
                        fact: WorkerFact::ConnectionsSeen { found: None, took: Duration::MAX },
                    },
                    7 if self.dice.one_in(3) => {
                        Event::Worker { pid, fact: WorkerFact::QueueSeen { waiting: 0 } }
                    }
                    7 if self.dice.one_in(2) => Event::Worker { pid, fact: WorkerFact::QueueWoke },
                    7 => Event::Worker {
                        pid,
                        fact: WorkerFact::AcceptingSeen { found: Found::Left, took: Duration::MAX },
                    },
                    8 => Event::Worker { pid, fact: WorkerFact::Triggered },
                    9 if self.dice.one_in(2) => Event::Pool(PoolFact::ReachedOut),
                    5 => Event::Child {
                        pid,
                        change: ChildChange::Stopped { signal: Signal::TSTP, has_terminal: false },
                    },
                    _ => Event::DeadlinePassed,
                };
                self.turn(event)
            }
        }
    }

    /// One event from outside and all that follows from it at once.
    fn turn(&mut self, event: Event) -> Held {
        (self.steps_in_turn, self.spawned) = (0, false);
        self.handle(event)?;
        self.settled()
    }

    /// Steps the core, carries out what it wants, and feeds the answers back until there are none.
    fn handle(&mut self, event: Event) -> Held {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.step(event)? {
                events.extend(self.carry_out(&action)?);
            }
        }
        Ok(())
    }

    /// Each child that has ended is told while it is still a zombie; after some of them, everything else gets its
    /// turn.
    fn reap(&mut self) -> Held {
        for _ in 0..self.plan.reaped_at_once {
            if let Some((pid, signal)) = self.kernel.stopped() {
                let has_terminal = self.dice.one_in(3);
                self.handle(Event::Child { pid, change: ChildChange::Stopped { signal, has_terminal } })?;
                continue;
            }
            let Some((pid, exit)) = self.kernel.zombie() else {
                return self.turn(Event::Reaped { children_left: !self.kernel.is_childless() });
            };
            let killed = matches!(exit, Exit::Signal { signal: Signal::KILL, .. });
            let out_of_memory = self.dice.one_in(if killed { 3 } else { 50 });
            self.handle(Event::Child { pid, change: ChildChange::Exited { exit, out_of_memory } })?;
            self.kernel.release(pid);
            if self.core.awaits_group(pid) && self.kernel.is_empty_group(pid) {
                self.handle(Event::Child { pid, change: ChildChange::GroupEnded })?;
            }
        }
        self.kernel.look_again(&mut self.dice);
        Ok(())
    }

    fn step(&mut self, event: Event) -> Result<Vec<Action>, String> {
        self.kernel.now = self.kernel.now + self.dice.span(self.plan.step_takes);
        let now = self.kernel.now;
        self.steps += 1;
        self.steps_in_turn += 1;
        if self.steps_in_turn > MOST_STEPS_A_TURN {
            return Err("it goes in circles without time passing".into());
        }
        let mut actions = Vec::new();
        self.core.step(now, event, &mut actions);
        (self.observe)(now, &Step { mode: &self.plan.mode, event, actions: &actions, core: &self.core });
        if let Some(action) = actions.first().filter(|_| self.kernel.exit.is_some()) {
            return Err(format!("after Exit: {action:?}"));
        }
        match &mut self.rules {
            Rules::Pool(rules) => rules.step(now, event, &actions, self.core.snapshot().phase)?,
            Rules::Init(rules) => rules.step(now, event, &actions)?,
        }
        self.idle &= actions.is_empty();
        Ok(actions)
    }

    fn trigger(&mut self, moment: Moment) {
        for (trigger, seen) in self.plan.triggers.iter().zip(&mut self.seen) {
            if moment == trigger.moment {
                *seen += 1;
                if *seen == trigger.nth {
                    let signal = Due::Signal(trigger.signal, trigger.code);
                    let due = trigger.demand.map_or(signal, Due::Asked);
                    self.kernel.schedule(trigger.after, due, &mut self.dice);
                }
            }
        }
    }

    /// Until we are continued; that is void for PID 1, and in the end nothing does it any more.
    fn stop_us(&mut self) {
        if self.turns <= self.plan.most_turns && !self.dice.one_in(4) {
            let away = self.dice.pick_ms(&[0, 1, 3_000, 60_000]);
            self.stopped_until = self.kernel.now + away;
            self.kernel.schedule(away, Due::Signal(Signal::CONT, 0), &mut self.dice);
        }
    }

    fn carry_out(&mut self, action: &Action) -> Result<Option<Event>, String> {
        if self.kernel.exit.is_some() {
            return Err(format!("after Exit: {action:?}"));
        }
        if let Some(moment) = Moment::of(action) {
            self.trigger(moment);
        }
        match action {
            Action::Spawn(order) => {
                if std::mem::replace(&mut self.spawned, true) {
                    return Err("a second spawn before the loop has looked around".into());
                }
                if self.plan.noise_every.is_some() && self.dice.one_in(8) {
                    let pid = self.kernel.unknown_pid();
                    let stale = stale_answer(&mut self.dice, pid);
                    self.handle(stale)?;
                }
                let temper = self.plan.temper(&mut self.dice);
                Ok(Some(self.kernel.spawn(*order, temper, &mut self.dice)))
            }
            // The kernel stops no job that nothing could continue.
            Action::Terminal(TerminalAction::StopSelf { .. }) if self.dice.one_in(4) => {
                Ok(Some(Event::Answered(Answer::StopRefused)))
            }
            Action::Terminal(TerminalAction::StopSelf { .. }) => {
                self.stop_us();
                Ok(None)
            }
            Action::Ask(Ask::Reap) => {
                self.kernel.look_again(&mut self.dice);
                Ok(None)
            }
            Action::Ask(Ask::Upgrade(given)) if self.plan.upgrades() => {
                let (Mode::Pool(policy), Rules::Pool(rules)) = (&self.plan.mode, &mut self.rules) else {
                    return Err("an init hands nothing over".into());
                };
                self.core = Core::take_over(policy.clone(), !self.plan.core_seed, given);
                rules.go_on(self.kernel.now);
                Ok(Some(Event::Started))
            }
            other => self.kernel.carry_out(other, &mut self.dice),
        }
    }

    /// What must hold whenever the loop goes to sleep.
    fn settled(&mut self) -> Held {
        if self.kernel.exit.is_some() || self.kernel.looks_again {
            return Ok(());
        }
        let (now, deadline) = (self.kernel.now, self.core.next_deadline());
        let snapshot = self.core.snapshot();
        let childless = self.kernel.is_childless();
        match &self.rules {
            Rules::Pool(rules) => rules.settled(now, deadline, &snapshot, childless),
            Rules::Init(rules) => rules.settled(now, deadline, &snapshot, childless),
        }
    }

    /// After `Exit` nothing is said to anything.
    fn epilogue(&mut self) -> Held {
        let pid = self.kernel.unknown_pid();
        self.kernel.end_all(&mut self.dice);
        self.kernel.now = self.kernel.now + 3_600_000 * MS;
        let term = Event::Signalled(Received::plain(Signal::TERM));
        for event in [
            term,
            Event::DeadlinePassed,
            Event::Worker { pid, fact: WorkerFact::SaidReady },
            Event::Reaped { children_left: false },
        ] {
            self.step(event)?;
        }
        match self.core.next_deadline() {
            None => Ok(()),
            Some(at) => Err(format!("after Exit it wants to be woken at {at:?}")),
        }
    }
}
