//! The user's decisions, in the form that the core needs. The caller checks them; the core does not check them again.

use super::event::SpawnFailure;
use super::signal::{Rewrites, Signal};
use super::time::{Monotonic, Patience};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// How processes are asked to end, in both modes.
#[derive(Clone, Copy, Debug)]
pub struct StopPolicy {
    /// The signal that asks a process to end.
    pub signal: Signal,
    /// How long that may take before `SIGKILL`.
    pub graceful: Patience,
}

#[derive(Clone, Debug)]
pub struct InitPolicy {
    pub stop: StopPolicy,
    pub rewrites: Rewrites,
    pub scope: Scope,
    /// Whether a signal is kept from processes that neither handle nor ignore it and would end.
    pub spare_unaware: bool,
    pub job: Job,
    /// Whether the supervisor has just given the terminal up. The kernel then sends it a HUP and a CONT.
    pub gave_terminal_up: bool,
    /// Whether the supervisor stops itself when it receives a signal by which terminals stop jobs.
    pub stops_itself: bool,
    pub orphans: Orphans,
    /// Exit codes and their replacements; the last entry for a code counts.
    pub remaps: Vec<(u8, u8)>,
    /// Whether each reaped orphan is logged as a warning.
    pub warn_on_reap: bool,
    /// Whether there is no command: the supervisor reaps, and ends with 0 at TERM or INT (catatonit's `-P`).
    pub pause: bool,
    /// When everything is stopped as after TERM, in real time since the start; `None` is never.
    pub deadline: Option<Monotonic>,
    /// The same, on the clock of [`Core::step`](super::Core::step), which leaves out pauses.
    pub limit: Option<Monotonic>,
    /// The exit code if the command cannot be started.
    pub start_failure_code: fn(&SpawnFailure) -> u8,
}

impl InitPolicy {
    /// An init that passes every signal on to the command's group and waits for the processes that outlive it.
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

/// The processes that receive the signals that are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The command alone.
    Process,
    /// Its process group.
    Group,
}

/// The relation of the command to the controlling terminal of the supervisor's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// In a session of its own, or without a terminal: no job of a shell.
    Apart,
    /// In a process group of its own, in a session that a shell leads. If it is stopped, the shell has to see that.
    OfShell,
    /// In a process group of its own, in a session that the supervisor leads: no process could continue it after
    /// Ctrl-Z.
    Ours,
    /// In the supervisor's own process group: it receives what the terminal sends to that group.
    Shared,
}

/// What is done about processes that outlive the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphans {
    /// They get the stop signal and the rest of the graceful timeout; the supervisor ends when none is left.
    Wait,
    /// The rest of the command's group gets this signal, if one is set, and the supervisor ends at once (dumb-init).
    Signal(Option<Signal>),
    /// The supervisor ends at once (tini).
    Leave,
}

#[derive(Clone, Debug)]
pub struct PoolPolicy {
    pub rewrites: Rewrites,
    /// Signals that are passed on to workers. None of them is a signal on which the pool itself acts.
    pub forwards: Vec<Signal>,
    /// Whether each reaped orphan is logged as a warning.
    pub warn_on_reap: bool,
    /// Workers wanted at the start, 1 to [`MOST_WORKERS`].
    pub workers: u32,
    /// Ready workers that make the pool ready, 1 to `workers`.
    pub min_ready: u32,
    pub budget: Budget,
    pub stop: StopPolicy,
    /// How long the pool serves on after TERM, while it reports that it is not ready.
    pub drain_delay: Duration,
    pub drain: DrainPolicy,
    pub ready: ReadyPolicy,
    pub hang: HangPolicy,
    pub recycle: RecyclePolicy,
    /// The interval of the measurements; `None` if nothing depends on them.
    pub measure_every: Option<Duration>,
    pub respawn: RespawnPolicy,
    /// Whether a reload reads the configuration again before it begins.
    pub rereads: bool,
    /// When everything is stopped as after TERM, in real time since the start; `None` is never.
    pub deadline: Option<Monotonic>,
}

/// The highest number of workers: each needs a process and a few descriptors.
pub const MOST_WORKERS: u32 = 1024;

/// One budget for all causes of replacement: limits, reloads, scaling, crashes.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// How many workers beyond the wanted number may be alive.
    pub max_surge: Share,
    /// How many slots may be without a ready worker by plan.
    pub max_unavailable: Share,
    /// The shortest time between the starts of two planned replacements.
    pub gap: Duration,
}

/// A number of workers, or a percentage of the wanted number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    Number(u32),
    Percent(u32),
}

impl Budget {
    /// How many workers beyond `wanted` may be alive; a percentage is rounded up.
    #[must_use]
    pub fn surge(&self, wanted: u32) -> u32 {
        match self.max_surge {
            Share::Number(number) => number,
            Share::Percent(percent) => hundredths(wanted, percent, 99),
        }
    }

    /// How many of `wanted` may be missing; a percentage is rounded down. At least one if the surge is zero:
    /// otherwise no worker could be replaced.
    #[must_use]
    pub fn unavailable(&self, wanted: u32) -> u32 {
        let most = self.as_asked(wanted);
        if self.surge(wanted) == 0 { most.max(1) } else { most }
    }

    /// Whether no worker could be replaced if both numbers were taken literally.
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

/// `percent` of `whole`, rounded down after `more` hundredths are added.
fn hundredths(whole: u32, percent: u32, more: u64) -> u32 {
    let sum = u64::from(whole).saturating_mul(u64::from(percent)).saturating_add(more);
    u32::try_from(sum / 100).unwrap_or(u32::MAX)
}

/// What happens between the last new connection of a worker and its stop signal.
#[derive(Clone, Copy, Debug)]
pub struct DrainPolicy {
    /// Whether there are listeners at all.
    pub listens: bool,
    /// Whether new connections can be kept from a single worker: each worker has a listener of its own.
    pub steered: bool,
    /// Whether a successor may share the listeners of a worker that has stopped accepting and still runs. Not if each
    /// lane has a line of the scoreboard.
    pub shares: bool,
    /// Whether a worker is asked to say goodbye to its clients: by a signal, or in a place that it looks at itself.
    pub told: bool,
    /// The signal for that.
    pub hint: Option<Signal>,
    /// The drain time: from an empty queue to the stop signal. Shorter if no client is left.
    pub time: Duration,
}

/// When a worker counts as ready: at the first of these signs.
#[derive(Clone, Copy, Debug)]
pub struct ReadyPolicy {
    /// Whether there are listeners on which a worker could be seen accepting.
    pub observe: bool,
    /// Whether `READY=1` counts.
    pub believe: bool,
    /// Whether an answered probe counts.
    pub probe: bool,
    /// The uptime that counts as ready, whatever else was seen; `None` if uptime does not count.
    pub after: Option<Duration>,
    /// The time after the start at which a worker that is not ready is given up.
    pub start_timeout: Patience,
}

/// When a ready worker counts as hung. `None` is no such check.
#[derive(Clone, Copy, Debug)]
pub struct HangPolicy {
    /// The longest time between two `WATCHDOG=1` (sd_notify(3)).
    pub watchdog: Option<Duration>,
    /// How long the accept queue may stand still before new connections are steered elsewhere; after this time again
    /// the worker counts as hung.
    pub accept_stall: Option<Duration>,
    pub probe: Option<ProbePolicy>,
    /// The signal that a hung worker gets first, to show where it hangs.
    pub abort_signal: Signal,
    /// The time between `abort_signal` and `SIGKILL`.
    pub abort_time: Duration,
}

#[derive(Clone, Copy, Debug)]
pub struct ProbePolicy {
    /// From one answer, or its absence, to the next probe.
    pub interval: Duration,
    /// Consecutive failures that make a worker hung, at least 1.
    pub failures: u32,
}

/// When a worker is replaced by plan. `None` is no such limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecyclePolicy {
    /// Requests served.
    pub max_requests: Option<Jittered<u64>>,
    /// Age since the start.
    pub max_age: Option<Jittered<Duration>>,
    /// Bytes, exceeded in [`memory_samples`](Self::memory_samples) consecutive measurements.
    pub max_memory: Option<Jittered<u64>>,
    /// Bytes; the worker is ended at once, before there is a replacement.
    pub max_memory_hard: Option<u64>,
    /// Percent of the container's memory limit. If the container uses more in
    /// [`memory_samples`](Self::memory_samples) consecutive measurements, the heaviest worker is replaced.
    pub memory_pressure: Option<u32>,
    /// See [`max_memory`](Self::max_memory); at least 1.
    pub memory_samples: u32,
    /// Whether the worker itself ends at its limit of requests, which `{max_requests}` passes to it: then an exit
    /// with code 0 after it was ready is planned.
    pub counted_by_worker: bool,
}

/// A limit that is drawn for each worker between `base` and `base + jitter`.
#[derive(Clone, Copy, Debug)]
pub struct Jittered<T> {
    pub base: T,
    pub jitter: T,
}

/// When dead workers are replaced.
#[derive(Clone, Copy, Debug)]
pub struct RespawnPolicy {
    /// The wait after the second failure in a row (there is none after the first); it doubles from there.
    pub backoff: Duration,
    pub backoff_max: Duration,
    /// Restarts of one slot within `window` that are accepted while no worker is ready; `None` is no limit.
    pub max_restarts: Option<u32>,
    pub window: Duration,
}
