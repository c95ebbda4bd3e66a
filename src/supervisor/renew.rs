//! A reload with a configuration file: it is read anew, and what it says of the workers holds from then on.

use super::Loop;
use crate::check::plan;
use crate::core::event::Answer;
use crate::core::note::ReloadNote;
use crate::core::{Event, Mode, Note, Signal};
use crate::os::signals;
use crate::settings::compat;
use crate::settings::layers::Parsed;
use crate::settings::options;
use crate::settings::placeholders::{Command, NOTIFY_FD};
use crate::settings::{Config, Environment, Pool};
use crate::setup;
use crate::values::error::StartError;
use tracing::{error, warn};

/// What the configuration says to the loop: with what workers are started and measured.
#[derive(Clone, Debug)]
pub struct InForce {
    command: Command,
    pool: Pool,
    /// What holds until we are started anew, as it was then.
    fixed: Vec<(&'static str, String)>,
    /// What is bound, in the words of the plan.
    pub(super) bound: Vec<String>,
    /// The first two as of the generation that has proved itself, while another is tried.
    before: Option<(Command, Pool)>,
}

impl InForce {
    /// What was read at the start. Only a pool compares it with what is read later.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let (command, pool) = (config.command.clone(), config.pool.clone());
        let (fixed, bound) = match config.mode {
            Mode::Pool(_) => (config.fixed(), plan::bound(config)),
            Mode::Init(_) => (Vec::new(), Vec::new()),
        };
        Self { command, pool, fixed, bound, before: None }
    }
}

impl Loop {
    /// Reads the command line, the variables and the file as at the start.
    pub(super) fn read_configuration(&mut self) -> Event {
        let accepted = match read() {
            Ok(config) => self.renew(config),
            Err(error) => {
                error!("{error}");
                false
            }
        };
        Event::Answered(Answer::ConfigurationRead { accepted })
    }

    fn renew(&mut self, config: Config) -> bool {
        for ((option, now), (_, then)) in config.fixed().iter().zip(&self.in_force.fixed) {
            if now != then {
                warn!(
                    option,
                    "changed in the configuration: this takes effect at the next start, or at an upgrade (USR2)"
                );
            }
        }
        let Mode::Pool(mut policy) = config.mode else {
            error!("workers, bind: this would be no pool any more: give the one or the other, or start anew");
            return false;
        };
        if config.pool.ready_pipe && !self.in_force.pool.ready_pipe && config.command.mentions(NOTIFY_FD) {
            error!("command '{NOTIFY_FD}': workers have no such descriptor yet: start anew, or leave it out");
            return false;
        }
        if !self.fleet.as_ref().is_some_and(super::Fleet::steers) {
            setup::without_steering(&mut policy);
        }
        self.core.renew(policy);
        let InForce { command, pool, before, .. } = &mut self.in_force;
        let old = (std::mem::replace(command, config.command), std::mem::replace(pool, config.pool));
        before.get_or_insert(old);
        self.use_configuration();
        true
    }

    /// What becomes of a new configuration is that of the reload.
    pub(super) fn configuration_heard(&mut self, note: &Note) {
        match note {
            Note::Reload(_, ReloadNote::Confirmed) => self.in_force.before = None,
            Note::Reload(_, ReloadNote::Failed { .. }) => {
                if let Some((command, pool)) = self.in_force.before.take() {
                    (self.in_force.command, self.in_force.pool) = (command, pool);
                    self.use_configuration();
                }
            }
            _ => {}
        }
    }

    fn use_configuration(&mut self) {
        self.starter.command.clone_from(&self.in_force.command);
        if let Some(fleet) = &mut self.fleet {
            fleet.renew(&self.in_force.pool);
        }
        self.discard_unheeded();
    }

    /// Has the kernel discard the real-time signals that mean nothing to the pool: as many as their senders' limit allows
    /// would wait, and each would take a turn. Of the others one waits at most, and is worth a line.
    pub(super) fn discard_unheeded(&self) {
        signals::discard(Signal::queued().filter(|signal| !self.core.heeds(*signal)));
    }
}

fn read() -> Result<Config, StartError> {
    match compat::read(std::env::args_os())? {
        Parsed::Asks(options) => {
            let given = options.given.clone();
            let config = Config::resolve(*options, &Environment::read());
            let config = config.map_err(|error| error.by_name(|flag| options::name_of(flag, &given)))?;
            // Another user may find and execute what we may not.
            if config.process.user.is_none() && config.process.group.is_none() {
                setup::check_command(&config)?;
            }
            Ok(config)
        }
        // The command line is what it was, and that was to run something.
        Parsed::Print { .. } => Err(StartError::usage("command line", "runs nothing", "start anew")),
    }
}
