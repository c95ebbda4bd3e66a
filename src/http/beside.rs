//! What the core knows nothing of and readiness depends on.

use std::borrow::Cow;

/// What is published beside the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// A command of `--before` runs: nothing else was started yet.
    pub prepares: bool,
    /// What the application itself says, if it is asked.
    pub check: Option<Check>,
}

/// Where `--ready-check` stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// It has not passed yet, nor failed.
    Awaited,
    /// The last one passed.
    Passes,
    /// The last one failed, for this: in words that need no escaping in JSON.
    Fails(String),
}

/// Why nothing has started yet while [`Beside::prepares`].
pub const PREPARES: &str = "the command of --before runs";

impl Check {
    /// Whether the application is ready, as far as it says.
    ///
    /// # Errors
    /// Says why not.
    pub fn passes(&self) -> Result<(), Cow<'static, str>> {
        match self {
            Self::Passes => Ok(()),
            Self::Awaited => Err("--ready-check has not passed yet".into()),
            Self::Fails(why) => Err(format!("--ready-check failed: {why}").into()),
        }
    }

    /// Why not, where the option is named already.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Passes => None,
            Self::Awaited => Some("has not passed yet".to_owned()),
            Self::Fails(why) => Some(why.clone()),
        }
    }
}
