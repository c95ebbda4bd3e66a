//! What holds where no option says otherwise.

use crate::core::event::SpawnFailure;
use crate::settings::options::{OrphansOption, ProcessGroup, Subreaper};
use crate::values::style::Style;

/// Where the command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placing {
    /// As the user says, or as it fits.
    As(ProcessGroup),
    /// In a session of its own, to which we give our terminal up (dumb-init).
    WithOurTerminal,
}

/// What holds where no option says otherwise: our own, or those of the init by whose name we are called.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// In whose words the log is. The other inits kill nothing that is asked to stop, and give what is left the signal that
    /// TERM is for the command.
    pub style: Style,
    /// Where the command runs.
    pub placing: Placing,
    /// When to become a subreaper.
    pub subreaper: Subreaper,
    /// What becomes of what the command leaves behind.
    pub orphans: OrphansOption,
    /// Whether STOP, put in another signal's place, stops us too.
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
