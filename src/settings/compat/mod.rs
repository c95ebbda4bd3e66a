//! Other inits, by their own names.
//!
//! Called as `dumb-init` or `tini` (the last part of `argv[0]`, by a link or a copy), we take that program's command
//! line and variables, and answer with its exit codes. What it decides becomes [`Options`] like anybody's, so the
//! `PREFORK_...` variables work beside it, and win. Where ours differs on purpose is told in
//! tests/compat/differences.md.

pub mod dumb_init;
mod getopt;
pub mod tini;

use crate::core::Note;
use crate::settings::layers::Parsed;
use crate::settings::options::{self, Like, Options};
use crate::values::error::StartError;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Reads the command line of whoever `argv[0]` says we are.
///
/// # Errors
/// One line for the first thing that is wrong.
pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Parsed<Box<Options>>, StartError> {
    let args: Vec<OsString> = args.into_iter().collect();
    match like(args.first().map(OsString::as_os_str).unwrap_or_default()) {
        Like::Ourselves => options::read(args),
        Like::DumbInit => dumb_init::read(&args),
        Like::Tini => tini::read(&args),
    }
}

/// Whom a name stands for. Releases are named `tini-static-arm64` or `dumb-init_1.2.5_x86_64`, and Docker calls its
/// tini `docker-init`.
pub fn like(name: &OsStr) -> Like {
    let name = Path::new(name).file_name().and_then(OsStr::to_str).unwrap_or_default();
    let is = |known: &str| {
        name.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_', '.']))
    };
    if is("dumb-init") {
        Like::DumbInit
    } else if is("tini") || name == "docker-init" {
        Like::Tini
    } else {
        Like::Ourselves
    }
}

/// Our own options as the environment alone has them, for this command.
fn from_environment(command: Vec<OsString>, like: Like) -> Result<Box<Options>, StartError> {
    let words = ["prefork-init".into(), "--".into()];
    match options::read(words.into_iter().chain(command))? {
        Parsed::Asks(mut options) => {
            options.like = like;
            Ok(options)
        }
        // Nothing in the environment asks for that.
        Parsed::Print { .. } => Err(StartError::usage("environment", "asks for help", "unset it")),
    }
}

/// Whether no command is to be run, which the originals cannot.
fn asks_for_pause() -> bool {
    let value = std::env::var_os("PREFORK_PAUSE").filter(|value| !value.is_empty());
    // What is neither is an error that our own options tell.
    value.is_some_and(|value| options::boolean(&value).unwrap_or(true))
}

/// How an original tells of what happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voice {
    /// Whose.
    pub like: Like,
    /// How much: see the original's `-v`.
    pub verbosity: u8,
    /// The command's name.
    pub command: String,
    /// Whether the command gets a session of its own.
    pub setsid: bool,
}

/// What a voice has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// These lines, each with its newline.
    Lines(String),
    /// The original has no such thing: our own words.
    AsUsual,
}

impl Voice {
    /// The original's words, if it has any, for a SIGCHLD that came.
    #[must_use]
    pub fn child_signal(&self) -> Option<String> {
        match self.like {
            Like::Tini => tini::child_signal(self.verbosity),
            // It tells with each child that has ended.
            Like::DumbInit | Like::Ourselves => None,
        }
    }

    /// The original's words for a transition.
    #[must_use]
    pub fn say(&self, note: &Note) -> Said {
        match self.like {
            Like::Ourselves => Said::AsUsual,
            Like::DumbInit => dumb_init::say(self, note),
            Like::Tini => tini::say(self, note),
        }
    }
}

/// An error's text alone, as strerror(3) has it: without its number.
fn text_of(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    text.rsplit_once(" (os error").map_or(text.clone(), |(text, _)| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_releases_are_known_and_others_are_ours() {
        for (name, known) in [
            ("dumb-init", Like::DumbInit),
            ("/usr/bin/dumb-init", Like::DumbInit),
            ("./dumb-init_1.2.5_x86_64", Like::DumbInit),
            ("tini", Like::Tini),
            ("/sbin/docker-init", Like::Tini),
            ("/tini-static-arm64", Like::Tini),
            ("prefork-init", Like::Ourselves),
            ("tinier", Like::Ourselves),
            ("", Like::Ourselves),
        ] {
            assert_eq!(like(OsStr::new(name)), known, "{name}");
        }
    }
}
