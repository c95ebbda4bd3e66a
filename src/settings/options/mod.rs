//! The command line: every option, its environment variable and its help.

// The doc comments of the options are the help text, where [x] and <x> are no markup.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]

pub mod helpers;
mod init;
pub mod parse;
mod pool;
mod process;
mod workers;

pub use crate::settings::given::{GivenOption, Only, Source, name_of};
pub use crate::settings::options::helpers::{Checks, HelperOptions};
pub use crate::settings::variables::Unknown;
use crate::values::log::{LogFormat, LogLevel, WorkerOutput};
pub use init::{InitOptions, OrphansOption, ProcessGroup, ScopeOption, SignalOptions, Subreaper, Unhandled};
pub use pool::{ListenerOption, PoolOptions, Replacement, Respawn, Restarts, WorkerCount};
pub use process::ProcessOptions;
pub use workers::{CountRequests, Hangs, MemoryMeasure, Readiness, Ready, Recycling};

use crate::core::Signal;
use crate::core::time::Patience;
use crate::settings::defaults::Defaults;
use crate::values::address::Address;
use crate::values::duration::{parse_duration, parse_patience};
use clap::builder::{BoolishValueParser, Resettable, TypedValueParser};
use clap::{Arg, ArgMatches, Args, CommandFactory, Parser};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  prefork-init myserver --port 8000
  prefork-init --rewrite-signal TERM=QUIT --user www-data -- nginx -g 'daemon off;'
  prefork-init -n 4 -b :8000 --health :9000 -- uvicorn app:app --fd {fd}
  prefork-init -n 4 -b :8000 --max-age 6h --max-age-jitter 10% --max-memory 500M -- uvicorn app:app --fd {fd}
  prefork-init check -n 4 -b :8000 -- uvicorn app:app --fd {fd}      (prints settings and warnings, starts nothing)

Ask one that runs: prefork-init status, prefork-init ctl, prefork-init healthcheck; each has a help of its own.

Durations: 500ms, 30s, 1m30s, 2h; a bare number is seconds.
Exit codes: the command's own, or 128+n if signal n ended it; of a pool 0 after an ordered stop and 3 when a
crash loop is given up; 2 wrong usage, 125 cannot start, 126 cannot execute the command, 127 not found.";

/// A small init (PID 1) for containers, and a prefork supervisor for servers in any language.
///
/// Runs COMMAND, passes signals on to it, reaps what it leaves behind, and ends as it ends. With --workers or
/// --bind it is a pool instead: it binds the sockets, keeps N copies of COMMAND on them, replaces those that
/// crash or are due, and stops them in order.
#[derive(Debug, Parser)]
#[command(name = "prefork-init", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(override_usage = "prefork-init [OPTIONS] [--] COMMAND [ARG...]")]
pub struct Options {
    /// The command to run, and its arguments.
    ///
    /// In pool mode {fd} stands for the number of the first listener's descriptor, {worker_id} for the
    /// worker's slot, {worker_number} for a number that no other living worker has, {max_requests} for the limit
    /// drawn for it, {notify_fd} for a descriptor on which it may write a line when it is ready.
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    pub command: Vec<OsString>,

    /// A file with settings.
    #[command(flatten, next_help_heading = "Configuration")]
    pub configuration: Configuration,

    /// What happens to signals and orphans.
    #[command(flatten, next_help_heading = "Signals")]
    pub signals: SignalOptions,

    /// How one command is run.
    #[command(flatten, next_help_heading = "Init")]
    pub init: InitOptions,

    /// As whom, where and under which limits the command runs.
    #[command(flatten, next_help_heading = "Process")]
    pub process: ProcessOptions,

    /// Workers and their listeners.
    #[command(flatten, next_help_heading = "Pool")]
    pub pool: PoolOptions,

    /// How one worker takes another's place.
    #[command(flatten, next_help_heading = "Replacement")]
    pub replacement: Replacement,

    /// When workers, and the pool, are ready.
    #[command(flatten, next_help_heading = "Readiness")]
    pub readiness: Readiness,

    /// When a worker hangs.
    #[command(flatten, next_help_heading = "Hang detection")]
    pub hangs: Hangs,

    /// When a worker has lived long enough.
    #[command(flatten, next_help_heading = "Recycling")]
    pub recycling: Recycling,

    /// When a worker that died comes back.
    #[command(flatten, next_help_heading = "Respawn")]
    pub respawn: Respawn,

    /// How everything ends.
    #[command(flatten, next_help_heading = "Stopping")]
    pub stopping: Stopping,

    /// What runs before and beside the command.
    #[command(flatten, next_help_heading = "Before and beside")]
    pub around: HelperOptions,

    /// The supervisor's own HTTP endpoint.
    #[command(flatten, next_help_heading = "Endpoint")]
    pub endpoint: Endpoint,

    /// The application's own readiness.
    #[command(flatten, next_help_heading = "Endpoint")]
    pub checks: Checks,

    /// What is logged, and how.
    #[command(flatten, next_help_heading = "Logging")]
    pub logging: Logging,

    /// Options that were given, as a flag, by a variable or in a file.
    #[arg(skip)]
    pub given: Vec<GivenOption>,

    /// Variables that look like ours, and are none.
    #[arg(skip)]
    pub unknown: Vec<Unknown>,

    /// What holds where no option says otherwise.
    #[arg(skip)]
    pub defaults: Defaults,

    /// How much is said in another init's words.
    #[arg(skip)]
    pub verbosity: u8,

    /// What is said in these words before anything else, with its newlines.
    #[arg(skip)]
    pub said_first: String,
}

impl Options {
    /// Whether an option was given, as a flag, by a variable or in a file. `name` is that of its field.
    #[must_use]
    pub fn is_given(&self, name: &str) -> bool {
        self.given.iter().any(|given| given.field == name)
    }
}

/// A file with settings.
#[derive(Debug, Args)]
pub struct Configuration {
    /// Read settings from this file, below variables and flags: TOML, a key for each option's long name.
    ///
    /// workers = 4, max-age = "6h", bind = [":8000", "unix:/run/app.sock"], no-placeholders = true; and command =
    /// ["uvicorn", "app:app"], where the command line has none.
    #[arg(long, value_name = "FILE", env = "PREFORK_CONFIG")]
    pub config: Option<PathBuf>,
}

/// How everything ends.
#[derive(Debug, Args)]
pub struct Stopping {
    /// Kill what is left this long after it was asked to stop; 0 is at once, infinity never.
    #[arg(long, value_name = "D", env = "PREFORK_GRACEFUL_TIMEOUT", default_value = "30s")]
    #[arg(allow_hyphen_values = true, value_parser = parse_patience)]
    pub graceful_timeout: Patience,

    /// The signal that asks workers, and what outlives the command, to stop: a name or a number.
    #[arg(long, value_name = "SIGNAL", env = "PREFORK_STOP_SIGNAL", default_value = "TERM")]
    #[arg(value_parser = parse::parse_stop_signal)]
    pub stop_signal: Signal,

    /// After TERM say "not ready" and serve this long before workers are stopped.
    #[arg(long, value_name = "D", env = "PREFORK_DRAIN_DELAY", default_value = "0s")]
    #[arg(allow_hyphen_values = true, value_parser = parse_duration)]
    pub drain_delay: Duration,

    /// Stop everything as at TERM this long after the start, and end with 124; --before counts too.
    #[arg(long, value_name = "D", env = "PREFORK_DEADLINE")]
    #[arg(allow_hyphen_values = true, value_parser = parse::parse_time)]
    pub deadline: Option<Duration>,
    /// How long the platform waits after its TERM before it kills everything, for `check` to compare with.
    #[arg(long, value_name = "D", env = "PREFORK_TERMINATION_GRACE")]
    #[arg(allow_hyphen_values = true, value_parser = parse_patience)]
    pub termination_grace: Option<Patience>,
}

/// The supervisor's own HTTP endpoint.
#[derive(Debug, Args)]
pub struct Endpoint {
    /// Serve /livez, /readyz, /startupz and /status here.
    #[arg(long, value_name = "ADDR", env = "PREFORK_HEALTH")]
    #[arg(value_parser = parse::parse_address)]
    pub health: Option<Address>,

    /// Take orders (status, ctl) at this unix socket, from our own user and root alone.
    #[arg(long, value_name = "PATH", env = "PREFORK_CONTROL")]
    #[arg(value_parser = parse::parse_socket)]
    pub control: Option<Address>,
}

/// What is logged, and how.
#[derive(Debug, Args)]
pub struct Logging {
    /// How log lines look.
    #[arg(long, value_name = "FORMAT", env = "PREFORK_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// The least important lines to log.
    #[arg(long, value_name = "LEVEL", env = "PREFORK_LOG_LEVEL", default_value = "info")]
    pub log_level: LogLevel,

    /// Workers' output: as it comes, or line by line, with slot and pid before each or as JSON.
    ///
    /// prefix and json read it through pipes: a program that sees no terminal may keep its output back for a while
    /// (PYTHONUNBUFFERED=1, stdbuf -oL). inherit leaves our stdout and stderr to the workers.
    #[arg(long, value_name = "HOW", env = "PREFORK_WORKER_OUTPUT", default_value = "inherit")]
    pub worker_output: WorkerOutput,

    /// Print the plan (who gets which signal, what happens at the end, which limits apply) and end without running
    /// anything.
    #[arg(long, env = "PREFORK_EXPLAIN", value_parser = BoolishValueParser::new())]
    pub explain: bool,
}

/// Whether a variable is empty, so unset: `docker run -e PREFORK_HEALTH= ...` undoes what an image sets.
pub(crate) fn is_empty(name: &OsStr) -> bool {
    std::env::var_os(name).is_some_and(|value| value.is_empty())
}

/// Whether the command is prefork-init: variables are for the inner one, below that of `docker run --init`.
pub(crate) fn runs_ourselves(matches: &ArgMatches) -> bool {
    let command = matches.get_many::<OsString>("command").and_then(|mut words| words.next());
    command.is_some_and(|program| is_ourselves(program))
}

pub(crate) fn is_ourselves(program: &OsStr) -> bool {
    Path::new(program).file_name().is_some_and(|name| name == env!("CARGO_PKG_NAME"))
}

pub(crate) fn without_variables(command: clap::Command, which: fn(&OsStr) -> bool) -> clap::Command {
    if !command.get_arguments().filter_map(Arg::get_env).any(which) {
        return command;
    }
    command.mut_args(|arg| if arg.get_env().is_some_and(which) { arg.env(Resettable::Reset) } else { arg })
}

/// Help headings that only a pool uses; further such options; and one exception, which can prevent a pool.
const OF_POOLS: [&str; 6] = ["Pool", "Replacement", "Readiness", "Hang detection", "Recycling", "Respawn"];
const OF_POOLS_TOO: [&str; 3] = ["drain_delay", "forward_signal", "worker_output"];
const NOT_OF_POOLS: &str = "no_placeholders";

pub(crate) fn only(arg: &Arg) -> Option<Only> {
    match arg.get_help_heading()? {
        _ if arg.get_id() == NOT_OF_POOLS => None,
        _ if OF_POOLS_TOO.contains(&arg.get_id().as_str()) => Some(Only::Pool),
        "Init" => Some(Only::Init),
        heading => OF_POOLS.contains(&heading).then_some(Only::Pool),
    }
}

/// Reads a variable as the on-or-off options do.
#[must_use]
pub fn boolean(value: &OsStr) -> Option<bool> {
    BoolishValueParser::new().parse_ref(&Options::command(), None, value).ok()
}

/// The names of our options' environment variables.
#[must_use]
pub fn own_variables() -> Vec<OsString> {
    Options::command().get_arguments().filter_map(|arg| arg.get_env().map(OsString::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_has_a_variable_named_after_it_and_a_group() {
        for option in Options::command().get_arguments() {
            let Some(long) = option.get_long().filter(|long| !["help", "version"].contains(long)) else {
                continue;
            };
            let variable = format!("PREFORK_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(option.get_env(), Some(variable.as_ref()), "--{long}");
            assert!(option.get_help_heading().is_some(), "--{long}");
        }
    }
}
