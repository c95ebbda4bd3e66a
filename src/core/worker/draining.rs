//! A worker that drains before it is stopped.
//!
//! ```text
//!  no new connections ──▶ nothing waits in its queue ──▶ hint ──▶ the drain time passes, none is busy ──▶ stop signal
//!                            ▲                                       │
//!                            └──────── something waits again ◀───────┘
//! ```
//! During the drain time, the worker reads the connections that it has accepted: an asyncio server that is stopped
//! closes those that it has not read. Clients that keep their connections see `Connection: close` with their next
//! answer. The worker is then kept for what it has in hand: see [`InHand`].

use crate::event::Pid;
use crate::exit::Reason;
use crate::in_hand::InHand;
use crate::policy::PoolPolicy;
use crate::queue::LOOK_EVERY;
use crate::time::{Monotonic, earlier, reached};
use core::time::Duration;

/// The shortest time for connections in the queue, even if the graceful timeout is shorter.
const LEAST_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
pub struct Draining {
    pub pid: Pid,
    pub reason: Reason,
    hinted: bool,
    /// Its queue, and the connections that it has accepted.
    pub in_hand: InHand,
    /// When to look at its queue next; `None` if it has none of its own.
    look_at: Option<Monotonic>,
    /// When it is stopped although connections wait; `None` is never.
    give_up_at: Option<Monotonic>,
    /// The worker has stopped accepting and ends by itself: other workers serve its queue.
    has_left: bool,
}

impl Draining {
    pub fn new(now: Monotonic, pid: Pid, reason: Reason, policy: &PoolPolicy) -> Self {
        let steered = policy.drain.steered;
        let patience = policy.stop.graceful.deadline(now);
        Self {
            pid,
            reason,
            hinted: false,
            in_hand: if steered {
                InHand::until(patience, &policy.drain)
            } else {
                InHand::unwatched(now, &policy.drain)
            },
            look_at: steered.then(|| now + LOOK_EVERY),
            give_up_at: patience.map(|at| at.max(now + LEAST_PATIENCE)),
            has_left: false,
        }
    }

    /// The worker has stopped accepting and ends by itself: it needs no signal before its time is over.
    pub fn of_one_that_left(self) -> Self {
        Self { has_left: true, look_at: None, ..self }
    }

    /// Another worker serves its queue.
    pub fn without_queue(self, now: Monotonic) -> Self {
        Self { in_hand: self.in_hand.without_queue(now), look_at: None, ..self }
    }

    /// The number of connections in its queue.
    pub fn queue_seen(&mut self, now: Monotonic, waiting: u32) {
        self.in_hand.queue.seen(now, waiting);
        if waiting > 0 {
            self.look_at = self.look_at.map(|_| now + LOOK_EVERY);
        }
    }

    /// Whether to send the hint to say goodbye now: once.
    pub fn hints(&mut self) -> bool {
        !self.has_left && self.in_hand.queue.is_quiet() && !core::mem::replace(&mut self.hinted, true)
    }

    /// Whether its time is over although connections wait in its queue.
    pub fn is_cut_short(&self, now: Monotonic) -> bool {
        !self.has_left && !self.in_hand.queue.is_quiet() && reached(self.give_up_at, now)
    }

    pub fn is_done(&self, now: Monotonic) -> bool {
        if self.has_left { reached(self.give_up_at, now) } else { self.in_hand.is_done(now) }
    }

    /// Whether a look at its queue is due; if so, the next one is scheduled.
    pub fn checks_queue(&mut self, now: Monotonic) -> bool {
        let looks = reached(self.look_at, now);
        if looks {
            self.look_at = Some(now + self.in_hand.queue.pause(now));
        }
        looks
    }

    /// Whether there is a time at which it is stopped even if connections wait.
    pub fn gives_up(&self) -> bool {
        self.give_up_at.is_some()
    }

    pub fn next_deadline(&self) -> Option<Monotonic> {
        if self.has_left {
            return self.give_up_at;
        }
        let gives_up = self.give_up_at.filter(|_| !self.in_hand.queue.is_quiet());
        let in_hand = self.in_hand.next_deadline();
        earlier(earlier(self.look_at, in_hand), gives_up)
    }
}
