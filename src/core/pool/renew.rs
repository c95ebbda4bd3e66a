//! A reload that reads the configuration anew: the policy changes between two events.

use super::Pool;
use crate::core::action::Action;
use crate::core::note::Note;
use crate::core::policy::{DrainPolicy, HangPolicy, PoolPolicy, ReadyPolicy};
use crate::core::snapshot::{Reload, ReloadState};
use crate::core::time::Monotonic;

impl Pool {
    /// Somebody wants every worker replaced.
    pub(super) fn reload_asked(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if self.policy.rereads {
            out.push(Action::ReadConfiguration);
        } else {
            self.reload(now, out);
        }
    }

    /// The configuration was read, and is in force if it was accepted.
    pub(super) fn configuration_read(&mut self, now: Monotonic, accepted: bool, out: &mut Vec<Action>) {
        if accepted {
            return self.reload(now, out);
        }
        self.newest = self.newest.saturating_add(1);
        self.last_reload = Some(Reload { generation: self.newest, state: ReloadState::Refused });
        out.push(Action::Report(Note::ReloadRefused { generation: self.newest }));
    }

    /// See [`Core::renew`](crate::core::Core::renew).
    pub fn renew(&mut self, policy: PoolPolicy) {
        let old = &self.policy;
        // What the listeners are, whether there is a path to probe, and what workers are told of themselves was decided
        // at the start; the time of the whole run counts from there.
        let drain = DrainPolicy { listens: old.drain.listens, steered: old.drain.steered, ..policy.drain };
        let hang = HangPolicy {
            probe: policy.hang.probe.filter(|_| old.hang.probe.is_some()).or(old.hang.probe),
            watchdog: old.hang.watchdog,
            accept_stall: policy.hang.accept_stall.filter(|_| drain.steered),
            ..policy.hang
        };
        let ready = ReadyPolicy { start_timeout: policy.ready.start_timeout, ..old.ready };
        let deadline = old.deadline;
        self.measure_at = policy.measure_every.map(|every| self.stepped + every);
        let old = std::mem::replace(&mut self.policy, PoolPolicy { drain, hang, ready, deadline, ..policy });
        let confirmed = self.policy_before.get_or_insert(old);
        self.rescale = Some(self.policy.workers).filter(|workers| *workers != confirmed.workers);
    }

    /// The reload has proved itself, and so has its policy.
    pub(super) fn confirm_policy(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        self.policy_before = None;
        if let Some(workers) = self.rescale.take() {
            self.scale_to(now, workers, out);
        }
    }

    /// The reload has failed: what is respawned is of the old generation, under the old policy.
    pub(super) fn restore_policy(&mut self) {
        self.rescale = None;
        if let Some(policy) = self.policy_before.take() {
            self.measure_at = policy.measure_every.map(|every| self.stepped + every);
            self.policy = policy;
        }
    }
}
