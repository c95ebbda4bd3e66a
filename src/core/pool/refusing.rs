//! When connections are refused at the end: once no worker waits for them any more.
//!
//! A listener that refuses (shutdown(2)) wakes whatever waits for connections at it with an error, again and again:
//! servers print tracebacks, spin, or end with a failure. So the stop signal goes first. Until the workers have heard it
//! new connections are held off; where they cannot be, they are refused at once.

use super::Pool;
use super::phase::Phase;
use crate::action::{Action, ListenerAction, PoolCheck};
use crate::time::Monotonic;
use crate::worker::Worker;
use alloc::vec::Vec;

impl Pool {
    /// Does what is due.
    pub(super) fn go_on_refusing(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let no_worker = self.workers.is_empty();
        let Phase::Ending(ending, _) = &mut self.phase else { return };
        let Some(refusing) = ending.refusing() else { return };
        if no_worker || refusing.is_over(now) {
            return self.refuse(out);
        }
        if refusing.looks(now) {
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
        if let Phase::Ending(ending, _) = &mut self.phase
            && ending.refuses()
        {
            out.push(Action::Listeners(ListenerAction::Refuse { held_off: true }));
        }
    }
}
