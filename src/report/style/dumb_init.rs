//! What dumb-init 1.2.5 says.

use super::voice::{Said, Voice, text_of};
use crate::core::Note;
use crate::core::exit::Exit;
use crate::core::note::{InitNote, SignalNote};
use crate::core::signal::Signal;

/// The lines of its `-v`.
pub(super) fn say(voice: &Voice, note: &Note) -> Said {
    let lines = match note {
        // The one thing it says whether asked or not.
        Note::Init(InitNote::SpawnFailed { failure, .. }) => {
            return Said::Lines(match failure.step {
                "clone" | "fork" => "[dumb-init] Unable to fork. Exiting.\n".to_owned(),
                _ => format!("[dumb-init] {}: {}\n", voice.command, text_of(failure.errno)),
            });
        }
        Note::Init(InitNote::CommandStarted { pid }) => {
            let mut lines = vec![format!("Child spawned with PID {pid}.")];
            lines.extend(voice.setsid.then(|| "setsid complete.".to_owned()));
            lines
        }
        Note::Signal(SignalNote::Received(received)) => {
            vec![format!("Received signal {}.", received.signal.number())]
        }
        Note::Signal(SignalNote::Forwarded { signal, came }) => forwarded(*came, *signal),
        Note::Signal(SignalNote::Dropped { signal }) => dropped(*signal),
        Note::Signal(SignalNote::HandOffIgnored { signal }) => {
            vec![format!("Ignoring tty hand-off signal {}.", signal.number())]
        }
        Note::Init(InitNote::TerminalGivenUp) => vec![
            "Detached from controlling tty, ignoring the first SIGHUP and SIGCONT we receive.".to_owned(),
        ],
        Note::Init(InitNote::Suspending) => vec!["Suspending self due to TTY signal.".to_owned()],
        Note::Init(
            InitNote::CommandExited { pid, exit, .. } | InitNote::OrphanReaped { pid, exit, warn: false },
        ) => {
            let ended = match exit {
                Exit::Code(code) => format!("A child with PID {pid} exited with exit status {code}."),
                Exit::Signal { signal, .. } => {
                    format!("A child with PID {pid} was terminated by signal {}.", signal.number())
                }
            };
            vec![format!("Received signal {}.", Signal::CHLD.number()), ended]
        }
        Note::Init(InitNote::OrphansLeft { signal, code }) => {
            let mut lines =
                signal.map_or_else(|| dropped(Signal::TERM), |signal| forwarded(Signal::TERM, signal));
            lines.push(format!("Child exited with status {code}. Goodbye."));
            lines
        }
        _ => return Said::AsUsual,
    };
    if voice.verbosity == 0 {
        return Said::Lines(String::new());
    }
    Said::Lines(lines.iter().map(|line| format!("[dumb-init] {line}\n")).collect())
}

fn dropped(signal: Signal) -> Vec<String> {
    let translated = format!("Translating signal {} to 0.", signal.number());
    vec![translated, "Not forwarding signal 0 to children (ignored).".to_owned()]
}

fn forwarded(came: Signal, signal: Signal) -> Vec<String> {
    let (came, signal) = (came.number(), signal.number());
    let mut lines = Vec::new();
    if came != signal {
        lines.push(format!("Translating signal {came} to {signal}."));
    }
    lines.push(format!("Forwarded signal {signal} to children."));
    lines
}
