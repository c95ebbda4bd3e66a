//! A stable place in the pool: one worker, sometimes a successor beside it, sometimes a retiring one.
//!
//! ```text
//!  seat:  Vacant{spawn_at} ──spawn──▶ Taken(worker) ──exit──▶ Vacant
//!
//!  a planned replacement, make before break:
//!     seat: old, ready and due          seat: old                seat: new                seat: new
//!     successor: -              ──▶     successor: new    ──▶    retiring: old     ──▶    retiring: -
//!                                       (starting)               (new is ready)           (old is reaped)
//! ```

use super::action::{Action, ReadyBy};
use super::backoff::Backoff;
use super::event::{Pid, SpawnId};
use super::policy::PoolPolicy;
use super::time::{Monotonic, earlier};
use super::worker::{Life, Worker};

/// One slot.
#[derive(Clone, Debug)]
pub struct Slot {
    pub seat: Seat,
    /// The replacement that is not ready yet.
    pub successor: Option<Worker>,
    /// The replaced worker that has not been reaped yet.
    pub retiring: Option<Worker>,
    /// No replacement is tried before this: the last one failed, or has only just come.
    pub retry_at: Monotonic,
    /// Nobody at all is spawned before this: two spawns keep a gap.
    pub gap_until: Monotonic,
    pub backoff: Backoff,
}

/// Who serves for a slot.
#[derive(Clone, Debug)]
pub enum Seat {
    /// Nobody.
    Vacant {
        /// When to spawn.
        spawn_at: Monotonic,
    },
    /// A worker, ready or not.
    Taken(Worker),
}

/// Which of a slot's workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Seat,
    Successor,
    Retiring,
}

impl Slot {
    /// A slot to be filled at once.
    pub fn new() -> Self {
        Self {
            seat: Seat::Vacant { spawn_at: Monotonic::default() },
            successor: None,
            retiring: None,
            retry_at: Monotonic::default(),
            gap_until: Monotonic::default(),
            backoff: Backoff::default(),
        }
    }

    pub fn seated(&self) -> Option<&Worker> {
        match &self.seat {
            Seat::Taken(worker) => Some(worker),
            Seat::Vacant { .. } => None,
        }
    }

    fn seated_mut(&mut self) -> Option<&mut Worker> {
        match &mut self.seat {
            Seat::Taken(worker) => Some(worker),
            Seat::Vacant { .. } => None,
        }
    }

    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.seated().into_iter().chain(&self.successor).chain(&self.retiring)
    }

    pub fn workers_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        let seated = match &mut self.seat {
            Seat::Taken(worker) => Some(worker),
            Seat::Vacant { .. } => None,
        };
        seated.into_iter().chain(&mut self.successor).chain(&mut self.retiring)
    }

    pub fn at(&self, place: Place) -> Option<&Worker> {
        match place {
            Place::Seat => self.seated(),
            Place::Successor => self.successor.as_ref(),
            Place::Retiring => self.retiring.as_ref(),
        }
    }

    pub fn at_mut(&mut self, place: Place) -> Option<&mut Worker> {
        match place {
            Place::Seat => self.seated_mut(),
            Place::Successor => self.successor.as_mut(),
            Place::Retiring => self.retiring.as_mut(),
        }
    }

    fn place_where(&self, wanted: impl Fn(&Worker) -> bool) -> Option<Place> {
        [Place::Seat, Place::Successor, Place::Retiring]
            .into_iter()
            .find(|&place| self.at(place).is_some_and(&wanted))
    }

    /// Where the process with this pid is, if it is of this slot.
    pub fn place_of(&self, pid: Pid) -> Option<Place> {
        self.place_where(|worker| worker.pid() == Some(pid))
    }

    /// Where the unanswered spawn with this id is, if it is of this slot.
    pub fn place_of_spawn(&self, id: SpawnId) -> Option<Place> {
        self.place_where(|worker| worker.id == id && matches!(worker.life, Life::Spawning))
    }

    /// Whether a replacement is under way: one worker more than wanted may be alive.
    pub fn is_replacing(&self) -> bool {
        self.successor.is_some() || self.retiring.is_some()
    }

    /// Since when its worker waits for a replacement that may be tried now.
    pub fn replaceable_since(&self, now: Monotonic) -> Option<Monotonic> {
        match self.seated()?.life {
            Life::Ready { due: Some((_, since)), .. } if !self.is_replacing() && self.retry_at <= now => {
                Some(since)
            }
            Life::Spawning
            | Life::Starting { .. }
            | Life::Ready { .. }
            | Life::Stopping { .. }
            | Life::Killed { .. } => None,
        }
    }

    /// The worker in `place` is ready. If it is the successor, the old one makes way.
    pub fn become_ready(
        &mut self,
        place: Place,
        now: Monotonic,
        by: ReadyBy,
        policy: &PoolPolicy,
        out: &mut Vec<Action>,
    ) {
        let Some(worker) = self.at_mut(place) else { return };
        worker.become_ready(now, by, out);
        if place != Place::Successor || !worker.is_ready() {
            return;
        }
        let Some(successor) = self.successor.take() else { return };
        if let Seat::Taken(mut old) = std::mem::replace(&mut self.seat, Seat::Taken(successor)) {
            self.backoff.served(old.served(now));
            if let Life::Ready { due: Some((reason, _)), .. } = old.life {
                old.stop(reason, policy.stop.graceful.deadline(now), policy, out);
            }
            self.retiring = Some(old);
        }
    }

    /// Does what is due by the clock.
    pub fn tick(&mut self, now: Monotonic, policy: &PoolPolicy, out: &mut Vec<Action>) {
        for place in [Place::Seat, Place::Successor, Place::Retiring] {
            if let Some(by) = self.at_mut(place).and_then(|worker| worker.tick(now, policy, out)) {
                self.become_ready(place, now, by, policy, out);
                // A worker can be due the moment it is ready.
                self.at_mut(Place::Seat).and_then(|worker| worker.tick(now, policy, out));
            }
        }
    }

    /// When [`tick`](Self::tick) has something to do.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.workers().fold(None, |soonest, worker| earlier(soonest, worker.next_deadline()))
    }
}
