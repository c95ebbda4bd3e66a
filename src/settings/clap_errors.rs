//! Turns an error of the command line into one line.

use crate::values::error::StartError;
use clap::Arg;
use clap::error::{ContextKind, ErrorKind};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Options of servers that users give to us by mistake, with the remedy.
const OF_SERVERS: [(&[&str], &str); 8] = [
    (
        &["--reload"],
        "that is your server's: write it behind the server's name. It works with -n 1; or leave it out, and HUP loads new code",
    ),
    (
        &["-k", "--worker-class"],
        "that is gunicorn's: write it behind gunicorn, as in: prefork-init -n 4 -- gunicorn -k gthread",
    ),
    (&["-c"], "that is gunicorn's: write it behind gunicorn; a file with settings of ours is --config FILE"),
    (
        &["--timeout"],
        "that is gunicorn's: write it behind gunicorn; to find workers that hang, we have --probe, --accept-stall and --watchdog",
    ),
    (
        &["--preload"],
        "that is gunicorn's: leave it out, since each worker of the pool loads the application by itself",
    ),
    (&["--threads"], "that is your server's: write it behind the server's name"),
    (&["--host", "--port", "-p"], "it is we that listen: write --bind HOST:PORT"),
    (&["--fd"], "that is your server's: write --fd {fd} behind the server's name"),
];

/// Words clap's error, which has paragraphs, as one line for the log.
pub fn one_line(error: &clap::Error, command: &clap::Command, args: &[OsString]) -> StartError {
    let context = |kind| error.get(kind).map(ToString::to_string);
    // clap names an option as `--workers <N>`.
    let option =
        context(ContextKind::InvalidArg).map(|arg| arg.split(' ').next().unwrap_or_default().to_owned());
    let value = context(ContextKind::InvalidValue).unwrap_or_default();
    let option =
        option.map(|option| source(&option, &value, command, args).unwrap_or(option)).unwrap_or_default();
    let source = std::error::Error::source(error).map(ToString::to_string);
    match (error.kind(), source) {
        (ErrorKind::ValueValidation, Some(source)) => {
            let (problem, remedy) = match source.split_once(": ") {
                Some(told) => told,
                None if source == "value was not a boolean" => (source.as_str(), "use true or false"),
                None => (source.as_str(), "see --help"),
            };
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
            let of_servers = OF_SERVERS.iter().find(|(names, _)| names.contains(&option.as_str()));
            // `ctl`, for example, runs no server.
            let runs_something = command.get_arguments().any(|arg| arg.get_id() == "workers");
            let of_server = of_servers.filter(|_| runs_something).map(|(_, remedy)| (*remedy).to_owned());
            let near = || context(ContextKind::SuggestedArg).map(|known| format!("did you mean {known}?"));
            let remedy = of_server.or_else(near).unwrap_or_else(|| {
                "see --help, or put -- before a command that begins with a dash".to_owned()
            });
            StartError::usage(option, "no such option", remedy)
        }
        (ErrorKind::MissingRequiredArgument, _) => {
            StartError::usage("COMMAND", "missing", "add the command to run, as in: prefork-init -- myserver")
        }
        (ErrorKind::ArgumentConflict, _) => match context(ContextKind::PriorArg) {
            Some(other) if other.split(' ').next() != Some(option.as_str()) => {
                StartError::usage(option, format!("cannot be together with {other}"), "leave one of them out")
            }
            _ => StartError::usage(option, "given more than once", "give it once"),
        },
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

/// The variable that a wrong value came from: it has that value, and no argument ends with it.
fn source(option: &str, value: &str, command: &clap::Command, args: &[OsString]) -> Option<String> {
    let is_it = |arg: &&Arg| arg.get_long().is_some_and(|long| option == format!("--{long}"));
    let variable = command.get_arguments().find(is_it)?.get_env()?;
    let value = value.as_bytes();
    let has_it = std::env::var_os(variable).is_some_and(|has| {
        has.as_bytes() == value || has.as_bytes().split(|byte| *byte == b',').any(|part| part == value)
    });
    // Words after `--` are not ours.
    let own = args.iter().map(|arg| arg.as_bytes()).take_while(|arg| *arg != b"--");
    let is_given = own.into_iter().any(|arg| arg.ends_with(value));
    (has_it && !is_given).then(|| variable.display().to_string())
}

/// The name and value of the variable of ours or, failing that, of the first argument that is not UTF-8.
fn not_utf8(command: &clap::Command, args: &[OsString]) -> (String, String) {
    let is_bad = |value: &OsStr| value.to_str().is_none();
    let variables = command.get_arguments().filter_map(Arg::get_env);
    let mut found = variables.filter_map(|name| Some((name, std::env::var_os(name)?)));
    if let Some((name, value)) = found.find(|(_, value)| is_bad(value)) {
        return (name.display().to_string(), value.display().to_string());
    }
    let Some(at) = args.iter().position(|arg| is_bad(arg)) else {
        return ("command line".to_owned(), String::new());
    };
    let option = at.checked_sub(1).and_then(|before| args.get(before)).and_then(|arg| arg.to_str());
    let option = option.filter(|option| option.starts_with('-')).unwrap_or("argument");
    (option.to_owned(), args.get(at).map(|arg| arg.display().to_string()).unwrap_or_default())
}
