//! What has happened, entered from events.

use super::super::dice::MS;
use super::backoff::{Backoff, Window};
use prefork_init::core::action::{Note, ReadyBy, SpawnOrder};
use prefork_init::core::event::{SpawnFailure, SpawnId};
use prefork_init::core::exit::{Exit, Reason};
use prefork_init::core::policy::PoolPolicy;
use prefork_init::core::{Event, Monotonic, Pid, Signal};
use std::time::Duration;

pub const SPAWN_GAP: Duration = Duration::from_millis(100);
pub const HURRIED: Duration = Duration::from_secs(5);
pub const MARGIN: Duration = Duration::from_secs(5);

/// The longest pause between two looks at a starting worker.
pub const LOOK_RARELY: Duration = Duration::from_millis(100);

/// A look is followed by a pause so many times as long, if that is less.
const LOOK_SHARE: u32 = 20;

/// A worker from `Spawned` to `Exited`.
pub struct Worker {
    pub pid: Pid,
    pub order: SpawnOrder,
    pub spawned: Monotonic,
    pub max_age: Option<Duration>,
    pub announced: bool,
    pub said_ready: Option<Monotonic>,
    pub refused: bool,
    pub looked: Option<Monotonic>,
    /// The last look was cut short.
    pub more: bool,
    /// The pause that the last look has earned.
    pub pause_until: Monotonic,
    pub ready: Option<(Monotonic, ReadyBy)>,
    pub requests: u64,
    pub due: Option<(Monotonic, Reason)>,
    pub stopped: Option<(Monotonic, Reason)>,
    pub continued: bool,
    pub killed: bool,
}

impl Worker {
    pub fn starts(&self) -> bool {
        self.ready.is_none() && self.stopped.is_none()
    }

    pub fn serves(&self) -> bool {
        self.ready.is_some() && self.stopped.is_none()
    }

    /// It made way for its successor.
    pub fn retires(&self) -> bool {
        matches!(self.stopped, Some((_, Reason::MaxRequests | Reason::MaxAge)))
    }
}

#[derive(Default)]
pub struct Slot {
    pub last_spawn: Option<Monotonic>,
    pub backoff: Backoff,
    /// When the next worker may come if the slot has none.
    pub vacancy: Window,
    /// When the next successor may come.
    pub retry: Window,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Unstarted,
    Running,
    Draining {
        until: Monotonic,
    },
    /// `orphans_by`: when those that no worker answers for are asked to stop.
    Ending {
        kill_by: Option<Monotonic>,
        orphans_by: Option<Monotonic>,
    },
    Killing {
        last: Monotonic,
        leave_by: Monotonic,
    },
}

/// What the event of a step obliges the core to do in this very step.
#[derive(Default)]
pub struct Expected {
    pub exited: Option<(Pid, Reason)>,
    /// The stop signal and `SIGCONT` for the group of a worker that has just ended: how many have come.
    pub group_asked: Option<(Pid, u8)>,
    pub spawned: Option<Pid>,
    pub ready: Option<Pid>,
    pub spawn_failed: Option<u32>,
    /// The signal that came is none of those that stop.
    pub passed_over: Option<Note>,
    /// A worker that served has ended.
    pub lost_serving: bool,
    /// No child is left at all.
    pub childless: bool,
}

pub struct Book {
    pub policy: PoolPolicy,
    pub stage: Stage,
    /// The slot of the crash loop.
    pub gave_up: Option<u32>,
    pub stops: Vec<Monotonic>,
    pub stop_signals: usize,
    pub orphans_asked: bool,
    pub slots: Vec<Slot>,
    pub live: Vec<Worker>,
    pub pending: Option<SpawnOrder>,
    pub last_id: Option<SpawnId>,
    /// Groups whose leader is gone, and when they are killed.
    pub remains: Vec<(Pid, Option<Monotonic>)>,
    /// Groups whose leader ended while everything ended.
    pub groups_asked: Vec<Pid>,
    pub first_failure: Option<SpawnFailure>,
    pub ever_spawned: bool,
    pub pool_ready: bool,
    pub end_was_told: bool,
    pub expected: Expected,
    pub exit: Option<u8>,
}

impl Book {
    pub fn new(policy: PoolPolicy) -> Self {
        Self {
            slots: (0..policy.workers).map(|_| Slot::default()).collect(),
            policy,
            stage: Stage::Unstarted,
            gave_up: None,
            stops: Vec::new(),
            stop_signals: 0,
            orphans_asked: false,
            live: Vec::new(),
            pending: None,
            last_id: None,
            remains: Vec::new(),
            groups_asked: Vec::new(),
            first_failure: None,
            ever_spawned: false,
            pool_ready: false,
            end_was_told: false,
            expected: Expected::default(),
            exit: None,
        }
    }

    pub fn serving(&self) -> usize {
        self.live.iter().filter(|w| w.serves()).count()
    }

    pub fn most_alive(&self) -> usize {
        (self.policy.workers + self.policy.max_surge) as usize
    }

    pub fn slot(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    pub fn in_slot(&self, slot: u32) -> impl Iterator<Item = &Worker> {
        self.live.iter().filter(move |w| w.order.slot == slot)
    }

    /// The slot's worker, or its successor where that is all there is.
    pub fn holder(&self, slot: u32) -> Option<&Worker> {
        self.in_slot(slot).find(|w| !w.retires())
    }

    /// Enters an event.
    pub fn take_in(&mut self, now: Monotonic, event: Event) {
        self.expected = Expected::default();
        match event {
            Event::Started => {
                if self.stage == Stage::Unstarted {
                    self.stage = Stage::Running;
                }
            }
            Event::Signalled(received) => self.received(now, received.signal),
            Event::Spawned { id, pid } => {
                if let Some(order) = self.pending.take_if(|order| order.id == id) {
                    self.spawned(now, order, pid);
                }
            }
            Event::SpawnFailed { id, failure } => {
                if let Some(order) = self.pending.take_if(|order| order.id == id) {
                    self.expected.spawn_failed = Some(order.slot);
                    if self.ever_spawned {
                        self.ended(now, order.slot, Some(Failure::Other));
                    } else {
                        self.first_failure = Some(failure);
                    }
                }
            }
            Event::Exited { pid, exit } => self.exited(now, pid, exit),
            Event::Stopped { .. } | Event::StopRefused => {}
            Event::Reaped { children_left } => self.expected.childless = !children_left,
            Event::SaidReady { pid } => {
                let observing = self.policy.ready.observe;
                if let Some(worker) = self.starting(pid) {
                    worker.said_ready.get_or_insert(now);
                    let believed = !observing || worker.refused;
                    self.expected.ready = believed.then_some(pid);
                }
            }
            Event::SeenAccepting { pid } => {
                self.expected.ready = self.starting(pid).map(|worker| worker.pid);
            }
            Event::NotSeenAccepting { pid, took, more } => {
                if let Some(worker) = self.starting(pid) {
                    worker.more = more;
                    if more {
                        let pause = took.saturating_mul(4).clamp(MS, LOOK_RARELY);
                        worker.pause_until = now + pause;
                    } else {
                        worker.pause_until = now + took.saturating_mul(LOOK_SHARE).min(LOOK_RARELY);
                    }
                }
            }
            Event::ObservationRefused { pid } => {
                if let Some(worker) = self.starting(pid) {
                    worker.refused = true;
                    self.expected.ready = worker.said_ready.map(|_| pid);
                }
            }
            Event::RequestsReported { pid, total } => {
                if let Some(worker) = self.live.iter_mut().find(|w| w.pid == pid) {
                    worker.requests = worker.requests.max(total);
                }
            }
            Event::DeadlinePassed => {}
        }
        if matches!(self.stage, Stage::Draining { until } if until <= now) {
            self.begin_ending(now, None);
        }
    }

    pub fn starting(&mut self, pid: Pid) -> Option<&mut Worker> {
        self.live.iter_mut().find(|w| w.pid == pid && w.starts())
    }

    fn received(&mut self, now: Monotonic, came: Signal) {
        let rules = self.policy.rewrites.rules();
        let name = rules.iter().find(|rule| rule.from == came).map_or(Some(came), |rule| rule.to);
        match name {
            None => self.expected.passed_over = Some(Note::SignalDropped { signal: came }),
            Some(signal) if [Signal::TERM, Signal::INT, Signal::QUIT].contains(&signal) => {
                self.asked_to_stop(now, signal);
            }
            Some(signal) => self.expected.passed_over = Some(Note::SignalIgnored { signal }),
        }
    }

    fn asked_to_stop(&mut self, now: Monotonic, signal: Signal) {
        self.stop_signals += 1;
        match &mut self.stage {
            Stage::Unstarted | Stage::Running => {
                let delay = if signal == Signal::TERM { self.policy.drain_delay } else { Duration::ZERO };
                self.stage = Stage::Draining { until: now + delay };
            }
            Stage::Draining { .. } => self.begin_ending(now, Some(HURRIED)),
            Stage::Ending { kill_by, orphans_by } if self.stop_signals >= 2 => {
                let hurried = if self.stop_signals == 2 { now + HURRIED } else { now };
                let by = kill_by.map_or(hurried, |by| by.min(hurried));
                *kill_by = Some(by);
                *orphans_by = Some(now + by.since(now) / 2);
            }
            Stage::Ending { .. } | Stage::Killing { .. } => {}
        }
        self.stops.push(now);
    }

    fn begin_ending(&mut self, now: Monotonic, cap: Option<Duration>) {
        let grace = self.policy.stop.graceful.deadline(now);
        let kill_by = grace.into_iter().chain(cap.map(|cap| now + cap)).min();
        self.stage = Stage::Ending { kill_by, orphans_by: kill_by.map(|by| now + by.since(now) / 2) };
    }

    fn spawned(&mut self, now: Monotonic, order: SpawnOrder, pid: Pid) {
        self.ever_spawned = true;
        // The kernel gives no number away that is still a group's.
        self.remains.retain(|(group, _)| *group != pid);
        self.expected.spawned = Some(pid);
        self.live.push(Worker {
            pid,
            order,
            spawned: now,
            max_age: None,
            announced: false,
            said_ready: None,
            refused: false,
            looked: None,
            more: false,
            pause_until: Monotonic::default(),
            ready: None,
            requests: 0,
            due: None,
            stopped: None,
            continued: false,
            killed: false,
        });
    }

    fn exited(&mut self, now: Monotonic, pid: Pid, exit: Exit) {
        let Some(at) = self.live.iter().position(|w| w.pid == pid) else { return };
        let worker = self.live.remove(at);
        let ending = matches!(self.stage, Stage::Ending { .. });
        if ending || (!worker.killed && !matches!(self.stage, Stage::Killing { .. })) {
            self.expected.group_asked = Some((pid, 0));
            if ending {
                self.groups_asked.push(pid);
            } else {
                self.remains.push((pid, self.policy.stop.graceful.deadline(now)));
            }
        }
        let (reason, failure) = match (worker.stopped, worker.ready) {
            (Some((_, Reason::BootTimeout)), _) => (Reason::BootTimeout, Some(Failure::Other)),
            (Some((_, planned)), _) => (planned, None),
            (None, Some(_)) if exit == Exit::Code(0) && self.policy.recycle.counted_by_worker => {
                (Reason::MaxRequests, None)
            }
            (None, Some(_)) => (Reason::Crash, Some(Failure::Other)),
            (None, None) if matches!(exit, Exit::Code(3 | 4)) => {
                (Reason::BootError, Some(Failure::CannotBoot))
            }
            (None, None) => (Reason::BootError, Some(Failure::Other)),
        };
        self.expected.exited = Some((pid, reason));
        self.expected.lost_serving = worker.serves();
        let slot = worker.order.slot;
        if let Some((since, _)) = worker.ready.filter(|_| worker.serves()) {
            self.slot(slot).backoff.served(now.since(since));
        }
        if !worker.retires() {
            self.ended(now, slot, failure);
        }
    }

    /// A worker of this slot that was not retiring is no more, or could not be started.
    fn ended(&mut self, now: Monotonic, slot: u32, failure: Option<Failure>) {
        if !matches!(self.stage, Stage::Running | Stage::Draining { .. }) {
            return;
        }
        // The one that is left either waits for the successor that has just failed, or was the successor itself.
        let waits = self.holder(slot).map(|left| left.due.is_some());
        let (none_serves, respawn) = (self.serving() == 0, self.policy.respawn);
        let running = self.stage == Stage::Running;
        let backoff = &mut self.slot(slot).backoff;
        let window = match failure {
            Some(failure) => backoff.failed(now, failure == Failure::CannotBoot, &respawn),
            None => Window::at(now),
        };
        match waits {
            Some(true) => self.slot(slot).retry = window,
            Some(false) => {}
            None => {
                let too_often = running && failure.is_some() && backoff.restarts_too_often(now, &respawn);
                self.slot(slot).vacancy = window;
                if too_often && none_serves {
                    self.gave_up = Some(slot);
                    self.begin_ending(now, None);
                }
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    CannotBoot,
    Other,
}
