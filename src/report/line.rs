//! How a log line looks: as text for people, with colours on a terminal, or as one JSON object.

use crate::values::json::{Object, quoted};
use crate::values::log::LogFormat;
use crate::values::printable::escape_misleading;
use std::error::Error;
use std::fmt::{self, Debug, Write};
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
        let mut line = match self.format {
            LogFormat::Text => self.text(event),
            LogFormat::Json => json(event),
        };
        line.push('\n');
        line
    }

    fn text(self, event: &Event<'_>) -> String {
        let (name, colour) = level(*event.metadata().level());
        let mut visitor = TextFields { line: String::new(), colours: self.colours, first: true };
        visitor.painted("2", timestamp());
        visitor.line.push(' ');
        visitor.painted(colour, format_args!("{name:>5}"));
        visitor.line.push(' ');
        event.record(&mut visitor);
        visitor.line
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

struct TextFields {
    line: String,
    colours: bool,
    first: bool,
}

impl TextFields {
    fn painted(&mut self, style: &str, text: impl fmt::Display) {
        let _never_fails = if self.colours {
            write!(self.line, "\x1b[{style}m{text}\x1b[0m")
        } else {
            write!(self.line, "{text}")
        };
    }
}

impl Visit for TextFields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if !std::mem::take(&mut self.first) {
            self.line.push(' ');
        }
        if field.name() != MESSAGE {
            self.painted("3", field.name());
            self.painted("2", "=");
        }
        let _never_fails = write!(Escaped(&mut self.line), "{value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            self.record_debug(field, &format_args!("{value}"));
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
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

fn json(event: &Event<'_>) -> String {
    let (name, _) = level(*event.metadata().level());
    let mut visitor = JsonFields(Object::new().text("timestamp", timestamp()).text("level", name));
    event.record(&mut visitor);
    visitor.0.end()
}

struct JsonFields(Object);

impl Visit for JsonFields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push(field.name(), quoted(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.push(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.push(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.push(field.name(), value);
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
    pub fn lines(format: LogFormat, colours: bool, write: impl FnOnce()) -> Vec<String> {
        let out = Arc::new(Mutex::new(String::new()));
        tracing::subscriber::with_default(Lines(Look { format, colours }, out.clone()), write);
        let time = timestamp().len();
        let rest = |line: &str| {
            let at = line.find("20").unwrap();
            assert_eq!((&line[at + 4..=at + 4], &line[at + time - 1..at + time]), ("-", "Z"), "{line}");
            format!("{}{}", &line[..at], &line[at + time..])
        };
        let out = out.lock().unwrap();
        out.split_inclusive('\n').map(|line| rest(line.strip_suffix('\n').unwrap())).collect()
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
