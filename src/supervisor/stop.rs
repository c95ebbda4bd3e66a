//! The end: answers, hooks and workers' output that are on their way may take a moment, and no more.

use super::Loop;
use crate::core::note::{InitNote, PoolNote};
use crate::core::time::Patience;
use crate::core::{Monotonic, Note};
use std::time::Duration;
use tokio::time::Instant;

/// What a reader of workers' output who is there takes in this time.
const LONGEST: Duration = Duration::from_secs(1);
/// What is left of that when the graceful timeout is over.
const SHORTEST: Duration = Duration::from_millis(100);

/// Turns that other tasks get at the end, to say what they have to say: the answer to the order that ended us, above all.
const LAST_TURNS: u32 = 4;

impl Loop {
    /// Nothing runs any more, and this is the exit code.
    pub(super) async fn finish(&mut self, code: u8) -> u8 {
        if let Some(fleet) = &mut self.execute.fleet {
            fleet.lanes.leave();
        }
        self.take_leave().await;
        self.last_words().await;
        self.finish_output().await;
        code
    }

    /// Remembers when the graceful timeout ends.
    pub(super) fn heed_end(&mut self, note: &Note) {
        let grace = match (note, self.core.stop_policy().graceful) {
            (Note::Pool(PoolNote::ShutdownStarted { drain_delay, .. }), Patience::For(grace)) => {
                grace.saturating_add(*drain_delay)
            }
            (Note::Init(InitNote::KillingAll), _) => Duration::ZERO,
            _ => return,
        };
        if let Some(fleet) = &mut self.execute.fleet {
            fleet.end_by = Instant::now().checked_add(grace);
        }
    }

    async fn finish_output(&mut self) {
        let Some(fleet) = &mut self.execute.fleet else { return };
        let left = fleet.end_by.map_or(LONGEST, |at| at.saturating_duration_since(Instant::now()));
        if let Some(output) = &mut fleet.output {
            output.finish(left.clamp(SHORTEST, LONGEST)).await;
        }
    }

    async fn take_leave(&mut self) {
        self.waiters.tell(|| self.core.status(self.clock.now()));
        if self.endpoints.control.is_some() {
            for _ in 0..LAST_TURNS {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Hooks that run or wait, that of the very end among them, have a moment.
    async fn last_words(&mut self) {
        if self.helpers.have_hooks() {
            let now = self.now();
            let until = self.helpers.hooks.last_words(now, &mut self.helpers.runner);
            self.tend_hooks();
            while self.helpers.have_hooks() && self.now() < until {
                let _paused = self.wait().await;
                self.take_signals();
                self.reap();
                self.tend_helpers();
            }
            self.helpers.hooks.give_up();
        }
        self.helpers.hooks.log_dropped();
        self.helpers.runner.hasten(|_| true, Monotonic::default());
        self.kill_overdue_helpers();
    }
}
