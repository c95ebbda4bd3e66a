//! The words of other inits, by whose names we are called.

pub mod dumb_init;
pub mod tini;
pub mod voice;

use crate::core::Note;
use crate::values::style::Style;
use voice::{Said, Voice};

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
