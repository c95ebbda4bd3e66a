//! `prefork-init check`: the resolved settings, each with the layer that it came from, and what an experienced reviewer
//! would say of them. Nothing is started, bound or changed.

mod certain;
mod installed;
pub mod options;
pub mod plan;
pub mod plan_pool;
mod print;
mod rules;
mod server_rules;
#[cfg(test)]
mod tests;

use crate::core::Mode;
use crate::core::policy::{InitPolicy, PoolPolicy};
use crate::core::time::Patience;
use crate::os::container::capacity::Capacity;
use crate::os::process::privileges;
use crate::report::log;
use crate::settings::given::{Given, Only, Source, name_of};
use crate::settings::options::{Options, Unknown};
use crate::settings::servers::{Between, Kind, Program, Server};
use crate::settings::surroundings::Surroundings;
use crate::settings::{self, Settings};
use crate::setup;
use crate::values::error::StartError;
use std::ffi::OsString;
use std::path::Path;

/// What `check` is asked for.
#[derive(Debug)]
pub struct Asked {
    /// What would be started.
    pub options: Options,
    /// Each of them as it was given, in the order of the help.
    pub settings: Vec<Setting>,
    /// As one JSON object.
    pub json: bool,
    /// What is not set, too.
    pub all: bool,
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
pub struct Context {
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
    /// `UVICORN_WORKERS` and the like, which uvicorn reads before its command line, as arguments.
    pub uvicorn_args: Vec<String>,
    /// Whether gunicorn finds a configuration file where it starts.
    pub gunicorn_file: bool,
    /// Which gunicorn would run, as far as is known: the first two parts of its version.
    pub gunicorn_version: Option<(u32, u32)>,
    /// Variables that look like ours, and are none.
    pub unknown: Vec<Unknown>,
    /// Whether a shell that is before the server starts it as another process, whatever its script.
    pub shell_forks: bool,
}

impl Context {
    /// Those of this process, but for whom the command runs as.
    #[must_use]
    pub fn look(surroundings: &Surroundings, config: &Settings) -> Self {
        let (uid, _) = privileges::own_ids();
        let capacity = Capacity::here();
        let directory = config.process.chdir.as_deref().unwrap_or_else(|| Path::new("."));
        Self {
            cpus: capacity.cpus(),
            memory_limit: capacity.memory_limit,
            command_is_root: uid == 0,
            web_concurrency: surroundings
                .web_concurrency
                .as_ref()
                .map(|value| value.to_string_lossy().into_owned()),
            gunicorn_file: directory.join("gunicorn.conf.py").exists(),
            gunicorn_version: installed::gunicorn(config.command.as_given()),
            ..Self::of_servers(config)
        }
    }

    /// What servers read from the environment, and nothing that takes a look at anything else but a shell.
    #[must_use]
    pub fn of_servers(config: &Settings) -> Self {
        let gunicorn_args = std::env::var("GUNICORN_CMD_ARGS").unwrap_or_default();
        Self {
            gunicorn_args: gunicorn_args.split_ascii_whitespace().map(str::to_owned).collect(),
            uvicorn_args: std::env::vars_os()
                .filter_map(|(name, value)| uvicorn_arg(name.to_str()?, value.to_str()?))
                .collect(),
            shell_forks: match Program::of(&words(config)).between {
                Some(Between::Shell(name)) => installed::is_dash(&name),
                Some(Between::Runner(_) | Between::Uv) | None => false,
            },
            ..Self::default()
        }
    }
}

/// The argument that a variable stands for: `--workers=4` for `UVICORN_WORKERS`.
fn uvicorn_arg(name: &str, value: &str) -> Option<String> {
    const OFF: [&str; 5] = ["", "0", "false", "no", "off"];
    let option = name.strip_prefix("UVICORN_")?.to_ascii_lowercase().replace('_', "-");
    (!OFF.contains(&value.to_ascii_lowercase().as_str())).then(|| format!("--{option}={value}"))
}

fn words(config: &Settings) -> Vec<String> {
    config.command.as_given().iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// What the rules look at.
#[derive(Debug)]
pub struct Case<'a> {
    /// What would be started.
    pub config: &'a Settings,
    /// What was given.
    pub given: &'a [Given],
    /// How long the platform waits, if that was said.
    pub termination_grace: Option<Patience>,
    /// What has a say beside the settings.
    pub around: &'a Context,
    /// What the command comes to.
    pub program: Program,
}

impl<'a> Case<'a> {
    fn new(
        config: &'a Settings,
        given: &'a [Given],
        termination_grace: Option<Patience>,
        around: &'a Context,
    ) -> Self {
        let mut program = Program::of(&words(config));
        if let Some(server) = &mut program.server {
            server.args.splice(0..0, of_variables(server.kind, around).iter().cloned());
        }
        Self { config, given, termination_grace, around, program }
    }

    fn pool(&self) -> Option<&PoolPolicy> {
        self.config.pool().map(|pool| &pool.policy)
    }

    fn init(&self) -> Option<&InitPolicy> {
        match &self.config.mode {
            Mode::Init(init) => Some(&init.policy),
            Mode::Pool(_) => None,
        }
    }

    fn is_given(&self, field: &str) -> bool {
        self.given.iter().any(|given| given.field == field)
    }

    /// Whether the server may be told by a file of its own what its command line does not say.
    fn has_file(&self, server: &Server) -> bool {
        server.names_file() || (server.kind == Kind::Gunicorn && self.around.gunicorn_file)
    }

    /// The variable that says this to uvicorn, unless its command line does.
    fn uvicorn_variable(
        &self,
        server: &Server,
        names: &[&str],
        variable: &'static str,
    ) -> Option<&'static str> {
        let of_variables = of_variables(server.kind, self.around);
        let args = server.args.get(of_variables.len()..).unwrap_or_default().to_vec();
        let on_line = Server { args, ..server.clone() }.has(names);
        (server.kind == Kind::Uvicorn && !on_line && server.has(names)).then_some(variable)
    }
}

/// What a server of this kind is told by variables.
fn of_variables(kind: Kind, around: &Context) -> &[String] {
    match kind {
        Kind::Gunicorn => &around.gunicorn_args,
        Kind::Uvicorn => &around.uvicorn_args,
        Kind::Hypercorn
        | Kind::Granian
        | Kind::FastApi
        | Kind::Nginx
        | Kind::PhpFpm
        | Kind::Apache
        | Kind::Uwsgi => &[],
    }
}

/// The ids of all warnings, with what each is about.
pub fn ids() -> impl Iterator<Item = (&'static str, &'static str)> {
    rules::all().map(|rule| (rule.id, rule.about))
}

/// What is wrong for certain with a pool that is about to start.
#[must_use]
pub fn certain(config: &Settings, given: &[Given]) -> Vec<Warning> {
    if config.pool().is_none() {
        return Vec::new();
    }
    certain::warnings(&Case::new(config, given, None, &Context::of_servers(config)))
}

/// Checks, prints, and returns the exit code: 1 if a warning is denied.
///
/// # Errors
/// As the start would: one line for the first thing that is wrong.
pub fn run(asked: Asked) -> Result<u8, StartError> {
    let given = asked.options.given.clone();
    examine(asked, &given).map_err(|error| error.by_name(|flag| name_of(flag, &given)))
}

fn examine(asked: Asked, given: &[Given]) -> Result<u8, StartError> {
    let Asked { mut options, mut settings, json, all, deny } = asked;
    let unknown = std::mem::take(&mut options.unknown);
    let surroundings = setup::surroundings();
    let termination_grace = options.stopping.termination_grace;
    let config = settings::resolve(options, &surroundings)?;
    let account = setup::preflight(&config)?;
    let mut around = Context::look(&surroundings, &config);
    around.unknown = unknown;
    around.command_is_root = account.map_or(around.command_is_root, |account| account.identity.uid == 0);
    resolve(&mut settings, &config, &surroundings);
    let warnings = rules::warnings(&Case::new(&config, given, termination_grace, &around));
    let report =
        print::Report { config: &config, settings: &settings, warnings: &warnings, all, deny: &deny };
    log::print(&if json { report.json() } else { report.text() }, false);
    Ok(u8::from(warnings.iter().any(|warning| report.is_denied(warning))))
}

/// What a pool takes from other programs' variables, where no option says it.
fn resolve(settings: &mut [Setting], config: &Settings, surroundings: &Surroundings) {
    let Some(pool) = config.pool() else { return };
    let mut take = |name: &str, value: Value, from: (&str, &Option<OsString>)| {
        let setting = settings.iter_mut().find(|setting| setting.name == name && setting.source.is_none());
        if let Some(setting) = setting {
            setting.value = value;
            setting.source = from.1.as_ref().map(|_| Source::Variable(from.0.to_owned()));
        }
    };
    let workers = Value::One(pool.policy.workers.to_string());
    take("workers", workers, ("WEB_CONCURRENCY", &surroundings.web_concurrency));
    let bind = Value::Many(pool.bind.iter().map(ToString::to_string).collect());
    take("bind", bind, ("PORT", &surroundings.port));
    if pool.sizing.is_some()
        && let Some(setting) = settings.iter_mut().find(|setting| setting.name == "workers")
    {
        setting.value = Value::One(format!("{} (auto)", pool.policy.workers));
    }
}
