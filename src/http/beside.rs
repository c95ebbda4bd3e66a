//! What readiness depends on and the core does not know.

use crate::values::ready_target::CheckState;

/// Published beside the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// A command of `--before` is running: nothing else has been started.
    pub prepares: bool,
    /// The result of the ready check; `None` if there is no check.
    pub check: Option<CheckState>,
}

/// The reason for not being ready while [`Beside::prepares`].
pub const PREPARES: &str = "the command of --before runs";
