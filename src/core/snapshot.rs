//! What the outside may see of the core: a [`Snapshot`] for the health endpoint, and on request a whole [`Status`].

use super::event::{Lane, Pid};
use super::exit::Reason;
use super::limits::Limits;
use alloc::vec::Vec;
use core::time::Duration;

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

/// What is under way in a pool, and how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is, or there is no pool.
    Steady,
    /// A reload.
    Rolling {
        to: u32,
        /// Slots that are served by it.
        new: u32,
    },
    /// The first stop signal came, and the workers go on serving.
    Draining {
        /// For this long.
        left: Duration,
    },
    /// The workers are being stopped.
    Stopping {
        left: u32,
        /// When what is left is killed, from now; `None` is never.
        grace: Option<Duration>,
    },
}

impl Snapshot {
    /// Whether traffic should come: enough workers are ready and no stop signal has come.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Running && self.ready >= self.min_ready
    }
}

/// Everything there is to see, for people and for metrics. Of init mode its one command, as a worker of slot 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The whole in short.
    pub summary: Snapshot,
    /// The generation that has proved itself; 0 in init mode.
    pub generation: u32,
    /// How the last reload stands, if there was one.
    pub reload: Option<Reload>,
    /// With how many more workers alive the next replacement would begin, where one waits for nothing else.
    pub surge_to_go_on: Option<u32>,
    /// The slots in order; none in init mode.
    pub slots: Vec<Slot>,
    /// All workers that are alive: by slot, in it the seated one first, then those that make way.
    pub workers: Vec<Worker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Failures of its workers in a row.
    pub failures: u32,
    /// How long until the next spawn, if it is vacant.
    pub respawn_in: Option<Duration>,
    /// The listeners that are kept for the next worker, if it is vacant: connections may wait there.
    pub kept_lane: Option<Lane>,
}

/// How a reload stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    pub generation: u32,
    pub state: ReloadState,
}

/// Where a reload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadState {
    Running,
    /// Every worker is of the new generation.
    Finished,
    /// It did not begin: the configuration is wrong.
    Refused,
    /// Its first worker did not get ready; the old ones go on.
    Failed(Reason),
}

/// A worker that is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    /// The number of its place.
    pub slot: u32,
    /// Its number among the living workers.
    pub number: u32,
    pub generation: u32,
    /// Its process, once there is one.
    pub pid: Option<Pid>,
    pub lane: Lane,
    /// What it does.
    pub state: State,
    /// Why it is to be replaced, or has been told to go.
    pub reason: Option<Reason>,
    /// Connections with something in hand that it is kept for, beyond the drain time.
    pub waits_for: Option<u32>,
    /// Since its spawn.
    pub uptime: Duration,
    /// Requests it is known to have served; `None` if they are not counted.
    pub requests: Option<u64>,
    /// What was drawn for it.
    pub limits: Limits,
}

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It runs, or is about to, and is not ready yet.
    Starting,
    /// It serves.
    Ready,
    /// It is ready, but takes no new connections.
    NotAccepting,
    /// It is ready, but was found to hang.
    Hung,
    /// It gets no new connections and finishes those it has.
    Draining,
    /// It got the stop signal.
    Stopping,
    /// It got `SIGKILL`.
    Killed,
}

impl State {
    /// All of them, in the order of a life.
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
