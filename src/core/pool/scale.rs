//! How many workers are wanted: one more, one fewer.

use super::Pool;
use crate::core::action::Action;
use crate::core::exit::Reason;
use crate::core::note::Note;
use crate::core::policy::MOST_WORKERS;
use crate::core::slot::{Seat, Slot};
use crate::core::time::Monotonic;

impl Pool {
    /// One more.
    pub(super) fn scale_up(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let from = self.wanted();
        if from >= MOST_WORKERS {
            return out.push(Action::Report(Note::NotScaled { workers: from }));
        }
        self.slots.push(Slot::new(now));
        out.push(Action::Report(Note::Scaled { workers: self.wanted(), from }));
    }

    /// One fewer: the one with the highest number makes way. Never none.
    pub(super) fn scale_down(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let from = self.wanted();
        let last = if from > 1 { self.slots.pop() } else { None };
        let Some(slot) = last else { return out.push(Action::Report(Note::NotScaled { workers: from })) };
        out.push(Action::Report(Note::Scaled { workers: self.wanted(), from }));
        if let Some(lane) = slot.kept_lane() {
            self.leave(now, lane);
        }
        let seated = match slot.seat {
            Seat::Taken(worker) => Some(worker),
            Seat::Vacant { .. } => None,
        };
        for worker in seated.into_iter().chain(slot.successor) {
            self.roll_has_dropped(worker.id);
            self.retire(now, worker, Reason::Scale, out);
        }
    }
}
