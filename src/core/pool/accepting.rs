//! Workers that take no connections any more, and their successors, which serve those that wait for them.

use super::Pool;
use super::slot::Slot;
use super::workers::WorkerPlace;
use crate::action::Action;
use crate::event::{Found, Lane, Pid};
use crate::exit::Reason;
use crate::time::Monotonic;
use alloc::vec::Vec;
use core::time::Duration;

/// A worker that came back just when a successor came has no other this soon.
const TRIED_AGAIN: Duration = Duration::from_secs(2);

impl Pool {
    /// Looks at one worker, if it is time: a look may take two milliseconds. Returns whether it does.
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

    /// A look at a worker found this.
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

    /// The worker of a slot is back: the one that was to take its place goes, if it has the same listeners or nothing
    /// else calls for it.
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

    /// The listeners of a slot's worker, if that takes no connections any more: the next in its place serves those that
    /// wait there. No more than two have the same.
    pub(super) fn inherited_lane(&self, index: usize) -> Option<Lane> {
        let left = self.workers.slot(index)?.seated().filter(|worker| worker.is_away())?;
        let have_it = self.workers.iter().filter(|worker| worker.lane == left.lane).count();
        Some(left.lane).filter(|_| self.policy.drain.shares && have_it == 1)
    }
}
