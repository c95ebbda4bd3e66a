//! What the core knows nothing of and readiness depends on.

use crate::values::ready_target::CheckState;

/// What is published beside the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// A command of `--before` runs: nothing else was started yet.
    pub prepares: bool,
    /// What the application itself says, if it is asked.
    pub check: Option<CheckState>,
}

/// Why nothing has started yet while [`Beside::prepares`].
pub const PREPARES: &str = "the command of --before runs";
