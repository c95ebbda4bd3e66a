//! The loop: wait for one thing to happen, step, carry the actions out, feed the answers back.
//!
//! The only place where the core, the kernel and the endpoint meet. It does not ask why an action was chosen.
//!
//! Its parts know nothing of it: `execute` carries actions out, with `sending`, `console` and `spawning`; `observers` tells
//! what happened; `reload` has the configuration in force; `clock` leaves out pauses.

mod before;
mod clock;
mod console;
mod echo;
mod execute;
mod helping;
mod observers;
mod orders;
mod reaping;
mod reload;
mod scrape;
mod sending;
mod spawning;
mod start;
mod stop;
mod summary;
pub mod upgrade;
mod waiting;

use crate::control::Inbox;
use crate::core::action::Ask;
use crate::core::{Action, Core, Event, Monotonic, Note, Received, Signal};
use crate::helpers::Helpers;
use crate::os::allocator;
use crate::os::process::{inherited, last_resort, memory};
use crate::os::signals::Signals;
use crate::report::log;
use crate::setup::Endpoints;
use crate::workers::Fleet;
use crate::workers::share::Share;
use before::Before;
use clock::Clock;
use echo::is_our_own_echo;
use execute::Executor;
use observers::Observers;
use orders::Waiters;
use reaping::Reaping;
use reload::InForce;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// Rounds of the loop before other tasks get their turn, should there always be something to do; one, if it took long.
const ROUNDS_BEFORE_YIELD: u32 = 2;

/// The running supervisor.
pub struct Supervisor {
    runtime: Option<Runtime>,
    state: Loop,
}

/// All that the loop holds.
struct Loop {
    core: Core,
    clock: Clock,
    signals: Signals,
    execute: Executor,
    endpoints: Endpoints,
    /// Our own program, for when it is exchanged.
    program: io::Result<PathBuf>,
    in_force: InForce,
    /// What tasks ask of us.
    inbox: Inbox,
    waiters: Waiters,
    observers: Observers,
    before: Before,
    helpers: Helpers,
    reaping: Reaping,
}

impl Supervisor {
    /// Runs to the end and returns the exit code.
    pub fn run(mut self) -> u8 {
        let places = self.state.execute.fleet.as_ref().map(Fleet::places).unwrap_or_default();
        allocator::tell_of_want(false);
        last_resort::stop_in_order_on_panic(self.state.core.stop_policy(), places);
        match self.runtime.take() {
            Some(runtime) => runtime.block_on(self.state.run()),
            None => crate::core::exit::code::INTERNAL,
        }
    }
}

impl Loop {
    async fn run(&mut self) -> u8 {
        self.publish_beside();
        if let Some(code) = self.prepare().await {
            return code;
        }
        self.live().await
    }

    async fn live(&mut self) -> u8 {
        self.handle(Event::Started);
        // Where nothing could be started, all that is left to do is to say so.
        if !self.before.is_running() && self.execute.exit.is_none() {
            self.let_go();
        }
        let mut rounds = 0u32;
        loop {
            if let Some(code) = self.execute.exit {
                return self.finish(code).await;
            }
            let paused = self.wait().await;
            let (begin, share) = (Instant::now(), Share::begin());
            self.take_signals();
            self.reap();
            self.take_news();
            self.take_asks();
            self.go_on_measuring();
            self.hear_out(paused).await;
            self.observers.act(self.before.shown(&self.core), self.clock.now());
            if self.core.next_deadline().is_some_and(|at| at <= self.now()) {
                self.handle(Event::DeadlinePassed);
            }
            self.waiters.tell(|| self.core.status(self.clock.now()));
            self.had_turn(begin.elapsed());
            self.tend_helpers();
            rounds = rounds.wrapping_add(1);
            if rounds.is_multiple_of(ROUNDS_BEFORE_YIELD) || share.is_over() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Lets go of what only the start needed.
    fn let_go(&self) {
        // While the command loads: it is not kept waiting for this.
        inherited::close_descriptors();
        // A pool starts workers here again, and others may be started too.
        if self.execute.fleet.is_none() && !self.helpers.run_more() {
            inherited::leave_directory();
        }
        memory::give_back();
    }

    fn now(&self) -> Monotonic {
        self.clock.now()
    }

    /// All of them, before the children that have ended: so a signal that came before a death is never taken for
    /// one that came after. But for real-time signals, of which tens of thousands may wait.
    fn take_signals(&mut self) {
        let share = Share::begin();
        loop {
            let batch = self.signals.take();
            if batch.is_empty() {
                break;
            }
            batch.into_iter().for_each(|received| self.take_signal(received));
            if share.is_over() {
                break;
            }
        }
        let share = Share::begin();
        while let Some(received) = self.signals.take_queued() {
            self.take_signal(received);
            if share.is_over() {
                break;
            }
        }
    }

    fn take_signal(&mut self, received: Received) {
        if received.signal == Signal::CHLD {
            log::child_signal();
            self.reaping.wanted = true;
        } else if !is_our_own_echo(received, self.execute.console.gave_up) {
            #[cfg(any(debug_assertions, prefork_panics))]
            echo::panic_for_a_test(received.signal);
            self.handle(Event::Signalled(received));
        }
    }

    fn take_news(&mut self) {
        for event in self.execute.fleet.as_mut().map(Fleet::take).unwrap_or_default() {
            self.handle(event);
        }
    }

    /// Steps the core, carries out what it wants in order, and feeds the answers back until there are none.
    fn handle(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        let mut actions = Vec::new();
        while let Some(event) = events.pop_front() {
            self.core.step(self.now(), event, &mut actions);
            for action in actions.drain(..) {
                match action {
                    Action::Note(note) => self.report(&note),
                    Action::Ask(ask) => events.extend(self.answer(ask)),
                    action => events.extend(self.execute.carry_out(action, &self.clock, &self.helpers)),
                }
            }
        }
        self.observers.look(self.before.shown(&self.core), self.clock.now());
    }

    fn answer(&mut self, ask: Ask) -> Option<Event> {
        match ask {
            Ask::ReadConfiguration => {
                let Executor { starter, fleet, .. } = &mut self.execute;
                Some(self.in_force.read(&mut self.core, starter, fleet.as_mut()))
            }
            Ask::Upgrade(pool) => Some(self.upgrade(*pool)),
            Ask::Reap => {
                self.reaping.wanted = true;
                None
            }
        }
    }

    /// Tells everybody who wants to know.
    fn report(&mut self, note: &Note) {
        if self.before.is_running() {
            return self.report_before(note);
        }
        self.tell(note);
        let Executor { starter, fleet, .. } = &mut self.execute;
        if let Some(fleet) = fleet {
            fleet.heed(note);
        }
        self.in_force.heed(note, &self.core, starter, fleet.as_mut());
        self.observers.note(self.clock.now(), note);
        self.helpers.hooks.push(note);
        self.heed_end(note);
    }
}
