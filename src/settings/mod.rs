//! The checked settings, and every rule about options that concerns more than one of them.

pub mod clap_errors;
pub mod compat;
pub mod defaults;
pub mod file;
pub mod given;
pub mod layers;
pub mod options;
pub mod placeholders;
pub mod plain;
pub mod restart_only;
pub mod rules;
mod script;
pub mod servers;
pub mod surroundings;
pub mod variables;

pub use crate::settings::rules::helpers::{HelperSettings, ReadyCheck};
pub use crate::settings::rules::init::InitSettings;
pub use crate::settings::rules::pool::{PoolSettings, probe_target};

use crate::core::{Mode, Signal};
use crate::settings::options::{Endpoint, Logging, Only, Options, ProcessOptions, Subreaper};
use crate::settings::placeholders::Command;
use crate::settings::rules::mode::AskedMode;
use crate::settings::rules::{collide, helpers, init, mode, pool};
use crate::settings::surroundings::Surroundings;
use crate::values::error::StartError;
use crate::values::style::Style;

#[derive(Debug)]
pub struct Settings {
    pub command: Command,
    /// One command or a pool, with its settings.
    pub mode: Mode<InitSettings, Box<PoolSettings>>,
    /// The addresses at which the supervisor is asked.
    pub endpoint: Endpoint,
    /// The programs that run before and beside the command.
    pub helpers: HelperSettings,
    /// The wording of the log.
    pub style: Style,
    /// The verbosity in another init's style.
    pub verbosity: u8,
    /// When to become a subreaper.
    pub subreaper: Subreaper,
    /// The signal that we get when our parent ends.
    pub parent_death_signal: Option<Signal>,
    /// User, directory and limits of the command.
    pub process: ProcessOptions,
    pub logging: Logging,
}

impl Settings {
    /// The settings of a pool; `None` in init mode.
    #[must_use]
    pub fn pool(&self) -> Option<&PoolSettings> {
        match &self.mode {
            Mode::Pool(pool) => Some(pool),
            Mode::Init(_) => None,
        }
    }
}

/// Checks the options against each other.
///
/// # Errors
/// The first broken rule.
pub fn resolve(options: Options, surroundings: &Surroundings) -> Result<Settings, StartError> {
    let command = Command::new(options.command.clone(), !options.pool.no_placeholders);
    if options.command.is_empty() && !options.init.pause {
        let remedy = "add the command to run, as in: prefork-init -- myserver";
        return Err(StartError::usage("COMMAND", "missing", remedy));
    }
    let (mode, command) = match mode::asked(&options, surroundings, &command) {
        AskedMode::Pool => {
            let problem = "only init mode has a use for it";
            given::none_only_for(Only::Init, &options.given, problem, "leave --workers and --bind out")?;
            if options.command.is_empty() {
                return Err(StartError::usage(
                    "--pause",
                    "a pool needs a command",
                    "leave it out, or the pool",
                ));
            }
            (Mode::Pool(Box::new(pool::resolve(&options, surroundings, &command)?)), command)
        }
        AskedMode::Init => {
            let remedy = "add --workers N or --bind ADDR";
            given::none_only_for(Only::Pool, &options.given, "only a pool has workers", remedy)?;
            (Mode::Init(init::resolve(&options)?), command.literal())
        }
        AskedMode::Once => {
            mode::log_no_pool(&options);
            (Mode::Init(init::resolve(&options)?), command.literal())
        }
    };
    let bind = if let Mode::Pool(pool) = &mode { &pool.bind[..] } else { &[] };
    collide::none_collide(&options, bind)?;
    Ok(Settings {
        command,
        mode,
        helpers: helpers::resolve(&options)?,
        style: options.defaults.style,
        verbosity: options.verbosity,
        subreaper: init::subreaper(&options),
        parent_death_signal: options.signals.parent_death_signal,
        endpoint: options.endpoint,
        process: options.process,
        logging: options.logging,
    })
}
