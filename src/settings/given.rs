//! Which options were given, and how.

use crate::values::error::StartError;
use tracing::warn;

/// An option that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenOption {
    /// The name of its field.
    pub field: String,
    /// As a flag: `--max-age`.
    pub flag: String,
    /// How it was given.
    pub source: Source,
    /// What alone can have a use for it.
    pub only: Option<Only>,
}

/// How an option was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// On the command line.
    Flag,
    /// By this variable: it may be meant for other commands in the same image.
    Variable(String),
    /// In the file of this path, of which the same holds.
    File(String),
}

/// One of our two modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    /// A pool of workers.
    Pool,
    /// One command.
    Init,
}

/// By what name an option was given, if not as a flag: its variable, or its file and key.
#[must_use]
pub fn name_of(flag: &str, given: &[GivenOption]) -> Option<String> {
    match &given.iter().find(|given| given.flag == flag)?.source {
        Source::Flag => None,
        Source::Variable(name) => Some(name.clone()),
        Source::File(path) => Some(format!("{path}: {}", flag.trim_start_matches('-').to_ascii_lowercase())),
    }
}

/// Flags that the mode has no use for are a mistake, not a decoration. A variable, or a setting of a file, may be there
/// for the image's usual command, and this one is another.
pub(super) fn none_only_for(
    mode: Only,
    given: &[GivenOption],
    problem: &str,
    remedy: &str,
) -> Result<(), StartError> {
    for given in given.iter().filter(|given| given.only == Some(mode)) {
        match &given.source {
            Source::Flag => return Err(StartError::usage(&given.flag, problem, remedy)),
            Source::Variable(variable) => warn!(variable, "variable ignored: {problem}, {remedy}"),
            Source::File(file) => {
                let key = given.flag.trim_start_matches('-');
                warn!(file, key, "setting ignored: {problem}, {remedy}");
            }
        }
    }
    Ok(())
}

/// A flag that has no use is a mistake; a variable may be there for other commands in the same image.
pub(super) fn useless(
    given: &[GivenOption],
    names: &[&str],
    problem: &str,
    remedy: &str,
) -> Result<(), StartError> {
    let is_one = |given: &&GivenOption| given.source == Source::Flag && names.contains(&given.field.as_str());
    match given.iter().find(is_one) {
        Some(given) => Err(StartError::usage(&given.flag, problem, remedy)),
        None => Ok(()),
    }
}
