//! The lanes of a pool: which ones get new connections, and which ones have lost their worker.
//!
//! A slot that loses its worker keeps the lane for the respawn. Other lanes can be stranded with connections in them:
//! the worker died beside a successor with a lane of its own, or while it was draining, or its slot is dropped. New
//! connections go elsewhere, so one look at such a queue is enough. If connections wait there, a worker is replaced,
//! in its turn, by one that gets this lane.

use crate::action::{Action, ListenerAction, PoolCheck};
use crate::event::Lane;
use crate::time::{Monotonic, earlier, reached};
use alloc::vec::Vec;

#[derive(Clone, Debug, Default)]
pub(super) struct LanePlan {
    /// The lanes that get new connections, in order.
    steered: Vec<Lane>,
    stranded: Vec<Stranded>,
}

/// A lane without a worker.
#[derive(Clone, Copy, Debug)]
struct Stranded {
    lane: Lane,
    /// When to look at the queue; `None` after the look.
    look_at: Option<Monotonic>,
    /// Whether connections wait there.
    waits: bool,
}

impl LanePlan {
    pub(super) fn steer<L: Iterator<Item = Lane>>(&mut self, lanes: impl Fn() -> L, out: &mut Vec<Action>) {
        // This runs after each step, and mostly nothing has changed.
        if lanes().count() == self.steered.len()
            && lanes().all(|lane| self.steered.binary_search(&lane).is_ok())
        {
            return;
        }
        self.steered = lanes().collect();
        self.steered.sort_unstable();
        out.push(Action::Listeners(ListenerAction::Steer { lanes: self.steered.clone() }));
    }

    pub(super) fn is_steered_to(&self, lane: Lane) -> bool {
        self.steered.contains(&lane)
    }

    /// The worker of this lane is gone, and no slot keeps the lane.
    pub(super) fn strand(&mut self, now: Monotonic, lane: Lane) {
        self.give(lane);
        self.stranded.push(Stranded { lane, look_at: Some(now), waits: false });
    }

    /// A worker gets this lane.
    pub(super) fn give(&mut self, lane: Lane) {
        self.stranded.retain(|stranded| stranded.lane != lane);
    }

    /// Whether every lane with connections has a worker, or a slot that is about to get one.
    pub(super) fn none_stranded(&self) -> bool {
        self.stranded.is_empty()
    }

    /// The oldest stranded lane with waiting connections.
    pub(super) fn waiting(&self) -> Option<Lane> {
        self.stranded.iter().find(|stranded| stranded.waits).map(|stranded| stranded.lane)
    }

    pub(super) fn number_waiting(&self) -> usize {
        self.stranded.iter().filter(|stranded| stranded.waits).count()
    }

    pub(super) fn look(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        for stranded in self.stranded.iter_mut().filter(|stranded| reached(stranded.look_at, now)) {
            stranded.look_at = None;
            out.push(Action::Check(PoolCheck::Lane { lane: stranded.lane }));
        }
    }

    pub(super) fn next_look(&self) -> Option<Monotonic> {
        self.stranded.iter().fold(None, |soonest, stranded| earlier(soonest, stranded.look_at))
    }

    /// The result of a look at a stranded lane.
    pub(super) fn seen(&mut self, lane: Lane, waiting: u32) {
        if waiting == 0 {
            self.stranded.retain(|stranded| stranded.lane != lane || stranded.look_at.is_some());
        } else if let Some(stranded) = self.stranded.iter_mut().find(|stranded| stranded.lane == lane) {
            stranded.waits = true;
        }
    }
}
