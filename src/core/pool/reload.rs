//! Generations: a reload replaces every worker, one after the other, if the first one of the new generation gets ready.
//!
//! ```text
//!  HUP ──▶ Wanted ──spawn──▶ Tried ──ready──▶ Passed ──all are new──▶ finished
//!             ▲                 └──ended──▶ failed: the old generation goes on
//!             └── another HUP, at any time: what is newer than new wins
//! ```
//! A version can get ready and fail then: as soon as a new worker has, no more slots are given to the new generation
//! before every slot has served for a while.

use super::Pool;
use super::slot::{Seat, Slot};
use crate::core::action::{Action, Ask};
use crate::core::backoff::HEALTHY_AFTER;
use crate::core::event::SpawnId;
use crate::core::exit::Reason;
use crate::core::note::{Note, ReloadNote};
use crate::core::policy::{DrainPolicy, HangPolicy, PoolPolicy, ReadyPolicy};
use crate::core::snapshot::{Reload, ReloadState};
use crate::core::time::Monotonic;
use crate::core::worker::Worker;
use alloc::vec::Vec;

/// The generation that a pool starts with.
pub const FIRST: u32 = 1;

/// A reload under way.
#[derive(Clone, Copy, Debug)]
pub struct Roll {
    to: u32,
    since: Monotonic,
    canary: Canary,
    pause: Pause,
}

/// Whether a reload that has proved itself waits.
#[derive(Clone, Copy, Debug)]
enum Pause {
    No,
    /// One of its workers has failed. Since when every slot has served from then on.
    Hurt {
        whole_since: Option<Monotonic>,
    },
}

/// The first worker of a new generation, on which the others depend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Canary {
    Wanted,
    Tried(SpawnId),
    Passed,
}

impl Pool {
    /// Every worker that is alive is to make way for a new one.
    pub(super) fn reload(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        self.newest = self.newest.saturating_add(1);
        self.roll = Some(Roll { to: self.newest, since: now, canary: Canary::Wanted, pause: Pause::No });
        self.workers.plan_from(now);
        out.push(Action::Note(Note::Reload(self.newest, ReloadNote::Started)));
        let mut overtaken = Vec::new();
        for slot in self.workers.slots_mut() {
            overtaken.extend(slot.successor.take());
            // Somebody may just have mended what made them fail.
            slot.retry_at = slot.gap_until;
            if let Seat::Vacant { spawn_at, .. } = &mut slot.seat {
                *spawn_at = (*spawn_at).min(now.max(slot.gap_until));
            }
        }
        for worker in overtaken {
            self.retire(now, worker, Reason::Reload, out);
        }
    }

    /// Which generation is to take over, if one is.
    pub(super) fn reloads_to(&self) -> Option<u32> {
        self.roll.map(|roll| roll.to)
    }

    /// The generation of whoever is spawned now.
    pub(super) fn generation_to_spawn(&self) -> u32 {
        self.roll.map_or(self.generation, |roll| roll.to)
    }

    /// Since when this worker is to make way for a newer generation.
    pub(super) fn outdated_since(&self, worker: &Worker) -> Option<Monotonic> {
        self.roll.filter(|roll| worker.generation < roll.to).map(|roll| roll.since)
    }

    /// When the next worker may make way for a newer generation, as far as that has done well; None is not before it
    /// does.
    pub(super) fn roll_goes_on_at(&self) -> Option<Monotonic> {
        match self.roll?.pause {
            Pause::No => Some(Monotonic::default()),
            Pause::Hurt { whole_since } => whole_since.map(|since| since + HEALTHY_AFTER),
        }
    }

    /// Whether everything waits for the first worker of a generation: it is tried, or a slot that was emptied by plan
    /// is about to get it.
    pub(super) fn awaits_canary(&self) -> bool {
        let is_emptied = |slot: &Slot| matches!(slot.seat, Seat::Vacant { lane: None, .. });
        self.roll.is_some_and(|roll| match roll.canary {
            Canary::Wanted => self.workers.slots().iter().any(is_emptied),
            Canary::Tried(_) => true,
            Canary::Passed => false,
        })
    }

    pub(super) fn roll_has_spawned(&mut self, id: SpawnId, generation: u32) {
        if let Some(Roll { to, canary: canary @ Canary::Wanted, .. }) = &mut self.roll
            && *to == generation
        {
            *canary = Canary::Tried(id);
        }
    }

    /// Any worker of the new generation will do: another than the one that is tried may have come after a crash.
    pub(super) fn roll_has_ready(&mut self, generation: u32, out: &mut Vec<Action>) {
        if let Some(Roll { to, canary, .. }) = &mut self.roll
            && *canary != Canary::Passed
            && *to == generation
        {
            *canary = Canary::Passed;
            self.generation = *to;
            out.push(Action::Note(Note::Reload(*to, ReloadNote::Confirmed)));
        }
    }

    /// A worker has ended, or could not be started.
    pub(super) fn roll_has_lost(
        &mut self,
        now: Monotonic,
        (id, generation): (SpawnId, u32),
        reason: Reason,
        out: &mut Vec<Action>,
    ) {
        let Some(Roll { to, canary, pause, .. }) = &mut self.roll else { return };
        if *canary == Canary::Passed && generation == *to && reason.is_failure() {
            if matches!(pause, Pause::No) {
                out.push(Action::Note(Note::Reload(generation, ReloadNote::Paused { reason })));
            }
            *pause = Pause::Hurt { whole_since: None };
        }
        if *canary != Canary::Tried(id) {
            return;
        }
        if reason.is_failure() {
            self.roll = self.left_undone(now);
            self.restore_policy();
            self.last_reload = Some(Reload { generation, state: ReloadState::Failed(reason) });
            out.push(Action::Note(Note::Reload(generation, ReloadNote::Failed { reason })));
            out.extend(self.roll.map(|roll| Action::Note(Note::Reload(roll.to, ReloadNote::Resumed))));
        } else {
            *canary = Canary::Wanted;
        }
        self.workers.plan_from(self.workers.planned_from().max(now));
    }

    /// A reload that had proved itself when another overtook it, which has failed now: it goes on.
    fn left_undone(&self, now: Monotonic) -> Option<Roll> {
        let to = self.generation;
        let is_undone = self.workers.in_slots().any(|worker| worker.generation < to);
        is_undone.then_some(Roll { to, since: now, canary: Canary::Passed, pause: Pause::No })
    }

    /// A slot is emptied by plan: not all serve any more.
    pub(super) fn roll_has_emptied(&mut self) {
        if let Some(Roll { pause: Pause::Hurt { whole_since }, .. }) = &mut self.roll {
            *whole_since = None;
        }
    }

    /// A worker that is not wanted any more was perhaps the first of its generation.
    pub(super) fn roll_has_dropped(&mut self, id: SpawnId) {
        if let Some(Roll { canary, .. }) = &mut self.roll
            && *canary == Canary::Tried(id)
        {
            *canary = Canary::Wanted;
        }
    }

    /// Whether everybody is new by now, and nobody old is left.
    pub(super) fn go_on_rolling(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let all_serve = self.workers.unavailable() == 0;
        if let Some(Roll { pause: Pause::Hurt { whole_since }, .. }) = &mut self.roll {
            *whole_since = if all_serve { whole_since.or(Some(now)) } else { None };
        }
        let Some(Roll { to, since, canary: Canary::Passed, .. }) = self.roll else { return };
        self.confirm_policy(now, out);
        let is_new = |slot: &Slot| slot.seated().is_some_and(|w| w.is_ready() && w.generation == to);
        if self.workers.slots().iter().all(is_new)
            && self.workers.retiring().iter().all(|worker| worker.generation >= to)
        {
            self.roll = None;
            if self.last_reload.is_none_or(|last| last.generation <= to) {
                self.last_reload = Some(Reload { generation: to, state: ReloadState::Finished });
            }
            out.push(Action::Note(Note::Reload(to, ReloadNote::Finished { took: now.since(since) })));
        }
    }

    /// Somebody wants every worker replaced.
    pub(super) fn reload_asked(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if self.policy.rereads {
            out.push(Action::Ask(Ask::ReadConfiguration));
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
        out.push(Action::Note(Note::Reload(self.newest, ReloadNote::Refused)));
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
        self.memory.schedule(self.stepped, policy.measure_every);
        let old = core::mem::replace(&mut self.policy, PoolPolicy { drain, hang, ready, deadline, ..policy });
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
            self.memory.schedule(self.stepped, policy.measure_every);
            self.policy = policy;
        }
    }
}
