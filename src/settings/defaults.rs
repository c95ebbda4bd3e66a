//! The settings without any option.

use crate::core::event::SpawnFailure;
use crate::settings::options::{OrphansOption, ProcessGroup, Subreaper};
use crate::values::style::Style;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placing {
    /// As this option says.
    As(ProcessGroup),
    /// In a session of its own, with our terminal, which we give up (dumb-init).
    WithOurTerminal,
}

/// The defaults: our own, or those of the init by whose name we are called.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// The wording of the log. In another init's style no process that was asked to stop is killed by default, and
    /// leftovers get the signal to which TERM is rewritten.
    pub style: Style,
    pub placing: Placing,
    /// When to become a subreaper.
    pub subreaper: Subreaper,
    /// The treatment of processes that outlive the command.
    pub orphans: OrphansOption,
    /// Whether a signal that is rewritten to STOP stops us too.
    pub stops_itself: bool,
    /// The exit code for a command that could not be started.
    pub start_failure_code: fn(&SpawnFailure) -> u8,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            style: Style::Ours,
            placing: Placing::As(ProcessGroup::Auto),
            subreaper: Subreaper::Auto,
            orphans: OrphansOption::Wait,
            stops_itself: false,
            start_failure_code: |failure| failure.code,
        }
    }
}
