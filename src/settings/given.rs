//! Which options were given, and in which layer.

use crate::values::error::StartError;
use tracing::warn;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenOption {
    /// The name of its field.
    pub field: String,
    /// Its flag: `--max-age`.
    pub flag: String,
    pub source: Source,
    /// The only mode that uses it; `None` if both do.
    pub only: Option<Only>,
}

/// The layer in which an option was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Flag,
    /// This variable, which may be meant for other commands in the same image.
    Variable(String),
    /// The file of this path, which may be meant for them too.
    File(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    Pool,
    Init,
}

/// The variable, or the file and key, by which an option was given; `None` for a flag.
#[must_use]
pub fn name_of(flag: &str, given: &[GivenOption]) -> Option<String> {
    match &given.iter().find(|given| given.flag == flag)?.source {
        Source::Flag => None,
        Source::Variable(name) => Some(name.clone()),
        Source::File(path) => Some(format!("{path}: {}", flag.trim_start_matches('-').to_ascii_lowercase())),
    }
}

/// Fails for a flag that the mode does not use. A variable or a setting of a file is ignored with a warning: it may be
/// meant for the image's usual command, and another was given.
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

/// Fails for a flag without effect; a variable or a setting may be meant for other commands in the same image.
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
