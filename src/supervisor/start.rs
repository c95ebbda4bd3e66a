//! Sets everything up. This may fail; nothing after it may.

use super::children::Reaping;
use super::clock::Clock;
use super::console::Console;
use super::execute::Executor;
use super::inputs::Inputs;
use super::life::Life;
use super::observers::Observers;
use super::reload::{self, InForce};
use super::sending::Sender;
use super::spawning::Starter;
use super::upgrade;
use super::{Buffers, Supervisor};
use crate::control::{self, waiting::Waiters};
use crate::core::event::SpawnFailure;
use crate::core::policy::Job;
use crate::core::{Core, Mode};
use crate::helpers::Helpers;
use crate::helpers::hooks::Hooks;
use crate::helpers::ready_check::Checker;
use crate::helpers::run::Runner;
use crate::http::{self, Access, Edge, Published};
use crate::os::call;
use crate::os::process::handover::ProgramHandover;
use crate::os::process::spawn::{self, Identity, Placement};
use crate::os::process::{exec, open_files, pid1};
use crate::os::runtime::runtime;
use crate::os::signals::Signals;
use crate::os::users::Account;
use crate::settings::{HelperSettings, Settings};
use crate::setup::environment::Environment;
use crate::setup::{self, CommandPlace, Endpoints};
use crate::values::error::StartError;
use crate::values::style::Style;
use crate::workers::{Workers, least_fd};
use std::{io, mem};
use tokio::time::Instant;
use tracing::debug;

impl Supervisor {
    /// Sets everything up; no process is started. The returned function runs to the end and returns the exit code. It
    /// must not fail, because it has no caller that could handle an error.
    ///
    /// # Errors
    /// What could not be set up.
    pub fn start(settings: Settings) -> Result<impl FnOnce() -> u8, StartError> {
        let is_pool = settings.pool().is_some();
        let given = if is_pool { setup::given()? } else { None };
        let mut missing = 0;
        // In compatibility modes the spawn itself reports a missing command.
        if is_pool || settings.style == Style::Ours {
            let checked = setup::check_command(&settings);
            missing = checked.or_else(|error| upgrade::only_a_program(&given, error).map(|()| 0))?;
        }
        let (attributes, account, cannot_spawn) = run_as(&settings, &given)?;
        if is_pool {
            call::may_close().map_err(|error| setup::refused("close", &error))?;
            if let Err(error) = open_files::raise() {
                debug!(%error, "the limit on open files stays as it is");
            }
        }
        let runtime = runtime()?;
        let inside = runtime.enter();
        let signals = Signals::open().map_err(|error| setup::refused("signalfd", &error))?;
        setup::relations(&settings);
        let (core, place, workers) = of_mode(&settings, attributes.identity.as_ref(), given.as_ref())?;
        let published = Published::new(core.snapshot());
        let (desk, inbox) = control::open();
        let (shows, lost) =
            given.as_ref().map(|given| (given.pool.now, given.pool.behind)).unwrap_or_default();
        let clock = Clock::new(Instant::now(), shows, lost);
        let edge = Edge { published: published.clone(), desk, since: clock.origin() };
        let endpoints = Endpoints::open(&settings, given.as_ref())?;
        serve(&endpoints, &edge)?;
        let environment = environment(&settings, account.as_ref());
        setup::give_up_rights(&attributes, &settings);
        let helpers = helpers(&settings.helpers, &environment, &attributes, cannot_spawn, given.as_ref());
        drop(inside);
        let gave_up = place.as_ref().is_some_and(|place| place.gave_up);
        let placement = place.as_ref().map_or(Placement::Session, |place| place.placement);
        let terminal = place.and_then(|place| place.terminal);
        let console = Console::new(terminal, gave_up, settings.style == Style::DumbInit);
        // The previous program in this process has run these commands already.
        let before = if given.is_some() { Vec::new() } else { settings.helpers.before.clone() };
        // If the command is started later, in another directory or for another user, it may be found elsewhere.
        let stays = !is_pool && settings.helpers.before.is_empty() && settings.process.chdir.is_none();
        let starter = Starter {
            missing: if stays && attributes.identity.is_none() { missing } else { 0 },
            environment,
            placement,
            attributes,
            cannot_spawn,
            death_signal: setup::death_signal_of_command(&settings),
            command: settings.command.clone(),
            closes_others: is_pool,
        };
        let ids = starter.attributes.identity.as_ref().map(Identity::ids);
        let execute = Executor { workers, sender: Sender::new(ids), console, starter, exit: None };
        let relays = settings.pool().is_some_and(|pool| pool.output.is_some());
        // A child may have ended during the upgrade.
        let children = Reaping::new(given.is_some());
        let mut life = Box::new(Life { core, execute, first: None });
        let mut supervisor = Box::new(Self {
            clock,
            inputs: Inputs { signals, children, inbox },
            waiters: Waiters::default(),
            observers: Observers::new(published, is_pool, relays),
            helpers,
            in_force: InForce::new(settings),
            endpoints,
            program: if is_pool { exec::own_program() } else { Err(io::ErrorKind::Unsupported.into()) },
            buffers: Buffers::default(),
        });
        if is_pool {
            reload::discard_ignored(&life.core);
        }
        Ok(move || {
            let code = runtime.block_on(supervisor.run(&mut life, &before));
            // The process ends: the kernel closes what the runtime holds all at once, and does not linger (socket(7)).
            mem::forget(runtime);
            code
        })
    }
}

/// The identity and limits of the command, and why no process can be started, if that is known and workers from a
/// handover go on.
fn run_as(
    settings: &Settings,
    given: &Option<ProgramHandover>,
) -> Result<(spawn::SpawnAttributes, Option<Account>, Option<SpawnFailure>), StartError> {
    let found = setup::account(&settings.process)
        .and_then(|account| Ok((setup::attributes(&settings.process, account.as_ref())?, account)));
    match found {
        Ok((attributes, account)) => Ok((attributes, account, None)),
        Err(error) => {
            Ok((spawn::SpawnAttributes::default(), None, Some(upgrade::only_new_workers(given, error)?)))
        }
    }
}

/// The core, and the command's place or the workers.
type ModeParts = (Core, Option<CommandPlace>, Option<Box<Workers>>);

/// The parts of one mode: the command's place, or the workers of a pool.
fn of_mode(
    settings: &Settings,
    identity: Option<&Identity>,
    given: Option<&ProgramHandover>,
) -> Result<ModeParts, StartError> {
    match &settings.mode {
        Mode::Init(init) => {
            let (mut policy, place) = (init.policy.clone(), setup::place(init.placing));
            (policy.job, policy.gave_terminal_up) = (place.job, place.gave_up);
            policy.stops_itself |= place.job == Job::Shared;
            // Init mode uses no random numbers.
            Ok((Core::new(Mode::Init(policy), 0), Some(place), None))
        }
        Mode::Pool(pool) => {
            let mut policy = pool.policy.clone();
            let lanes = setup::lanes(pool, &mut policy, least_fd(pool), given)?;
            let workers = Workers::new(pool, lanes, identity, given);
            let workers = workers.map_err(|(what, error)| setup::refused(what, &error))?;
            let core = match given {
                Some(given) => Core::take_over(policy, pid1::seed(), &given.pool),
                None => Core::new(Mode::Pool(policy), pid1::seed()),
            };
            Ok((core, None, Some(Box::new(workers))))
        }
    }
}

fn environment(settings: &Settings, account: Option<&Account>) -> Environment {
    let environment = match &settings.mode {
        Mode::Init(_) => Environment::of_init(),
        Mode::Pool(pool) => Environment::of_pool(&pool.names(), pool.watchdog),
    };
    match account {
        None => environment,
        Some(account) => environment.for_account(account),
    }
}

fn helpers(
    settings: &HelperSettings,
    environment: &Environment,
    attributes: &spawn::SpawnAttributes,
    cannot_spawn: Option<SpawnFailure>,
    given: Option<&ProgramHandover>,
) -> Helpers {
    // A change of these settings needs a restart: if there is no helper now, there will be none.
    let env = settings.commands().next().map(|_| environment.of_errand()).unwrap_or_default();
    let check_passes = given.is_some_and(|given| given.check_passes);
    Helpers {
        runner: Runner::new(env, attributes.clone(), cannot_spawn),
        hooks: Hooks::new(settings.on_event.clone()),
        checker: settings.check.clone().map(|check| Checker::new(check, check_passes)),
    }
}

/// Serves the endpoints. Must be called inside the runtime.
fn serve(endpoints: &Endpoints, edge: &Edge) -> Result<(), StartError> {
    let all =
        [("--health", &endpoints.health, Access::Health), ("--control", &endpoints.control, Access::Control)];
    for (option, listener, access) in all {
        let Some(listener) = listener else { continue };
        http::serve(listener, edge.clone(), access).map_err(|error| call::refused(option, &error))?;
    }
    Ok(())
}
