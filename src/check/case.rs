//! The facts that the rules judge, and the warnings that they return.

use super::installed;
use crate::core::Mode;
use crate::core::policy::{InitPolicy, PoolPolicy};
use crate::core::time::Patience;
use crate::os::container::capacity::Capacity;
use crate::os::process::privileges;
use crate::settings::Settings;
use crate::settings::given::GivenOption;
use crate::settings::options::Unknown;
use crate::settings::servers::{Between, Invocation, Server, ServerKind};
use crate::settings::surroundings::Surroundings;
use std::path::Path;

/// A remark of a reviewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// A stable name.
    pub id: &'static str,
    /// The problem, with its numbers.
    pub reason: String,
    pub remedy: String,
}

/// The facts outside the settings.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The CPUs that we may use.
    pub cpus: u32,
    pub memory_limit: Option<u64>,
    /// Whether the command would run as root.
    pub command_is_root: bool,
    /// `WEB_CONCURRENCY`.
    pub web_concurrency: Option<String>,
    /// `GUNICORN_CMD_ARGS`, which gunicorn reads before its command line.
    pub gunicorn_args: Vec<String>,
    /// `UVICORN_WORKERS` and the like, which uvicorn reads before its command line, as arguments.
    pub uvicorn_args: Vec<String>,
    /// The first two parts of the version of the gunicorn that would run, if known.
    pub gunicorn_file: bool,
    /// Which gunicorn would run, as far as is known: the first two parts of its version.
    pub gunicorn_version: Option<(u32, u32)>,
    /// Variables whose names resemble ours, but have no effect.
    pub unknown: Vec<Unknown>,
    /// Whether the shell before the server starts it as another process, whatever its script says.
    pub shell_forks: bool,
}

impl Context {
    /// Looks at this process and its surroundings. The user of the command is assumed to be ours.
    #[must_use]
    pub fn look(surroundings: &Surroundings, settings: &Settings) -> Self {
        let (uid, _) = privileges::own_ids();
        let capacity = Capacity::here();
        let directory = settings.process.chdir.as_deref().unwrap_or_else(|| Path::new("."));
        Self {
            cpus: capacity.cpus(),
            memory_limit: capacity.memory_limit,
            command_is_root: uid == 0,
            web_concurrency: surroundings
                .web_concurrency
                .as_ref()
                .map(|value| value.to_string_lossy().into_owned()),
            gunicorn_file: directory.join("gunicorn.conf.py").exists(),
            gunicorn_version: installed::gunicorn(settings.command.as_given()),
            ..Self::of_servers(settings)
        }
    }

    /// The variables that servers read, and whether the shell forks; looks at nothing else.
    #[must_use]
    pub fn of_servers(settings: &Settings) -> Self {
        let gunicorn_args = std::env::var("GUNICORN_CMD_ARGS").unwrap_or_default();
        Self {
            gunicorn_args: gunicorn_args.split_ascii_whitespace().map(str::to_owned).collect(),
            uvicorn_args: std::env::vars_os()
                .filter_map(|(name, value)| uvicorn_arg(name.to_str()?, value.to_str()?))
                .collect(),
            shell_forks: match Invocation::of(&words(settings)).between {
                Some(Between::Shell(name)) => installed::is_dash(&name),
                Some(Between::Runner(_) | Between::Uv) | None => false,
            },
            ..Self::default()
        }
    }
}

/// The argument for which a variable stands: `--workers=4` for `UVICORN_WORKERS`.
pub(super) fn uvicorn_arg(name: &str, value: &str) -> Option<String> {
    const OFF: [&str; 5] = ["", "0", "false", "no", "off"];
    let option = name.strip_prefix("UVICORN_")?.to_ascii_lowercase().replace('_', "-");
    (!OFF.contains(&value.to_ascii_lowercase().as_str())).then(|| format!("--{option}={value}"))
}

fn words(settings: &Settings) -> Vec<String> {
    settings.command.as_given().iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// All that a rule may look at.
#[derive(Debug)]
pub struct Case<'a> {
    pub settings: &'a Settings,
    /// The options that were given.
    pub given: &'a [GivenOption],
    /// The time that the platform waits; `None` if it was not given.
    pub termination_grace: Option<Patience>,
    /// The facts outside the settings.
    pub around: &'a Context,
    /// The parsed command.
    pub program: Invocation,
}

impl<'a> Case<'a> {
    pub(super) fn new(
        settings: &'a Settings,
        given: &'a [GivenOption],
        termination_grace: Option<Patience>,
        around: &'a Context,
    ) -> Self {
        let mut program = Invocation::of(&words(settings));
        if let Some(server) = &mut program.server {
            server.args.splice(0..0, of_variables(server.kind, around).iter().cloned());
        }
        Self { settings, given, termination_grace, around, program }
    }

    pub(super) fn pool(&self) -> Option<&PoolPolicy> {
        self.settings.pool().map(|pool| &pool.policy)
    }

    pub(super) fn init(&self) -> Option<&InitPolicy> {
        match &self.settings.mode {
            Mode::Init(init) => Some(&init.policy),
            Mode::Pool(_) => None,
        }
    }

    pub(super) fn is_given(&self, field: &str) -> bool {
        self.given.iter().any(|given| given.field == field)
    }

    /// Whether a file of the server's own may set what its command line does not.
    pub(super) fn has_file(&self, server: &Server) -> bool {
        server.names_file() || (server.kind == ServerKind::Gunicorn && self.around.gunicorn_file)
    }

    /// `variable`, if that is how uvicorn gets one of these options, rather than by its command line.
    pub(super) fn uvicorn_variable(
        &self,
        server: &Server,
        names: &[&str],
        variable: &'static str,
    ) -> Option<&'static str> {
        let of_variables = of_variables(server.kind, self.around);
        let args = server.args.get(of_variables.len()..).unwrap_or_default().to_vec();
        let on_line = Server { args, ..server.clone() }.has(names);
        (server.kind == ServerKind::Uvicorn && !on_line && server.has(names)).then_some(variable)
    }
}

/// The arguments that a server of this kind reads from variables.
fn of_variables(kind: ServerKind, around: &Context) -> &[String] {
    match kind {
        ServerKind::Gunicorn => &around.gunicorn_args,
        ServerKind::Uvicorn => &around.uvicorn_args,
        ServerKind::Hypercorn
        | ServerKind::Granian
        | ServerKind::FastApi
        | ServerKind::Nginx
        | ServerKind::PhpFpm
        | ServerKind::Apache
        | ServerKind::Uwsgi => &[],
    }
}
