//! When connections are refused at the end: once no worker waits for them any more.
//!
//! A listener that refuses (shutdown(2)) wakes whatever waits for connections at it with an error, again and again:
//! servers print tracebacks, spin, or end with a failure. So the stop signal goes first. Until the workers have heard it
//! new connections are held off; where they cannot be, they are refused at once.

use super::{Phase, Pool};
use crate::core::action::{Action, ListenerAction, PoolCheck};
use crate::core::time::{Monotonic, earlier, reached};
use crate::core::worker::Worker;
use alloc::vec::Vec;
use core::time::Duration;

/// From the stop signal to the refusal, at most.
const AT_THE_LATEST: Duration = Duration::from_secs(1);

/// From the stop signal to the first look; the pause doubles with each.
const LOOK_AFTER: Duration = Duration::from_millis(20);

/// New connections are held off and not refused yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusing {
    by: Monotonic,
    look_at: Monotonic,
    pause: Duration,
}

impl Refusing {
    /// The stop signal is sent now.
    pub(super) fn new(now: Monotonic, kill_at: Option<Monotonic>) -> Self {
        let latest = now + AT_THE_LATEST;
        Self {
            by: earlier(kill_at, Some(latest)).unwrap_or(latest),
            look_at: now + LOOK_AFTER,
            pause: LOOK_AFTER,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        Some(self.by.min(self.look_at))
    }
}

impl Pool {
    /// Does what is due.
    pub(super) fn go_on_refusing(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let no_worker = self.workers.is_empty();
        let Phase::Ending { refusing: Some(refusing), .. } = &mut self.phase else { return };
        if no_worker || reached(Some(refusing.by), now) {
            return self.refuse(out);
        }
        if reached(Some(refusing.look_at), now) {
            refusing.pause = refusing.pause.saturating_mul(2);
            refusing.look_at = now + refusing.pause;
            let at = |worker: &Worker| Some((worker.pid()?, worker.lane));
            let workers = self.workers.iter().filter_map(at).collect();
            out.push(Action::Check(PoolCheck::Listeners { workers }));
        }
    }

    /// Whether any worker still waits for connections.
    pub(super) fn listeners_seen(&mut self, awaited: bool, out: &mut Vec<Action>) {
        if !awaited {
            self.refuse(out);
        }
    }

    /// Refuses new connections, if that has not been done.
    pub(super) fn refuse(&mut self, out: &mut Vec<Action>) {
        if let Phase::Ending { refusing, .. } = &mut self.phase
            && refusing.take().is_some()
        {
            out.push(Action::Listeners(ListenerAction::Refuse { held_off: true }));
        }
    }
}
