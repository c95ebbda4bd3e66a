//! Chooses the command and runs it: the only part that knows all commands.

use crate::check::plan;
use crate::os::entry;
use crate::report::log;
use crate::settings::layers::Parsed;
use crate::settings::options::{self, Options};
use crate::settings::{self, compat, plain, variables};
use crate::setup;
use crate::supervisor::{Supervisor, upgrade};
use crate::values::error::StartError;
use crate::values::style::Style;
use crate::values::variables::HANDOVER_TERMS;
use crate::{check, client};
use std::ffi::OsString;
use tracing::warn;

/// Runs what the command line asks for, and returns the exit code.
///
/// A subcommand is the first word only: after `--`, or after any option, `check` and `status` are commands to run like
/// all others. Under the name of another init there are no subcommands.
///
/// # Errors
/// One line for the first error before anything is started.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Result<u8, StartError> {
    let args: Vec<OsString> = args.into_iter().collect();
    let is_ours = compat::style(args.first().map(OsString::as_os_str).unwrap_or_default()) == Style::Ours;
    match args.get(1).and_then(|word| word.to_str()).filter(|_| is_ours) {
        Some(word @ ("status" | "ctl" | "healthcheck" | check::options::NAME)) => subcommand(word, &args),
        #[cfg(feature = "generate")]
        Some("generate") => answer(crate::generate::read(&args)?, |()| Ok(0)),
        _ => answer(read(args, is_ours)?, |options| {
            setup::start_log(&options);
            let given = options.given.clone();
            start(*options).map_err(|error| error.by_name(|flag| options::name_of(flag, &given)))
        }),
    }
}

// Not inlined: its frame, of several pages, would be part of every start.
#[inline(never)]
fn subcommand(word: &str, args: &[OsString]) -> Result<u8, StartError> {
    match word {
        check::options::NAME => answer(check::options::read(args)?, check::run),
        _ => answer(client::options::read(args)?, |request| client::run(&request)),
    }
}

fn read(args: Vec<OsString>, is_ours: bool) -> Result<Parsed<Box<Options>>, StartError> {
    let plain = if is_ours { plain::read(&args, entry::has_variable(variables::PREFIX)) } else { None };
    plain.map_or_else(|| compat::read(args), |options| Ok(Parsed::Asks(options)))
}

fn answer<T>(parsed: Parsed<T>, run: impl FnOnce(T) -> Result<u8, StartError>) -> Result<u8, StartError> {
    match parsed {
        Parsed::Asks(asked) => run(asked),
        Parsed::Print { text, to_stderr, code } => {
            log::print(&text, to_stderr);
            Ok(code)
        }
    }
}

fn start(options: Options) -> Result<u8, StartError> {
    if options.logging.explain {
        return explain(options);
    }
    // First: a misspelt variable may be the cause of a later error.
    for unknown in &options.unknown {
        warn!("{unknown}");
    }
    let given = options.given.clone();
    let settings = settings::resolve(options, &setup::surroundings())?;
    let certain = check::certain(&settings, &given);
    let run = Supervisor::start(settings)?;
    for warning in certain {
        warn!(check = warning.id, "{}: {}", warning.reason, warning.remedy);
    }
    Ok(run())
}

// Not inlined, as a subcommand.
#[inline(never)]
fn explain(options: Options) -> Result<u8, StartError> {
    let settings = settings::resolve(options, &setup::surroundings())?;
    let is_upgrade = std::env::var_os(HANDOVER_TERMS).is_some();
    let text = if is_upgrade { upgrade::answer(&settings)? } else { plan::plan(&settings)? };
    log::print(&text, false);
    Ok(0)
}
