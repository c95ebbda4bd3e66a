//! The form of a worker's line in the supervisor's output.

use super::frames::Frame;
use super::origin::{Origin, OutputStream};
use crate::values::json::escape;
use crate::values::log::OutputStyle;
use std::io::Write;

/// The part that all lines of a worker on one stream share.
#[derive(Debug, Default)]
pub struct Label {
    style: OutputStyle,
    whole: Vec<u8>,
    partial: Vec<u8>,
}

impl Label {
    #[must_use]
    pub fn new(style: OutputStyle, origin: &Origin) -> Self {
        let Origin { slot, generation, pid, stream } = origin;
        let (mut whole, mut partial) = (Vec::new(), Vec::new());
        let _never_fails = match style {
            OutputStyle::Prefix => write!(whole, "[{slot} {pid}] ").and(write!(partial, "[{slot} {pid}+] ")),
            OutputStyle::Json => {
                let name = match stream {
                    OutputStream::Stdout => "stdout",
                    OutputStream::Stderr => "stderr",
                };
                let fields = format!(r#"","slot":{slot},"gen":{generation},"pid":{pid},"stream":"{name}","#);
                write!(whole, r#"{fields}"message":""#)
                    .and(write!(partial, r#"{fields}"partial":true,"message":""#))
            }
        };
        Self { style, whole, partial }
    }

    /// Appends a line with its newline. `time` is RFC 3339.
    pub fn write(&self, frame: Frame<'_>, time: &str, out: &mut Vec<u8>) {
        let label = if frame.partial { &self.partial } else { &self.whole };
        match self.style {
            OutputStyle::Prefix => {
                out.extend_from_slice(label);
                out.extend_from_slice(frame.text);
                out.push(b'\n');
            }
            OutputStyle::Json => {
                out.extend_from_slice(br#"{"timestamp":""#);
                out.extend_from_slice(time.as_bytes());
                out.extend_from_slice(label);
                // The carriage return ends the line, as the newline does.
                let text = if frame.partial {
                    frame.text
                } else {
                    frame.text.strip_suffix(b"\r").unwrap_or(frame.text)
                };
                escape(text, out);
                out.extend_from_slice(b"\"}\n");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::printable::misleads;

    const TIME: &str = "2026-11-21T23:40:00.123456Z";

    fn line(style: OutputStyle, stream: OutputStream, text: &[u8], partial: bool) -> String {
        let origin = Origin { slot: 3, generation: 2, pid: 17, stream };
        let mut out = Vec::new();
        Label::new(style, &origin).write(Frame { text, partial }, TIME, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_prefix_names_the_worker_and_leaves_the_line_alone() {
        assert_eq!(
            line(OutputStyle::Prefix, OutputStream::Stdout, b"a \"b\"\t\r", false),
            "[3 17] a \"b\"\t\r\n"
        );
        assert_eq!(line(OutputStyle::Prefix, OutputStream::Stderr, b"", false), "[3 17] \n");
        assert_eq!(line(OutputStyle::Prefix, OutputStream::Stderr, b"part", true), "[3 17+] part\n");
        let mut out = Vec::new();
        let label = Label::new(
            OutputStyle::Prefix,
            &Origin { slot: 0, generation: 1, pid: 9, stream: OutputStream::Stdout },
        );
        label.write(Frame { text: b"\xff\x00", partial: false }, TIME, &mut out);
        assert_eq!(out, b"[0 9] \xff\x00\n");
    }

    #[test]
    fn json_is_json_whatever_the_line_holds() {
        let everything: Vec<u8> = (0..=255).collect();
        let samples: [&[u8]; 8] = [
            b"plain",
            b"",
            b"{\"nested\":[1,2]}",
            b"\\ \" / \x08 \x0c \t",
            "umlauts \u{e4}, \u{1f40c}, \u{2028}, \u{a0}, \u{2010}, \u{61b}, forged \u{9b}2J \u{61c} \u{202e}".as_bytes(),
            b"\xc3",
            b"cut \xf0\x9f",
            &everything,
        ];
        for text in samples {
            for (partial, stream) in [(false, OutputStream::Stdout), (true, OutputStream::Stderr)] {
                let line = line(OutputStyle::Json, stream, text, partial);
                assert!(!line.trim_end().chars().any(misleads), "{line}");
                assert!(line.ends_with("}\n") && line.matches('\n').count() == 1, "{line}");
                let value: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!(value["message"], *String::from_utf8_lossy(text), "{line}");
                assert_eq!(
                    (&value["slot"], &value["gen"], &value["pid"]),
                    (&3.into(), &2.into(), &17.into())
                );
                assert_eq!((&value["timestamp"], value["partial"] == true), (&TIME.into(), partial));
                assert_eq!(value["stream"], if partial { "stderr" } else { "stdout" });
            }
        }
    }

    #[test]
    fn a_carriage_return_at_the_end_of_a_line_is_no_part_of_the_message() {
        for (text, partial, message) in
            [("a\r", false, "a"), ("a\rb\r\r", false, "a\rb\r"), ("a\r", true, "a\r")]
        {
            let line = line(OutputStyle::Json, OutputStream::Stdout, text.as_bytes(), partial);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap()["message"], message);
        }
    }
}
