//! When the ending pool refuses connections: after the last worker has stopped waiting for them.
//!
//! shutdown(2) on a listener wakes every process that waits on it with an error, again and again: servers print
//! tracebacks, spin, or end with a failure. So the stop signal is sent first, and new connections are held off until
//! the workers have handled it. On listeners where that is not possible, connections are refused at once.

use super::Pool;
use super::phase::Phase;
use crate::action::{Action, ListenerAction, PoolCheck};
use crate::time::Monotonic;
use crate::worker::Worker;
use alloc::vec::Vec;

impl Pool {
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

    /// `awaited` is whether any worker still waits for connections.
    pub(super) fn listeners_seen(&mut self, awaited: bool, out: &mut Vec<Action>) {
        if !awaited {
            self.refuse(out);
        }
    }

    /// Refuses new connections, once.
    pub(super) fn refuse(&mut self, out: &mut Vec<Action>) {
        if let Phase::Ending(ending, _) = &mut self.phase
            && ending.refuses()
        {
            out.push(Action::Listeners(ListenerAction::Refuse { held_off: true }));
        }
    }
}
