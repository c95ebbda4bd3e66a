//! A stable place in the pool: one worker, and sometimes a successor beside it. It does not know the other slots.
//!
//! ```text
//!  seat:  Vacant{spawn_at, lane} ──spawn──▶ Taken(worker) ──exit──▶ Vacant
//!
//!  a planned replacement, make before break:
//!     seat: old, ready and due          seat: old                seat: new
//!     successor: -              ──▶     successor: new    ──▶    successor: -         the old one retires:
//!                                       (starting)               (new is ready)       it belongs to the pool
//! ```

use crate::action::Action;
use crate::backoff::Backoff;
use crate::event::Lane;
use crate::note::ReadyBy;
use crate::policy::PoolPolicy;
use crate::time::Monotonic;
use crate::worker::Worker;
use alloc::vec::Vec;

#[derive(Clone, Debug)]
pub struct Slot {
    pub seat: Seat,
    /// The replacement that is not ready yet.
    pub successor: Option<Worker>,
    /// The earliest time of the next planned replacement: the last one failed, or has only just come.
    pub retry_at: Monotonic,
    /// The earliest time of the next spawn of any kind.
    pub gap_until: Monotonic,
    pub backoff: Backoff,
    /// Whether the last worker was ended because it hung, and no other has been ready since.
    pub recovers: bool,
}

// Most seats are taken: boxing the worker would buy nothing.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub enum Seat {
    /// No worker.
    Vacant {
        spawn_at: Monotonic,
        /// The lane of the worker that died, in which connections may wait.
        lane: Option<Lane>,
    },
    Taken(Worker),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Seated,
    Successor,
}

impl Slot {
    pub fn new(now: Monotonic) -> Self {
        Self {
            seat: Seat::Vacant { spawn_at: now, lane: None },
            successor: None,
            retry_at: Monotonic::default(),
            gap_until: Monotonic::default(),
            backoff: Backoff::default(),
            recovers: false,
        }
    }

    pub fn seated(&self) -> Option<&Worker> {
        match &self.seat {
            Seat::Taken(worker) => Some(worker),
            Seat::Vacant { .. } => None,
        }
    }

    pub fn seated_mut(&mut self) -> Option<&mut Worker> {
        match &mut self.seat {
            Seat::Taken(worker) => Some(worker),
            Seat::Vacant { .. } => None,
        }
    }

    /// The lane that is kept for the next worker.
    pub fn kept_lane(&self) -> Option<Lane> {
        match self.seat {
            Seat::Vacant { lane, .. } => lane,
            Seat::Taken(_) => None,
        }
    }

    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.seated().into_iter().chain(&self.successor)
    }

    pub fn workers_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        let seated = match &mut self.seat {
            Seat::Taken(worker) => Some(worker),
            Seat::Vacant { .. } => None,
        };
        seated.into_iter().chain(&mut self.successor)
    }

    pub fn at(&self, role: Role) -> Option<&Worker> {
        match role {
            Role::Seated => self.seated(),
            Role::Successor => self.successor.as_ref(),
        }
    }

    pub fn at_mut(&mut self, role: Role) -> Option<&mut Worker> {
        match role {
            Role::Seated => self.seated_mut(),
            Role::Successor => self.successor.as_mut(),
        }
    }

    /// The worker in `role` is ready. A successor takes the seat, and the old worker is returned.
    pub fn become_ready(
        &mut self,
        role: Role,
        now: Monotonic,
        by: ReadyBy,
        policy: &PoolPolicy,
        out: &mut Vec<Action>,
    ) -> Option<Worker> {
        let worker = self.at_mut(role)?;
        worker.become_ready(now, by, policy, out);
        if !worker.is_ready() {
            return None;
        }
        self.recovers = false;
        self.backoff.has_ready();
        if role == Role::Seated {
            return None;
        }
        let successor = self.successor.take()?;
        let kept = core::mem::replace(&mut self.seat, Seat::Taken(successor));
        let Seat::Taken(old) = kept else { return None };
        self.backoff.served(old.served(now));
        Some(old)
    }
}
