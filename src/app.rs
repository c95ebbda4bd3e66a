//! Which command it is, and what becomes of it: the only part that knows all of them.

use crate::check::plan;
use crate::report::log;
use crate::settings::compat;
use crate::settings::options::{self, Options, Request};
use crate::settings::{Config, Environment};
use crate::supervisor::Supervisor;
use crate::values::error::StartError;
use crate::{check, client};
use std::ffi::OsString;
use tracing::warn;

/// Runs what the command line asks for, and returns the exit code.
///
/// # Errors
/// One line for the first thing that is wrong before anything is started.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Result<u8, StartError> {
    let options = match compat::read(args)? {
        Request::Run(options) => options,
        Request::Client(request) => return client::run(&request),
        Request::Check(asked) => return check::run(*asked),
        Request::Print { text, to_stderr, code } => {
            log::print(&text, to_stderr);
            return Ok(code);
        }
    };
    log::start(&options);
    let given = options.given.clone();
    start(*options).map_err(|error| error.by_name(|flag| options::name_of(flag, &given)))
}

fn start(options: Options) -> Result<u8, StartError> {
    if options.logging.explain {
        let config = Config::resolve(options, &Environment::read())?;
        log::print(&plan::plan(&config)?, false);
        return Ok(0);
    }
    // First: it may be why something else is wrong.
    for unknown in &options.unknown {
        warn!("{unknown}");
    }
    let given = options.given.clone();
    let config = Config::resolve(options, &Environment::read())?;
    let certain = check::certain(&config, &given);
    let supervisor = Supervisor::start(config)?;
    for warning in certain {
        warn!(check = warning.id, "{}: {}", warning.reason, warning.remedy);
    }
    Ok(supervisor.run())
}
