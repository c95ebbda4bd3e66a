//! What is to be done. Actions are imperatives; the loop carries them out in order.

use super::event::{Pid, SpawnFailure, SpawnId};
use super::exit::{Exit, Reason};
use super::signal::{Received, Signal};
use std::time::Duration;

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
    /// Make this the terminal's foreground group, if ours is.
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
    },
    /// Set the listeners' backlog again: workers change it (uvicorn and hypercorn call listen(2)).
    RestoreBacklog,
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
    /// The pool's generation; 0 in init mode.
    pub generation: u32,
    /// The limit drawn for this worker, if there is one.
    pub max_requests: Option<u64>,
}

/// Which worker a note is about; the fields every log line names alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerRef {
    /// The stable number of its place in the pool.
    pub slot: u32,
    /// The generation it was started in.
    pub generation: u32,
    /// Its process.
    pub pid: Pid,
}

/// How a worker was found to be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyBy {
    /// It was seen waiting for connections.
    Accepting,
    /// It said `READY=1`.
    Notified,
    /// It lived as long as `--ready-after` asks.
    Uptime,
}

/// A transition worth a log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The command of init mode runs.
    CommandStarted {
        /// Its process.
        pid: Pid,
    },
    /// The command of init mode ended.
    CommandExited {
        /// Its process.
        pid: Pid,
        /// How it ended.
        exit: Exit,
        /// How long it ran.
        uptime: Duration,
    },
    /// A signal came.
    SignalReceived {
        /// Which, and from whom.
        received: Received,
    },
    /// A signal is passed on.
    SignalForwarded {
        /// As which.
        signal: Signal,
        /// The one that came.
        came: Signal,
    },
    /// A signal is not passed on: a rule says so.
    SignalDropped {
        /// Which.
        signal: Signal,
    },
    /// A signal is not passed on: the kernel sent it because we gave the terminal up.
    HandOffIgnored {
        /// Which.
        signal: Signal,
    },
    /// We gave the terminal up to the command.
    TerminalGivenUp,
    /// What outlives the command gets this, and is not waited for.
    OrphansLeft {
        /// The signal, if there is one; nobody gets it where the command had no group of its own.
        signal: Option<Signal>,
        /// What we end with.
        code: u8,
    },
    /// We are about to stop ourselves.
    Suspending,
    /// An orphan ended.
    OrphanReaped {
        /// Its process.
        pid: Pid,
        /// How.
        exit: Exit,
        /// Whether that is worth a warning.
        warn: bool,
    },
    /// A worker was started; it is not ready yet.
    WorkerSpawned {
        /// Which.
        worker: WorkerRef,
        /// The limit of requests drawn for it.
        max_requests: Option<u64>,
        /// The limit of age drawn for it.
        max_age: Option<Duration>,
    },
    /// A worker became ready.
    WorkerReady {
        /// Which.
        worker: WorkerRef,
        /// How we know.
        by: ReadyBy,
        /// How long after its start.
        after: Duration,
    },
    /// The kernel does not show what a starting worker waits for: only `READY=1` or `--ready-after` can make it ready.
    WorkerUnobservable {
        /// Which.
        worker: WorkerRef,
    },
    /// A worker is due for a planned replacement.
    WorkerDue {
        /// Which.
        worker: WorkerRef,
        /// Why.
        reason: Reason,
        /// Requests it has reported.
        requests: u64,
    },
    /// A worker got the stop signal.
    WorkerStopping {
        /// Which.
        worker: WorkerRef,
        /// Why.
        reason: Reason,
        /// The signal.
        signal: Signal,
    },
    /// A worker did not stop in time and got `SIGKILL`.
    WorkerKilled {
        /// Which.
        worker: WorkerRef,
        /// Why it had to stop.
        reason: Reason,
    },
    /// A worker ended.
    WorkerExited {
        /// Which.
        worker: WorkerRef,
        /// How.
        exit: Exit,
        /// Why.
        reason: Reason,
        /// How long it lived.
        uptime: Duration,
    },
    /// The command could not be started.
    SpawnFailed {
        /// For which slot.
        slot: u32,
        /// What went wrong.
        failure: SpawnFailure,
    },
    /// A respawn waits.
    RespawnDelayed {
        /// The slot.
        slot: u32,
        /// How long from now.
        delay: Duration,
        /// Failures in a row.
        failures: u32,
    },
    /// As many workers as asked are ready, for the first time.
    PoolReady {
        /// How many are.
        ready: u32,
    },
    /// The first stop signal came.
    ShutdownStarted {
        /// Which.
        signal: Signal,
        /// How long the workers go on serving.
        drain_delay: Duration,
    },
    /// Another stop signal came: what waits is cut short.
    ShutdownHurried {
        /// Which.
        signal: Signal,
    },
    /// The graceful timeout is over, or a third stop signal came: everything left is killed.
    KillingAll,
    /// Descendants outlived the command or the workers and got the stop signal.
    StoppingOrphans,
    /// A signal that pool mode neither acts on nor forwards.
    SignalIgnored {
        /// Which.
        signal: Signal,
    },
    /// The pool was stopped in order.
    PoolStopped,
    /// The crash loop was given up; the last line.
    GaveUp {
        /// The slot that could not be kept alive.
        slot: u32,
        /// How often it was restarted within the window.
        restarts: u32,
        /// The window.
        window: Duration,
    },
}
