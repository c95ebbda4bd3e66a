//! What somebody asks for over the control socket. What becomes of it is to be seen in the status.

use super::{Pool, numbered};
use crate::core::action::Action;
use crate::core::event::Demand;
use crate::core::exit::Reason;
use crate::core::signal::Signal;
use crate::core::slot::Seat;
use crate::core::time::Monotonic;

impl Pool {
    pub(super) fn asked(&mut self, now: Monotonic, demand: Demand, out: &mut Vec<Action>) {
        match demand {
            Demand::Stop => self.asked_to_stop(now, Signal::TERM, out),
            Demand::Reload if self.is_running() => self.reload_asked(now, out),
            Demand::Scale { workers } if self.is_running() => self.scale_to(now, workers, out),
            Demand::Recycle { slot } if self.is_running() => self.recycle(now, slot, out),
            Demand::Reload | Demand::Scale { .. } | Demand::Recycle { .. } => {}
        }
    }

    fn recycle(&mut self, now: Monotonic, slot: u32, out: &mut Vec<Action>) {
        let Some(slot) = numbered(&mut self.slots, slot) else { return };
        // Somebody may just have mended what made the last replacement fail.
        slot.retry_at = slot.gap_until;
        match &mut slot.seat {
            Seat::Taken(worker) => worker.becomes_due(now, Reason::Asked, out),
            Seat::Vacant { spawn_at, .. } => *spawn_at = (*spawn_at).min(now.max(slot.gap_until)),
        }
    }
}
