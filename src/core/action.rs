//! What is to be done. Actions are imperatives; the loop carries them out in order.

use super::event::{Lane, Pid, SpawnId};
use super::handover::Handover;
use super::limits::Limits;
use super::note::{Note, WorkerRef};
use super::signal::{Received, Signal};
use super::time::Monotonic;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Something to do, from [`Core::step`](super::Core::step).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start the command. Answered by `Spawned`.
    Spawn(SpawnOrder),
    /// Send a signal.
    Signal { to: Recipients, signal: Signal },
    /// Pass a signal on as it came, with its value.
    Forward(Forward),
    /// Let processes go on that are stopped. One that runs may have a handler for `SIGCONT`: it gets none.
    ContinueStopped(Target),
    /// Do something about the terminal.
    Terminal(TerminalAction),
    /// Do something about one worker.
    Worker { worker: WorkerRef, lane: Lane, act: WorkerAction },
    /// Look at the pool as a whole.
    Check(PoolCheck),
    /// Do something about the listeners.
    Listeners(ListenerAction),
    /// Do something that takes the whole loop.
    Ask(Ask),
    /// Report a transition.
    Note(Note),
    /// End with this code; the last action ever.
    Exit(u8),
}

/// The processes that a signal is passed on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Process(Pid),
    /// A process group, by the id of its leader, which has not been reaped.
    Group(Pid),
}

/// The processes that a signal is sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipients {
    Process(Pid),
    /// A worker if its program takes the signal, or else those below it that do; none that it would end.
    Takers(Pid),
    /// A process group whose leader, a worker, has not been reaped.
    Group(Pid),
    /// What is left of a process group whose leader is gone: only members that descend from us, since the number may by
    /// now belong to a stranger.
    Leftovers(Pid),
    /// Every process that descends from us.
    Everyone,
    /// Descendants of ours that have not been asked to stop before. They are continued in order to see the signal.
    Orphans {
        /// Nothing that is one of these workers, or below one.
        except: Vec<Pid>,
        /// Nothing in these groups, which have got the stop signal as such.
        asked_groups: Vec<Pid>,
    },
}

/// A signal that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    pub to: Target,
    /// The signal and its origin.
    pub received: Received,
    /// Keep it from processes that neither handle nor ignore it and would end.
    pub spare_unaware: bool,
    /// It asks to stop: a process that gets it counts as asked.
    pub asks: bool,
}

/// What is done about the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminalAction {
    /// Make this the terminal's foreground group, if that is ours to say: if our own group is, or no other.
    Lend {
        /// The group's id.
        group: Pid,
    },
    /// Make our own group the terminal's foreground group again, if it was lent and is with this group still.
    TakeBack {
        /// The group's id.
        group: Pid,
    },
    /// Stop ourselves until another process continues us. Answered by `StopRefused` where none could.
    StopSelf {
        /// The other members of our process group, too, as Ctrl-Z would.
        job: bool,
    },
}

/// What is done about one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerAction {
    /// Look whether it waits for connections while it starts. Answered by `SeenAccepting`, `NotSeenAccepting` or
    /// `ObservationRefused`.
    Observe,
    /// Ask it whether it answers. Answered by `Probed`, later.
    Probe,
    /// Measure it. Answered by `Measured`, in its turn.
    Measure,
    /// Watch its queue until something comes into it: `QueueWoke`, once. If something waits already it is not watched,
    /// which is answered by `QueueSeen`.
    WatchQueue,
    /// Count the connections that wait for it. Answered by `QueueSeen`.
    CheckQueue,
    /// Look whether it still waits for connections when it is ready. Answered by `AcceptingSeen`.
    CheckAccepting,
    /// Look what the connections do that it has accepted. Answered by `ConnectionsSeen`.
    CheckConnections {
        /// A client that has been answered since and has another request in hand is counted apart.
        since: Monotonic,
    },
    /// Tell people, once, should it have connections and not have reported any request.
    CheckCounting,
    /// Tell it to say goodbye to its clients, as in `Connection: close`.
    Hint {
        /// The signal for that, if there is one.
        signal: Option<Signal>,
    },
    /// Tell people what it looks like, since it hangs, before it is gone.
    Inspect,
    /// Tell people what it listens on, since it is not ready in time, or the pool is given up, before it is stopped.
    ExplainLateness {
        /// Whether it would have been seen, had it waited for connections to our listeners.
        watched: bool,
    },
}

/// A look at the pool as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolCheck {
    /// Count the connections that wait in a lane that has no worker. Answered by `LaneSeen`.
    Lane { lane: Lane },
    /// Count the connections that wait in these lanes. Answered by `QueuesSeen`.
    Queues { lanes: Vec<Lane> },
    /// Look what the connections do that workers have accepted. Answered by `ConnectionsSeen`.
    Connections {
        pids: Vec<Pid>,
        /// See [`WorkerAction::CheckConnections`].
        since: Monotonic,
    },
    /// Look whether any of these workers still waits for connections. Answered by `ListenersSeen`.
    Listeners {
        /// Workers, and the lane of each.
        workers: Vec<(Pid, Lane)>,
    },
    /// Measure the container. Answered by `ContainerMeasured`, if it has a limit.
    Container,
}

/// What is done about the listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerAction {
    /// Set right what a worker may have done to its listeners: uvicorn and hypercorn call listen(2), and some close what
    /// they inherited for all, by shutdown(2).
    Restore {
        /// The worker's.
        lane: Lane,
    },
    /// From now on new connections go to these lanes only, evenly.
    Steer {
        /// Not empty, in ascending order.
        lanes: Vec<Lane>,
    },
    /// Take no new connections, but finish the handshakes that have begun. A client that tries meanwhile waits.
    HoldOff,
    /// Refuse new connections, at once and for good.
    Refuse {
        /// Those that are held off too; else only where they cannot be.
        held_off: bool,
    },
}

/// What takes the whole loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Read the configuration anew, and give the policy to [`Core::renew`](super::Core::renew). Answered by
    /// `ConfigurationRead`.
    ReadConfiguration,
    /// Exchange our own program for the one that is now in its place, and give it this. Answered by `UpgradeFailed`, if
    /// at all.
    Upgrade(Box<Handover>),
    /// Reap what has ended and tell, by `Reaped`, whether any child is left.
    Reap,
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
    /// What was drawn for this worker.
    pub limits: Limits,
}
