//! As `dumb-init` 1.2.5: its options, `DUMB_INIT_SETSID` and `DUMB_INIT_DEBUG`, its codes (1 for wrong usage, 2 for a
//! command that cannot be executed) and the lines of its `-v`.

use super::environment::{asks_for_pause, from_environment};
use super::getopt::{Getopt, KnownOption, Next};
use crate::core::event::SpawnFailure;
use crate::core::signal::{Rewrite, Signal};
use crate::settings::defaults::{Defaults, Placing};
use crate::settings::layers::Parsed;
use crate::settings::options::{Options, OrphansOption, ProcessGroup, ScopeOption, Subreaper};
use crate::values::error::StartError;
use crate::values::style::Style;
use std::ffi::{OsStr, OsString};

const OPTIONS: [KnownOption; 5] = [
    KnownOption { short: b'c', long: "single-child", takes_argument: false },
    KnownOption { short: b'h', long: "help", takes_argument: false },
    KnownOption { short: b'r', long: "rewrite", takes_argument: true },
    KnownOption { short: b'v', long: "verbose", takes_argument: false },
    KnownOption { short: b'V', long: "version", takes_argument: false },
];

const VERSION: &str = "dumb-init v1.2.5\n";

const WRONG: u8 = 1;

pub(super) fn read(args: &[OsString]) -> Result<Parsed<Box<Options>>, StartError> {
    let name = args.first().map(|name| name.display().to_string()).unwrap_or_default();
    let mut rules = Vec::new();
    let mut setsid = true;
    let mut debug = false;
    let mut words = Getopt::new(&OPTIONS, args);
    let command = loop {
        match words.next() {
            Next::Option(b'c', _) => setsid = false,
            Next::Option(b'v', _) => debug = true,
            Next::Option(b'V', _) => return Ok(to_stderr(VERSION, 0)),
            Next::Option(b'r', rule) => match rewrite(&rule) {
                Some(rule) => rules.push(rule),
                None => return Ok(to_stderr(WRONG_RULE, WRONG)),
            },
            Next::Option(..) => return Ok(to_stderr(&help(&name), 0)),
            Next::Wrong(problem) => return Ok(to_stderr(&format!("{name}: {problem}\n"), WRONG)),
            Next::Command(command) => break command,
        }
    };
    if command.is_empty() && !asks_for_pause() {
        let usage = format!("Usage: {name} [option] program [args]\nTry {name} --help for full usage.\n");
        return Ok(to_stderr(&usage, WRONG));
    }
    let is = |variable, value: &str| std::env::var_os(variable).is_some_and(|set| set == value);
    let mut said = String::new();
    if is("DUMB_INIT_DEBUG", "1") {
        debug = true;
        said.push_str("[dumb-init] Running in debug mode.\n");
    }
    if is("DUMB_INIT_SETSID", "0") {
        setsid = false;
        said.push_str(if debug { "[dumb-init] Not running in setsid mode.\n" } else { "" });
    }

    let mut options = from_environment(command, DEFAULTS)?;
    apply(&mut options, setsid, rules);
    options.verbosity = u8::from(debug);
    options.said_first = said;
    Ok(Parsed::Asks(options))
}

/// dumb-init's defaults.
const DEFAULTS: Defaults = Defaults {
    style: Style::DumbInit,
    placing: Placing::WithOurTerminal,
    subreaper: Subreaper::Never,
    orphans: OrphansOption::Signal,
    stops_itself: true,
    start_failure_code,
};

fn apply(options: &mut Options, setsid: bool, rules: Vec<Rewrite>) {
    let mut all = Vec::new();
    if setsid {
        // In a session of its own no shell watches the command, and these would have no effect.
        let stops = [Signal::TSTP, Signal::TTIN, Signal::TTOU];
        all.extend(stops.map(|from| Rewrite { from, to: Some(Signal::STOP) }));
    } else {
        options.init.signal_scope.get_or_insert(ScopeOption::Process);
        options.init.process_group.get_or_insert(ProcessGroup::None);
    }
    all.extend(rules);
    // Rules of our own variable come later, and win.
    all.append(&mut options.signals.rewrite_signal);
    options.signals.rewrite_signal = all;
}

fn to_stderr(text: &str, code: u8) -> Parsed<Box<Options>> {
    Parsed::Print { text: text.to_owned(), to_stderr: true, code }
}

/// `s:r` as `sscanf("%d:%d")` reads it: text after the second number is ignored.
fn rewrite(text: &OsStr) -> Option<Rewrite> {
    let text = text.to_str()?;
    let (from, rest) = number(text)?;
    let (to, _) = number(rest.strip_prefix(':')?)?;
    let from = Signal::from_number(from).filter(|from| from.number() <= 31)?;
    let to = match to {
        0 => None,
        to => Some(Signal::from_number(to).filter(|to| to.number() <= 31)?),
    };
    Some(Rewrite { from, to })
}

/// A number as scanf(3) reads it, and the text after it.
fn number(text: &str) -> Option<(i32, &str)> {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = text.len().saturating_sub(digits.len());
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()).saturating_add(sign);
    Some((text.get(..end)?.parse().ok()?, text.get(end..)?))
}

const WRONG_RULE: &str = "\
Usage: -r option takes <signum>:<signum>, where <signum> is between 1 and 31.
This option can be specified multiple times.
Use --help for full usage.
";

fn help(name: &str) -> String {
    format!(
        "\
{VERSION}Usage: {name} [option] command [[arg] ...]

This is prefork-init {version}, called as dumb-init. It runs the command, passes signals on to it, and reaps orphans.

   -c, --single-child   Pass signals on to the command alone, not to its session.
   -r, --rewrite s:r    Pass signal s on as r, or not at all if r is 0. Repeatable; the last one for s counts.
   -v, --verbose        Tell what happens, on stderr.
   -h, --help           Print this and exit.
   -V, --version        Print the version and exit.

DUMB_INIT_SETSID=0 is as good as -c, DUMB_INIT_DEBUG=1 as -v. What dumb-init never had is in the PREFORK_...
variables: prefork-init --help lists them.
",
        version = env!("CARGO_PKG_VERSION"),
    )
}

/// 2 for any failure to execute the command; 1 if no process could be made; our own code if our pipe could not be made.
#[must_use]
pub fn start_failure_code(failure: &SpawnFailure) -> u8 {
    match failure.step {
        "pipe" => failure.code,
        "clone" | "fork" => WRONG,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_scanf_reads_them() {
        for (text, from, to) in [
            ("15:2", 15, Some(2)),
            ("15:0", 15, None),
            ("15:2x", 15, Some(2)),
            ("15:2:3", 15, Some(2)),
            (" 15: 2", 15, Some(2)),
            ("+15:+2", 15, Some(2)),
            ("015:2", 15, Some(2)),
            ("9:31", 9, Some(31)),
        ] {
            let rule = rewrite(OsStr::new(text));
            let found = rule.map(|rule| (rule.from.number(), rule.to.map(Signal::number)));
            assert_eq!(found, Some((from, to)), "{text:?}");
        }
        for text in ["", "15", "15:", ":2", "TERM:2", "0:2", "32:2", "15:32", "15:-1", "15 :2", "-15:2"] {
            assert_eq!(rewrite(OsStr::new(text)), None, "{text:?}");
        }
    }
}
