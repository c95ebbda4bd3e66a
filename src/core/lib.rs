//! The policy of prefork-init. It knows no clock, no kernel, no log and no network: the caller says what happened and
//! when, and the answer is what is to be done.
//!
//! ```text
//!        now, Event ──▶ step ──▶ [Action]          next_deadline ──▶ when to come back
//! ```
//!
//! Rules, held by the simulation in the program's tests:
//! * Pure and total: the only chance is a seeded generator in the state; no panic; an event that is
//!   stale or of an unknown process is ignored.
//! * A deadline is a field of a state, so it dies with the state. `DeadlinePassed` may come too
//!   often; it never does anything early.
//! * A worker is spawned only when a deadline has passed (or at `Started`), one at a time. `next_deadline`
//!   may be in the past to ask for that at once: the caller hears what waits outside first, a TERM too.
//! * A pid is in the state from `Spawned` to `Exited`, and nothing else is ever signalled but
//!   "all our descendants" and "what remains of a dead worker's group".
//! * The caller carries actions out in order and feeds the answers back before it reaps again, so
//!   an exit cannot overtake the report of its own spawn.

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

use alloc::vec::Vec;
use core::time::Duration;
use policy::{InitPolicy, PoolPolicy, StopPolicy};

/// What the supervisor is to be, and what goes with it: by itself the rules.
// There is one.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub enum Mode<I = InitPolicy, P = PoolPolicy> {
    /// Run one command and end as it ends.
    Init(I),
    /// Keep a pool of workers.
    Pool(P),
}

/// The whole state of the supervisor.
#[derive(Clone, Debug)]
pub struct Core(Machine);

// The core is created once and never moved after: boxing the larger variant would buy nothing.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
enum Machine {
    Init(init::Init),
    Pool(pool::Pool),
}

impl Core {
    /// A supervisor to which nothing has happened yet. `seed` decides every jitter.
    #[must_use]
    pub fn new(mode: Mode, seed: u64) -> Self {
        Self(match mode {
            Mode::Init(policy) => Machine::Init(init::Init::new(policy)),
            Mode::Pool(policy) => Machine::Pool(pool::Pool::new(policy, seed)),
        })
    }

    /// A pool that another program began. Its clock goes on from the moment of the handover.
    #[must_use]
    pub fn take_over(policy: PoolPolicy, seed: u64, given: &Handover) -> Self {
        Self(Machine::Pool(pool::Pool::take_over(policy, seed, given)))
    }

    /// Takes in one event and appends what is to be done, in order.
    pub fn step(&mut self, now: Monotonic, event: Event, out: &mut Vec<Action>) {
        match &mut self.0 {
            Machine::Init(init) => init.step(now, event, out),
            Machine::Pool(pool) => pool.step(now, event, out),
        }
    }

    /// Puts another policy into force, but for what was decided when the listeners were bound: for the reload that
    /// follows, with which it is confirmed or taken back. Workers keep the limits that were drawn for them.
    pub fn renew(&mut self, policy: PoolPolicy) {
        match &mut self.0 {
            Machine::Init(_) => {}
            Machine::Pool(pool) => pool.renew(policy),
        }
    }

    /// Whether a signal does anything but appear in the log.
    #[must_use]
    pub fn heeds(&self, signal: Signal) -> bool {
        match &self.0 {
            Machine::Init(_) => true,
            Machine::Pool(pool) => pool.heeds(signal),
        }
    }

    /// How processes are asked to end now.
    #[must_use]
    pub fn stop_policy(&self) -> StopPolicy {
        match &self.0 {
            Machine::Init(init) => init.stop_policy(),
            Machine::Pool(pool) => pool.stop_policy(),
        }
    }

    /// How long an ordered end takes at most: the drain delay, and the graceful timeout after it.
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

    /// Whether what is left of this process group is to be killed some time. If nothing is left,
    /// [`event::ChildChange::GroupEnded`] is wanted.
    #[must_use]
    pub fn awaits_group(&self, group: Pid) -> bool {
        match &self.0 {
            Machine::Init(_) => false,
            Machine::Pool(pool) => pool.awaits_group(group),
        }
    }

    /// Whether a deadline runs by which a process is hurt: asked to stop, killed, or found to hang. Meanwhile the caller's
    /// clock is to leave out the time in which nothing ran.
    #[must_use]
    pub fn hurts(&self) -> bool {
        match &self.0 {
            Machine::Init(init) => init.hurts(),
            Machine::Pool(pool) => pool.hurts(),
        }
    }

    /// The clock by which [`step`](Self::step) is called is behind real time by this much in all. The deadline of the
    /// whole run, and nothing else, counts real time.
    pub fn is_behind(&mut self, behind: Duration) {
        match &mut self.0 {
            Machine::Init(init) => init.is_behind(behind),
            Machine::Pool(pool) => pool.is_behind(behind),
        }
    }

    /// Everything that the outside may see.
    #[must_use]
    pub fn status(&self, now: Monotonic) -> Status {
        match &self.0 {
            Machine::Init(init) => init.status(now),
            Machine::Pool(pool) => pool.status(now),
        }
    }

    /// How many requests a living worker has served, as far as is known: the same as in [`status`](Self::status).
    #[must_use]
    pub fn served_by(&self, pid: Pid) -> Option<u64> {
        match &self.0 {
            Machine::Init(_) => None,
            Machine::Pool(pool) => pool.served_by(pid),
        }
    }

    /// The signal that has a worker say goodbye to its clients, if there is one.
    #[must_use]
    pub fn drain_signal(&self) -> Option<Signal> {
        match &self.0 {
            Machine::Init(_) => None,
            Machine::Pool(pool) => pool.drain_signal(),
        }
    }

    /// What is under way.
    #[must_use]
    pub fn progress(&self, now: Monotonic) -> Progress {
        match &self.0 {
            Machine::Init(_) => Progress::Steady,
            Machine::Pool(pool) => pool.progress(now),
        }
    }

    /// What the outside may see, in short.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        match &self.0 {
            Machine::Init(init) => init.snapshot(),
            Machine::Pool(pool) => pool.snapshot(),
        }
    }
}
