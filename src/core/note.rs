//! Transitions that are worth a log line. How a line reads is not known here.

use super::event::{Pid, SpawnFailure};
use super::exit::{Exit, Reason};
use super::limits::Limits;
use super::signal::{Received, Signal};
use core::time::Duration;

/// The worker that a note is about: the fields that every log line names alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerRef {
    pub slot: u32,
    pub generation: u32,
    pub pid: Pid,
}

/// The sign by which a worker became ready.
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

/// The sign by which a worker was found to hang.
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

    /// One word, the same in logs and metrics.
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

/// The result of a suspicion: whether new connections are kept from a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Suspected,
    /// The worker was suspected or hung, and has shown that it lives.
    Alive,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// What init mode does, and what both modes do about their descendants.
    Init(InitNote),
    Worker(WorkerRef, WorkerNote),
    /// A reload, to this generation.
    Reload(u32, ReloadNote),
    /// The pool as a whole.
    Pool(PoolNote),
    /// What was done about a signal.
    Signal(SignalNote),
}

/// What the supervisor does for its command and its descendants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitNote {
    CommandStarted {
        pid: Pid,
    },
    CommandExited {
        pid: Pid,
        exit: Exit,
        uptime: Duration,
    },
    SpawnFailed {
        /// 0 in init mode.
        slot: u32,
        failure: SpawnFailure,
    },
    /// The supervisor gave the terminal up to the command.
    TerminalGivenUp,
    /// The supervisor is about to stop itself.
    Suspending,
    /// An orphan ended.
    OrphanReaped {
        pid: Pid,
        exit: Exit,
        /// Whether it is logged as a warning.
        warn: bool,
    },
    /// Processes outlive the command and are not waited for.
    OrphansLeft {
        /// The signal that they get; `None` if none is set. None is sent to a command without a process group of its
        /// own.
        signal: Option<Signal>,
        /// The exit code of the supervisor.
        code: u8,
    },
    /// The deadline of the whole run has passed. The rest is as after `SIGTERM`.
    DeadlinePassed {
        after: Duration,
    },
    /// Descendants outlived the command or the workers and got the stop signal.
    StoppingOrphans,
    /// The graceful timeout is over, or a third stop signal came: everything left is killed.
    KillingAll,
}

/// A transition of a worker. "It" is the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerNote {
    /// It was started, and is not ready yet.
    Spawned { limits: Limits },
    Ready {
        by: ReadyBy,
        /// Counted from its start.
        after: Duration,
    },
    /// The kernel does not show what it waits for while it starts: only another sign can make it ready.
    Unobservable,
    /// It is due for a planned replacement.
    Due {
        reason: Reason,
        /// Requests that it has reported.
        requests: u64,
    },
    /// It receives no new connections and finishes those it has.
    Draining { reason: Reason },
    /// The time to drain was over while connections waited in its queue. They wait for the next worker.
    DrainCutShort,
    /// It is draining, has connections with something in hand, and is waited for.
    Busy {
        connections: u32,
        /// How many more workers `--max-surge` would have to allow for other replacements to go on meanwhile.
        surge: Option<u32>,
    },
    /// It hangs.
    Hung { sign: Sign },
    /// Its accept queue stands still, or moves again.
    Suspected { verdict: Verdict },
    /// It has stopped accepting connections: new ones go to other workers.
    StoppedAccepting,
    /// It accepts again: it had only paused.
    AcceptsAgain,
    /// It got the stop signal.
    Stopping { reason: Reason, signal: Signal },
    /// It did not stop in time and got `SIGKILL`.
    Killed {
        /// Why it had to stop.
        reason: Reason,
    },
    /// It ended.
    Exited { exit: Exit, reason: Reason, uptime: Duration },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadNote {
    /// The reload does not begin: the configuration is wrong, as was logged. The pool goes on as before.
    Refused,
    Started,
    /// The first worker of the new generation is ready; the others follow.
    Confirmed,
    /// A worker of the new generation failed after the first was ready: no more old workers are replaced for now.
    Paused {
        /// Why that worker ended.
        reason: Reason,
    },
    /// Every worker is of the new generation, and no old one is left.
    Finished {
        took: Duration,
    },
    /// The first worker of the new generation failed: the old generation goes on.
    Failed {
        /// Why that worker ended.
        reason: Reason,
    },
    /// The older reload that this one had overtaken goes on: its first worker had become ready.
    Resumed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolNote {
    /// The number of workers that `--min-ready` asks for is ready, for the first time.
    Ready { ready: u32 },
    /// A slot waits before its next worker is spawned.
    RespawnDelayed { slot: u32, delay: Duration, failures: u32 },
    /// The number of wanted workers has changed.
    Scaled { workers: u32, from: u32 },
    /// The number of workers stays as it is: it was asked for, or is the highest or the lowest allowed.
    NotScaled { workers: u32 },
    /// The supervisor's program is to be replaced.
    UpgradeAsked {
        /// Whether that happens now. If not, it waits until every worker is ready.
        at_rest: bool,
    },
    /// The first stop signal came.
    ShutdownStarted {
        signal: Signal,
        /// How long the workers still serve.
        drain_delay: Duration,
    },
    /// Another stop signal came: the waits are cut short.
    ShutdownHurried { signal: Signal },
    /// The time for open connections was over while some still waited: the workers are stopped all the same.
    ClosingCutShort,
    /// The pool was stopped in order.
    Stopped,
    /// The crash loop was given up. No other line follows.
    GaveUp {
        slot: u32,
        /// How often the slot was restarted within the window.
        restarts: u32,
        window: Duration,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalNote {
    Received(Received),
    Forwarded {
        /// The signal that is sent.
        signal: Signal,
        /// The signal that was received.
        came: Signal,
    },
    /// A rewrite rule says that it is not passed on.
    Dropped {
        signal: Signal,
    },
    /// Pool mode neither acts on it nor forwards it.
    Ignored {
        signal: Signal,
    },
    /// Not passed on: the kernel sent it because the supervisor gave the terminal up.
    HandOffIgnored {
        signal: Signal,
    },
}
