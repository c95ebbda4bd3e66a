//! What the user decided, as the core needs it. The caller checks it; the core believes it.

use super::event::SpawnFailure;
use super::signal::{Rewrites, Signal};
use super::time::{Monotonic, Patience};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// How we treat processes that are to end, in both modes.
#[derive(Clone, Copy, Debug)]
pub struct StopPolicy {
    /// What asks a process to end.
    pub signal: Signal,
    /// How long it may take before `SIGKILL`.
    pub graceful: Patience,
}

/// The rules of init mode.
#[derive(Clone, Debug)]
pub struct InitPolicy {
    /// How everything ends.
    pub stop: StopPolicy,
    /// What signals are passed on as.
    pub rewrites: Rewrites,
    pub scope: Scope,
    /// Whether a signal is kept from processes that it would end only because they do not know it.
    pub spare_unaware: bool,
    /// Where the command stands with the terminal.
    pub job: Job,
    /// Whether we have just given the terminal up, of which the kernel tells with a HUP and a CONT.
    pub gave_terminal_up: bool,
    /// Whether we stop ourselves when a signal comes with which terminals stop jobs.
    pub stops_itself: bool,
    /// What becomes of processes that outlive the command.
    pub orphans: Orphans,
    /// Exit codes that become others; the last one for a code counts.
    pub remaps: Vec<(u8, u8)>,
    /// Whether each reaped orphan is worth a warning.
    pub warn_on_reap: bool,
    /// Whether there is no command: reap, and end with 0 at TERM or INT (catatonit's `-P`).
    pub pause: bool,
    /// When everything is stopped as at TERM, whatever it does, if ever: in real time since the start.
    pub deadline: Option<Monotonic>,
    /// The same, on the clock of [`Core::step`](super::Core::step).
    pub limit: Option<Monotonic>,
    /// The code to end with when the command cannot be started.
    pub start_failure_code: fn(&SpawnFailure) -> u8,
}

impl InitPolicy {
    /// An init that passes everything on to the command's group and waits for what outlives it.
    #[must_use]
    pub fn new(stop: StopPolicy) -> Self {
        Self {
            stop,
            rewrites: Rewrites::default(),
            scope: Scope::Group,
            spare_unaware: false,
            job: Job::Apart,
            gave_terminal_up: false,
            stops_itself: false,
            orphans: Orphans::Wait,
            remaps: Vec::new(),
            warn_on_reap: false,
            pause: false,
            deadline: None,
            limit: None,
            start_failure_code: |failure| failure.code,
        }
    }
}

/// Which processes get the signals that are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The command alone.
    Process,
    /// Its process group.
    Group,
}

/// Where the command stands with the terminal that controls our session, if one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// In a session of its own, or there is no terminal: it is no job of a shell.
    Apart,
    /// In a process group of its own, in a session that a shell leads: should it be stopped, the shell is to know.
    OfShell,
    /// In a process group of its own, in a session that we lead: nothing could continue it after a Ctrl-Z.
    Ours,
    /// In our own process group: it hears from the terminal what we hear.
    Shared,
}

/// What becomes of processes that outlive the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphans {
    /// They get the stop signal and what is left of the graceful timeout; we end when none is left.
    Wait,
    /// The rest of the command's group gets this, if anything, and we end at once (dumb-init).
    Signal(Option<Signal>),
    /// We end at once (tini).
    Leave,
}

/// The rules of pool mode.
#[derive(Clone, Debug)]
pub struct PoolPolicy {
    /// What signals count as others.
    pub rewrites: Rewrites,
    /// Signals that workers get too. None of those that the pool acts on.
    pub forwards: Vec<Signal>,
    /// Whether each reaped orphan is worth a warning.
    pub warn_on_reap: bool,
    /// How many workers are wanted at first, 1 to [`MOST_WORKERS`].
    pub workers: u32,
    /// How many must be ready for the pool to be ready, 1 to `workers`.
    pub min_ready: u32,
    /// How many workers may come and go at once.
    pub budget: Budget,
    /// How workers are stopped.
    pub stop: StopPolicy,
    /// How long the pool goes on serving after TERM, while it says it is not ready.
    pub drain_delay: Duration,
    /// What happens between the last connection for a worker and its stop signal.
    pub drain: DrainPolicy,
    /// When a worker counts as ready.
    pub ready: ReadyPolicy,
    /// When a worker that is ready counts as hung.
    pub hang: HangPolicy,
    /// When a worker is replaced.
    pub recycle: RecyclePolicy,
    /// How often the workers are measured, if anything depends on that.
    pub measure_every: Option<Duration>,
    /// When a dead worker is replaced, and when no more.
    pub respawn: RespawnPolicy,
    /// Whether a reload reads the configuration anew before it begins.
    pub rereads: bool,
    /// When everything is stopped as at TERM, if ever: in real time since the start.
    pub deadline: Option<Monotonic>,
}

/// The most workers: each needs a process and a few descriptors.
pub const MOST_WORKERS: u32 = 1024;

/// One budget for whatever replaces workers: limits, reloads, scaling, crashes.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// How many workers more than wanted may be alive.
    pub max_surge: Share,
    /// How many slots may be without a ready worker by plan.
    pub max_unavailable: Share,
    /// The least time between the starts of two planned replacements.
    pub gap: Duration,
}

/// A number of workers, or a part of those that are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    Number(u32),
    /// Hundredths.
    Percent(u32),
}

impl Budget {
    /// How many more than `wanted` may be alive; a part is rounded up.
    #[must_use]
    pub fn surge(&self, wanted: u32) -> u32 {
        match self.max_surge {
            Share::Number(number) => number,
            Share::Percent(percent) => hundredths(wanted, percent, 99),
        }
    }

    /// How many of `wanted` may be missing; a part is rounded down. One at least where no more may be alive either: nothing
    /// could be replaced.
    #[must_use]
    pub fn unavailable(&self, wanted: u32) -> u32 {
        let most = self.as_asked(wanted);
        if self.surge(wanted) == 0 { most.max(1) } else { most }
    }

    /// Whether no worker could be replaced if both were taken literally.
    #[must_use]
    pub fn is_none(&self, wanted: u32) -> bool {
        self.surge(wanted) == 0 && self.as_asked(wanted) == 0
    }

    fn as_asked(&self, wanted: u32) -> u32 {
        match self.max_unavailable {
            Share::Number(number) => number,
            Share::Percent(percent) => hundredths(wanted, percent, 0),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// Rounded down after `more` hundredths are added.
fn hundredths(whole: u32, percent: u32, more: u64) -> u32 {
    let sum = u64::from(whole).saturating_mul(u64::from(percent)).saturating_add(more);
    u32::try_from(sum / 100).unwrap_or(u32::MAX)
}

/// How a worker is emptied before it is stopped.
#[derive(Clone, Copy, Debug)]
pub struct DrainPolicy {
    /// Whether there are listeners at all.
    pub listens: bool,
    /// Whether new connections can be kept from a single worker: each has a listener of its own.
    pub steered: bool,
    /// Whether the successor of one that has left may have its listeners while it is still there: not where each has a
    /// line of the scoreboard.
    pub shares: bool,
    /// Whether it learns that it is to say goodbye to its clients: by a signal, or where it looks itself.
    pub told: bool,
    /// The signal for that.
    pub hint: Option<Signal>,
    /// From the moment when nothing waits for it any more to its stop signal.
    pub time: Duration,
}

/// When a worker counts as ready: at the first of the signs that are heeded.
#[derive(Clone, Copy, Debug)]
pub struct ReadyPolicy {
    /// Whether there are listeners on which it could be seen to accept.
    pub observe: bool,
    /// Whether it is believed when it says that it is ready.
    pub believe: bool,
    /// Whether it is asked by a probe.
    pub probe: bool,
    /// This long after its start it counts as ready whatever was seen.
    pub after: Option<Duration>,
    /// This long after its start it is given up if it is not ready.
    pub start_timeout: Patience,
}

/// When a worker that is ready counts as hung.
#[derive(Clone, Copy, Debug)]
pub struct HangPolicy {
    /// It has to say `WATCHDOG=1` this often (sd_notify(3)).
    pub watchdog: Option<Duration>,
    /// Its accept queue may stand still this long before it is steered away from, and this long again.
    pub accept_stall: Option<Duration>,
    /// It has to answer probes.
    pub probe: Option<ProbePolicy>,
    /// What a hung worker gets first, to show where it hangs.
    pub abort_signal: Signal,
    /// How long that may take before `SIGKILL`.
    pub abort_time: Duration,
}

/// How a worker that is ready is probed.
#[derive(Clone, Copy, Debug)]
pub struct ProbePolicy {
    /// From one answer, or its absence, to the next probe.
    pub interval: Duration,
    /// Failures in a row that make it hung, at least 1.
    pub failures: u32,
}

/// When a worker is replaced by plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecyclePolicy {
    /// By requests served.
    pub max_requests: Option<Jittered<u64>>,
    /// By age since its start.
    pub max_age: Option<Jittered<Duration>>,
    /// By memory, in bytes, in [`memory_samples`](Self::memory_samples) measurements in a row.
    pub max_memory: Option<Jittered<u64>>,
    /// By memory, in bytes, at once and without a replacement first.
    pub max_memory_hard: Option<u64>,
    /// The heaviest, when the whole container takes more than this many hundredths of its limit, in
    /// [`memory_samples`](Self::memory_samples) measurements in a row.
    pub memory_pressure: Option<u32>,
    /// See [`max_memory`](Self::max_memory); at least 1.
    pub memory_samples: u32,
    /// Whether the worker itself ends at its limit of requests (it was told by `{max_requests}`):
    /// then an exit with code 0 once it was ready is planned.
    pub counted_by_worker: bool,
}

/// A limit and how far beyond it a worker's own limit may be drawn.
#[derive(Clone, Copy, Debug)]
pub struct Jittered<T> {
    /// The least a worker's limit can be.
    pub base: T,
    /// The most that is added to it.
    pub jitter: T,
}

/// How dead workers come back.
#[derive(Clone, Copy, Debug)]
pub struct RespawnPolicy {
    /// The wait after the second failure in a row (the first is answered at once); doubles from there.
    pub backoff: Duration,
    pub backoff_max: Duration,
    /// How many restarts of one slot within `window` are accepted while no worker is ready; `None` is no limit.
    pub max_restarts: Option<u32>,
    /// See `max_restarts`.
    pub window: Duration,
}
