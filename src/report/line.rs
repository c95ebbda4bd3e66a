//! How a log line looks: as text for people, with colours on a terminal, or as one JSON object.

use super::notes::{FieldKind, Transition};
use crate::values::json::quoted;
use crate::values::log::LogFormat;
use crate::values::printable::escape_misleading;
use std::fmt::{self, Debug, Display, Write};
use std::time::SystemTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// The format of all lines.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub format: LogFormat,
    pub colours: bool,
}

impl Look {
    /// The line of an event, with its newline. No value in it can end it or look like another line.
    pub fn line(self, event: &Event<'_>) -> String {
        let mut draft = Draft::new(self, *event.metadata().level());
        event.record(&mut draft);
        draft.end()
    }

    /// The line of a transition, if the log has one.
    pub fn transition(self, told: &Transition<'_>) -> Option<String> {
        let mut draft = Draft::new(self, told.level);
        draft.field(FieldKind::Text, MESSAGE, told.message?);
        let fields = told.fields.into_iter().flatten().filter(|field| field.in_log);
        fields.for_each(|field| draft.field(field.kind, field.name, field.value));
        Some(draft.end())
    }
}

/// Now: RFC 3339 with microseconds, UTC.
#[must_use]
pub fn timestamp() -> String {
    let mut time = String::new();
    // The formatter knows no time before 1970, and fails after the year 9999.
    let now = SystemTime::now().max(SystemTime::UNIX_EPOCH);
    let _far_away = write!(time, "{}", humantime::format_rfc3339_micros(now));
    time
}

/// The name, and the parameter of the escape sequence for its colour (ECMA-48, 8.3.117).
fn level(level: Level) -> (&'static str, &'static str) {
    match level {
        Level::ERROR => ("ERROR", "31"),
        Level::WARN => ("WARN", "33"),
        Level::INFO => ("INFO", "32"),
        Level::DEBUG => ("DEBUG", "34"),
        Level::TRACE => ("TRACE", "35"),
    }
}

/// A line that is being written: first the message, then the fields.
struct Draft {
    look: Look,
    line: String,
}

impl Draft {
    fn new(look: Look, of: Level) -> Self {
        let (name, colour) = level(of);
        let mut draft = Self { look, line: String::new() };
        match look.format {
            LogFormat::Text => {
                draft.painted("2", timestamp());
                draft.line.push(' ');
                draft.painted(colour, format_args!("{name:>5}"));
            }
            LogFormat::Json => {
                draft.push(format_args!(r#"{{"timestamp":"{}","level":"{name}""#, timestamp()));
            }
        }
        draft
    }

    fn field(&mut self, kind: FieldKind, name: &str, value: &dyn Display) {
        match (self.look.format, kind) {
            (LogFormat::Json, FieldKind::Number) => self.push(format_args!(r#","{name}":{value}"#)),
            (LogFormat::Json, _) => {
                self.push(format_args!(r#","{name}":{}"#, quoted(&value.to_string())));
            }
            (LogFormat::Text, FieldKind::Quoted) if name != MESSAGE => {
                self.field(FieldKind::Text, name, &format_args!("{:?}", value.to_string()));
            }
            (LogFormat::Text, _) => {
                self.line.push(' ');
                if name != MESSAGE {
                    self.painted("3", name);
                    self.painted("2", "=");
                }
                let _never_fails = write!(Escaped(&mut self.line), "{value}");
            }
        }
    }

    fn painted(&mut self, style: &str, text: impl Display) {
        if self.look.colours {
            self.push(format_args!("\x1b[{style}m{text}\x1b[0m"));
        } else {
            self.push(text);
        }
    }

    fn push(&mut self, text: impl Display) {
        let _never_fails = write!(self.line, "{text}");
    }

    fn end(mut self) -> String {
        self.line.push_str(if self.look.format == LogFormat::Json { "}\n" } else { "\n" });
        self.line
    }
}

impl Visit for Draft {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.field(FieldKind::Text, field.name(), &format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(FieldKind::Quoted, field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(FieldKind::Number, field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(FieldKind::Number, field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(FieldKind::Number, field.name(), &value);
    }
}

const MESSAGE: &str = "message";

/// Writes text of others.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().for_each(|c| escape_misleading(c, self.0));
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Metadata, Subscriber, debug, error, info, warn};

    struct Lines(Look, Arc<Mutex<String>>);

    impl Subscriber for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            self.1.lock().unwrap().push_str(&self.0.line(event));
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    /// The lines, each without its time.
    fn lines(format: LogFormat, colours: bool, write: impl FnOnce()) -> Vec<String> {
        let out = Arc::new(Mutex::new(String::new()));
        tracing::subscriber::with_default(Lines(Look { format, colours }, out.clone()), write);
        let out = out.lock().unwrap();
        out.lines().map(without_time).collect()
    }

    pub fn without_time(line: &str) -> String {
        let (at, time) = (line.find("20").unwrap(), timestamp().len());
        assert_eq!((&line[at + 4..=at + 4], &line[at + time - 1..at + time]), ("-", "Z"), "{line}");
        format!("{}{}", &line[..at], &line[at + time..])
    }

    fn write() {
        let absent: Option<u32> = None;
        info!(slot = 3, "gen" = 2u32, absent, by = %"accept", "worker ready: {}", 7);
        warn!(command = "a b", is = true, below = -1, "text");
        debug!("alone");
        error!(error = %"/a\n2026 INFO\x1b[2J\"\u{202e}\u{9b}", "forged \r\u{7f}\x1b");
    }

    #[test]
    fn text_is_for_people() {
        assert_eq!(
            lines(LogFormat::Text, false, write),
            [
                "  INFO worker ready: 7 slot=3 gen=2 by=accept",
                "  WARN text command=\"a b\" is=true below=-1",
                " DEBUG alone",
                " ERROR forged \\u000d\\u007f\\u001b error=/a\\u000a2026 INFO\\u001b[2J\"\\u202e\\u009b",
            ]
        );
    }

    #[test]
    fn colours_are_those_of_terminals() {
        assert_eq!(
            lines(LogFormat::Text, true, || info!(slot = 3, "ready")),
            ["\x1b[2m\x1b[0m \x1b[32m INFO\x1b[0m ready \x1b[3mslot\x1b[0m\x1b[2m=\x1b[0m3"]
        );
    }

    #[test]
    fn json_is_one_object_a_line() {
        let lines = lines(LogFormat::Json, true, write);
        assert_eq!(
            lines[0],
            r#"{"timestamp":"","level":"INFO","message":"worker ready: 7","slot":3,"gen":2,"by":"accept"}"#
        );
        assert_eq!(
            lines[1],
            r#"{"timestamp":"","level":"WARN","message":"text","command":"a b","is":true,"below":-1}"#
        );
        assert_eq!(lines[2], r#"{"timestamp":"","level":"DEBUG","message":"alone"}"#);
        let forged: serde_json::Value = serde_json::from_str(&lines[3]).unwrap();
        assert_eq!(forged["message"], "forged \r\u{7f}\x1b");
        assert_eq!(forged["error"], "/a\n2026 INFO\x1b[2J\"\u{202e}\u{9b}");
        assert!(!lines[3].contains(crate::values::printable::misleads), "{}", lines[3]);
    }
}
