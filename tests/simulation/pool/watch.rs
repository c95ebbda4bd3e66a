//! What a worker has shown of itself: whether it lives, and how much it takes.

use super::book::{Book, Worker};
use prefork_core::event::Measured;
use prefork_core::note::{Sign, Verdict, WorkerNote, WorkerRef};
use prefork_core::{Monotonic, Note, Pid};
use std::time::Duration;

const PROBE_STARTING: Duration = Duration::from_millis(100);
const WEIGH_EVERY: Duration = Duration::from_millis(900);

/// The clocks that run against a worker.
#[derive(Default)]
pub struct Watch {
    /// Since when it is known to hang.
    pub hung: Option<Monotonic>,
    /// Its queue stands still.
    pub suspected: bool,
    /// How often it has to ping, and by when next.
    pub pings: Option<Duration>,
    pub ping_by: Option<Monotonic>,
    /// When it is probed next; not while a probe is under way.
    pub probe_at: Option<Monotonic>,
    failures: u32,
    waiting: u32,
    still_since: Option<Monotonic>,
}

impl Worker {
    pub fn named(&self) -> WorkerRef {
        WorkerRef { slot: self.order.slot, generation: self.order.generation, pid: self.pid }
    }
}

impl Book {
    /// The clocks of a worker that is ready from now on.
    pub fn watch_from(&mut self, now: Monotonic, pid: Pid) {
        let hang = self.policy.hang;
        if let Ok(worker) = self.worker(pid) {
            let pings = hang.watchdog.map(|every| worker.watch.pings.unwrap_or(every));
            worker.watch = Watch {
                pings,
                ping_by: pings.map(|every| now + every),
                probe_at: hang.probe.map(|probe| now + probe.interval),
                ..Watch::default()
            };
        }
    }

    pub fn pinged(&mut self, now: Monotonic, pid: Pid) {
        let Some(worker) = self.live.iter_mut().find(|w| w.pid == pid && w.is_up()) else { return };
        worker.watch.ping_by = worker.watch.pings.map(|every| now + every);
        if worker.watch.pings.is_some() && worker.watch.hung.is_some() {
            self.lives(pid);
        }
    }

    pub fn watchdog_set(&mut self, now: Monotonic, pid: Pid, every: Duration) {
        let Ok(worker) = self.worker(pid) else { return };
        if worker.starts() {
            worker.watch.pings = Some(every);
        } else if worker.is_up() && worker.watch.pings.is_some() {
            worker.watch.pings = Some(every);
            worker.watch.ping_by = worker.watch.ping_by.map(|_| now + every);
        }
    }

    pub fn probed(&mut self, now: Monotonic, pid: Pid, passed: Option<bool>) {
        let (asks, policy) = (self.policy.ready.probe, self.policy.hang.probe);
        let Ok(worker) = self.worker(pid) else { return };
        if worker.starts() {
            worker.watch.probe_at = Some(now + PROBE_STARTING);
            self.expected.ready = (asks && passed == Some(true)).then_some(pid);
            return;
        }
        let Some(policy) = policy.filter(|_| worker.is_up()) else { return };
        let watch = &mut worker.watch;
        watch.probe_at = Some(now + policy.interval);
        if passed == Some(true) {
            watch.failures = 0;
        }
        if passed == Some(false) {
            watch.failures += 1;
            if watch.failures >= policy.failures {
                self.hangs(now, pid, Sign::Probe);
            }
        } else if passed == Some(true) && watch.hung.is_some() {
            self.lives(pid);
        }
    }

    /// That it hangs is to be told in this step.
    pub fn hangs(&mut self, now: Monotonic, pid: Pid, sign: Sign) {
        let Some(worker) = self.live.iter().find(|w| w.pid == pid && w.serves()) else { return };
        // One that leaves owes no sign of life.
        if worker.leaves {
            return;
        }
        // That one is away is known, and no reason to hurt it.
        if worker.accepting.away && matches!(sign, Sign::Probe | Sign::AcceptStall) {
            return;
        }
        let note = Note::Worker(worker.named(), WorkerNote::Hung { sign });
        self.expected.told.push(note);
        self.found_hung(now, pid);
    }

    pub fn found_hung(&mut self, now: Monotonic, pid: Pid) {
        self.expected.portray = Some(pid);
        if let Some(worker) = self.live.iter_mut().find(|w| w.pid == pid) {
            self.expected.lost += usize::from(worker.retired.is_none());
            (worker.watch.hung, worker.watch.ping_by, worker.due) = (Some(now), None, None);
        }
    }

    /// It does not hang, or not any more.
    fn lives(&mut self, pid: Pid) {
        if let Some(worker) = self.live.iter_mut().find(|w| w.pid == pid) {
            if worker.watch.hung.take().is_some() && worker.leaves {
                worker.due = Some((Monotonic::default(), prefork_core::exit::Reason::Stop));
            }
            let note = Note::Worker(worker.named(), WorkerNote::Suspected { verdict: Verdict::Alive });
            self.expected.told.push(note);
        }
    }

    pub fn measured(&mut self, now: Monotonic, pid: Pid, found: Measured) {
        let hard = self.policy.recycle.max_memory_hard;
        let Ok(worker) = self.worker(pid) else { return };
        worker.requests = worker.requests.max(found.requests.unwrap_or(0));
        if let Some(memory) = found.memory {
            let (times, last) = worker.heavy;
            if now.since(last) >= WEIGH_EVERY {
                let beyond = worker.order.limits.memory.is_some_and(|limit| memory > limit);
                worker.heavy = (if beyond { times + 1 } else { 0 }, now);
            }
            if worker.is_up() && hard.is_some_and(|limit| memory > limit) {
                self.expected.too_big = Some(pid);
                return;
            }
        }
        if found.request_overdue {
            self.hangs(now, pid, Sign::RequestDeadline);
        }
        if let (Some(waiting), Some(patience)) = (found.waiting, self.policy.hang.accept_stall) {
            self.queue_measured(now, pid, waiting, patience);
        }
    }

    /// A queue that does not get shorter for so long makes suspect; if it is all the same for as long again without
    /// any new connection, its worker hangs.
    fn queue_measured(&mut self, now: Monotonic, pid: Pid, waiting: u32, patience: Duration) {
        let steered = self.steered.clone();
        let in_turn = |w: &&mut Worker| w.pid == pid && w.is_up() && !w.accepting.away;
        let Some(worker) = self.live.iter_mut().find(in_turn) else { return };
        let gets_more = worker.watch.suspected && steered.contains(&worker.order.lane);
        let named = worker.named();
        let watch = &mut worker.watch;
        let shorter = waiting < watch.waiting;
        watch.waiting = waiting;
        if waiting == 0 {
            watch.still_since = None;
            if std::mem::take(&mut watch.suspected) {
                self.lives(pid);
            }
            return;
        }
        let since = match watch.still_since {
            Some(since) if !shorter && !gets_more => since,
            Some(_) | None => now,
        };
        watch.still_since = Some(since);
        if now.since(since) < patience {
            return;
        }
        if watch.suspected {
            self.hangs(now, pid, Sign::AcceptStall);
        } else {
            (watch.suspected, watch.still_since) = (true, Some(now));
            let verdict = Verdict::Suspected;
            self.expected.told.push(Note::Worker(named, WorkerNote::Suspected { verdict }));
        }
    }
}
