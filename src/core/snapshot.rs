//! What the outside may see of the core, for the health endpoint.

/// A picture of the supervisor between two events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where the supervisor stands as a whole.
    pub phase: Phase,
    /// How many workers are wanted.
    pub workers: u32,
    /// How many slots have a ready worker.
    pub ready: u32,
    /// How many must be ready for the pool to be ready.
    pub min_ready: u32,
    /// Whether `min_ready` workers have ever been ready.
    pub started: bool,
}

/// Where the supervisor stands as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It keeps the workers, or the command, running.
    Running,
    /// The first stop signal came, and the workers go on serving through the drain delay.
    Draining,
    /// The workers, or the command, are being stopped.
    Stopping,
    /// A crash loop was given up; what is left is being stopped.
    GivenUp,
}

/// Why the pool is not ready, worded for whoever reads the probe's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// Fewer than `min_ready` workers are ready.
    TooFew,
    /// The supervisor is on its way out.
    Leaving(Phase),
}

impl Snapshot {
    /// Whether traffic should come: enough workers are ready and no stop signal has come.
    ///
    /// # Errors
    /// Says why not.
    pub fn readiness(&self) -> Result<(), NotReady> {
        match self.phase {
            Phase::Running if self.ready >= self.min_ready => Ok(()),
            Phase::Running => Err(NotReady::TooFew),
            leaving @ (Phase::Draining | Phase::Stopping | Phase::GivenUp) => Err(NotReady::Leaving(leaving)),
        }
    }
}
