//! What is counted, from the notes of transitions. Pure: a note and the time come in, nothing goes out.

use super::tally::{Histogram, Tally};
use crate::core::exit::Reason;
use crate::core::note::{
    InitNote, Note, PoolNote, ReloadNote, Sign, SignalNote, Verdict, WorkerNote, WorkerRef,
};
use crate::core::{Monotonic, Pid, Signal};
use std::collections::BTreeMap;

/// Upper bounds of spans in a worker's life, in seconds: an interpreter with an application is there in half a second to
/// some, and graceful timeouts end at 10 and 30 s.
const OF_A_LIFE: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0];

/// Signals that mean something to a pool.
const KNOWN: [Signal; 8] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::TERM,
    Signal::TTIN,
    Signal::TTOU,
];

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// Every worker is new.
    Finished,
    /// The first new worker did not get ready.
    Failed,
    /// Another reload, or the stop, came before its end.
    Overtaken,
    /// It did not begin: the configuration was wrong.
    Refused,
}

impl Reloaded {
    const ALL: [Self; 4] = [Self::Finished, Self::Failed, Self::Overtaken, Self::Refused];

    /// In one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Overtaken => "overtaken",
            Self::Refused => "refused",
        }
    }
}

/// The last worker that was started for a slot.
#[derive(Clone, Copy, Debug)]
struct Last {
    /// `None` if it could not even be started.
    pid: Option<Pid>,
    /// Whether the next one is there because it failed.
    failed: bool,
}

/// See the module. All begin at zero with our program.
#[derive(Clone, Debug)]
pub struct Counts {
    /// Workers started.
    pub spawns: u64,
    /// Starts that failed.
    pub spawn_failures: u64,
    /// Workers started after the last one of their slot had failed.
    pub restarts: u64,
    /// Workers that ended.
    pub exits: Tally<Reason>,
    /// Workers that were killed since they did not stop in time.
    pub kills: Tally<Reason>,
    /// Workers that were found to hang.
    pub hung: Tally<Sign>,
    /// Workers that were found to take no connections any more.
    pub stopped_accepting: u64,
    /// From a worker's start until it was ready.
    pub ready: Histogram,
    /// From the last new connection to the stop signal.
    pub drain: Histogram,
    /// From the stop signal to the end.
    pub stop: Histogram,
    /// Reloads that are over.
    pub reloads: Tally<Reloaded>,
    /// Whether one is not.
    pub reloading: bool,
    /// Orphans reaped.
    pub orphans: u64,
    /// Signals that came.
    pub received: Tally<Signal>,
    /// Requests that workers which have ended had served, if they are counted.
    pub served: Option<u64>,
    /// When the stop began.
    pub stop_began: Option<Monotonic>,
    /// Signals passed on to the command, by what they were passed on as.
    pub forwarded: Tally<Signal>,
    /// Who is being emptied, and since when.
    draining: BTreeMap<Pid, Monotonic>,
    /// Who was told to stop, and when.
    stopping: BTreeMap<Pid, Monotonic>,
    last: BTreeMap<u32, Last>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            spawns: 0,
            spawn_failures: 0,
            restarts: 0,
            exits: Tally::of(&Reason::ALL),
            kills: Tally::of(&Reason::ALL),
            hung: Tally::of(&Sign::ALL),
            stopped_accepting: 0,
            ready: Histogram::new(OF_A_LIFE),
            drain: Histogram::new(OF_A_LIFE),
            stop: Histogram::new(OF_A_LIFE),
            reloads: Tally::of(&Reloaded::ALL),
            reloading: false,
            orphans: 0,
            served: None,
            stop_began: None,
            received: Tally::of(&KNOWN),
            forwarded: Tally::of(&KNOWN),
            draining: BTreeMap::new(),
            stopping: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }
}

impl Counts {
    /// Takes a transition in.
    pub fn note(&mut self, now: Monotonic, note: &Note) {
        match note {
            Note::Worker(worker, note) => self.worker(now, *worker, note),
            Note::Reload(_, note) => self.reload(note),
            Note::Init(InitNote::SpawnFailed { slot, .. }) => {
                add_one(&mut self.spawn_failures);
                self.last.insert(*slot, Last { pid: None, failed: true });
            }
            Note::Init(InitNote::OrphanReaped { .. }) => add_one(&mut self.orphans),
            Note::Pool(PoolNote::Scaled { workers, .. }) => self.last.retain(|slot, _| slot < workers),
            Note::Pool(PoolNote::ShutdownStarted { .. }) => {
                self.stop_began = Some(now);
                self.end_reload(Reloaded::Overtaken);
            }
            Note::Signal(SignalNote::Received(received)) => self.received.add(received.signal),
            Note::Signal(SignalNote::Forwarded { signal, .. }) => self.forwarded.add(*signal),
            // Said by another, or by a gauge.
            Note::Init(_) | Note::Pool(_) | Note::Signal(_) => {}
        }
    }

    fn worker(&mut self, now: Monotonic, worker: WorkerRef, note: &WorkerNote) {
        match *note {
            WorkerNote::Spawned { .. } => self.spawned(worker),
            WorkerNote::Ready { after, .. } => self.ready.observe(after),
            WorkerNote::Draining { .. } => {
                self.draining.insert(worker.pid, now);
            }
            WorkerNote::Stopping { .. } => {
                if let Some(since) = self.draining.remove(&worker.pid) {
                    self.drain.observe(now.since(since));
                }
                self.stopping.insert(worker.pid, now);
            }
            WorkerNote::Killed { reason } => self.kills.add(reason),
            WorkerNote::Exited { reason, .. } => self.exited(now, worker, reason),
            WorkerNote::Hung { sign } => {
                self.hung.add(sign);
                self.has_failed(worker, true);
            }
            WorkerNote::Suspected { verdict: Verdict::Alive } => self.has_failed(worker, false),
            WorkerNote::StoppedAccepting => add_one(&mut self.stopped_accepting),
            _ => {}
        }
    }

    fn reload(&mut self, note: &ReloadNote) {
        match note {
            ReloadNote::Started => {
                self.end_reload(Reloaded::Overtaken);
                self.reloading = true;
            }
            ReloadNote::Resumed => self.reloading = true,
            ReloadNote::Finished { .. } => self.end_reload(Reloaded::Finished),
            ReloadNote::Failed { .. } => self.end_reload(Reloaded::Failed),
            ReloadNote::Refused => self.reloads.add(Reloaded::Refused),
            ReloadNote::Confirmed | ReloadNote::Paused { .. } => {}
        }
    }

    /// A worker ends that has served so many requests, as far as it is known.
    pub fn served(&mut self, requests: Option<u64>) {
        if let Some(requests) = requests {
            self.served = Some(self.served.unwrap_or(0).saturating_add(requests));
        }
    }

    fn spawned(&mut self, worker: WorkerRef) {
        add_one(&mut self.spawns);
        let next = Last { pid: Some(worker.pid), failed: false };
        if self.last.insert(worker.slot, next).is_some_and(|last| last.failed) {
            add_one(&mut self.restarts);
        }
    }

    fn exited(&mut self, now: Monotonic, worker: WorkerRef, reason: Reason) {
        self.exits.add(reason);
        self.draining.remove(&worker.pid);
        if let Some(since) = self.stopping.remove(&worker.pid) {
            self.stop.observe(now.since(since));
        }
        if reason.is_failure() {
            self.has_failed(worker, true);
        }
    }

    /// Somebody who has a successor already needs none. Of one that another program has started we know nothing.
    fn has_failed(&mut self, worker: WorkerRef, failed: bool) {
        let last = self.last.entry(worker.slot).or_insert(Last { pid: Some(worker.pid), failed });
        if last.pid == Some(worker.pid) {
            last.failed = failed;
        }
    }

    fn end_reload(&mut self, result: Reloaded) {
        if std::mem::take(&mut self.reloading) {
            self.reloads.add(result);
        }
    }
}

fn add_one(count: &mut u64) {
    *count = count.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::exit::Exit;
    use crate::core::limits::Limits;
    use crate::core::note::ReadyBy;
    use crate::core::signal::Received;
    use std::time::Duration;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(Duration::from_secs(seconds))
    }

    fn worker(slot: u32, pid: i32) -> WorkerRef {
        WorkerRef { slot, generation: 1, pid: Pid(pid) }
    }

    fn spawned(slot: u32, pid: i32) -> Note {
        let worker = worker(slot, pid);
        Note::Worker(worker, WorkerNote::Spawned { limits: Limits::default() })
    }

    fn exited(slot: u32, pid: i32, reason: Reason) -> Note {
        let (exit, uptime) = (Exit::Code(1), Duration::ZERO);
        Note::Worker(worker(slot, pid), WorkerNote::Exited { exit, reason, uptime })
    }

    fn counted(notes: &[Note]) -> Counts {
        let mut counts = Counts::default();
        notes.iter().for_each(|note| counts.note(at(0), note));
        counts
    }

    fn of<K: Copy + PartialEq>(tally: &Tally<K>, key: K) -> u64 {
        tally.each().find(|(known, _)| *known == key).unwrap().1
    }

    #[test]
    fn a_restart_is_a_spawn_after_a_failure_of_the_same_slot() {
        let crash = |pid| exited(0, pid, Reason::Crash);
        assert_eq!(counted(&[spawned(0, 1), spawned(1, 2)]).restarts, 0);
        assert_eq!(counted(&[spawned(0, 1), crash(1), spawned(0, 2), crash(2), spawned(0, 3)]).restarts, 2);
        assert_eq!(counted(&[spawned(0, 1), crash(1), spawned(1, 2)]).restarts, 0, "another slot");
        let recycled = exited(0, 1, Reason::MaxAge);
        assert_eq!(counted(&[spawned(0, 1), recycled, spawned(0, 2)]).restarts, 0);
        assert_eq!(
            counted(&[spawned(0, 1), spawned(0, 2), crash(1), spawned(0, 3)]).restarts,
            0,
            "it had one"
        );
        assert_eq!(counted(&[crash(7), spawned(0, 8)]).restarts, 1, "started by the program before us");
    }

    #[test]
    fn the_successor_of_a_hung_worker_is_a_restart_once() {
        let hung = Note::Worker(worker(0, 1), WorkerNote::Hung { sign: Sign::Probe });
        let alive = Note::Worker(worker(0, 1), WorkerNote::Suspected { verdict: Verdict::Alive });
        let exit = exited(0, 1, Reason::Hung);
        let counts = counted(&[spawned(0, 1), hung.clone(), spawned(0, 2), exit, spawned(0, 3)]);
        assert_eq!(
            (counts.restarts, of(&counts.hung, Sign::Probe), of(&counts.exits, Reason::Hung)),
            (1, 1, 1)
        );
        assert_eq!(counted(&[spawned(0, 1), hung, alive, spawned(0, 2)]).restarts, 0);
    }

    #[test]
    fn slots_that_are_gone_are_forgotten() {
        let scaled = |workers| Note::Pool(PoolNote::Scaled { workers, from: 2 });
        let notes =
            [spawned(0, 1), spawned(1, 2), exited(1, 2, Reason::Crash), scaled(1), scaled(2), spawned(1, 3)];
        let counts = counted(&notes);
        assert_eq!((counts.restarts, counts.last.len()), (0, 2));
    }

    #[test]
    fn spans_are_from_draining_to_the_stop_signal_and_from_there_to_the_end() {
        let mut counts = Counts::default();
        let (reason, signal) = (Reason::Reload, Signal::TERM);
        counts.note(
            at(0),
            &Note::Worker(
                worker(0, 1),
                WorkerNote::Ready { by: ReadyBy::Notified, after: Duration::from_secs(3) },
            ),
        );
        counts.note(at(10), &Note::Worker(worker(0, 1), WorkerNote::Draining { reason }));
        counts.note(at(14), &Note::Worker(worker(0, 1), WorkerNote::Stopping { reason, signal }));
        counts.note(at(16), &Note::Worker(worker(0, 1), WorkerNote::Killed { reason }));
        counts.note(at(16), &exited(0, 1, reason));
        let spans = [&counts.ready, &counts.drain, &counts.stop];
        assert_eq!(spans.map(|span| (span.count(), span.sum())), [(1, 3.0), (1, 4.0), (1, 2.0)]);
        assert_eq!(of(&counts.kills, reason), 1);
        // One that ends by itself meanwhile was not told to stop.
        counts.note(at(20), &Note::Worker(worker(0, 2), WorkerNote::Draining { reason }));
        counts.note(at(21), &exited(0, 2, reason));
        assert_eq!((counts.drain.count(), counts.stop.count()), (1, 1));
        assert!(counts.draining.is_empty() && counts.stopping.is_empty());
    }

    #[test]
    fn every_reload_ends_once() {
        let started = |generation| Note::Reload(generation, ReloadNote::Started);
        let failed = Note::Reload(3, ReloadNote::Failed { reason: Reason::BootError });
        let shutdown =
            Note::Pool(PoolNote::ShutdownStarted { signal: Signal::TERM, drain_delay: Duration::ZERO });
        let counts = counted(&[started(2), started(3), failed, started(4), shutdown.clone(), shutdown]);
        let results: Vec<_> = counts.reloads.each().map(|(result, count)| (result.name(), count)).collect();
        assert_eq!(results, [("finished", 0), ("failed", 1), ("overtaken", 2), ("refused", 0)]);
        assert!(!counts.reloading && counted(&[started(2)]).reloading);
        // One that goes on after it was overtaken ends twice.
        let failed = Note::Reload(3, ReloadNote::Failed { reason: Reason::BootError });
        let resumed = [started(2), started(3), failed, Note::Reload(2, ReloadNote::Resumed)];
        assert!(counted(&resumed).reloading);
        let finished = Note::Reload(2, ReloadNote::Finished { took: Duration::ZERO });
        let counts = counted(&[&resumed[..], &[finished]].concat());
        let results: Vec<_> = counts.reloads.each().map(|(_, count)| count).collect();
        assert_eq!((results, counts.reloading), (vec![1, 1, 1, 0], false));
    }

    #[test]
    fn signals_orphans_and_failed_starts_are_counted() {
        let received = |signal| Note::Signal(SignalNote::Received(Received::plain(signal)));
        let failure = crate::core::event::SpawnFailure { step: "execute", errno: 2, code: 127 };
        let counts = counted(&[
            received(Signal::HUP),
            received(Signal::HUP),
            Note::Signal(SignalNote::Forwarded { signal: Signal::QUIT, came: Signal::TERM }),
            Note::Init(InitNote::OrphanReaped { pid: Pid(9), exit: Exit::Code(0), warn: false }),
            Note::Init(InitNote::SpawnFailed { slot: 0, failure }),
            spawned(0, 1),
        ]);
        assert_eq!((of(&counts.received, Signal::HUP), of(&counts.received, Signal::TERM)), (2, 0));
        assert_eq!((of(&counts.forwarded, Signal::QUIT), counts.orphans), (1, 1));
        assert_eq!((counts.spawn_failures, counts.spawns, counts.restarts), (1, 1, 1));
    }
}
