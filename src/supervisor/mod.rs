//! The loop: wait for one thing to happen, step, carry the actions out, feed the answers back.
//!
//! The only place where the core, the kernel and the endpoint meet. It does not ask why an action was chosen.

mod before;
mod clock;
mod console;
mod echo;
mod helping;
mod observers;
mod orders;
mod reaping;
mod renew;
mod scrape;
mod sending;
mod spawning;
mod start;
mod stop;
mod summary;
mod upgrade;
mod waiting;

use crate::control::Inbox;
use crate::core::action::{Ask, Recipients};
use crate::core::{Action, Core, Event, Monotonic, Note, Received, Signal};
use crate::helpers::Helpers;
use crate::os::allocator;
use crate::os::process::send;
use crate::os::process::{inherited, last_resort, memory};
use crate::os::signals::Signals;
use crate::report::log;
use crate::setup::Endpoints;
use crate::workers::Fleet;
use crate::workers::share::Share;
use before::Before;
use clock::Clock;
use console::Console;
use echo::is_our_own_echo;
use observers::Observers;
use orders::Waiter;
use reaping::Reaping;
use renew::InForce;
use sending::Sender;
use spawning::Starter;
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
    /// What a pool needs.
    fleet: Option<Fleet>,
    endpoints: Endpoints,
    /// Our own program, for when it is exchanged.
    program: io::Result<PathBuf>,
    sender: Sender,
    starter: Starter,
    in_force: InForce,
    /// What tasks ask of us.
    inbox: Inbox,
    /// Who waits for the outcome of an order.
    waiters: Vec<Waiter>,
    observers: Observers,
    before: Before,
    helpers: Helpers,
    console: Console,
    reaping: Reaping,
    /// Set by the core's last action.
    exit: Option<u8>,
}

impl Supervisor {
    /// Runs to the end and returns the exit code.
    pub fn run(mut self) -> u8 {
        let places = self.state.fleet.as_ref().map(Fleet::places).unwrap_or_default();
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
        if !self.before.is_running() && self.exit.is_none() {
            self.let_go();
        }
        let mut rounds = 0u32;
        loop {
            if let Some(code) = self.exit {
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
            self.tell_waiters();
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
        if self.fleet.is_none() && !self.helpers.run_more() {
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
        } else if !is_our_own_echo(received, self.console.gave_up) {
            #[cfg(debug_assertions)]
            echo::panic_for_a_test(received.signal);
            self.handle(Event::Signalled(received));
        }
    }

    fn take_news(&mut self) {
        for event in self.fleet.as_mut().map(Fleet::take).unwrap_or_default() {
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
                events.extend(self.carry_out(action));
            }
        }
        self.observers.look(self.before.shown(&self.core), self.clock.now());
    }

    fn carry_out(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Spawn(order) => {
                let fleet = self.fleet.as_mut();
                return Some(self.starter.spawn(&order, fleet, &mut self.console, &self.clock));
            }
            Action::Signal { to, signal } => self.signal(to, signal),
            Action::Forward(forward) => self.sender.forward(forward),
            Action::ContinueStopped(to) => self.sender.told(Signal::CONT, send::continue_stopped(to)),
            Action::Terminal(action) => return self.console.carry_out(action, self.starter.placement),
            Action::Worker { worker, lane, act } => {
                match self.fleet.as_mut()?.act(self.clock.now(), worker, lane, act) {
                    Ok(answer) => return answer,
                    Err((signal, error)) => self.sender.told(signal, Err(error)),
                }
            }
            Action::Check(check) => return self.fleet.as_mut()?.check(self.clock.now(), check),
            Action::Listeners(action) => self.fleet.as_mut()?.set_listeners(action),
            Action::Ask(Ask::ReadConfiguration) => {
                let fleet = self.fleet.as_mut();
                return Some(self.in_force.read(&mut self.core, &mut self.starter, fleet));
            }
            Action::Ask(Ask::Upgrade(pool)) => return Some(self.upgrade(*pool)),
            Action::Ask(Ask::Reap) => self.reaping.wanted = true,
            Action::Note(note) => self.report(&note),
            Action::Exit(code) => self.exit = Some(code),
        }
        None
    }

    fn signal(&mut self, to: Recipients, signal: Signal) {
        let sent = match to {
            Recipients::Process(pid) => send::to_process(pid, signal),
            Recipients::Takers(pid) => match &mut self.fleet {
                Some(fleet) => fleet.forward(pid, signal),
                None => Ok(()),
            },
            Recipients::Group(pid) => send::to_group(pid, signal),
            Recipients::Leftovers(group) => send::to_remains(group, signal),
            Recipients::Everyone => send::to_all(signal),
            Recipients::Orphans { except, asked_groups } => {
                let spared = self.spared(except);
                self.sender.ask_orphans(&spared, &asked_groups, signal)
            }
        };
        self.sender.told(signal, sent);
    }

    /// Tells everybody who wants to know.
    fn report(&mut self, note: &Note) {
        if self.before.is_running() {
            return self.report_before(note);
        }
        self.tell(note);
        if let Some(fleet) = &mut self.fleet {
            fleet.heed(note);
        }
        self.in_force.heed(note, &self.core, &mut self.starter, self.fleet.as_mut());
        self.observers.note(self.clock.now(), note);
        self.helpers.hooks.push(note);
        self.heed_end(note);
    }
}
