//! Log lines: one a transition, with the same field names everywhere.

pub use crate::report::level::set as set_level;
pub use crate::report::line::timestamp;
pub use crate::report::sink::{child_signal, print, say, start, start_error};

use crate::core::Signal;
use crate::core::event::SpawnFailure;
use crate::core::exit::{Exit, Reason};
use crate::core::limits::Limits;
use crate::core::note::{
    InitNote, Note, PoolNote, ReadyBy, ReloadNote, SignalNote, Verdict, WorkerNote, WorkerRef,
};
use crate::core::policy::MOST_WORKERS;
use crate::os::process::inspect::ProcessSnapshot;
use crate::report::sink;
use crate::values::duration::in_short;
use std::io;
use std::time::Duration;
use tracing::field::{DisplayValue, display};
use tracing::{debug, error, info, warn};

/// A line about one worker: level, worker, other fields, message.
macro_rules! worker_line {
    ($level:ident, $worker:expr, $($rest:tt)+) => {{
        let WorkerRef { slot, generation, pid } = $worker;
        $level!(slot, "gen" = generation, pid = pid.0, $($rest)+)
    }};
}

/// Writes the line for a transition.
pub fn note(note: &Note) {
    if sink::says_otherwise(note) {
        return;
    }
    match note {
        Note::Init(note) => init_note(note),
        Note::Worker(worker, note) => worker_note(*worker, note),
        Note::Reload(generation, note) => reload_note(*generation, note),
        Note::Pool(note) => pool_note(note),
        Note::Signal(note) => signal_note(note),
    }
}

fn init_note(note: &InitNote) {
    match *note {
        InitNote::TerminalGivenUp => debug!("terminal given up to the command"),
        InitNote::Suspending => debug!("stopped, as the command is"),
        InitNote::OrphansLeft { .. } => debug!("not waiting for the processes that are left"),
        InitNote::OrphanReaped { pid, exit, warn: true } => {
            warn!(pid = pid.0, "orphan reaped: {exit}")
        }
        // The loop has told of every child.
        InitNote::OrphanReaped { warn: false, .. } => {}
        InitNote::CommandStarted { pid } => debug!(pid = pid.0, "command started"),
        InitNote::CommandExited { pid, exit, uptime } => command_exited(pid.0, exit, uptime),
        InitNote::SpawnFailed { slot, failure } => spawn_failed(slot, failure),
        InitNote::DeadlinePassed { after } => {
            warn!(
                after_ms = millis(after),
                "deadline passed, after {}: everything is stopped",
                in_short(after)
            );
        }
        InitNote::KillingAll => {
            warn!(signal = %Signal::KILL, "graceful timeout over: killing what is left")
        }
        InitNote::StoppingOrphans => info!("stopping the processes that were left behind"),
    }
}

fn worker_note(worker: WorkerRef, note: &WorkerNote) {
    match *note {
        WorkerNote::Spawned { limits: Limits { requests, age, memory } } => {
            let max_age_ms = age.map(millis);
            worker_line!(
                info,
                worker,
                max_requests = requests,
                max_age_ms,
                max_memory = memory,
                "worker spawned"
            );
        }
        WorkerNote::Ready { by, after } => {
            worker_line!(info, worker, by = %ready_by(by), after_ms = millis(after), "worker ready");
        }
        WorkerNote::Unobservable => worker_line!(
            warn,
            worker,
            "worker cannot be observed (it runs as another user, ends just now, there is no /proc, or a sandbox refuses us the look); it is ready when it says READY=1, see --ready"
        ),
        WorkerNote::Due { reason, requests } => {
            // Where nobody counts, there are none to be told of.
            let requests = Some(requests).filter(|requests| *requests > 0);
            worker_line!(info, worker, reason = %reason, requests, "worker due for recycling");
        }
        WorkerNote::Draining { reason } => {
            worker_line!(info, worker, reason = %reason, "worker draining");
        }
        WorkerNote::DrainCutShort => {
            worker_line!(
                warn,
                worker,
                "connections still wait for the worker: they go to the next one in its place"
            );
        }
        WorkerNote::Busy { connections, surge } => {
            let waits = waits(connections, worker.slot, surge);
            worker_line!(info, worker, connections, "worker busy: {waits}");
        }
        WorkerNote::Hung { sign } => {
            worker_line!(error, worker, sign = %sign.name(), "worker hung");
        }
        WorkerNote::Suspected { verdict: Verdict::Suspected } => {
            worker_line!(warn, worker, "worker does not take its connections: new ones go elsewhere");
        }
        WorkerNote::Suspected { verdict: Verdict::Alive } => {
            worker_line!(info, worker, "worker goes on after all");
        }
        WorkerNote::StoppedAccepting => {
            worker_line!(warn, worker, "worker stopped accepting: new connections go elsewhere");
        }
        WorkerNote::AcceptsAgain => worker_line!(info, worker, "worker accepts again"),
        WorkerNote::Stopping { reason, signal } => {
            worker_line!(info, worker, reason = %reason, signal = %signal, "worker stopping");
        }
        WorkerNote::Killed { reason } => {
            worker_line!(warn, worker, reason = %reason, signal = %Signal::KILL, "worker killed: it did not stop in time");
        }
        WorkerNote::Exited { exit, reason, uptime } => worker_exited(worker, exit, reason, uptime),
    }
}

fn reload_note(generation: u32, note: &ReloadNote) {
    match *note {
        ReloadNote::Refused => {
            error!("gen" = generation, "reload refused: the configuration is wrong, the old workers go on");
        }
        ReloadNote::Started => info!("gen" = generation, "reload started"),
        ReloadNote::Confirmed => {
            info!("gen" = generation, "reload goes on: the first new worker is ready");
        }
        ReloadNote::Paused { reason } => {
            warn!("gen" = generation, reason = %reason, "reload pauses: a new worker failed; the old ones that are left go on until all have served for a while");
        }
        ReloadNote::Resumed => {
            info!("gen" = generation, "reload resumed: it was overtaken by the one that failed");
        }
        ReloadNote::Finished { took } => {
            info!("gen" = generation, took_ms = millis(took), "reload finished");
        }
        ReloadNote::Failed { reason } => {
            error!("gen" = generation, reason = %reason, "reload failed: the first new worker did not get ready, the old ones go on");
        }
    }
}

fn pool_note(note: &PoolNote) {
    match *note {
        PoolNote::UpgradeAsked { at_rest: true } => info!("upgrade started"),
        PoolNote::UpgradeAsked { at_rest: false } => {
            info!("upgrade waits until every worker is ready")
        }
        PoolNote::Scaled { workers, from } => info!(workers, from, "scaled"),
        PoolNote::NotScaled { workers } if (2..MOST_WORKERS).contains(&workers) => {
            info!(workers, "not scaled: there are as many already");
        }
        PoolNote::NotScaled { workers } => {
            warn!(workers, "not scaled: there are as many workers, or as few, as there may be")
        }
        PoolNote::RespawnDelayed { slot, delay, failures } => {
            warn!(slot, failures, delay_ms = millis(delay), "respawn delayed");
        }
        // The loop tells of them, see `pool_ready` and `pool_stopped`.
        PoolNote::Ready { .. } | PoolNote::Stopped => {}
        PoolNote::ShutdownStarted { signal, drain_delay } => {
            info!(signal = %signal, drain_delay_ms = millis(drain_delay), "shutdown started");
        }
        PoolNote::ClosingCutShort => {
            warn!("connections still wait, and may be lost: no worker takes them, see --graceful-timeout");
        }
        PoolNote::ShutdownHurried { signal } => warn!(signal = %signal, "shutdown hurried"),
        PoolNote::GaveUp { slot, restarts, window } => error!(
            slot,
            restarts,
            window_ms = millis(window),
            "crash loop given up: no worker stays up; see the workers' output above, or raise --max-restarts"
        ),
    }
}

fn signal_note(note: &SignalNote) {
    match *note {
        SignalNote::Received(received) => {
            debug!(signal = %received.signal, sender = received.sender, "signal received");
        }
        SignalNote::Forwarded { signal, came } => {
            debug!(signal = %signal, came = %came, "signal forwarded")
        }
        SignalNote::Dropped { signal } => debug!(signal = %signal, "signal dropped"),
        SignalNote::HandOffIgnored { signal } => {
            debug!(signal = %signal, "signal of the hand-over ignored")
        }
        // Their default is to do nothing, and shells and terminals send them all the time.
        SignalNote::Ignored { signal } if signal.is_harmless() => {
            debug!(signal = %signal, "signal ignored");
        }
        SignalNote::Ignored { signal } => {
            info!(signal = %signal, "signal ignored: a pool does not forward it, since it would end most servers; see --forward-signal");
        }
    }
}

/// What a replacement waits for, and what would let others go on.
#[must_use]
pub fn waits(connections: u32, slot: u32, surge: Option<u32>) -> String {
    let many = if connections == 1 { "connection" } else { "connections" };
    let remedy = surge.map(|surge| format!("; --max-surge {surge} would go on")).unwrap_or_default();
    format!("waits for {connections} {many} of slot {slot}{remedy}")
}

/// Where a pool that is ready can be reached.
#[derive(Debug)]
pub struct Reachable {
    /// How many workers are.
    pub ready: u32,
    /// How many are wanted.
    pub workers: u32,
    /// The addresses of its listeners.
    pub listening: Vec<String>,
    /// That of its health endpoint.
    pub health: Option<String>,
    /// That of its control socket.
    pub control: Option<String>,
}

/// The one line that says that all is well, and where.
pub fn pool_ready(reachable: &Reachable) {
    let Reachable { ready, workers, listening, health, control } = reachable;
    let listening = (!listening.is_empty()).then(|| display(listening.join(", ")));
    let [health, control] = [health, control].map(|address| address.as_ref().map(display));
    info!(ready, workers, listening, health, control, "pool ready");
}

/// What a pool has come to.
#[derive(Debug)]
pub struct Totals {
    /// Requests served, if they are counted.
    pub requests: Option<u64>,
    /// Workers started after the last one of their slot had failed.
    pub restarts: u64,
    /// Workers killed since they did not stop in time.
    pub killed: u64,
    /// From the order to stop to now.
    pub took: Option<Duration>,
}

/// The last line of a pool that was stopped in order.
pub fn pool_stopped(totals: &Totals) {
    let Totals { requests, restarts, killed, took } = *totals;
    info!(requests, restarts, killed, took_ms = took.map(millis), "pool stopped");
}

fn command_exited(pid: i32, exit: Exit, uptime: Duration) {
    let (exit_code, signal) = parts(exit);
    let (uptime_ms, after) = (millis(uptime), in_short(uptime));
    if exit == Exit::Code(0) {
        debug!(pid, exit_code, signal, uptime_ms, "command exited: {exit}, after {after}");
    } else {
        info!(pid, exit_code, signal, uptime_ms, "command exited: {exit}, after {after}");
    }
}

fn worker_exited(worker: WorkerRef, exit: Exit, reason: Reason, uptime: Duration) {
    let (exit_code, signal) = parts(exit);
    let uptime_ms = millis(uptime);
    if reason.is_failure() {
        worker_line!(error, worker, reason = %reason, exit_code, signal, uptime_ms, "worker exited: {exit}");
    } else {
        worker_line!(info, worker, reason = %reason, exit_code, signal, uptime_ms, "worker exited: {exit}");
    }
}

/// What a hung worker looks like.
pub fn snapshot(worker: WorkerRef, snapshot: &ProcessSnapshot) {
    let ProcessSnapshot { state, wchan, syscall, rss, threads, sockets, cpu } = snapshot;
    let (state, cpu_ms) = (state.map(display), cpu.map(millis));
    worker_line!(
        error,
        worker,
        state,
        wchan,
        syscall,
        rss,
        threads,
        sockets,
        cpu_ms,
        "worker as it was found hung"
    );
}

/// A worker was not ready in time, and these listen: it, or its descendants.
pub fn listens_elsewhere(worker: WorkerRef, addresses: &[String]) {
    let listens = addresses.join(", ");
    worker_line!(warn, worker, "worker listens on {listens}, not on ours: does it take {{fd}}?");
}

/// A worker was not ready in time, and has no listener but those that it was given.
pub fn listens_nowhere(worker: WorkerRef, snapshot: &ProcessSnapshot) {
    let ProcessSnapshot { state, wchan, cpu, .. } = snapshot;
    let (state, cpu_ms) = (state.map(display), cpu.map(millis));
    worker_line!(
        warn,
        worker,
        state,
        wchan,
        cpu_ms,
        "worker listens nowhere else, and was not seen to accept: it still starts, or waits for something, see --start-timeout"
    );
}

/// A worker has connections, but no request was reported.
pub fn nobody_counts(worker: WorkerRef) {
    worker_line!(
        warn,
        worker,
        "worker has connections, and has not reported a single request: --max-requests replaces no worker unless the application counts, see --count-requests"
    );
}

fn spawn_failed(slot: u32, failure: SpawnFailure) {
    let SpawnFailure { step, errno, .. } = failure;
    let error = io::Error::from_raw_os_error(errno);
    let hint = match (step, errno) {
        // By our own name the command was found before anything was started.
        ("execute", libc_errno::ENOENT) => ": it, or the interpreter that its first line names, is missing",
        ("set the OOM score", _) => ": to lower it takes the capability SYS_RESOURCE, see --oom-score-adj",
        ("setuid" | "setgid" | "setgroups", libc_errno::EPERM) => ": we may not change the user, see --user",
        ("clone" | "fork", libc_errno::EAGAIN) => {
            ": too many processes, raise the limit (ulimit -u, pids.max)"
        }
        (_, libc_errno::ENOMEM) => ": there is no memory for it",
        ("execute", libc_errno::ETIMEDOUT) => ": perhaps its file system hangs, or the process was stopped",
        (_, libc_errno::EMFILE | libc_errno::ENFILE) => ": raise the limit on open files (ulimit -n)",
        ("execute", libc_errno::ENOEXEC) => ": it was built for another machine",
        ("execute", libc_errno::EPERM) => {
            ": a sandbox or a security module refuses it, or its file system allows no programs"
        }
        (_, libc_errno::EPERM | libc_errno::ENOSYS) => {
            ": the system call is refused, have the sandbox's filter (seccomp) allow it"
        }
        ("change the directory (chdir)", _) => ": its user may not enter it, see --chdir",
        _ => "",
    };
    let command = sink::command();
    error!(slot, command, step = %step, error = %error, "cannot start the command{hint}");
}

/// The numbers of errno(3) that deserve a hint; the same on every Linux.
mod libc_errno {
    pub const EPERM: i32 = 1;
    pub const ENOENT: i32 = 2;
    pub const ENOEXEC: i32 = 8;
    pub const EAGAIN: i32 = 11;
    pub const ENOMEM: i32 = 12;
    pub const ENFILE: i32 = 23;
    pub const EMFILE: i32 = 24;
    pub const ENOSYS: i32 = 38;
    pub const ETIMEDOUT: i32 = 110;
}

/// The exit code, or the signal's name: a field has one type in every line.
fn parts(exit: Exit) -> (Option<u8>, Option<DisplayValue<Signal>>) {
    match exit {
        Exit::Code(code) => (Some(code), None),
        Exit::Signal { signal, .. } => (None, Some(display(signal))),
    }
}

pub(crate) fn ready_by(by: ReadyBy) -> &'static str {
    match by {
        ReadyBy::Accepting => "accept",
        ReadyBy::Notified => "notify",
        ReadyBy::Probed => "probe",
        ReadyBy::Uptime => "uptime",
    }
}

pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
