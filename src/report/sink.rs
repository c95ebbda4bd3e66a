//! Where log lines go, in which format, and in whose words.

use super::level::{self, Leveled};
use crate::core::note::Note;
use crate::os::signals;
use crate::os::stdio::progress_line;
use crate::os::stdio::stderr::{self, Stderr};
use crate::report::style::{Said, Voice};
use crate::values::error::StartError;
use crate::values::log::LogFormat;
use crate::values::log::LogLevel;
use crate::values::printable::{Lines, misleads};
use std::io::{self, Write};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::SubscriberBuilder;
use tracing_subscriber::fmt::format::{DefaultFields, Format, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// Where transitions are told in another program's words.
static VOICE: OnceLock<(Voice, Mutex<Stderr>)> = OnceLock::new();

/// The command's name.
static COMMAND: OnceLock<String> = OnceLock::new();

/// Sends log lines to stderr from here on; never waits for a reader. With a voice, transitions are told in its words, after
/// these first ones.
pub fn start(command: &str, format: LogFormat, level: LogLevel, voice: Option<(Voice, &str)>) {
    let _set = COMMAND.set(command.to_owned());
    progress_line::allow(format == LogFormat::Text);
    subscribe(format, level);
    if let Some((voice, first)) = voice {
        let _set = VOICE.set((voice, Mutex::new(Stderr::new(dropped_as_text))));
        say(first);
    }
}

fn subscribe(format: LogFormat, level: LogLevel) {
    level::set(level);
    // Fails only if there is a subscriber already.
    let _set = match format {
        LogFormat::Text => {
            let text = || builder(dropped_as_text).finish();
            tracing::subscriber::set_global_default(Leveled(LazyLock::new(text)))
        }
        LogFormat::Json => {
            let json = || {
                let json = builder(dropped_as_json).json().flatten_event(true);
                json.with_current_span(false).with_span_list(false).finish()
            };
            tracing::subscriber::set_global_default(Leveled(LazyLock::new(json)))
        }
    };
}

fn builder(
    dropped: fn(u64) -> String,
) -> SubscriberBuilder<DefaultFields, Format, LevelFilter, Mutex<Lines<Stderr>>> {
    let colours = stderr::is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt()
        .with_max_level(level::MOST)
        .with_target(false)
        .with_ansi(colours)
        .with_writer(Mutex::new(Lines(Stderr::new(dropped))))
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

/// Now, as in the log: RFC 3339 with microseconds, UTC.
#[must_use]
pub fn timestamp() -> String {
    let mut time = String::new();
    let _never_fails = SystemTime.format_time(&mut Writer::new(&mut time));
    time
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
pub(crate) fn command() -> Option<&'static str> {
    COMMAND.get().map(String::as_str)
}
