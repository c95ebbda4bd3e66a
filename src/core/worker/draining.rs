//! A worker that is being emptied before it is stopped.
//!
//! ```text
//!  no new connections ──▶ nothing waits in its queue ──▶ hint ──▶ the drain time passes ──▶ stop signal
//!                            ▲                                       │
//!                            └──────── something waits again ◀───────┘
//! ```
//! The drain time is there for connections it has taken and not read yet: an asyncio server that is told to stop
//! closes those. And for clients that keep their connections, to hear `Connection: close` with their next answer.

use crate::core::action::Action;
use crate::core::event::{Lane, Pid};
use crate::core::exit::Reason;
use crate::core::note::{Note, WorkerRef};
use crate::core::policy::PoolPolicy;
use crate::core::time::{Monotonic, earlier, reached};
use std::time::Duration;

/// The queue is looked at this often.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Whoever waits in the queue has this long, though the graceful timeout is shorter.
const LEAST_PATIENCE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Draining {
    pub pid: Pid,
    pub reason: Reason,
    /// Since when nothing waits for it, as far as was seen.
    quiet_since: Option<Monotonic>,
    hinted: bool,
    /// How long that has to last.
    time: Duration,
    /// When to look at its queue next, if it has one of its own.
    look_at: Option<Monotonic>,
    /// When it is stopped though somebody waits.
    give_up_at: Option<Monotonic>,
}

impl Draining {
    pub fn new(now: Monotonic, pid: Pid, reason: Reason, policy: &PoolPolicy) -> Self {
        let steered = policy.drain.steered;
        Self {
            pid,
            reason,
            quiet_since: (!steered).then_some(now),
            hinted: false,
            time: policy.drain.time,
            look_at: steered.then(|| now + LOOK_EVERY),
            give_up_at: policy.stop.graceful.deadline(now).map(|at| at.max(now + LEAST_PATIENCE)),
        }
    }

    /// So many connections wait for it.
    pub fn queue_seen(&mut self, now: Monotonic, waiting: u32) {
        if waiting > 0 {
            self.quiet_since = None;
        } else {
            self.quiet_since.get_or_insert(now);
        }
    }

    /// Does what is due; returns whether it is to be stopped.
    pub fn tick(
        &mut self,
        now: Monotonic,
        worker: WorkerRef,
        lane: Lane,
        policy: &PoolPolicy,
        out: &mut Vec<Action>,
    ) -> bool {
        if self.quiet_since.is_none() && reached(self.give_up_at, now) {
            out.push(Action::Report(Note::DrainCutShort { worker }));
            return true;
        }
        if self.quiet_since.is_some() && !std::mem::replace(&mut self.hinted, true) {
            out.push(Action::Hint { pid: self.pid, lane, signal: policy.drain.hint });
        }
        self.is_done(now)
    }

    /// Looks at its queue, if it is time.
    pub fn look(&mut self, now: Monotonic, lane: Lane, out: &mut Vec<Action>) {
        if reached(self.look_at, now) {
            self.look_at = Some(now + LOOK_EVERY);
            out.push(Action::LookAtQueue { pid: self.pid, lane });
        }
    }

    fn done_at(&self) -> Option<Monotonic> {
        self.quiet_since.map(|since| since + self.time)
    }

    fn is_done(&self, now: Monotonic) -> bool {
        reached(self.done_at(), now)
    }

    pub fn next_deadline(&self) -> Option<Monotonic> {
        let gives_up = self.give_up_at.filter(|_| self.quiet_since.is_none());
        earlier(earlier(self.look_at, self.done_at()), gives_up)
    }
}
