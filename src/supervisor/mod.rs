//! The loop: wait for one thing to happen, step, carry the actions out, feed the answers back.
//!
//! The only place where the core, the kernel and the endpoint meet. It must not know why an action was chosen.
//!
//! Its parts do not know the loop: `execute` carries actions out, with `sending`, `console` and `spawning`;
//! `observers` reports what happened, with `scrape` and `summary`; `inputs` waits, with `children`; `reload` has the
//! configuration in force; `clock` leaves out pauses. Rarer work of the loop is in `first`, `requests`, `upgrade` and
//! `stop`.

mod children;
mod clock;
mod console;
mod echo;
mod execute;
mod first;
mod inputs;
mod life;
mod observers;
mod reload;
mod requests;
mod scrape;
mod sending;
mod spawning;
mod start;
mod stop;
mod summary;
pub mod upgrade;

use crate::control::waiting::Waiters;
use crate::core::action::Ask;
use crate::core::event::{ChildChange, PoolFact};
use crate::core::exit::Exit;
use crate::core::time::earlier;
use crate::core::{Action, Event, Monotonic, Note, Pid, Received, Signal};
use crate::helpers::Helpers;
use crate::http::Beside;
use crate::os::allocator;
use crate::os::process::reap::WaitOutcome;
use crate::os::process::{inherited, last_resort, memory, send};
use crate::os::socket::passed;
use crate::report::log;
use crate::setup::Endpoints;
use crate::values::command_line::Words;
use crate::workers::Workers;
use crate::workers::share::TimeShare;
use children::others_are_left;
use clock::{BEAT, Clock};
use echo::is_our_own_echo;
use execute::Executor;
use inputs::Inputs;
use life::Life;
use observers::Observers;
use reload::InForce;
use scrape::AT_ONCE;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;
use std::{io, mem};
use tokio::time::Instant;
use tracing::debug;

/// Rounds of the loop before other tasks get their turn, if there is always work; one round, if it took long.
const ROUNDS_BEFORE_YIELD: u32 = 2;

/// If a deadline is noticed this late, the loop did not wait for it.
const LATE: Duration = Duration::from_millis(10);

/// If a turn took this long, a probe that was under way may have been answered in time.
const LONG_TURN: Duration = Duration::from_millis(250);

/// The running supervisor, without the core and the executor of its actions: these are a [`Life`].
pub struct Supervisor {
    clock: Clock,
    inputs: Inputs,
    /// Orders whose outcome is awaited.
    waiters: Waiters,
    observers: Observers,
    helpers: Helpers,
    in_force: InForce,
    endpoints: Endpoints,
    /// The path of the supervisor's own program, for an upgrade.
    program: io::Result<PathBuf>,
    buffers: Buffers,
}

/// Empty between turns, and kept: a turn in which a signal is passed on allocates nothing.
#[derive(Default)]
struct Buffers {
    signals: Vec<Received>,
    events: VecDeque<Event>,
    actions: Vec<Action>,
}

/// Room for more, as the start of many workers takes, is given back.
const KEPT_ACTIONS: usize = 32;

impl Supervisor {
    async fn run(&mut self, life: &mut Life<'_>, before: &[Words]) -> u8 {
        let places = life.execute.workers.as_deref().map(Workers::places).unwrap_or_default();
        allocator::report_out_of_memory(false);
        last_resort::stop_in_order_on_panic(life.core.stop_policy(), places);
        self.publish_beside(life);
        if let Some(code) = self.prepare(before, life).await {
            return code;
        }
        self.live(life).await
    }

    async fn live(&mut self, life: &mut Life<'_>) -> u8 {
        self.feed(life, Event::Started);
        // If nothing could be started, the supervisor only has to report that.
        if life.first.is_none() && life.execute.exit.is_none() {
            self.let_go(life);
        }
        let mut rounds = 0u32;
        loop {
            if let Some(code) = life.execute.exit {
                return self.finish(life, code).await;
            }
            let paused = self.wait(life).await;
            let (begin, share) = (Instant::now(), TimeShare::begin());
            self.take_signals(life);
            self.reap(life);
            self.take_news(life);
            self.take_asks(life);
            self.go_on_measuring(life);
            self.catch_up(life, paused).await;
            self.observers.act(life.outside(), self.clock.now());
            if life.core.next_deadline().is_some_and(|at| at <= self.clock.now()) {
                self.feed(life, Event::DeadlinePassed);
            }
            self.waiters.tell(|| life.core.status(self.clock.now()));
            self.observe_turn(life, begin.elapsed());
            self.poll_helpers(life);
            rounds = rounds.wrapping_add(1);
            if rounds.is_multiple_of(ROUNDS_BEFORE_YIELD) || share.is_over() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Releases what only the start needed.
    fn let_go(&self, life: &Life<'_>) {
        // This is done while the command loads, so it does not delay the command.
        inherited::close_descriptors();
        // A pool starts workers in this directory later, and so may helpers.
        if life.execute.workers.is_none() && !self.helpers.run_more() {
            inherited::leave_directory();
        }
        memory::give_back();
    }

    /// Waits for a signal, a notice or the next deadline, but not while a child is left to reap. Returns whether the
    /// clock has left out a pause.
    async fn wait(&mut self, life: &mut Life<'_>) -> bool {
        let of_helpers = if life.first.is_some() { None } else { self.helpers.next_deadline(&life.core) };
        let next = earlier(life.core.next_deadline(), of_helpers);
        // A pause in the turn before must not count as one of this wait.
        self.clock.now();
        let began = Instant::now();
        let beat = self.hurts(life).then(|| began.checked_add(BEAT)).flatten();
        let deadline = next.and_then(|at| self.clock.instant(at));
        let retry = passed::retry_at().map(Instant::from_std);
        let others = [beat, self.observers.next_deadline(), self.inputs.children.again_at, retry];
        let deadline = deadline.into_iter().chain(others.into_iter().flatten()).min();
        let ahead = deadline.filter(|at| *at > began);
        let at_once = self.inputs.children.wanted || self.is_measuring(life);
        self.inputs.wait(deadline, at_once, life.execute.workers.as_deref_mut(), &mut self.helpers).await;
        let ended = Instant::now();
        if let Some(late) = ahead.and_then(|at| ended.checked_duration_since(at)) {
            self.observers.metrics.lag.observe(late);
        }
        self.clock.waited(began, deadline, ended);
        let Some(lost) = self.clock.news() else { return false };
        life.was_paused(lost);
        true
    }

    /// Whether a deadline runs at which a process is hurt.
    fn hurts(&self, life: &Life<'_>) -> bool {
        let of_probes = life.execute.workers.as_deref().is_some_and(Workers::probes);
        life.core.hurts() || of_probes || self.helpers.runner.next_deadline().is_some()
    }

    /// After a delay, such as a suspension, the runtime may have noticed the time and nothing else. Messages that
    /// workers have sent meanwhile have to be read before the workers are found to have sent none.
    async fn catch_up(&mut self, life: &mut Life<'_>, paused: bool) {
        let is_late = |at: Monotonic| paused || at + LATE <= self.clock.now();
        if life.execute.workers.is_some() && life.core.next_deadline().is_some_and(is_late) {
            tokio::task::yield_now().await;
            self.take_signals(life);
            self.reap(life);
            self.take_news(life);
        }
    }

    /// A turn took this long, during which no event was read.
    fn observe_turn(&mut self, life: &mut Life<'_>, took: Duration) {
        self.observers.metrics.turns.observe(took);
        if took >= LONG_TURN
            && let Some(workers) = &mut life.execute.workers
        {
            workers.excuse_probes();
        }
    }

    /// Takes all signals, before the children that have ended: so a signal that came before a death is never taken
    /// for a later one. Real-time signals are taken for a limited time, because tens of thousands may be queued.
    fn take_signals(&mut self, life: &mut Life<'_>) {
        let share = TimeShare::begin();
        let mut batch = mem::take(&mut self.buffers.signals);
        loop {
            self.inputs.signals.take(&mut batch);
            if batch.is_empty() {
                break;
            }
            batch.drain(..).for_each(|received| self.take_signal(life, received));
            if share.is_over() {
                break;
            }
        }
        self.buffers.signals = batch;
        let share = TimeShare::begin();
        while let Some(received) = self.inputs.signals.take_queued() {
            self.take_signal(life, received);
            if share.is_over() {
                break;
            }
        }
    }

    fn take_signal(&mut self, life: &mut Life<'_>, received: Received) {
        if received.signal == Signal::CHLD {
            log::child_signal();
            self.inputs.children.wanted = true;
        } else if !is_our_own_echo(received, life.execute.console.gave_up) {
            #[cfg(any(debug_assertions, prefork_panics))]
            echo::panic_for_a_test(received.signal);
            self.feed(life, Event::Signalled(received));
        }
    }

    /// Reaps children that have ended. Each is reported to the core while it is still a zombie, so that the core
    /// signals the process that it means. If they end faster than they are reaped, the rest waits for the next round.
    fn reap(&mut self, life: &mut Life<'_>) {
        if self.inputs.children.take_due() {
            self.reap_ended(life);
        }
        // Children that received descriptors may have ended, so there may be room for others.
        passed::tend();
    }

    fn reap_ended(&mut self, life: &mut Life<'_>) {
        let share = TimeShare::begin();
        loop {
            // A pool has no use for stopped children.
            let children_left = match self.inputs.children.look(life.execute.workers.is_none()) {
                WaitOutcome::Stopped(pid, signal) => {
                    if let Some(event) = life.execute.child_stopped(pid, signal) {
                        self.feed(life, event);
                    }
                    None
                }
                WaitOutcome::Traced(pid, signal) => {
                    self.inputs.children.let_run(pid, signal);
                    None
                }
                WaitOutcome::Ended(pid, exit) => {
                    self.ended(life, pid, exit);
                    self.inputs.children.release(pid);
                    self.group_may_have_ended(life, pid);
                    None
                }
                WaitOutcome::Gone(pid, exit) => {
                    self.ended(life, pid, exit);
                    self.group_may_have_ended(life, pid);
                    None
                }
                WaitOutcome::AllAlive => Some(others_are_left()),
                WaitOutcome::Nobody => Some(false),
                WaitOutcome::Unknown => return,
            };
            if let Some(children_left) = children_left {
                if !self.helpers.hold_end_back(self.clock.now(), &life.core) {
                    self.feed(life, Event::Reaped { children_left });
                }
                return;
            }
            if share.is_over() {
                self.inputs.children.wanted = true;
                return;
            }
        }
    }

    /// The core hears of workers and orphans, but not of helpers, nor of children that receive descriptors for the
    /// supervisor.
    fn ended(&mut self, life: &mut Life<'_>, pid: Pid, exit: Exit) {
        if passed::ended(pid, exit) {
            return;
        }
        debug!(pid = pid.0, %exit, "child reaped");
        let workers = &mut life.execute.workers;
        // The worker is still known, so what it has served is added to the total. The core does not need this: a
        // worker that has ended is not due for anything.
        let at_last = workers.as_ref().and_then(|workers| workers.served_at_last(pid));
        self.observers.metrics.counts.served(life.core.served_by(pid).max(at_last));
        let out_of_memory = workers.as_mut().is_some_and(|workers| workers.has_ended(pid, exit));
        if self.helpers.ended(self.clock.now(), pid, exit) {
            return self.publish_beside(life);
        }
        // This matters only until the first start has succeeded.
        let reached_out = |workers: &mut Workers| workers.outgoing.is_news();
        if !life.core.snapshot().started && workers.as_deref_mut().is_some_and(reached_out) {
            self.feed(life, Event::Pool(PoolFact::ReachedOut));
        }
        self.feed(life, Event::Child { pid, change: ChildChange::Exited { exit, out_of_memory } });
    }

    /// A child was reaped. Mostly its group has no other member, and then nothing of it has to be killed later.
    fn group_may_have_ended(&mut self, life: &mut Life<'_>, pid: Pid) {
        if life.core.awaits_group(pid) && send::is_empty_group(pid) {
            self.feed(life, Event::Child { pid, change: ChildChange::GroupEnded });
        }
    }

    fn take_news(&mut self, life: &mut Life<'_>) {
        for event in life.execute.workers.as_deref_mut().map(Workers::take).unwrap_or_default() {
            self.feed(life, event);
        }
    }

    fn is_measuring(&self, life: &Life<'_>) -> bool {
        self.observers.metrics.is_wanted()
            || life.execute.workers.as_ref().is_some_and(|workers| !workers.to_measure.is_empty())
    }

    /// Measures a few workers: for the core, and for scrapes that wait for a page.
    fn go_on_measuring(&mut self, life: &mut Life<'_>) {
        if !self.is_measuring(life) {
            return;
        }
        let begin = std::time::Instant::now();
        while let Some(measured) =
            life.execute.workers.as_mut().and_then(|workers| self.observers.measure(workers))
        {
            self.feed(life, measured);
            if begin.elapsed() >= AT_ONCE {
                return;
            }
        }
        if self.observers.metrics.is_wanted() {
            let status = || life.outside().status(self.clock.now());
            self.observers.go_on_measuring(begin, life.execute.workers.as_deref(), status);
        }
    }

    /// Runs after all other work of a turn.
    fn poll_helpers(&mut self, life: &mut Life<'_>) {
        if life.first.is_some() {
            return;
        }
        self.poll_hooks();
        let (now, snapshot) = (self.clock.now(), life.core.snapshot());
        let helpers = &mut self.helpers;
        let answered = helpers.checker.as_mut().map(|it| it.poll(now, &snapshot, &mut helpers.runner));
        self.count_helper_starts();
        if answered == Some(true) {
            self.publish_beside(life);
        }
        self.kill_overdue_helpers(life);
    }

    fn poll_hooks(&mut self) {
        // The core waits for the end of all children, so it has to hear of it.
        self.inputs.children.wanted |= self.helpers.hooks.poll(self.clock.now(), &mut self.helpers.runner);
        self.count_helper_starts();
    }

    fn count_helper_starts(&mut self) {
        if self.helpers.runner.take_worked() {
            self.clock.worked();
        }
    }

    fn kill_overdue_helpers(&mut self, life: &mut Life<'_>) {
        for sent in self.helpers.runner.kill_overdue(self.clock.now()) {
            life.execute.sender.log_failure(Signal::KILL, sent);
        }
    }

    /// Publishes at the endpoint what the core does not know.
    fn publish_beside(&self, life: &Life<'_>) {
        let check = self.helpers.checker.as_ref().map(|checker| checker.state().clone());
        self.observers.published.set_beside(Beside { prepares: life.first.is_some(), check });
    }

    /// Steps the core, carries out its actions in order, and feeds the answers back until there are none.
    fn feed(&mut self, life: &mut Life<'_>, event: Event) {
        let (mut events, mut actions) =
            (mem::take(&mut self.buffers.events), mem::take(&mut self.buffers.actions));
        events.push_back(event);
        while let Some(event) = events.pop_front() {
            life.core.step(self.clock.now(), event, &mut actions);
            for action in actions.drain(..) {
                match action {
                    Action::Note(note) => self.note(life, &note),
                    Action::Ask(ask) => events.extend(self.answer(life, ask)),
                    action => events.extend(life.execute.carry_out(action, &self.clock, &self.helpers)),
                }
            }
        }
        actions.shrink_to(KEPT_ACTIONS);
        (self.buffers.events, self.buffers.actions) = (events, actions);
        self.observers.look(life.outside(), self.clock.now());
    }

    fn answer(&mut self, life: &mut Life<'_>, ask: Ask) -> Option<Event> {
        match ask {
            Ask::ReadConfiguration => {
                let Executor { starter, workers, .. } = &mut life.execute;
                Some(self.in_force.read(&mut life.core, starter, workers.as_deref_mut()))
            }
            Ask::Upgrade(pool) => Some(self.upgrade(life.execute.workers.as_deref(), *pool)),
            Ask::Reap => {
                self.inputs.children.wanted = true;
                None
            }
        }
    }

    /// Reports a note to the log, the workers, the configuration, the observers and the hooks.
    fn note(&mut self, life: &mut Life<'_>, note: &Note) {
        if let Some(first) = &mut life.first {
            return first.note(note);
        }
        let (core, now) = (&life.core, self.clock.now());
        let Executor { starter, workers, .. } = &mut life.execute;
        self.observers.log(now, note, core, workers.as_deref_mut(), &self.endpoints);
        if let Some(workers) = workers {
            workers.note(note, core.stop_policy().graceful);
        }
        self.in_force.note(note, core, starter, workers.as_deref_mut());
        self.observers.note(now, note);
        self.helpers.hooks.push(note);
    }
}
