//! As `tini` 0.19.0: its options, `TINI_SUBREAPER`, `TINI_VERBOSITY` and `TINI_KILL_PROCESS_GROUP`, its codes (127, 126
//! and 1) and the lines of its `-v`, all of them on stderr.

use super::environment::{asks_for_pause, from_environment};
use super::getopt::{Getopt, KnownOption, Next};
use crate::core::event::SpawnFailure;
use crate::core::exit::code;
use crate::core::signal::{Rewrite, Signal};
use crate::settings::defaults::{Defaults, Placing};
use crate::settings::layers::Parsed;
use crate::settings::options::{Options, OrphansOption, ProcessGroup, ScopeOption, Subreaper};
use crate::values::error::StartError;
use crate::values::style::{Style, tini_prefix};
use std::ffi::{OsStr, OsString};

const OPTIONS: [KnownOption; 8] = [
    KnownOption { short: b'p', long: "", takes_argument: true },
    KnownOption { short: b'h', long: "", takes_argument: false },
    KnownOption { short: b'v', long: "", takes_argument: false },
    KnownOption { short: b'w', long: "", takes_argument: false },
    KnownOption { short: b'g', long: "", takes_argument: false },
    KnownOption { short: b'l', long: "", takes_argument: false },
    KnownOption { short: b'e', long: "", takes_argument: true },
    KnownOption { short: b's', long: "", takes_argument: false },
];

/// Docker reads the first three words.
const VERSION: &str = concat!("tini version 0.19.0 - prefork-init ", env!("CARGO_PKG_VERSION"), "\n");

const WRONG: u8 = 1;

/// Signals that tini leaves at their default: they are not sent to a supervisor, and as PID 1 it never sees them.
const FAULTS: [&str; 7] = ["FPE", "ILL", "SEGV", "BUS", "ABRT", "TRAP", "SYS"];

/// Signals that `-p` does not know.
const NOT_FOR_P: [&str; 3] = ["STKFLT", "PWR", "IO"];

#[derive(Default)]
struct Flags {
    subreaper: bool,
    group: bool,
    warn_on_reap: bool,
    death_signal: Option<Signal>,
    success_codes: Vec<u8>,
    verbosity: u8,
}

pub(super) fn read(args: &[OsString]) -> Result<Parsed<Box<Options>>, StartError> {
    let name = args.first().map(|name| name.display().to_string()).unwrap_or_default();
    if let [_, only] = args
        && only == "--version"
    {
        return Ok(to_stdout(VERSION));
    }
    let fatal = |text: String| Ok(to_stderr(&format!("{}{text}\n", tini_prefix("FATAL"))));
    let mut flags = Flags { verbosity: 1, ..Flags::default() };
    let mut words = Getopt::new(&OPTIONS, args);
    let command = loop {
        match words.next() {
            Next::Option(b's', _) => flags.subreaper = true,
            Next::Option(b'g', _) => flags.group = true,
            Next::Option(b'w', _) => flags.warn_on_reap = true,
            Next::Option(b'v', _) => flags.verbosity = flags.verbosity.saturating_add(1),
            Next::Option(b'p', signal) => match death_signal(&signal) {
                Some(signal) => flags.death_signal = Some(signal),
                None => return fatal(format!("Not a valid option for -p: {}", signal.display())),
            },
            Next::Option(b'e', code) => match exit_code(&code) {
                Some(code) => flags.success_codes.push(code),
                None => return fatal(format!("Not a valid option for -e: {}", code.display())),
            },
            Next::Option(b'l', _) => return Ok(to_stdout(LICENCE)),
            Next::Option(..) => return Ok(to_stdout(&usage(&name))),
            Next::Wrong(problem) => return Ok(to_stderr(&format!("{name}: {problem}\n{}", usage(&name)))),
            Next::Command(command) => break command,
        }
    };
    if command.is_empty() && !asks_for_pause() {
        return Ok(to_stderr(&usage(&name)));
    }
    flags.subreaper |= std::env::var_os("TINI_SUBREAPER").is_some();
    flags.group |= std::env::var_os("TINI_KILL_PROCESS_GROUP").is_some();
    if let Some(verbosity) = std::env::var_os("TINI_VERBOSITY") {
        flags.verbosity = as_atoi(&verbosity);
    }

    let mut options = from_environment(command, DEFAULTS)?;
    apply(&mut options, flags);
    Ok(Parsed::Asks(options))
}

/// tini's defaults.
const DEFAULTS: Defaults = Defaults {
    style: Style::Tini,
    placing: Placing::As(ProcessGroup::Group),
    subreaper: Subreaper::Never,
    orphans: OrphansOption::Leave,
    stops_itself: false,
    start_failure_code,
};

fn apply(options: &mut Options, flags: Flags) {
    let scope = if flags.group { ScopeOption::Group } else { ScopeOption::Process };
    options.init.signal_scope.get_or_insert(scope);
    if flags.subreaper {
        options.signals.subreaper.get_or_insert(Subreaper::Auto);
    }
    options.signals.parent_death_signal = options.signals.parent_death_signal.or(flags.death_signal);
    options.signals.warn_on_reap |= flags.warn_on_reap;
    let known = FAULTS.iter().filter_map(|name| Signal::parse(name));
    let dropped = known.chain([Signal::TTIN, Signal::TTOU]).map(|from| Rewrite { from, to: None });
    options.signals.rewrite_signal.splice(0..0, dropped);
    options.init.success_codes.extend(flags.success_codes);
    options.verbosity = flags.verbosity;
}

fn to_stdout(text: &str) -> Parsed<Box<Options>> {
    Parsed::Print { text: text.to_owned(), to_stderr: false, code: 0 }
}

fn to_stderr(text: &str) -> Parsed<Box<Options>> {
    Parsed::Print { text: text.to_owned(), to_stderr: true, code: WRONG }
}

/// A full name such as `SIGTERM`, of a signal that every Unix has.
fn death_signal(text: &OsStr) -> Option<Signal> {
    let text = text.to_str()?;
    let signal = Signal::parse(text.strip_prefix("SIG")?)?;
    let plain = format!("SIG{signal}") == text && signal.number() <= 31;
    (plain && !NOT_FOR_P.contains(&signal.to_string().as_str())).then_some(signal)
}

/// A code as strtol(3) reads it: an empty text is 0.
fn exit_code(text: &OsStr) -> Option<u8> {
    let text = text.to_str()?.trim_start();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let code: u8 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    (code == 0 || !text.starts_with('-')).then_some(code)
}

/// As atoi(3): the leading digits, else 0; a negative number counts as the maximum.
fn as_atoi(text: &OsStr) -> u8 {
    let text = text.to_string_lossy();
    let text = text.trim_start();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits: String = unsigned.chars().take_while(char::is_ascii_digit).collect();
    let number = digits.parse::<u64>().map_or(0, |number| u8::try_from(number).unwrap_or(u8::MAX));
    if text.starts_with('-') && number > 0 { u8::MAX } else { number }
}

/// 127 for "not found", 126 for "not executable", 1 for any other failure of the command.
#[must_use]
pub fn start_failure_code(failure: &SpawnFailure) -> u8 {
    const ENOENT: i32 = 2;
    const EACCES: i32 = 13;
    const ENOEXEC: i32 = 8;
    match (failure.code, failure.errno) {
        // No process was made yet: our own failure.
        _ if failure.step == "pipe" => failure.code,
        (code::NOT_FOUND, ENOENT) => code::NOT_FOUND,
        (code::CANNOT_EXECUTE, EACCES | ENOEXEC) => code::CANNOT_EXECUTE,
        _ => 1,
    }
}

const LICENCE: &str = "\
This is prefork-init, called as tini. It contains no code of tini's.
Licensed under the MIT licence or the Apache License, Version 2.0, at your option.
";

fn usage(name: &str) -> String {
    format!(
        "\
{name} (tini version 0.19.0, by prefork-init {version})
Usage: {name} [OPTIONS] PROGRAM -- [ARGS] | --version

Runs the program, passes signals on to it, and reaps zombies.

  --version     Print the version and exit.
  -h            Print this and exit.
  -s            Become a subreaper, if not PID 1.
  -p SIGNAL     Get SIGNAL when the parent dies, as in -p SIGTERM.
  -v            Say more; up to three times.
  -w            Warn of each zombie that is reaped.
  -g            Pass signals on to the program's process group.
  -e EXIT_CODE  Turn this exit code, 0 to 255, into 0; repeatable.
  -l            Print the licence and exit.

TINI_SUBREAPER is as good as -s, TINI_KILL_PROCESS_GROUP as -g, TINI_VERBOSITY=N as N-1 times -v. What tini never had
is in the PREFORK_... variables: prefork-init --help lists them.
",
        version = env!("CARGO_PKG_VERSION"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn death_signals_have_their_full_names() {
        assert_eq!(death_signal(OsStr::new("SIGTERM")), Some(Signal::TERM));
        for wrong in ["TERM", "15", "sigterm", "SIG15", "SIGRTMIN", "SIGPWR", "SIGFOO", "SIG", ""] {
            assert_eq!(death_signal(OsStr::new(wrong)), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_verbosity_is_what_atoi_makes_of_it() {
        for (text, number) in
            [("3", 3), (" 2x", 2), ("", 0), ("-1", 255), ("-0", 0), ("many", 0), ("999", 255)]
        {
            assert_eq!(as_atoi(OsStr::new(text)), number, "{text:?}");
        }
    }
}
