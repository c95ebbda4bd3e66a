//! Generations: a reload replaces every worker, one after the other, if the first one of the new generation becomes
//! ready.
//!
//! ```text
//!  Idle ──HUP──▶ Canary ──spawn──▶ tried ──ready──▶ Rolling ──all are new──▶ Idle
//!                  ▲                 └──ended──▶ failed: the old generation goes on
//!                  └── another HUP, at any time: the newest generation wins
//! ```
//! A new version can become ready and fail later. After such a failure no more slots are given to the new generation
//! until every slot has served for [`HEALTHY_AFTER`].

use crate::action::Action;
use crate::backoff::HEALTHY_AFTER;
use crate::event::SpawnId;
use crate::exit::Reason;
use crate::note::{Note, ReloadNote};
use crate::policy::PoolPolicy;
use crate::snapshot::{self, ReloadState};
use crate::time::Monotonic;
use alloc::vec::Vec;

/// The generation that a pool starts with.
const FIRST: u32 = 1;

#[derive(Clone, Debug)]
pub(super) struct Reload {
    /// The newest generation that had a ready worker.
    current: u32,
    /// The generation of the last request.
    newest: u32,
    /// The result of the last reload.
    last: Option<snapshot::Reload>,
    stage: ReloadStage,
    before: Option<Saved>,
}

#[derive(Clone, Copy, Debug)]
enum ReloadStage {
    Idle,
    /// The rest depends on the first worker of the new generation.
    Canary {
        to: u32,
        since: Monotonic,
        tried: Option<SpawnId>,
    },
    Rolling {
        to: u32,
        since: Monotonic,
        pause: Option<Pause>,
    },
}

/// A worker of the new generation has failed after the first was ready.
#[derive(Clone, Copy, Debug)]
struct Pause {
    /// Since when every slot has served without a break; `None` if one does not.
    whole_since: Option<Monotonic>,
}

/// The policy before the reload, until the new generation is confirmed or has failed.
#[derive(Clone, Debug)]
struct Saved {
    policy: PoolPolicy,
    /// The number of workers that the new policy wants, if it differs.
    scale_to: Option<u32>,
}

impl Reload {
    pub(super) fn new() -> Self {
        Self::take_over(FIRST, FIRST)
    }

    pub(super) fn take_over(current: u32, newest: u32) -> Self {
        Self { current, newest, last: None, stage: ReloadStage::Idle, before: None }
    }

    /// The newest generation that had a ready worker.
    pub(super) fn current(&self) -> u32 {
        self.current
    }

    pub(super) fn newest(&self) -> u32 {
        self.newest
    }

    /// The generation that is to take over; `None` if no reload is under way.
    pub(super) fn to(&self) -> Option<u32> {
        match self.stage {
            ReloadStage::Idle => None,
            ReloadStage::Canary { to, .. } | ReloadStage::Rolling { to, .. } => Some(to),
        }
    }

    /// The same, after its first worker was ready.
    pub(super) fn rolls_to(&self) -> Option<u32> {
        match self.stage {
            ReloadStage::Rolling { to, .. } => Some(to),
            ReloadStage::Idle | ReloadStage::Canary { .. } => None,
        }
    }

    /// The generation of a worker that is spawned now.
    pub(super) fn to_spawn(&self) -> u32 {
        self.to().unwrap_or(self.current)
    }

    /// Since when a worker of this generation is due for replacement by a newer one.
    pub(super) fn outdated_since(&self, generation: u32) -> Option<Monotonic> {
        match self.stage {
            ReloadStage::Canary { to, since, .. } | ReloadStage::Rolling { to, since, .. }
                if generation < to =>
            {
                Some(since)
            }
            ReloadStage::Idle | ReloadStage::Canary { .. } | ReloadStage::Rolling { .. } => None,
        }
    }

    /// When the next worker may be replaced by one of the new generation; `None` if there is no reload, or while a
    /// slot does not serve after a failure.
    pub(super) fn goes_on_at(&self) -> Option<Monotonic> {
        match self.stage {
            ReloadStage::Idle => None,
            ReloadStage::Canary { .. } | ReloadStage::Rolling { pause: None, .. } => {
                Some(Monotonic::default())
            }
            ReloadStage::Rolling { pause: Some(pause), .. } => {
                pause.whole_since.map(|since| since + HEALTHY_AFTER)
            }
        }
    }

    /// Whether planned replacements wait for the first worker of a generation: it is being tried, or a slot that was
    /// emptied by plan (`any_emptied`) is about to get it.
    pub(super) fn awaits_canary(&self, any_emptied: impl FnOnce() -> bool) -> bool {
        match self.stage {
            ReloadStage::Canary { tried, .. } => tried.is_some() || any_emptied(),
            ReloadStage::Idle | ReloadStage::Rolling { .. } => false,
        }
    }

    /// The reload that is under way, or the last one: of both, the one with the higher generation. So a failed reload
    /// stays visible while an older one goes on.
    pub(super) fn seen(&self) -> Option<snapshot::Reload> {
        let running =
            self.to().map(|generation| snapshot::Reload { generation, state: ReloadState::Running });
        running.into_iter().chain(self.last).max_by_key(|reload| reload.generation)
    }

    /// A reload begins: every living worker is to be replaced.
    pub(super) fn begin(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        self.newest = self.newest.saturating_add(1);
        self.stage = ReloadStage::Canary { to: self.newest, since: now, tried: None };
        out.push(Action::Note(Note::Reload(self.newest, ReloadNote::Started)));
    }

    /// The reload does not begin: the configuration is wrong.
    pub(super) fn refuse(&mut self, out: &mut Vec<Action>) {
        self.newest = self.newest.saturating_add(1);
        self.last = Some(snapshot::Reload { generation: self.newest, state: ReloadState::Refused });
        out.push(Action::Note(Note::Reload(self.newest, ReloadNote::Refused)));
    }

    /// The pool ends.
    pub(super) fn stop(&mut self) {
        self.stage = ReloadStage::Idle;
    }

    pub(super) fn spawned(&mut self, id: SpawnId, generation: u32) {
        if let ReloadStage::Canary { to, tried: tried @ None, .. } = &mut self.stage
            && *to == generation
        {
            *tried = Some(id);
        }
    }

    /// A worker of this generation is ready. It need not be the one that is tried: another may have been spawned
    /// after a crash.
    pub(super) fn ready(&mut self, generation: u32, out: &mut Vec<Action>) {
        if let ReloadStage::Canary { to, since, .. } = self.stage
            && to == generation
        {
            self.stage = ReloadStage::Rolling { to, since, pause: None };
            self.current = to;
            out.push(Action::Note(Note::Reload(to, ReloadNote::Confirmed)));
        }
    }

    /// A worker has ended, or could not be started. `any_older` is whether some worker is older than the current
    /// generation. Returns whether the worker was the first of its generation.
    pub(super) fn lost(
        &mut self,
        now: Monotonic,
        (id, generation): (SpawnId, u32),
        reason: Reason,
        any_older: bool,
        out: &mut Vec<Action>,
    ) -> bool {
        match &mut self.stage {
            ReloadStage::Rolling { to, pause, .. } if generation == *to && reason.is_failure() => {
                if pause.is_none() {
                    out.push(Action::Note(Note::Reload(generation, ReloadNote::Paused { reason })));
                }
                *pause = Some(Pause { whole_since: None });
                false
            }
            ReloadStage::Canary { tried, .. } if *tried == Some(id) => {
                if reason.is_failure() {
                    self.failed(now, generation, reason, any_older, out);
                } else {
                    *tried = None;
                }
                true
            }
            ReloadStage::Idle | ReloadStage::Canary { .. } | ReloadStage::Rolling { .. } => false,
        }
    }

    /// The first worker of a generation failed. An older reload that this one had overtaken goes on.
    fn failed(
        &mut self,
        now: Monotonic,
        generation: u32,
        reason: Reason,
        any_older: bool,
        out: &mut Vec<Action>,
    ) {
        self.last = Some(snapshot::Reload { generation, state: ReloadState::Failed(reason) });
        out.push(Action::Note(Note::Reload(generation, ReloadNote::Failed { reason })));
        self.stage = ReloadStage::Idle;
        if any_older {
            self.stage = ReloadStage::Rolling { to: self.current, since: now, pause: None };
            out.push(Action::Note(Note::Reload(self.current, ReloadNote::Resumed)));
        }
    }

    /// A retired worker may have been the first of its generation.
    pub(super) fn dropped(&mut self, id: SpawnId) {
        if let ReloadStage::Canary { tried, .. } = &mut self.stage {
            *tried = tried.filter(|tried| *tried != id);
        }
    }

    pub(super) fn all_serve(&mut self, now: Monotonic, all_serve: bool) {
        if let ReloadStage::Rolling { pause: Some(pause), .. } = &mut self.stage {
            pause.whole_since = if all_serve { pause.whole_since.or(Some(now)) } else { None };
        }
    }

    /// Every worker is of the new generation.
    pub(super) fn finish(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let ReloadStage::Rolling { to, since, .. } = self.stage else { return };
        self.stage = ReloadStage::Idle;
        if self.last.is_none_or(|last| last.generation <= to) {
            self.last = Some(snapshot::Reload { generation: to, state: ReloadState::Finished });
        }
        out.push(Action::Note(Note::Reload(to, ReloadNote::Finished { took: now.since(since) })));
    }

    /// A policy with this number of workers is in force until the next reload is confirmed or fails.
    pub(super) fn save(&mut self, old: PoolPolicy, workers: u32) {
        let saved = self.before.get_or_insert(Saved { policy: old, scale_to: None });
        saved.scale_to = Some(workers).filter(|workers| *workers != saved.policy.workers);
    }

    /// The new policy is confirmed. Returns the number of workers that it wants, if it differs.
    pub(super) fn confirm_policy(&mut self) -> Option<u32> {
        self.before.take()?.scale_to
    }

    /// The policy that was in force before; `None` if it has not changed.
    pub(super) fn restore_policy(&mut self) -> Option<PoolPolicy> {
        Some(self.before.take()?.policy)
    }
}
