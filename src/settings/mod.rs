//! What is to be done, checked: every rule about options that concerns more than one of them.

pub mod clap_errors;
pub mod compat;
pub mod file;
pub mod layers;
pub mod options;
pub mod placeholders;
pub mod plain;
pub mod rules;
mod script;
pub mod servers;
pub mod variables;

pub use crate::settings::rules::helpers::{Around, Check};
pub use crate::settings::rules::init::{Defaults, Placing};
pub use crate::settings::rules::pool::{Pool, probe_target};

use crate::core::policy::{PoolPolicy, ReadyPolicy};
use crate::core::{Mode, Signal};
use crate::os::container::capacity::Capacity;
use crate::settings::options::{Given, Logging, Only, Options, Process, Source, Subreaper};
use crate::settings::placeholders::Command;
use crate::settings::rules::activation;
use crate::settings::rules::collide;
use crate::settings::rules::helpers;
use crate::settings::rules::init;
use crate::settings::rules::mode;
use crate::settings::rules::mode::Asked;
use crate::settings::rules::pool;
use crate::values::address::Address;
use crate::values::error::StartError;
use crate::values::style::Style;
use std::ffi::OsString;
use tracing::warn;

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    /// What to run.
    pub command: Command,
    /// How.
    pub mode: Mode,
    /// What a pool needs, beside its rules.
    pub pool: Pool,
    /// Where the health endpoint listens.
    pub health: Option<Address>,
    /// Where orders are taken.
    pub control: Option<Address>,
    /// What runs before and beside the command.
    pub around: Around,
    /// In whose words the log is.
    pub style: Style,
    /// How much is said in their words.
    pub verbosity: u8,
    /// Where the command runs, in init mode.
    pub placing: Placing,
    /// When to become a subreaper.
    pub subreaper: Subreaper,
    /// What we get when the process that started us is gone.
    pub parent_death_signal: Option<Signal>,
    /// As whom, where and under which limits the command runs.
    pub process: Process,
    /// What is logged, and how.
    pub logging: Logging,
}

/// What other programs' conventions say in our environment.
#[derive(Debug)]
pub struct Environment {
    /// `WEB_CONCURRENCY`: how many workers (gunicorn, uvicorn, puma).
    pub web_concurrency: Option<OsString>,
    /// `PORT`: where to listen (gunicorn, and most platforms).
    pub port: Option<OsString>,
    /// `LISTEN_FDS` and its like: sockets that are there already.
    pub activation: Option<activation::Variables>,
    /// What `--workers auto` goes by; `None` is to look when it is asked for.
    pub capacity: Option<Capacity>,
    /// Whether our stdin is a terminal: asked for where it matters.
    pub terminal: fn() -> bool,
}

impl Default for Environment {
    fn default() -> Self {
        Self { web_concurrency: None, port: None, activation: None, capacity: None, terminal: || false }
    }
}

impl Config {
    /// Checks the options against each other.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn resolve(options: Options, environment: &Environment) -> Result<Self, StartError> {
        let command = Command::new(options.command.clone(), !options.pool.no_placeholders);
        if options.command.is_empty() && !options.init.pause {
            let remedy = "add the command to run, as in: prefork-init -- myserver";
            return Err(StartError::usage("COMMAND", "missing", remedy));
        }
        let asked = mode::asked(&options, environment, &command);
        let (mode, pool, command) = if asked == Asked::Pool {
            none_only_for(
                Only::Init,
                &options,
                "only init mode has a use for it",
                "leave --workers and --bind out",
            )?;
            if options.command.is_empty() {
                return Err(StartError::usage(
                    "--pause",
                    "a pool needs a command",
                    "leave it out, or the pool",
                ));
            }
            let (policy, pool) = pool::resolve(&options, environment, &command)?;
            (Mode::Pool(policy), pool, command)
        } else {
            match asked {
                Asked::Once => mode::tell_once(&options),
                Asked::Init | Asked::Pool => {
                    let remedy = "add --workers N or --bind ADDR";
                    none_only_for(Only::Pool, &options, "only a pool has workers", remedy)?;
                }
            }
            (Mode::Init(init::policy(&options)?), Pool::default(), command.literal())
        };
        collide::none_collide(&options, &pool.bind)?;
        let around = helpers::resolve(&options)?;
        let (placing, subreaper) = (init::placing(&options), init::subreaper(&options));
        Ok(Self {
            command,
            mode,
            pool,
            health: options.endpoint.health,
            control: options.endpoint.control,
            around,
            style: options.defaults.style,
            verbosity: options.verbosity,
            placing,
            subreaper,
            parent_death_signal: options.signals.parent_death_signal,
            process: options.process,
            logging: options.logging,
        })
    }
}

impl Config {
    /// What is decided once, by option, as it can be compared: listeners, users and what workers inherit.
    #[must_use]
    pub fn fixed(&self) -> Vec<(&'static str, String)> {
        let pool = &self.pool;
        let around = &self.around;
        let is_pool = matches!(self.mode, Mode::Pool(_));
        let ready = match &self.mode {
            Mode::Pool(PoolPolicy { ready, .. }) => {
                let ReadyPolicy { observe, believe, probe, after, .. } = ready;
                format!("{observe} {believe} {probe} {after:?} {}", pool.ready_pipe)
            }
            Mode::Init(_) => String::new(),
        };
        vec![
            ("workers", format!("{is_pool}")),
            ("bind", format!("{:?}", pool.bind)),
            ("bind-mode", format!("{:o}", pool.bind_mode)),
            ("bind-group", format!("{:?}", pool.bind_group)),
            ("listener", format!("{:?}", pool.per_worker)),
            ("backlog", pool.backlog.to_string()),
            ("probe", format!("{}", pool.probe.is_some())),
            ("count-requests", format!("{:?}", pool.scoreboard)),
            ("ready", ready),
            ("worker-output", format!("{:?}", pool.output)),
            ("deadline", format!("{:?}", around.deadline)),
            ("before", format!("{:?} {:?}", around.before, around.before_by)),
            ("on-event", format!("{:?}", around.on_event)),
            ("ready-check", format!("{:?}", around.check)),
            ("log-format", format!("{:?}", self.logging.log_format)),
            ("log-level", format!("{:?}", self.logging.log_level)),
            ("watchdog", format!("{:?}", pool.watchdog)),
            ("health", format!("{:?}", self.health)),
            ("control", format!("{:?}", self.control)),
            ("user", format!("{:?}", self.process)),
            ("subreaper", format!("{:?}", self.subreaper)),
            ("parent-death-signal", format!("{:?}", self.parent_death_signal)),
        ]
    }
}

/// Flags that the mode has no use for are a mistake, not a decoration. A variable, or a setting of a file, may be there
/// for the image's usual command, and this one is another.
fn none_only_for(mode: Only, options: &Options, problem: &str, remedy: &str) -> Result<(), StartError> {
    for given in options.given.iter().filter(|given| given.only == Some(mode)) {
        match &given.source {
            Source::Flag => return Err(StartError::usage(&given.flag, problem, remedy)),
            Source::Variable(variable) => warn!(variable, "variable ignored: {problem}, {remedy}"),
            Source::File(file) => {
                let key = given.flag.trim_start_matches('-');
                warn!(file, key, "setting ignored: {problem}, {remedy}");
            }
        }
    }
    Ok(())
}

/// A flag that has no use is a mistake; a variable may be there for other commands in the same image.
fn useless(options: &Options, names: &[&str], problem: &str, remedy: &str) -> Result<(), StartError> {
    let is_one = |given: &&Given| given.source == Source::Flag && names.contains(&given.field.as_str());
    match options.given.iter().find(is_one) {
        Some(given) => Err(StartError::usage(&given.flag, problem, remedy)),
        None => Ok(()),
    }
}
