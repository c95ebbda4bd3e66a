//! What was wrong with the command line, in one line.

use crate::error::StartError;
use clap::Arg;
use clap::error::{ContextKind, ErrorKind};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// clap explains itself in paragraphs; a log has room for a line.
pub fn one_line(error: &clap::Error, command: &clap::Command, args: &[OsString]) -> StartError {
    let context = |kind| error.get(kind).map(ToString::to_string);
    // `--workers <N>` is clap's way to name an option.
    let option =
        context(ContextKind::InvalidArg).map(|arg| arg.split(' ').next().unwrap_or_default().to_owned());
    let value = context(ContextKind::InvalidValue).unwrap_or_default();
    let option = option.map(|option| source(&option, command, args).unwrap_or(option)).unwrap_or_default();
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
        (ErrorKind::InvalidUtf8, _) => {
            let (what, value) = not_utf8(command, args);
            StartError::usage(
                format!("{what} '{value}'"),
                "not valid UTF-8",
                "write it without the stray bytes",
            )
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            StartError::usage("command line", first.trim_start_matches("error: "), "see --help")
        }
    }
}

/// The variable that a value came from, if no flag gave it.
fn source(option: &str, command: &clap::Command, args: &[OsString]) -> Option<String> {
    let arg = command
        .get_arguments()
        .find(|arg| arg.get_long().is_some_and(|long| option == format!("--{long}")))?;
    let variable = arg.get_env().filter(|name| std::env::var_os(name).is_some())?;
    let is_flag = |given: &OsStr| {
        let given = given.as_bytes();
        let short = arg.get_short().map(|short| format!("-{short}"));
        given == option.as_bytes()
            || given.starts_with(format!("{option}=").as_bytes())
            || short.is_some_and(|short| given.starts_with(short.as_bytes()))
    };
    let ours = args.iter().take_while(|given| given.as_bytes() != b"--");
    (!ours.into_iter().any(|given| is_flag(given))).then(|| variable.display().to_string())
}

/// The first argument, or variable of ours, that is no text.
fn not_utf8(command: &clap::Command, args: &[OsString]) -> (String, String) {
    let is_bad = |value: &OsStr| value.to_str().is_none();
    if let Some(at) = args.iter().position(|arg| is_bad(arg)) {
        let option = at.checked_sub(1).and_then(|before| args.get(before)).and_then(|arg| arg.to_str());
        let option = option.filter(|option| option.starts_with('-')).unwrap_or("argument");
        return (option.to_owned(), args.get(at).map(|arg| arg.display().to_string()).unwrap_or_default());
    }
    let variables = command.get_arguments().filter_map(Arg::get_env);
    let bad =
        variables.filter_map(|name| Some((name, std::env::var_os(name)?))).find(|(_, value)| is_bad(value));
    bad.map_or_else(
        || ("command line".to_owned(), String::new()),
        |(name, value)| (name.display().to_string(), value.display().to_string()),
    )
}
