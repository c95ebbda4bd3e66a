//! Waiting for the next thing to happen, and what follows from a wait that took longer than it was to.

use super::Loop;
use super::clock::BEAT;
use crate::core::Monotonic;
use crate::core::time::earlier;
use crate::os::socket::passed;
use crate::workers::Fleet;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

/// A deadline that is seen this late was not waited for.
const LATE: Duration = Duration::from_millis(10);

/// A probe that was under way in a turn of this length has perhaps been answered in time.
const LONG_TURN: Duration = Duration::from_millis(250);

impl Loop {
    /// Waits for a signal, a notice or the next deadline; without a deadline no timer is set. Not at all while
    /// a child is left to reap. Returns whether the clock has left out a pause.
    pub(super) async fn wait(&mut self) -> bool {
        let next = earlier(self.core.next_deadline(), self.next_helper_deadline());
        // A pause in the turn before is not one of this wait.
        self.now();
        let began = Instant::now();
        let beat = self.hurts().then(|| began.checked_add(BEAT)).flatten();
        let deadline = next.and_then(|at| self.clock.instant(at));
        let retry = passed::retry_at().map(Instant::from_std);
        let others = [beat, self.observers.next_deadline(), self.reaping.again_at, retry];
        let deadline = deadline.into_iter().chain(others.into_iter().flatten()).min();
        let ahead = deadline.filter(|at| *at > began);
        let mut sleep = pin!(deadline.map(sleep_until));
        poll_fn(|cx| {
            let signalled = self.signals.poll_ready(cx).is_ready();
            let news = self.execute.fleet.as_mut().is_some_and(|fleet| fleet.poll_ready(cx).is_ready());
            let asked = self.inbox.poll_ready(cx).is_ready() | self.helpers.poll_ready(cx).is_ready();
            let late = sleep.as_mut().as_pin_mut().is_some_and(|sleep| sleep.poll(cx).is_ready());
            if signalled || news || asked || late || self.reaping.wanted || self.is_measuring() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        let ended = Instant::now();
        if let Some(late) = ahead.and_then(|at| ended.checked_duration_since(at)) {
            self.observers.metrics.lag.observe(late);
        }
        self.clock.waited(began, deadline, ended);
        let Some(lost) = self.clock.news() else { return false };
        self.was_paused(lost);
        true
    }

    /// If we are late, as after having been suspended, the runtime may have noticed the time and nothing else: what
    /// workers have said meanwhile must be heard before they are found to have said nothing.
    pub(super) async fn hear_out(&mut self, paused: bool) {
        let is_late = |at: Monotonic| paused || at + LATE <= self.now();
        if self.execute.fleet.is_some() && self.core.next_deadline().is_some_and(is_late) {
            tokio::task::yield_now().await;
            self.take_signals();
            self.reap();
            self.take_news();
        }
    }

    /// Whether a deadline runs by which a process is hurt.
    fn hurts(&self) -> bool {
        let of_probes = self.execute.fleet.as_ref().is_some_and(Fleet::probes);
        self.core.hurts() || of_probes || self.helpers.runner.next_deadline().is_some()
    }

    /// The clock has left out a pause in which nothing of ours ran. What goes by other clocks is put right.
    fn was_paused(&mut self, lost: Duration) {
        debug!(lost_ms = u64::try_from(lost.as_millis()).unwrap_or(u64::MAX), "time passed without us");
        self.core.is_behind(lost);
        if let Some(fleet) = &mut self.execute.fleet {
            fleet.was_paused(lost);
        }
    }

    /// A turn took this long, during which nothing was heard.
    pub(super) fn had_turn(&mut self, took: Duration) {
        self.observers.metrics.turns.observe(took);
        if took >= LONG_TURN
            && let Some(fleet) = &mut self.execute.fleet
        {
            fleet.had_no_time();
        }
    }
}
