//! A note of each kind, for tests.

use crate::core::event::SpawnFailure;
use crate::core::exit::{Exit, Reason};
use crate::core::limits::Limits;
use crate::core::note::{
    InitNote, Note, PoolNote, ReadyBy, ReloadNote, Sign, SignalNote, Verdict, WorkerNote, WorkerRef,
};
use crate::core::policy::MOST_WORKERS;
use crate::core::signal::Received;
use crate::core::{Pid, Signal};
use std::time::Duration;

const PID: Pid = Pid(17);
const SPAN: Duration = Duration::from_millis(61_500);
const EXITS: [Exit; 3] =
    [Exit::Code(0), Exit::Code(3), Exit::Signal { signal: Signal::KILL, core_dumped: true }];

/// One for each hint, in the order of the hints, and one that has none: slot, step, number of errno(3).
const FAILURES: [(u32, &str, i32); 12] = [
    (1, "execute", 2),
    (0, "set the OOM score", 13),
    (0, "setuid", 1),
    (2, "fork", 11),
    (0, "setsid", 12),
    (0, "execute", 110),
    (0, "execute", 24),
    (0, "execute", 8),
    (0, "execute", 1),
    (0, "unshare", 38),
    (0, "change the directory (chdir)", 13),
    (0, "open", 13),
];

/// Each kind at least once, and each message.
pub fn notes() -> Vec<Note> {
    let worker = |note| Note::Worker(WorkerRef { slot: 3, generation: 2, pid: PID }, note);
    let reload = |note| Note::Reload(2, note);
    init()
        .into_iter()
        .map(Note::Init)
        .chain(of_worker().into_iter().map(worker))
        .chain(of_reload().into_iter().map(reload))
        .chain(of_pool().into_iter().map(Note::Pool))
        .chain(of_signals().into_iter().map(Note::Signal))
        .collect()
}

fn init() -> Vec<InitNote> {
    let orphan = |warn| InitNote::OrphanReaped { pid: PID, exit: Exit::Code(3), warn };
    let mut notes = vec![InitNote::CommandStarted { pid: PID }];
    notes.extend(EXITS.map(|exit| InitNote::CommandExited { pid: PID, exit, uptime: SPAN }));
    notes.extend(FAILURES.map(|(slot, step, errno)| InitNote::SpawnFailed {
        slot,
        failure: SpawnFailure { step, errno, code: 126 },
    }));
    notes.extend([
        InitNote::TerminalGivenUp,
        InitNote::Suspending,
        orphan(true),
        orphan(false),
        InitNote::OrphansLeft { signal: Some(Signal::TERM), code: 3 },
        InitNote::DeadlinePassed { after: SPAN },
        InitNote::StoppingOrphans,
        InitNote::KillingAll,
    ]);
    notes
}

fn of_worker() -> Vec<WorkerNote> {
    let limits = Limits { requests: Some(1_000), age: Some(SPAN), memory: Some(1 << 30) };
    let exited = |exit, reason| WorkerNote::Exited { exit, reason, uptime: SPAN };
    let ready = [ReadyBy::Accepting, ReadyBy::Notified, ReadyBy::Probed, ReadyBy::Uptime];
    let mut notes = vec![WorkerNote::Spawned { limits }, WorkerNote::Spawned { limits: Limits::default() }];
    notes.extend(ready.map(|by| WorkerNote::Ready { by, after: SPAN }));
    notes.extend([
        WorkerNote::Unobservable,
        WorkerNote::Due { reason: Reason::MaxRequests, requests: 1_000 },
        WorkerNote::Due { reason: Reason::MaxAge, requests: 0 },
        WorkerNote::Draining { reason: Reason::Reload },
        WorkerNote::DrainCutShort,
        WorkerNote::Busy { connections: 1, surge: None },
        WorkerNote::Busy { connections: 2, surge: Some(4) },
        WorkerNote::Hung { sign: Sign::AcceptStall },
        WorkerNote::Suspected { verdict: Verdict::Suspected },
        WorkerNote::Suspected { verdict: Verdict::Alive },
        WorkerNote::StoppedAccepting,
        WorkerNote::AcceptsAgain,
        WorkerNote::Stopping { reason: Reason::Stop, signal: Signal::TERM },
        WorkerNote::Killed { reason: Reason::Scale },
    ]);
    notes.extend(EXITS.map(|exit| exited(exit, Reason::Hung)));
    notes.push(exited(Exit::Code(0), Reason::MaxAge));
    notes
}

fn of_reload() -> Vec<ReloadNote> {
    vec![
        ReloadNote::Refused,
        ReloadNote::Started,
        ReloadNote::Confirmed,
        ReloadNote::Paused { reason: Reason::Crash },
        ReloadNote::Finished { took: SPAN },
        ReloadNote::Failed { reason: Reason::BootTimeout },
        ReloadNote::Resumed,
    ]
}

fn of_pool() -> Vec<PoolNote> {
    vec![
        PoolNote::Ready { ready: 4 },
        PoolNote::RespawnDelayed { slot: 1, delay: SPAN, failures: 5 },
        PoolNote::Scaled { workers: 4, from: 2 },
        PoolNote::NotScaled { workers: 1 },
        PoolNote::NotScaled { workers: 4 },
        PoolNote::NotScaled { workers: MOST_WORKERS },
        PoolNote::UpgradeAsked { at_rest: true },
        PoolNote::UpgradeAsked { at_rest: false },
        PoolNote::ShutdownStarted { signal: Signal::TERM, drain_delay: SPAN },
        PoolNote::ShutdownHurried { signal: Signal::INT },
        PoolNote::ClosingCutShort,
        PoolNote::Stopped,
        PoolNote::GaveUp { slot: 1, restarts: 5, window: SPAN },
    ]
}

fn of_signals() -> Vec<SignalNote> {
    let received = |sender| Received { signal: Signal::USR1, code: 0, sender, uid: 0, value: 0 };
    vec![
        SignalNote::Received(received(1)),
        SignalNote::Received(received(-1)),
        SignalNote::Forwarded { signal: Signal::INT, came: Signal::TERM },
        SignalNote::Dropped { signal: Signal::HUP },
        SignalNote::Ignored { signal: Signal::USR1 },
        SignalNote::Ignored { signal: Signal::WINCH },
        SignalNote::HandOffIgnored { signal: Signal::CONT },
    ]
}

/// Does not compile while a new kind is missing here: it belongs into a list above as well.
#[allow(dead_code)]
fn is_above(note: &Note) {
    match note {
        Note::Init(note) => match note {
            InitNote::CommandStarted { .. }
            | InitNote::CommandExited { .. }
            | InitNote::SpawnFailed { .. }
            | InitNote::TerminalGivenUp
            | InitNote::Suspending
            | InitNote::OrphanReaped { .. }
            | InitNote::OrphansLeft { .. }
            | InitNote::DeadlinePassed { .. }
            | InitNote::StoppingOrphans
            | InitNote::KillingAll => {}
        },
        Note::Worker(_, note) => match note {
            WorkerNote::Spawned { .. }
            | WorkerNote::Ready { .. }
            | WorkerNote::Unobservable
            | WorkerNote::Due { .. }
            | WorkerNote::Draining { .. }
            | WorkerNote::DrainCutShort
            | WorkerNote::Busy { .. }
            | WorkerNote::Hung { .. }
            | WorkerNote::Suspected { .. }
            | WorkerNote::StoppedAccepting
            | WorkerNote::AcceptsAgain
            | WorkerNote::Stopping { .. }
            | WorkerNote::Killed { .. }
            | WorkerNote::Exited { .. } => {}
        },
        Note::Reload(_, note) => match note {
            ReloadNote::Refused
            | ReloadNote::Started
            | ReloadNote::Confirmed
            | ReloadNote::Paused { .. }
            | ReloadNote::Finished { .. }
            | ReloadNote::Failed { .. }
            | ReloadNote::Resumed => {}
        },
        Note::Pool(note) => match note {
            PoolNote::Ready { .. }
            | PoolNote::RespawnDelayed { .. }
            | PoolNote::Scaled { .. }
            | PoolNote::NotScaled { .. }
            | PoolNote::UpgradeAsked { .. }
            | PoolNote::ShutdownStarted { .. }
            | PoolNote::ShutdownHurried { .. }
            | PoolNote::ClosingCutShort
            | PoolNote::Stopped
            | PoolNote::GaveUp { .. } => {}
        },
        Note::Signal(note) => match note {
            SignalNote::Received(_)
            | SignalNote::Forwarded { .. }
            | SignalNote::Dropped { .. }
            | SignalNote::Ignored { .. }
            | SignalNote::HandOffIgnored { .. } => {}
        },
    }
}
