//! `prefork-init check`: the resolved settings, each with the layer that it came from, and what an experienced reviewer
//! would say of them. Nothing is started, bound or changed.

mod print;
mod rules;
mod server_rules;
#[cfg(test)]
mod tests;

use crate::cli::{Given, Only, Options, Source};
use crate::config::program::{Kind, Program};
use crate::config::{Config, Environment};
use crate::core::Mode;
use crate::core::policy::{InitPolicy, PoolPolicy};
use crate::core::time::Patience;
use crate::error::StartError;
use crate::os::capacity::Capacity;
use crate::os::privileges;
use crate::{cli, logging, setup};
use std::ffi::OsString;

/// What `check` is asked for.
#[derive(Debug)]
pub struct Asked {
    /// What would be started.
    pub options: Options,
    /// Each of them as it was given, in the order of the help.
    pub settings: Vec<Setting>,
    /// As one JSON object.
    pub json: bool,
    /// Warnings that are errors; `all` is every one.
    pub deny: Vec<String>,
}

/// An option, and what it has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its long name; `command` for the command.
    pub name: String,
    /// The group that it has in the help.
    pub heading: String,
    /// What it is.
    pub value: Value,
    /// Who said so; `None` is the default.
    pub source: Option<Source>,
    /// The mode that alone has a use for it.
    pub only: Option<Only>,
}

/// A setting's value, as the user would write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// It is not set.
    None,
    /// On or off.
    Is(bool),
    /// One value.
    One(String),
    /// Of an option that takes several.
    Many(Vec<String>),
}

/// Something that a reviewer would say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// A name that stays.
    pub id: &'static str,
    /// What is wrong, with the numbers.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

/// What has a say beside the settings.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// How many CPUs there are for us.
    pub cpus: u32,
    /// The container's memory limit, in bytes.
    pub memory_limit: Option<u64>,
    /// Whether the command would run as root.
    pub command_is_root: bool,
    /// `WEB_CONCURRENCY`.
    pub web_concurrency: Option<String>,
    /// `GUNICORN_CMD_ARGS`, which gunicorn reads before its command line.
    pub gunicorn_args: Vec<String>,
}

impl Surroundings {
    /// Those of this process, but for whom the command runs as.
    #[must_use]
    pub fn look(environment: &Environment) -> Self {
        let (uid, _) = privileges::own_ids();
        let capacity = Capacity::here();
        let gunicorn_args = std::env::var("GUNICORN_CMD_ARGS").unwrap_or_default();
        Self {
            cpus: capacity.cpus(),
            memory_limit: capacity.memory_limit,
            command_is_root: uid == 0,
            web_concurrency: environment
                .web_concurrency
                .as_ref()
                .map(|value| value.to_string_lossy().into_owned()),
            gunicorn_args: gunicorn_args.split_ascii_whitespace().map(str::to_owned).collect(),
        }
    }
}

/// What the rules look at.
#[derive(Debug)]
pub struct Case<'a> {
    /// What would be started.
    pub config: &'a Config,
    /// What was given.
    pub given: &'a [Given],
    /// How long the platform waits, if that was said.
    pub termination_grace: Option<Patience>,
    /// What has a say beside the settings.
    pub around: &'a Surroundings,
    /// What the command comes to.
    pub program: Program,
}

impl<'a> Case<'a> {
    fn new(
        config: &'a Config,
        given: &'a [Given],
        termination_grace: Option<Patience>,
        around: &'a Surroundings,
    ) -> Self {
        let words: Vec<String> =
            config.command.as_given().iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let mut program = Program::of(&words);
        if let Some(server) = program.server.as_mut().filter(|server| server.kind == Kind::Gunicorn)
        {
            server.args.splice(0..0, around.gunicorn_args.iter().cloned());
        }
        Self { config, given, termination_grace, around, program }
    }

    fn pool(&self) -> Option<&PoolPolicy> {
        match &self.config.mode {
            Mode::Pool(policy) => Some(policy),
            Mode::Init(_) => None,
        }
    }

    fn init(&self) -> Option<&InitPolicy> {
        match &self.config.mode {
            Mode::Init(policy) => Some(policy),
            Mode::Pool(_) => None,
        }
    }

    fn is_given(&self, field: &str) -> bool {
        self.given.iter().any(|given| given.field == field)
    }
}

/// The ids of all warnings, with what each is about.
pub fn ids() -> impl Iterator<Item = (&'static str, &'static str)> {
    rules::all().map(|rule| (rule.id, rule.about))
}

/// Checks, prints, and returns the exit code: 1 if a warning is denied.
///
/// # Errors
/// As the start would: one line for the first thing that is wrong.
pub fn run(asked: Asked) -> Result<u8, StartError> {
    let given = asked.options.given.clone();
    examine(asked, &given).map_err(|error| error.by_name(|flag| cli::name_of(flag, &given)))
}

fn examine(asked: Asked, given: &[Given]) -> Result<u8, StartError> {
    let Asked { options, mut settings, json, deny } = asked;
    let environment = Environment::read();
    let termination_grace = options.stopping.termination_grace;
    let config = Config::resolve(options, &environment)?;
    setup::check_command(&config)?;
    let account = setup::account(&config.process)?;
    setup::settings(&config.process, account.as_ref())?;
    let mut around = Surroundings::look(&environment);
    around.command_is_root = account.map_or(around.command_is_root, |account| account.identity.uid == 0);
    resolve(&mut settings, &config, &environment);
    let warnings = rules::warnings(&Case::new(&config, given, termination_grace, &around));
    let report = print::Report { config: &config, settings: &settings, warnings: &warnings, deny: &deny };
    logging::print(&if json { report.json() } else { report.text() }, false);
    Ok(u8::from(warnings.iter().any(|warning| report.is_denied(warning))))
}

/// What a pool takes from other programs' variables, where no option says it.
fn resolve(settings: &mut [Setting], config: &Config, environment: &Environment) {
    let Mode::Pool(policy) = &config.mode else { return };
    let mut take = |name: &str, value: Value, from: (&str, &Option<OsString>)| {
        let setting = settings.iter_mut().find(|setting| setting.name == name && setting.source.is_none());
        if let Some(setting) = setting {
            setting.value = value;
            setting.source = from.1.as_ref().map(|_| Source::Variable(from.0.to_owned()));
        }
    };
    let workers = Value::One(policy.workers.to_string());
    take("workers", workers, ("WEB_CONCURRENCY", &environment.web_concurrency));
    let bind = Value::Many(config.pool.bind.iter().map(ToString::to_string).collect());
    take("bind", bind, ("PORT", &environment.port));
    if config.pool.sizing.is_some()
        && let Some(setting) = settings.iter_mut().find(|setting| setting.name == "workers")
    {
        setting.value = Value::One(format!("{} (auto)", policy.workers));
    }
}
