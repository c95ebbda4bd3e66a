//! What the loop has to do, as imperatives. The loop carries actions out in order. No action says how: no system call
//! is named here.

use super::event::{Lane, Pid, SpawnId};
use super::handover::Handover;
use super::limits::Limits;
use super::note::{Note, WorkerRef};
use super::signal::{Received, Signal};
use super::time::Monotonic;
use alloc::boxed::Box;
use alloc::vec::Vec;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start the command. Answered by `Spawned`.
    Spawn(SpawnOrder),
    Signal {
        to: Recipients,
        signal: Signal,
    },
    /// Pass a signal on as it came, with its value.
    Forward(Forward),
    /// Continue processes that are stopped. A process that runs may have a handler for `SIGCONT`, so it is skipped.
    ContinueStopped(Target),
    Terminal(TerminalAction),
    Worker {
        worker: WorkerRef,
        lane: Lane,
        act: WorkerAction,
    },
    Check(PoolCheck),
    Listeners(ListenerAction),
    /// Ask the loop itself for something.
    Ask(Ask),
    /// Report a transition.
    Note(Note),
    /// End with this code. No action follows.
    Exit(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Process(Pid),
    /// A process group, by the id of its leader, which has not been reaped.
    Group(Pid),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipients {
    Process(Pid),
    /// A worker if its program handles the signal; otherwise those of its descendants that do. A process that the
    /// signal would end is skipped.
    Takers(Pid),
    /// A process group whose leader, a worker, has not been reaped.
    Group(Pid),
    /// The rest of a process group whose leader has been reaped: only members that descend from the supervisor,
    /// because the number may belong to another group by now.
    Leftovers(Pid),
    /// Every descendant of the supervisor.
    Everyone,
    /// Descendants that have not been asked to stop before. A stopped process is continued, because it does not see
    /// the signal otherwise.
    Orphans {
        /// Skip these workers and their descendants.
        except: Vec<Pid>,
        /// Skip these groups: the stop signal was sent to each as a whole.
        asked_groups: Vec<Pid>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    pub to: Target,
    /// The signal and its origin.
    pub received: Received,
    /// Skip processes that neither handle nor ignore the signal: it would end them.
    pub spare_unaware: bool,
    /// The signal asks to stop: a process that receives it counts as asked.
    pub asks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminalAction {
    /// Make this group the terminal's foreground group, unless a group other than the supervisor's own is in the
    /// foreground.
    Lend { group: Pid },
    /// Make the supervisor's own group the foreground group again, if the terminal was lent to this group and still
    /// is.
    TakeBack { group: Pid },
    /// Stop the supervisor until another process continues it. Answered by `StopRefused` if no process could.
    StopSelf {
        /// Stop the other members of the supervisor's process group too, as Ctrl-Z does.
        job: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerAction {
    /// Look whether a starting worker waits for connections. Answered by `SeenAccepting`, `NotSeenAccepting` or
    /// `ObservationRefused`.
    Observe,
    /// Send a probe. Answered by `Probed`, later.
    Probe,
    /// Measure the worker. Answered by `Measured`, in its turn.
    Measure,
    /// Report the first connection that enters the worker's queue, by `QueueWoke`, once. If one waits already, the
    /// queue is not watched and the answer is `QueueSeen`.
    WatchQueue,
    /// Count the connections in the worker's queue. Answered by `QueueSeen`.
    CheckQueue,
    /// Look whether a ready worker still waits for connections. Answered by `AcceptingSeen`.
    CheckAccepting,
    /// Look at the state of the connections that the worker has accepted. Answered by `ConnectionsSeen`.
    CheckConnections {
        /// Count apart the clients that were answered after this time and have another request in hand.
        since: Monotonic,
    },
    /// Log, once, that the worker has connections and has not reported a request, if that is so.
    CheckCounting,
    /// Ask the worker to say goodbye to its clients, for example by `Connection: close`.
    Hint {
        /// `None` if no signal is set for that.
        signal: Option<Signal>,
    },
    /// Log the state of a worker that hangs, before it is killed.
    Inspect,
    /// Log what the worker listens on, before it is stopped: it is not ready in time, or the pool is given up.
    ExplainLateness {
        /// Whether the supervisor would have seen it wait for connections on its listeners.
        watched: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolCheck {
    /// Count the connections in a lane that has no worker. Answered by `LaneSeen`.
    Lane { lane: Lane },
    /// Count the connections in these lanes together. Answered by `QueuesSeen`.
    Queues { lanes: Vec<Lane> },
    /// Look at the state of the connections that workers have accepted. Answered by `ConnectionsSeen`.
    Connections {
        pids: Vec<Pid>,
        /// See [`WorkerAction::CheckConnections`].
        since: Monotonic,
    },
    /// Look whether any of these workers still waits for connections. Answered by `ListenersSeen`.
    Listeners {
        /// Workers, each with its lane.
        workers: Vec<(Pid, Lane)>,
    },
    /// Measure the container. Answered by `ContainerMeasured` if it has a limit.
    Container,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerAction {
    /// Undo what a worker may have done to its listeners: uvicorn and hypercorn call listen(2) again, and some
    /// servers call shutdown(2) on a listener, which closes it for all holders.
    Restore {
        /// The worker's lane.
        lane: Lane,
    },
    /// Send new connections to these lanes only, evenly.
    Steer {
        /// Not empty, in ascending order.
        lanes: Vec<Lane>,
    },
    /// Take no new connections, but finish the handshakes that have begun. A client that connects meanwhile waits.
    HoldOff,
    /// Refuse new connections, at once and for good.
    Refuse {
        /// Also refuse on listeners that are held off; if false, only on those that cannot be held off.
        held_off: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Read the configuration again and pass the policy to [`Core::renew`](super::Core::renew). Answered by
    /// `ConfigurationRead`.
    ReadConfiguration,
    /// Replace the supervisor's program by the one that is now in its place, and pass the handover on. Answered by
    /// `UpgradeFailed`, and only if it fails.
    Upgrade(Box<Handover>),
    /// Reap all ended children. Answered by `Reaped`.
    Reap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpawnOrder {
    /// The answer carries this id.
    pub id: SpawnId,
    /// 0 in init mode.
    pub slot: u32,
    /// The lowest number that no living worker has; 0 in init mode.
    pub number: u32,
    /// 0 in init mode.
    pub lane: Lane,
    /// 0 in init mode.
    pub generation: u32,
    pub limits: Limits,
}
