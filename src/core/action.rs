//! What is to be done. Actions are imperatives; the loop carries them out in order.

use super::event::{Lane, Pid, SpawnId};
use super::handover::Handover;
use super::note::{Note, WorkerRef};
use super::signal::{Received, Signal};
use super::time::Monotonic;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Something to do, from [`Core::step`](super::Core::step).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start the command. Answered by `Spawned` or `SpawnFailed`.
    Spawn(SpawnOrder),
    /// Send a signal to one process.
    Signal {
        /// To whom.
        pid: Pid,
        /// Which.
        signal: Signal,
    },
    /// Send a signal to a worker if its program takes it, or else to those below it that do; to none that it would end.
    SignalTakers {
        /// The worker.
        pid: Pid,
        /// Which.
        signal: Signal,
    },
    /// Send a signal to a process group whose leader has not been reaped.
    SignalGroup {
        /// The group's id: the pid of the worker that leads it.
        pid: Pid,
        /// Which.
        signal: Signal,
    },
    /// Send a signal to what is left of a process group whose leader is gone: only to members that
    /// descend from us, since the number may by now belong to a stranger.
    SignalRemains {
        /// The group's id.
        group: Pid,
        /// Which.
        signal: Signal,
    },
    /// Pass a signal on as it came, with its value.
    Forward {
        /// To whom.
        to: Target,
        /// The signal and its origin.
        received: Received,
        /// Keep it from processes that neither handle nor ignore it and would end.
        spare_unaware: bool,
        /// It asks to stop: who gets it counts as asked.
        asks: bool,
    },
    /// Let somebody go on who is stopped. One that runs may have a handler for `SIGCONT`: it gets none.
    ContinueStopped {
        /// Who.
        to: Target,
    },
    /// Make this the terminal's foreground group, if that is ours to say: if our own group is, or nobody's.
    LendTerminal {
        /// The group's id.
        group: Pid,
    },
    /// Make our own group the terminal's foreground group again, if it was lent and is with this group still.
    TakeTerminalBack {
        /// The group's id.
        group: Pid,
    },
    /// Stop ourselves until somebody continues us. Answered by `StopRefused` where nobody could.
    StopSelf {
        /// The other members of our process group, too, as Ctrl-Z would.
        job: bool,
    },
    /// Send a signal to every process that descends from us.
    SignalAll {
        /// Which.
        signal: Signal,
    },
    /// Ask descendants of ours to stop, and to go on in order to see that: all that are not below one of these
    /// workers, not in one of these groups, and have not been asked before.
    AskOrphans {
        /// The workers that are left.
        workers: Vec<Pid>,
        /// Groups that have got the stop signal as such.
        groups: Vec<Pid>,
        /// The stop signal.
        signal: Signal,
    },
    /// Look whether this worker waits for connections. Answered by `SeenAccepting`,
    /// `NotSeenAccepting` or `ObservationRefused`.
    Observe {
        /// The worker.
        pid: Pid,
        /// Its.
        lane: Lane,
    },
    /// Set right what a worker may have done to its listeners: uvicorn and hypercorn call listen(2), and some close
    /// what they inherited for everybody, by shutdown(2).
    RestoreListeners {
        /// The worker's.
        lane: Lane,
    },
    /// From now on new connections go to these lanes only, evenly.
    Steer {
        /// Not empty, in ascending order.
        lanes: Vec<Lane>,
    },
    /// Watch the queue of a worker until something comes into it: `QueueWoke`, once. If something waits already it is not
    /// watched, which is answered by `QueueSeen`.
    WatchQueue {
        /// The worker.
        pid: Pid,
        /// Its.
        lane: Lane,
    },
    /// Look whether a worker that is ready still waits for connections. Answered by `AcceptingSeen`.
    LookWhetherAccepting {
        /// The worker.
        pid: Pid,
        /// Its.
        lane: Lane,
    },
    /// Count the connections that wait for a worker. Answered by `QueueSeen`.
    LookAtQueue {
        /// The worker.
        pid: Pid,
        /// Its.
        lane: Lane,
    },
    /// Count the connections that wait in a lane that is nobody's. Answered by `LaneSeen`.
    LookAtLane {
        /// Which.
        lane: Lane,
    },
    /// Count the connections that wait in these lanes. Answered by `QueuesSeen`.
    LookAtQueues {
        /// Which.
        lanes: Vec<Lane>,
    },
    /// Look what the connections do that a worker has accepted. Answered by `ConnectionsSeen`.
    LookAtConnections {
        /// The worker.
        pid: Pid,
        /// A client that has been answered since and has another request in hand is counted apart.
        since: Monotonic,
    },
    /// The same of these workers together. Answered by `AllConnectionsSeen`.
    LookAtAllConnections {
        /// Which.
        pids: Vec<Pid>,
        /// See [`LookAtConnections`](Self::LookAtConnections).
        since: Monotonic,
    },
    /// Take no new connections, but finish the handshakes that have begun. Who tries meanwhile waits.
    HoldConnectionsOff,
    /// Refuse new connections, at once and for good.
    RefuseConnections {
        /// Those that are held off too; else only where they cannot be.
        held_off: bool,
    },
    /// Look whether any of these workers still waits for connections. Answered by `ListenersSeen`.
    LookAtListeners {
        /// Workers, and the lane of each.
        workers: Vec<(Pid, Lane)>,
    },
    /// Tell a worker to say goodbye to its clients, as in `Connection: close`.
    Hint {
        /// The worker.
        pid: Pid,
        /// Its.
        lane: Lane,
        /// The signal for that, if there is one.
        signal: Option<Signal>,
    },
    /// Ask a worker whether it answers. Answered by `Probed`, later.
    Probe {
        /// The worker.
        pid: Pid,
        /// Its.
        lane: Lane,
    },
    /// Measure a worker. Answered by `Measured`, in its turn.
    Measure {
        /// The worker.
        pid: Pid,
        /// Its.
        lane: Lane,
    },
    /// Measure the container. Answered by `ContainerMeasured`, if it has a limit.
    MeasureContainer,
    /// Tell people what a hung worker looks like, before it is gone.
    Portray {
        /// Which.
        worker: WorkerRef,
    },
    /// Tell people what a worker listens on that is not ready in time, or when the pool is given up, before it is stopped.
    ExplainLateness {
        /// Which.
        worker: WorkerRef,
        /// Its.
        lane: Lane,
        /// Whether it would have been seen, had it waited for connections to our listeners.
        watched: bool,
    },
    /// Tell people, once, should a worker have connections that has not reported any request.
    CheckCounting {
        /// Which.
        worker: WorkerRef,
    },
    /// Read the configuration anew, and give the policy to [`Core::renew`](super::Core::renew). Answered by
    /// `ConfigurationRead`.
    ReadConfiguration,
    /// Exchange our own program for the one that is now in its place, and give it this. Answered by `UpgradeFailed`, if
    /// at all.
    Upgrade(Box<Handover>),
    /// Reap what has ended and tell, by `Reaped`, whether any child is left.
    Reap,
    /// Tell people.
    Report(Note),
    /// End with this code; the last action ever.
    Exit(u8),
}

/// Whom a signal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One process.
    Process(Pid),
    /// A process group, by the id of its leader, which has not been reaped.
    Group(Pid),
}

/// All the loop needs to start one copy of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpawnOrder {
    /// To be given back with the answer.
    pub id: SpawnId,
    /// The slot it is for; 0 in init mode.
    pub slot: u32,
    /// The lowest number that no living worker has; 0 in init mode.
    pub number: u32,
    /// Its listeners; 0 in init mode.
    pub lane: Lane,
    /// The pool's generation; 0 in init mode.
    pub generation: u32,
    /// The limit drawn for this worker, if there is one.
    pub max_requests: Option<u64>,
}
