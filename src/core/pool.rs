//! Pool mode: N slots on shared listeners, and the order in which they come and go.
//!
//! ```text
//!  Unstarted ──▶ Running ──TERM──▶ Draining ──drain delay over──▶ Ending ──nobody left──▶ Gone
//!                   ├──INT, QUIT, no drain delay──────────────────▶│
//!                   └──crash loop─────────────────────────────────▶│
//! ```

mod ending;

use super::action::{Action, Note, ReadyBy, SpawnOrder};
use super::backoff::Failure;
use super::event::{Event, Pid, SpawnFailure, SpawnId};
use super::exit::{Exit, Reason};
use super::policy::PoolPolicy;
use super::recycle::Limits;
use super::remains::Remains;
use super::rng::Rng;
use super::shutdown::Endgame;
use super::signal::{Received, Signal};
use super::slot::{Place, Seat, Slot};
use super::snapshot::{self, Snapshot};
use super::time::{Monotonic, earlier};
use super::worker::{Life, Worker};
use std::time::Duration;

/// What is left of the graceful timeout, at most, after a second stop signal.
const HURRIED_GRACE: Duration = Duration::from_secs(5);

/// Two spawns in one slot are at least this far apart, even when a worker ends by plan at once.
const SPAWN_GAP: Duration = Duration::from_millis(100);

/// Workers of one generation run the same command with the same settings.
const GENERATION: u32 = 1;

/// The state of pool mode.
#[derive(Clone, Debug)]
pub struct Pool {
    policy: PoolPolicy,
    rng: Rng,
    slots: Vec<Slot>,
    remains: Remains,
    phase: Phase,
    /// Stop signals received so far.
    stop_signals: u32,
    ending: Ending,
    next_spawn: u64,
    /// Whether any spawn has ever succeeded.
    ever_spawned: bool,
    /// Whether enough workers have ever been ready.
    ever_ready: bool,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Unstarted,
    Running,
    /// Not ready, still serving.
    Draining {
        until: Monotonic,
    },
    /// Workers are being stopped, then whatever else descends from us.
    Ending {
        endgame: Endgame,
        /// When orphans are asked to stop although there are workers left.
        orphans_at: Option<Monotonic>,
        /// Whether everybody was asked to stop, since no worker was left.
        orphans_asked: bool,
    },
    /// `Exit` has been said.
    Gone,
}

/// What the end will be called.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Ordered,
    GaveUp { slot: u32, restarts: u32 },
}

impl Pool {
    /// A pool with every slot vacant.
    pub fn new(policy: PoolPolicy, seed: u64) -> Self {
        Self {
            slots: (0..policy.workers).map(|_| Slot::new()).collect(),
            policy,
            rng: Rng::new(seed),
            remains: Remains::default(),
            phase: Phase::Unstarted,
            stop_signals: 0,
            ending: Ending::Ordered,
            next_spawn: 0,
            ever_spawned: false,
            ever_ready: false,
        }
    }

    /// See [`Core::step`](super::Core::step).
    pub fn step(&mut self, now: Monotonic, event: Event, out: &mut Vec<Action>) {
        // The loop may be in the middle of a reaping round when `Exit` is said.
        if matches!(self.phase, Phase::Gone) {
            return;
        }
        let woken = matches!(event, Event::Started | Event::DeadlinePassed);
        match event {
            Event::Started => {
                if matches!(self.phase, Phase::Unstarted) {
                    self.phase = Phase::Running;
                }
            }
            Event::DeadlinePassed => {}
            Event::Signalled(received) => self.signalled(now, received, out),
            Event::Spawned { id, pid } => self.spawned(now, id, pid, out),
            Event::SpawnFailed { id, failure } => self.spawn_failed(now, id, failure, out),
            Event::Exited { pid, exit } => self.exited(now, pid, exit, out),
            // A worker that does not move is found by what it does not do.
            Event::Stopped { .. } | Event::StopRefused => {}
            Event::Reaped { children_left } => self.reaped(children_left, out),
            Event::SaidReady { pid } => self.with_worker(pid, |worker| worker.said_ready(now)),
            Event::NotSeenAccepting { pid, took, more } => {
                self.with_worker(pid, |worker| worker.not_seen(now, took, more))
            }
            Event::ObservationRefused { pid } => self.with_worker(pid, |worker| worker.unobservable(out)),
            Event::RequestsReported { pid, total } => {
                self.with_worker(pid, |worker| worker.requests = worker.requests.max(total));
            }
            Event::SeenAccepting { pid } => {
                let policy = &self.policy;
                if let Some((slot, place)) =
                    self.slots.iter_mut().find_map(|s| s.place_of(pid).map(|place| (s, place)))
                {
                    slot.become_ready(place, now, ReadyBy::Accepting, policy, out);
                }
            }
        }
        self.settle(now, out);
        // A spawn holds the loop up until the program is executed, and a look takes its time. So nothing but the
        // clock leads to one: should it be time already, the loop comes at once, but it hears what waits outside
        // first, a TERM too.
        if woken {
            let starting = self.slots.iter_mut().flat_map(Slot::workers_mut);
            let first =
                starting.filter_map(|worker| Some((worker.look_at()?, worker))).min_by_key(|(at, _)| *at);
            if let Some((_, worker)) = first {
                worker.look(now, out);
            }
            if self.serves() {
                self.spawn_one(now, out);
            }
        }
    }

    /// See [`Core::next_deadline`](super::Core::next_deadline).
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let of_phase = match self.phase {
            Phase::Unstarted | Phase::Gone => return None,
            Phase::Running => self.next_spawn_deadline(),
            Phase::Draining { until } => earlier(Some(until), self.next_spawn_deadline()),
            Phase::Ending { endgame, orphans_at, .. } => earlier(endgame.next_deadline(), orphans_at),
        };
        let soonest = earlier(of_phase, self.remains.next_deadline());
        self.slots.iter().fold(soonest, |soonest, slot| earlier(soonest, slot.next_deadline()))
    }

    /// When a vacancy is to be filled, or a replacement may be tried again.
    fn next_spawn_deadline(&self) -> Option<Monotonic> {
        if self.is_spawning() {
            return None;
        }
        let may_replace = self.may_replace() && matches!(self.phase, Phase::Running);
        self.slots.iter().fold(None, |soonest, slot| {
            let spawn_at = match &slot.seat {
                Seat::Vacant { spawn_at } => Some(*spawn_at),
                Seat::Taken(_) => {
                    slot.replaceable_since(slot.retry_at).filter(|_| may_replace).map(|_| slot.retry_at)
                }
            };
            earlier(soonest, spawn_at)
        })
    }

    /// See [`Core::snapshot`](super::Core::snapshot).
    pub fn snapshot(&self) -> Snapshot {
        let phase = match (self.phase, self.ending) {
            (_, Ending::GaveUp { .. }) => snapshot::Phase::GivenUp,
            (Phase::Unstarted | Phase::Running, Ending::Ordered) => snapshot::Phase::Running,
            (Phase::Draining { .. }, Ending::Ordered) => snapshot::Phase::Draining,
            (Phase::Ending { .. } | Phase::Gone, Ending::Ordered) => snapshot::Phase::Stopping,
        };
        Snapshot {
            phase,
            workers: self.policy.workers,
            ready: self.ready(),
            min_ready: self.policy.min_ready,
            started: self.ever_ready,
        }
    }

    /// Slots that are served.
    fn ready(&self) -> u32 {
        let ready = self.slots.iter().filter(|slot| slot.seated().is_some_and(Worker::is_ready)).count();
        u32::try_from(ready).unwrap_or(u32::MAX)
    }

    /// Whether a worker that is lost is replaced: until the stop signal goes out, connections come in.
    fn serves(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Draining { .. })
    }

    fn is_empty(&self) -> bool {
        self.slots.iter().all(|slot| slot.workers().next().is_none())
    }

    fn is_spawning(&self) -> bool {
        self.slots.iter().flat_map(Slot::workers).any(|worker| matches!(worker.life, Life::Spawning))
    }

    fn with_worker(&mut self, pid: Pid, act: impl FnOnce(&mut Worker)) {
        if let Some(worker) = self.slots.iter_mut().flat_map(Slot::workers_mut).find(|w| w.pid() == Some(pid))
        {
            act(worker);
        }
    }

    // What happened

    fn signalled(&mut self, now: Monotonic, received: Received, out: &mut Vec<Action>) {
        out.push(Action::Report(Note::SignalReceived { received }));
        let Some(signal) = self.policy.rewrites.of(received.signal) else {
            out.push(Action::Report(Note::SignalDropped { signal: received.signal }));
            return;
        };
        if ![Signal::TERM, Signal::INT, Signal::QUIT].contains(&signal) {
            out.push(Action::Report(Note::SignalIgnored { signal }));
            return;
        }
        self.stop_signals = self.stop_signals.saturating_add(1);
        match self.phase {
            Phase::Unstarted | Phase::Running => {
                let drain_delay =
                    if signal == Signal::TERM { self.policy.drain_delay } else { Duration::ZERO };
                out.push(Action::Report(Note::ShutdownStarted { signal, drain_delay }));
                // With no delay, `settle` ends the phase at once.
                self.phase = Phase::Draining { until: now + drain_delay };
            }
            Phase::Draining { .. } => {
                out.push(Action::Report(Note::ShutdownHurried { signal }));
                self.begin_ending(now, Some(HURRIED_GRACE), out);
            }
            Phase::Ending { endgame: Endgame::Stopping { .. }, .. } if self.stop_signals >= 2 => {
                out.push(Action::Report(Note::ShutdownHurried { signal }));
                let grace = if self.stop_signals == 2 { HURRIED_GRACE } else { Duration::ZERO };
                self.hasten(now, now + grace, out);
            }
            Phase::Ending { .. } | Phase::Gone => {}
        }
    }

    fn spawned(&mut self, now: Monotonic, id: SpawnId, pid: Pid, out: &mut Vec<Action>) {
        let policy = &self.policy;
        let found = self
            .slots
            .iter_mut()
            .find_map(|slot| slot.place_of_spawn(id).and_then(|place| slot.at_mut(place)));
        let Some(worker) = found else { return };
        self.remains.forget(pid);
        self.ever_spawned = true;
        worker.spawned(now, pid, &policy.ready, out);
        if let Phase::Ending { endgame, .. } = self.phase {
            let kill_at = match endgame {
                Endgame::Stopping { kill_at } => kill_at,
                Endgame::Killing { .. } => Some(now),
            };
            worker.stop(Reason::Stop, kill_at, policy, out);
        }
    }

    fn spawn_failed(&mut self, now: Monotonic, id: SpawnId, failure: SpawnFailure, out: &mut Vec<Action>) {
        let Some((index, place)) = self.find(|slot| slot.place_of_spawn(id)) else { return };
        out.push(Action::Report(Note::SpawnFailed { slot: number(index), failure }));
        if !self.ever_spawned && matches!(self.phase, Phase::Running) {
            // The very first: the command is wrong, and nothing runs that would have to be stopped.
            self.exit(failure.code, out);
            return;
        }
        self.vacate(now, index, place, Some(Failure::Died), out);
        if self.is_empty() && matches!(self.phase, Phase::Ending { .. }) {
            out.push(Action::Reap);
        }
    }

    fn exited(&mut self, now: Monotonic, pid: Pid, exit: Exit, out: &mut Vec<Action>) {
        let Some((index, place)) = self.find(|slot| slot.place_of(pid)) else {
            out.push(Action::Report(Note::OrphanReaped { pid, exit, warn: self.policy.warn_on_reap }));
            return;
        };
        let Some(slot) = self.slots.get_mut(index) else { return };
        let Some(worker) = slot.at(place) else { return };
        let (reason, failure) = worker.ended(exit, self.policy.recycle.counted_by_worker);
        let was_killed = matches!(worker.life, Life::Killed { .. });
        let uptime = now.since(worker.spawned);
        out.push(Action::Report(Note::WorkerExited { worker: worker.reference(pid), exit, reason, uptime }));
        let served = worker.served(now);
        slot.backoff.served(served);
        match self.phase {
            // What is left of its group goes with everything else.
            Phase::Ending { endgame: Endgame::Stopping { .. }, .. } => {
                self.remains.stop_at_the_end(pid, &self.policy.stop, out)
            }
            Phase::Ending { endgame: Endgame::Killing { .. }, .. } | Phase::Gone => {}
            Phase::Unstarted | Phase::Running | Phase::Draining { .. } if was_killed => {}
            Phase::Unstarted | Phase::Running | Phase::Draining { .. } => {
                self.remains.stop(now, pid, &self.policy.stop, out);
            }
        }
        self.vacate(now, index, place, failure, out);
    }

    // What follows

    /// Takes a worker that is no more out of its slot, and decides when the slot is filled again.
    fn vacate(
        &mut self,
        now: Monotonic,
        index: usize,
        place: Place,
        failure: Option<Failure>,
        out: &mut Vec<Action>,
    ) {
        let none_ready = self.ready() == 0 || (self.ready() == 1 && self.is_ready_seat(index, place));
        let (serves, running) = (self.serves(), matches!(self.phase, Phase::Running));
        let Some(slot) = self.slots.get_mut(index) else { return };
        let delay = match failure {
            Some(failure) if serves => slot.backoff.delay_after(failure, &self.policy.respawn, &mut self.rng),
            Some(_) | None => Duration::ZERO,
        };
        match place {
            Place::Retiring => slot.retiring = None,
            Place::Successor => {
                slot.successor = None;
                slot.retry_at = (now + delay).max(slot.gap_until);
            }
            Place::Seat => {
                if let Some(successor) = slot.successor.take() {
                    slot.seat = Seat::Taken(successor);
                    return;
                }
                slot.seat = Seat::Vacant { spawn_at: (now + delay).max(slot.gap_until) };
                if failure.is_none() {
                    return;
                }
                // A pool that is told to stop has no reason to give up.
                let too_many =
                    if running { slot.backoff.count_restart(now, &self.policy.respawn) } else { None };
                if let (Some(restarts), true) = (too_many, none_ready) {
                    self.ending = Ending::GaveUp { slot: number(index), restarts };
                    self.begin_ending(now, None, out);
                    return;
                }
            }
        }
        if !delay.is_zero() {
            let failures = slot.backoff.failures();
            out.push(Action::Report(Note::RespawnDelayed { slot: number(index), delay, failures }));
        }
    }

    fn is_ready_seat(&self, index: usize, place: Place) -> bool {
        place == Place::Seat && self.slots.get(index).and_then(Slot::seated).is_some_and(Worker::is_ready)
    }

    /// Brings the state in line with the clock and with itself. After `Exit` there is nothing to bring in line.
    fn settle(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Gone) {
            return;
        }
        if matches!(self.phase, Phase::Draining { until } if until <= now) {
            self.begin_ending(now, None, out);
        }
        for slot in &mut self.slots {
            slot.tick(now, &self.policy, out);
        }
        self.remains.tick(now, out);
        if !self.ever_ready && self.ready() >= self.policy.min_ready {
            self.ever_ready = true;
            out.push(Action::Report(Note::PoolReady { ready: self.ready() }));
        }
        self.go_on_ending(now, out);
    }

    /// Starts at most one worker; others wait until that is answered.
    fn spawn_one(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if self.is_spawning() {
            return;
        }
        let vacant = self
            .slots
            .iter()
            .position(|slot| matches!(slot.seat, Seat::Vacant { spawn_at } if spawn_at <= now));
        let (index, place) = match vacant {
            Some(index) => (index, Place::Seat),
            None => match self.next_to_replace(now).filter(|_| matches!(self.phase, Phase::Running)) {
                Some(index) => (index, Place::Successor),
                None => return,
            },
        };
        let Some(slot) = self.slots.get_mut(index) else { return };
        let id = SpawnId(self.next_spawn);
        self.next_spawn = self.next_spawn.saturating_add(1);
        let limits = Limits::draw(&self.policy.recycle, &mut self.rng);
        let slot_number = number(index);
        let worker = Worker {
            id,
            slot: slot_number,
            generation: GENERATION,
            limits,
            spawned: now,
            requests: 0,
            life: Life::Spawning,
        };
        match place {
            Place::Seat => slot.seat = Seat::Taken(worker),
            Place::Successor | Place::Retiring => slot.successor = Some(worker),
        }
        slot.gap_until = now + SPAWN_GAP;
        slot.retry_at = slot.retry_at.max(slot.gap_until);
        out.push(Action::Spawn(SpawnOrder {
            id,
            slot: slot_number,
            generation: GENERATION,
            max_requests: limits.requests,
        }));
    }

    /// Whether one replacement more fits the budget.
    fn may_replace(&self) -> bool {
        let under_way = self.slots.iter().filter(|slot| slot.is_replacing()).count();
        u32::try_from(under_way).is_ok_and(|n| n < self.policy.max_surge)
    }

    /// The slot that has waited longest for its replacement, if the budget allows one.
    fn next_to_replace(&self, now: Monotonic) -> Option<usize> {
        if !self.may_replace() {
            return None;
        }
        let waiting = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(i, slot)| slot.replaceable_since(now).map(|since| (since, i)));
        waiting.min().map(|(_, index)| index)
    }

    fn find(&self, place: impl Fn(&Slot) -> Option<Place>) -> Option<(usize, Place)> {
        self.slots.iter().enumerate().find_map(|(index, slot)| place(slot).map(|place| (index, place)))
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
