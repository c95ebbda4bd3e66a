//! Other inits, by their own names.
//!
//! Called as `dumb-init` or `tini` (the last part of `argv[0]`, by a link or a copy), we read that program's command
//! line and variables, and answer with its exit codes. Its options become [`Options`], so the `PREFORK_...` variables
//! work too, and win. Intended differences are in tests/compat/differences.md.

pub mod dumb_init;
mod environment;
mod getopt;
pub mod tini;

use crate::settings::layers::{self, Parsed};
use crate::settings::options::Options;
use crate::values::error::StartError;
use crate::values::style::Style;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Reads the command line in the style of the program that `argv[0]` names.
///
/// # Errors
/// One line for the first thing that is wrong.
pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Parsed<Box<Options>>, StartError> {
    let args: Vec<OsString> = args.into_iter().collect();
    match style(args.first().map(OsString::as_os_str).unwrap_or_default()) {
        Style::Ours => layers::read(args),
        Style::DumbInit => dumb_init::read(&args),
        Style::Tini => tini::read(&args),
    }
}

/// The program that a name stands for. Releases are named `tini-static-arm64` or `dumb-init_1.2.5_x86_64`, and Docker
/// calls its tini `docker-init`.
pub fn style(name: &OsStr) -> Style {
    let name = Path::new(name).file_name().and_then(OsStr::to_str).unwrap_or_default();
    let is = |known: &str| {
        name.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_', '.']))
    };
    if is("dumb-init") {
        Style::DumbInit
    } else if is("tini") || name == "docker-init" {
        Style::Tini
    } else {
        Style::Ours
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_releases_are_known_and_others_are_ours() {
        for (name, known) in [
            ("dumb-init", Style::DumbInit),
            ("/usr/bin/dumb-init", Style::DumbInit),
            ("./dumb-init_1.2.5_x86_64", Style::DumbInit),
            ("tini", Style::Tini),
            ("/sbin/docker-init", Style::Tini),
            ("/tini-static-arm64", Style::Tini),
            ("prefork-init", Style::Ours),
            ("tinier", Style::Ours),
            ("", Style::Ours),
        ] {
            assert_eq!(style(OsStr::new(name)), known, "{name}");
        }
    }
}
