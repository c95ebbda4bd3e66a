//! Workers that have stopped accepting connections, and the successors that serve the connections in their queues.

use super::Pool;
use super::slot::Slot;
use super::workers::WorkerPlace;
use crate::action::Action;
use crate::event::{Found, Lane, Pid};
use crate::exit::Reason;
use crate::time::Monotonic;
use alloc::vec::Vec;
use core::time::Duration;

/// If a worker accepts again just as its successor is spawned, the next successor waits for this time.
const TRIED_AGAIN: Duration = Duration::from_secs(2);

impl Pool {
    /// Looks at no more than one worker, if a look is due: a look may take two milliseconds. Returns whether there
    /// was one.
    pub(super) fn look_whether_accepting(&mut self, now: Monotonic, out: &mut Vec<Action>) -> bool {
        let look_at = |worker: &super::Worker| worker.accepting().and_then(|accepting| accepting.look_at());
        let seated = self.workers.seated_mut();
        let seated = seated.filter_map(|worker| Some((look_at(worker)?, worker)));
        let before = out.len();
        if let Some((_, worker)) = seated.min_by_key(|(at, _)| *at) {
            worker.look_whether_accepting(now, out);
        }
        out.len() > before
    }

    /// The result of a look at a worker.
    pub(super) fn accepting_seen(
        &mut self,
        now: Monotonic,
        pid: Pid,
        found: Found,
        took: Duration,
        out: &mut Vec<Action>,
    ) {
        let mut is_back = false;
        self.workers.with(pid, |worker| is_back = worker.accepting_seen(now, found, took, out));
        if let (true, Some(WorkerPlace::InSlot(index, _))) = (is_back, self.workers.place_of(pid)) {
            self.needs_no_successor(now, index, out);
        }
    }

    /// The worker of a slot accepts again. Its successor is retired if it has the same listeners, or if there is no
    /// other reason for it.
    fn needs_no_successor(&mut self, now: Monotonic, index: usize, out: &mut Vec<Action>) {
        let Some(worker) = self.workers.slot(index).and_then(Slot::seated) else { return };
        let (lane, due) =
            (worker.lane, worker.due().is_some() || self.reload.outdated_since(worker.generation).is_some());
        let Some(slot) = self.workers.slot_mut(index) else { return };
        let Some(successor) = slot.successor.take_if(|successor| successor.lane == lane || !due) else {
            return;
        };
        slot.retry_at = slot.retry_at.max(now + TRIED_AGAIN);
        self.reload.dropped(successor.id);
        self.retire(now, successor, Reason::Scale, out);
    }

    /// The lane of a slot's worker, if that worker has stopped accepting: its successor serves the connections that
    /// wait there. At most two workers share a lane.
    pub(super) fn inherited_lane(&self, index: usize) -> Option<Lane> {
        let left = self.workers.slot(index)?.seated().filter(|worker| worker.is_away())?;
        let have_it = self.workers.iter().filter(|worker| worker.lane == left.lane).count();
        Some(left.lane).filter(|_| self.policy.drain.shares && have_it == 1)
    }
}
