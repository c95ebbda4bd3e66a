//! What a reload does to the workers. The generations are in [`Reload`](super::reload::Reload).

use super::Pool;
use super::slot::{Seat, Slot};
use crate::action::{Action, Ask};
use crate::event::SpawnId;
use crate::exit::Reason;
use crate::policy::{DrainPolicy, HangPolicy, PoolPolicy, ReadyPolicy};
use crate::time::Monotonic;
use alloc::vec::Vec;

impl Pool {
    pub(super) fn reload_asked(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if self.policy.rereads {
            out.push(Action::Ask(Ask::ReadConfiguration));
        } else {
            self.reload(now, out);
        }
    }

    /// The configuration was read. If it was accepted, it is in force.
    pub(super) fn configuration_read(&mut self, now: Monotonic, accepted: bool, out: &mut Vec<Action>) {
        if accepted {
            self.reload(now, out);
        } else {
            self.reload.refuse(out);
        }
    }

    fn reload(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        self.reload.begin(now, out);
        self.workers.plan_from(now);
        let mut overtaken = Vec::new();
        for slot in self.workers.slots_mut() {
            overtaken.extend(slot.successor.take());
            // The cause of their failures may just have been repaired.
            slot.retry_at = slot.gap_until;
            if let Seat::Vacant { spawn_at, .. } = &mut slot.seat {
                *spawn_at = (*spawn_at).min(now.max(slot.gap_until));
            }
        }
        for worker in overtaken {
            self.retire(now, worker, Reason::Reload, out);
        }
    }

    pub(super) fn awaits_canary(&self) -> bool {
        let is_emptied = |slot: &Slot| matches!(slot.seat, Seat::Vacant { lane: None, .. });
        self.reload.awaits_canary(|| self.workers.slots().iter().any(is_emptied))
    }

    pub(super) fn reload_has_lost(
        &mut self,
        now: Monotonic,
        worker: (SpawnId, u32),
        reason: Reason,
        out: &mut Vec<Action>,
    ) {
        let any_older = self.workers.in_slots().any(|worker| worker.generation < self.reload.current());
        if !self.reload.lost(now, worker, reason, any_older, out) {
            return;
        }
        if reason.is_failure() {
            self.restore_policy();
        }
        self.workers.plan_from(self.workers.planned_from().max(now));
    }

    /// Ends the reload if all workers are of the new generation and no old one is left.
    pub(super) fn go_on_reloading(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        self.reload.all_serve(now, self.workers.unavailable() == 0);
        let Some(to) = self.reload.rolls_to() else { return };
        if let Some(workers) = self.reload.confirm_policy() {
            self.scale_to(now, workers, out);
        }
        let is_new = |slot: &Slot| slot.seated().is_some_and(|w| w.is_ready() && w.generation == to);
        if self.workers.slots().iter().all(is_new)
            && self.workers.retiring().iter().all(|worker| worker.generation >= to)
        {
            self.reload.finish(now, out);
        }
    }

    /// See [`Core::renew`](crate::Core::renew).
    pub fn renew(&mut self, policy: PoolPolicy) {
        let old = &self.policy;
        // The listeners, the existence of a path to probe, and what workers were given at their start (the watchdog)
        // cannot change. The deadline of the whole run counts from the start.
        let drain = DrainPolicy { listens: old.drain.listens, steered: old.drain.steered, ..policy.drain };
        let hang = HangPolicy {
            probe: policy.hang.probe.filter(|_| old.hang.probe.is_some()).or(old.hang.probe),
            watchdog: old.hang.watchdog,
            accept_stall: policy.hang.accept_stall.filter(|_| drain.steered),
            ..policy.hang
        };
        let ready = ReadyPolicy { start_timeout: policy.ready.start_timeout, ..old.ready };
        let deadline = old.deadline;
        self.memory.schedule(self.clock.stepped(), policy.measure_every);
        let old = core::mem::replace(&mut self.policy, PoolPolicy { drain, hang, ready, deadline, ..policy });
        self.reload.save(old, self.policy.workers);
    }

    /// The reload has failed: respawned workers belong to the old generation and get the old policy.
    fn restore_policy(&mut self) {
        if let Some(policy) = self.reload.restore_policy() {
            self.memory.schedule(self.clock.stepped(), policy.measure_every);
            self.policy = policy;
        }
    }
}
