//! Generations: a reload replaces every worker, one after the other, if the first one of the new generation gets ready.
//!
//! ```text
//!  Idle ──HUP──▶ Canary ──spawn──▶ tried ──ready──▶ Rolling ──all are new──▶ Idle
//!                  ▲                 └──ended──▶ failed: the old generation goes on
//!                  └── another HUP, at any time: what is newer than new wins
//! ```
//! A version can get ready and fail then: as soon as a new worker has, no more slots are given to the new generation
//! before every slot has served for a while.

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
    /// The generation that has proved itself.
    current: u32,
    /// The last one that was asked for.
    newest: u32,
    /// How the last one ended.
    last: Option<snapshot::Reload>,
    stage: ReloadStage,
    before: Option<Saved>,
}

#[derive(Clone, Copy, Debug)]
enum ReloadStage {
    Idle,
    /// All others depend on the first worker of the new generation.
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

/// A worker of the new generation has failed after it had proved itself.
#[derive(Clone, Copy, Debug)]
struct Pause {
    /// Since when every slot has served from then on.
    whole_since: Option<Monotonic>,
}

/// What was in force before, while a generation with another policy has not proved itself.
#[derive(Clone, Debug)]
struct Saved {
    policy: PoolPolicy,
    /// How many workers are wanted once it has, if not as many as now.
    scale_to: Option<u32>,
}

impl Reload {
    pub(super) fn new() -> Self {
        Self::take_over(FIRST, FIRST)
    }

    /// These were handed over.
    pub(super) fn take_over(current: u32, newest: u32) -> Self {
        Self { current, newest, last: None, stage: ReloadStage::Idle, before: None }
    }

    /// The generation that has proved itself.
    pub(super) fn current(&self) -> u32 {
        self.current
    }

    pub(super) fn newest(&self) -> u32 {
        self.newest
    }

    /// Which generation is to take over, if one is.
    pub(super) fn to(&self) -> Option<u32> {
        match self.stage {
            ReloadStage::Idle => None,
            ReloadStage::Canary { to, .. } | ReloadStage::Rolling { to, .. } => Some(to),
        }
    }

    /// Which generation is to take over, if it has proved itself.
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

    /// Since when a worker of this generation is to make way for a newer one.
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

    /// When the next worker may make way for a newer generation, as far as that has done well; None is not before it
    /// does.
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

    /// Whether everything waits for the first worker of a generation: it is tried, or a slot that was emptied by plan,
    /// if `any_emptied`, is about to get it.
    pub(super) fn awaits_canary(&self, any_emptied: impl FnOnce() -> bool) -> bool {
        match self.stage {
            ReloadStage::Canary { tried, .. } => tried.is_some() || any_emptied(),
            ReloadStage::Idle | ReloadStage::Rolling { .. } => false,
        }
    }

    /// The reload that is under way, or the last one. One that failed is not forgotten while an older one goes on.
    pub(super) fn seen(&self) -> Option<snapshot::Reload> {
        let running =
            self.to().map(|generation| snapshot::Reload { generation, state: ReloadState::Running });
        running.into_iter().chain(self.last).max_by_key(|reload| reload.generation)
    }

    /// Every worker that is alive is to make way for a new one.
    pub(super) fn begin(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        self.newest = self.newest.saturating_add(1);
        self.stage = ReloadStage::Canary { to: self.newest, since: now, tried: None };
        out.push(Action::Note(Note::Reload(self.newest, ReloadNote::Started)));
    }

    /// It does not begin: the configuration is wrong.
    pub(super) fn refuse(&mut self, out: &mut Vec<Action>) {
        self.newest = self.newest.saturating_add(1);
        self.last = Some(snapshot::Reload { generation: self.newest, state: ReloadState::Refused });
        out.push(Action::Note(Note::Reload(self.newest, ReloadNote::Refused)));
    }

    /// Everything ends.
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

    /// Any worker of the new generation will do: another than the one that is tried may have come after a crash.
    pub(super) fn ready(&mut self, generation: u32, out: &mut Vec<Action>) {
        if let ReloadStage::Canary { to, since, .. } = self.stage
            && to == generation
        {
            self.stage = ReloadStage::Rolling { to, since, pause: None };
            self.current = to;
            out.push(Action::Note(Note::Reload(to, ReloadNote::Confirmed)));
        }
    }

    /// A worker has ended, or could not be started. `any_older` is whether some worker is of an older generation than
    /// the one that has proved itself. Returns whether it was the first of its generation.
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

    /// One that had proved itself when this one overtook it goes on.
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

    /// A worker that is not wanted any more was perhaps the first of its generation.
    pub(super) fn dropped(&mut self, id: SpawnId) {
        if let ReloadStage::Canary { tried, .. } = &mut self.stage {
            *tried = tried.filter(|tried| *tried != id);
        }
    }

    /// Whether every slot serves now.
    pub(super) fn all_serve(&mut self, now: Monotonic, all_serve: bool) {
        if let ReloadStage::Rolling { pause: Some(pause), .. } = &mut self.stage {
            pause.whole_since = if all_serve { pause.whole_since.or(Some(now)) } else { None };
        }
    }

    /// Every worker is new, and no old one is left.
    pub(super) fn finish(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let ReloadStage::Rolling { to, since, .. } = self.stage else { return };
        self.stage = ReloadStage::Idle;
        if self.last.is_none_or(|last| last.generation <= to) {
            self.last = Some(snapshot::Reload { generation: to, state: ReloadState::Finished });
        }
        out.push(Action::Note(Note::Reload(to, ReloadNote::Finished { took: now.since(since) })));
    }

    /// Another policy with this number of workers is in force until the reload that follows has proved itself or failed.
    pub(super) fn save(&mut self, old: PoolPolicy, workers: u32) {
        let saved = self.before.get_or_insert(Saved { policy: old, scale_to: None });
        saved.scale_to = Some(workers).filter(|workers| *workers != saved.policy.workers);
    }

    /// The policy has proved itself. Returns how many workers it wants, if not as many as before.
    pub(super) fn confirm_policy(&mut self) -> Option<u32> {
        self.before.take()?.scale_to
    }

    /// What was in force before, if that was another.
    pub(super) fn restore_policy(&mut self) -> Option<PoolPolicy> {
        Some(self.before.take()?.policy)
    }
}
