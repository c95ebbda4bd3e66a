//! The life of one worker, from the order to spawn it until it is reaped. It must not know the other workers. What
//! follows from each event is in this table; in every other cell nothing follows.
//!
//! ```text
//!  Spawning ──▶ Starting ──▶ Ready ──▶ Draining ──▶ Stopping ──▶ Killed ──▶ (reaped)
//!                  │           └── hung, or not to be emptied ──▲
//!                  └──────── not wanted, or too late ───────────┘
//! ```
//!
//! | state    | event                   | what follows                                                      |
//! |----------|-------------------------|-------------------------------------------------------------------|
//! | any      | requests reported       | counted; beyond its limit it is due                               |
//! | any      | exited                  | it leaves its place; `ended` tells what that means                |
//! | Spawning | spawned                 | Starting; Stopping at once if it is not wanted any more           |
//! | Spawning | spawn failed            | it leaves its place                                               |
//! | Starting | seen accepting          | Ready                                                             |
//! | Starting | not seen accepting      | another look, after a pause by what this one cost                 |
//! | Starting | cannot be observed      | no more looks                                                     |
//! | Starting | said ready              | Ready at once, or once it had time to be seen                     |
//! | Starting | probe passed            | Ready, where probes are a sign                                    |
//! | Starting | asks for more time      | a later start timeout                                             |
//! | Starting | watchdog set            | kept for when it is ready                                         |
//! | Starting | its life is long enough | Ready, where that is a sign                                       |
//! | Starting | start timeout           | Stopping                                                          |
//! | Starting | drain, stop             | Stopping                                                          |
//! | Ready    | ping, probe passed      | it is not hung any more                                           |
//! | Ready    | no ping, trigger        | hung                                                              |
//! | Ready    | probes failed           | hung, unless it is known to take no connections                   |
//! | Ready    | a request is overdue    | hung                                                              |
//! | Ready    | measured                | due beyond a limit; Stopping beyond the hard one                  |
//! | Ready    | its queue stands still  | no new connections; hung if that does not help                    |
//! | Ready    | says that it stops      | leaving                                                           |
//! | Ready    | something is queued     | a look whether it accepts (`accepting`)                           |
//! | Ready    | seen not to accept      | no new connections; due once it does not come back                |
//! | Ready    | seen to accept again    | as before, and not due for that any more                          |
//! | Ready    | old enough              | due                                                               |
//! | Ready    | drain                   | Draining; Stopping where connections cannot be kept from it       |
//! | Ready    | abort                   | Stopping, with the signal that shows where it hangs               |
//! | Ready    | stop                    | Stopping                                                          |
//! | Draining | queue, connections seen | what it has in hand                                               |
//! | Draining | nothing waits           | the hint to say goodbye, once                                     |
//! | Draining | nothing in hand, or late| Stopping                                                          |
//! | Draining | stop                    | Stopping                                                          |
//! | Stopping | stop                    | the earlier `SIGKILL` of the two                                  |
//! | Stopping | graceful timeout        | Killed, with all of its group                                     |

mod accepting;
mod counting;
mod draining;
mod duty;
mod ended;
mod health;
mod signs;
mod starting;

pub use accepting::Accepting;
pub use draining::Draining;
pub use duty::Duty;
pub use health::Health;
pub use starting::Starting;

use crate::action::{ListenerAction, Recipients};
use crate::note::WorkerNote;
use alloc::vec::Vec;
use counting::Counting;

use super::action::{Action, SpawnOrder, WorkerAction};
use super::event::{Lane, Pid, SpawnId};
use super::exit::Reason;
use super::handover::Kept;
use super::limits::Limits;
use super::note::{Note, ReadyBy, WorkerRef};
use super::policy::PoolPolicy;
use super::signal::Signal;
use super::time::{Monotonic, earlier, reached};
use core::time::Duration;

/// One copy of the command.
#[derive(Clone, Debug)]
pub struct Worker {
    pub id: SpawnId,
    pub slot: u32,
    /// The lowest number that no other living worker had at its spawn.
    pub number: u32,
    pub lane: Lane,
    pub generation: u32,
    pub limits: Limits,
    /// The time of the order, later of the spawn.
    pub spawned: Monotonic,
    /// Requests that it has reported.
    pub requests: u64,
    /// Bytes at the last measurement.
    pub memory: u64,
    /// Consecutive measurements beyond its limit of memory, and the time of the last one.
    heavy: u32,
    weighed: Monotonic,
    /// `None` if it does not have to report requests.
    counting: Option<Counting>,
    /// How long it had been ready when it was stopped before it had a successor.
    served: Duration,
    pub state: WorkerState,
}

#[derive(Clone, Copy, Debug)]
pub enum WorkerState {
    /// The order is given and not answered.
    Spawning,
    /// It runs and is not ready yet.
    Starting(Starting),
    /// It serves.
    Ready { pid: Pid, since: Monotonic, duty: Duty, health: Health, accepting: Accepting },
    /// It receives no new connections and finishes those it has.
    Draining(Draining),
    /// It was sent the stop signal.
    Stopping { pid: Pid, reason: Reason, kill_at: Option<Monotonic> },
    /// It was sent `SIGKILL`.
    Killed { pid: Pid, reason: Reason },
}

impl Worker {
    pub fn new(now: Monotonic, order: &SpawnOrder) -> Self {
        Self {
            id: order.id,
            slot: order.slot,
            number: order.number,
            lane: order.lane,
            generation: order.generation,
            limits: order.limits,
            spawned: now,
            requests: 0,
            memory: 0,
            heavy: 0,
            weighed: now,
            counting: None,
            served: Duration::ZERO,
            state: WorkerState::Spawning,
        }
    }

    /// A worker that was started by the previous program.
    pub fn kept(now: Monotonic, id: SpawnId, kept: &Kept, policy: &PoolPolicy) -> Self {
        let Kept { slot, number, lane, generation, pid, spawned, ready, requests, limits, .. } = *kept;
        let health = Health::new(now, kept.ping_every, &policy.hang);
        let accepting = Accepting::new(now, policy.drain.steered, false);
        let state = WorkerState::Ready { pid, since: ready, duty: Duty::Serving, health, accepting };
        Self {
            id,
            slot,
            number,
            lane,
            generation,
            limits,
            spawned,
            requests,
            memory: 0,
            heavy: 0,
            weighed: now,
            counting: None,
            served: Duration::ZERO,
            state,
        }
    }

    /// `Some` from `Spawned` to `Exited`.
    pub fn pid(&self) -> Option<Pid> {
        match self.state {
            WorkerState::Spawning => None,
            WorkerState::Starting(Starting { pid, .. })
            | WorkerState::Ready { pid, .. }
            | WorkerState::Draining(Draining { pid, .. })
            | WorkerState::Stopping { pid, .. }
            | WorkerState::Killed { pid, .. } => Some(pid),
        }
    }

    pub fn is_ready(&self) -> bool {
        matches!(self.state, WorkerState::Ready { .. })
    }

    /// Whether it is ready or drains.
    pub fn has_served(&self) -> bool {
        matches!(self.state, WorkerState::Ready { .. } | WorkerState::Draining(_))
    }

    /// Whether it is ready and not known to hang.
    pub fn serves(&self) -> bool {
        self.is_ready() && self.hung_since().is_none()
    }

    /// Whether new connections should go to it.
    pub fn is_trusted(&self) -> bool {
        match &self.state {
            WorkerState::Ready { duty, health, accepting, .. } => {
                self.serves() && !duty.leaves() && !health.is_suspected() && !accepting.is_away()
            }
            WorkerState::Spawning
            | WorkerState::Starting(_)
            | WorkerState::Draining(_)
            | WorkerState::Stopping { .. }
            | WorkerState::Killed { .. } => false,
        }
    }

    /// Why and since when it is to be replaced in turn. A hung worker is not: it is stopped at once.
    pub fn due(&self) -> Option<(Reason, Monotonic)> {
        match self.state {
            WorkerState::Ready { duty, .. } => duty.due(),
            WorkerState::Spawning
            | WorkerState::Starting(_)
            | WorkerState::Draining(_)
            | WorkerState::Stopping { .. }
            | WorkerState::Killed { .. } => None,
        }
    }

    /// Since when it is known to hang; `None` also after it was stopped for that.
    pub fn hung_since(&self) -> Option<Monotonic> {
        match self.state {
            WorkerState::Ready { duty, .. } => duty.hung_since(),
            WorkerState::Spawning
            | WorkerState::Starting(_)
            | WorkerState::Draining(_)
            | WorkerState::Stopping { .. }
            | WorkerState::Killed { .. } => None,
        }
    }

    /// How long it has been ready, or had been when it was stopped before it had a successor; zero in other states.
    pub fn served(&self, now: Monotonic) -> Duration {
        match self.state {
            WorkerState::Ready { since, .. } => now.since(since),
            WorkerState::Stopping { .. } | WorkerState::Killed { .. } => self.served,
            WorkerState::Spawning | WorkerState::Starting(_) | WorkerState::Draining(_) => Duration::ZERO,
        }
    }

    pub fn reference(&self, pid: Pid) -> WorkerRef {
        WorkerRef { slot: self.slot, generation: self.generation, pid }
    }

    /// Asks the loop to do something about the worker, if it has a pid.
    pub fn act(&self, act: WorkerAction, out: &mut Vec<Action>) {
        if let Some(pid) = self.pid() {
            out.push(Action::Worker { worker: self.reference(pid), lane: self.lane, act });
        }
    }

    pub fn starting(&mut self) -> Option<&mut Starting> {
        match &mut self.state {
            WorkerState::Starting(starting) => Some(starting),
            WorkerState::Spawning
            | WorkerState::Ready { .. }
            | WorkerState::Draining(_)
            | WorkerState::Stopping { .. }
            | WorkerState::Killed { .. } => None,
        }
    }

    pub fn spawned(
        &mut self,
        now: Monotonic,
        pid: Pid,
        policy: &PoolPolicy,
        probation: Duration,
        out: &mut Vec<Action>,
    ) {
        self.spawned = now;
        self.state = WorkerState::Starting(Starting::new(now, pid, &policy.ready, probation));
        let worker = self.reference(pid);
        out.push(Action::Note(Note::Worker(worker, WorkerNote::Spawned { limits: self.limits })));
    }

    /// The kernel does not show whether it waits for connections.
    pub fn unobservable(&mut self, out: &mut Vec<Action>) {
        if self.starting().is_some_and(Starting::cannot_be_seen)
            && let Some(pid) = self.pid()
        {
            out.push(Action::Note(Note::Worker(self.reference(pid), WorkerNote::Unobservable)));
        }
    }

    /// It is ready. Without effect in any state but `Starting`.
    pub fn become_ready(&mut self, now: Monotonic, by: ReadyBy, policy: &PoolPolicy, out: &mut Vec<Action>) {
        if let WorkerState::Starting(Starting { pid, ping_every, .. }) = self.state {
            let health = Health::new(now, ping_every, &policy.hang);
            let accepting = Accepting::new(now, policy.drain.steered, by == ReadyBy::Accepting);
            self.state = WorkerState::Ready { pid, since: now, duty: Duty::Serving, health, accepting };
            let reports = self.limits.requests.is_some() && !policy.recycle.counted_by_worker;
            self.counting = reports.then(|| Counting::new(now));
            let worker = self.reference(pid);
            out.push(Action::Note(Note::Worker(
                worker,
                WorkerNote::Ready { by, after: now.since(self.spawned) },
            )));
            if policy.drain.listens {
                out.push(Action::Listeners(ListenerAction::Restore { lane: self.lane }));
            }
        }
    }

    /// Looks at it, if it starts and a look is due.
    pub fn look(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let spawned = self.spawned;
        if self.starting().is_some_and(|starting| starting.look(now, spawned)) {
            self.act(WorkerAction::Observe, out);
        }
    }

    /// Looks at its queue and its connections, if it drains and a look is due.
    pub fn look_at_queue(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let WorkerState::Draining(draining) = &mut self.state else { return };
        let (queue, connections) = (draining.checks_queue(now), draining.in_hand.look(now));
        if queue {
            self.act(WorkerAction::CheckQueue, out);
        }
        if let Some(since) = connections {
            self.act(WorkerAction::CheckConnections { since }, out);
        }
    }

    /// Lets it finish the connections that it has, then stops it. It gets no new ones.
    pub fn drain(&mut self, now: Monotonic, reason: Reason, policy: &PoolPolicy, out: &mut Vec<Action>) {
        match self.state {
            WorkerState::Ready { pid, duty, accepting, .. } if policy.drain.steered || policy.drain.told => {
                let worker = self.reference(pid);
                out.push(Action::Note(Note::Worker(worker, WorkerNote::Draining { reason })));
                let draining = Draining::new(now, pid, reason, policy);
                let has_left = accepting.has_closed() || (duty.leaves() && accepting.is_away());
                self.state = WorkerState::Draining(match accepting.is_away() {
                    true if has_left => draining.of_one_that_left(),
                    // Its successor has its listeners.
                    true if policy.drain.shares => draining.without_queue(now),
                    true | false => draining,
                });
                self.tick(now, policy, out);
            }
            WorkerState::Starting(_) | WorkerState::Ready { .. } => {
                self.stop(reason, policy.stop.graceful.deadline(now), policy, out);
            }
            WorkerState::Spawning
            | WorkerState::Draining(_)
            | WorkerState::Stopping { .. }
            | WorkerState::Killed { .. } => {}
        }
    }

    /// Asks it to stop. `SIGCONT` follows, because a stopped process does not see the signal.
    pub fn stop(
        &mut self,
        reason: Reason,
        kill_at: Option<Monotonic>,
        policy: &PoolPolicy,
        out: &mut Vec<Action>,
    ) {
        match &mut self.state {
            WorkerState::Starting(Starting { pid, .. })
            | WorkerState::Ready { pid, .. }
            | WorkerState::Draining(Draining { pid, .. }) => {
                let pid = *pid;
                self.ask(pid, reason, kill_at, policy.stop.signal, out);
            }
            WorkerState::Stopping { kill_at: already, .. } => *already = earlier(*already, kill_at),
            WorkerState::Spawning | WorkerState::Killed { .. } => {}
        }
    }

    /// Sends a hung worker the signal that shows where it hangs, and then ends it.
    pub fn abort(&mut self, now: Monotonic, policy: &PoolPolicy, out: &mut Vec<Action>) {
        if let WorkerState::Ready { pid, .. } = self.state {
            self.served = self.served(now);
            let kill_at = Some(now + policy.hang.abort_time);
            self.ask(pid, Reason::Hung, kill_at, policy.hang.abort_signal, out);
            self.tick(now, policy, out);
        }
    }

    fn ask(
        &mut self,
        pid: Pid,
        reason: Reason,
        kill_at: Option<Monotonic>,
        signal: Signal,
        out: &mut Vec<Action>,
    ) {
        self.state = WorkerState::Stopping { pid, reason, kill_at };
        out.push(Action::Signal { to: Recipients::Process(pid), signal });
        out.push(Action::Signal { to: Recipients::Process(pid), signal: Signal::CONT });
        let worker = self.reference(pid);
        out.push(Action::Note(Note::Worker(worker, WorkerNote::Stopping { reason, signal })));
    }

    /// Does what is due by the clock. Returns the sign by which a starting worker is ready now; the slot makes it
    /// ready.
    pub fn tick(&mut self, now: Monotonic, policy: &PoolPolicy, out: &mut Vec<Action>) -> Option<ReadyBy> {
        let heavy = self.heavy >= policy.recycle.memory_samples.max(1);
        if let Some(reason) = self.limits.due(now, self.spawned, self.requests, heavy) {
            self.becomes_due(now, reason, out);
        }
        match &mut self.state {
            WorkerState::Starting(starting) => {
                if let Some((_, by)) = starting.assumed_ready().filter(|(at, _)| *at <= now) {
                    return Some(by);
                }
                if reached(starting.fail_at, now) {
                    let watched = starting.look_at().is_some();
                    if policy.drain.listens {
                        self.act(WorkerAction::ExplainLateness { watched }, out);
                    }
                    self.stop(Reason::BootTimeout, policy.stop.graceful.deadline(now), policy, out);
                    // The graceful timeout may be zero.
                    return self.tick(now, policy, out);
                }
                if starting.probe(now) {
                    self.act(WorkerAction::Probe, out);
                }
            }
            WorkerState::Ready { health, accepting, .. } => {
                let (probes, watches) = (health.probe(now), accepting.watches_queue(now));
                if probes {
                    self.act(WorkerAction::Probe, out);
                }
                if watches {
                    self.act(WorkerAction::WatchQueue, out);
                }
                let unreported = self.counting.as_mut().filter(|_| self.requests == 0);
                if unreported.is_some_and(|counting| counting.is_due(now)) {
                    self.act(WorkerAction::CheckCounting, out);
                }
            }
            WorkerState::Draining(draining) => {
                let (pid, reason) = (draining.pid, draining.reason);
                let (hints, cut_short) = (draining.hints(), draining.is_cut_short(now));
                let done = cut_short || draining.is_done(now);
                if cut_short {
                    out.push(Action::Note(Note::Worker(self.reference(pid), WorkerNote::DrainCutShort)));
                }
                if hints {
                    self.act(WorkerAction::Hint { signal: policy.drain.hint }, out);
                }
                if done {
                    self.stop(reason, policy.stop.graceful.deadline(now), policy, out);
                    return self.tick(now, policy, out);
                }
            }
            WorkerState::Stopping { pid, reason, kill_at } if reached(*kill_at, now) => {
                let (pid, reason) = (*pid, *reason);
                self.state = WorkerState::Killed { pid, reason };
                out.push(Action::Signal { to: Recipients::Group(pid), signal: Signal::KILL });
                out.push(Action::Note(Note::Worker(self.reference(pid), WorkerNote::Killed { reason })));
            }
            WorkerState::Spawning | WorkerState::Stopping { .. } | WorkerState::Killed { .. } => {}
        }
        None
    }

    pub fn next_deadline(&self) -> Option<Monotonic> {
        match &self.state {
            WorkerState::Starting(starting) => starting.next_deadline(),
            WorkerState::Ready { duty, health, accepting, .. } => {
                let of_age = self.limits.age_deadline(self.spawned).filter(|_| *duty == Duty::Serving);
                let counting = self.counting.filter(|_| self.requests == 0);
                let of_counting = counting.map(|counting| counting.look_at());
                let of_kernel = earlier(health.next_deadline(), accepting.next_deadline());
                earlier(earlier(of_age, of_counting), of_kernel)
            }
            WorkerState::Draining(draining) => draining.next_deadline(),
            WorkerState::Stopping { kill_at, .. } => *kill_at,
            WorkerState::Spawning | WorkerState::Killed { .. } => None,
        }
    }

    /// Whether a deadline runs at which it is stopped or killed.
    pub fn may_be_hurt(&self) -> bool {
        match &self.state {
            WorkerState::Starting(starting) => starting.fail_at.is_some(),
            WorkerState::Ready { health, .. } => health.awaits_ping(),
            WorkerState::Draining(draining) => draining.gives_up(),
            WorkerState::Stopping { kill_at, .. } => kill_at.is_some(),
            WorkerState::Spawning | WorkerState::Killed { .. } => false,
        }
    }
}
