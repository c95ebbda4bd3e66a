//! One history: the core, the fake kernel and the rules, with time between them. It does what
//! the loop of `supervisor.rs` does: actions in order, answers before anything else, then reaping.

use super::dice::{Dice, MS};
use super::init_rules::InitRules;
use super::kernel::{Due, Heard, Kernel, stale_answer};
use super::plan::{Moment, Plan};
use super::pool_rules::PoolRules;
use prefork_init::core::{Action, Core, Event, Mode, Monotonic, Received, Signal, Snapshot};
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Pool,
    Init,
}

/// What a rule says: nothing, or how it was broken.
pub type Held = Result<(), String>;

pub enum Rules {
    Pool(Box<PoolRules>),
    Init(InitRules),
}

pub struct Outcome {
    pub steps: u64,
}

pub struct History {
    dice: Dice,
    plan: Plan,
    core: Core,
    kernel: Kernel,
    rules: Rules,
    actions: Vec<Action>,
    steps: u64,
    turns: u32,
    /// How often each trigger's moment has come.
    seen: Vec<u64>,
    prods: usize,
    trace: Option<Vec<String>>,
}

/// More steps than this without an event from outside or a deadline are a loop.
const MOST_STEPS_A_TURN: u64 = 400;

impl History {
    pub fn new(kind: Kind, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let plan = match kind {
            Kind::Pool => Plan::pool(&mut dice),
            Kind::Init => Plan::init(&mut dice),
        };
        let (rules, stop_signal) = match plan.mode.clone() {
            Mode::Pool(policy) => (Rules::Pool(Box::new(PoolRules::new(policy.clone()))), policy.stop.signal),
            Mode::Init(policy) => (Rules::Init(InitRules::new(policy)), policy.signal),
        };
        Self {
            core: Core::new(plan.mode.clone(), plan.core_seed),
            kernel: Kernel::new(stop_signal, plan.luck, plan.most_pid),
            rules,
            actions: Vec::new(),
            steps: 0,
            turns: 0,
            seen: vec![0; plan.triggers.len()],
            prods: 0,
            trace: None,
            dice,
            plan,
        }
    }

    pub fn traced(self) -> Self {
        Self { trace: Some(vec![format!("{:?}", self.plan.mode)]), ..self }
    }

    pub fn run_to_trace(mut self) -> Vec<String> {
        // A broken rule ends the trace, and that is what the reader wants to see last.
        let _ = self.live();
        self.trace.unwrap_or_default()
    }

    pub fn run(mut self) -> Result<Outcome, String> {
        self.live()?;
        Ok(Outcome { steps: self.steps })
    }

    fn live(&mut self) -> Held {
        if let Some(every) = self.plan.noise_every {
            self.kernel.schedule(every, Due::Noise, &mut self.dice);
        }
        self.turn(Event::Started)?;
        while self.kernel.exit.is_none() {
            self.turns += 1;
            if self.turns > self.plan.most_turns && self.turns.is_multiple_of(16) {
                self.prod();
            }
            if self.turns > 5_000 {
                return Err("it does not come to an end".into());
            }
            let deadline = self.core.next_deadline();
            match (deadline, self.kernel.next_at()) {
                (None, None) if self.plan.left_quiet || self.prods >= PRODS.len() => return self.quiet(),
                (None, None) => self.prod(),
                (Some(deadline), at) if at.is_none_or(|at| deadline < at) => self.pass(deadline)?,
                (_, Some(_) | None) => self.happen()?,
            }
        }
        self.epilogue()
    }

    /// Sends the next of the signals with which every history can be ended.
    fn prod(&mut self) {
        if let Some(signal) = PRODS.get(self.prods) {
            self.kernel.schedule(Duration::ZERO, Due::Signal(signal.number()), &mut self.dice);
            self.prods += 1;
        }
    }

    /// Nothing will ever happen again: that must be what was asked for.
    fn quiet(&self) -> Held {
        match &self.rules {
            Rules::Pool(_) if self.prods >= PRODS.len() => Err("three stop signals did not end it".into()),
            Rules::Pool(_) | Rules::Init(_) if self.kernel.is_childless() => {
                Err("nobody is left, nothing will come, and it did not exit".into())
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
        let before = self.steps;
        self.turn(Event::DeadlinePassed)?;
        if self.steps == before + 1 && self.actions.is_empty() {
            return Err("it asked to be woken and had nothing to do".into());
        }
        Ok(())
    }

    /// Lets the next thing on the agenda happen.
    fn happen(&mut self) -> Held {
        match self.kernel.advance(&mut self.dice) {
            None => Ok(()),
            Some(Heard::Event(event)) => self.turn(event),
            Some(Heard::Signal(signal)) => self.turn(Event::Signalled(Received::plain(signal))),
            Some(Heard::ChildEnded) => {
                self.kernel.reap_asked = true;
                self.answer()
            }
            Some(Heard::Noise) => {
                if let Some(every) = self.plan.noise_every.filter(|_| self.turns <= self.plan.most_turns) {
                    self.kernel.schedule(every, Due::Noise, &mut self.dice);
                }
                let pid = self.kernel.unknown_pid();
                let event = match self.dice.up_to(6) {
                    0 => Event::SaidReady { pid },
                    1 => Event::SeenAccepting { pid },
                    2 => Event::ObservationRefused { pid },
                    3 => Event::RequestsReported { pid, total: u64::MAX },
                    4 => stale_answer(&mut self.dice, pid),
                    _ => Event::DeadlinePassed,
                };
                self.turn(event)
            }
        }
    }

    /// One event from outside and all that follows from it at once.
    fn turn(&mut self, event: Event) -> Held {
        self.step(event)?;
        self.answer()
    }

    /// Feeds answers back, then reaps, until all is quiet.
    fn answer(&mut self) -> Held {
        let before = self.steps;
        loop {
            while let Some(answer) = self.kernel.answers.pop_front() {
                self.step(answer)?;
            }
            if self.steps > before + MOST_STEPS_A_TURN {
                return Err("it goes in circles without time passing".into());
            }
            if !std::mem::take(&mut self.kernel.reap_asked) {
                break;
            }
            while let Some((pid, exit)) = self.kernel.zombie() {
                self.step(Event::Exited { pid, exit })?;
                while let Some(answer) = self.kernel.answers.pop_front() {
                    self.step(answer)?;
                }
                self.kernel.reap(pid);
            }
            self.kernel.reap_asked = false;
            let children_left = !self.kernel.is_childless();
            self.step(Event::Reaped { children_left })?;
        }
        self.settled()
    }

    fn step(&mut self, event: Event) -> Held {
        let now = self.kernel.now;
        self.steps += 1;
        self.actions.clear();
        self.core.step(now, event, &mut self.actions);
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:?} {event:?} -> {:?}", now.0, self.actions));
        }
        if self.kernel.exit.is_some() && !self.actions.is_empty() {
            return Err(format!("after Exit: {:?}", self.actions));
        }
        match &mut self.rules {
            Rules::Pool(rules) => rules.step(now, event, &self.actions)?,
            Rules::Init(rules) => rules.step(now, event, &self.actions)?,
        }
        for action in &self.actions {
            if self.kernel.exit.is_some() {
                return Err(format!("after Exit: {action:?}"));
            }
            let temper = self.plan.temper(&mut self.dice);
            self.kernel.carry_out(action, temper, &mut self.dice)?;
            let moment = Moment::of(action);
            for (trigger, seen) in self.plan.triggers.iter().zip(&mut self.seen) {
                if moment == Some(trigger.moment) {
                    *seen += 1;
                    if *seen == trigger.nth {
                        let due = Due::Signal(trigger.signal.number());
                        self.kernel.schedule(trigger.after, due, &mut self.dice);
                    }
                }
            }
        }
        Ok(())
    }

    /// What must hold whenever the loop goes to sleep.
    fn settled(&mut self) -> Held {
        if self.kernel.exit.is_some() {
            return Ok(());
        }
        let (now, deadline) = (self.kernel.now, self.core.next_deadline());
        if deadline.is_some_and(|at| at <= now) {
            return Err(format!("a busy loop: at {now:?} the next deadline is {deadline:?}"));
        }
        let snapshot: Snapshot = self.core.snapshot();
        let childless = self.kernel.is_childless();
        match &self.rules {
            Rules::Pool(rules) => rules.settled(now, deadline, &snapshot, childless),
            Rules::Init(rules) => rules.settled(now, deadline, &snapshot, childless),
        }
    }

    /// After `Exit` nothing is said to anything.
    fn epilogue(&mut self) -> Held {
        let pid = self.kernel.unknown_pid();
        self.kernel.now = self.kernel.now + 3_600_000 * MS;
        let term = Event::Signalled(Received::plain(Signal::TERM));
        for event in [term, Event::DeadlinePassed, Event::SaidReady { pid }, Event::Reaped { children_left: false }]
        {
            self.step(event)?;
        }
        match self.core.next_deadline() {
            None => Ok(()),
            Some(at) => Err(format!("after Exit it wants to be woken at {at:?}")),
        }
    }
}

const PRODS: [Signal; 3] = [Signal::TERM, Signal::INT, Signal::QUIT];
