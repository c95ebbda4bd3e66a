//! Characters that make a line on a terminal look like another one.

use std::fmt::Write as _;

/// Whether a character moves a terminal's cursor, or changes the direction of the text.
#[must_use]
pub fn misleads(c: char) -> bool {
    match c {
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    }
}

/// U+FFFD for a character that misleads.
#[must_use]
pub fn printable(c: char) -> char {
    if misleads(c) { char::REPLACEMENT_CHARACTER } else { c }
}

/// Text of several lines, in which only newlines move the cursor.
#[must_use]
pub fn page(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { c } else { printable(c) }).collect()
}

/// Appends a character; one that misleads is escaped as in JSON. All of these are below U+10000.
pub fn escape_misleading(c: char, out: &mut String) {
    if misleads(c) {
        let _never_fails = write!(out, "\\u{:04x}", u32::from(c));
    } else {
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All kinds of them, and in `PLAIN` their neighbours.
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
}
