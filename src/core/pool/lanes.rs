//! The lanes of a pool: which get new connections, and which have lost their worker.
//!
//! A slot that loses its worker keeps the lane for the respawn. Elsewhere a lane can be left with connections in it: its
//! worker died beside a successor with a lane of its own, or while it was being emptied, or is not to be replaced at all.
//! New connections go elsewhere, so such a queue is looked at once. If connections wait there, a worker makes way, in its
//! turn, for one that gets this lane.

use crate::action::{Action, ListenerAction, PoolCheck};
use crate::event::Lane;
use crate::time::{Monotonic, earlier, reached};
use alloc::vec::Vec;

#[derive(Clone, Debug, Default)]
pub(super) struct LanePlan {
    /// Where new connections go, in order.
    steered: Vec<Lane>,
    stranded: Vec<Stranded>,
}

/// A lane without a worker.
#[derive(Clone, Copy, Debug)]
struct Stranded {
    lane: Lane,
    /// When to look at its queue; `None` once that has been done.
    look_at: Option<Monotonic>,
    /// Whether connections wait there.
    waits: bool,
}

impl LanePlan {
    /// New connections go to these lanes.
    pub(super) fn steer<L: Iterator<Item = Lane>>(&mut self, lanes: impl Fn() -> L, out: &mut Vec<Action>) {
        // This comes after each step, and mostly all is as before.
        if lanes().count() == self.steered.len()
            && lanes().all(|lane| self.steered.binary_search(&lane).is_ok())
        {
            return;
        }
        self.steered = lanes().collect();
        self.steered.sort_unstable();
        out.push(Action::Listeners(ListenerAction::Steer { lanes: self.steered.clone() }));
    }

    /// Whether new connections come to this lane.
    pub(super) fn is_steered_to(&self, lane: Lane) -> bool {
        self.steered.contains(&lane)
    }

    /// This lane's worker is gone, and no other is to have it.
    pub(super) fn strand(&mut self, now: Monotonic, lane: Lane) {
        self.give(lane);
        self.stranded.push(Stranded { lane, look_at: Some(now), waits: false });
    }

    /// A worker gets this lane.
    pub(super) fn give(&mut self, lane: Lane) {
        self.stranded.retain(|stranded| stranded.lane != lane);
    }

    /// Whether every lane with connections has a worker, or a slot that gets one.
    pub(super) fn none_stranded(&self) -> bool {
        self.stranded.is_empty()
    }

    /// The stranded lane in which connections wait longest.
    pub(super) fn waiting(&self) -> Option<Lane> {
        self.stranded.iter().find(|stranded| stranded.waits).map(|stranded| stranded.lane)
    }

    /// How many stranded lanes have connections that wait.
    pub(super) fn number_waiting(&self) -> usize {
        self.stranded.iter().filter(|stranded| stranded.waits).count()
    }

    /// Looks at stranded lanes, if it is time.
    pub(super) fn look(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        for stranded in self.stranded.iter_mut().filter(|stranded| reached(stranded.look_at, now)) {
            stranded.look_at = None;
            out.push(Action::Check(PoolCheck::Lane { lane: stranded.lane }));
        }
    }

    pub(super) fn next_look(&self) -> Option<Monotonic> {
        self.stranded.iter().fold(None, |soonest, stranded| earlier(soonest, stranded.look_at))
    }

    /// This many connections wait in a stranded lane.
    pub(super) fn seen(&mut self, lane: Lane, waiting: u32) {
        if waiting == 0 {
            self.stranded.retain(|stranded| stranded.lane != lane || stranded.look_at.is_some());
        } else if let Some(stranded) = self.stranded.iter_mut().find(|stranded| stranded.lane == lane) {
            stranded.waits = true;
        }
    }
}
