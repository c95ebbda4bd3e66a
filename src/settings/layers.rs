//! The layers of settings: default, file, variable, flag. A later one wins.

use super::file::File;
use super::variables;
use crate::settings::clap_errors;
use crate::settings::options::{
    GivenOption, Options, Source, is_empty, is_ourselves, name_of, only, runs_ourselves, without_variables,
};
use crate::values::error::StartError;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub enum Parsed<T> {
    /// A request to carry out.
    Asks(T),
    /// A text to print before the end: help, version, or another init's message about wrong usage.
    Print { text: String, to_stderr: bool, code: u8 },
}

impl<T> Parsed<T> {
    /// A text for stdout, with code 0.
    #[must_use]
    pub fn text(text: String) -> Self {
        Self::Print { text, to_stderr: false, code: 0 }
    }

    /// Converts the request.
    ///
    /// # Errors
    /// The function's error.
    pub fn map<U>(self, convert: impl FnOnce(T) -> Result<U, StartError>) -> Result<Parsed<U>, StartError> {
        Ok(match self {
            Self::Asks(asked) => Parsed::Asks(convert(asked)?),
            Self::Print { text, to_stderr, code } => Parsed::Print { text, to_stderr, code },
        })
    }
}

/// The settings of all layers.
#[derive(Debug)]
pub(crate) struct Layered {
    pub options: Options,
    /// clap's matches for all options, with those of a subcommand.
    pub matches: ArgMatches,
    /// The command that the matches belong to.
    pub command: Command,
}

/// Reads the command line, the `PREFORK_...` variables, and the file that they name.
///
/// # Errors
/// One line for the first thing that is wrong.
pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Parsed<Box<Options>>, StartError> {
    let args: Vec<OsString> = args.into_iter().collect();
    parse(Options::command, &args)?.map(|layered| Ok(Box::new(layered.options)))
}

/// Reads a command line with the variables and the file that it names. `build` defines our options, and a subcommand's
/// own.
///
/// # Errors
/// One line for the first thing that is wrong.
pub(crate) fn parse(build: impl Fn() -> Command, args: &[OsString]) -> Result<Parsed<Layered>, StartError> {
    let mut command = without_variables(build(), is_empty);
    let mut unknown = variables::unknown(&command);
    let mut matches = command.try_get_matches_from_mut(args);
    if matches.as_ref().is_ok_and(runs_ourselves) {
        command = without_variables(build(), |_| true);
        unknown.clear();
        matches = command.try_get_matches_from_mut(args);
    }
    let matches = match matches {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(Parsed::text(error.to_string()));
        }
        Err(error) => return Err(clap_errors::one_line(&error, &command, args)),
    };
    let mut layered = match matches.get_one::<PathBuf>("config").cloned() {
        None => finish(command, matches, None, args)?,
        Some(path) => with_file(&path, command, &matches, args)?,
    };
    layered.options.unknown = unknown;
    Ok(Parsed::Asks(layered))
}

/// Reads everything again, with the file's words before those of the command line. Settings that a flag or a variable
/// overrides are not even parsed.
fn with_file(
    path: &Path,
    mut command: Command,
    first: &ArgMatches,
    args: &[OsString],
) -> Result<Layered, StartError> {
    let file = File::read(path).map_err(|error| {
        let given = given(&command, first, None);
        error.by_name(|flag| name_of(flag, &given))
    })?;
    let is_open = |long: &str| {
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(long));
        arg.is_some_and(|arg| source(arg, first, None).is_none())
    };
    let from_file = FromFile {
        path: &file.path,
        longs: file.keys().filter(|long| is_open(long)).collect(),
        command: &file.command,
    };
    let (own, rest) = args.split_at(args.len().min(1));
    let words: Vec<OsString> = [own, &file.words(&from_file.longs), rest].concat();
    let matches = command.try_get_matches_from_mut(words).map_err(|error| {
        let name = |flag: &str| {
            let long = flag.strip_prefix("--").filter(|long| from_file.longs.contains(long))?;
            Some(format!("{}: {long}", file.path))
        };
        clap_errors::one_line(&error, &command, args).by_name(name)
    })?;
    finish(command, matches, Some(&from_file), args)
}

/// The settings of the file that no other layer overrides.
struct FromFile<'a> {
    path: &'a str,
    longs: Vec<&'a str>,
    command: &'a [OsString],
}

fn finish(
    command: Command,
    matches: ArgMatches,
    file: Option<&FromFile<'_>>,
    args: &[OsString],
) -> Result<Layered, StartError> {
    let mut options =
        Options::from_arg_matches(&matches).map_err(|error| clap_errors::one_line(&error, &command, args))?;
    options.given = given(&command, &matches, file);
    if let Some(file) = file {
        // With --pause given outside the file, the file's command is not wanted.
        let pauses = |given: &GivenOption| given.field == "pause" && !matches!(given.source, Source::File(_));
        if options.command.is_empty() && !(options.init.pause && options.given.iter().any(pauses)) {
            if file.command.first().is_some_and(|program| is_ourselves(program)) {
                let problem = "it would read this file again, and start itself without end";
                let remedy = "name the program to run";
                return Err(StartError::usage(format!("{}: command", file.path), problem, remedy));
            }
            options.command = file.command.to_vec();
            let source = Source::File(file.path.to_owned());
            let (field, flag) = ("command".to_owned(), "COMMAND".to_owned());
            options.given.extend((!file.command.is_empty()).then_some(GivenOption {
                field,
                flag,
                source,
                only: None,
            }));
        }
    }
    Ok(Layered { options, matches, command })
}

fn given(command: &Command, matches: &ArgMatches, file: Option<&FromFile<'_>>) -> Vec<GivenOption> {
    let given = command.get_arguments().filter_map(|arg| {
        let (field, flag) = (arg.get_id().to_string(), format!("--{}", arg.get_long()?));
        Some(GivenOption { field, flag, source: source(arg, matches, file)?, only: only(arg) })
    });
    given.collect()
}

fn source(arg: &Arg, matches: &ArgMatches, file: Option<&FromFile<'_>>) -> Option<Source> {
    let long = arg.get_long()?;
    if let Some(file) = file.filter(|file| file.longs.contains(&long)) {
        return Some(Source::File(file.path.to_owned()));
    }
    match matches.value_source(arg.get_id().as_str())? {
        ValueSource::CommandLine => Some(Source::Flag),
        ValueSource::EnvVariable => arg.get_env().map(|name| Source::Variable(name.display().to_string())),
        _ => None,
    }
}
