//! The words of other inits, by whose names we are called.

pub mod dumb_init;
pub mod tini;

use crate::core::Note;
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

impl Voice {
    /// The original's words, if it has any, for a SIGCHLD that came.
    #[must_use]
    pub fn child_signal(&self) -> Option<String> {
        match self.style {
            Style::Tini => tini::child_signal(self.verbosity),
            // It tells with each child that has ended.
            Style::DumbInit | Style::Ours => None,
        }
    }

    /// The original's words for a transition.
    #[must_use]
    pub fn say(&self, note: &Note) -> Said {
        match self.style {
            Style::Ours => Said::AsUsual,
            Style::DumbInit => dumb_init::say(self, note),
            Style::Tini => tini::say(self, note),
        }
    }
}

/// An error's text alone, as strerror(3) has it: without its number.
fn text_of(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    text.rsplit_once(" (os error").map_or(text.clone(), |(text, _)| text.to_owned())
}
