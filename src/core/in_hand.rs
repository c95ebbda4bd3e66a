//! Whether workers that get no new connections have answered what came in through those they have.
//!
//! ```text
//!  nothing waits in the queue ──▶ a little later ──▶ look ──▶ no client is left: done
//!                                                     ▲ ├──▶ none is busy, and the drain time is over or not needed: done
//!                                                     │ ├──▶ the busy ones send one request after the other: done
//!                                                     │ │    after a little more time
//!                                                     └─┴──  another look
//! ```
//! A server may drop at the stop signal what it has in hand, even if it handles the signal. The kernel reports the
//! state of connections without the server's help.

use super::event::Connections;
use super::policy::DrainPolicy;
use super::queue::EmptyingQueue;
use super::time::{Monotonic, earlier, reached};
use core::time::Duration;

/// Once the queue has been empty for this time, data has arrived that was on its way when new connections were
/// steered elsewhere, even if the drain time is longer.
const SETTLED_AFTER: Duration = Duration::from_millis(500);

/// The pause after a look is at least this, and at least `LOOK_SHARE` times the cost of the look.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOK_SHARE: u32 = 20;

/// The longest pause between two looks, however much one costs.
const LOOK_RARELY: Duration = Duration::from_secs(2);

/// How long the supervisor waits for clients that send one request after the other, for a moment in which none has a
/// request in hand.
const RESTLESS: Duration = Duration::from_secs(2);

/// A wait of this length is logged.
const WORTH_A_LINE: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug)]
pub struct InHand {
    /// Connections that wait to be accepted. For the whole drain time there must be none.
    pub queue: EmptyingQueue,
    /// Whether workers are asked to say goodbye to their clients.
    goodbye: bool,
    /// Whether connections are looked at. Not if new ones come all the time, nor if the kernel reports nothing.
    watched: bool,
    /// When the wait ends although a client is busy; `None` is never.
    give_up_at: Option<Monotonic>,
    /// The last look and its result.
    seen: Option<(Monotonic, Connections)>,
    /// The earliest time of the next look.
    pause_until: Monotonic,
    told: bool,
}

impl InHand {
    /// For workers with a queue of their own, whose connections are waited for until `give_up_at`.
    pub fn until(give_up_at: Option<Monotonic>, policy: &DrainPolicy) -> Self {
        Self {
            queue: EmptyingQueue::unseen(policy.time),
            goodbye: policy.told,
            watched: true,
            give_up_at,
            seen: None,
            pause_until: Monotonic::default(),
            told: false,
        }
    }

    /// For a worker without a queue of its own: its connections are not looked at.
    pub fn unwatched(now: Monotonic, policy: &DrainPolicy) -> Self {
        Self { watched: false, ..Self::until(None, policy) }.without_queue(now)
    }

    /// Other workers serve the connections in its queue.
    pub fn without_queue(self, now: Monotonic) -> Self {
        Self { queue: self.queue.quiet_from(now), ..self }
    }

    /// The result of a look; `None` if the kernel reports nothing.
    pub fn seen(&mut self, now: Monotonic, found: Option<Connections>, took: Duration) {
        self.watched &= found.is_some();
        self.seen = found.map(|found| (now, found));
        self.pause_until = now + took.saturating_mul(LOOK_SHARE).clamp(LOOK_EVERY, LOOK_RARELY);
    }

    /// Whether the workers may be stopped now.
    pub fn is_done(&self, now: Monotonic) -> bool {
        let (Some(drained), Some(settled)) = (self.queue.done_at(), self.settled_at()) else { return false };
        if !self.watched || reached(self.give_up_at, now) {
            return drained <= now;
        }
        // An older look says nothing of now.
        let Some((_, found)) = self.seen.filter(|(at, _)| *at == now && settled <= now) else {
            return false;
        };
        match found {
            Connections { open: 0, .. } => true,
            // A worker that was asked to say goodbye to its clients has the drain time for it.
            Connections { busy: 0, again: 0, .. } => !self.goodbye || drained <= now,
            Connections { busy: 0, .. } => drained + RESTLESS <= now,
            Connections { .. } => false,
        }
    }

    /// Makes a look, if one is due. Returns the time since when every answered client with another request in hand
    /// counts as `again`.
    pub fn look(&mut self, now: Monotonic) -> Option<Monotonic> {
        if self.look_at()? > now {
            return None;
        }
        self.pause_until = now + LOOK_EVERY;
        self.settled_at()
    }

    fn look_at(&self) -> Option<Monotonic> {
        self.settled_at().filter(|_| self.watched).map(|settled| settled.max(self.pause_until))
    }

    /// The number of connections that are waited for beyond the drain time; `None` if there are none.
    pub fn waits_for(&self, now: Monotonic) -> Option<u32> {
        let drained = self.queue.done_at().filter(|at| *at <= now)?;
        let (_, Connections { busy, again, .. }) = self.seen.filter(|_| self.watched)?;
        let waits = if drained + RESTLESS <= now { busy } else { busy.saturating_add(again) };
        Some(waits).filter(|waits| *waits > 0)
    }

    /// The same after [`WORTH_A_LINE`]; `Some` only once.
    pub fn waits_long(&mut self, now: Monotonic) -> Option<u32> {
        let since = self.queue.done_at().filter(|_| !self.told)?;
        let waits = self.waits_for(now).filter(|_| since + WORTH_A_LINE <= now)?;
        self.told = true;
        Some(waits)
    }

    pub fn next_deadline(&self) -> Option<Monotonic> {
        let drained = self.queue.done_at()?;
        if !self.watched {
            return Some(drained);
        }
        earlier(self.look_at(), self.give_up_at.map(|at| at.max(drained)))
    }

    /// When data that was on its way has arrived, if the queue is empty.
    fn settled_at(&self) -> Option<Monotonic> {
        self.queue.lasts_at(SETTLED_AFTER)
    }
}
