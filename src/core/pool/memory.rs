//! What is measured from time to time: the workers, and the container they are in.

use super::Pool;
use super::slot::Slot;
use crate::core::action::{Action, PoolCheck, WorkerAction};
use crate::core::exit::Reason;
use crate::core::time::{Monotonic, reached};
use crate::core::worker::Worker;
use alloc::vec::Vec;

impl Pool {
    pub(super) fn measure(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if !reached(self.measure_at, now) {
            return;
        }
        self.measure_at = self.policy.measure_every.filter(|_| self.serves()).map(|every| now + every);
        self.workers()
            .filter(|worker| worker.is_ready())
            .for_each(|worker| worker.act(WorkerAction::Measure, out));
        if self.policy.recycle.memory_pressure.is_some() {
            out.push(Action::Check(PoolCheck::Container));
        }
    }

    /// Where all together take too much, the heaviest is to be replaced, and nobody else before that has helped or not.
    pub(super) fn container_measured(
        &mut self,
        now: Monotonic,
        used: u64,
        limit: u64,
        out: &mut Vec<Action>,
    ) {
        let Some(percent) = self.policy.recycle.memory_pressure else { return };
        let beyond =
            u128::from(used).saturating_mul(100) > u128::from(limit).saturating_mul(u128::from(percent));
        let is_replaced =
            |worker: &Worker| !worker.is_ready() || matches!(worker.due(), Some((Reason::MaxMemory, _)));
        if !beyond || self.workers().any(is_replaced) {
            self.pressed = 0;
            return;
        }
        self.pressed = self.pressed.saturating_add(1);
        if self.pressed < self.policy.recycle.memory_samples {
            return;
        }
        self.pressed = 0;
        let seated = self.slots.iter_mut().filter_map(Slot::seated_mut);
        if let Some(heaviest) =
            seated.filter(|worker| worker.due().is_none()).max_by_key(|worker| worker.memory)
        {
            heaviest.too_heavy(now, out);
        }
    }
}
