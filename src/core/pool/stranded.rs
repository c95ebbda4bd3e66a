//! Queues that lost their worker: whoever waits there is owed another.
//!
//! A slot that loses its worker keeps the lane for the respawn. Elsewhere a lane can be left with connections in it: its
//! worker died beside a successor with a lane of its own, or while it was being emptied, or is not to be replaced at all.
//! New connections go elsewhere, so such a queue is looked at once. If somebody waits, a worker makes way, in its turn,
//! for one who gets this lane.

use super::Pool;
use super::slot::Slot;
use crate::core::action::{Action, PoolCheck};
use crate::core::event::Lane;
use crate::core::exit::Reason;
use crate::core::time::{Monotonic, earlier, reached};
use crate::core::worker::Worker;
use alloc::vec::Vec;

/// A lane that is nobody's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stranded {
    lane: Lane,
    /// When to look at its queue; `None` once that has been done.
    look_at: Option<Monotonic>,
    /// Whether somebody waits there.
    waits: bool,
}

impl Pool {
    /// This lane's worker is gone, and nobody is to have it. To be looked at when new connections go elsewhere.
    pub(super) fn leave(&mut self, now: Monotonic, lane: Lane) {
        if self.policy.drain.steered && self.serves() && !self.workers.has_lane(lane) {
            self.stranded.retain(|owed| owed.lane != lane);
            self.stranded.push(Stranded { lane, look_at: Some(now), waits: false });
        }
    }

    /// Somebody gets this lane.
    pub(super) fn is_given(&mut self, lane: Lane) {
        self.stranded.retain(|owed| owed.lane != lane);
    }

    /// The lane where somebody waits longest.
    pub(super) fn stranded_lane(&self) -> Option<Lane> {
        self.stranded.iter().find(|owed| owed.waits).map(|owed| owed.lane)
    }

    pub(super) fn next_look_at_stranded(&self) -> Option<Monotonic> {
        let owed = self.stranded.iter().filter(|_| self.serves());
        owed.fold(None, |soonest, owed| earlier(soonest, owed.look_at))
    }

    /// Looks, if it is time.
    pub(super) fn look_at_stranded(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let serves = self.serves();
        for owed in self.stranded.iter_mut().filter(|owed| serves && reached(owed.look_at, now)) {
            owed.look_at = None;
            out.push(Action::Check(PoolCheck::Lane { lane: owed.lane }));
        }
    }

    /// So many connections wait in a lane that is nobody's.
    pub(super) fn lane_seen(&mut self, lane: Lane, waiting: u32) {
        if waiting == 0 {
            self.stranded.retain(|owed| owed.lane != lane || owed.look_at.is_some());
        } else if let Some(owed) = self.stranded.iter_mut().find(|owed| owed.lane == lane) {
            owed.waits = true;
        }
    }

    /// As many workers make way as there are lanes in which somebody waits.
    pub(super) fn settle_stranded(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let waiting = self.stranded.iter().filter(|owed| owed.waits).count();
        let makes_way = |worker: &Worker| matches!(worker.due(), Some((Reason::Queue, _)));
        let replaced = self.workers.slots().iter().filter(|slot| slot.seated().is_some_and(makes_way));
        let missing = waiting.saturating_sub(replaced.filter(|slot| slot.successor.is_none()).count());
        let seats = self
            .workers
            .slots_mut()
            .iter_mut()
            .filter(|slot| slot.successor.is_none())
            .filter_map(Slot::seated_mut);
        for worker in seats.filter(|worker| worker.serves() && worker.due().is_none()).take(missing) {
            worker.makes_way(now, out);
        }
    }
}
