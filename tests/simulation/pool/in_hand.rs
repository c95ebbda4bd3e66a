//! What waits for workers and what they have in hand, as far as was seen.

use super::super::rule::{Held, check};
use prefork_core::Monotonic;
use prefork_core::event::Connections;
use prefork_core::policy::DrainPolicy;
use std::time::Duration;

/// The longest pause between two looks at a queue, and between two at connections, with all that may delay them.
const QUEUE_RARELY: Duration = Duration::from_secs(1);
const HANDS_RARELY: Duration = Duration::from_secs(4);

/// Clients that send one request after the other are waited for this long.
const RESTLESS: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Default)]
pub struct InHand {
    pub queue_looked: Option<Monotonic>,
    /// Since when nothing waits.
    pub quiet: Option<Monotonic>,
    pub looked: Option<Monotonic>,
    pub found: Option<(Monotonic, Connections)>,
    /// The kernel has once told nothing, or nothing is looked at.
    pub blind: bool,
}

impl InHand {
    pub fn queue_seen(&mut self, now: Monotonic, waiting: u32) {
        self.quiet = self.quiet.or(Some(now)).filter(|_| waiting == 0);
        self.queue_looked = Some(now);
    }

    pub fn seen(&mut self, now: Monotonic, found: Option<Connections>) {
        self.blind |= found.is_none();
        self.found = found.map(|found| (now, found));
    }

    /// Whether a server would drop nothing at the stop signal, as far as can be seen, or had its time, which is `over`
    /// then.
    pub fn is_empty(&self, now: Monotonic, policy: &DrainPolicy, over: Option<Monotonic>) -> Held {
        let Some(quiet) = self.quiet else { return Err("stopped while a connection waits".into()) };
        let drained = quiet + policy.time <= now;
        if self.blind || over.is_some_and(|over| over <= now) {
            return check(drained, "stopped before the drain time is over");
        }
        let found = self.found.filter(|(at, _)| *at == now);
        let Some((_, found)) = found else { return Err("what it has in hand was not looked at".into()) };
        check(found.busy == 0, "stopped while it is busy")?;
        let is_restless = found.again > 0 && now < quiet + policy.time + RESTLESS;
        check(!is_restless, "stopped while it is busy, though for once")?;
        check(found.open == 0 || !policy.told || drained, "stopped before its clients knew")
    }

    /// When there is another look, or there is nothing more to wait for.
    pub fn owed(&self, began: Monotonic, policy: &DrainPolicy, has_queue: bool, tell: super::Tell<'_>) {
        if has_queue {
            tell("a look at a queue", self.queue_looked.unwrap_or(began) + QUEUE_RARELY);
        }
        match self.quiet {
            Some(quiet) if self.blind => tell("the stop", (quiet + policy.time).max(began + QUEUE_RARELY)),
            Some(quiet) => {
                tell("a look at connections", self.looked.unwrap_or(quiet).max(quiet) + HANDS_RARELY)
            }
            None => {}
        }
    }
}
