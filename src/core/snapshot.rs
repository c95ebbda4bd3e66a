//! The published view of the core: a [`Snapshot`] for the health endpoint, and a whole [`Status`] on request. Nothing
//! here decides; the core never reads it.

use super::event::{Lane, Pid};
use super::exit::Reason;
use super::limits::Limits;
use alloc::vec::Vec;
use core::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub phase: Phase,
    /// Workers that are wanted.
    pub workers: u32,
    /// Slots that have a ready worker.
    pub ready: u32,
    /// Ready workers that make the pool ready.
    pub min_ready: u32,
    /// Whether `min_ready` workers have ever been ready at the same time.
    pub started: bool,
}

/// The phase of the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The supervisor keeps the workers, or the command, running.
    Running,
    /// The first stop signal has come, and the workers serve on during the drain delay.
    Draining,
    /// The workers, or the command, are being stopped; or the last connections are served before that.
    Stopping,
    /// A crash loop was given up; all processes are being stopped.
    GivenUp,
}

/// The change that is under way in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No change is under way, or there is no pool.
    Steady,
    Rolling {
        to: u32,
        /// Slots with a ready worker of the new generation.
        new: u32,
    },
    /// The first stop signal has come, and the workers serve on.
    Draining {
        /// The rest of the drain delay.
        left: Duration,
    },
    Stopping {
        left: u32,
        /// The time until all processes are killed; `None` is never.
        grace: Option<Duration>,
    },
}

impl Snapshot {
    /// Whether traffic should be sent here: enough workers are ready, and no stop signal has come.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Running && self.ready >= self.min_ready
    }
}

/// Everything that people and metrics can see. In init mode the command counts as the worker of slot 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub summary: Snapshot,
    /// The newest generation that had a ready worker; 0 in init mode.
    pub generation: u32,
    /// The reload that is under way, or the last one.
    pub reload: Option<Reload>,
    /// The surge that would let the next replacement begin; `None` if none waits, or if it waits for something else.
    pub surge_to_go_on: Option<u32>,
    /// The slots in order; none in init mode.
    pub slots: Vec<Slot>,
    /// All living workers: by slot, the seated one before its successor, then the retiring ones.
    pub workers: Vec<Worker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Consecutive failures of its workers.
    pub failures: u32,
    /// The time until the next spawn, if the slot is vacant.
    pub respawn_in: Option<Duration>,
    /// The lane that is kept for the next worker, if the slot is vacant: connections may wait there.
    pub kept_lane: Option<Lane>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    pub generation: u32,
    pub state: ReloadState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadState {
    Running,
    /// Every worker is of the new generation.
    Finished,
    /// The reload did not begin: the configuration is wrong.
    Refused,
    /// The first worker of the new generation did not become ready; the old workers go on.
    Failed(Reason),
}

/// A living worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    pub slot: u32,
    /// The lowest number that no other living worker had at its spawn.
    pub number: u32,
    pub generation: u32,
    /// `None` until the spawn is answered.
    pub pid: Option<Pid>,
    pub lane: Lane,
    pub state: State,
    /// Why it is to be replaced, or was asked to stop.
    pub reason: Option<Reason>,
    /// Connections with something in hand for which it is kept beyond the drain time.
    pub waits_for: Option<u32>,
    pub uptime: Duration,
    /// Requests that it is known to have served; `None` if they are not counted.
    pub requests: Option<u64>,
    pub limits: Limits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It is being spawned, or runs and is not ready yet.
    Starting,
    /// It serves.
    Ready,
    /// It is ready, but has stopped accepting connections.
    NotAccepting,
    /// It is ready, but hangs.
    Hung,
    /// It receives no new connections and finishes those it has.
    Draining,
    /// It was sent the stop signal.
    Stopping,
    /// It was sent `SIGKILL`.
    Killed,
}

impl State {
    /// All of them, in the order of a worker's life.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Ready,
        Self::NotAccepting,
        Self::Hung,
        Self::Draining,
        Self::Stopping,
        Self::Killed,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::NotAccepting => "not-accepting",
            Self::Hung => "hung",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Killed => "killed",
        }
    }
}

impl Phase {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::GivenUp => "given-up",
        }
    }
}
