//! Characters that make a line on a terminal look like another one.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Whether it moves a terminal's cursor, or turns the direction of what follows.
#[must_use]
pub fn misleads(c: char) -> bool {
    match c {
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    }
}

/// A replacement for it, if it misleads.
#[must_use]
pub fn printable(c: char) -> char {
    if misleads(c) { char::REPLACEMENT_CHARACTER } else { c }
}

/// Text of several lines, in which only newlines do more than being seen.
#[must_use]
pub fn page(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { c } else { printable(c) }).collect()
}

/// Writes it as JSON has it: all that misleads is in the first plane.
fn escape(c: char, out: &mut String) {
    let _never_fails = write!(out, "\\u{:04x}", u32::from(c));
}

/// A log's writer, which gets one line a call: what is in the line may not look like another. Escape sequences are the
/// formatter's own; it has escaped those of others.
#[derive(Debug)]
pub struct Lines<W>(pub W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(&in_one(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn in_one(line: &[u8]) -> Cow<'_, [u8]> {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\x1b');
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    if text.iter().all(is_plain) {
        return Cow::Borrowed(line);
    }
    let mut clean = String::new();
    for c in String::from_utf8_lossy(text).chars() {
        if c != '\x1b' && misleads(c) { escape(c, &mut clean) } else { clean.push(c) }
    }
    clean.push('\n');
    Cow::Owned(clean.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of them, and what is beside each.
    pub const MISLEADING: &str = "\u{0}\t\n\r\u{1b}\u{1f}\u{7f}\u{80}\u{85}\u{9b}\u{9f}\u{61c}\u{200e}\u{200f}\
                                  \u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}";
    const PLAIN: &str =
        " ~\u{a0}\u{61b}\u{61d}\u{200d}\u{2010}\u{2027}\u{202f}\u{2065}\u{206a}\u{1f600}\u{e4}";

    #[test]
    fn what_moves_the_cursor_or_turns_the_text_misleads_and_nothing_else() {
        assert!(MISLEADING.chars().all(misleads));
        assert!(!PLAIN.chars().any(misleads));
        assert_eq!(page("a\n\r\u{202e}b"), "a\n\u{fffd}\u{fffd}b");
    }

    #[test]
    fn a_line_of_the_log_is_one_line() {
        let written = |line: &str| {
            let mut lines = Lines(Vec::new());
            lines.write_all(line.as_bytes()).unwrap();
            String::from_utf8(lines.0).unwrap()
        };
        for plain in ["\u{1b}[2m12:00\u{1b}[0m ready pid=7\n", "{\"a\":\"\\n\"}\n", "caf\u{e9}\n"] {
            assert_eq!(written(plain), plain);
        }
        let forged = "error=/a\n2026 INFO worker ready\r\u{9b}2J\u{202e}x\u{7f}\n";
        assert_eq!(written(forged), "error=/a\\u000a2026 INFO worker ready\\u000d\\u009b2J\\u202ex\\u007f\n");
    }
}
