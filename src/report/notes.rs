//! The one table of transitions: each with its level, its name for hooks, the log's message, and its fields.

use crate::core::event::SpawnFailure;
use crate::core::exit::Exit;
use crate::core::note::{
    InitNote, Note, PoolNote, ReadyBy, ReloadNote, SignalNote, Verdict, WorkerNote, WorkerRef,
};
use crate::core::policy::MOST_WORKERS;
use crate::core::signal::{Received, Signal};
use crate::values::duration::in_short;
use std::fmt::Display;
use std::io;
use std::time::Duration;
use tracing::Level;

const ERROR: Level = Level::ERROR;
const WARN: Level = Level::WARN;
const INFO: Level = Level::INFO;
const DEBUG: Level = Level::DEBUG;

/// One transition.
pub struct Transition<'a> {
    pub level: Level,
    /// None: hooks do not run.
    pub name: Option<&'static str>,
    /// None: nothing is logged.
    pub message: Option<&'a dyn Display>,
    /// Those that all of its kind have, then its own.
    pub fields: [&'a [Field<'a>]; 2],
}

pub struct Field<'a> {
    /// As the log has it; hooks have it in capitals.
    pub name: &'static str,
    pub kind: FieldKind,
    pub value: &'a dyn Display,
    pub in_log: bool,
    pub in_hooks: bool,
}

#[derive(Clone, Copy)]
pub enum FieldKind {
    /// Without quotes in JSON.
    Number,
    Text,
    /// Text of the user's: in quotes even where the log is text.
    Quoted,
}

impl<'a> Field<'a> {
    fn new(kind: FieldKind, name: &'static str, value: &'a dyn Display) -> Self {
        Self { name, kind, value, in_log: true, in_hooks: true }
    }

    fn log_only(self) -> Self {
        Self { in_hooks: false, ..self }
    }

    fn hooks_only(self) -> Self {
        Self { in_log: false, ..self }
    }
}

fn number<'a>(name: &'static str, value: &'a dyn Display) -> Field<'a> {
    Field::new(FieldKind::Number, name, value)
}

fn text<'a>(name: &'static str, value: &'a dyn Display) -> Field<'a> {
    Field::new(FieldKind::Text, name, value)
}

/// The exit code, or the signal's name: a field has one type in every line.
fn ending(exit: &Exit) -> Field<'_> {
    match exit {
        Exit::Code(code) => number("exit_code", code),
        Exit::Signal { signal, .. } => text("signal", signal),
    }
}

/// How a row of the table is read, once.
struct Tell<'a> {
    common: &'a [Field<'a>],
    reader: &'a mut dyn FnMut(&Transition<'_>),
}

impl Tell<'_> {
    fn all(self, level: Level, name: &'static str, message: impl Display, fields: &[Field<'_>]) {
        let (name, message): (_, Option<&dyn Display>) = (Some(name), Some(&message));
        (self.reader)(&Transition { level, name, message, fields: [self.common, fields] });
    }

    fn log(self, level: Level, message: impl Display, fields: &[Field<'_>]) {
        let message: Option<&dyn Display> = Some(&message);
        (self.reader)(&Transition { level, name: None, message, fields: [self.common, fields] });
    }

    fn hooks(self, name: &'static str, fields: &[Field<'_>]) {
        let (level, name) = (INFO, Some(name));
        (self.reader)(&Transition { level, name, message: None, fields: [self.common, fields] });
    }
}

/// Gives a note's transition to `reader`, if the note is one. `command` is the command's name, for the log.
pub fn describe(note: &Note, command: &str, reader: &mut dyn FnMut(&Transition<'_>)) {
    match note {
        Note::Init(note) => init(note, command, Tell { common: &[], reader }),
        Note::Worker(WorkerRef { slot, generation, pid }, note) => {
            let common = [number("slot", slot), number("gen", generation), number("pid", pid)];
            worker(*slot, note, Tell { common: &common, reader });
        }
        Note::Reload(generation, note) => {
            reload(note, Tell { common: &[number("gen", generation)], reader });
        }
        Note::Pool(note) => pool(note, Tell { common: &[], reader }),
        Note::Signal(note) => signal(note, Tell { common: &[], reader }),
    }
}

#[rustfmt::skip]
fn init(note: &InitNote, command: &str, tell: Tell<'_>) {
    match *note {
        InitNote::CommandStarted { pid } =>
            tell.all(DEBUG, "command-started", "command started", &[number("pid", &pid)]),
        InitNote::CommandExited { pid, exit, uptime } =>
            tell.all(if exit == Exit::Code(0) { DEBUG } else { INFO }, "command-exited",
                format_args!("command exited: {exit}, after {}", in_short(uptime)),
                &[number("pid", &pid), ending(&exit), number("uptime_ms", &millis(uptime))]),
        InitNote::SpawnFailed { slot, failure: SpawnFailure { step, errno, .. } } => {
            let error = io::Error::from_raw_os_error(errno);
            tell.all(ERROR, "spawn-failed", format_args!("cannot start the command{}", hint(step, errno)), &[
                number("slot", &slot),
                Field::new(FieldKind::Quoted, "command", &command).log_only(),
                text("step", &step).log_only(),
                text("error", &error).log_only(),
                text("error", &error.kind()).hooks_only(),
            ]);
        }
        InitNote::TerminalGivenUp => tell.log(DEBUG, "terminal given up to the command", &[]),
        InitNote::Suspending => tell.log(DEBUG, "stopped, as the command is", &[]),
        InitNote::OrphanReaped { pid, exit, warn: true } =>
            tell.log(WARN, format_args!("orphan reaped: {exit}"), &[number("pid", &pid)]),
        // The loop logs every child.
        InitNote::OrphanReaped { warn: false, .. } => {}
        InitNote::OrphansLeft { .. } => tell.log(DEBUG, "not waiting for the processes that are left", &[]),
        InitNote::DeadlinePassed { after } =>
            tell.all(WARN, "deadline-passed",
                format_args!("deadline passed, after {}: everything is stopped", in_short(after)),
                &[number("after_ms", &millis(after))]),
        InitNote::StoppingOrphans => tell.log(INFO, "stopping the processes that were left behind", &[]),
        InitNote::KillingAll =>
            tell.all(WARN, "killing-all", "graceful timeout over: killing what is left",
                &[text("signal", &Signal::KILL).log_only()]),
    }
}

#[rustfmt::skip]
fn worker(slot: u32, note: &WorkerNote, tell: Tell<'_>) {
    match *note {
        WorkerNote::Spawned { limits } => {
            let limits = limits.fields().map(|(name, limit)| (name, limit.is_some(), limit.unwrap_or_default()));
            tell.all(INFO, "worker-spawned", "worker spawned", &limits.each_ref().map(|(name, is_set, limit)|
                Field { in_log: *is_set, in_hooks: false, ..number(name, limit) }));
        }
        WorkerNote::Ready { by, after } =>
            tell.all(INFO, "worker-ready", "worker ready",
                &[text("by", &ready_by(by)), number("after_ms", &millis(after))]),
        WorkerNote::Unobservable =>
            tell.all(WARN, "worker-unobservable", "worker cannot be observed (it runs as another user, ends just \
                now, there is no /proc, or a sandbox refuses us the look); it is ready when it says READY=1, see \
                --ready", &[]),
        WorkerNote::Due { reason, requests } => {
            // Where the application does not count, it is zero.
            let requests = Field { in_log: requests > 0, ..number("requests", &requests) };
            tell.all(INFO, "worker-due", "worker due for recycling", &[text("reason", &reason), requests]);
        }
        WorkerNote::Draining { reason } =>
            tell.all(INFO, "worker-draining", "worker draining", &[text("reason", &reason)]),
        WorkerNote::DrainCutShort =>
            tell.all(WARN, "drain-cut-short",
                "connections still wait for the worker: they go to the next one in its place", &[]),
        WorkerNote::Busy { connections, surge } =>
            tell.all(INFO, "worker-busy", format_args!("worker busy: {}", waits(connections, slot, surge)),
                &[number("connections", &connections)]),
        WorkerNote::Hung { sign } => tell.all(ERROR, "worker-hung", "worker hung", &[text("sign", &sign.name())]),
        WorkerNote::Suspected { verdict: Verdict::Suspected } =>
            tell.all(WARN, "worker-suspected", "worker does not take its connections: new ones go elsewhere", &[]),
        WorkerNote::Suspected { verdict: Verdict::Alive } =>
            tell.all(INFO, "worker-alive", "worker goes on after all", &[]),
        WorkerNote::StoppedAccepting =>
            tell.all(WARN, "worker-stopped-accepting",
                "worker stopped accepting: new connections go elsewhere", &[]),
        WorkerNote::AcceptsAgain => tell.all(INFO, "worker-accepts-again", "worker accepts again", &[]),
        WorkerNote::Stopping { reason, signal } =>
            tell.all(INFO, "worker-stopping", "worker stopping",
                &[text("reason", &reason), text("signal", &signal)]),
        WorkerNote::Killed { reason } =>
            tell.all(WARN, "worker-killed", "worker killed: it did not stop in time",
                &[text("reason", &reason), text("signal", &Signal::KILL).log_only()]),
        WorkerNote::Exited { exit, reason, uptime } =>
            tell.all(if reason.is_failure() { ERROR } else { INFO }, "worker-exited",
                format_args!("worker exited: {exit}"),
                &[text("reason", &reason), ending(&exit), number("uptime_ms", &millis(uptime))]),
    }
}

#[rustfmt::skip]
fn reload(note: &ReloadNote, tell: Tell<'_>) {
    match *note {
        ReloadNote::Refused =>
            tell.all(ERROR, "reload-refused",
                "reload refused: the configuration is wrong, the old workers go on", &[]),
        ReloadNote::Started => tell.all(INFO, "reload-started", "reload started", &[]),
        ReloadNote::Confirmed =>
            tell.all(INFO, "reload-confirmed", "reload goes on: the first new worker is ready", &[]),
        ReloadNote::Paused { reason } =>
            tell.all(WARN, "reload-paused", "reload pauses: a new worker failed; the old ones that are left go on \
                until all have served for a while", &[text("reason", &reason)]),
        ReloadNote::Finished { took } =>
            tell.all(INFO, "reload-finished", "reload finished", &[number("took_ms", &millis(took))]),
        ReloadNote::Failed { reason } =>
            tell.all(ERROR, "reload-failed",
                "reload failed: the first new worker did not get ready, the old ones go on",
                &[text("reason", &reason)]),
        ReloadNote::Resumed =>
            tell.all(INFO, "reload-resumed", "reload resumed: it was overtaken by the one that failed", &[]),
    }
}

#[rustfmt::skip]
fn pool(note: &PoolNote, tell: Tell<'_>) {
    match *note {
        // The loop logs these two, with what it alone knows: `log::pool_ready`, `log::pool_stopped`.
        PoolNote::Ready { ready } => tell.hooks("pool-ready", &[number("ready", &ready)]),
        PoolNote::Stopped => tell.hooks("pool-stopped", &[]),
        PoolNote::RespawnDelayed { slot, delay, failures } =>
            tell.all(WARN, "respawn-delayed", "respawn delayed",
                &[number("slot", &slot), number("failures", &failures), number("delay_ms", &millis(delay))]),
        PoolNote::Scaled { workers, from } =>
            tell.all(INFO, "scaled", "scaled", &[number("workers", &workers), number("from", &from)]),
        PoolNote::NotScaled { workers } if (2..MOST_WORKERS).contains(&workers) =>
            tell.all(INFO, "not-scaled", "not scaled: there are as many already", &[number("workers", &workers)]),
        PoolNote::NotScaled { workers } =>
            tell.all(WARN, "not-scaled", "not scaled: there are as many workers, or as few, as there may be",
                &[number("workers", &workers)]),
        PoolNote::UpgradeAsked { at_rest: true } => tell.all(INFO, "upgrade-asked", "upgrade started", &[]),
        PoolNote::UpgradeAsked { at_rest: false } =>
            tell.all(INFO, "upgrade-asked", "upgrade waits until every worker is ready", &[]),
        PoolNote::ShutdownStarted { signal, drain_delay } =>
            tell.all(INFO, "shutdown-started", "shutdown started",
                &[text("signal", &signal), number("drain_delay_ms", &millis(drain_delay)).log_only()]),
        PoolNote::ShutdownHurried { signal } =>
            tell.all(WARN, "shutdown-hurried", "shutdown hurried", &[text("signal", &signal)]),
        PoolNote::ClosingCutShort =>
            tell.all(WARN, "closing-cut-short",
                "connections still wait, and may be lost: no worker takes them, see --graceful-timeout", &[]),
        PoolNote::GaveUp { slot, restarts, window } =>
            tell.all(ERROR, "gave-up",
                "crash loop given up: no worker stays up; see the workers' output above, or raise --max-restarts",
                &[number("slot", &slot), number("restarts", &restarts),
                    number("window_ms", &millis(window)).log_only()]),
    }
}

#[rustfmt::skip]
fn signal(note: &SignalNote, tell: Tell<'_>) {
    match *note {
        SignalNote::Received(Received { signal, sender, .. }) =>
            tell.log(DEBUG, "signal received", &[text("signal", &signal), number("sender", &sender)]),
        SignalNote::Forwarded { signal, came } =>
            tell.log(DEBUG, "signal forwarded", &[text("signal", &signal), text("came", &came)]),
        SignalNote::Dropped { signal } => tell.log(DEBUG, "signal dropped", &[text("signal", &signal)]),
        // Their default is to do nothing, and shells and terminals send them all the time.
        SignalNote::Ignored { signal } if signal.is_harmless() =>
            tell.log(DEBUG, "signal ignored", &[text("signal", &signal)]),
        SignalNote::Ignored { signal } =>
            tell.log(INFO, "signal ignored: a pool does not forward it, since it would end most servers; see \
                --forward-signal", &[text("signal", &signal)]),
        SignalNote::HandOffIgnored { signal } =>
            tell.log(DEBUG, "signal of the hand-over ignored", &[text("signal", &signal)]),
    }
}

/// What a replacement waits for, and what would let others go on.
#[must_use]
pub fn waits(connections: u32, slot: u32, surge: Option<u32>) -> String {
    let many = if connections == 1 { "connection" } else { "connections" };
    let remedy = surge.map(|surge| format!("; --max-surge {surge} would go on")).unwrap_or_default();
    format!("waits for {connections} {many} of slot {slot}{remedy}")
}

/// What to do about a step that failed.
fn hint(step: &str, errno: i32) -> &'static str {
    match (step, errno) {
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
    }
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

fn ready_by(by: ReadyBy) -> &'static str {
    match by {
        ReadyBy::Accepting => "accept",
        ReadyBy::Notified => "notify",
        ReadyBy::Probed => "probe",
        ReadyBy::Uptime => "uptime",
    }
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
