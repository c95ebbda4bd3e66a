//! What tini 0.19 says.

use super::voice::{Said, Voice, text_of};
use crate::core::Note;
use crate::core::exit::Exit;
use crate::core::note::{InitNote, SignalNote};
use crate::os::signals::describe;
use crate::values::style::tini_prefix as prefix;
use std::fmt::Write;

/// Where orphans go elsewhere: its warning, if its verbosity has warnings.
#[must_use]
pub fn reaper_warning(verbosity: u8) -> String {
    if verbosity == 0 {
        return String::new();
    }
    format!(
        "{}Not PID 1 and not a subreaper: orphans do not come here, so zombie reaping won't work. \
         Use -s, or set TINI_SUBREAPER, or run as PID 1.\n",
        prefix("WARN")
    )
}

/// How much must be asked for until a line comes.
const FATAL: u8 = 0;
const WARN: u8 = 1;
const INFO: u8 = 2;
const DEBUG: u8 = 3;

/// What it says of a SIGCHLD, which to us is no transition.
pub(super) fn child_signal(verbosity: u8) -> Option<String> {
    (verbosity >= DEBUG).then(|| format!("{}Received SIGCHLD\n", prefix("DEBUG")))
}

/// The lines of its `-v`.
pub(super) fn say(voice: &Voice, note: &Note) -> Said {
    let lines: Vec<(u8, String)> = match note {
        Note::Init(InitNote::SpawnFailed { failure, .. }) => {
            let text = text_of(failure.errno);
            vec![(
                FATAL,
                match failure.step {
                    "clone" | "fork" => format!("fork failed: {text}"),
                    _ => format!("exec {} failed: {text}", voice.command),
                },
            )]
        }
        Note::Init(InitNote::CommandStarted { pid }) => {
            vec![(INFO, format!("Spawned child process '{}' with pid '{pid}'", voice.command))]
        }
        Note::Signal(SignalNote::Received(_) | SignalNote::Dropped { .. })
        | Note::Init(InitNote::OrphansLeft { .. }) => Vec::new(),
        Note::Signal(SignalNote::Forwarded { signal, .. }) => {
            vec![(DEBUG, format!("Passing signal: '{}'", describe(*signal)))]
        }
        Note::Init(InitNote::CommandExited { pid, exit, .. }) => vec![
            (DEBUG, format!("Reaped child with pid: '{pid}'")),
            (
                INFO,
                match exit {
                    Exit::Code(code) => format!("Main child exited normally (with status '{code}')"),
                    Exit::Signal { signal, .. } => {
                        format!("Main child exited with signal (with signal '{}')", describe(*signal))
                    }
                },
            ),
        ],
        Note::Init(InitNote::OrphanReaped { pid, warn, .. }) => {
            let mut lines = vec![(DEBUG, format!("Reaped child with pid: '{pid}'"))];
            lines.extend(warn.then(|| (WARN, format!("Reaped zombie process with pid={pid}"))));
            lines
        }
        _ => return Said::AsUsual,
    };
    let said = lines.into_iter().filter(|(level, _)| *level <= voice.verbosity);
    Said::Lines(said.fold(String::new(), |mut all, (level, line)| {
        let level = ["FATAL", "WARN", "INFO"].get(usize::from(level)).copied().unwrap_or("DEBUG");
        let _never_fails = writeln!(all, "{}{line}", prefix(level));
        all
    }))
}
