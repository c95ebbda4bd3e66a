//! What can happen. Events are past participles; each is a fact the loop has seen.

use super::exit::Exit;
use super::signal::{Received, Signal};
use core::fmt;
use core::time::Duration;

/// A process id, as our PID namespace counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub i32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The listeners with this number belong to one worker at a time: one for each address, if workers have listeners of
/// their own. Numbers are as low as possible; a slot that lost its worker keeps its lane for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub u32);

/// One spawn, told apart from every other of this supervisor's life.
///
/// The answer to a `Spawn` carries it back, so an answer can never reach a later worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpawnId(pub u64);

/// Something that happened, for [`Core::step`](super::Core::step).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The loop runs and can carry actions out. Comes once, first.
    Started,
    /// The time of [`Core::next_deadline`](super::Core::next_deadline) has come.
    DeadlinePassed,
    /// A signal other than `SIGCHLD` reached us.
    Signalled(Received),
    /// A `Spawn` was carried out.
    Spawned {
        id: SpawnId,
        /// The new process, which has executed the program; also the id of its process group.
        result: Result<Pid, SpawnFailure>,
    },
    /// Something became of a child: a worker, the command, or an orphan that came to us.
    Child { pid: Pid, change: ChildChange },
    /// All children that had ended are reaped.
    Reaped {
        /// Whether any child is left.
        children_left: bool,
    },
    /// Something is known of a worker.
    Worker {
        /// The worker's own pid, though a descendant may have said it.
        pid: Pid,
        fact: WorkerFact,
    },
    /// Something is known of the pool as a whole.
    Pool(PoolFact),
    /// A caller with the right to it asks for this.
    Requested(Request),
    /// What came of something else that the core asked of the loop.
    Answered(Answer),
}

/// What became of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildChange {
    /// It ended. It is still a zombie, so its pid and process group are safe to signal until this step's actions are
    /// done.
    Exited {
        exit: Exit,
        /// Whether the kernel has killed a process of ours for want of memory since the last exit.
        out_of_memory: bool,
    },
    /// It was stopped.
    Stopped {
        signal: Signal,
        /// Whether the terminal is ours to give to the child's group.
        has_terminal: bool,
    },
    /// It was reaped, and its process group, which [`Core::awaits_group`](super::Core::awaits_group), has no other
    /// member.
    GroupEnded,
}

/// What a worker says, or what is seen of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerFact {
    /// It said `READY=1` (sd_notify(3)).
    SaidReady,
    /// It was seen waiting for connections on a listener of ours.
    SeenAccepting,
    /// A look did not show it waiting for connections.
    NotSeenAccepting {
        /// The processor time it took: workers with many descriptors are looked at less often.
        took: Duration,
        /// Whether it was cut short, and goes on with the next.
        more: bool,
    },
    /// The kernel does not let us see what it waits for.
    ObservationRefused,
    /// It told how many requests it has served since its start.
    RequestsReported { total: u64 },
    /// It asked for more time to start, counted from now (`EXTEND_TIMEOUT_USEC`, sd_notify(3)).
    StartExtended { by: Duration },
    /// It said `WATCHDOG=1`.
    Pinged,
    /// It said how often it will say `WATCHDOG=1` from now on (`WATCHDOG_USEC`).
    WatchdogSet {
        /// At least this often.
        every: Duration,
    },
    /// It said `STOPPING=1`: it is about to end by itself.
    SaidStopping,
    /// It said `WATCHDOG=trigger`: it has found out itself that it hangs.
    Triggered,
    /// A probe came to an end.
    Probed {
        /// Whether it answered in time, and well; `None` if it could not be asked, which is not its fault.
        passed: Option<bool>,
    },
    /// Something came into its queue, which was watched, and is not any more.
    QueueWoke,
    /// It was looked at while it was ready.
    AcceptingSeen {
        found: Found,
        /// The processor time it took: a worker with many descriptors is looked at less often.
        took: Duration,
    },
    /// This many connections wait for it.
    QueueSeen { waiting: u32 },
    /// What the connections do that it has accepted.
    ConnectionsSeen {
        /// What; `None` if the kernel does not tell.
        found: Option<Connections>,
        /// The processor time it took: what costs much is done less often.
        took: Duration,
    },
    /// It was measured; what was not asked for or could not be had is left out.
    Measured(Measured),
}

/// What is seen of the pool as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolFact {
    /// A worker may have tried to reach something: connections were attempted, or datagrams sent, in our network
    /// namespace since we started, or we cannot tell.
    ReachedOut,
    /// This many connections wait in a lane that has no worker.
    LaneSeen { lane: Lane, waiting: u32 },
    /// This many connections wait for all workers together.
    QueuesSeen { waiting: u32 },
    /// What the connections do that the workers have accepted.
    ConnectionsSeen {
        /// What; `None` if the kernel does not tell.
        found: Option<Connections>,
        /// The processor time it took.
        took: Duration,
    },
    /// The listeners of workers that were told to stop were looked at.
    ListenersSeen {
        /// Whether some worker still waits for connections, as far as could be seen.
        awaited: bool,
    },
    /// The container was measured: after its workers.
    ContainerMeasured {
        /// Bytes in use that the kernel cannot just take back.
        used: u64,
        /// How many there may be.
        limit: u64,
    },
}

/// What came of something that the core asked of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The configuration was read anew; the policy is the new one already, if it was accepted.
    ConfigurationRead { accepted: bool },
    /// We did not stop ourselves: in our process group, nothing could continue us.
    StopRefused,
    /// Our own program was not exchanged.
    UpgradeFailed,
}

/// What a look at a worker that is ready found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It waits for connections, as it was seen to before.
    Accepts,
    /// It was seen to wait for connections once, and does not now: perhaps it pauses.
    Absent,
    /// The same, and it has closed what it waited for.
    Left,
    /// It was never seen to wait in a way that tells one that is busy from one that has left.
    Unknown,
    /// There is more to look at.
    NotAll,
}

/// What a caller may ask of a running pool, beside what signals say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Replace every worker, as HUP does.
    Reload,
    /// Replace the worker of this slot, in its turn.
    Recycle { slot: u32 },
    /// Have this many workers.
    Scale {
        /// How many, 1 to [`MOST_WORKERS`](super::policy::MOST_WORKERS).
        workers: u32,
    },
    /// Stop in order, as TERM does.
    Stop,
}

/// What a measurement of one worker found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Bytes of memory that it and its descendants take.
    pub memory: Option<u64>,
    /// Requests it has finished since its start, by the scoreboard.
    pub requests: Option<u64>,
    /// Whether a request in its hands has passed the deadline that the worker set itself.
    pub request_overdue: bool,
    /// Connections that wait for it.
    pub waiting: Option<u32>,
}

/// What the connections do that were accepted, by how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// There are.
    pub open: u32,
    /// Have something in hand: a request, an answer that is being sent, or perhaps a request that is on its way.
    pub busy: u32,
    /// Have a request in hand, and were answered since no new connections come.
    pub again: u32,
}

/// Why a program could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpawnFailure {
    /// What we were doing: `execute`, `clone`, `setsid`, ...
    pub step: &'static str,
    pub errno: i32,
    /// The code a shell would end with: 127 not found, 126 cannot execute, 125 anything else.
    pub code: u8,
}
