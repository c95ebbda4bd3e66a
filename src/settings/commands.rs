//! Subcommands: what we do beside running something.
//!
//! A subcommand is the first word, and nothing else: behind `--`, or behind any option, `check` and `status` are
//! commands to run like all others.

use crate::settings::options::{Request, generate};
use crate::values::error::StartError;
use crate::{check, client};
use std::ffi::OsString;

/// Reads the command line of a subcommand, if it is one.
pub fn read(args: &[OsString]) -> Option<Result<Request, StartError>> {
    match args.get(1)?.to_str()? {
        "status" | "ctl" | "healthcheck" => Some(client::options::read(args)),
        check::options::NAME => Some(check::options::read(args)),
        "generate" => Some(generate::read(args)),
        _ => None,
    }
}

/// All of them, for what is generated from their definitions.
pub fn definitions() -> Vec<clap::Command> {
    [check::options::definition(), generate::definition()]
        .into_iter()
        .chain(client::options::definitions())
        .collect()
}
