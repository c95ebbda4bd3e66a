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

impl Beside {
    /// Whether it keeps us from having started.
    ///
    /// # Errors
    /// Says how.
    pub fn start(&self) -> Result<(), &'static str> {
        if self.prepares { Err("the command of --before runs") } else { Ok(()) }
    }

    /// Whether it keeps us from being ready.
    ///
    /// # Errors
    /// Says how.
    pub fn readiness(&self) -> Result<(), Cow<'static, str>> {
        self.start()?;
        match &self.check {
            None | Some(Check::Passes) => Ok(()),
            Some(Check::Awaited) => Err("--ready-check has not passed yet".into()),
            Some(Check::Fails(why)) => Err(format!("--ready-check failed: {why}").into()),
        }
    }
}
