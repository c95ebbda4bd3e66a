//! Transitions as programs are told of them (`--on-event`): a name, and fields that become variables.

use crate::core::Note;
use crate::core::exit::Exit;
use crate::core::note::{InitNote, PoolNote, ReloadNote, Verdict, WorkerNote, WorkerRef};
use crate::report::log::{millis, ready_by};
use std::time::Duration;

/// What the names of all variables begin with.
pub const PREFIX: &str = "PREFORK_EVENT";

/// One transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// Its name, which stays what it is.
    pub name: &'static str,
    /// Its fields: the ends of the variables' names, and values.
    pub fields: Vec<(&'static str, String)>,
}

impl Happened {
    fn new(name: &'static str) -> Self {
        Self { name, fields: Vec::new() }
    }

    fn about(name: &'static str, worker: WorkerRef) -> Self {
        let WorkerRef { slot, generation, pid } = worker;
        Self::new(name).with("SLOT", slot).with("GEN", generation).with("PID", pid)
    }

    fn of(name: &'static str, generation: u32) -> Self {
        Self::new(name).with("GEN", generation)
    }

    fn with(mut self, field: &'static str, value: impl ToString) -> Self {
        self.fields.push((field, value.to_string()));
        self
    }

    fn with_time(self, field: &'static str, span: Duration) -> Self {
        self.with(field, millis(span))
    }

    /// The code, or the signal's name.
    fn with_exit(self, exit: Exit) -> Self {
        match exit {
            Exit::Code(code) => self.with("EXIT_CODE", code),
            Exit::Signal { signal, .. } => self.with("SIGNAL", signal),
        }
    }

    /// The variables.
    pub fn variables(&self) -> impl Iterator<Item = (String, &str)> {
        let fields = self.fields.iter().map(|(field, value)| (format!("{PREFIX}_{field}"), value.as_str()));
        std::iter::once((PREFIX.to_owned(), self.name)).chain(fields)
    }
}

/// The transition that a note tells of, if it is one: what is only of interest for finding errors is none.
#[must_use]
pub fn of(note: &Note) -> Option<Happened> {
    match note {
        Note::Init(note) => of_init(note),
        Note::Worker(worker, note) => Some(of_worker(*worker, note)),
        Note::Reload(generation, note) => Some(of_reload(*generation, note)),
        Note::Pool(note) => Some(of_pool(note)),
        // Chatter.
        Note::Signal(_) => None,
    }
}

fn of_init(note: &InitNote) -> Option<Happened> {
    Some(match *note {
        InitNote::TerminalGivenUp
        | InitNote::OrphansLeft { .. }
        | InitNote::OrphanReaped { .. }
        | InitNote::StoppingOrphans
        | InitNote::Suspending => return None,
        InitNote::CommandStarted { pid } => Happened::new("command-started").with("PID", pid),
        InitNote::CommandExited { pid, exit, uptime } => {
            Happened::new("command-exited").with("PID", pid).with_exit(exit).with_time("UPTIME_MS", uptime)
        }
        InitNote::SpawnFailed { slot, failure } => Happened::new("spawn-failed")
            .with("SLOT", slot)
            .with("ERROR", std::io::Error::from_raw_os_error(failure.errno).kind()),
        InitNote::DeadlinePassed { after } => Happened::new("deadline-passed").with_time("AFTER_MS", after),
        InitNote::KillingAll => Happened::new("killing-all"),
    })
}

fn of_worker(worker: WorkerRef, note: &WorkerNote) -> Happened {
    match *note {
        WorkerNote::Spawned { .. } => Happened::about("worker-spawned", worker),
        WorkerNote::Ready { by, after } => {
            Happened::about("worker-ready", worker).with("BY", ready_by(by)).with_time("AFTER_MS", after)
        }
        WorkerNote::Unobservable => Happened::about("worker-unobservable", worker),
        WorkerNote::Due { reason, requests } => {
            Happened::about("worker-due", worker).with("REASON", reason).with("REQUESTS", requests)
        }
        WorkerNote::Draining { reason } => Happened::about("worker-draining", worker).with("REASON", reason),
        WorkerNote::DrainCutShort => Happened::about("drain-cut-short", worker),
        WorkerNote::Busy { connections, .. } => {
            Happened::about("worker-busy", worker).with("CONNECTIONS", connections)
        }
        WorkerNote::Hung { sign } => Happened::about("worker-hung", worker).with("SIGN", sign.name()),
        WorkerNote::Suspected { verdict: Verdict::Suspected } => Happened::about("worker-suspected", worker),
        WorkerNote::Suspected { verdict: Verdict::Alive } => Happened::about("worker-alive", worker),
        WorkerNote::StoppedAccepting => Happened::about("worker-stopped-accepting", worker),
        WorkerNote::AcceptsAgain => Happened::about("worker-accepts-again", worker),
        WorkerNote::Stopping { reason, signal } => {
            Happened::about("worker-stopping", worker).with("REASON", reason).with("SIGNAL", signal)
        }
        WorkerNote::Killed { reason } => Happened::about("worker-killed", worker).with("REASON", reason),
        WorkerNote::Exited { exit, reason, uptime } => Happened::about("worker-exited", worker)
            .with("REASON", reason)
            .with_exit(exit)
            .with_time("UPTIME_MS", uptime),
    }
}

fn of_reload(generation: u32, note: &ReloadNote) -> Happened {
    match *note {
        ReloadNote::Refused => Happened::of("reload-refused", generation),
        ReloadNote::Started => Happened::of("reload-started", generation),
        ReloadNote::Confirmed => Happened::of("reload-confirmed", generation),
        ReloadNote::Paused { reason } => Happened::of("reload-paused", generation).with("REASON", reason),
        ReloadNote::Resumed => Happened::of("reload-resumed", generation),
        ReloadNote::Finished { took } => {
            Happened::of("reload-finished", generation).with_time("TOOK_MS", took)
        }
        ReloadNote::Failed { reason } => Happened::of("reload-failed", generation).with("REASON", reason),
    }
}

fn of_pool(note: &PoolNote) -> Happened {
    match *note {
        PoolNote::RespawnDelayed { slot, delay, failures } => Happened::new("respawn-delayed")
            .with("SLOT", slot)
            .with("FAILURES", failures)
            .with_time("DELAY_MS", delay),
        PoolNote::UpgradeAsked { .. } => Happened::new("upgrade-asked"),
        PoolNote::Scaled { workers, from } => {
            Happened::new("scaled").with("WORKERS", workers).with("FROM", from)
        }
        PoolNote::NotScaled { workers } => Happened::new("not-scaled").with("WORKERS", workers),
        PoolNote::Ready { ready } => Happened::new("pool-ready").with("READY", ready),
        PoolNote::ShutdownStarted { signal, .. } => Happened::new("shutdown-started").with("SIGNAL", signal),
        PoolNote::ShutdownHurried { signal } => Happened::new("shutdown-hurried").with("SIGNAL", signal),
        PoolNote::ClosingCutShort => Happened::new("closing-cut-short"),
        PoolNote::Stopped => Happened::new("pool-stopped"),
        PoolNote::GaveUp { slot, restarts, .. } => {
            Happened::new("gave-up").with("SLOT", slot).with("RESTARTS", restarts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::exit::Reason;
    use crate::core::note::SignalNote;
    use crate::core::{Pid, Signal};

    #[test]
    fn a_transition_has_a_name_and_fields_and_chatter_has_none() {
        let worker = WorkerRef { slot: 3, generation: 2, pid: Pid(17) };
        let exit = Exit::Signal { signal: Signal::KILL, core_dumped: false };
        let note = Note::Worker(
            worker,
            WorkerNote::Exited { exit, reason: Reason::Hung, uptime: Duration::from_millis(1_500) },
        );
        let happened = of(&note).unwrap();
        let variables: Vec<String> =
            happened.variables().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            variables,
            [
                "PREFORK_EVENT=worker-exited",
                "PREFORK_EVENT_SLOT=3",
                "PREFORK_EVENT_GEN=2",
                "PREFORK_EVENT_PID=17",
                "PREFORK_EVENT_REASON=hung",
                "PREFORK_EVENT_SIGNAL=KILL",
                "PREFORK_EVENT_UPTIME_MS=1500",
            ]
        );
        assert_eq!(of(&Note::Signal(SignalNote::Dropped { signal: Signal::HUP })), None);
    }

    /// The list of docs/hooks.md is the list of the names here.
    #[test]
    fn the_page_of_hooks_names_every_event() {
        let page = include_str!("../../docs/hooks.md");
        let (_, section) = page.split_once("\n## Events").unwrap();
        let source = include_str!("hook_variables.rs");
        let (source, _) = source.split_once("#[cfg(test)]").unwrap();
        let calls = ["Happened::new(\"", "Happened::about(\"", "Happened::of(\""];
        let names: Vec<&str> = calls
            .iter()
            .flat_map(|call| source.split(call).skip(1))
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert!(names.len() > 25, "{names:?}");
        for name in names {
            assert!(section.contains(&format!("`{name}`")), "{name}");
        }
    }
}
