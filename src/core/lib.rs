//! The policy of prefork-init. It knows no clock, no kernel, no log and no network: the caller passes in what
//! happened and when, and gets back what is to be done.
//!
//! ```text
//!        now, Event ──▶ step ──▶ [Action]          next_deadline ──▶ when to come back
//! ```
//!
//! Rules, held by the simulation in the program's tests:
//! * Pure and total: chance comes only from a seeded generator in the state; there is no panic; a stale event, or one
//!   about an unknown process, is ignored.
//! * A deadline is a field of a state, so it dies with the state. `DeadlinePassed` may come too often; it never does
//!   anything early.
//! * A worker is spawned only after a deadline (or at `Started`), one at a time. `next_deadline` may be in the past
//!   to ask for that at once: the caller first reads what waits outside, a TERM for example.
//! * A pid is in the state from `Spawned` to `Exited`. Nothing else is ever signalled but "all descendants" and "what
//!   is left of a dead worker's group".
//! * The caller carries actions out in order and passes their answers in before it reaps again, so an exit cannot
//!   overtake the report of its own spawn.

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

extern crate alloc;

pub mod action;
mod asks;
pub mod backoff;
pub mod event;
pub mod exit;
pub mod handover;
mod in_hand;
mod init;
mod leftovers;
pub mod limits;
pub mod note;
pub mod policy;
mod pool;
mod queue;
pub mod rng;
pub mod signal;
pub mod snapshot;
mod stop;
pub mod time;
mod worker;

pub use action::Action;
pub use event::{Event, Lane, Pid};
pub use handover::Handover;
pub use limits::Limits;
pub use note::Note;
pub use signal::{Received, Rewrites, Signal};
pub use snapshot::{Progress, Snapshot, Status};
pub use time::{Monotonic, Patience};

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;
use policy::{InitPolicy, PoolPolicy, StopPolicy};

/// The mode of the supervisor, with its rules by default.
// There is one value, so boxing would save nothing.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub enum Mode<I = InitPolicy, P = PoolPolicy> {
    /// Run one command and end as it ends.
    Init(I),
    /// Keep a pool of workers.
    Pool(P),
}

#[derive(Clone, Debug)]
pub struct Core(Machine);

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "an init is small, and there is one")]
enum Machine {
    Init(init::Init),
    /// Boxed: it is ten times as large as an init, and the core is moved while everything is set up.
    Pool(Box<pool::Pool>),
}

impl Core {
    /// A supervisor before its first event. `seed` determines every jitter.
    #[must_use]
    pub fn new(mode: Mode, seed: u64) -> Self {
        Self(match mode {
            Mode::Init(policy) => Machine::Init(init::Init::new(policy)),
            Mode::Pool(policy) => Machine::Pool(Box::new(pool::Pool::new(policy, seed))),
        })
    }

    /// A pool that another program began. Its clock continues from the time of the handover.
    #[must_use]
    pub fn take_over(policy: PoolPolicy, seed: u64, given: &Handover) -> Self {
        Self(Machine::Pool(Box::new(pool::Pool::take_over(policy, seed, given))))
    }

    /// Handles one event and appends the resulting actions, in order.
    pub fn step(&mut self, now: Monotonic, event: Event, out: &mut Vec<Action>) {
        match &mut self.0 {
            Machine::Init(init) => init.step(now, event, out),
            Machine::Pool(pool) => pool.step(now, event, out),
        }
    }

    /// Puts another policy into force, except for what was decided when the listeners were bound. The reload that
    /// follows confirms it or takes it back. Workers keep the limits that were drawn for them.
    pub fn renew(&mut self, policy: PoolPolicy) {
        match &mut self.0 {
            Machine::Init(_) => {}
            Machine::Pool(pool) => pool.renew(policy),
        }
    }

    /// Whether a signal has any effect but a log line.
    #[must_use]
    pub fn acts_on(&self, signal: Signal) -> bool {
        match &self.0 {
            Machine::Init(_) => true,
            Machine::Pool(pool) => pool.acts_on(signal),
        }
    }

    #[must_use]
    pub fn stop_policy(&self) -> StopPolicy {
        match &self.0 {
            Machine::Init(init) => init.stop_policy(),
            Machine::Pool(pool) => pool.stop_policy(),
        }
    }

    /// The longest time that an ordered end takes: the drain delay plus the graceful timeout.
    #[must_use]
    pub fn ends_within(&self) -> Patience {
        match (&self.0, self.stop_policy().graceful) {
            (Machine::Pool(pool), Patience::For(grace)) => {
                Patience::For(grace.saturating_add(pool.drain_delay()))
            }
            (_, patience) => patience,
        }
    }

    /// When `DeadlinePassed` is wanted, if nothing happens before; `None` is never.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        match &self.0 {
            Machine::Init(init) => init.next_deadline(),
            Machine::Pool(pool) => pool.next_deadline(),
        }
    }

    /// Whether the rest of this process group is to be killed later. If it has no member left, the core wants
    /// [`event::ChildChange::GroupEnded`].
    #[must_use]
    pub fn awaits_group(&self, group: Pid) -> bool {
        match &self.0 {
            Machine::Init(_) => false,
            Machine::Pool(pool) => pool.awaits_group(group),
        }
    }

    /// Whether a deadline runs at which a process is asked to stop, killed, or found to hang. During that time the
    /// caller's clock has to leave out pauses in which nothing ran.
    #[must_use]
    pub fn hurts(&self) -> bool {
        match &self.0 {
            Machine::Init(init) => init.hurts(),
            Machine::Pool(pool) => pool.hurts(),
        }
    }

    /// The clock of [`step`](Self::step) is behind real time by `behind` in all. Only the deadline of the whole run
    /// counts real time.
    pub fn is_behind(&mut self, behind: Duration) {
        match &mut self.0 {
            Machine::Init(init) => init.is_behind(behind),
            Machine::Pool(pool) => pool.is_behind(behind),
        }
    }

    #[must_use]
    pub fn status(&self, now: Monotonic) -> Status {
        match &self.0 {
            Machine::Init(init) => init.status(now),
            Machine::Pool(pool) => pool.status(now),
        }
    }

    /// The requests that a living worker is known to have served: the same number as in [`status`](Self::status).
    #[must_use]
    pub fn served_by(&self, pid: Pid) -> Option<u64> {
        match &self.0 {
            Machine::Init(_) => None,
            Machine::Pool(pool) => pool.served_by(pid),
        }
    }

    /// The signal that asks a worker to say goodbye to its clients; `None` if none is set.
    #[must_use]
    pub fn drain_signal(&self) -> Option<Signal> {
        match &self.0 {
            Machine::Init(_) => None,
            Machine::Pool(pool) => pool.drain_signal(),
        }
    }

    #[must_use]
    pub fn progress(&self, now: Monotonic) -> Progress {
        match &self.0 {
            Machine::Init(_) => Progress::Steady,
            Machine::Pool(pool) => pool.progress(now),
        }
    }

    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        match &self.0 {
            Machine::Init(init) => init.snapshot(),
            Machine::Pool(pool) => pool.snapshot(),
        }
    }
}
