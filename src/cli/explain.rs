//! What was wrong with the command line, in one line.

use crate::error::StartError;
use clap::error::{ContextKind, ErrorKind};

/// clap explains itself in paragraphs; a log has room for a line.
pub fn one_line(error: &clap::Error) -> StartError {
    let context = |kind| error.get(kind).map(ToString::to_string);
    // `--workers <N>` is clap's way to name an option.
    let option =
        context(ContextKind::InvalidArg).map(|arg| arg.split(' ').next().unwrap_or_default().to_owned());
    let option = option.unwrap_or_default();
    let value = context(ContextKind::InvalidValue).unwrap_or_default();
    let source = std::error::Error::source(error).map(ToString::to_string);
    match (error.kind(), source) {
        (ErrorKind::ValueValidation, Some(source)) => {
            let (problem, remedy) = source.split_once(": ").unwrap_or((&source, "see --help"));
            StartError::value(&option, value, problem, remedy)
        }
        (ErrorKind::InvalidValue, _) if value.is_empty() => {
            StartError::usage(option, "its value is missing", "give one, see --help")
        }
        (ErrorKind::InvalidValue, _) => {
            let known = context(ContextKind::ValidValue).unwrap_or_default();
            StartError::value(&option, value, "no such value", format!("use one of {known}"))
        }
        (ErrorKind::UnknownArgument, _) => {
            let remedy = context(ContextKind::SuggestedArg).map_or_else(
                || "see --help, or put -- before a command that begins with a dash".to_owned(),
                |known| format!("did you mean {known}?"),
            );
            StartError::usage(option, "no such option", remedy)
        }
        (ErrorKind::MissingRequiredArgument, _) => {
            StartError::usage("COMMAND", "missing", "add the command to run, as in: prefork-init -- myserver")
        }
        (ErrorKind::ArgumentConflict, _) => StartError::usage(option, "given more than once", "give it once"),
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            StartError::usage("command line", first.trim_start_matches("error: "), "see --help")
        }
    }
}
