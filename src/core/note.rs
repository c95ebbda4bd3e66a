//! What is worth telling people: transitions, each a log line.

use super::event::{Pid, SpawnFailure};
use super::exit::{Exit, Reason};
use super::limits::Limits;
use super::signal::{Received, Signal};
use core::time::Duration;

/// Which worker a note is about; the fields every log line names alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerRef {
    /// The stable number of its place in the pool.
    pub slot: u32,
    /// The generation it was started in.
    pub generation: u32,
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
    /// What an init does, in both modes.
    Init(InitNote),
    Worker(WorkerRef, WorkerNote),
    /// A reload, to this generation.
    Reload(u32, ReloadNote),
    /// The pool as a whole.
    Pool(PoolNote),
    /// What became of a signal that came.
    Signal(SignalNote),
}

/// What an init does for its command and its descendants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitNote {
    /// The command of init mode runs.
    CommandStarted { pid: Pid },
    /// The command of init mode ended.
    CommandExited { pid: Pid, exit: Exit, uptime: Duration },
    /// The command could not be started.
    SpawnFailed {
        /// For which slot; 0 in init mode.
        slot: u32,
        failure: SpawnFailure,
    },
    /// We gave the terminal up to the command.
    TerminalGivenUp,
    /// We are about to stop ourselves.
    Suspending,
    /// An orphan ended.
    OrphanReaped {
        pid: Pid,
        exit: Exit,
        /// Whether that is worth a warning.
        warn: bool,
    },
    /// What outlives the command gets this, and is not waited for.
    OrphansLeft {
        /// The signal, if there is one; none is sent where the command had no group of its own.
        signal: Option<Signal>,
        /// What we end with.
        code: u8,
    },
    /// The deadline of the whole run has passed: what follows is as at TERM.
    DeadlinePassed { after: Duration },
    /// Descendants outlived the command or the workers and got the stop signal.
    StoppingOrphans,
    /// The graceful timeout is over, or a third stop signal came: everything left is killed.
    KillingAll,
}

/// A transition of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerNote {
    /// It was started; it is not ready yet.
    Spawned {
        /// What was drawn for it.
        limits: Limits,
    },
    /// It became ready.
    Ready {
        /// How we know.
        by: ReadyBy,
        /// How long after its start.
        after: Duration,
    },
    /// The kernel does not show what it waits for while it starts: only another sign can make it ready.
    Unobservable,
    /// It is due for a planned replacement.
    Due {
        reason: Reason,
        /// Requests it has reported.
        requests: u64,
    },
    /// It gets no new connections any more and is emptied.
    Draining { reason: Reason },
    /// Connections still waited for it when its time to be emptied was over: they wait for the next.
    DrainCutShort,
    /// It is emptied, still has connections with something in hand, and is waited for.
    Busy {
        connections: u32,
        /// How many more workers might be alive, were others to go on meanwhile.
        surge: Option<u32>,
    },
    /// It hangs.
    Hung {
        /// How that was found.
        sign: Sign,
    },
    /// Its accept queue stands still, or moves again.
    Suspected {
        /// Whether it is.
        verdict: Verdict,
    },
    /// It takes no connections any more: new ones go elsewhere.
    StoppedAccepting,
    /// It was only a pause.
    AcceptsAgain,
    /// It got the stop signal.
    Stopping { reason: Reason, signal: Signal },
    /// It did not stop in time and got `SIGKILL`.
    Killed {
        /// Why it had to stop.
        reason: Reason,
    },
    /// It ended.
    Exited {
        exit: Exit,
        reason: Reason,
        /// How long it lived.
        uptime: Duration,
    },
}

/// A transition of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadNote {
    /// It does not begin: the configuration is wrong, as was told. Everything goes on as before.
    Refused,
    /// A new generation is to take over.
    Started,
    /// The first worker of the new generation is ready: the others follow.
    Confirmed,
    /// A worker of the new generation failed after the first was ready: no more of the old ones make way for now.
    Paused {
        /// What became of it.
        reason: Reason,
    },
    /// Every worker is of the new generation; no old one is left.
    Finished { took: Duration },
    /// The first worker of the new generation failed: the old one goes on.
    Failed {
        /// What became of its first worker.
        reason: Reason,
    },
    /// The one that it had overtaken had proved itself, and goes on.
    Resumed,
}

/// A transition of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolNote {
    /// As many workers as asked are ready, for the first time.
    Ready {
        /// How many are.
        ready: u32,
    },
    /// A respawn waits.
    RespawnDelayed { slot: u32, delay: Duration, failures: u32 },
    /// More workers are wanted, or fewer.
    Scaled { workers: u32, from: u32 },
    /// As many workers as there may be, or as few: nothing changes.
    NotScaled { workers: u32 },
    /// Our own program is to be exchanged.
    UpgradeAsked {
        /// Whether that can be now; else it waits until every worker is ready.
        at_rest: bool,
    },
    /// The first stop signal came.
    ShutdownStarted {
        signal: Signal,
        /// How long the workers go on serving.
        drain_delay: Duration,
    },
    /// Another stop signal came: what waits is cut short.
    ShutdownHurried { signal: Signal },
    /// Connections still waited when the time for that was over: the workers are stopped all the same.
    ClosingCutShort,
    /// It was stopped in order.
    Stopped,
    /// The crash loop was given up; the last line.
    GaveUp {
        /// The slot that could not be kept alive.
        slot: u32,
        /// How often it was restarted within the window.
        restarts: u32,
        window: Duration,
    },
}

/// What became of a signal that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalNote {
    Received(Received),
    /// It is passed on.
    Forwarded {
        /// As which.
        signal: Signal,
        /// The one that came.
        came: Signal,
    },
    /// It is not passed on: a rule says so.
    Dropped {
        signal: Signal,
    },
    /// Pool mode neither acts on it nor forwards it.
    Ignored {
        signal: Signal,
    },
    /// It is not passed on: the kernel sent it because we gave the terminal up.
    HandOffIgnored {
        signal: Signal,
    },
}
