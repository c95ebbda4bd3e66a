//! Subcommands: what we do beside running something.
//!
//! A subcommand is the first word, and nothing else: behind `--`, or behind any option, `check` and `status` are
//! commands to run like all others.

use crate::settings::options::Request;
use crate::values::error::StartError;
use crate::{check, client};
use std::ffi::OsString;

/// Reads the command line of a subcommand, if it is one.
pub fn read(args: &[OsString]) -> Option<Result<Request, StartError>> {
    match args.get(1)?.to_str()? {
        "status" | "ctl" | "healthcheck" => Some(client::options::read(args)),
        check::options::NAME => Some(check::options::read(args)),
        #[cfg(feature = "generate")]
        "generate" => Some(crate::settings::options::generate::read(args)),
        _ => None,
    }
}
