//! What can happen. Events are past participles: each is a fact that the loop has seen. No event says what to do
//! about it.

use super::exit::Exit;
use super::signal::{Received, Signal};
use core::fmt;
use core::time::Duration;

/// A process id in the supervisor's PID namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub i32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a set of listeners that one worker at a time has: one listener for each address, if workers have
/// listeners of their own. The lowest free number is used; a slot that lost its worker keeps its lane for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub u32);

/// The id of one spawn, never used again. The answer to a `Spawn` carries it back, so an answer cannot reach a later
/// worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpawnId(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The loop runs and can carry actions out. Comes once, first.
    Started,
    /// The time of [`Core::next_deadline`](super::Core::next_deadline) has come.
    DeadlinePassed,
    /// A signal other than `SIGCHLD` was received.
    Signalled(Received),
    /// A `Spawn` was carried out.
    Spawned {
        id: SpawnId,
        /// The new process, which has executed the program. Its pid is also the id of its process group.
        result: Result<Pid, SpawnFailure>,
    },
    /// The state of a child changed: of a worker, the command, or an orphan.
    Child {
        pid: Pid,
        change: ChildChange,
    },
    /// All children that had ended are reaped.
    Reaped {
        children_left: bool,
    },
    Worker {
        /// The worker's own pid, though a descendant may have sent the message.
        pid: Pid,
        fact: WorkerFact,
    },
    Pool(PoolFact),
    /// A caller that has the right to do so makes a request.
    Requested(Request),
    /// The result of a request that the core made to the loop.
    Answered(Answer),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildChange {
    /// It ended. It is still a zombie, so its pid and process group are safe to signal until the actions of this step
    /// are done.
    Exited {
        exit: Exit,
        /// Whether the kernel has killed a process of this container for want of memory since the last exit.
        out_of_memory: bool,
    },
    /// It was stopped.
    Stopped {
        signal: Signal,
        /// Whether the supervisor may give the terminal to the child's group.
        has_terminal: bool,
    },
    /// It was reaped, and its process group, for which [`Core::awaits_group`](super::Core::awaits_group) is true, has
    /// no other member.
    GroupEnded,
}

/// What a worker reports, or what is seen of it. "It" is the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerFact {
    /// It sent `READY=1` (sd_notify(3)).
    SaidReady,
    /// It was seen waiting for connections on one of the supervisor's listeners.
    SeenAccepting,
    /// It was not seen waiting for connections.
    NotSeenAccepting {
        /// The processor time of the look: workers with many descriptors are looked at less often.
        took: Duration,
        /// Whether the look was cut short; the next one continues it.
        more: bool,
    },
    /// The kernel does not allow the look.
    ObservationRefused,
    /// It reported how many requests it has served since its start.
    RequestsReported { total: u64 },
    /// It asked for more time to start, counted from now (`EXTEND_TIMEOUT_USEC`, sd_notify(3)).
    StartExtended { by: Duration },
    /// It sent `WATCHDOG=1`.
    Pinged,
    /// It announced how often it will send `WATCHDOG=1` from now on (`WATCHDOG_USEC`).
    WatchdogSet { every: Duration },
    /// It sent `STOPPING=1`: it is about to end by itself.
    SaidStopping,
    /// It sent `WATCHDOG=trigger`: it has detected its own hang.
    Triggered,
    Probed {
        /// Whether it answered in time and with success; `None` if the probe could not be sent, which is no fault of
        /// the worker.
        passed: Option<bool>,
    },
    /// A connection came into its queue. The queue is no longer watched.
    QueueWoke,
    /// It was looked at while it was ready.
    AcceptingSeen {
        found: Found,
        /// The processor time of the look: a worker with many descriptors is looked at less often.
        took: Duration,
    },
    /// This number of connections wait in its queue.
    QueueSeen { waiting: u32 },
    /// The state of the connections that it has accepted.
    ConnectionsSeen {
        /// `None` if the kernel does not tell.
        found: Option<Connections>,
        /// The processor time of the look: an expensive look is made less often.
        took: Duration,
    },
    /// It was measured.
    Measured(Measured),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolFact {
    /// A worker may have tried to reach a service: since the supervisor started, connections were attempted or
    /// datagrams sent in its network namespace, or that cannot be determined.
    ReachedOut,
    /// This number of connections wait in a lane that has no worker.
    LaneSeen { lane: Lane, waiting: u32 },
    /// This number of connections wait for all workers together.
    QueuesSeen { waiting: u32 },
    /// The state of the connections that the workers have accepted.
    ConnectionsSeen {
        /// `None` if the kernel does not tell.
        found: Option<Connections>,
        /// The processor time of the look.
        took: Duration,
    },
    /// The listeners of workers that were asked to stop were looked at.
    ListenersSeen {
        /// Whether a worker was seen that still waits for connections.
        awaited: bool,
    },
    /// The container was measured; its workers were measured before it.
    ContainerMeasured {
        /// Bytes in use that the kernel cannot simply reclaim.
        used: u64,
        /// The limit in bytes.
        limit: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The configuration was read again. If it was accepted, the policy is the new one already.
    ConfigurationRead { accepted: bool },
    /// The supervisor did not stop itself: its process group is orphaned (setpgid(2)), so no shell could continue it.
    StopRefused,
    /// The supervisor's program was not replaced.
    UpgradeFailed,
}

/// The result of a look at a ready worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It waits for connections, as before.
    Accepts,
    /// It was seen waiting for connections once, and does not now: this may be a pause.
    Absent,
    /// The same as `Absent`, and the descriptor that it waited on is closed.
    Left,
    /// It was never seen waiting in a way that tells a busy worker from one that has stopped accepting.
    Unknown,
    /// The look was cut short.
    NotAll,
}

/// A request to a running pool that does not come as a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Replace every worker, as `SIGHUP` does.
    Reload,
    /// Replace the worker of this slot, in its turn.
    Recycle { slot: u32 },
    /// Set the number of workers.
    Scale {
        /// 1 to [`MOST_WORKERS`](super::policy::MOST_WORKERS).
        workers: u32,
    },
    /// Stop in order, as `SIGTERM` does.
    Stop,
}

/// One measurement of one worker. `None` if the value was not asked for or could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Bytes of memory of the worker and its descendants.
    pub memory: Option<u64>,
    /// Requests that it has finished since its start, by the scoreboard.
    pub requests: Option<u64>,
    /// Whether a request in its hands has passed the deadline that the worker set itself.
    pub request_overdue: bool,
    /// Connections in its queue.
    pub waiting: Option<u32>,
}

/// Counts of accepted connections, by what they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// All of them.
    pub open: u32,
    /// Connections with a request in hand, an answer that is being sent, or perhaps a request that is on its way.
    pub busy: u32,
    /// Connections that have a request in hand and were answered since the worker stopped receiving new connections.
    pub again: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpawnFailure {
    /// The step that failed: `execute`, `clone`, `setsid`, ...
    pub step: &'static str,
    pub errno: i32,
    /// The code that a shell would end with: 127 not found, 126 cannot execute, 125 anything else.
    pub code: u8,
}
