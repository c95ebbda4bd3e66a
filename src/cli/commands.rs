//! Subcommands: what we do beside running something.
//!
//! A subcommand is the first word, and nothing else: behind `--`, or behind any option, `check` and `status` are
//! commands to run like all others.

use super::{Request, asking, check, generate};
use crate::error::StartError;
use std::ffi::OsString;

/// Reads the command line of a subcommand, if it is one.
pub fn read(args: &[OsString]) -> Option<Result<Request, StartError>> {
    match args.get(1)?.to_str()? {
        "status" | "ctl" | "healthcheck" => Some(asking::read(args)),
        check::NAME => Some(check::read(args)),
        "generate" => Some(generate::read(args)),
        _ => None,
    }
}

/// All of them, for what is generated from their definitions.
pub fn definitions() -> Vec<clap::Command> {
    [check::definition(), generate::definition()].into_iter().chain(asking::definitions()).collect()
}
