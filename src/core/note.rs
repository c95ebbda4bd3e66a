//! What is worth telling people: transitions, each a log line.

use super::event::{Pid, SpawnFailure};
use super::exit::{Exit, Reason};
use super::signal::{Received, Signal};
use core::time::Duration;

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
    /// It answered a probe.
    Probed,
    /// It lived as long as `--ready delay:D` asks.
    Uptime,
}

/// How a worker was found to hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It did not say `WATCHDOG=1` in time, or said `WATCHDOG=trigger`.
    Watchdog,
    /// It did not answer probes.
    Probe,
    /// It does not take the connections that wait for it.
    AcceptStall,
    /// A request has passed its deadline.
    RequestDeadline,
}

impl Sign {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Watchdog, Self::Probe, Self::AcceptStall, Self::RequestDeadline];

    /// In one word, the same in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Watchdog => "watchdog",
            Self::Probe => "probe",
            Self::AcceptStall => "accept-stall",
            Self::RequestDeadline => "request-deadline",
        }
    }
}

/// Why new connections are kept from a worker, or no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is suspected.
    Suspected,
    /// It was suspected, or hung, and has shown that it lives.
    Alive,
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
        /// The limit of memory drawn for it, in bytes.
        max_memory: Option<u64>,
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
    /// The kernel does not show what a starting worker waits for: only another sign can make it ready.
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
    /// A worker gets no new connections any more and is emptied.
    WorkerDraining {
        /// Which.
        worker: WorkerRef,
        /// Why.
        reason: Reason,
    },
    /// Connections still waited for a draining worker when its time was over: they wait for the next.
    DrainCutShort {
        /// Which.
        worker: WorkerRef,
    },
    /// A worker that is emptied still has connections with something in hand, and is waited for.
    WorkerBusy {
        /// Which.
        worker: WorkerRef,
        /// How many connections.
        connections: u32,
        /// How many more workers might be alive, were others to go on meanwhile.
        surge: Option<u32>,
    },
    /// A worker hangs.
    WorkerHung {
        /// Which.
        worker: WorkerRef,
        /// How that was found.
        sign: Sign,
    },
    /// A worker's accept queue stands still, or moves again.
    WorkerSuspected {
        /// Which.
        worker: WorkerRef,
        /// Whether it is.
        verdict: Verdict,
    },
    /// A worker takes no connections any more: new ones go elsewhere.
    WorkerStoppedAccepting {
        /// Which.
        worker: WorkerRef,
    },
    /// It was only a pause.
    WorkerAcceptsAgain {
        /// Which.
        worker: WorkerRef,
    },
    /// A reload does not begin: the configuration is wrong, as was told. Everything goes on as before.
    ReloadRefused {
        /// Which generation does not come.
        generation: u32,
    },
    /// A new generation is to take over.
    ReloadStarted {
        /// Which.
        generation: u32,
    },
    /// The first worker of the new generation is ready: the others follow.
    ReloadConfirmed {
        /// Which.
        generation: u32,
    },
    /// A worker of the new generation failed after the first was ready: no more of the old ones make way for now.
    ReloadPaused {
        /// Which.
        generation: u32,
        /// What became of it.
        reason: Reason,
    },
    /// Every worker is of the new generation; no old one is left.
    ReloadFinished {
        /// Which.
        generation: u32,
        /// How long it took.
        took: Duration,
    },
    /// The first worker of the new generation failed: the old one goes on.
    ReloadFailed {
        /// Which did not come.
        generation: u32,
        /// What became of its first worker.
        reason: Reason,
    },
    /// The one that it had overtaken had proved itself, and goes on.
    ReloadResumed {
        /// Which.
        generation: u32,
    },
    /// Our own program is to be exchanged.
    UpgradeAsked {
        /// Whether that can be now; else it waits until every worker is ready.
        at_rest: bool,
    },
    /// More workers are wanted, or fewer.
    Scaled {
        /// How many now.
        workers: u32,
        /// How many before.
        from: u32,
    },
    /// As many workers as there may be, or as few: nothing changes.
    NotScaled {
        /// How many.
        workers: u32,
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
    /// The deadline of the whole run has passed: what follows is as at TERM.
    DeadlinePassed {
        /// How long it ran.
        after: Duration,
    },
    /// Connections still waited when the time for that was over: the workers are stopped all the same.
    ClosingCutShort,
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
