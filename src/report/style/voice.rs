//! The types of a voice, for the files that have its words.

use crate::values::style::Style;

/// How an original tells of what happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voice {
    /// Whose.
    pub style: Style,
    /// How much: see the original's `-v`.
    pub verbosity: u8,
    /// The command's name.
    pub command: String,
    /// Whether the command gets a session of its own.
    pub setsid: bool,
}

/// What a voice has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// These lines, each with its newline.
    Lines(String),
    /// The original has no such thing: our own words.
    AsUsual,
}

/// An error's text alone, as strerror(3) has it: without its number.
pub(super) fn text_of(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    text.rsplit_once(" (os error").map_or(text.clone(), |(text, _)| text.to_owned())
}
