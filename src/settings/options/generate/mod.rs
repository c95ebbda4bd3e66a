//! `prefork-init generate bash|zsh|fish|man`: what shells and man(1) want to know, from the definition of the options.
//!
//! The scripts are our own. What clap_complete makes knows nothing of programs that run another: it offers our options
//! behind the command, and in zsh takes no command at all once there are subcommands; and together with clap_mangen it
//! would be 113 kB of the binary; this is 70.

mod bash;
mod fish;
mod man;
pub mod tables;
mod zsh;

use super::Request;
use crate::core::Signal;
use crate::values::error::StartError;
use clap::builder::StyledStr;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser, ValueEnum};
use std::ffi::OsString;

/// Print shell completions, or the man page, to stdout.
#[derive(Debug, Parser)]
#[command(name = "generate", bin_name = "prefork-init generate", max_term_width = 100)]
struct Generate {
    /// For which shell, or man.
    #[arg(value_enum, value_name = "WHAT")]
    what: What,
}

/// What can be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Completions, for /usr/share/bash-completion/completions/prefork-init, or to be sourced
    Bash,
    /// Completions, for a file _prefork-init in a directory of $fpath
    Zsh,
    /// Completions, for ~/.config/fish/completions/prefork-init.fish
    Fish,
    /// The man page, for /usr/share/man/man1/prefork-init.1
    Man,
}

/// The subcommand, for what is generated of all of them.
pub fn definition() -> clap::Command {
    Generate::command()
}

/// Reads the words behind `prefork-init generate`, and generates.
///
/// # Errors
/// One line for the first thing that is wrong.
pub fn read(args: &[OsString]) -> Result<Request, StartError> {
    let mut command = Generate::command();
    let matches = command.try_get_matches_from_mut(args.get(1..).unwrap_or_default());
    let what = matches.and_then(|matches| Generate::from_arg_matches(&matches).map(|generate| generate.what));
    let text = match what {
        Ok(what) => text(what, super::definition()),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => error.to_string(),
        Err(_) => {
            let words = args.iter().skip(2).map(|arg| arg.display().to_string());
            let words = words.collect::<Vec<_>>().join(" ");
            let problem = "cannot be generated";
            return Err(StartError::value("generate", words, problem, "use one of bash, zsh, fish and man"));
        }
    };
    Ok(Request::Print { text, to_stderr: false, code: 0 })
}

fn text(what: What, mut command: clap::Command) -> String {
    command.build();
    match what {
        What::Bash => bash::script(&Line::of(&command)),
        What::Zsh => zsh::script(&Line::of(&command)),
        What::Fish => fish::script(&Line::of(&command)),
        What::Man => man::page(&command),
    }
}

/// A command line, or what may follow a subcommand, as far as completion needs to know it.
struct Line {
    name: String,
    help: String,
    flags: Vec<Flag>,
    /// What each argument is called in the help, and what it may be.
    arguments: Vec<(String, Value)>,
    /// Whether a command to run may follow.
    takes_command: bool,
    subcommands: Vec<Line>,
}

struct Flag {
    /// Single letters: `n`, and `w` for the same.
    shorts: Vec<char>,
    long: Option<String>,
    help: String,
    repeats: bool,
    /// The value's name in the help, and what it may be, if there is one.
    value: Option<(String, Value)>,
}

/// What to offer for a value.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    /// One of these.
    Words(Vec<String>),
    Files,
    Directories,
    Users,
    Groups,
    /// Numbers, durations and the like: nothing to choose from.
    Free,
}

impl Line {
    /// `command` is built.
    fn of(command: &clap::Command) -> Self {
        let takes_command = command.get_positionals().any(Arg::is_trailing_var_arg_set);
        let arguments = command.get_positionals().filter(|arg| !arg.is_trailing_var_arg_set());
        Self {
            name: command.get_name().to_owned(),
            help: first_line(command.get_about()),
            flags: flags(command),
            arguments: arguments.map(|arg| (value_name(arg), value_of(arg))).collect(),
            takes_command,
            subcommands: command.get_subcommands().filter(|sub| !sub.is_hide_set()).map(Self::of).collect(),
        }
    }

    fn subcommand_names(&self) -> String {
        self.subcommands.iter().map(|sub| sub.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// This one and all behind it, each with the subcommands that lead to it: none, `ctl`, `ctl signal`.
    fn levels(&self) -> Vec<(String, &Self)> {
        let mut levels = vec![(String::new(), self)];
        for sub in &self.subcommands {
            levels.extend(sub.levels().into_iter().map(|(path, line)| {
                let path = format!("{} {path}", sub.name).trim_end().to_owned();
                (path, line)
            }));
        }
        levels
    }
}

impl Flag {
    /// `-n`, `--workers`.
    fn names(&self) -> Vec<String> {
        let shorts = self.shorts.iter().map(|short| format!("-{short}"));
        let long = self.long.as_ref().map(|long| format!("--{long}"));
        shorts.chain(long).collect()
    }
}

/// The names of those that take a value, single letters first.
fn with_value(flags: &[Flag]) -> Vec<String> {
    let valued = flags.iter().filter(|flag| flag.value.is_some());
    let (long, mut names): (Vec<String>, Vec<String>) =
        valued.flat_map(Flag::names).partition(|name| name.starts_with("--"));
    names.extend(long);
    names
}

fn flags(command: &clap::Command) -> Vec<Flag> {
    let options = command.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set());
    options
        .map(|arg| Flag {
            shorts: arg.get_short_and_visible_aliases().unwrap_or_default(),
            long: arg.get_long().map(str::to_owned),
            help: first_line(arg.get_help()),
            repeats: matches!(arg.get_action(), ArgAction::Append | ArgAction::Count),
            value: takes_value(arg).then(|| (value_name(arg), value_of(arg))),
        })
        .collect()
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

fn value_name(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default().iter();
    names.map(|name| name.as_str()).collect::<Vec<_>>().join(" ")
}

/// Of options that take words beside other things.
const SOME_WORDS: [(&str, &[&str]); 2] =
    [("workers", &["auto"]), ("ready", &["auto", "notify", "accept", "probe"])];

/// Signals that are asked for by name.
const SIGNALS: [i32; 9] = [1, 2, 3, 6, 9, 10, 12, 15, 28];

fn value_of(arg: &Arg) -> Value {
    let words: Vec<String> =
        arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if !words.is_empty() {
        return Value::Words(words);
    }
    if let Some((_, words)) = SOME_WORDS.iter().find(|(name, _)| Some(*name) == arg.get_long()) {
        return Value::Words(words.iter().map(|&word| word.to_owned()).collect());
    }
    match value_name(arg).as_str() {
        "SIGNAL" => {
            let named = SIGNALS.iter().filter_map(|number| Signal::from_number(*number));
            Value::Words(named.map(|signal| signal.to_string()).collect())
        }
        "PATH" | "FILE" | "SOCKET" => Value::Files,
        "DIR" => Value::Directories,
        "USER[:GROUP]" => Value::Users,
        "GROUP" => Value::Groups,
        _ => Value::Free,
    }
}

/// The first line of a help text, without its full stop.
fn first_line(text: Option<&StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    let line = text.lines().next().unwrap_or_default().trim();
    line.strip_suffix('.').unwrap_or(line).to_owned()
}

/// Within single quotes of a POSIX shell, or zsh.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
