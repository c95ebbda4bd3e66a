//! `prefork-init generate bash|zsh|fish|man`: completions and the man page, from the definition of the options. For the
//! building of a package: the feature is off in the program that runs.

pub mod tables;

use crate::settings::layers::Parsed;
use crate::settings::options::Options;
use crate::values::error::StartError;
use clap::builder::{PossibleValue, PossibleValuesParser, Resettable};
use clap::{Arg, Command, CommandFactory, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::ffi::OsString;
use tables::{EXIT_CODES, OF_WORKERS, SIGNALS};

const NAME: &str = env!("CARGO_PKG_NAME");

/// Of values that are no closed set.
const SOME_VALUES: [(&str, &[&str]); 3] = [
    ("workers", &["auto"]),
    ("ready", &["auto", "notify", "accept", "probe"]),
    ("SIGNAL", &["HUP", "INT", "QUIT", "ABRT", "KILL", "USR1", "USR2", "TERM", "WINCH"]),
];

/// Reads the words behind `prefork-init generate`, and generates.
///
/// # Errors
/// They are none of the four.
pub fn read(args: &[OsString]) -> Result<Parsed<()>, StartError> {
    let words: Vec<_> = args.iter().skip(2).map(|arg| arg.to_string_lossy()).collect();
    let text = match words.join(" ").as_str() {
        "bash" => completions(Shell::Bash),
        "zsh" => completions(Shell::Zsh),
        "fish" => completions(Shell::Fish),
        "man" => man(),
        other => {
            let remedy = "use one of bash, zsh, fish and man";
            return Err(StartError::value("generate", other, "cannot be generated", remedy));
        }
    };
    Ok(Parsed::text(text))
}

/// The whole command line with its subcommands. [`read`](super::read) takes it apart by itself: a subcommand is the first
/// word or none.
#[must_use]
pub fn definition() -> Command {
    let whole = Options::command()
        .subcommand(crate::check::options::definition())
        .subcommands(crate::client::options::definitions());
    whole.disable_help_subcommand(true).mut_subcommands(|sub| sub.disable_help_subcommand(true))
}

fn completions(shell: Shell) -> String {
    let whole = hinted(definition());
    let (mut whole, name) = match shell {
        // Behind a name with a hyphen bash completes no subcommand (clap-rs/clap#6421).
        Shell::Bash => (whole, "prefork_init"),
        // zsh looks for subcommands behind the first argument, which is the command to run.
        Shell::Zsh => {
            let options = whole.get_arguments().filter(|arg| !arg.is_positional());
            let alone = Command::new(NAME).version(env!("CARGO_PKG_VERSION")).args(options);
            (alone.subcommands(whole.get_subcommands()).disable_help_subcommand(true), NAME)
        }
        _ => (whole, NAME),
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut whole, name, &mut text);
    // The end of the lines that tell bash for which program the function is.
    String::from_utf8_lossy(&text).replace(" prefork_init\n", " prefork-init\n")
}

/// With what to offer for each value.
fn hinted(command: Command) -> Command {
    command.mut_args(hint).mut_subcommands(hinted)
}

fn hint(arg: Arg) -> Arg {
    if !arg.get_action().takes_values() {
        return arg;
    }
    let value = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    let hint = match value {
        "COMMAND" => ValueHint::CommandWithArguments,
        "CMD" => ValueHint::CommandString,
        "PATH" | "FILE" => ValueHint::FilePath,
        "DIR" => ValueHint::DirPath,
        "USER[:GROUP]" => ValueHint::Username,
        _ => ValueHint::Other,
    };
    // Without their help: a quotation mark in it ends fish's and zsh's strings.
    let known = arg.get_possible_values().into_iter().map(|word| word.help(Resettable::Reset));
    let some = SOME_VALUES.iter().filter(|(name, _)| arg.get_long() == Some(*name) || value == *name);
    let words: Vec<_> =
        known.chain(some.flat_map(|(_, words)| words.iter().map(PossibleValue::new))).collect();
    if words.is_empty() { arg.value_hint(hint) } else { arg.value_parser(PossibleValuesParser::new(words)) }
}

/// The page of the program, and behind it those of its subcommands.
fn man() -> String {
    let mut whole = definition().mut_subcommand(crate::check::options::NAME, |check| {
        let own = check.mut_args(|arg| {
            let is_known = arg.get_env().is_some();
            arg.hide(is_known)
        });
        own.after_help("It takes the options of prefork-init(1), too.")
    });
    whole.build();
    let mut text = Vec::new();
    // A vector takes everything.
    let _never_fails = pages(&whole, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn pages(command: &Command, to: &mut Vec<u8>) -> std::io::Result<()> {
    Man::new(command.clone()).render(to)?;
    if command.get_name() == NAME {
        let signals =
            SIGNALS.map(|(name, init, pool)| (name, format!("One command: {init}. A pool: {pool}.")));
        table("SIGNAL HANDLING", signals).to_writer(to)?;
        table("EXIT STATUS", EXIT_CODES).to_writer(to)?;
        table("ENVIRONMENT OF WORKERS", OF_WORKERS).to_writer(to)?;
    }
    command.get_subcommands().try_for_each(|sub| pages(sub, to))
}

fn table(name: &str, rows: impl IntoIterator<Item = (&'static str, impl Into<String>)>) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [name]);
    for (term, meaning) in rows {
        roff.control("TP", []).text([bold(term)]).text([roman(meaning)]);
    }
    roff
}
