//! Where log lines go, in which format, and in whose words.

use super::level;
use super::line::{Look, timestamp};
use super::notes::Transition;
use crate::core::note::Note;
use crate::os::signals;
use crate::os::stdio::progress_line;
use crate::os::stdio::stderr::{self, Stderr};
use crate::report::style::voice::{Said, Voice};
use crate::values::error::StartError;
use crate::values::log::LogFormat;
use crate::values::log::LogLevel;
use crate::values::printable::misleads;
use std::io::{self, Write};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Where transitions are told in another program's words.
static VOICE: OnceLock<(Voice, Mutex<Stderr>)> = OnceLock::new();

static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Where all lines in our own words go, and how they look; for the first of them: an init has none as a rule.
static OUT: LazyLock<(Look, Mutex<Stderr>)> = LazyLock::new(open);

/// The command's name.
static COMMAND: OnceLock<String> = OnceLock::new();

/// Sends log lines to stderr from here on; never waits for a reader. With a voice, transitions are told in its words, after
/// these first ones.
pub fn start(command: &str, format: LogFormat, level: LogLevel, voice: Option<(Voice, &str)>) {
    let _set = COMMAND.set(command.to_owned());
    progress_line::allow(format == LogFormat::Text);
    let _set = FORMAT.set(format);
    level::set(level);
    // Fails only if there is a subscriber already.
    let _set = tracing::subscriber::set_global_default(Log);
    if let Some((voice, first)) = voice {
        let _set = VOICE.set((voice, Mutex::new(Stderr::new(dropped_as_text))));
        say(first);
    }
}

/// Writes what is told by the macros of `tracing`. There are no spans here.
struct Log;

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= level::current()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(level::current())
    }

    fn event(&self, event: &Event<'_>) {
        write(&OUT.0.line(event));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Writes the line of a transition, if it has one and lines of its level are logged.
pub(crate) fn transition(told: &Transition<'_>) {
    if told.level <= level::current()
        && let Some(line) = OUT.0.transition(told)
    {
        write(&line);
    }
}

fn write(line: &str) {
    let mut stderr = OUT.1.lock().unwrap_or_else(PoisonError::into_inner);
    let _never_fails = stderr.write_all(line.as_bytes());
}

fn open() -> (Look, Mutex<Stderr>) {
    let format = FORMAT.get().copied().unwrap_or(LogFormat::Text);
    let colours = stderr::is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let dropped = match format {
        LogFormat::Text => dropped_as_text,
        LogFormat::Json => dropped_as_json,
    };
    (Look { format, colours }, Mutex::new(Stderr::new(dropped)))
}

/// Prints something long and complete, where nothing was started: a signal may end it, should there be no reader.
pub fn print(text: &str, to_stderr: bool) {
    signals::let_act();
    let _nobody_reads = if to_stderr {
        io::stderr().write_all(text.as_bytes())
    } else {
        io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush())
    };
}

/// Tells why nothing was started, and returns the code to end with: a line of plain text, for the format may be what
/// is wrong. There may be no reader.
pub fn start_error(error: &StartError) -> u8 {
    let line = error.to_string().replace(misleads, " ");
    // A signal may end it, should it wait.
    signals::let_act();
    Stderr::new(dropped_as_text).write_at_start(format!("prefork-init: {line}\n").as_bytes());
    error.code()
}

fn dropped_as_text(count: u64) -> String {
    format!("prefork-init: {count} log lines dropped: nobody read stderr\n")
}

fn dropped_as_json(count: u64) -> String {
    let time = timestamp();
    format!(
        r#"{{"timestamp":"{time}","level":"WARN","message":"log lines dropped: nobody read stderr","count":{count}}}"#
    ) + "\n"
}

/// Writes lines in another program's words, if there is such a voice.
pub fn say(lines: &str) {
    let Some((_, stderr)) = VOICE.get() else { return };
    if !lines.is_empty() {
        let mut stderr = stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let _never_fails = stderr.write_all(lines.as_bytes());
    }
}

/// Tells of a SIGCHLD, if another program whose words we use does.
pub fn child_signal() {
    if let Some(lines) = VOICE.get().and_then(|(voice, _)| voice.child_signal()) {
        say(&lines);
    }
}

/// Tells of a transition in another program's words, if there is such a voice and it has any.
pub(crate) fn says_otherwise(note: &Note) -> bool {
    let Some(Said::Lines(lines)) = VOICE.get().map(|(voice, _)| voice.say(note)) else { return false };
    say(&lines);
    true
}

/// The command's name.
pub(crate) fn command() -> &'static str {
    COMMAND.get().map_or("", String::as_str)
}
