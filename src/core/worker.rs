//! The life of one worker, from the order to spawn it until it is reaped.
//!
//! ```text
//!  Spawning ──▶ Starting ──▶ Ready ──▶ Stopping ──▶ Killed ──▶ (reaped)
//!                  └───────────────────────┘
//! ```
//! Any state but `Spawning` can end by itself: the worker exits, and its slot decides what follows.

use super::action::{Action, Note, ReadyBy, WorkerRef};
use super::backoff::{CANNOT_BOOT_CODES, Failure};
use super::event::{Pid, SpawnId};
use super::exit::{Exit, Reason};
use super::policy::{PoolPolicy, ReadyPolicy};
use super::recycle::Limits;
use super::signal::Signal;
use super::time::{Monotonic, earlier, reached};
use std::time::Duration;

/// A worker that said `READY=1` and was not seen accepting counts as ready after this long: gunicorn
/// says it before its own workers exist, but a program may also wait in ways that cannot be seen.
const CONFIRM_READY: Duration = Duration::from_secs(5);

/// Looks at a starting worker come this often at first, then every 20th of its age, and at least every `LOOK_RARELY`.
const LOOK_OFTEN: Duration = Duration::from_millis(5);
const LOOK_RARELY: Duration = Duration::from_millis(100);

/// A look is followed by a pause so many times as long, lest looking be all we do.
const LOOK_SHARE: u32 = 20;

/// One that was cut short goes on after a pause so many times as long, and at least this.
const LOOK_ON_SHARE: u32 = 4;
const LOOK_ON: Duration = Duration::from_millis(1);

/// One copy of the command.
#[derive(Clone, Debug)]
pub struct Worker {
    pub id: SpawnId,
    pub slot: u32,
    pub generation: u32,
    /// Drawn once, here, and never again.
    pub limits: Limits,
    /// The moment of the order, then of the spawn.
    pub spawned: Monotonic,
    /// Requests it has told us of.
    pub requests: u64,
    pub life: Life,
}

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug)]
pub enum Life {
    /// Ordered, not answered yet.
    Spawning,
    /// Runs, not ready yet.
    Starting {
        pid: Pid,
        /// When to look at it next, if looking makes sense.
        look_at: Option<Monotonic>,
        /// The least pause between two looks, by what the last one cost.
        look_pause: Duration,
        /// When it said `READY=1`.
        said_at: Option<Monotonic>,
        /// When it has lived long enough to count as ready.
        uptime_at: Option<Monotonic>,
        /// When it is given up.
        fail_at: Option<Monotonic>,
    },
    /// Serves.
    Ready {
        pid: Pid,
        since: Monotonic,
        /// Why and since when it is to be replaced.
        due: Option<(Reason, Monotonic)>,
    },
    /// Has got the stop signal.
    Stopping { pid: Pid, reason: Reason, kill_at: Option<Monotonic> },
    /// Has got `SIGKILL`.
    Killed { pid: Pid, reason: Reason },
}

impl Worker {
    /// The process, from `Spawned` to `Exited`.
    pub fn pid(&self) -> Option<Pid> {
        match self.life {
            Life::Spawning => None,
            Life::Starting { pid, .. }
            | Life::Ready { pid, .. }
            | Life::Stopping { pid, .. }
            | Life::Killed { pid, .. } => Some(pid),
        }
    }

    pub fn is_ready(&self) -> bool {
        matches!(self.life, Life::Ready { .. })
    }

    /// How long it has been ready; zero if it is not.
    pub fn served(&self, now: Monotonic) -> Duration {
        match self.life {
            Life::Ready { since, .. } => now.since(since),
            Life::Spawning | Life::Starting { .. } | Life::Stopping { .. } | Life::Killed { .. } => {
                Duration::ZERO
            }
        }
    }

    pub fn reference(&self, pid: Pid) -> WorkerRef {
        WorkerRef { slot: self.slot, generation: self.generation, pid }
    }

    /// The order was carried out.
    pub fn spawned(&mut self, now: Monotonic, pid: Pid, policy: &ReadyPolicy, out: &mut Vec<Action>) {
        self.spawned = now;
        self.life = Life::Starting {
            pid,
            look_at: policy.observe.then(|| now + LOOK_OFTEN),
            look_pause: Duration::ZERO,
            said_at: None,
            uptime_at: policy.after.map(|after| now + after),
            fail_at: policy.start_timeout.deadline(now),
        };
        out.push(Action::Report(Note::WorkerSpawned {
            worker: self.reference(pid),
            max_requests: self.limits.requests,
            max_age: self.limits.age,
        }));
    }

    /// It said `READY=1`.
    pub fn said_ready(&mut self, now: Monotonic) {
        if let Life::Starting { said_at, .. } = &mut self.life {
            said_at.get_or_insert(now);
        }
    }

    /// When it counts as ready without being seen to accept, and why.
    fn assumed_ready(&self) -> Option<(Monotonic, ReadyBy)> {
        let Life::Starting { look_at, said_at, uptime_at, fail_at, .. } = self.life else { return None };
        // Believed at once where nothing better is to be had, else given time to be seen, but never
        // given up with that word.
        let notified = said_at.map(|said| match look_at {
            Some(_) => (said + CONFIRM_READY).min(fail_at.unwrap_or(said + CONFIRM_READY)),
            None => said,
        });
        let notified = notified.map(|at| (at, ReadyBy::Notified));
        let lived = uptime_at.map(|at| (at, ReadyBy::Uptime));
        notified.into_iter().chain(lived).min_by_key(|(at, _)| *at)
    }

    /// Looks at it, if it is time.
    pub fn look(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let spawned = self.spawned;
        if let Life::Starting { pid, look_at, look_pause, .. } = &mut self.life
            && reached(*look_at, now)
        {
            let pause = (now.since(spawned) / 20).clamp(LOOK_OFTEN, LOOK_RARELY);
            *look_at = Some(now + pause.max(*look_pause));
            out.push(Action::Observe { pid: *pid });
        }
    }

    /// When to look at it next.
    pub fn look_at(&self) -> Option<Monotonic> {
        match self.life {
            Life::Starting { look_at, .. } => look_at,
            Life::Spawning | Life::Ready { .. } | Life::Stopping { .. } | Life::Killed { .. } => None,
        }
    }

    /// A look that took so much processor time did not show it accepting. One that was cut short goes on soon.
    pub fn not_seen(&mut self, now: Monotonic, took: Duration, more: bool) {
        if let Life::Starting { look_at: Some(look_at), look_pause, .. } = &mut self.life {
            if more {
                *look_at = now + took.saturating_mul(LOOK_ON_SHARE).clamp(LOOK_ON, LOOK_RARELY);
            } else {
                *look_pause = took.saturating_mul(LOOK_SHARE).min(LOOK_RARELY);
                *look_at = (*look_at).max(now + *look_pause);
            }
        }
    }

    /// It cannot be seen accepting, ever.
    pub fn unobservable(&mut self, out: &mut Vec<Action>) {
        let reference = self.pid().map(|pid| self.reference(pid));
        if let (Life::Starting { look_at: look_at @ Some(_), .. }, Some(worker)) = (&mut self.life, reference)
        {
            *look_at = None;
            out.push(Action::Report(Note::WorkerUnobservable { worker }));
        }
    }

    /// It is ready. Told once.
    pub fn become_ready(&mut self, now: Monotonic, by: ReadyBy, out: &mut Vec<Action>) {
        if let Life::Starting { pid, .. } = self.life {
            self.life = Life::Ready { pid, since: now, due: None };
            let worker = self.reference(pid);
            out.push(Action::Report(Note::WorkerReady { worker, by, after: now.since(self.spawned) }));
            out.push(Action::RestoreBacklog);
        }
    }

    /// Asks it to stop. `SIGCONT` follows, since a stopped process does not see the signal.
    pub fn stop(
        &mut self,
        reason: Reason,
        kill_at: Option<Monotonic>,
        policy: &PoolPolicy,
        out: &mut Vec<Action>,
    ) {
        match &mut self.life {
            Life::Starting { pid, .. } | Life::Ready { pid, .. } => {
                let (pid, signal) = (*pid, policy.stop.signal);
                self.life = Life::Stopping { pid, reason, kill_at };
                out.push(Action::Signal { pid, signal });
                out.push(Action::Signal { pid, signal: Signal::CONT });
                let worker = self.reference(pid);
                out.push(Action::Report(Note::WorkerStopping { worker, reason, signal }));
            }
            Life::Stopping { kill_at: already, .. } => *already = earlier(*already, kill_at),
            Life::Spawning | Life::Killed { .. } => {}
        }
    }

    /// Does what is due by the clock. Whether it counts as ready from now on is the slot's business.
    pub fn tick(&mut self, now: Monotonic, policy: &PoolPolicy, out: &mut Vec<Action>) -> Option<ReadyBy> {
        if let Some((_, by)) = self.assumed_ready().filter(|(at, _)| *at <= now) {
            return Some(by);
        }
        let (spawned, limits, requests) = (self.spawned, self.limits, self.requests);
        match &mut self.life {
            Life::Starting { fail_at, .. } if reached(*fail_at, now) => {
                self.stop(Reason::BootTimeout, policy.stop.graceful.deadline(now), policy, out);
                // The graceful timeout may be zero.
                return self.tick(now, policy, out);
            }
            Life::Ready { pid, due: due @ None, .. } => {
                if let Some(reason) = limits.due(now, spawned, requests) {
                    *due = Some((reason, now));
                    let pid = *pid;
                    let worker = self.reference(pid);
                    out.push(Action::Report(Note::WorkerDue { worker, reason, requests }));
                }
            }
            Life::Stopping { pid, reason, kill_at } if reached(*kill_at, now) => {
                let (pid, reason) = (*pid, *reason);
                self.life = Life::Killed { pid, reason };
                out.push(Action::SignalGroup { pid, signal: Signal::KILL });
                out.push(Action::Report(Note::WorkerKilled { worker: self.reference(pid), reason }));
            }
            Life::Spawning
            | Life::Starting { .. }
            | Life::Ready { .. }
            | Life::Stopping { .. }
            | Life::Killed { .. } => {}
        }
        None
    }

    /// When [`tick`](Self::tick) has something to do.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        match self.life {
            Life::Starting { look_at, fail_at, .. } => {
                earlier(look_at, earlier(self.assumed_ready().map(|(at, _)| at), fail_at))
            }
            Life::Ready { due: None, .. } => self.limits.age_deadline(self.spawned),
            Life::Stopping { kill_at, .. } => kill_at,
            Life::Spawning | Life::Ready { .. } | Life::Killed { .. } => None,
        }
    }

    /// What its end means.
    pub fn ended(&self, exit: Exit, counted_by_worker: bool) -> (Reason, Option<Failure>) {
        match self.life {
            // We asked for it: whatever it ended with, uvicorn's death by the stop signal too, is as planned.
            Life::Stopping { reason, .. } | Life::Killed { reason, .. } => {
                (reason, (reason == Reason::BootTimeout).then_some(Failure::Died))
            }
            Life::Ready { .. } if counted_by_worker && exit == Exit::Code(0) => (Reason::MaxRequests, None),
            Life::Ready { .. } => (Reason::Crash, Some(Failure::Died)),
            Life::Spawning | Life::Starting { .. } => {
                let says_so = matches!(exit, Exit::Code(code) if CANNOT_BOOT_CODES.contains(&code));
                (Reason::BootError, Some(if says_so { Failure::CannotBoot } else { Failure::Died }))
            }
        }
    }
}
