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
    /// A `Spawn` succeeded: the program was executed.
    Spawned {
        /// Which spawn.
        id: SpawnId,
        /// The new process; also the id of its process group.
        pid: Pid,
    },
    /// A `Spawn` failed; there is no process.
    SpawnFailed {
        /// Which spawn.
        id: SpawnId,
        /// What went wrong.
        failure: SpawnFailure,
    },
    /// A child ended. It is still a zombie, so its pid and process group are safe to signal
    /// until this step's actions are done.
    Exited {
        /// Which child: a worker, the command, or an orphan that came to us.
        pid: Pid,
        /// How it ended.
        exit: Exit,
        /// Whether the kernel has killed somebody of ours for want of memory since the last exit.
        out_of_memory: bool,
    },
    /// A child was stopped.
    Stopped {
        /// Which.
        pid: Pid,
        /// By which signal.
        signal: Signal,
        /// Whether the terminal is ours to give to the child's group.
        has_terminal: bool,
    },
    /// We did not stop ourselves: in our process group, nobody could continue us.
    StopRefused,
    /// Our own program was not exchanged.
    UpgradeFailed,
    /// A worker may have tried to reach something: connections were attempted, or datagrams sent, in our network
    /// namespace since we started, or we cannot tell.
    ReachedOut,
    /// A child was reaped, and its process group, which [`Core::awaits_group`](super::Core::awaits_group), has no other
    /// member.
    GroupEnded {
        /// The child, and the group's number.
        group: Pid,
    },
    /// All children that had ended are reaped.
    Reaped {
        /// Whether any child is left.
        children_left: bool,
    },
    /// The worker, or a descendant of it, said `READY=1` (sd_notify(3)).
    SaidReady {
        /// The worker's own pid.
        pid: Pid,
    },
    /// The worker, or a descendant of it, was seen waiting for connections on a listener of ours.
    SeenAccepting {
        /// The worker's own pid.
        pid: Pid,
    },
    /// A look at the worker did not show it waiting for connections.
    NotSeenAccepting {
        /// The worker's own pid.
        pid: Pid,
        /// The processor time it took: workers with many descriptors are looked at less often.
        took: Duration,
        /// Whether it was cut short, and goes on with the next.
        more: bool,
    },
    /// The kernel does not let us see what the worker waits for.
    ObservationRefused {
        /// The worker's own pid.
        pid: Pid,
    },
    /// The worker told how many requests it has served since its start.
    RequestsReported {
        /// The worker's own pid.
        pid: Pid,
        /// The total.
        total: u64,
    },
    /// The worker asked for more time to start, counted from now (`EXTEND_TIMEOUT_USEC`, sd_notify(3)).
    StartExtended {
        /// The worker's own pid.
        pid: Pid,
        /// How much.
        by: Duration,
    },
    /// The worker said `WATCHDOG=1`.
    Pinged {
        /// The worker's own pid.
        pid: Pid,
    },
    /// The worker said how often it will say `WATCHDOG=1` from now on (`WATCHDOG_USEC`).
    WatchdogSet {
        /// The worker's own pid.
        pid: Pid,
        /// At least this often.
        every: Duration,
    },
    /// The worker said `STOPPING=1`: it is about to end by itself.
    SaidStopping {
        /// The worker's own pid.
        pid: Pid,
    },
    /// The worker said `WATCHDOG=trigger`: it has found out itself that it hangs.
    Triggered {
        /// The worker's own pid.
        pid: Pid,
    },
    /// A probe of the worker came to an end.
    Probed {
        /// The worker's own pid.
        pid: Pid,
        /// Whether it answered in time, and well; `None` if it could not be asked, which is not its fault.
        passed: Option<bool>,
    },
    /// Something came into the queue of a worker, which was watched, and is not any more.
    QueueWoke {
        /// The worker's own pid.
        pid: Pid,
    },
    /// A worker that is ready was looked at.
    AcceptingSeen {
        /// The worker's own pid.
        pid: Pid,
        /// What was found.
        found: Found,
        /// The processor time it took: a worker with many descriptors is looked at less often.
        took: Duration,
    },
    /// So many connections wait for a worker.
    QueueSeen {
        /// The worker's own pid.
        pid: Pid,
        /// How many.
        waiting: u32,
    },
    /// What the connections do that a worker has accepted.
    ConnectionsSeen {
        /// The worker's own pid.
        pid: Pid,
        /// What; `None` if the kernel does not tell.
        found: Option<Connections>,
        /// The processor time it took: what costs much is done less often.
        took: Duration,
    },
    /// The same of all workers together.
    AllConnectionsSeen {
        /// What; `None` if the kernel does not tell.
        found: Option<Connections>,
        /// The processor time it took.
        took: Duration,
    },
    /// So many connections wait in a lane that is nobody's.
    LaneSeen {
        /// Which.
        lane: Lane,
        /// How many.
        waiting: u32,
    },
    /// So many connections wait for all workers together.
    QueuesSeen {
        /// How many.
        waiting: u32,
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
    /// The configuration was read anew; the policy is the new one already, if it was accepted.
    ConfigurationRead {
        /// Whether it was.
        accepted: bool,
    },
    /// Somebody who may asked for this.
    Requested(Request),
    /// A worker was measured; what was not asked for or could not be had is left out.
    Measured {
        /// The worker's own pid.
        pid: Pid,
        /// What.
        found: Measured,
    },
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

/// What somebody may ask of a running pool, beside what signals say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Replace every worker, as HUP does.
    Reload,
    /// Replace the worker of this slot, in its turn.
    Recycle {
        /// Which.
        slot: u32,
    },
    /// Have so many workers.
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
    /// The error number, errno(3).
    pub errno: i32,
    /// The code a shell would end with: 127 not found, 126 cannot execute, 125 anything else.
    pub code: u8,
}
