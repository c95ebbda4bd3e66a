//! The periodic measurements of the workers and of their container.

use super::Pool;
use crate::action::{Action, PoolCheck, WorkerAction};
use crate::exit::Reason;
use crate::time::Monotonic;
use crate::worker::Worker;
use alloc::vec::Vec;

impl Pool {
    pub(super) fn measure(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if !self.memory.is_due(now) {
            return;
        }
        self.memory.schedule(now, self.policy.measure_every.filter(|_| self.phase.serves()));
        self.workers
            .iter()
            .filter(|worker| worker.is_ready())
            .for_each(|worker| worker.act(WorkerAction::Measure, out));
        if self.policy.recycle.memory_pressure.is_some() {
            out.push(Action::Check(PoolCheck::Container));
        }
    }

    /// If the container uses too much, the heaviest worker is due. No other becomes due before its replacement has
    /// shown whether that helps.
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
        let is_short = beyond && !self.workers.iter().any(is_replaced);
        if !self.memory.measured(is_short, self.policy.recycle.memory_samples) {
            return;
        }
        let seated = self.workers.seated_mut();
        if let Some(heaviest) =
            seated.filter(|worker| worker.due().is_none()).max_by_key(|worker| worker.memory)
        {
            heaviest.too_heavy(now, out);
        }
    }
}
