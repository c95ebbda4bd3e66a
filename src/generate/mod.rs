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

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(what: &str) -> String {
        let words = ["prefork-init", "generate", what].map(OsString::from);
        match read(&words) {
            Ok(Parsed::Print { text, .. }) => text.replace("\\-", "-"),
            Ok(Parsed::Asks(())) => panic!("{what} asks for nothing"),
            Err(error) => panic!("{what}: {error}"),
        }
    }

    /// The whole command line, every subcommand, and those behind them.
    fn levels(command: Command) -> Vec<Command> {
        let behind: Vec<_> = command.get_subcommands().cloned().flat_map(levels).collect();
        [vec![command], behind].concat()
    }

    fn built() -> Command {
        let mut command = definition();
        command.build();
        command
    }

    fn has_name(text: &str, name: &str) -> bool {
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
        text.match_indices(name).any(|(at, _)| ends(&text[at + name.len()..]))
    }

    #[test]
    fn every_option_and_subcommand_is_in_each() {
        let levels = levels(built());
        assert!(levels.len() >= 11 && levels[0].get_arguments().count() > 50, "{}", levels.len());
        for what in ["bash", "zsh", "fish", "man"] {
            let text = generated(what);
            for level in &levels {
                for long in level.get_arguments().filter_map(Arg::get_long) {
                    let name = if what == "fish" { format!("-l {long}") } else { format!("--{long}") };
                    assert!(has_name(&text, &name), "{what}: {level} {name}");
                }
                for sub in level.get_subcommands() {
                    assert!(has_name(&text, sub.get_name()), "{what}: {level} {sub}");
                }
            }
        }
    }

    #[test]
    fn every_subcommand_has_a_page_that_says_what_it_does_and_what_its_exit_codes_mean() {
        let text = generated("man");
        let words = |text: &str| text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let page = |name: &str| {
            let begin = format!(".TH {name} ");
            let (_, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no page {name}"));
            words(rest.split_once("\n.TH ").map_or(rest, |(page, _)| page))
        };
        for level in levels(built()) {
            let name = level.get_display_name().unwrap_or(level.get_name());
            let about = level.get_about().unwrap().to_string();
            assert!(page(name).contains(&words(&format!("{name} - {about}"))), "{name}: {about}");
        }
        for name in ["prefork-init-status", "prefork-init-ctl"] {
            assert!(
                ["1 failed", "4 not done", "69 not"].iter().all(|code| page(name).contains(code)),
                "{name}"
            );
        }
        let check = page("prefork-init-check");
        assert!(check.contains("125 to 127 as the start would end") && check.contains("--deny"), "{check}");
        assert!(
            !check.contains("--workers") && check.contains("the options of prefork-init(1), too"),
            "{check}"
        );
    }
}
