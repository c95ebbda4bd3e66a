//! The end: pending answers, hooks and workers' output get a limited time.

use super::Supervisor;
use super::life::Life;
use crate::core::Monotonic;
use crate::workers::Workers;
use std::time::Duration;
use tokio::time::Instant;

/// The longest time for workers' output: enough for a reader that reads.
const LONGEST: Duration = Duration::from_secs(1);
/// The shortest, even if the graceful timeout is over.
const SHORTEST: Duration = Duration::from_millis(100);

/// Turns of other tasks at the end, mainly for the answer to the order that ended the supervisor.
const LAST_TURNS: u32 = 4;

impl Supervisor {
    /// All processes have ended.
    pub(super) async fn finish(&mut self, life: &mut Life<'_>, code: u8) -> u8 {
        if let Some(workers) = &mut life.execute.workers {
            workers.lanes.leave();
        }
        self.take_leave(life).await;
        self.last_words(life).await;
        if let Some(workers) = &mut life.execute.workers {
            finish_output(workers).await;
        }
        code
    }

    async fn take_leave(&mut self, life: &Life<'_>) {
        self.waiters.tell(|| life.core.status(self.clock.now()));
        if self.endpoints.control.is_some() {
            for _ in 0..LAST_TURNS {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Gives the hooks that run or wait a limited time, including the hook of the end itself.
    async fn last_words(&mut self, life: &mut Life<'_>) {
        if self.helpers.have_hooks() {
            let until = self.helpers.hooks.last_words(self.clock.now(), &mut self.helpers.runner);
            self.poll_hooks();
            while self.helpers.have_hooks() && self.clock.now() < until {
                let _paused = self.wait(life).await;
                self.take_signals(life);
                self.reap(life);
                self.poll_helpers(life);
            }
            self.helpers.hooks.give_up();
        }
        self.helpers.hooks.log_dropped();
        self.helpers.runner.hasten(|_| true, Monotonic::default());
        self.kill_overdue_helpers(life);
    }
}

async fn finish_output(workers: &mut Workers) {
    let left = workers.end_by.map_or(LONGEST, |at| at.saturating_duration_since(Instant::now()));
    if let Some(output) = &mut workers.output {
        output.finish(left.clamp(SHORTEST, LONGEST)).await;
    }
}
