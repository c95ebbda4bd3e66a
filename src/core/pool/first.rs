//! The first start: until one worker has been ready, it is unknown whether the application can start at all.
//!
//! ```text
//!  Together ──one fails──▶ Alone: the slot of the first that failed tries again, the others wait
//!     └──────one is ready─────┴──────────▶ Passed: each slot for itself from then on
//! ```
//! All slots are filled at once, so several workers that start well do not take longer than one. A broken application
//! is then tried in one slot only: a traceback from each slot would say no more than one.

#[derive(Clone, Copy, Debug)]
pub(super) struct FirstStart {
    stage: FirstStage,
    /// Whether any spawn has ever succeeded.
    spawned: bool,
    /// Whether a worker may have tried to reach a service, as far as is known.
    reached_out: bool,
    /// Whether `min_ready` workers have ever been ready at the same time.
    enough: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FirstStage {
    Together,
    Alone { slot: usize },
    Passed,
}

impl FirstStart {
    pub(super) fn new() -> Self {
        Self { stage: FirstStage::Together, spawned: false, reached_out: false, enough: false }
    }

    /// A handover. `enough` is whether enough workers have ever been ready, `any` whether one is.
    pub(super) fn take_over(enough: bool, any: bool) -> Self {
        let stage = if enough || any { FirstStage::Passed } else { FirstStage::Together };
        Self { stage, spawned: true, reached_out: false, enough }
    }

    pub(super) fn has_spawned(&mut self) {
        self.spawned = true;
    }

    pub(super) fn ever_spawned(&self) -> bool {
        self.spawned
    }

    pub(super) fn has_reached_out(&mut self) {
        self.reached_out = true;
    }

    pub(super) fn passed(&mut self) {
        self.stage = FirstStage::Passed;
    }

    pub(super) fn has_enough(&mut self) {
        self.enough = true;
    }

    pub(super) fn ever_had_enough(&self) -> bool {
        self.enough
    }

    /// Whether this slot, if vacant, may be filled.
    pub(super) fn may_fill(&self, index: usize) -> bool {
        match self.stage {
            FirstStage::Together | FirstStage::Passed => true,
            FirstStage::Alone { slot } => slot == index,
        }
    }

    pub(super) fn failed(&mut self, slot: usize) {
        match self.stage {
            FirstStage::Together => self.stage = FirstStage::Alone { slot },
            FirstStage::Alone { .. } | FirstStage::Passed => {}
        }
    }

    /// The number of slots is now `slots`. If the slot that tries is gone, the first vacant slot tries instead.
    pub(super) fn has_dropped(&mut self, slots: usize, vacant: Option<usize>) {
        match self.stage {
            FirstStage::Alone { slot } if slot >= slots => {
                self.stage = vacant.map_or(FirstStage::Together, |slot| FirstStage::Alone { slot });
            }
            FirstStage::Together | FirstStage::Alone { .. } | FirstStage::Passed => {}
        }
    }

    /// Whether no worker has ever been ready and none has tried to reach a service: so there is nothing that could
    /// come up later.
    pub(super) fn waits_for_nothing(&self) -> bool {
        match self.stage {
            FirstStage::Together | FirstStage::Alone { .. } => !self.reached_out,
            FirstStage::Passed => false,
        }
    }
}
