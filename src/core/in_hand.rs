//! Whether workers that get no new connections have answered what came in through those they have.
//!
//! ```text
//!  nothing waits in the queue ──▶ a little later ──▶ look ──▶ no client is left: done
//!                                                     ▲ ├──▶ none is busy, and the drain time is over or for none: done
//!                                                     │ ├──▶ only such are busy that send one request after the other: done
//!                                                     │ │    once they had a little more time
//!                                                     └─┴──  another look
//! ```
//! A server may drop at the stop signal what it has in hand, whatever it does about the signal. What the kernel tells of
//! connections needs no word of the server.

use super::event::Connections;
use super::policy::DrainPolicy;
use super::queue::EmptyingQueue;
use super::time::{Monotonic, earlier, reached};
use core::time::Duration;

/// What was on its way when new connections went elsewhere has come in by then, though the drain time is longer.
const SETTLED_AFTER: Duration = Duration::from_millis(500);

/// The pause after a look: at least this, and this multiple of what it cost.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOK_SHARE: u32 = 20;

/// The longest pause between two looks, however much one costs.
const LOOK_RARELY: Duration = Duration::from_secs(2);

/// How long clients that send one request after the other are waited for: for a moment in which none of them waits.
const RESTLESS: Duration = Duration::from_secs(2);

/// A wait of this length is worth a line.
const WORTH_A_LINE: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug)]
pub struct InHand {
    /// What waits to be taken, which has to be nothing for the drain time.
    pub queue: EmptyingQueue,
    /// Whether clients are told to say goodbye.
    goodbye: bool,
    /// Whether connections are looked at: not where new ones come all the time, nor where the kernel tells nothing.
    watched: bool,
    /// When what is in hand is given up.
    give_up_at: Option<Monotonic>,
    /// The last look, and what it found.
    seen: Option<(Monotonic, Connections)>,
    /// No other look before this.
    pause_until: Monotonic,
    told: bool,
}

impl InHand {
    /// Of workers with a queue of their own, whose connections are waited for until then.
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

    /// Of a worker without, whose connections are not looked at.
    pub fn unwatched(now: Monotonic, policy: &DrainPolicy) -> Self {
        Self { watched: false, ..Self::until(None, policy) }.without_queue(now)
    }

    /// Others serve those that wait in its queue.
    pub fn without_queue(self, now: Monotonic) -> Self {
        Self { queue: self.queue.quiet_from(now), ..self }
    }

    /// A look found this; `None` if the kernel tells nothing.
    pub fn seen(&mut self, now: Monotonic, found: Option<Connections>, took: Duration) {
        self.watched &= found.is_some();
        self.seen = found.map(|found| (now, found));
        self.pause_until = now + took.saturating_mul(LOOK_SHARE).clamp(LOOK_EVERY, LOOK_RARELY);
    }

    /// Whether they may be stopped now.
    pub fn is_done(&self, now: Monotonic) -> bool {
        let (Some(drained), Some(settled)) = (self.queue.done_at(), self.settled_at()) else { return false };
        if !self.watched || reached(self.give_up_at, now) {
            return drained <= now;
        }
        // What was seen a moment ago says nothing of now.
        let Some((_, found)) = self.seen.filter(|(at, _)| *at == now && settled <= now) else {
            return false;
        };
        match found {
            Connections { open: 0, .. } => true,
            // A worker that is to say goodbye to its clients gets the time for it.
            Connections { busy: 0, again: 0, .. } => !self.goodbye || drained <= now,
            Connections { busy: 0, .. } => drained + RESTLESS <= now,
            Connections { .. } => false,
        }
    }

    /// Makes a look, if it is time: returns since when every request is another one of a client that has been answered
    /// since.
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

    /// For how many connections it waits beyond the drain time.
    pub fn waits_for(&self, now: Monotonic) -> Option<u32> {
        let drained = self.queue.done_at().filter(|at| *at <= now)?;
        let (_, Connections { busy, again, .. }) = self.seen.filter(|_| self.watched)?;
        let waits = if drained + RESTLESS <= now { busy } else { busy.saturating_add(again) };
        Some(waits).filter(|waits| *waits > 0)
    }

    /// The same, once it has lasted; once.
    pub fn waits_long(&mut self, now: Monotonic) -> Option<u32> {
        let since = self.queue.done_at().filter(|_| !self.told)?;
        let waits = self.waits_for(now).filter(|_| since + WORTH_A_LINE <= now)?;
        self.told = true;
        Some(waits)
    }

    /// When there is something to do.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let drained = self.queue.done_at()?;
        if !self.watched {
            return Some(drained);
        }
        earlier(self.look_at(), self.give_up_at.map(|at| at.max(drained)))
    }

    /// When what was on its way has come in, if nothing waits.
    fn settled_at(&self) -> Option<Monotonic> {
        self.queue.lasts_at(SETTLED_AFTER)
    }
}
