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
use super::time::{Monotonic, earlier, reached};
use std::time::Duration;

/// What was on its way when new connections went elsewhere has come in by then, though the drain time is longer.
const SETTLED_AFTER: Duration = Duration::from_millis(500);

/// From one look to the next, at least, and so many times what a look costs.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOK_SHARE: u32 = 20;

/// The longest pause between two looks, however much one costs.
const LOOK_RARELY: Duration = Duration::from_secs(2);

/// Clients that send one request after the other are waited for so long: for a moment in which none of them waits.
const RESTLESS: Duration = Duration::from_secs(2);

/// A wait of this length is worth a line.
const WORTH_A_LINE: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct InHand {
    /// The drain time, and whether clients are told to say goodbye.
    time: Duration,
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
    /// Of a worker whose connections are waited for until then.
    pub fn until(give_up_at: Option<Monotonic>, policy: &DrainPolicy) -> Self {
        let DrainPolicy { time, told: goodbye, .. } = *policy;
        let pause_until = Monotonic::default();
        Self { time, goodbye, watched: true, give_up_at, seen: None, pause_until, told: false }
    }

    /// Of a worker whose connections are not looked at.
    pub fn unwatched(policy: &DrainPolicy) -> Self {
        Self { watched: false, ..Self::until(None, policy) }
    }

    /// A look found this; `None` if the kernel tells nothing.
    pub fn seen(&mut self, now: Monotonic, found: Option<Connections>, took: Duration) {
        self.watched &= found.is_some();
        self.seen = found.map(|found| (now, found));
        self.pause_until = now + took.saturating_mul(LOOK_SHARE).clamp(LOOK_EVERY, LOOK_RARELY);
    }

    /// Whether they may be stopped now. `quiet` is since when nothing waits in the queue.
    pub fn is_done(&self, now: Monotonic, quiet: Option<Monotonic>) -> bool {
        let Some(quiet) = quiet else { return false };
        let drained = quiet + self.time;
        if !self.watched || reached(self.give_up_at, now) {
            return drained <= now;
        }
        // What was true a moment ago is none the more true now.
        let Some((_, found)) = self.seen.filter(|(at, _)| *at == now && self.settled(quiet) <= now) else {
            return false;
        };
        match found {
            Connections { open: 0, .. } => true,
            // A worker that is told to say goodbye to its clients is given the time for it.
            Connections { busy: 0, again: 0, .. } => !self.goodbye || drained <= now,
            Connections { busy: 0, .. } => drained + RESTLESS <= now,
            Connections { .. } => false,
        }
    }

    /// Makes a look, if it is time: returns since when every request is another one of a client that has been answered
    /// since.
    pub fn look(&mut self, now: Monotonic, quiet: Option<Monotonic>) -> Option<Monotonic> {
        let settled = self.settled(quiet?);
        if self.look_at(quiet)? > now {
            return None;
        }
        self.pause_until = now + LOOK_EVERY;
        Some(settled)
    }

    fn look_at(&self, quiet: Option<Monotonic>) -> Option<Monotonic> {
        let quiet = quiet.filter(|_| self.watched)?;
        Some(self.settled(quiet).max(self.pause_until))
    }

    /// For how many connections it waits beyond the drain time.
    pub fn waits_for(&self, now: Monotonic, quiet: Option<Monotonic>) -> Option<u32> {
        let drained = quiet.map(|quiet| quiet + self.time).filter(|at| *at <= now)?;
        let (_, Connections { busy, again, .. }) = self.seen.filter(|_| self.watched)?;
        let waits = if drained + RESTLESS <= now { busy } else { busy.saturating_add(again) };
        Some(waits).filter(|waits| *waits > 0)
    }

    /// The same, once it has lasted; once.
    pub fn waits_long(&mut self, now: Monotonic, quiet: Option<Monotonic>) -> Option<u32> {
        let since = quiet.filter(|_| !self.told)? + self.time;
        let waits = self.waits_for(now, quiet).filter(|_| since + WORTH_A_LINE <= now)?;
        self.told = true;
        Some(waits)
    }

    /// When there is something to do.
    pub fn next_deadline(&self, quiet: Option<Monotonic>) -> Option<Monotonic> {
        let drained = quiet? + self.time;
        if !self.watched {
            return Some(drained);
        }
        earlier(self.look_at(quiet), self.give_up_at.map(|at| at.max(drained)))
    }

    /// When what was on its way has come in.
    fn settled(&self, quiet: Monotonic) -> Monotonic {
        quiet + self.time.min(SETTLED_AFTER)
    }
}
