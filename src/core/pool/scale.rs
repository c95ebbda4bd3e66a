//! How many workers are wanted: one more, one fewer, or so many.

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
        self.scale_to(now, self.wanted().saturating_add(1), out);
    }

    /// One fewer.
    pub(super) fn scale_down(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        self.scale_to(now, self.wanted().saturating_sub(1), out);
    }

    /// So many, at least one. Those with the highest numbers make way.
    pub(super) fn scale_to(&mut self, now: Monotonic, workers: u32, out: &mut Vec<Action>) {
        let (from, workers) = (self.wanted(), workers.clamp(1, MOST_WORKERS));
        if workers == from {
            return out.push(Action::Report(Note::NotScaled { workers }));
        }
        out.push(Action::Report(Note::Scaled { workers, from }));
        for _ in from..workers {
            self.slots.push(Slot::new(now));
        }
        for _ in workers..from {
            self.drop_last(now, out);
        }
    }

    fn drop_last(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let Some(slot) = self.slots.pop() else { return };
        self.first_start_has_dropped();
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
