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
mod output;
mod reaping;
mod renew;
mod scrape;
mod sending;
mod spawning;
mod summary;
mod upgrade;
mod waiting;

use crate::control::{self, Inbox};
use crate::core::action::{Ask, Recipients};
use crate::core::policy::Job;
use crate::core::{Action, Core, Event, Mode, Monotonic, Note, Received, Signal};
use crate::helpers::Helpers;
use crate::helpers::hooks::Hooks;
use crate::helpers::ready_check::Checker;
use crate::helpers::run::Runner;
use crate::http::{Edge, Published};
use crate::os::process::send;
use crate::os::process::spawn::{Identity, Placement, Settings};
use crate::os::process::{exec, inherited, last_resort, memory, open_files, pid1};
use crate::os::signals::Signals;
use crate::os::{allocator, call};
use crate::report::log;
use crate::settings::Config;
use crate::settings::options::Like;
use crate::setup;
use crate::setup::Endpoints;
use crate::setup::environment::Environment;
use crate::values::error::StartError;
use crate::workers::share::Share;
use crate::workers::{Fleet, least_fd};
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
use tracing::debug;

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
    /// A child may have ended: SIGCHLD came, or the core wants to know.
    look_for_ended: bool,
    reaping: Reaping,
    /// Set by the core's last action.
    exit: Option<u8>,
}

impl Supervisor {
    /// Sets everything up; nothing is started yet. May fail, [`run`](Self::run) may not: after the start there
    /// is nobody to return an error to.
    ///
    /// # Errors
    /// Names what could not be had.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let is_pool = matches!(config.mode, Mode::Pool(_));
        // The others tell of it when they try.
        let given = if is_pool { setup::given()? } else { None };
        if is_pool || config.like == Like::Ourselves {
            let checked = setup::check_command(&config);
            checked.or_else(|error| upgrade::only_a_program(&given, error))?;
        }
        let who = setup::account(&config.process)
            .and_then(|account| Ok((setup::settings(&config.process, account.as_ref())?, account)));
        let (settings, account, cannot_spawn) = match who {
            Ok((settings, account)) => (settings, account, None),
            Err(error) => (Settings::default(), None, Some(upgrade::only_new_workers(&given, error)?)),
        };
        if is_pool {
            call::may_close().map_err(|error| setup::refused("close", &error))?;
            if let Err(error) = open_files::raise() {
                debug!(%error, "the limit on open files stays as it is");
            }
        }
        let runtime = setup::runtime()?;
        let inside = runtime.enter();
        let signals = Signals::open().map_err(|error| setup::refused("signalfd", &error))?;
        setup::relations(&config);
        let ids = settings.identity.as_ref().map(Identity::ids);
        let (mode, place, fleet) = match config.mode.clone() {
            Mode::Init(mut policy) => {
                let place = setup::place(config.placing);
                (policy.job, policy.gave_terminal_up) = (place.job, place.gave_up);
                policy.stops_itself |= place.job == Job::Shared;
                (Mode::Init(policy), Some(place), None)
            }
            Mode::Pool(mut policy) => {
                let least = least_fd(&config.pool);
                let lanes = setup::lanes(&config.pool, &mut policy, least, given.as_ref())?;
                let identity = settings.identity.as_ref();
                let fleet = Fleet::new(&config.pool, lanes, identity, given.as_ref());
                let fleet = fleet.map_err(|(what, error)| setup::refused(what, &error))?;
                (Mode::Pool(policy), None, Some(fleet))
            }
        };
        let core = match (mode, &given) {
            (Mode::Pool(policy), Some(given)) => Core::take_over(policy, pid1::seed(), &given.pool),
            (mode, _) => Core::new(mode, pid1::seed()),
        };
        let published = Published::new(core.snapshot());
        let (desk, inbox) = control::open();
        let (shows, lost) =
            given.as_ref().map(|given| (given.pool.now, given.pool.behind)).unwrap_or_default();
        let clock = Clock::new(Instant::now(), shows, lost);
        let edge = Edge { published: published.clone(), desk, since: clock.origin() };
        let endpoints = Endpoints::open(&config, &edge, given.as_ref())?;
        let environment = match &fleet {
            None => Environment::of_init(),
            Some(_) => Environment::of_pool(&config.pool.names(), config.pool.watchdog),
        };
        let environment = match &account {
            None => environment,
            Some(account) => environment.for_account(account),
        };
        setup::give_up_rights(&settings, &config);
        let check_passes = given.as_ref().is_some_and(|given| given.check_passes);
        let helpers = Helpers {
            runner: Runner::new(environment.of_errand(), settings.clone(), cannot_spawn),
            hooks: Hooks::new(config.around.on_event.clone()),
            checker: config.around.check.clone().map(|check| Checker::new(check, check_passes)),
        };
        drop(inside);
        let gave_up = place.as_ref().is_some_and(|place| place.gave_up);
        let placement = place.as_ref().map_or(Placement::Session, |place| place.placement);
        let terminal = place.and_then(|place| place.terminal);
        let console = Console::new(terminal, gave_up, config.like == Like::DumbInit);
        let in_force = InForce::new(&config);
        let before = Before::new(&config.around, given.as_ref());
        let starter = Starter {
            environment,
            placement,
            settings,
            cannot_spawn,
            death_signal: setup::death_signal_of_command(&config),
            command: config.command,
            closes_others: is_pool,
        };
        let state = Loop {
            core,
            clock,
            signals,
            fleet,
            endpoints,
            program: exec::own_program(),
            sender: Sender::new(ids),
            inbox,
            waiters: Vec::new(),
            observers: Observers::new(published, is_pool, config.pool.output.is_some()),
            before,
            helpers,
            console,
            in_force,
            starter,
            // Somebody may have ended while the program was exchanged.
            look_for_ended: given.is_some(),
            reaping: Reaping::default(),
            exit: None,
        };
        if is_pool {
            renew::discard_unheeded(&state.core);
        }
        Ok(Self { runtime: Some(runtime), state })
    }

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
                if let Some(fleet) = &mut self.fleet {
                    fleet.lanes.leave();
                }
                self.take_leave().await;
                self.last_words().await;
                self.finish_output().await;
                return code;
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
            self.look_for_ended = true;
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
            Action::Ask(Ask::Reap) => self.look_for_ended = true,
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
